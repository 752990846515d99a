"""Folders have one name each on every machine, and a lock is held by one process at a time."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import filelock
import pytest

from robexpl.study import places


@pytest.fixture(autouse=True)
def _homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("ROBEXPL_GENERATED", str(tmp_path / "generated"))


def test_a_profile_has_its_own_folder_only(tmp_path: Path) -> None:
    assert places.generated_dir("demo") == tmp_path / "build" / "demo" / "generated"
    assert places.generated_dir("full") == tmp_path / "generated"
    with pytest.raises(ValueError, match=r"unknown profile 'quick'; known: demo, full"):
        places.generated_dir("quick")


def test_without_settings_everything_lies_in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROBEXPL_BUILD")
    monkeypatch.delenv("ROBEXPL_GENERATED")
    assert (places.ROOT / "pyproject.toml").is_file()
    assert places.build_dir() == places.ROOT / "build"
    assert places.generated_dir("full") == places.ROOT / "paper" / "generated"


def test_a_label_names_a_file_alike_on_every_machine(tmp_path: Path) -> None:
    for path, name in [
        (tmp_path / "build" / "demo" / "generated" / "a.csv", "build/demo/generated/a.csv"),
        (tmp_path / "generated" / "a.csv", "paper/generated/a.csv"),
        (places.ROOT / "notebooks" / "rq1.py", "notebooks/rq1.py"),
    ]:
        assert places.label(path) == name
        assert places.located(name) == path


def test_the_lock_of_a_dead_owner_is_free() -> None:
    code = "import os; from robexpl.study import places\nwith places.locked('stage'): os.kill(os.getpid(), 9)"
    owner = subprocess.run([sys.executable, "-c", code], cwd=places.ROOT)
    assert owner.returncode == -9
    with places.locked("stage"):
        assert [file.name for file in (places.build_dir() / "locks").iterdir()] == ["stage.lock"]


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from robexpl.study import places
        with places.locked("stage"):
            Path(sys.argv[1]).touch()
            time.sleep(0.5)
            Path(sys.argv[2]).touch()
    """
    held, freed = tmp_path / "held", tmp_path / "freed"
    owner = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(held), str(freed)], cwd=places.ROOT)
    while not held.exists():
        assert owner.poll() is None
        time.sleep(0.01)
    with places.locked("stage"):
        assert freed.exists()
    assert owner.wait() == 0


def test_a_lock_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    line = r"^cannot lock build/locks/stage\.lock: Permission denied$"
    with pytest.raises(OSError, match=line), places.locked("stage"):
        pass
