"""From rows to estimates: tidy tables of means, differences and accuracies with 95 % intervals (`robexpl.stats`).

Every table has its key columns first, then mean, low, high, n, n_seeds; differences have p_lower and `side` as well:
"lower" or "higher" where the whole interval lies on one side of zero, else "unclear".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from robexpl import stats
from robexpl.study import sizes

Pairs = Iterable[tuple[str, str]]
Rows = np.ndarray | None  # names of test rows (n,), as `rows_of` has them
TO_STANDARD = (("weak", "standard"), ("medium", "standard"), ("strong", "standard"))
TO_WEAKER = (("medium", "weak"), ("strong", "medium"), ("strong", "weak"))
ESTIMATE = ["mean", "low", "high", "n", "n_seeds"]
WIDEST = 1024.0  # shares beyond it are as good as unbounded
MOST_ROWS = 10_000_000  # of a test set


def _row(estimate: stats.Estimate) -> dict[str, float | int]:
    return {name: getattr(estimate, name) for name in ESTIMATE}


def rows_of(frame: pd.DataFrame) -> Rows:
    """Name the test row of each factual (n,), the same name where seeds meet the same row; None where it is not known.

    `frames` has the columns row (in the test set) and pool, the seed whose data the test set belongs to.
    """
    return (frame["pool"] * MOST_ROWS + frame["row"]).to_numpy() if {"pool", "row"} <= set(frame) else None


def side(low: float, high: float) -> str:
    """Return on which side of zero an interval lies.

    >>> side(-0.3, -0.1), side(-0.1, 0.2)
    ('lower', 'unclear')
    """
    return "lower" if high < 0 else "higher" if low > 0 else "unclear"


def grouped(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
    """Yield the groups of a frame in the order of their first rows: the key columns as a dictionary, and the rows."""
    if not by:
        yield {}, frame
        return
    for key, rows in frame.groupby(list(by), sort=False, dropna=False):
        yield dict(zip(by, key, strict=True)), rows


def means(frame: pd.DataFrame, by: Sequence[str], value: str = "implausibility") -> pd.DataFrame:
    """Estimate the mean of a column in each group: over seeds of the means of their rows."""
    found = []
    for key, rows in grouped(frame, by):
        estimate = stats.mean_interval(rows[value].to_numpy(), rows["seed"].to_numpy(), rows_of(rows))
        found.append({**key, **_row(estimate)})
    return pd.DataFrame(found)


def summaries(frame: pd.DataFrame, by: Sequence[str] = ("condition", "stop", "regime")) -> pd.DataFrame:
    """Summarise counterfactuals in each group.

    mean: over the counted factuals of a run, then over runs and seeds; all: the same over all factuals; sd: n - 1
    standard deviation over the runs of a seed, root mean square over seeds; sd_seeds: over seeds; skipped: factuals
    that do not count; distance: mean L1 distance from the factual.
    """
    found = []
    for key, rows in grouped(frame, by):
        counted = rows[rows["counted"]]
        if counted.empty:
            raise ValueError(f"expected counted factuals, got none of {len(rows)} for {key}")
        runs = counted.groupby(["seed", "run"])["implausibility"].mean().unstack("run")  # (seeds, runs)
        seeds = runs.mean(axis=1)
        values = counted["implausibility"].to_numpy(), counted["seed"].to_numpy(), rows_of(counted)
        estimate, mean = stats.mean_interval(*values), float(seeds.mean())
        shares = ("valid", "converged", "steps", "l1", "target_prob", "target_logit")
        names = {"valid": "validity", "l1": "distance"}
        found.append(
            {
                **key,
                "mean": mean,
                "low": mean + estimate.low - estimate.mean,
                "high": mean + estimate.high - estimate.mean,
                "n": len(counted),
                "n_seeds": len(seeds),
                "all": float(rows.groupby(["seed", "run"])["implausibility"].mean().groupby("seed").mean().mean()),
                "sd": float(np.sqrt(np.mean(runs.std(axis=1, ddof=1) ** 2))) if runs.shape[1] > 1 else np.nan,
                "sd_seeds": float(seeds.std(ddof=1)) if len(seeds) > 1 else np.nan,
                "runs": runs.shape[1],
                "factuals": len(rows),
                "skipped": len(rows) - len(counted),
                **{names.get(name, name): float(counted[name].mean()) for name in shares},
            }
        )
    return pd.DataFrame(found)


def difference(a: np.ndarray, b: np.ndarray, seeds: np.ndarray, rows: Rows = None) -> dict[str, float | int | str]:
    """Estimate the mean of a - b over pairs: mean, low, high, n, n_seeds, p_lower and side."""
    estimate = stats.paired_difference(a, b, seeds, rows)
    return {**_row(estimate), "p_lower": estimate.p_lower, "side": side(estimate.low, estimate.high)}


def differences(
    frame: pd.DataFrame, pairs: Pairs, by: Sequence[str] = ("condition", "stop"), regime: str = "regime"
) -> pd.DataFrame:
    """Compare regimes on common factuals in each group, a row per pair (regime, baseline): regime - baseline.

    Paired over the factuals that count for both; p_lower is 1 - p of the one-sided test that the regime has the lower
    implausibility. Raises ValueError where the two were not searched from the same factuals.
    """
    found, pairs = [], list(pairs)
    for key, rows in grouped(frame, by):
        parts = {name: part.reset_index(drop=True) for name, part in rows.groupby(regime, sort=False)}
        for name, baseline in pairs:
            a, b = parts[name], parts[baseline]
            same = [column for column in ("seed", "run", "row", "target") if column in a]
            if not a[same].equals(b[same]):
                raise ValueError(f"expected the same factuals in the same order for {name} and {baseline}, got others")
            a, b = (part[(a["counted"] & b["counted"]).to_numpy()] for part in (a, b))
            values = a["implausibility"].to_numpy(), b["implausibility"].to_numpy(), a["seed"].to_numpy(), rows_of(a)
            found.append({**key, regime: name, "baseline": baseline, **difference(*values)})
    return pd.DataFrame(found)


def accuracies(frame: pd.DataFrame, by: Sequence[str] = ("condition", "regime", "attack")) -> pd.DataFrame:
    """Estimate the accuracy in each group from the counts `correct` of `n` test rows, a row per network."""
    found = []
    for key, rows in grouped(frame, by):
        estimate = stats.accuracy_interval(rows["correct"].to_numpy(), rows["n"].to_numpy())
        found.append({**key, **_row(estimate), "n": int(rows["n"].iloc[0]), "n_seeds": len(rows)})
    return pd.DataFrame(found)


def ratio(above: np.ndarray, below: np.ndarray, seeds: np.ndarray, rows: Rows = None) -> dict[str, float | int]:
    """Estimate r = mean(above) / mean(below), means over seeds of the means of their rows, with a 95 % interval.

    The interval is that of the mean of r + (above_i - r below_i) / mean(below), the ratio's linear part [Davison &
    Hinkley 1997, section 2.7]: the scale's own uncertainty is in it, and rows and seeds stay paired. Raises ValueError
    where mean(below) is zero.
    """
    frame = pd.DataFrame({"above": above, "below": below, "seed": seeds})
    over, under = frame.groupby("seed")[["above", "below"]].mean().mean()
    if under == 0:
        raise ValueError("expected a scale of some length, got mean 0")
    linear = over / under + (frame["above"] - over / under * frame["below"]) / under
    return _row(stats.mean_interval(linear.to_numpy(), frame["seed"].to_numpy(), rows))


def normalised(rows: pd.DataFrame, by: Sequence[str] = ("condition", "stop", "regime")) -> pd.DataFrame:
    """Put the counted rows of `frames.beside` on the scale of real points (0) and factuals (1); raw: the plain mean.

    v = (impl(counterfactual) - impl(real)) / (impl(factual) - impl(real)), every mean over the same factuals.
    """
    found = []
    for key, cell in grouped(rows[rows["counted"]], by):
        value, seeds = cell["implausibility"].to_numpy(), cell["seed"].to_numpy()
        scale = (cell["factual"] - cell["real"]).to_numpy()
        raw = stats.mean_interval(value, seeds).mean
        found.append({**key, **ratio(value - cell["real"].to_numpy(), scale, seeds, rows_of(cell)), "raw": raw})
    return pd.DataFrame(found)


def against(rows: pd.DataFrame, points: Sequence[str] = ("blank", "factual", "noisy")) -> pd.DataFrame:
    """Compare counted counterfactuals of `frames.beside` with reference points of the same factuals, paired."""
    found = []
    for key, cell in grouped(rows[rows["counted"]], ("condition", "stop", "regime")):
        for point in points:
            values = (cell[name].to_numpy() for name in ("implausibility", point, "seed"))
            found.append({**key, "point": point, **difference(*values, rows_of(cell))})
    return pd.DataFrame(found)


def margins(reference: pd.DataFrame) -> pd.DataFrame:
    """Return by condition the difference that counts as none: a share of the way from real points to factuals.

    `reference` has columns condition, point and mean.
    """
    wide = reference.pivot(index="condition", columns="point", values="mean")
    width = sizes.settings()["margin"] * (wide["factual"] - wide["real"])
    return width.reindex(reference["condition"].unique()).rename("margin").reset_index()


def with_thesis(table: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Add what the thesis reports (thesis_mean, thesis_sd) and z = (mean - thesis) / sqrt(sd^2 + thesis_sd^2).

    `theirs` has columns stop, regime, mean, sd; it may be empty, where nothing can be compared.
    """
    named = theirs.rename(columns={"mean": "thesis_mean", "sd": "thesis_sd"})[
        ["stop", "regime", "thesis_mean", "thesis_sd"]
    ]
    joined = table.merge(named, on=["stop", "regime"], how="left", validate="many_to_one")
    spread = np.hypot(joined["sd"], joined["thesis_sd"].astype(float))
    return joined.assign(z=(joined["mean"] - joined["thesis_mean"].astype(float)) / spread)


