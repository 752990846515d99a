"""The audit: golden numbers on the author's networks, the first steps of a search, and its arithmetic."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from robexpl import attacks, ecco, metrics
from robexpl.author import load_author_network
from robexpl.data import load
from robexpl.regimes import EVALUATION, REGIMES
from robexpl.report import audit, study, tables
from robexpl.seeds import torch_generator

HERE = Path(os.environ.get("ROBEXPL_DATA") or "nowhere")
needs_networks = pytest.mark.skipif(
    not ((HERE / "thesis" / "MNIST").is_dir() and (HERE / "mnist").is_dir()),
    reason="MNIST and the author's networks are not there (ROBEXPL_DATA)",
)
CLEAN = {"standard": 0.9812, "weak": 0.9832, "medium": 0.9847, "strong": 0.9689}
FGSM = {"standard": 0.0322, "weak": 0.2475, "medium": 0.3790, "strong": 0.7139}


@needs_networks
@pytest.mark.parametrize("regime", REGIMES)
def test_golden_accuracies(regime):
    mnist, model = load("mnist"), load_author_network("mnist", regime)
    assert metrics.accuracy(model, mnist.x_test, mnist.y_test) == pytest.approx(CLEAN[regime], abs=1e-4)
    adversarial = attacks.fgsm(model, mnist.x_test, mnist.y_test, eps=0.2, bounds=mnist.bounds)
    assert metrics.accuracy(model, adversarial, mnist.y_test) == pytest.approx(FGSM[regime], abs=1e-4)


@needs_networks
@pytest.mark.parametrize("regime", REGIMES)
def test_pgd_on_the_authors_networks(regime):
    """On every tenth image: projection is the stronger attack, the early stop gives the thesis' figure within noise."""
    mnist, model = load("mnist"), load_author_network("mnist", regime)
    x, y = mnist.x_test[::10], mnist.y_test[::10]
    start = attacks.start_points(x, EVALUATION.step_size, torch_generator(0, "test"))
    found = {}
    for early_stop in ("example", False):
        adversarial = attacks.pgd(
            model, x, y, **vars(EVALUATION), bounds=mnist.bounds, early_stop=early_stop, start=start
        )
        found[early_stop] = metrics.accuracy(model, adversarial, y)
    assert found[False] <= found["example"]
    assert found["example"] == pytest.approx(tables.thesis()["table1"]["mnist"][regime]["pgd"], abs=0.06)


@needs_networks
@pytest.mark.parametrize("regime", REGIMES)
def test_first_twenty_steps_of_a_search(regime):
    """The batched closed form follows autograd written out, example by example."""
    mnist, model = load("mnist"), load_author_network("mnist", regime).double()
    x, target = mnist.x_test[:5].double(), (mnist.y_test[:5] + 1) % 10
    start = attacks.start_points(x, 0.1, torch_generator(0, "test"))
    settings = ecco.Settings(energy=1.0, steps=20)
    found = ecco.search(
        model, x, target, settings=settings, stop="generator_conditions", bounds=mnist.bounds, start=start
    )
    for i in range(5):
        z = start[i].clone()
        for _ in range(20):
            z.requires_grad_()
            logits = model(z)
            f = logits[target[i]]
            loss = torch.nn.functional.cross_entropy(logits, target[i]) + 0.01 * (z - x[i]).abs().sum()
            z = (z - 0.1 * torch.autograd.grad(loss - f + 0.1 * f**2, z)[0]).clamp(0, 1).detach()
        torch.testing.assert_close(found.x[i], z, atol=1e-5, rtol=0)


def test_agreement_counts_digits_and_intervals():
    def of(mean: float, theirs: float) -> dict:
        cell = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}
        return {"clean": cell, "fgsm": cell, "thesis": {"clean": theirs, "fgsm": theirs, "pgd": theirs}}

    exact = {regime: of(0.9812, 0.981) for regime in REGIMES} | {"strong": of(0.9712, 0.981)}
    drawn = {regime: of(0.85, 0.857) for regime in REGIMES} | {"weak": of(0.85, 0.88)}
    counted = audit.agreement({"image": exact, "tabular": drawn})
    assert counted["image"] == {"equal": 6, "of": 8}
    assert counted["tabular"] == {"within": 6, "of": 8}


def test_an_attack_weaker_than_one_step_is_counted():
    below, above = {"mean": 0.2}, {"mean": 0.3}
    records = {
        "image": {regime: {"fgsm": above, "pgd_early_stop": below} for regime in REGIMES},
        "tabular": {regime: {"fgsm": below, "pgd_early_stop": above} for regime in REGIMES},
    }
    assert audit.pgd_above_fgsm(records) == {"image": 0, "tabular": 4}


def test_cells_within_and_worst():
    cells = {"image": {"decision_threshold": {"weak": {"z": -2.5}, "strong": {"z": 1.0}}}}
    assert audit.within(cells) == 1
    assert audit.worst(cells) == {"role": "image", "stop": "decision_threshold", "regime": "weak", "z": -2.5}


def test_z_is_in_combined_standard_deviations():
    assert tables.z_score({"mean": 1.0, "sd": 3.0}, {"mean": 0.0, "sd": 4.0}) == pytest.approx(0.2)


def test_profile_names_the_least_and_what_is_compatible(monkeypatch):
    monkeypatch.setattr(audit, "sum_of_squares", lambda sizes, energy: {"image": 10 + 100 * (energy - 1) ** 2})
    found = audit.profiles(study.profile("full"), {"energy": (0.5, 0.9, 1.0, 1.1, 1.5)})["energy"]
    assert found["best"] == 1.0
    assert found["compatible"] == [0.9, 1.1]
    assert found["sum_z2"] == pytest.approx([35, 11, 10, 11, 35])
