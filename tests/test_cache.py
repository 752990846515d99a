"""A stage runs once per key; whatever happens to its entry, what comes back is what the stage makes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from robexpl.study import cache, places

STAGE = """
    from dataclasses import dataclass

    import numpy as np
    import torch

    from robexpl import seeds
    from robexpl.study.cache import cached, checkpoint_path

    FACTOR = 3
    RUNS = []


    def helper(x):
        return FACTOR * x


    def unrelated(x):
        return x


    def brought(x):
        return x - 7


    @dataclass(frozen=True)
    class Named:
        name: str = "a"
        number: int = 1

        def code(self):
            return (brought,) if self.name == "brings" else ()

        def asked(self):
            return self.number + 100


    @dataclass(frozen=True)
    class Other:
        name: str = "a"
        number: int = 1


    @cached
    def stage(n, scale=1.0, settings=None):
        \"\"\"Doc.\"\"\"
        RUNS.append(n)
        return {"t": torch.arange(n) * helper(scale), "i": np.arange(n), "none": torch.zeros(0, 3)}


    @cached
    def wrong(n):
        return [n]


    @cached
    def resumed(n):
        checkpoint_path(resumed, n).parent.mkdir(parents=True, exist_ok=True)
        checkpoint_path(resumed, n).write_text("half")
        return {"n": torch.tensor(n)}
