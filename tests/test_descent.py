"""When the fixed step of the search settles, by the factor c and by searching."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import linear

from robexpl import ecco
from robexpl.readings import reading
from robexpl.report import descent, study

TARGET = torch.tensor([1])


def search(slope: float, start: float, steps: int) -> tuple[float, float]:
    """Search where f_1 = slope x and the energy rules; return c and the distance of the target logit from its rest."""
    model = linear(torch.tensor([[0.0], [slope]]), torch.tensor([-1000.0, 0.0]))
    settings = ecco.Settings(l1=0.0, energy=1.0, steps=steps, tolerance=1e-9)
    x = torch.tensor([[start]])
    c = descent.factors(model, x, TARGET, settings)
    found = ecco.search(model, x, TARGET, settings=settings, stop="generator_conditions", bounds=(-1e6, 1e6), start=x)
    return c.item(), found.target_logit.item() - 1 / (2 * settings.reg)


@pytest.mark.parametrize("slope", [1.0, 5.0, 9.0, 11.0])
def test_each_step_multiplies_the_distance_by_one_minus_c(slope):
    start = 0.5
    before = slope * start - 5
    for steps in (1, 2, 5):
        c, after = search(slope, start, steps)
        assert c == pytest.approx(2 * 0.1 * 0.1 * slope**2, rel=1e-5)
        assert after == pytest.approx(before * (1 - c) ** steps, rel=1e-3, abs=1e-4)


def test_beyond_two_the_search_overshoots_ever_more():
    below, above = (abs(search(slope, 0.4, 30)[1]) for slope in (9.9, 10.1))
    assert below < abs(9.9 * 0.4 - 5) < above


@pytest.fixture(scope="module")
def small() -> study.Profile:
    sizes = {"image": 2, "tabular": 2}
    return study.Profile("demo", "digits", "breast_cancer", sizes, {"image": 1, "tabular": 1}, 2, 10, 20, 5)


def test_records_of_a_small_study(small):
    records = descent.stability("digits", seeds=2, readings=("stated",), profile=small)
    again = descent.finer("digits", seeds=2, readings=("stated",), profile=small)
    checked, gaps = descent.compared(again, small.steps), descent.gaps(again)
    for regime, record in records["stated"].items():
        assert 0 <= record["beyond"] <= 1
        assert record["factor"] > 0
        found = checked["stated"][regime]
        assert (found["steps"], found["n_seeds"]) == (200, 2)
        rows = again[(again["regime"] == regime) & again["correct"]]
        assert found["n"] == len(rows) / 2
        for way in ("fixed", "finer"):
            by_seed = [part["implausibility"].mean() for _, part in rows[rows["way"] == way].groupby("seed")]
            assert found[way] == pytest.approx(np.mean(by_seed))
    for way in ("fixed", "finer"):
        gap, means = gaps["stated"][way], {regime: found[way] for regime, found in checked["stated"].items()}
        assert gap["low"] <= gap["mean"] <= gap["high"]
        assert gap["mean"] == pytest.approx(means["strong"] - means["standard"], abs=0.05)  # pairs: on common factuals
    assert list(descent.table(records, checked).index.get_level_values("regime")) == [
        "Standard", "Weak", "Medium", "Strong",
    ]  # fmt: skip
    said = descent.sentence(records, checked, gaps)
    assert "With steps a tenth as long" in said
    assert "two seeds" in said


def test_the_factor_is_that_of_the_readings_settings(small):
    network = study.trained("digits", "standard", seed=0, reading=reading("stated"), profile=small)
    stated, published = (
        descent.rows(network, reading(name), small)["factor"].mean() for name in ("stated", "published")
    )
    assert published == pytest.approx(2 * stated, rel=1e-5)
