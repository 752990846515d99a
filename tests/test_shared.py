"""A cache in a folder that machines share: correct without common locks, without any, and with clashing numbers."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import filelock
import pytest

from robexpl import files
from robexpl.files import write_atomic
from robexpl.study import cache, places
from robexpl.study.places import ROOT

SLOW = """
    import sys, time
    from pathlib import Path
    import torch
    from robexpl.study.cache import cached

    @cached
    def slow(n):
        Path(sys.argv[1]).touch()
        deadline = time.monotonic() + 60
        while not Path(sys.argv[2]).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return {"n": torch.arange(n)}

    assert slow(5)["n"].tolist() == [0, 1, 2, 3, 4]
    print(slow.path(5).name)
"""


def two_at_once(folder: Path, *before: str) -> list[str]:
    """Compute one entry in two processes that share their cache and not their locks; return what is in its folder."""
    script = folder / "slow.py"
    script.write_text(textwrap.dedent(SLOW))
    (folder / "cache").mkdir()
    running, flags = [], [folder / "one", folder / "two"]
    for own, other in (flags, flags[::-1]):  # each waits within the stage until the other is in it, too
        build = folder / f"build-{own.name}"
        build.mkdir()
        (build / "cache").symlink_to(folder / "cache")
        environment = os.environ | {"PYTHONPATH": str(ROOT), "ROBEXPL_BUILD": str(build)}
        command = [*before, sys.executable, "-W", "error", script, own, other]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    said = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert all(flag.exists() for flag in flags)
    assert said[0] == said[1]
    assert cache._read(folder / "cache" / "slow" / said[0])["n"].tolist() == [0, 1, 2, 3, 4]
    return [path.name for path in (folder / "cache" / "slow").iterdir()] + [said[0]]


def test_two_processes_that_see_no_common_lock_make_one_entry(tmp_path: Path) -> None:
    left, name = two_at_once(tmp_path)
    assert left == name


@pytest.mark.slow
def test_two_machines_whose_processes_have_the_same_number_make_one_entry(tmp_path: Path) -> None:
    apart = (
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "--uts",
        "sh",
        "-c",
        'hostname "h$$-$(date +%N)"; "$@"',
        "sh",
    )
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("processes cannot be given numbers of their own here")
    left, name = two_at_once(tmp_path, *apart)
    assert left == name


def test_temporary_files_are_known_by_machine_number_and_start(tmp_path: Path) -> None:
    def name(machine: str, process: int, start: str) -> str:
        return f".a.{machine}-{process}-{start}.tmp"

    here, me = files.host(), os.getpid()
    parent = os.getppid()
    kept = [name(here, me, files.started(me)), name(here, parent, files.started(parent)), name("elsewhere", 1, "5")]
    gone = [name(here, 4194303, "5"), name(here, me, "5"), name("another", 1, "5")]
    for each in [*kept, *gone, ".a.notes.tmp"]:
        (tmp_path / each).write_text("half")
    os.utime(tmp_path / gone[2], (time.time() - 2 * files.DAY,) * 2)
    write_atomic(tmp_path / "b", b"")
    assert len(list(tmp_path.iterdir())) == 8
    write_atomic(tmp_path / "a", b"")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a", "b", ".a.notes.tmp", *kept} - {kept[0]}  # one's own is written over and renamed


def test_an_entry_replaced_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale_once(self: Path) -> bytes:
        tried.append(self)
        if len(tried) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        return b"content"

    tried: list[Path] = []
    monkeypatch.setattr(Path, "read_bytes", stale_once)
    assert cache._bytes(tmp_path / "entry") == b"content"
    assert len(tried) == 2


@pytest.fixture
def lockless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file system without locks."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path))
    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    return tmp_path / "locks" / "stage.lease"


HOLD = """
import errno, filelock, sys, time
def refuse(*_, **__): raise OSError(errno.ENOLCK, "No locks available")
filelock.FileLock.acquire = refuse
from robexpl.study import places
with places.locked("stage"):
    print("held", flush=True)
    time.sleep(float(sys.argv[1]))
"""


def test_without_locks_a_claim_is_waited_for_and_that_of_a_dead_process_is_void(lockless: Path) -> None:
    for seconds, end in (("1", 0), ("600", -signal.SIGKILL)):
        owner = subprocess.Popen([sys.executable, "-c", HOLD, seconds], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert owner.stdout.readline() == "held\n"
        assert lockless.exists()
        if end:
            owner.kill()
            owner.wait()
            assert lockless.exists()
        started = time.monotonic()
        with places.locked("stage"):
            assert lockless.exists()
            assert owner.wait(timeout=30) == end
        assert time.monotonic() - started < places.LEASE / 2
        assert not lockless.exists()
        owner.stdout.close()
