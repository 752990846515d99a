"""The audit: golden numbers on the author's networks, and the first steps of a search in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from robexpl import attacks, metrics
from robexpl.data import load
from robexpl.generators import ecco
from robexpl.models._author import load_author_network
from robexpl.regimes import REGIMES
from robexpl.seeds import torch_generator
from robexpl.study import sizes, thesis

HERE = Path(os.environ.get("ROBEXPL_DATA") or "nowhere")
needs_networks = pytest.mark.skipif(
    not ((HERE / "thesis" / "MNIST").is_dir() and (HERE / "mnist").is_dir()),
    reason="MNIST and the author's networks are not there (ROBEXPL_DATA)",
)
CLEAN = {"standard": 0.9812, "weak": 0.9832, "medium": 0.9847, "strong": 0.9689}
FGSM = {"standard": 0.0322, "weak": 0.2475, "medium": 0.3790, "strong": 0.7139}  # as single precision rounds it
EXACT = {"standard": 0.0001, "weak": 0.0556, "medium": 0.3783, "strong": 0.7139}


@needs_networks
@pytest.mark.parametrize("regime", REGIMES)
def test_golden_accuracies(regime):
    mnist, model = load("mnist"), load_author_network("mnist", regime)
    x, y, how = mnist.x_test, mnist.y_test, {"eps": 0.2, "bounds": mnist.bounds}
    assert metrics.accuracy(model, x, y) == pytest.approx(CLEAN[regime], abs=1e-4)
    rounded, exact = (attacks.fgsm(model, x, y, **how, rounded=r) for r in (True, False))
    assert metrics.accuracy(model, rounded, y) == pytest.approx(FGSM[regime], abs=2e-3)  # rounding is a processor's own
    assert metrics.accuracy(model, exact, y) == pytest.approx(EXACT[regime], abs=2e-4)
    tenth = attacks.fgsm(model.double(), x[::10].double(), y[::10], **how).float()
    model.float()
    assert metrics.accuracy(model, tenth, y[::10]) == metrics.accuracy(model, exact[::10], y[::10])


@needs_networks
@pytest.mark.parametrize("regime", REGIMES)
def test_pgd_on_the_authors_networks(regime):
    """On every tenth image: projection is the stronger attack, the early stop gives the thesis' figure within noise."""
    mnist, model = load("mnist"), load_author_network("mnist", regime)
    x, y = mnist.x_test[::10], mnist.y_test[::10]
    evaluation = dict(sizes.evaluation()["pgd_projected"].settings)
    start = attacks.start_points(x, evaluation["step_size"], torch_generator(0, "test"))
    found = {}
    for early_stop in ("example", False):
        how = {"bounds": mnist.bounds, "early_stop": early_stop, "start": start, "rounded": True}
        found[early_stop] = metrics.accuracy(model, attacks.pgd(model, x, y, **evaluation, **how), y)
    assert found[False] <= found["example"]
    reported = thesis.accuracies("mnist").set_index(["regime", "attack"])["thesis"]
    assert found["example"] == pytest.approx(reported[regime, "pgd_early_stop"], abs=0.06)


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


def test_the_thesis_table_is_whole():
    for dataset in sizes.datasets("full").values():
        assert len(thesis.accuracies(dataset)) == 12
        assert len(thesis.implausibilities(dataset)) == 8
        reported, files = thesis.implausibilities(dataset), thesis.implausibilities(dataset, files=True)
        assert (reported["mean"] - files["mean"]).abs().max() <= 0.001
    assert thesis.implausibilities("digits").empty
    assert len(thesis.unreported()) == 8
