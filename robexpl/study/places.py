"""Where files lie: the one module that knows the folders of the study, and the locks that guard them.

Environment variables move things: `ROBEXPL_BUILD` the build folder (caches, logs, the demo) and
`ROBEXPL_GENERATED` the full profile's results, which `make verify` recomputes beside the committed ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robexpl import checks, files

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ("demo", "full")


def build_dir() -> Path:
    """Return the folder of everything that may be deleted: caches, logs, failed notebooks, the demo.

    >>> build_dir().is_absolute()
    True
    """
    return Path(os.environ.get("ROBEXPL_BUILD") or ROOT / "build").absolute()


def generated_dir(profile: str) -> Path:
    """Return the folder of a profile's results: committed for `full`, under the build folder for `demo`.

    >>> generated_dir("demo") == build_dir() / "demo" / "generated"
    True
    """
    if checks.one_of("profile", profile, PROFILES) == "demo":
        return build_dir() / "demo" / "generated"
    return Path(os.environ.get("ROBEXPL_GENERATED") or ROOT / "paper" / "generated").absolute()


def label(path: Path) -> str:
    """Return the name of a file that is the same on every machine.

    >>> label(generated_dir("full") / "rq1-mnist-means.csv")
    'paper/generated/rq1-mnist-means.csv'
    """
    path = Path(path).absolute()
    for name, folder in (("paper/generated", generated_dir("full")), ("build", build_dir()), ("", ROOT)):
        if path.is_relative_to(folder):
            return (Path(name) / path.relative_to(folder)).as_posix()
    return path.as_posix()


def located(name: str) -> Path:
    """Return the file that `label` named so: its inverse.

    >>> located("notebooks/rq1.py") == ROOT / "notebooks" / "rq1.py"
    True
    """
    for prefix, folder in (("paper/generated/", generated_dir("full")), ("build/", build_dir())):
        if name.startswith(prefix):
            return folder / name.removeprefix(prefix)
    return ROOT / name


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of that name, waiting for its turn; the system itself frees a dead owner's.

    Raises OSError with one line where the lock's folder cannot be written or its file system has no locks.

    >>> with locked("example"):
    ...     pass
    """
    import filelock

    file = files.make_folder(build_dir() / "locks") / f"{name}.lock"
    lock = filelock.FileLock(file)
    try:
        lock.acquire()
    except PermissionError as error:
        raise OSError(f"cannot lock {label(file)}: {error.strerror}") from None
    except NotImplementedError:
        raise OSError(f"cannot lock {label(file)}: its file system knows no locks; set ROBEXPL_BUILD") from None
    try:
        yield
    finally:
        lock.release()
