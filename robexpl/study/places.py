"""Where files lie: the one module that knows the folders of the study, and the locks that guard them.

Environment variables move things: `ROBEXPL_BUILD` the build folder (caches, logs, the demo) and
`ROBEXPL_GENERATED` the full profile's results, which `make verify` recomputes beside the committed ones.
Where the package was installed without a checkout, the build folder lies in the working directory.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robexpl import checks, files

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ("demo", "full")


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
    Raises OSError with one line where the lock's folder cannot be written or its file system has no locks.
    """
    import filelock

    file = files.make_folder(build_dir() / "locks") / f"{name}.lock"
    try:
        held = filelock.FileLock(file).acquire()
    except PermissionError as error:
        raise OSError(f"cannot lock {label(file)}: {error.strerror}") from None
    except NotImplementedError:
        raise OSError(f"cannot lock {label(file)}: its file system knows no locks; set ROBEXPL_BUILD") from None
    with held:
        yield
