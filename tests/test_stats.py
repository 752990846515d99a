"""Estimates against closed forms, and intervals against simulated data whose truth is known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from robexpl import stats


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def nested(rng: np.random.Generator, seeds: int, factuals: int, between: float, within: float):
    """Values with mean 0: a normal effect per seed and a normal one per factual; and the seed of each."""
    values = between * rng.normal(size=(seeds, 1)) + within * rng.normal(size=(seeds, factuals))
    return values.ravel(), np.repeat(np.arange(seeds), factuals)


def covered(estimate: stats.Estimate, truth: float = 0.0) -> bool:
    return estimate.low <= truth <= estimate.high


# Over 300 simulations a coverage of 0.95 is measured with a standard error of 0.013.
@pytest.mark.parametrize(
    ("seeds", "factuals", "between", "within", "low", "high"),
    [
        (10, 40, 1.0, 1.0, 0.91, 0.99),
        (20, 40, 1.0, 1.0, 0.91, 0.99),
        (5, 40, 1.0, 1.0, 0.90, 0.99),
        (3, 40, 1.0, 1.0, 0.90, 1.0),
        (1, 100, 0.0, 1.0, 0.91, 0.99),
        (1, 8, 0.0, 1.0, 0.90, 0.99),
        (10, 40, 0.0, 1.0, 0.95, 1.0),  # seeds that do not differ: the interval is too wide, never too short
    ],
)
def test_intervals_cover_the_truth_as_often_as_they_say(rng, seeds, factuals, between, within, low, high):
    hits = [
        covered(stats.mean_interval(*nested(rng, seeds, factuals, between, within), rng=rng, draws=400))
        for _ in range(300)
    ]
    assert low <= np.mean(hits) <= high


def test_an_interval_over_factuals_alone_misses_the_truth_over_seeds(rng):
    """With one seed the unit is the factual, and the interval does not speak about other seeds."""
    hits = [covered(stats.mean_interval(*nested(rng, 1, 100, 1.0, 1.0), rng=rng, draws=400)) for _ in range(200)]
    assert np.mean(hits) < 0.35


def test_paired_differences_cover_and_are_shorter_than_unpaired_ones(rng):
    hits, paired, single = [], [], []
    for _ in range(200):
        b, seeds = nested(rng, 10, 20, 1.0, 1.0)
        a = b + 0.3 + 0.2 * rng.normal(size=b.shape)
        estimate = stats.paired_difference(a, b, seeds, rng=rng, draws=400)
        hits.append(covered(estimate, 0.3))
        paired.append(estimate.high - estimate.low)
        alone = stats.mean_interval(a, seeds, rng=rng, draws=400)
        single.append(alone.high - alone.low)
    assert np.mean(hits) >= 0.91
    assert np.mean(paired) < np.mean(single) / 5


def test_means_weigh_seeds_equally(rng):
    values, seeds = np.array([1.0, 1.0, 1.0, 5.0, 7.0]), np.array([0, 0, 0, 4, 4])
    estimate = stats.mean_interval(values, seeds, rng=rng)
    assert (estimate.mean, estimate.n, estimate.n_seeds) == (3.5, 5, 2)
    assert estimate.low <= 3.5 <= estimate.high
    one = stats.mean_interval(values, np.zeros(5), rng=rng)
    assert (one.mean, one.n_seeds) == (3.0, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.mean = 0


def test_the_order_of_rows_does_not_matter_and_a_generator_repeats():
    values, seeds = nested(np.random.default_rng(0), 5, 30, 1.0, 1.0)
    first = stats.mean_interval(values, seeds, rng=np.random.default_rng(1))
    assert first == stats.mean_interval(values, seeds, rng=np.random.default_rng(1))
    order = np.random.default_rng(2).permutation(len(values))
    other = stats.mean_interval(values[order], seeds[order], rng=np.random.default_rng(1), draws=8000)
    assert other.mean == pytest.approx(first.mean, abs=1e-12)
    assert other.low == pytest.approx(first.low, abs=0.15)


def test_equal_values_have_an_interval_of_no_length(rng):
    estimate = stats.mean_interval(np.full(20, 0.25), np.arange(20) % 4, rng=rng)
    assert (estimate.mean, estimate.low, estimate.high) == (0.25, 0.25, 0.25)


def test_blocks_of_resamples_do_not_matter(monkeypatch):
    values, seeds = nested(np.random.default_rng(0), 4, 25, 1.0, 1.0)
    whole = stats.mean_interval(values, seeds, rng=np.random.default_rng(1))
    monkeypatch.setattr(stats, "BLOCK", 100)
    assert stats.mean_interval(values, seeds, rng=np.random.default_rng(1)) == whole


def test_the_share_below_zero_follows_the_difference(rng):
    b, seeds = nested(rng, 10, 30, 1.0, 1.0)
    assert stats.paired_difference(b - 1, b, seeds, rng=rng).p_lower == 1
    assert stats.paired_difference(b + 1, b, seeds, rng=rng).p_lower == 0
    assert stats.paired_difference(b, b, seeds, rng=rng).p_lower == 0.5


# Accuracies


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Return the interval of one seed, which needs no draws."""
    estimate = stats.accuracy_interval([correct], [n], rng=None)
    return estimate.low, estimate.high


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (9812, 10000, 0.97835, 0.98368)]
)
def test_wilson_golden_values(correct, n, low, high):
    """p = 0: (0, z^2 / (n + z^2)); p = 1/2 is symmetric."""
    found = wilson(correct, n)
    p, z = correct / n, 1.959963984540054
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    sides = [(p + z**2 / (2 * n) + sign * half) / (1 + z**2 / n) for sign in (-1, 1)]
    assert found == pytest.approx(sides, abs=1e-12)
    assert found == pytest.approx((low, high), abs=1e-4)
    mirrored = wilson(n - correct, n)
    assert mirrored == pytest.approx((1 - found[1], 1 - found[0]), abs=1e-12)


