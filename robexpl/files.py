"""Files: data from the folder named by ROBEXPL_DATA, the user cache or a checksummed download; writing whole or not."""

import contextlib
import hashlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pooch

LIMIT = 600  # seconds for one file from one place
DAY = 86400.0  # seconds


class DataError(RuntimeError):
    """A data file is missing, truncated or not the one that was expected."""


def sha256(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def cache_folder() -> Path:
    """Return the user's cache folder for data files."""
    return Path(pooch.os_cache("robexpl"))


def folders() -> list[Path]:
    """Return the folders to search, in order: ROBEXPL_DATA if it is set, the user cache."""
    if not (named := os.environ.get("ROBEXPL_DATA")):
        return [cache_folder()]
    try:
        home = Path(named).expanduser()
        found = home.is_dir()
    except (OSError, RuntimeError):  # a name that is too long, ~somebody
        found = False
    if not found:
        raise DataError(f"ROBEXPL_DATA names no folder: {named}")
    return [home, cache_folder()]


def find(file: str, digest: str) -> Path | None:
    """Return where a file such as "mnist/t10k-labels-idx1-ubyte.gz" lies in `folders()`, None if it is in none of them.
    Raises DataError where a file of that name has another SHA-256 digest: it is never passed over and never replaced.
    """
    for path in (folder / file for folder in folders()):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return verified(path, digest)
    return None


def verified(path: Path, digest: str) -> Path:
    """Return the path of a file that has a SHA-256 digest; raise DataError where its bytes are others or unreadable."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except IsADirectoryError:
        raise DataError(f"{path} is a folder: expected the file of that name; replace or remove it") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if (got := sha256(data)) != digest:
        sums = f"expected sha256 {digest[:12]}..., got {got[:12]}... ({len(data)} bytes)"
        raise DataError(f"{path} is truncated or altered: {sums}; replace or remove it")
    return path


def fetch(file: str, digest: str, urls: Sequence[str]) -> Path:
    """Return the path of a data file: found as in `find`, else downloaded into the user cache.
    The first of `urls` that delivers the right bytes is taken. Raises DataError if all fail, or as `find` does.
    """
    if found := find(file, digest):
        return found
    target, tried = cache_folder() / file, []
    pooch.get_logger().setLevel(logging.WARNING)  # its notes name local folders; keep them off notebooks
    download = partial(in_time, pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30))
    for url in urls:
        try:
            return Path(pooch.retrieve(url, f"sha256:{digest}", target.name, target.parent, downloader=download))
        except (OSError, ValueError) as error:  # the errors of requests are OSErrors
            tried.append(f"{url} ({reason(error)})")
    raise missing(file, tried)


def in_time(call: Callable[..., Any], *args: Any, **settings: Any) -> Any:
    """Return what a download returns; raise TimeoutError after LIMIT seconds, and leave its thread to itself.
    Libraries limit each read alone, which a server that sends a byte now and then always meets.
    >>> in_time(max, 1, 2)
    2
    """
    future: Future = Future()

    def work(future: Future) -> None:
        try:
            future.set_result(call(*args, **settings))
        except BaseException as error:
            future.set_exception(error)
        finally:
            del future  # which knows the error, whose traceback knows this frame and the open connection

    threading.Thread(target=work, args=(future,), daemon=True).start()
    try:
        return future.result(LIMIT)
    finally:
        del future


def missing(file: str, tried: Sequence[str]) -> DataError:
    """Return the error that names a missing file, what was tried, and both remedies."""
    looked = ", ".join([*(str(folder / file) for folder in folders()), *tried])
    remedies = f"set ROBEXPL_DATA to a folder that holds {file}, or put the file at {cache_folder() / file}"
    return DataError(f"no {file}: tried {looked}; remedies: {remedies}")


def reason(error: Exception) -> str:
    """Return in a few words why a download failed."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, PermissionError):
        return f"{cache_folder()} cannot be written"
    if type(error) is TimeoutError:
        return f"not complete after {LIMIT} s"
    known = type(error) is ValueError and "known hash" in str(error)  # pooch's; malformed proxies are ValueErrors, too
    return "another checksum" if known else f"HTTP {status}" if status else type(error).__name__


def make_folder(folder: Path) -> Path:
    """Create a folder and its parents; raise OSError with one clear line where that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot create the folder {folder}: {error.strerror}") from None
    return folder


@lru_cache(maxsize=1)
def host() -> str:
    """Return a name of this machine since it was started; processes of different machines may have the same number."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return sha256(f"{socket.gethostname()} {boot.read_text() if boot.is_file() else ''}".encode())[:12]


def started(process: int) -> str:
    """Return when a process of this machine started, in ticks of its clock; nothing where that cannot be told."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]  # after its name; see proc(5)
    except (OSError, IndexError):
        return ""


def _abandoned(temporary: Path) -> bool:
    """Tell whether the writer of a temporary file is gone: `.NAME.HOST-PROCESS-START.tmp`.
    On another machine nobody can be asked: there a file is abandoned when it is a day old.
    """
    with contextlib.suppress(OSError, ValueError, OverflowError):  # it is no such name, or gone by now
        machine, process, start = temporary.name.split(".")[-2].split("-")
        if machine != host():
            return time.time() - temporary.stat().st_mtime > DAY
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it belongs to somebody else
            return False
        return started(int(process)) != start  # another process may have got its number
    return False


def write_atomic(path: Path, data: bytes) -> Path:
    """Write a file whole or not at all; the same bytes again leave the file and its time alone.
    It appears by being renamed, so that a folder shared by machines needs no locks. Raises OSError with one clear line
    (disk full, read-only folder); the old file then stays and nothing else remains.
    """
    for left in filter(_abandoned, make_folder(path.parent).glob(f".{path.name}.*.tmp")):
        left.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        if path.read_bytes() == data:
            return path
    temporary = path.with_name(f".{path.name}.{host()}-{os.getpid()}-{started(os.getpid())}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)  # noqa: PTH105 (the atomic one, said by its name)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}; nothing was changed") from None
    finally:
        temporary.unlink(missing_ok=True)
    return path
