"""Estimates with intervals: means over networks, paired differences, accuracies, components of variance.

The unit of replication is the seed of a network; factuals are nested in it, and crossed with it where seeds draw from
the same test rows. An interval is Student's, on the means of the seeds: it was a bootstrap of seeds and of factuals
within them, which counts what varies between factuals twice, and not at all what seeds share by meeting the same rows
(tests/bench/simulations.py has the coverage of both). With one seed an interval covers the draw of factuals alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from robexpl.checks import refuse_unless

LEVEL = 0.95
DRAWS = 2000  # of a bootstrap, where the statistic is no mean
RIDGE = 1e-9  # added to the variances of ranks, which are 1


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, of n values from n_seeds seeds."""

    mean: float
    low: float
    high: float
    n: int
    n_seeds: int
    p_lower: float | None = None  # for differences: 1 - p of the one-sided test that the difference is below zero


def mean_interval(values: np.ndarray, seeds: np.ndarray, rows: np.ndarray | None = None) -> Estimate:
    """Estimate the mean m over S seeds of the mean m_s over their values (n,), of which seeds (n,) are the seeds.

    m +- t(S - 1) sqrt(V) with V = sum_s (m_s - m)^2 / (S (S - 1)) + C and t Student's quantile at 97.5 %. C is what
    seeds share through `rows` (n,), the names of the values' test rows: with u_i = (v_i - m_s) / (S n_s),
    C = sum_r [(sum_{i in r} u_i)^2 - sum_s (sum_{i in r, s} u_i)^2], at least 0: a two-way clustered variance
    [Cameron, Gelbach & Miller 2011]. Without `rows`, and where no row is met by two seeds, C = 0. One seed: the units
    are its rows, the values themselves where these are not given. Raises ValueError for fewer than two units.
    >>> mean_interval([1, 3, 5, 7], [0, 0, 1, 1]).mean
    4.0
    """
    return _estimate(values, seeds, rows)


def paired_difference(a: np.ndarray, b: np.ndarray, seeds: np.ndarray, rows: np.ndarray | None = None) -> Estimate:
    """Estimate the mean of a - b over pairs, as `mean_interval` does, with p_lower.
    >>> paired_difference([1, 2, 3], [2, 3, 4.5], [0, 0, 1]).mean
    -1.25
    """
    a, b = _real(a), _real(b)
    refuse_unless(a.shape == b.shape, f"expected pairs, got {a.shape} and {b.shape}")
    return _estimate(a - b, seeds, rows, difference=True)


