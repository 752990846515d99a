"""Files appear whole, in one byte form, in the folder of their profile, or not at all."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from robexpl import artifacts


@pytest.fixture(autouse=True)
def _homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("ROBEXPL_GENERATED", str(tmp_path / "generated"))
    monkeypatch.delenv("ROBEXPL_STAGE", raising=False)


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def test_a_file_is_written_and_the_same_bytes_leave_its_time_alone(tmp_path: Path) -> None:
    path = artifacts.write_atomic(tmp_path / "a" / "b.txt", b"one")
    os.utime(path, ns=(0, 0))
    artifacts.write_atomic(path, b"one")
    assert path.stat().st_mtime_ns == 0
    artifacts.write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mtime_ns > 0
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("where", ["write", "replace"])
def test_a_full_disk_leaves_the_old_file_and_says_one_line(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = artifacts.write_atomic(tmp_path / "kept.json", b"old")

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
    with pytest.raises(OSError, match=r"^cannot write .*kept\.json: No space left on device; nothing was changed$"):
        artifacts.write_atomic(path, b"a new content")
    assert path.read_bytes() == b"old"
    assert left_over(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"^cannot create the folder .*file/sub: "):
        artifacts.write_atomic(tmp_path / "file" / "sub" / "a.json", b"")


def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_left_alone(tmp_path: Path) -> None:
    gone, alive, other = (tmp_path / name for name in (".a.json.4194303.tmp", ".a.json.1.tmp", ".b.json.4194303.tmp"))
    for path in (gone, alive, other):
        path.write_text("half")
    artifacts.write_atomic(tmp_path / "a.json", b"{}")
    assert left_over(tmp_path) == [alive.name, other.name]


def test_json_has_sorted_keys_six_digits_and_null_for_what_is_no_number() -> None:
    path = artifacts.Output("rq1-mnist", "full").json(
        z=1 / 3,
        a=[np.float32(0.1), float("nan"), float("inf"), -0.0],
        m={"n": np.int64(7), "big": 123456789, "flag": True, "none": None},
        t=torch.tensor([[1.0, 2.5]]),
    )
    text = path.read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["a", "m", "t", "z"]
    assert json.loads(text) == {
        "a": [0.1, None, None, 0.0],
        "m": {"big": 123456789, "flag": True, "n": 7, "none": None},
        "t": [[1.0, 2.5]],
        "z": 0.333333,
    }
    assert "-0.0" not in text


def test_json_refuses_what_it_has_no_form_for() -> None:
    with pytest.raises(ValueError, match="expected a value that JSON has a form for, got object"):
        artifacts.Output("rq1-mnist", "full").json(a=object())


def test_a_profile_writes_to_its_own_folder_only(tmp_path: Path) -> None:
    assert artifacts.Output("table1", "demo").json(n=1).parent == tmp_path / "build" / "demo" / "generated"
    assert artifacts.Output("table1", "full").json(n=1).parent == tmp_path / "generated"
    with pytest.raises(ValueError, match=r"unknown profile 'quick'; known: demo, full"):
        artifacts.Output("table1", "quick")


@pytest.mark.parametrize("name", ["", "../table1", "Table 1", "a/b", ".hidden"])
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected a notebook name such as"):
        artifacts.Output(name, "demo")


def test_a_label_names_a_file_alike_on_every_machine(tmp_path: Path) -> None:
    for path, name in [
        (tmp_path / "build" / "demo" / "generated" / "a.json", "build/demo/generated/a.json"),
        (tmp_path / "generated" / "a.json", "paper/generated/a.json"),
        (artifacts.ROOT / "notebooks" / "rq1.py", "notebooks/rq1.py"),
    ]:
        assert artifacts.label(path) == name
        assert artifacts.located(name) == path


def draw() -> Figure:
    figure = Figure(figsize=(2, 1))
    axes = figure.add_subplot()
    axes.plot([1, 2, 3], label="a curve")
    axes.imshow(np.eye(4), clip_on=True)
    axes.legend()
    return figure


def test_a_figure_is_the_same_bytes_every_time_and_keeps_its_text() -> None:
    output = artifacts.Output("rq1-mnist", "demo")
    first = output.figure(draw(), "accuracy").read_bytes()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "other"}):
        second = output.figure(draw(), "accuracy").read_bytes()
    assert first == second
    assert b"a curve</text>" in first
    assert b"<dc:date>" not in first
    assert b"Matplotlib v" not in first


def test_staged_files_wait_for_the_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBEXPL_STAGE", str(tmp_path / "stage"))
    path = artifacts.Output("table1", "full").json(n=1)
    assert path == tmp_path / "generated" / "table1.json"
    assert not path.exists()
    assert (tmp_path / "stage" / "full" / "table1.json").exists()
