"""What is found by name, and that a new file in a folder is enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import robexpl
from robexpl import data, models, progress, registry

PACKAGE = Path(robexpl.__file__).parent


def python(root: Path, code: str) -> str:
    """Run code with the package in `root`, every warning an error; return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the package in it."""
    shutil.copytree(PACKAGE, tmp_path / "robexpl", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


DATASET = """
from dataclasses import replace

from robexpl.data import digits


def load(*, seed, sampling):
    return replace(digits.load(seed=seed, sampling=sampling), name="faint", title="Faint digits")
"""
ARCHITECTURE = """
from torch import nn


def linear(inputs, outputs, *, generator=None):
    layers = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu"), nn.BatchNorm1d(outputs), nn.Dropout(0.1)
    model = nn.Sequential(*layers)
    nn.init.zeros_(model[0].bias)
    nn.init.normal_(model[0].weight, generator=generator)
    return model


def build(inputs, outputs, image_shape, *, generator):
    return linear(inputs, outputs, generator=generator)


def sizes(model):
    if [type(layer) for layer in model.children()] != [nn.Linear, nn.BatchNorm1d, nn.Dropout]:
        return None
    return {"inputs": model[0].in_features, "outputs": model[0].out_features}
"""
USE = """
import torch
from dataclasses import replace
from robexpl import data, models, training
faint = data.load("faint", seed=3)
for x in (faint.x_train, faint.x_train.double()):
    model = training.fit(replace(faint, x_train=x), "weak", seed=0, epochs=1, architecture="linear")
    again = models.load(models.save(model, "a.safetensors"))
    points = faint.x_test.to(x)
    assert again(points).dtype == x.dtype
    assert torch.equal(again(points), model(points)), "other weights"
models.save(models.mlp(3, 4, 2), "b.safetensors")
assert len(models.load("b.safetensors")) == 3
print(faint.title, data.names(), models.names())
"""


def test_a_dataset_and_an_architecture_are_one_new_file_each(copy: Path) -> None:
    (copy / "robexpl" / "data" / "faint.py").write_text(DATASET)
    (copy / "robexpl" / "models" / "linear.py").write_text(ARCHITECTURE)
    known = sorted([*data.names(), "faint"]), sorted([*models.names(), "linear"])
    assert python(copy, USE).split(" ", 2)[2] == "{} {}\n".format(*known)


def test_names_are_those_of_files_without_underscore() -> None:
    assert data.names() == ["breast_cancer", "california", "digits", "mnist"]
    assert models.names() == ["decision_tree", "deep_mlp", "lenet", "mlp"]
    rooms = ("data", "models", "attacks", "generators", "metrics", "trainings")
    for package in (f"robexpl.{room}" for room in rooms):
        files = (PACKAGE / package.split(".")[1]).glob("[!_]*.py")
        assert registry.names(package) == sorted(file.stem for file in files)
        for name in registry.names(package):
            module = registry.module(package, name, "thing")
            assert module is sys.modules[f"{package}.{name}"]
            assert Path(module.__file__).stem == name


@pytest.mark.parametrize("name", ["mnist.py", "_tables", "", "..", "os", "../files", None, 3])
def test_other_names_are_answered_with_the_known_ones(name: object) -> None:
    with pytest.raises(ValueError, match=r"^unknown dataset .*; known: breast_cancer, california, digits, mnist$"):
        registry.module("robexpl.data", name, "dataset")


def test_a_function_may_have_the_name_of_its_module() -> None:
    assert callable(models.mlp)
    assert models.module("mlp").mlp is models.mlp


PARTS = """
import importlib
import sys
import robexpl
assert "torch" not in sys.modules
for part in (*robexpl.PARTS, "ecco"):
    for name in [name for name in sys.modules if name.partition(".")[0] == "robexpl"]:
        del sys.modules[name]  # so that each part is the first to be imported
    package = importlib.import_module("robexpl")
    assert not [name for name in sys.modules if name.startswith("robexpl.")]
    print(getattr(package, part).__name__)
"""


def test_parts_are_imported_when_they_are_used() -> None:
    names = [f"robexpl.{part}" for part in robexpl.PARTS] + ["robexpl.generators.ecco"]
    assert python(PACKAGE.parent, PARTS).split() == names
    with pytest.raises(AttributeError, match=r"^module 'robexpl' has no attribute 'author'$"):
        robexpl.author  # noqa: B018


@pytest.mark.parametrize("path", ["/nonexistent/x", "{}", "a\0b"])
def test_a_progress_file_that_cannot_be_written_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    path = path.format(tmp_path)
    if "\0" in path:  # no environment variable can hold it
        monkeypatch.setattr(progress.os, "environ", {"ROBEXPL_PROGRESS": path})
    else:
        monkeypatch.setenv("ROBEXPL_PROGRESS", path)
    progress._log.cache_clear()
    assert list(progress.bar(range(3))) == [0, 1, 2]
    progress.warn("here")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"warning: ROBEXPL_PROGRESS cannot be written: {path!r} (")
    assert second == "warning: here"
    progress._log.cache_clear()


def test_a_progress_file_gets_bars_and_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROBEXPL_PROGRESS", str(tmp_path / "log"))
    progress._log.cache_clear()
    assert list(progress.bar(range(3), desc="some work")) == [0, 1, 2]
    progress.warn("here")
    text = (tmp_path / "log").read_text()
    assert "some work" in text
    assert text.endswith("warning: here\n")
    assert capsys.readouterr() == ("", "")
    progress._log(str(tmp_path / "log")).close()
    progress._log.cache_clear()