def widened(mean: Any, low: Any, high: Any, n_seeds: Any, n: Any, *, of: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of 95 % intervals made simultaneous over `of` comparisons [Bonferroni; Dunn 1961].

    Both ends move from the mean by t(1 - 0.05 / (2 of)) / t(1 - 0.05 / 2), Student's quantiles with n_seeds - 1 degrees
    of freedom, n - 1 for a single seed. Together they hold all true values with a probability of at least 0.95,
    whatever the comparisons have to do with one another.
    >>> [round(float(end), 2) for end in widened(0.0, -1.0, 1.0, 10, 500, of=3)]
    [-1.3, 1.3]
    """
    refuse_unless(of >= 1, f"expected at least one comparison, got {of!r}")
    mean, low, high, n_seeds, n = (np.asarray(value, dtype=float) for value in (mean, low, high, n_seeds, n))
    freedom = np.where(n_seeds > 1, n_seeds, n) - 1
    factor = stdtrit(freedom, 1 - (1 - LEVEL) / (2 * of)) / stdtrit(freedom, (1 + LEVEL) / 2)
    return mean + factor * (low - mean), mean + factor * (high - mean)


def accuracy_interval(correct: np.ndarray, n: np.ndarray) -> Estimate:
    """Estimate an accuracy from the counts `correct` of `n` test rows per seed.
    One seed: Wilson's score interval [Wilson 1927]. Several: Student's, on the shares of the seeds, cut to [0, 1];
    where all meet the same rows, the interval is one over networks on these rows.
    >>> accuracy_interval([80, 90], [100, 100]).n
    200
    """
    from scipy.stats import binomtest  # late: importing it takes half a second

    correct, n = np.atleast_1d(correct), np.atleast_1d(n)
    right = correct.dtype.kind in "iu" and n.dtype.kind in "iu" and correct.shape == n.shape == (n.size,) and n.size > 0
    right = right and ((n > 0) & (correct >= 0) & (correct <= n)).all()
    refuse_unless(right, f"expected counts 0 <= correct <= n per seed, got {correct.tolist()} of {n.tolist()}")
    share = correct / n
    if len(n) == 1:
        low, high = binomtest(int(correct[0]), int(n[0])).proportion_ci(LEVEL, method="wilson")
        return Estimate(float(share[0]), float(low), float(high), int(n[0]), 1)
    found = _estimate(share, np.arange(len(n)))
    return Estimate(found.mean, max(0.0, found.low), min(1.0, found.high), int(n.sum()), len(n))


def resampled(
    statistic: Callable[[np.ndarray], np.ndarray], seeds: int, *, rng: np.random.Generator, draws: int = DRAWS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate a statistic of whole seeds: its values (k,) for all of them, and their lowest and highest, 95 %.
    `statistic` maps indices of seeds (seeds,), some of them repeated, to values (k,); it is computed on `draws` samples
    with replacement, and the percentiles are stretched as those of a mean. With one seed there is no interval: NaN.
    >>> values = np.array([1.0, 2.0, 3.0])
    >>> resampled(lambda chosen: values[chosen].mean(keepdims=True), 3, rng=np.random.default_rng(0))[0]
    array([2.])
    """
    refuse_unless(isinstance(rng, np.random.Generator), f"expected rng as a numpy Generator, got {type(rng).__name__}")
    refuse_unless(type(draws) is int and draws > 0, f"expected draws as a whole number > 0, got {draws!r}")
    whole = np.asarray(statistic(np.arange(seeds)), dtype=float)
    if seeds < 2:
        return whole, np.full_like(whole, np.nan), np.full_like(whole, np.nan)
    found = np.stack([statistic(chosen) for chosen in rng.integers(seeds, size=(draws, seeds))])  # (draws, k)
    tails = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # percentiles of a few units are too short [Hesterberg 2015]
    stretch = np.sqrt(seeds / (seeds - 1)) * stdtrit(seeds - 1, tails[1]) / ndtri(tails[1])
    low, high = whole + stretch * (np.quantile(found, tails, axis=0) - whole)
    return whole, low, high


def rank_correlations(outcome: np.ndarray, predictors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank correlations of an outcome (n,) with predictors (n, p), and the partial ones given the others.
    Spearman's rho; the partial one is -P_0j / sqrt(P_00 P_jj), P the inverse of the correlation matrix of the ranks of
    all [Kendall 1942]. NaN for a constant, which the others are not held equal in either; the partial ones are NaN
    where the rank of a predictor follows from the others, or n is not above the number of variables.
    >>> rank_correlations([1, 2, 3], [[1], [3], [2]])[0]
    array([0.5])
    """
    from scipy.stats import rankdata  # late: importing it takes half a second

    outcome, predictors = _real(outcome), _real(predictors)
    fit = outcome.ndim == 1 and predictors.ndim == 2 and len(outcome) == len(predictors) > 1
    refuse_unless(fit, f"expected outcome (n,) and predictors (n, p), got {outcome.shape} and {predictors.shape}")
    ranks = rankdata(np.column_stack([outcome, predictors]), axis=0)
    plain, partial = np.full((2, ranks.shape[1]), np.nan)
    kept = np.flatnonzero(np.ptp(ranks, axis=0) > 0)
    matrix = np.corrcoef(ranks[:, kept], rowvar=False).reshape(len(kept), len(kept))
    if len(kept) > 1 and kept[0] == 0:
        plain[kept] = matrix[0]
        if len(ranks) > len(kept) and np.linalg.cond(matrix[1:, 1:]) < 1e9:
            # an outcome that one predictor determines is correlated with it alone: the ridge is the limit of that
            precision = np.linalg.inv(matrix + RIDGE * np.eye(len(kept)))
            partial[kept] = -precision[0] / np.sqrt(precision[0, 0] * np.diag(precision))
    return np.clip(plain[1:], -1, 1), np.clip(partial[1:], -1, 1)


def variance_components(values: np.ndarray, seeds: np.ndarray) -> dict[str, float]:
    """Decompose the variance of values (n,) into that between seeds (n,) and that within them: one-way random effects.
    Within: pooled; between: (MS_between - MS_within) / n0, not below zero, with n0 the usual mean group size
    [Searle 1992]. Needs at least two seeds with two values each.
    >>> variance_components([0, 2, 10, 12], [0, 0, 1, 1])
    {'seed': 49.0, 'within': 2.0}
    """
    values, owner = _groups(values, seeds)
    groups = [values[owner == i] for i in range(owner.max() + 1)]
    sizes, means, k = np.array([*map(len, groups)]), np.array([group.mean() for group in groups]), len(groups)
    enough = k > 1 and sizes.min() > 1
    refuse_unless(enough, f"expected at least two seeds with two values each, got groups of {sizes.tolist()}")
    total = sizes.sum()
    within = sum(((group - group.mean()) ** 2).sum() for group in groups) / (total - k)
    between = (sizes * (means - (sizes * means).sum() / total) ** 2).sum() / (k - 1)
    n0 = (total - (sizes**2).sum() / total) / (k - 1)
    return {"seed": max(0.0, float((between - within) / n0)), "within": float(within)}


def crossed_components(values: np.ndarray) -> dict[str, float]:
    """Decompose the variance of values (n_seeds, n_factuals), the same factuals for every seed, by two crossed effects.
    v_sf = mean + a_s + b_f + e_sf: "seed" var(a), "factual" var(b), "residual" var(e), from the mean squares of the
    two-way table without replication, none below zero [Searle 1992]. Needs two seeds and two factuals at least.
    >>> crossed_components([[0, 2, 4], [1, 3, 5]])
    {'seed': 0.5, 'factual': 4.0, 'residual': 0.0}
    """
    values = _real(values)
    enough = values.ndim == 2 and min(values.shape) > 1
    refuse_unless(enough, f"expected values of shape (n_seeds, n_factuals), each at least 2, got {values.shape}")
    seeds, factuals = values.shape
    by_seed, by_factual = values.mean(1, keepdims=True), values.mean(0, keepdims=True)
    residual = float(((values - by_seed - by_factual + values.mean()) ** 2).sum() / ((seeds - 1) * (factuals - 1)))
    seed = float(by_seed.var(ddof=1)) - residual / factuals
    factual = float(by_factual.var(ddof=1)) - residual / seeds
    return {"seed": max(0.0, seed), "factual": max(0.0, factual), "residual": residual}


def _real(values: Any) -> np.ndarray:
    """Return finite real numbers as an array of floats."""
    try:
        array = np.asarray(values)
        array = array if np.iscomplexobj(array) else array.astype(float, copy=False)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"expected real values, got others: {error}") from None
    refuse_unless(not np.iscomplexobj(array), "expected real values, got complex ones")
    bad = int((~np.isfinite(array)).sum())
    refuse_unless(not bad, f"expected finite values, got {bad} NaN or infinite")
    return array


def _groups(values: Any, seeds: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the values (n,) and which seed each has, as numbers 0, 1, ... in ascending order of the seeds."""
    values, seeds = _real(values), np.asarray(seeds)
    fit = values.shape == seeds.shape == (values.size,) and values.size > 0
    refuse_unless(fit, f"expected values and seeds of one shape (n,), n > 0, got {values.shape} and {seeds.shape}")
    refuse_unless(seeds.dtype.kind in "iufbSU", f"expected seeds as numbers or names, got {seeds.dtype}")
    return values, np.unique(_real(seeds) if seeds.dtype.kind == "f" else seeds, return_inverse=True)[1]


def _estimate(values: Any, seeds: Any, rows: Any = None, *, difference: bool = False) -> Estimate:
    """Estimate the mean over seeds of the means of their values, with Student's interval."""
    values, owner = _groups(values, seeds)
    row = np.arange(values.size) if rows is None else np.unique(np.asarray(rows), return_inverse=True)[1].ravel()
    refuse_unless(row.shape == values.shape, f"expected a row for each of {values.size} values, got {row.size}")
    sizes = np.bincount(owner)
    means, several = np.bincount(owner, values) / sizes, len(sizes) > 1
    mean = float(means.mean())
    parts = (values - means[owner]) / (len(sizes) * sizes[owner])  # (n,)
    by_row = np.bincount(row, parts)
    units = len(sizes) if several else len(by_row)
    refuse_unless(units > 1, "expected at least two values for an interval, got 1")
    variance = float((by_row**2).sum()) * units / (units - 1)
    if several:
        within = np.bincount(np.unique(row * len(sizes) + owner, return_inverse=True)[1], parts)
        variance = float(means.var(ddof=1) / units + max(0.0, (by_row**2).sum() - (within**2).sum()))
    error, freedom = float(np.sqrt(variance)), units - 1
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    # without error a difference is lower or higher for sure, and equal is as likely lower as higher
    lower = float(stdtr(freedom, -mean / error)) if error else (1 - float(np.sign(mean))) / 2
    return Estimate(mean, mean - reach, mean + reach, values.size, len(sizes), lower if difference else None)
