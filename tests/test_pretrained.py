"""Networks that come with the package: the bytes and the accuracies that their card states, and named damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from robexpl import attacks, checks, data, files, metrics, models
from robexpl.data import california, mnist
from robexpl.models import _author, _pretrained
from robexpl.regimes import ADVERSARIES, REGIMES

CONTROLS = {"mnist": "double_backprop", "california": "weight_decay"}
NETWORKS = [(dataset, name) for dataset, control in CONTROLS.items() for name in (*REGIMES, control)]


def need(dataset: str) -> data.Dataset:
    """Return the data that a network of the card was measured on, or skip by the name of what is absent."""
    known = {california.FILE: california.SHA256} if dataset == "california" else {}
    if dataset == "mnist":
        known = {f"mnist/{file}": digest for file, (digest, _) in mnist.FILES.items()}
    absent = [file for file, digest in known.items() if files.find(file, digest) is None]
    if absent:
        pytest.skip(f"neither in ROBEXPL_DATA nor in the user cache: {', '.join(absent)}")
    return data.load(dataset, seed=0, sampling="corrected")


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of the folder, to be damaged."""
    copy = Path(shutil.copytree(_pretrained.FOLDER, tmp_path / "pretrained"))
    monkeypatch.setattr(_pretrained, "FOLDER", copy)
    return copy


@pytest.mark.parametrize(("dataset", "regime"), NETWORKS)
def test_every_network_is_that_of_its_card(dataset: str, regime: str) -> None:
    model, known, opponent = models.pretrained(dataset, regime), models.card(dataset, regime), ADVERSARIES.get(regime)
    sizes = {"mnist": (784, 128, 10), "california": (8, 10, 2)}[dataset]
    expected = dict(zip(("inputs", "hidden", "outputs"), sizes, strict=True))
    assert models.module(known["architecture"]).sizes(model) == expected
    assert not model.training
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert (known["dataset"], known["regime"], known["condition"], known["seed"]) == (dataset, regime, "corrected", 0)
    assert known["adversary"] == (opponent and vars(opponent))
    assert ("strength" in known) == (regime in CONTROLS.values())
    assert (known["early_stop"], known["rounded"], known["epochs"], known["batch_size"]) == (False, False, 20, 32)
    accuracy = known["accuracy"]
    assert 1 >= accuracy["clean"] >= accuracy["fgsm"] >= accuracy["pgd_projected"] >= 0


def test_a_stronger_adversary_in_training_leaves_more_accuracy_under_attack() -> None:
    for dataset in ("mnist", "california"):
        left = [models.card(dataset, regime)["accuracy"]["pgd_projected"] for regime in REGIMES]
        assert left == sorted(left)


def test_they_are_small_and_no_other_file_comes_with_them() -> None:
    known = {path.name: path.stat().st_size for path in _pretrained.FOLDER.iterdir()}
    assert set(known) == {"card.yaml", *(f"{dataset}-{regime}.safetensors" for dataset, regime in NETWORKS)}
    assert sum(known.values()) < 2 * 2**20


@pytest.mark.parametrize(("dataset", "regime"), NETWORKS)
def test_accuracies_are_those_of_the_card(dataset: str, regime: str) -> None:
    of, known, model = need(dataset), models.card(dataset, regime), models.pretrained(dataset, regime)
    x, y, n = of.x_test, of.y_test, len(of.x_test)
    assert known["n"] == n
    assert metrics.accuracy(model, x, y) == pytest.approx(known["accuracy"]["clean"], abs=1.5 / n)  # a tie at most
    near = attacks.fgsm(model, x, y, bounds=of.bounds, **known["attacks"]["fgsm"])
    assert metrics.accuracy(model, near, y) == pytest.approx(known["accuracy"]["fgsm"], abs=2e-3)
    if regime == "strong" or dataset == "california":  # elsewhere seconds
        how = known["attacks"]["pgd_projected"]
        far = attacks.pgd(model, x, y, bounds=of.bounds, generator=torch.Generator().manual_seed(1), **how)
        # other starting points than those of the study: each row for itself hits or fails
        assert metrics.accuracy(model, far, y) == pytest.approx(known["accuracy"]["pgd_projected"], abs=5e-3)


def test_the_card_brings_rows_of_the_source_to_the_network() -> None:
    of, inputs = need("california"), models.card("california", "strong")["inputs"]
    mean, sd, low, high = (np.array(inputs[name]) for name in ("mean", "sd", "low", "high"))
    rows = {row.tobytes() for row in ((california.read()[0] - mean) / sd).astype(np.float32)}
    assert all(row.numpy().tobytes() in rows for row in (*of.x_train[:50], *of.x_test[:50]))
    assert inputs["features"] == list(of.feature_names)
    assert inputs["classes"] == list(of.class_names)
    for side, other in zip((low, high), checks.box(of.bounds, of.x_train), strict=True):
        assert np.array_equal(side.astype(np.float32), other.numpy())


def test_grey_levels_become_intensities() -> None:
    inputs = models.card("mnist", "strong")["inputs"]
    assert (inputs["mean"], inputs["sd"], inputs["low"], inputs["high"]) == (0, 255, 0, 1)
    levels = mnist._bytes()[2][:20] if need("mnist") else None
    rows = (levels.reshape(20, -1) - inputs["mean"]) / inputs["sd"]
    torch.testing.assert_close(torch.from_numpy(rows).float(), need("mnist").x_test[:20])


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_a_damaged_network_is_named(shipped: Path, spoil) -> None:
    path = shipped / "california-weak.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(files.DataError, match=r"california-weak\.safetensors is truncated or altered: exp") as error:
        models.pretrained("california", "weak")
    assert "\n" not in str(error.value)


def test_another_regimes_network_in_its_place_is_named(shipped: Path) -> None:
    shutil.copy(shipped / "mnist-weak.safetensors", shipped / "mnist-strong.safetensors")
    with pytest.raises(files.DataError, match=r"mnist-strong\.safetensors is truncated or altered"):
        models.pretrained("mnist", "strong")


@pytest.mark.parametrize(
    ("dataset", "regime", "source", "says"),
    [
        ("digits", "weak", "study", "unknown dataset with trained networks 'digits'; known: mnist, california"),
        (3, "weak", "study", "unknown dataset with trained networks 3; known"),
        ("mnist", "robust", "study", "unknown regime 'robust'; known: standard, weak, medium, strong"),
        ("mnist", None, "study", "unknown regime None; known"),
        ("mnist", "weak", "thesis", "unknown source 'thesis'; known: study, author"),
        ("digits", "weak", "author", "unknown author's dataset 'digits'; known: mnist, california"),
        ("../mnist", "weak", "study", "unknown dataset with trained networks"),
    ],
)
def test_unknown_names_are_answered_with_the_known_ones(dataset, regime, source, says) -> None:
    with pytest.raises(ValueError, match=f"^{says}"):
        models.pretrained(dataset, regime, source=source)


@pytest.mark.parametrize("dataset", ["mnist", "california"])
def test_the_authors_networks_come_through_their_reader(dataset: str) -> None:
    file, digest = f"thesis/{_author.FOLDERS[dataset]}/{_author.FILES['weak']}", _author.SHA256[dataset]["weak"]
    if files.find(file, digest) is None:
        pytest.skip(f"neither in ROBEXPL_DATA nor in the user cache: {file}")
    model, same = models.pretrained(dataset, "weak", source="author"), _author.load_author_network(dataset, "weak")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    assert not model.training
