"""Exact distances against the enumeration of all patterns, attacks and a grid; what cannot be solved says so."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from enumeration import distance, perceptron
from helpers import Opaque, linear

from robexpl import attacks, exact, models
from robexpl.generators import ecco
from robexpl.seeds import torch_generator

LOW, HIGH = -1.0, 1.5


def rows(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, d, generator=torch_generator(seed, "rows")).double() * (HIGH - LOW) + LOW


def moved(found: exact.Exact, x: torch.Tensor, norm: str) -> torch.Tensor:
    return (found.x - x).abs().amax(1) if norm == "linf" else (found.x - x).abs().sum(1)


@pytest.mark.parametrize("norm", exact.NORMS)
@pytest.mark.parametrize(("hidden", "outputs"), [(5, 2), (4, 3), ([3, 3], 2)])
def test_the_smallest_perturbation_is_that_of_the_enumeration(norm, hidden, outputs) -> None:
    model, x = perceptron(3, hidden, outputs, seed=4), rows(3, 3)
    y = model(x).argmax(1)
    found = exact.smallest(model, x, y, bounds=(LOW, HIGH), norm=norm)
    assert found.optimal.all()
    for i, own in enumerate(y.tolist()):
        goals = [[(j, own, exact.MARGIN)] for j in range(outputs) if j != own]
        expected = distance(model, x[i].numpy(), goals, norm, np.full(3, LOW), np.full(3, HIGH))
        assert found.distance[i].item() == pytest.approx(expected, abs=1e-6)
    there = found.distance.isfinite()
    assert there.any()
    assert (model(found.x).argmax(1) != y)[there].all()
    torch.testing.assert_close(moved(found, x, norm)[there], found.distance[there])
    assert ((found.x >= LOW) & (found.x <= HIGH)).all()


def test_of_a_linear_network_the_distances_have_a_closed_form() -> None:
    """To the plane w x + b = 0: |w x + b| over the sum of the |w_i|, and over the largest of them in the L1 norm."""
    w, b, x = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 1.0]]), torch.tensor([0.1, 0.0]), 0.1 * rows(5, 3)
    model = torch.nn.Sequential(linear(w, b)).double().requires_grad_(False)
    y, gap = model(x).argmax(1), (model(x)[:, 0] - model(x)[:, 1]).abs() + exact.MARGIN
    for norm, size in (("linf", 4.5), ("l1", 3.0)):
        found = exact.smallest(model, x, y, bounds=(-5, 5), norm=norm)
        torch.testing.assert_close(found.distance, gap / size)
        assert found.optimal.all()


@pytest.mark.parametrize("norm", exact.NORMS)
def test_fixed_features_stay_and_boxes_hold(norm) -> None:
    model, x, fixed = perceptron(4, 5, 2, seed=1), rows(4, 4), torch.tensor([False, True, False, False])
    target = 1 - model(x).argmax(1)
    low, high = torch.tensor([-1.0, -1, 0, -1]).double(), torch.tensor([1.5, 2, 1.5, 1]).double()
    x = torch.clamp(x, low, high)
    free, found = (exact.closest(model, x, target, bounds=(low, high), norm=norm, fixed=f) for f in (None, fixed))
    assert torch.equal(found.x[:, 1], x[:, 1])
    assert (found.distance >= free.distance - 1e-6).all()
    assert (found.distance > free.distance + 1e-3).any()  # the feature mattered
    for i, t in enumerate(target.tolist()):
        ends = [torch.where(fixed, x[i], side).numpy() for side in (low, high)]
        expected = distance(model, x[i].numpy(), [[(t, 1 - t, exact.MARGIN)]], norm, *ends)
        assert found.distance[i].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("probability", [0.5, 0.9])
def test_of_two_classes_the_probability_is_a_difference_of_logits(probability) -> None:
    model, x = perceptron(3, 5, 2, seed=4), rows(3, 3)
    target = 1 - model(x).argmax(1)
    found = exact.closest(model, x, target, bounds=(LOW, HIGH), probability=probability)
    for i, t in enumerate(target.tolist()):
        goal = [[(t, 1 - t, math.log(probability / (1 - probability)) + exact.MARGIN)]]
        expected = distance(model, x[i].numpy(), goal, "l1", np.full(3, LOW), np.full(3, HIGH))
        assert found.distance[i].item() == pytest.approx(expected, abs=1e-6)
    there = found.distance.isfinite()
    reached = model(found.x).softmax(1).gather(1, target[:, None])[:, 0]
    torch.testing.assert_close(reached[there], torch.full_like(reached[there], probability), atol=1e-5, rtol=0)


def test_of_more_classes_tangents_lead_to_the_probability() -> None:
    """Between the points where the target is the largest logit and where it beats each rival by log 2; on a grid."""
    model, x = perceptron(2, 6, 3, seed=0), rows(4, 2)
    target = (model(x).argmax(1) + 1) % 3
    found = exact.closest(model, x, target, bounds=(LOW, HIGH))
    reached = model(found.x).softmax(1).gather(1, target[:, None])[:, 0]
    assert found.optimal.all()
    assert found.distance.isfinite().any()
    axis = torch.linspace(LOW, HIGH, 251).double()
    grid = torch.cartesian_prod(axis, axis)
    enough = model(grid).softmax(1) >= 0.5
    for i, t in enumerate(target.tolist()):
        rivals = [j for j in range(3) if j != t]
        least, most = (
            distance(model, x[i].numpy(), [[(t, j, c) for j in rivals]], "l1", np.full(2, LOW), np.full(2, HIGH))
            for c in (0.0, math.log(2) + exact.MARGIN)
        )
        assert least - 1e-6 <= found.distance[i] <= most + 1e-6
        nearest = (grid[enough[:, t]] - x[i]).abs().sum(1)
        nearest = nearest.min().item() if len(nearest) else math.inf
        assert found.distance[i] <= nearest + 1e-6
        if found.distance[i].isfinite():
            assert reached[i] == pytest.approx(0.5, abs=1e-5)
            assert nearest <= found.distance[i] + 0.04  # four cells of the grid


def test_no_attack_comes_nearer() -> None:
    model, x = perceptron(6, 12, 3, seed=0), rows(8, 6)
    y = model(x).argmax(1)
    found = exact.smallest(model, x, y, bounds=(LOW, HIGH))
    assert found.optimal.all()
    assert (found.distance.isfinite() & (found.distance > 0.01)).any()
    for i in found.distance.isfinite().nonzero()[:, 0].tolist():
        eps, many = max(0.0, found.distance[i].item() - 1e-5), x[i : i + 1].repeat(64, 1)
        start = many + (2 * torch.rand(many.shape, generator=torch_generator(i, "start")).double() - 1) * eps
        how = {"eps": eps, "step_size": 0.25 * eps + 1e-9, "steps": 30, "bounds": (LOW, HIGH)}
        assert (model(attacks.pgd(model, many, y[i].expand(64), start=start, **how)).argmax(1) == y[i]).all()


def test_no_search_comes_nearer() -> None:
    model, x = perceptron(6, 8, 2, seed=3).float(), rows(8, 6).float()
    target = 1 - model(x).argmax(1)
    how = {"stop": "decision_threshold", "bounds": (LOW, HIGH), "labels": 1 - target}
    settings = ecco.Settings(start_noise=0, steps=2000, learning_rate=0.01)
    searched = ecco.search(model, x, target, settings=settings, **how)
    found = exact.closest(model, x, target, bounds=(LOW, HIGH))
    met = searched.converged
    assert met.any()
    assert ((searched.x - x).abs().sum(1)[met] >= found.bound[met] - 1e-5).all()


def test_a_limit_of_nodes_is_never_silent() -> None:
    model, x = perceptron(6, 24, 2, seed=6), rows(4, 6)
    target = 1 - model(x).argmax(1)
    how = {"bounds": (LOW, HIGH), "norm": "linf"}
    best, limited = (exact.closest(model, x, target, nodes=nodes, **how) for nodes in (10_000, 1))
    assert best.optimal.all()
    farther = limited.distance > best.distance + 1e-3
    assert farther.any()
    assert not limited.optimal[farther].any()
    assert (limited.distance >= best.distance - 1e-6).all()
    assert (limited.bound <= best.distance + 1e-6).all()
    assert (limited.bound < limited.distance)[~limited.optimal].all()


def test_what_does_not_exist_is_infinitely_far() -> None:
    model = models.mlp(2, 3, 2).double()  # all weights are zero: the logits are the biases
    with torch.no_grad():
        model[2].bias.copy_(torch.tensor([2.0, 0.0]))
    found = exact.smallest(model, x := rows(2, 2), torch.zeros(2, dtype=torch.long), bounds=(LOW, HIGH))
    assert found.distance.isinf().all()
    assert found.bound.isinf().all()
    assert found.optimal.all()
    assert torch.equal(found.x, x)
    other = exact.smallest(model, x, torch.ones(2, dtype=torch.long), bounds=(LOW, HIGH))
    assert (other.distance == 0).all()


def test_single_precision_and_no_rows() -> None:
    model, x = perceptron(3, 5, 2, seed=4), rows(3, 3).float()
    y = model(x.double()).argmax(1)
    twice = exact.smallest(model.float(), x, y, bounds=(LOW, HIGH))
    once = exact.smallest(model.double(), x.double(), y, bounds=(LOW, HIGH))
    torch.testing.assert_close(twice.distance, once.distance, atol=1e-5, rtol=0)
    none = exact.smallest(model, x[:0].double(), y[:0], bounds=(LOW, HIGH))
    assert [len(part) for part in vars(none).values()] == [0] * 4


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"norm": "l2"}, r"^unknown norm 'l2'; known: linf, l1$"),
        ({"fixed": torch.zeros(3)}, r"^expected fixed as bool of shape \(3,\), got torch.float32 \(3,\)$"),
        ({"fixed": torch.zeros(2, dtype=torch.bool)}, r"^expected fixed as bool of shape \(3,\)"),
        ({"probability": 1.0}, r"^expected probability between 0 and 1, got 1"),
        ({"nodes": 0}, r"^expected steps > 0, got 0$"),
    ],
)
def test_wrong_input_is_refused(changes, line) -> None:
    model, x = perceptron(3, 5, 2, seed=4), rows(3, 3)
    with pytest.raises(ValueError, match=line):
        exact.closest(model, x, torch.zeros(3, dtype=torch.long), **{"bounds": (LOW, HIGH), **changes})


def test_other_models_and_units_without_bounds_are_refused() -> None:
    model, x, y = perceptron(3, 5, 2, seed=4), rows(3, 3), torch.zeros(3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"^expected a perceptron of ReLUs, got Opaque$"):
        exact.smallest(Opaque(model), x, y, bounds=(LOW, HIGH))
    never = perceptron(3, 5, 2, seed=4)
    never[2].weight.zero_()
    with pytest.raises(
        ValueError, match=r"^expected hidden units below 1e\+08 within the bounds, got .*: narrow the b"
    ):
        exact.smallest(never, x, never(x).argmax(1), bounds=(-1e12, 1e12))
