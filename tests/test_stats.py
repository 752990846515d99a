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
        (5, 40, 1.0, 1.0, 0.91, 0.99),
        (3, 40, 1.0, 1.0, 0.91, 0.99),
        (1, 100, 0.0, 1.0, 0.91, 0.99),
        (1, 8, 0.0, 1.0, 0.90, 0.99),
        (10, 40, 0.0, 1.0, 0.91, 0.99),  # seeds that do not differ
    ],
)
def test_intervals_cover_the_truth_as_often_as_they_say(rng, seeds, factuals, between, within, low, high):
    hits = [covered(stats.mean_interval(*nested(rng, seeds, factuals, between, within))) for _ in range(300)]
    assert low <= np.mean(hits) <= high


def test_an_interval_over_factuals_alone_misses_the_truth_over_seeds(rng):
    """With one seed the unit is the factual, and the interval does not speak about other seeds."""
    hits = [covered(stats.mean_interval(*nested(rng, 1, 100, 1.0, 1.0))) for _ in range(200)]
    assert np.mean(hits) < 0.35


def test_paired_differences_cover_and_are_shorter_than_unpaired_ones(rng):
    hits, paired, single = [], [], []
    for _ in range(200):
        b, seeds = nested(rng, 10, 20, 1.0, 1.0)
        a = b + 0.3 + 0.2 * rng.normal(size=b.shape)
        estimate = stats.paired_difference(a, b, seeds)
        hits.append(covered(estimate, 0.3))
        paired.append(estimate.high - estimate.low)
        alone = stats.mean_interval(a, seeds)
        single.append(alone.high - alone.low)
    assert np.mean(hits) >= 0.91
    assert np.mean(paired) < np.mean(single) / 5


def test_means_weigh_seeds_equally(rng):
    values, seeds = np.array([1.0, 1.0, 1.0, 5.0, 7.0]), np.array([0, 0, 0, 4, 4])
    estimate = stats.mean_interval(values, seeds)
    assert (estimate.mean, estimate.n, estimate.n_seeds) == (3.5, 5, 2)
    assert estimate.low <= 3.5 <= estimate.high
    one = stats.mean_interval(values, np.zeros(5))
    assert (one.mean, one.n_seeds) == (3.0, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.mean = 0


def test_the_order_of_values_does_not_matter():
    values, seeds = nested(np.random.default_rng(0), 5, 30, 1.0, 1.0)
    rows = np.arange(150) % 40
    first = stats.mean_interval(values, seeds, rows)
    order = np.random.default_rng(2).permutation(len(values))
    other = stats.mean_interval(values[order], seeds[order], rows[order])
    assert [other.mean, other.low, other.high] == pytest.approx([first.mean, first.low, first.high], abs=1e-12)


def test_an_interval_by_hand():
    """Two seeds with means 2 and 6: V = 8 / 2, and t(1) at 97.5 % is tan(pi 0.475)."""
    found = stats.mean_interval([1.0, 3.0, 5.0, 7.0], [0, 0, 1, 1])
    assert found.high - found.mean == pytest.approx(math.tan(math.pi * 0.475) * 2)
    # rows shared crosswise: u = (-1, 1, -1, 1) / 4; by row (-1/2, 1/2), by row and seed four times 1/4
    shared = stats.mean_interval([1.0, 3.0, 5.0, 7.0], [0, 0, 1, 1], ["a", "b", "a", "b"])
    assert shared.high - shared.mean == pytest.approx(math.tan(math.pi * 0.475) * math.sqrt(4 + 0.5 - 0.25))
    own = stats.mean_interval([1.0, 3.0, 5.0, 7.0], [0, 0, 1, 1], ["a", "b", "c", "d"])
    assert (own.low, own.high) == pytest.approx((found.low, found.high))


def test_repeated_rows_of_one_seed_count_once():
    values = np.array([1.0, 2.0, 4.0, 1.0, 2.0, 4.0])
    once, twice = stats.mean_interval(values[:3], np.zeros(3)), stats.mean_interval(values, np.zeros(6), [0, 1, 2] * 2)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))


def test_simultaneous_intervals_are_wider_as_the_quantiles_say():
    low, high = stats.widened(0.5, 0.4, 0.6, 10, 500, of=1)
    assert (low, high) == pytest.approx((0.4, 0.6))
    low, high = stats.widened(0.5, 0.4, 0.6, 10, 500, of=3)
    assert (0.5 - low) / 0.1 == pytest.approx(2.9333 / 2.2622, abs=1e-4)  # Student's t with 9 degrees of freedom
    assert stats.widened(0.0, -1.0, 1.0, 1, 1_000_000, of=2)[1] == pytest.approx(2.2414 / 1.9600, abs=1e-4)


