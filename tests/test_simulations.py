"""Intervals and rules in simulated studies with the components that were measured, and beside other methods."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from robexpl import stats
from robexpl.study.places import ROOT

sys.path.insert(0, str(ROOT / "tests" / "bench"))
import contrasts
import simulations

STUDIES = 60


@pytest.mark.parametrize(
    ("kind", "stop", "heavy", "seeds"),
    [
        ("image", "decision_threshold", False, 10),
        ("image", "generator_conditions", True, 5),
        ("tabular", "generator_conditions", False, 20),
    ],
)
def test_rules_are_seldom_wrong_and_intervals_hold_the_truth(kind: str, stop: str, heavy: bool, seeds: int) -> None:
    smallest = {"image": 0.00483, "tabular": 0.0145}[kind]
    design = simulations.measured(kind, stop, heavy=heavy)
    found = simulations.rates(design, seeds, smallest, STUDIES, np.random.default_rng(seeds))
    # a share of 0.95 is measured with a standard error of 0.028, one of 0.05 likewise: four of them
    assert min(found[name] for name in found if name.startswith("coverage")) > 0.84
    assert max(found[name] for name in found if name.startswith("wrong")) < 0.16
    assert max(found[name] for name in found if name.startswith("at_edge")) < 0.16


def test_effects_are_found_where_networks_differ_little() -> None:
    design = simulations.measured("image", "decision_threshold")
    quiet = simulations.Design(*(part / 100 for part in (design.seed, design.factual, design.rest)), design.pool, True)
    found = simulations.rates(quiet, 10, 0.005, 20, np.random.default_rng(0))
    assert (found["power_lower"], found["power_equal"], found["wrong_lower"]) == (1, 1, 0)
    assert 1 < found["detectable"] < 2


def test_rows_that_networks_share_are_counted() -> None:
    """A small test set met by 20 networks: without its rows the interval misses the truth far too often."""
    four = np.ones(4)
    design = simulations.Design(seed=1e-4 * four, factual=four, rest=0 * four, pool=300, shared=True)
    hits, rng = [], np.random.default_rng(0)
    for _ in range(STUDIES):
        scores, seeds, rows = simulations.simulate(design, 20, rng)
        found = (stats.mean_interval(scores[3], seeds), stats.mean_interval(scores[3], seeds, rows))
        hits.append([each.low <= 0 <= each.high for each in found])
    without, with_rows = np.mean(hits, axis=0)
    assert without < 0.8 < 0.84 < with_rows


def test_a_mixed_model_and_a_permutation_agree_with_the_interval() -> None:
    rng = np.random.default_rng(0)
    design = simulations.measured("tabular", "generator_conditions")
    agree, widths = [], []
    for _ in range(12):
        scores, seeds, _ = simulations.simulate(design, 10, rng)
        values = scores[3] - scores[0] + rng.choice([0.0, 1.0])
        ours, mixed = stats.mean_interval(values, seeds), contrasts.mixed_model(values, seeds)
        assert mixed[0] == pytest.approx(ours.mean, abs=1e-6)  # seeds of equal size
        widths.append((mixed[2] - mixed[1]) / (ours.high - ours.low))
        significant = not ours.low <= 0 <= ours.high
        p = contrasts.sign_test(values, seeds)
        agree.append(significant == (p < 0.05) or 0.02 < p < 0.1)  # near the level methods may differ
    assert np.all(agree)
    assert np.allclose(widths, 1.96 / 2.262, rtol=0.02)  # the model's interval is normal, ours Student's


def test_a_permutation_by_hand() -> None:
    assert contrasts.sign_test(np.array([3.0, -1.0]), np.array([0, 1])) == 1.0  # sums 2, 4, -4, -2
    assert contrasts.sign_test(np.array([1.0, 1.0, 1.0, 1.0]), np.arange(4)) == 2 / 16
