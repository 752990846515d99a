"""Where data files come from: the folder named by ROBEXPL_DATA, else the user cache, else a checksummed download."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pooch


class DataError(RuntimeError):
    """A data file is missing, truncated or not the one that was expected."""


def cache_folder() -> Path:
    """Return the user's cache folder for data files."""
    return Path(pooch.os_cache("robexpl"))


def folders() -> list[Path]:
    """Return the folders to search, in order: ROBEXPL_DATA if it is set, the user cache."""
    named = os.environ.get("ROBEXPL_DATA")
    try:
        home = [Path(named).expanduser()] if named else []
        if home and not home[0].is_dir():
            raise DataError(f"ROBEXPL_DATA names no folder: {named}")
    except OSError as error:
        raise DataError(f"ROBEXPL_DATA names a folder that cannot be read: {named} ({error.strerror})") from None
    except DataError:
        raise
    except RuntimeError:  # ~somebody
        raise DataError(f"ROBEXPL_DATA names no folder: {named}") from None
    return [*home, cache_folder()]


def find(file: str, sha256: str) -> Path | None:
    """Return where a file such as "mnist/t10k-labels-idx1-ubyte.gz" lies in `folders()`, None if it is in none of them.

    Raises DataError where a file of that name has other bytes: it is refused, never passed over and never replaced.
    """
    for folder in folders():
        path = folder / file
        try:
            if path.is_dir():
                raise DataError(f"{path} is a folder: expected the file of that name; replace or remove it")
            data = path.read_bytes() if path.is_file() else None
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
        if data is not None:
            digest = hashlib.sha256(data).hexdigest()
            if digest != sha256:
                raise DataError(
                    f"{path} is truncated or altered: expected sha256 {sha256[:12]}..., got {digest[:12]}... "
                    f"({len(data)} bytes); replace or remove it"
                )
            return path
    return None


def fetch(file: str, sha256: str, urls: Sequence[str]) -> Path:
    """Return the path of a data file: found as in `find`, else downloaded into the user cache.

    The first of `urls` that delivers the right bytes is taken; one that fails or serves another file is passed over.
    Raises DataError if all fail, or for a damaged file as in `find`.
    """
    found = find(file, sha256)
    if found is not None:
        return found
    target, tried = cache_folder() / file, []
    pooch.get_logger().setLevel(logging.WARNING)  # its notes name local folders; keep them off notebooks
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
    for url in urls:
        try:
            pooch.retrieve(url, f"sha256:{sha256}", target.name, target.parent, downloader=downloader)
            return target
        except (OSError, ValueError) as error:  # the errors of requests are OSErrors; ValueError: another checksum
            tried.append(f"{url} ({reason(error)})")
    raise missing(file, tried)


def missing(file: str, tried: Sequence[str]) -> DataError:
    """Return the error that names a missing file, what was tried, and both remedies."""
    looked = ", ".join([str(folder / file) for folder in folders()] + list(tried))
    return DataError(
        f"no {file}: tried {looked}; remedies: set ROBEXPL_DATA to a folder that holds {file}, "
        f"or put the file at {cache_folder() / file}"
    )


def reason(error: Exception) -> str:
    """Return in a few words why a download failed."""
    if isinstance(error, ValueError):
        return "another checksum"
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"HTTP {status}" if status else type(error).__name__