def test_equal_values_have_an_interval_of_no_length(rng):
    estimate = stats.mean_interval(np.full(20, 0.25), np.arange(20) % 4)
    assert (estimate.mean, estimate.low, estimate.high) == (0.25, 0.25, 0.25)


def test_the_test_below_zero_follows_the_difference(rng):
    b, seeds = nested(rng, 10, 30, 1.0, 1.0)
    assert [stats.paired_difference(b - by, b, seeds).p_lower for by in (1, 0, -1)] == pytest.approx([1, 0.5, 0])
    values = np.array([-3.0, 1.0])  # mean -1, standard error 2, one degree of freedom
    assert stats.paired_difference(values, 0 * values, [0, 1]).p_lower == pytest.approx(0.5 + math.atan(0.5) / math.pi)


# Accuracies


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Return the interval of one seed, Wilson's."""
    estimate = stats.accuracy_interval([correct], [n])
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
    one = stats.accuracy_interval(np.array([90]), np.array([100]))
    assert (one.mean, one.n, one.n_seeds) == (0.9, 100, 1)
    hits = []
    for _ in range(300):
        share = np.clip(rng.normal(0.8, 0.03, 10), 0, 1)
        estimate = stats.accuracy_interval(rng.binomial(500, share), np.full(10, 500))
        hits.append(covered(estimate, 0.8))
    assert np.mean(hits) >= 0.91
    sure = stats.accuracy_interval(np.array([99, 100, 80]), np.array([100, 100, 100]))
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
        (lambda: stats.mean_interval([1.0], [0]), "expected at least two values for an interval, got 1"),
        (lambda: stats.mean_interval([1.0, math.nan], [0, 1]), "expected finite values, got 1 NaN"),
        (lambda: stats.mean_interval([1.0, 2.0], [0]), r"expected values and seeds of one shape \(n,\)"),
        (lambda: stats.mean_interval([], []), "n > 0"),
        (lambda: stats.paired_difference([1.0, 2.0], [1.0], [0, 1]), "expected pairs"),
        (lambda: stats.accuracy_interval([11], [10]), "expected counts 0 <= correct <= n"),
        (lambda: stats.accuracy_interval([0.9], [1]), "expected counts 0 <= correct <= n"),
        (lambda: stats.accuracy_interval([[1, 2], [3, 4]], [[9, 9], [9, 9]]), "expected counts"),
        (lambda: stats.mean_interval([1.0, 2.0], None), r"expected values and seeds of one shape \(n,\)"),
        (lambda: stats.mean_interval([1.0, 2.0], [None, None]), "expected seeds as numbers or names"),
        (lambda: stats.mean_interval([1.0, 2.0], [0, None]), "expected seeds as numbers or names"),
        (lambda: stats.mean_interval(["a", "b"], [0, 1]), "expected real values, got others"),
        (lambda: stats.mean_interval([10**400, 1], [0, 1]), "expected real values, got others"),
        (lambda: stats.mean_interval([{}, 1], [0, 1]), "expected real values, got others"),
        (lambda: stats.paired_difference([1j, 1], [1, 2], [0, 1]), "expected real values, got complex"),
        (lambda: stats.accuracy_interval([10**400], [10**401]), "expected counts 0 <= correct <= n"),
        (lambda: stats.accuracy_interval(None, None), "expected counts 0 <= correct <= n"),
        (lambda: stats.crossed_components([[1, 2], [3]]), "expected real values, got others"),
        (lambda: stats.mean_interval([1 + 2j, 2], [0, 1]), "expected real values"),
        (lambda: stats.mean_interval([1.0, 2.0], [0, math.nan]), "expected finite values, got 1 NaN"),
        (lambda: stats.mean_interval([1.0, 2.0], [0, 1], [1]), "expected a row for each of 2 values, got 1"),
        (lambda: stats.widened(0.0, -1.0, 1.0, 5, 50, of=0), "expected at least one comparison, got 0"),
        (lambda: stats.variance_components([1.0, 2.0], [0, 0]), "expected at least two seeds with two values each"),
        (lambda: stats.crossed_components(np.zeros((1, 5))), "each at least 2"),
        (lambda: stats.crossed_components(np.full((2, 2), math.nan)), "expected finite values, got 4"),
    ],
)
def test_wrong_questions_are_named(ask, message):
    with pytest.raises(ValueError, match=message) as error:
        ask()
    assert "\n" not in str(error.value)