"""


@dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    steps: tuple[int, ...] = (1, 2)


@pytest.fixture(autouse=True)
def _build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path / "build"))
    monkeypatch.delenv("ROBEXPL_PROGRESS", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a second has room for two versions of the same size


def load(folder: Path, text: str = STAGE) -> ModuleType:
    path = folder / "stages_of_a_test.py"
    path.write_text(textwrap.dedent(text))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stages(tmp_path: Path) -> ModuleType:
    return load(tmp_path)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(type(a[k]) is type(b[k]) and np.array_equal(a[k], b[k]) for k in a)


def test_a_stage_runs_once_per_arguments(stages: ModuleType) -> None:
    first = stages.stage(3)
    assert same(first, stages.stage(n=3, scale=1.0))
    assert stages.RUNS == [3]
    assert isinstance(first["t"], torch.Tensor)
    assert isinstance(first["i"], np.ndarray)
    assert first["none"].shape == (0, 3)
    stages.stage(3, scale=2.0)
    stages.stage(4)
    assert stages.RUNS == [3, 3, 4]
    assert stages.stage.stage_name == "stage"


def test_keys_tell_apart_every_argument(stages: ModuleType) -> None:
    keys = [
        stages.stage.key(3),
        stages.stage.key(3, 1),
        stages.stage.key(3, 1.0 + 2**-52),
        stages.stage.key(3, settings=Settings()),
        stages.stage.key(3, settings=Settings(rate=0.2)),
        stages.stage.key(3, settings=Settings(steps=(1,))),
        stages.stage.key(3, settings=(Settings(), None)),
        stages.stage.key(3, settings="Settings"),
        stages.stage.key(3, settings=stages.Named()),
        stages.stage.key(3, settings=stages.Other()),
    ]
    assert len(set(keys)) == len(keys)
    assert stages.stage.key(3, settings=Settings()) == stages.stage.key(n=3, scale=1.0, settings=Settings())


def test_arguments_without_a_name_on_disk_are_refused(stages: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"expected plain arguments of a cached stage, got Tensor in stage\(scale\)"):
        stages.stage(3, torch.ones(1))
    with pytest.raises(ValueError, match="expected wrong to return a dict of tensors or arrays, got list"):
        stages.wrong(3)


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("FACTOR = 3", "FACTOR = 4", True),
        ("FACTOR * x", "FACTOR + x", True),
        ("np.arange(n)", "np.arange(n) + 0", True),
        ("scale=1.0", "scale=1.5", True),
        ("Doc.", "Other words.", False),
        ("RUNS.append(n)", "RUNS.append(n)  # a comment", False),
        ("return x\n", "return -x\n", False),
        ("x - 7", "x - 8", False),
        ("number + 100", "number + 101", False),
    ],
)
def test_the_key_follows_the_code_that_counts(old: str, new: str, changes: bool, tmp_path: Path) -> None:
    before = load(tmp_path).stage.key(3)
    after = load(tmp_path, STAGE.replace(old, new)).stage.key(3)
    assert (before != after) == changes


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("x - 7", "x - 8", True),  # what `code` names
        ("number + 100", "number + 101", True),  # a method that the stage may ask for
        ("return x\n", "return -x\n", False),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_an_argument_brings_its_code(old: str, new: str, changes: bool, nested: bool, tmp_path: Path) -> None:
    def key(text: str) -> str:
        module = load(tmp_path, text)
        named = module.Named("brings")
        return module.stage.key(3, settings={"of": [Settings(steps=(named,))]} if nested else named)

    assert (key(STAGE) != key(STAGE.replace(old, new))) == changes


def test_200_random_corruptions_are_caught_named_and_mended(
    stages: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    good = stages.stage(3)
    path = stages.stage.path(3)
    data = path.read_bytes()
    draw = np.random.default_rng(0)
    for trial in range(200):
        broken = bytearray(data)
        place = int(draw.integers(len(data)))
        if trial % 4 == 0:
            del broken[place:]
        elif trial % 4 == 1:
            broken[place:place] = bytes([int(draw.integers(256))])
        else:
            broken[place] ^= 1 << int(draw.integers(8))
        path.write_bytes(broken)
        assert same(stages.stage(3), good)
        assert path.read_bytes() == data
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith(f"warning: build/cache/stage/{path.name} is damaged (")
    assert stages.RUNS == [3] * 201


def test_an_entry_of_other_arguments_is_not_taken(stages: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    good = stages.stage(3)
    stages.stage(4)
    stages.stage.path(3).write_bytes(stages.stage.path(4).read_bytes())
    assert same(stages.stage(3), good)
    assert f"it holds stage {stages.stage.key(4)}" in capsys.readouterr().err


def test_an_entry_says_what_made_it(stages: ModuleType) -> None:
    stages.stage(3, settings=Settings())
    made = cache.describe(stages.stage.path(3, settings=Settings()).read_bytes().partition(b"\n")[2])
    assert made["stage"] == "stage"
    assert made["arguments"]["n"] == 3
    assert made["arguments"]["settings"] == {"": "Settings", "rate": 0.1, "steps": [1, 2]}


def test_a_full_disk_is_one_line_and_leaves_no_entry(stages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match=r"^cannot write .*cache/stage/\w+: No space left on device; nothing"):
        stages.stage(3)
    assert list(stages.stage.path(3).parent.iterdir()) == []


def test_a_folder_that_may_not_be_written_is_one_line(
    stages: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    stages.stage(3)
    stages.stage.path(3).write_bytes(b"damaged")
    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(cache.files, "write_atomic", refuse)
    with pytest.raises(PermissionError):
        stages.stage(3)
    assert "is damaged (its checksum does not fit)" in capsys.readouterr().err


def test_an_entry_that_may_not_be_read_is_named(stages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(OSError, match=r"^cannot read build/cache/stage/\w+: Permission denied$"):
        stages.stage(3)


def test_a_checkpoint_lies_beside_its_entry(stages: ModuleType) -> None:
    stages.resumed(2)
    part = cache.checkpoint_path(stages.resumed, 2)
    assert part == stages.resumed.path(2).with_suffix(".part")
    assert part.read_text() == "half"
    assert part != cache.checkpoint_path(stages.resumed, n=3)


def test_two_processes_and_two_threads_run_a_stage_once(tmp_path: Path) -> None:
    code = """
        import threading, time
        from pathlib import Path
        import torch
        from robexpl.study.cache import cached

        @cached
        def slow(n):
            with Path(%r).open("a") as file:
                file.write("run\\n")
            time.sleep(0.3)
            return {"n": torch.arange(n)}

        if __name__ == "__main__":
            found = []
            threads = [threading.Thread(target=lambda: found.append(slow(5))) for _ in range(2)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            assert [list(each["n"]) for each in found] == [list(range(5))] * 2
    """
    script = tmp_path / "slow.py"
    script.write_text(textwrap.dedent(code) % str(tmp_path / "runs"))
    environment = os.environ | {"PYTHONPATH": str(places.ROOT)}
    running = [subprocess.Popen([sys.executable, "-W", "error", script], env=environment) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert (tmp_path / "runs").read_text() == "run\n"


def test_keys_can_be_asked_for_by_threads(stages: ModuleType) -> None:
    keys: list[str] = []
    threads = [threading.Thread(target=lambda: keys.append(stages.stage.key(3))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 4
    assert len(set(keys)) == 1