def monotone(frame: pd.DataFrame) -> pd.DataFrame:
    """Describe the order of the robust regimes by condition and criterion.

    order: regimes by mean, lowest first; monotone: whether means fall from weak over medium to strong; share: of the
    runs in which they do.
    """
    found = []
    for key, rows in grouped(frame[frame["counted"]], ("condition", "stop")):
        by_run = rows.groupby(["seed", "run", "regime"])["implausibility"].mean().unstack("regime")
        over = by_run.groupby("seed").mean().mean()[["weak", "medium", "strong"]]
        falls = (by_run["weak"] > by_run["medium"]) & (by_run["medium"] > by_run["strong"])
        ordered = " < ".join(over.sort_values(kind="stable").index)
        found.append({**key, "order": ordered, "monotone": bool(over.is_monotonic_decreasing), "share": falls.mean()})
    return pd.DataFrame(found)


def kept(before: np.ndarray, after: np.ndarray, seeds: np.ndarray, rows: Rows = None) -> dict[str, float]:
    """Return the share after / before of the means over seeds, with its interval [Fieller 1954].

    The interval holds the shares r that the interval of after - r before does not exclude; an end is NaN where the
    share is not bounded on that side, and so are all where the interval of `before` holds zero.
    """
    base = stats.paired_difference(before, np.zeros_like(before), seeds, rows)
    if base.low <= 0 <= base.high:
        return dict.fromkeys(("kept", "kept_low", "kept_high"), np.nan)
    whole, rest = (np.mean([v[seeds == seed].mean() for seed in np.unique(seeds)]) for v in (before, after))
    share, sign = float(rest / whole), np.sign(whole)

    def excess(at: float, end: str) -> float:  # falls as `at` grows
        return getattr(stats.paired_difference(sign * after, at * sign * before, seeds, rows), end)

    return {
        "kept": share,
        **{f"kept_{end}": _bound(excess, share, end, d) for end, d in (("low", -1.0), ("high", 1.0))},
    }


def _bound(excess, share: float, end: str, direction: float) -> float:
    width = 1.0
    while direction * excess(share + direction * width, end) >= 0 and width < WIDEST:
        width *= 2
    if width >= WIDEST:
        return np.nan
    if direction * excess(share, end) <= 0:  # every seed gives the same share
        return share
    return float(brentq(excess, share, share + direction * width, args=(end,), xtol=1e-6))
