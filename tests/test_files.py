"""Files appear whole or not at all, and what cannot be written is named as it was given."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pooch
import pytest

from robexpl import files


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def test_a_file_is_written_and_the_same_bytes_leave_its_time_alone(tmp_path: Path) -> None:
    path = files.write_atomic(tmp_path / "a" / "b.txt", b"one")
    os.utime(path, ns=(0, 0))
    files.write_atomic(path, b"one")
    assert path.stat().st_mtime_ns == 0
    files.write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mtime_ns > 0
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("where", ["write", "replace"])
def test_a_full_disk_leaves_the_old_file_and_says_one_line(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write_atomic(tmp_path / "kept.json", b"old")

    def write_half(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "write":
        monkeypatch.setattr(Path, "write_bytes", write_half)
    else:
        monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match=r"^cannot write /.*kept\.json: No space left on device; nothing was changed$"):
        files.write_atomic(path, b"a new content")
    assert path.read_bytes() == b"old"
    assert left_over(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"^cannot create the folder /.*file/sub: "):
        files.write_atomic(tmp_path / "file" / "sub" / "a.json", b"")


@pytest.mark.parametrize(
    ("proxy", "named"),
    [("http://user:p@ss@host:port", "InvalidURL"), ("http://", "InvalidProxyURL"), ("ftp://x", "InvalidURL")],
)
def test_a_malformed_proxy_is_named(proxy: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ROBEXPL_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path)
    with pytest.raises(files.DataError, match=rf"http://mirror\.invalid/a \({named}\)"):
        files.fetch("a", hashlib.sha256(b"").hexdigest(), ["http://mirror.invalid/a"])


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Permission denied")

    monkeypatch.delenv("ROBEXPL_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path)
    monkeypatch.setattr(pooch, "retrieve", refuse)
    with pytest.raises(files.DataError, match=rf"http://mirror\.invalid/a \({tmp_path} cannot be written\)"):
        files.fetch("a", hashlib.sha256(b"").hexdigest(), ["http://mirror.invalid/a"])
