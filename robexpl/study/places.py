"""Where files lie: the one module that knows the folders of the study, and the locks that guard them.

Environment variables move things: `ROBEXPL_BUILD` the build folder (caches, logs, the demo) and
`ROBEXPL_GENERATED` the full profile's results, which `make verify` recomputes beside the committed ones.
Where the package was installed without a checkout, the build folder lies in the working directory.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robexpl import checks, files

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ("demo", "full")
LOCKLESS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)  # what a file system says that has no locks, as some shared ones
LEASE = 60.0  # seconds: after so long without a sign of life another machine's claim is void


def in_checkout() -> bool:
    """Tell whether notebooks and paper lie beside the package, as in a checkout and not in an installed wheel."""
    return all((ROOT / name).is_dir() for name in ("notebooks", "paper"))


def build_dir() -> Path:
    """Return the folder of everything that may be deleted: caches, logs, failed notebooks, the demo."""
    return Path(os.environ.get("ROBEXPL_BUILD") or (ROOT if in_checkout() else Path()) / "build").absolute()


def generated_dir(profile: str) -> Path:
    """Return the folder of a profile's results: committed for `full`, under the build folder for `demo`."""
    if checks.one_of("profile", profile, PROFILES) == "demo":
        return build_dir() / "demo" / "generated"
    return Path(os.environ.get("ROBEXPL_GENERATED") or ROOT / "paper" / "generated").absolute()


def label(path: Path) -> str:
    """Return the name of a file that is the same on every machine.
    >>> label(generated_dir("full") / "rq1-mnist-means.csv")
    'paper/generated/rq1-mnist-means.csv'
    """
    path = Path(path).absolute()
    found = (name / path.relative_to(folder) for name, folder in _homes().items() if path.is_relative_to(folder))
    return next(found, path).as_posix()


def located(name: str) -> Path:
    """Return the file that `label` named so: its inverse.
    >>> located("notebooks/rq1.py") == ROOT / "notebooks" / "rq1.py"
    True
    """
    path = Path(name)
    return next((at / path.relative_to(to) for to, at in _homes().items() if path.is_relative_to(to)), path)


def _homes() -> dict[Path, Path]:
    return {Path("paper/generated"): generated_dir("full"), Path("build"): build_dir(), Path(): ROOT}


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of that name, waiting for its turn; the system itself frees a dead owner's.
    Where a file system has no locks, a file beside it names the owner by host, process and start time: the claim of a
    process that is gone is void, that of another host when nothing renewed it for `LEASE` seconds. Such claims may
    overlap, and so may locks that machines cannot see of each other: what they guard is the same whoever computes it,
    and is written whole. Raises OSError with one line where the lock's folder cannot be written.
    """
    import filelock

    file = files.make_folder(build_dir() / "locks") / f"{name}.lock"
    try:
        try:
            held = filelock.FileLock(file, fallback_to_soft=False).acquire()
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in LOCKLESS:
                raise
            held = filelock.SoftFileLease(file.with_suffix(".lease"), lease_duration=LEASE).acquire()
    except PermissionError as error:
        raise OSError(f"cannot lock {label(file)}: {error.strerror}") from None
    with held:
        yield
