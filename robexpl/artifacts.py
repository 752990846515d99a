"""Where files live and how they are written: the only module that knows either.

Environment variables move things: `ROBEXPL_BUILD` the build folder (caches, logs, the demo) and
`ROBEXPL_GENERATED` the full profile's results, which `make verify` recomputes beside the committed ones.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ("demo", "full")
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


def build_dir() -> Path:
    """Return the folder of everything that may be deleted: caches, logs, failed notebooks, the demo."""
    return Path(os.environ.get("ROBEXPL_BUILD") or ROOT / "build").absolute()


def generated_dir(profile: str) -> Path:
    """Return the folder of a profile's results: committed for `full`, under the build folder for `demo`."""
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}; known: {', '.join(PROFILES)}")
    if profile == "demo":
        return build_dir() / "demo" / "generated"
    return Path(os.environ.get("ROBEXPL_GENERATED") or ROOT / "paper" / "generated").absolute()


def label(path: Path) -> str:
    """Return the name of a file that is the same on every machine, such as `paper/generated/rq1-mnist.json`."""
    path = Path(path).absolute()
    for name, folder in (("paper/generated", generated_dir("full")), ("build", build_dir()), ("", ROOT)):
        if path.is_relative_to(folder):
            return (Path(name) / path.relative_to(folder)).as_posix()
    return path.as_posix()


def located(name: str) -> Path:
    """Return the file that `label` named so: its inverse."""
    for prefix, folder in (("paper/generated/", generated_dir("full")), ("build/", build_dir())):
        if name.startswith(prefix):
            return folder / name.removeprefix(prefix)
    return ROOT / name


def sha256(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def make_folder(folder: Path) -> Path:
    """Create a folder and its parents; raise OSError with one clear line where that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot create the folder {label(folder)}: {error.strerror}") from None
    return folder


def write_atomic(path: Path, data: bytes) -> Path:
    """Write a file whole or not at all; the same bytes again leave the file and its time alone.

    Raises OSError with one clear line (disk full, read-only folder); the old file then stays and nothing else remains.
    """
    path = Path(path)
    make_folder(path.parent)
    _sweep(path)
    try:
        if path.read_bytes() == data:
            return path
    except OSError:
        pass
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(f"cannot write {label(path)}: {error.strerror}; nothing was changed") from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of that name, waiting for its turn; the system itself frees a dead owner's."""
    import filelock

    file = make_folder(build_dir() / "locks") / f"{name}.lock"
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


def _sweep(path: Path) -> None:
    """Remove what a killed writer of this very file left behind."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        pid = left.name.split(".")[-2]
        if pid.isdigit() and int(pid) != os.getpid() and not _alive(int(pid)):
            left.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists and belongs to somebody else
        return True
    return True


def plain(value: Any, digits: int = 6) -> Any:
    """Return a value as JSON knows it: floats with six significant digits, NaN and infinities as null.

    Arrays and tensors become lists. Raises ValueError for anything else that JSON has no form for.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") + 0.0 if math.isfinite(value) else None  # + 0.0 makes -0.0 plain zero
    if isinstance(value, dict):
        return {str(key): plain(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, digits) for item in value]
    if hasattr(value, "tolist"):  # arrays, tensors and their scalars
        return plain(value.tolist(), digits)
    raise ValueError(f"expected a value that JSON has a form for, got {type(value).__name__}")


def to_json(values: dict[str, Any]) -> bytes:
    """Return the one byte form of some values: sorted keys, UTF-8, a newline at the end."""
    return (json.dumps(plain(values), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def to_svg(figure: Figure, salt: str) -> bytes:
    """Return a figure as SVG, the same bytes every time; its text stays text, set in the paper's own font."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return b"".join(line.rstrip() + b"\n" for line in buffer.getvalue().splitlines())


@dataclass(frozen=True)
class Output:
    """Write what a notebook gives the paper: `<notebook>.json` and `<notebook>-<name>.svg` in its profile's folder."""

    notebook: str
    profile: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.notebook):
            raise ValueError(f"expected a notebook name such as 'rq1-mnist', got {self.notebook!r}")
        generated_dir(self.profile)

    def json(self, **values: Any) -> Path:
        """Write the numbers that tables and sentences quote."""
        return self._write(f"{self.notebook}.json", to_json(values))

    def figure(self, fig: Figure, name: str = "") -> Path:
        """Write a figure as SVG."""
        if name and not NAME.fullmatch(name):
            raise ValueError(f"expected a figure name such as 'accuracy', got {name!r}")
        stem = f"{self.notebook}-{name}" if name else self.notebook
        return self._write(f"{stem}.svg", to_svg(fig, salt=stem))

    def _write(self, filename: str, data: bytes) -> Path:
        path = generated_dir(self.profile) / filename
        stage = os.environ.get("ROBEXPL_STAGE")  # set by the runner, which moves files to their place once all is well
        write_atomic(Path(stage) / self.profile / filename if stage else path, data)
        return path
