"""The headline contrasts by three methods: `python tests/contrasts.py [full|demo]` writes bench-contrasts.csv.

Strong - standard in the primary condition, for each dataset and stopping criterion, from the searches in the cache:
the study's interval, a mixed model with a random effect per network (REML, statsmodels), and an exact permutation test
that turns the signs of the means of networks.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from robexpl import stats
from robexpl.study import estimates, frames, grid, places, sizes

MOST = 20  # networks: 2^20 permutations


def mixed_model(values: np.ndarray, seeds: np.ndarray) -> tuple[float, float, float]:
    """Return mean and 95 % interval of v_si = m + a_s + e_si, a_s a normal effect of the seed, by REML and Wald.

    >>> seeds = np.repeat(np.arange(10), 50)
    >>> mean, low, high = mixed_model(np.random.default_rng(0).normal(size=10)[seeds] + 0.1 * (seeds < 99), seeds)
    >>> low < mean < high
    True
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a variance between seeds of zero lies at an edge
        warnings.simplefilter("ignore", UserWarning)
        scale = values.std() or 1.0
        found = MixedLM(values / scale, np.ones((len(values), 1)), groups=seeds).fit(reml=True)
    low, high = np.ravel(found.conf_int())[:2]
    return float(np.ravel(found.params)[0] * scale), float(low * scale), float(high * scale)


def sign_test(values: np.ndarray, seeds: np.ndarray) -> float:
    """Return the two-sided p of the mean of the seeds' means under all turns of their signs.

    >>> sign_test(np.array([1.0, 1, 2, 2, 3, 3]), np.array([0, 0, 1, 1, 2, 2]))
    0.25
    """
    means = np.array([values[seeds == seed].mean() for seed in np.unique(seeds)])
    if len(means) > MOST:
        raise ValueError(f"expected at most {MOST} networks, got {len(means)}")
    sums = np.zeros(1)
    for mean in means:
        sums = np.concatenate([sums + mean, sums - mean])
    return float((np.abs(sums) >= abs(means.sum()) * (1 - 1e-12)).mean())


def contrasts(study: sizes.Study) -> list[dict[str, object]]:
    """Return the three results for each stopping criterion of a study."""
    found, primary = [], sizes.primary().name
    searched = frames.counterfactuals(grid.main(study, (primary,)))
    for key, rows in estimates.grouped(searched, ("stop",)):
        one, other = (rows[rows["regime"] == r].reset_index(drop=True) for r in ("strong", "standard"))
        both = (one["counted"] & other["counted"]).to_numpy()
        values = (one["implausibility"] - other["implausibility"]).to_numpy()[both]
        seeds, named = one["seed"].to_numpy()[both], estimates.rows_of(one[both])
        ours = stats.mean_interval(values, seeds, named)
        key = {"dataset": study.dataset, **key, "n": ours.n, "n_seeds": ours.n_seeds}
        found.append({**key, "finding": "interval", "mean": ours.mean, "low": ours.low, "high": ours.high})
        if ours.n_seeds > 1:
            ends = dict(zip(("mean", "low", "high"), mixed_model(values, seeds), strict=True))
            found.append({**key, "finding": "mixed model", **ends})
            found.append({**key, "finding": "permutation", "mean": ours.mean, "value": sign_test(values, seeds)})
    return found


if __name__ == "__main__":
    profile = sys.argv[1] if len(sys.argv) > 1 else "full"
    table = pd.DataFrame([row for study in sizes.whole(profile).both for row in contrasts(study)])
    folder = places.ROOT / ("paper/generated" if profile == "full" else f"build/{profile}/generated")
    table.to_csv(folder / "bench-contrasts.csv", index=False, lineterminator="\n", float_format="%.6g")
    print(table.to_string())