def test_wilson_covers_small_shares(rng):
    for p in (0.02, 0.3, 0.97):
        intervals = [wilson(correct, 200) for correct in rng.binomial(200, p, 1000).tolist()]
        assert np.mean([low <= p <= high for low, high in intervals]) > 0.92


def test_accuracies_over_seeds(rng):
    one = stats.accuracy_interval(np.array([90]), np.array([100]), rng=rng)
    assert (one.mean, one.n, one.n_seeds) == (0.9, 100, 1)
    hits = []
    for _ in range(300):
        share = np.clip(rng.normal(0.8, 0.03, 10), 0, 1)
        estimate = stats.accuracy_interval(rng.binomial(500, share), np.full(10, 500), rng=rng, draws=400)
        hits.append(covered(estimate, 0.8))
    assert np.mean(hits) >= 0.91
    sure = stats.accuracy_interval(np.array([99, 100, 80]), np.array([100, 100, 100]), rng=rng)
    assert 0 <= sure.low < sure.high <= 1


# Components of variance


def test_nested_components_find_what_was_put_in(rng):
    found = [stats.variance_components(*nested(rng, 20, 50, 0.5, 2.0)) for _ in range(100)]
    assert np.mean([each["seed"] for each in found]) == pytest.approx(0.25, abs=0.04)
    assert np.mean([each["within"] for each in found]) == pytest.approx(4, abs=0.1)


def test_crossed_components_find_what_was_put_in(rng):
    found = []
    for _ in range(100):
        seed, factual = 0.5 * rng.normal(size=(10, 1)), 2 * rng.normal(size=(1, 60))
        found.append(stats.crossed_components(seed + factual + rng.normal(size=(10, 60))))
    assert np.mean([each["seed"] for each in found]) == pytest.approx(0.25, abs=0.05)
    assert np.mean([each["factual"] for each in found]) == pytest.approx(4, abs=0.35)
    assert np.mean([each["residual"] for each in found]) == pytest.approx(1, abs=0.03)


def test_crossed_components_by_hand():
    """Without residual both effects are the variances of their means."""
    table = np.array([[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]])
    assert stats.crossed_components(table) == pytest.approx({"seed": 0.5, "factual": 4.0, "residual": 0.0})


# Wrong questions


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda rng: stats.mean_interval([1.0], [0], rng=rng), "expected at least two values for an interval, got 1"),
        (lambda rng: stats.mean_interval([1.0, math.nan], [0, 1], rng=rng), "expected finite values, got 1 NaN"),
        (lambda rng: stats.mean_interval([1.0, 2.0], [0], rng=rng), r"expected values and seeds of one shape \(n,\)"),
        (lambda rng: stats.mean_interval([], [], rng=rng), "n > 0"),
        (lambda rng: stats.paired_difference([1.0, 2.0], [1.0], [0, 1], rng=rng), "expected pairs"),
        (lambda rng: stats.accuracy_interval([11], [10], rng=rng), "expected counts 0 <= correct <= n"),
        (lambda rng: stats.accuracy_interval([0.9], [1], rng=rng), "expected counts 0 <= correct <= n"),
        (lambda rng: stats.accuracy_interval([[1, 2], [3, 4]], [[9, 9], [9, 9]], rng=rng), "expected counts"),
        (lambda rng: stats.mean_interval([1.0, 2.0], None, rng=rng), r"expected values and seeds of one shape \(n,\)"),
        (lambda rng: stats.mean_interval([1.0, 2.0], [None, None], rng=rng), "expected seeds as numbers or names"),
        (lambda rng: stats.mean_interval([1.0, 2.0], [0, None], rng=rng), "expected seeds as numbers or names"),
        (lambda rng: stats.mean_interval(["a", "b"], [0, 1], rng=rng), "expected real values, got others"),
        (lambda rng: stats.mean_interval([10**400, 1], [0, 1], rng=rng), "expected real values, got others"),
        (lambda rng: stats.mean_interval([{}, 1], [0, 1], rng=rng), "expected real values, got others"),
        (lambda rng: stats.paired_difference([1j, 1], [1, 2], [0, 1], rng=rng), "expected real values, got complex"),
        (lambda rng: stats.accuracy_interval([10**400], [10**401], rng=rng), "expected counts 0 <= correct <= n"),
        (lambda rng: stats.accuracy_interval(None, None, rng=rng), "expected counts 0 <= correct <= n"),
        (lambda rng: stats.crossed_components([[1, 2], [3]]), "expected real values, got others"),
        (lambda rng: stats.mean_interval([1 + 2j, 2], [0, 1], rng=rng), "expected real values"),
        (lambda rng: stats.accuracy_interval([9, 8], [10, 10], rng=rng, draws=0), "expected draws as a whole number"),
        (lambda rng: stats.mean_interval([1.0, 2.0], [0, 1], rng=None), "expected rng as a numpy Generator, got None"),
        (lambda rng: stats.mean_interval([1.0, 2.0], [0, math.nan], rng=rng), "expected finite values, got 1 NaN"),
        (lambda rng: stats.variance_components([1.0, 2.0], [0, 0]), "expected at least two seeds with two values each"),
        (lambda rng: stats.crossed_components(np.zeros((1, 5))), "each at least 2"),
        (lambda rng: stats.crossed_components(np.full((2, 2), math.nan)), "expected finite values, got 4"),
    ],
)
def test_wrong_questions_are_named(rng, ask, message):
    with pytest.raises(ValueError, match=message) as error:
        ask(rng)
    assert "\n" not in str(error.value)
