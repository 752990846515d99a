"""The rules of paper/rules.md: one function per kind of test, from tidy rows to an outcome, and the conclusion.

Rows are differences with columns mean, low and high; each function returns an outcome and the row that decided it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

OUTCOMES = ("supported", "contradicted", "opposite", "inconclusive")
CONCLUSIONS = ("supported", "reproducible but not robust", "inconclusive", "not supported", "reversed", "not tested")
SLACK = 0.01  # rules.md: the margin of `overstated`
MET, UNMET = 0.95, 0.05
AGREE, DISAGREE = 15, 12  # of 16 implausibilities
Decided = tuple[str, dict[str, Any]]


def _ends(rows: pd.DataFrame) -> np.ndarray:
    ends = rows[["low", "high"]].to_numpy(float).T
    if rows.empty or not np.isfinite(ends).all():
        raise ValueError(f"expected differences with finite intervals, got {rows.to_dict('records')}")
    return ends


def _outcome(supported: bool, contradicted: bool, opposite: bool = False) -> str:
    found = {"supported": supported, "opposite": opposite, "contradicted": contradicted, "inconclusive": True}
    return next(outcome for outcome, holds in found.items() if holds)


def lower(rows: pd.DataFrame) -> Decided:
    """Decide whether every difference lies below zero; what decided: one wholly above zero, else the highest end."""
    low, high = _ends(rows)
    outcome = _outcome((high < 0).all(), (low > 0).any(), (low > 0).all())
    return outcome, rows.iloc[(low if outcome == "contradicted" else high).argmax()].to_dict()


def equal(rows: pd.DataFrame, margin: float) -> Decided:
    """Decide whether every difference stays within the margin, which is none where it would be below zero."""
    (low, high), margin = _ends(rows), max(margin, 0.0)
    beyond, reach = np.maximum(low, -high), np.maximum(high, -low)  # how far from zero a whole interval, an end lies
    outcome = _outcome((reach <= margin).all(), (beyond > margin).any())
    return outcome, rows.iloc[(beyond if outcome == "contradicted" else reach).argmax()].to_dict()


def unordered(rows: pd.DataFrame) -> Decided:
    """Decide whether scores fail to fall step by step."""
    low, high = _ends(rows)
    outcome = _outcome((low > 0).any(), (high < 0).all())
    return outcome, rows.iloc[(low if outcome == "supported" else high).argmax()].to_dict()


def rises(rows: pd.DataFrame) -> Decided:
    """Decide whether every difference, next regime - regime, lies above zero; decided by the one furthest below it."""
    low, high = _ends(rows)
    outcome = _outcome((low > 0).all(), (high < 0).any(), (high < 0).all())
    return outcome, rows.iloc[(high if (high < 0).any() else low).argmin()].to_dict()


def overstated(rows: pd.DataFrame) -> Decided:
    """Decide whether projected PGD takes no more than `SLACK` beyond what the two reported attacks take."""
    low, high = _ends(rows)
    outcome = _outcome((high <= SLACK).all(), (low > SLACK).any())
    return outcome, rows.iloc[(low if outcome == "contradicted" else high).argmax()].to_dict()


def met(shares: pd.Series) -> Decided:
    """Decide from the shares of searches that met their stopping criterion, one per regime (the index)."""
    if shares.empty or not shares.between(0, 1).all():
        raise ValueError(f"expected shares from 0 to 1, got {shares.tolist()}")
    few = shares <= UNMET
    outcome = _outcome((shares >= MET).all(), few.any(), few.all())
    return outcome, {"what": f"converged, {shares.idxmin()}", "mean": float(shares.min())}


def scale(rows: pd.DataFrame) -> Decided:
    """Decide whether a difference outlives equal gradients: rows `before`, `after` and `half_margin`."""
    _ends(rows)
    before, after, half = (rows.set_index("comparison").loc[name] for name in ("before", "after", "half_margin"))
    outcome = _outcome(after["low"] > 0 and half["mean"] >= 0, half["high"] < 0)
    decisive = {"what": "strong - standard at equal gradients", **after[["mean", "low", "high"]].to_dict()}
    return outcome if before["low"] > 0 else "inconclusive", decisive


def spread(table: pd.DataFrame) -> Decided:
    """Decide whether seeds vary more than draws of factuals explain, S seeds of R runs each (rows of `summaries`).
    Draws alone would make (S - 1) sd_seeds^2 / (sd^2 / R) follow chi-squared with S - 1 degrees of freedom.
    """
    several = table[(table["n_seeds"] > 1) & (table["runs"] > 1)]
    ratio = float((several["sd_seeds"] / several["sd"]).max()) if len(several) else np.nan
    decisive = {"what": "SD over seeds / SD over runs, greatest", "mean": ratio}
    if not np.isfinite(several[["sd", "sd_seeds"]].to_numpy(float)).all():
        raise ValueError("expected finite standard deviations, got others")
    freedom = several["n_seeds"] - 1
    more = freedom * several["sd_seeds"] ** 2 > chi2.ppf(0.95, freedom) * several["sd"] ** 2 / several["runs"]
    return _outcome(len(several) and not more.any(), more.mean() >= 0.5), decisive


def repeats(within: int) -> Decided:
    """Decide from how many of the 16 implausibilities lie within two combined standard deviations."""
    decisive = {"what": "implausibilities within 2 SD, of 16", "mean": float(within)}
    return _outcome(within >= AGREE, within < DISAGREE), decisive


def joined(outcomes: Sequence[str]) -> str:
    """Join the outcomes of the datasets that a claim is about."""
    one = len(set(outcomes)) == 1
    return outcomes[0] if one else _outcome(False, bool({"contradicted", "opposite"} & set(outcomes)))


def conclusion(outcomes: Mapping[str, str]) -> str:
    """Reach the conclusion from {condition: outcome}, or from the one outcome of a claim that no condition changes.
    >>> conclusion({"as_run": "supported", "as_written": "inconclusive", "corrected": "contradicted"})
    'reproducible but not robust'
    """
    if unknown := set(outcomes.values()) - set(OUTCOMES):
        raise ValueError(f"expected outcomes among {', '.join(OUTCOMES)}, got {', '.join(map(str, unknown))}")
    if set(outcomes) == {"any"}:
        return {"supported": "supported", "inconclusive": "inconclusive"}.get(outcomes["any"], "not supported")
    others = {outcomes["as_written"], outcomes["corrected"]}
    if others == {"opposite"}:
        return "reversed"
    if others == {"supported"}:
        return "supported"
    if outcomes["as_run"] == "supported" and "supported" not in others:
        return "reproducible but not robust"
    unsupported = {"contradicted", "opposite"} & others and "supported" not in others
    return "not supported" if unsupported else "inconclusive"
