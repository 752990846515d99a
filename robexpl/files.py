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
    if named and not Path(named).expanduser().is_dir():
        raise DataError(f"ROBEXPL_DATA names no folder: {named}")
    return ([Path(named).expanduser()] if named else []) + [cache_folder()]


def find(file: str, sha256: str) -> Path | None:
    """Return where a file such as "mnist/t10k-labels-idx1-ubyte.gz" lies in `folders()`, None if it is in none of them.

    Raises DataError where a file of that name has other bytes: it is refused, never passed over and never replaced.
    """
    for folder in folders():
        path = folder / file
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest != sha256:
                raise DataError(
                    f"{path} is truncated or altered: expected sha256 {sha256[:12]}..., got {digest[:12]}... "
                    f"({path.stat().st_size} bytes); replace or remove it"
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
