"""The rules of paper/rules.md, version 2: one function per kind of test, from tidy rows to an outcome; the conclusion.

Rows are comparisons with columns what, mean, low, high (95 % interval of each alone), n and n_seeds. `of` is the number
of comparisons that the intervals are made simultaneous over, `margin` the smallest effect of interest in the units of
the rows. Each function returns an outcome and the row that decided it, with its simultaneous interval.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from robexpl import stats

OUTCOMES = ("supported", "no noticeable difference", "contradicted", "reversed", "inconclusive")
CONCLUSIONS = ("supported", "reproducible but not robust", "inconclusive", "not supported", "not tested")
POINT = 0.01  # smallest effect of interest for accuracies
RATIO = 1.25  # and for standard deviations, as a ratio
AGREE, DISAGREE = 15, 12  # of 16 implausibilities
Decided = tuple[str, dict[str, Any]]


def simultaneous(rows: pd.DataFrame, of: int) -> pd.DataFrame:
    """Return the rows with intervals that hold together over `of` comparisons; raise ValueError without intervals."""
    if rows.empty or not np.isfinite(rows[["low", "high"]].to_numpy(float)).all():
        raise ValueError(f"expected differences with finite intervals, got {rows.to_dict('records')}")
    low, high = stats.widened(*(rows[name] for name in ("mean", "low", "high", "n_seeds", "n")), of=of)
    return rows.assign(low=low, high=high)


def _by(rows: pd.DataFrame, key: pd.Series, *, least: bool = False) -> dict[str, Any]:
    return rows.loc[key.idxmin() if least else key.idxmax()].to_dict()


def lower(rows: pd.DataFrame, margin: float, of: int) -> Decided:
    """Decide whether every difference lies below minus the margin.

    Decided by the one that is furthest above where one lies above the margin, else by one within it, else by the one
    that reaches highest.
    """
    rows, margin = simultaneous(rows.reset_index(drop=True), of), max(margin, 0.0)
    low, high = rows["low"], rows["high"]
    above, inside = low > margin, (low >= -margin) & (high <= margin)
    if (high < -margin).all():
        return "supported", _by(rows, high)
    if above.any():
        return "reversed" if above.all() else "contradicted", _by(rows, low)
    if inside.any():
        return "no noticeable difference", _by(rows[inside], high[inside])
    return "inconclusive", _by(rows, high)


def higher(rows: pd.DataFrame, margin: float, of: int) -> Decided:
    """Decide whether every difference lies above the margin: `lower` of the differences turned round."""
    outcome, row = lower(rows.assign(mean=-rows["mean"], low=-rows["high"], high=-rows["low"]), margin, of)
    return outcome, {**row, "mean": -row["mean"], "low": -row["high"], "high": -row["low"]}


def equal(rows: pd.DataFrame, margin: float, of: int) -> Decided:
    """Decide whether every difference lies within the margin, which is none where it would be below zero."""
    rows, margin = simultaneous(rows.reset_index(drop=True), of), max(margin, 0.0)
    beyond, reach = np.maximum(rows["low"], -rows["high"]), np.maximum(rows["high"], -rows["low"])
    if (reach <= margin).all():
        return "supported", _by(rows, reach)
    contradicted = (beyond > margin).any()
    return ("contradicted" if contradicted else "inconclusive"), _by(rows, beyond if contradicted else reach)


def unordered(rows: pd.DataFrame, margin: float, of: int) -> Decided:
    """Decide whether steps, stronger - weaker adversary, go neither all down nor all up by more than the margin.

    Supported where all lie within the margin, or one lies beyond it below and another above; contradicted by an order,
    and by the reverse order, which `what` says.
    """
    rows, margin = simultaneous(rows.reset_index(drop=True), of), max(margin, 0.0)
    below, above = rows["high"] < -margin, rows["low"] > margin
    if below.all() or above.all():
        row = _by(rows, rows["high"]) if below.all() else _by(rows, rows["low"], least=True)
        return "contradicted", {**row, "what": ("order, " if below.all() else "reverse order, ") + row["what"]}
    reach = np.maximum(rows["high"], -rows["low"])
    if (reach <= margin).all() or (below.any() and above.any()):
        return "supported", _by(rows, rows["low"] if above.any() else reach)
    return "inconclusive", _by(rows, reach)


def overstated(rows: pd.DataFrame, of: int) -> Decided:
    """Decide whether a stronger attack takes no more than a point of accuracy beyond what the reported ones take."""
    rows = simultaneous(rows.reset_index(drop=True), of)
    if (rows["high"] <= POINT).all():
        return "supported", _by(rows, rows["high"])
    contradicted = (rows["low"] > POINT).any()
    return ("contradicted" if contradicted else "inconclusive"), _by(rows, rows["low" if contradicted else "high"])


def spread(table: pd.DataFrame) -> Decided:
    """Decide whether seeds vary more than draws of factuals explain, S seeds of R runs each (rows of `summaries`).

    Draws alone would make q = (S - 1) sd_seeds^2 / (sd^2 / R) follow chi-squared with S - 1 degrees of freedom.
    Contradicted where, in half of the cells or more, q / RATIO^2 lies above its 95 % quantile; supported where in all
    cells it lies below its 5 % quantile.
    """
    several = table[(table["n_seeds"] > 1) & (table["runs"] > 1)]
    ratio = float((several["sd_seeds"] / several["sd"]).max()) if len(several) else np.nan
    decisive = {"what": "SD over seeds / SD over runs, greatest", "mean": ratio}
    if not np.isfinite(several[["sd", "sd_seeds"]].to_numpy(float)).all():
        raise ValueError("expected finite standard deviations, got others")
    freedom = several["n_seeds"] - 1
    q = freedom * several["sd_seeds"] ** 2 * several["runs"] / (RATIO * several["sd"]) ** 2
    if len(several) and (q < chi2.ppf(0.05, freedom)).all():
        return "supported", decisive
    return ("contradicted" if (q > chi2.ppf(0.95, freedom)).mean() >= 0.5 else "inconclusive"), decisive


def repeats(within: int) -> Decided:
    """Decide from how many of the 16 implausibilities lie within two combined standard deviations."""
    decisive = {"what": "implausibilities within 2 SD, of 16", "mean": float(within)}
    return ("supported" if within >= AGREE else "contradicted" if within < DISAGREE else "inconclusive"), decisive


def joined(outcomes: Sequence[str]) -> str:
    """Join the outcomes of the datasets that a claim is about: what refutes it on one refutes it.

    >>> joined(["supported", "no noticeable difference"]), joined(["supported", "inconclusive"])
    ('no noticeable difference', 'inconclusive')
    """
    if len(set(outcomes)) == 1:
        return outcomes[0]
    if {"contradicted", "reversed"} & set(outcomes):
        return "contradicted"
    return "no noticeable difference" if "no noticeable difference" in outcomes else "inconclusive"


def conclusion(outcomes: Mapping[str, str], primary: str = "corrected") -> str:
    """Reach the conclusion from {condition: outcome}: that of the primary condition decides.

    Where it refutes what the condition `as_run` supports, the claim is reproducible but not robust. The key "any" holds
    the outcome of a claim that no condition changes.
    >>> conclusion({"as_run": "supported", "as_written": "inconclusive", "corrected": "contradicted"})
    'reproducible but not robust'
    """
    if unknown := set(outcomes.values()) - set(OUTCOMES):
        raise ValueError(f"expected outcomes among {', '.join(OUTCOMES)}, got {', '.join(map(str, unknown))}")
    decided = outcomes.get("any", outcomes.get(primary))
    if decided in ("supported", "inconclusive"):
        return decided
    return "reproducible but not robust" if outcomes.get("as_run") == "supported" else "not supported"
