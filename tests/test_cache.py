"""A stage runs once per key; whatever happens to its entry, what comes back is what the stage makes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from robexpl import artifacts, cache, provenance

STAGE = """
    import numpy as np
    import torch

    from robexpl import cache, checks, seeds

    FACTOR = 3
    RUNS = []


    def helper(x):
        return FACTOR * x


    def unrelated(x):
        return x


    @cache.cached("checks")
    def stage(n, scale=1.0, settings=None):
        \"\"\"Doc.\"\"\"
        RUNS.append(n)
        return {"t": torch.arange(n) * helper(scale), "i": np.arange(n), "none": torch.zeros(0, 3)}


    @cache.cached()
    def wrong(n):
        return [n]
"""


@dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    steps: tuple[int, ...] = (1, 2)


@pytest.fixture(autouse=True)
def _build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path / "build"))
    monkeypatch.delenv("ROBEXPL_PROGRESS", raising=False)


def load(folder: Path, text: str = STAGE) -> ModuleType:
    path = folder / f"stages_{artifacts.sha256(text.encode())[:8]}.py"
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


def test_keys_tell_apart_every_argument(stages: ModuleType) -> None:
    keys = [
        stages.stage.key(3),
        stages.stage.key(3, 1),
        stages.stage.key(3, 1.0 + 2**-52),
        stages.stage.key(3, settings=Settings()),
        stages.stage.key(3, settings=Settings(rate=0.2)),
        stages.stage.key(3, settings=Settings(steps=(1,))),
        stages.stage.key(3, settings="Settings"),
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
        ("Doc.", "Other words.", False),
        ("RUNS.append(n)", "RUNS.append(n)  # a comment", False),
        ("return x\n", "return -x\n", False),
        ('cached("checks")', 'cached("checks", "seeds")', True),
    ],
)
def test_the_key_follows_the_code_that_counts(old: str, new: str, changes: bool, tmp_path: Path) -> None:
    before = load(tmp_path).stage.key(3)
    after = load(tmp_path, STAGE.replace(old, new)).stage.key(3)
    assert (before != after) == changes


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
    with pytest.raises(OSError, match=r"^cannot write build/cache/stage/\w+: No space left on device; nothing"):
        stages.stage(3)
    assert list(stages.stage.path(3).parent.iterdir()) == []


def test_the_lock_of_a_dead_owner_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path))
    lines = ["import os", "from robexpl import artifacts", "with artifacts.locked('stage'): os.kill(os.getpid(), 9)"]
    owner = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=artifacts.ROOT)
    assert owner.returncode == -9
    assert [file.name for file in (artifacts.build_dir() / "locks").iterdir()] == ["stage.lock"]
    with artifacts.locked("stage"):
        pass


def test_the_essence_of_code_leaves_out_words_and_keeps_strings() -> None:
    source = '"""Doc."""\n\n\ndef f(x):  # why\n    """Doc."""\n    # more\n    return """a\n\n  # b"""\n'
    assert provenance.essence(source) == 'def f(x):\n    return """a\n\n  # b"""'
    assert provenance.essence("not python (") == "not python ("


def test_modules_are_followed_through_their_imports() -> None:
    assert provenance.closure(["cache"], ignore=()) == ["artifacts", "cache", "progress", "provenance"]
    assert provenance.imports("from robexpl import checks\nfrom robexpl.seeds import x\nimport torch") == {
        "checks",
        "seeds",
    }
    with pytest.raises(ValueError, match=r"unknown module 'nothing'; known: .*artifacts, .*cache, "):
        provenance.code_digest(["nothing"])
