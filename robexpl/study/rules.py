"""The rules of paper/rules.md: one function per kind of test, from tidy rows to an outcome, and the conclusion.

Rows are differences with columns mean, low and high; each function returns an outcome and the row that decided it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

OUTCOMES = ("supported", "contradicted", "opposite", "inconclusive")
CONCLUSIONS = (
    "supported",
    "reproducible but not robust",
    "inconclusive",
    "not supported",
    "reversed",
    "not tested",
)
SLACK = 0.01  # rules.md: the margin of `overstated`
MET, UNMET = 0.95, 0.05
AGREE, DISAGREE = 15, 12  # of 16 implausibilities
Decided = tuple[str, dict[str, Any]]


def _finite(rows: pd.DataFrame) -> pd.DataFrame:
    if rows.empty or not np.isfinite(rows[["low", "high"]].to_numpy(float)).all():
        raise ValueError(f"expected differences with finite intervals, got {rows.to_dict('records')}")
    return rows


def _row(rows: pd.DataFrame, place: int) -> dict[str, Any]:
    return rows.iloc[place].to_dict()


def lower(rows: pd.DataFrame) -> Decided:
    """Decide whether every difference lies below zero; what decided: one wholly above zero, else the highest end."""
    high, low = (_finite(rows)[end].to_numpy() for end in ("high", "low"))
    above = low > 0
    outcome = (
        "supported" if (high < 0).all() else "opposite" if above.all() else "contradicted" if above.any()
        else "inconclusive"
    )  # fmt: skip
    return outcome, _row(rows, int((low if outcome == "contradicted" else high).argmax()))


def equal(rows: pd.DataFrame, margin: float) -> Decided:
    """Decide whether every difference stays within the margin, which is none where it would be below zero."""
    high, low, margin = _finite(rows)["high"].to_numpy(), rows["low"].to_numpy(), max(margin, 0.0)
    beyond = np.maximum(low, -high)  # how far from zero a whole interval lies
    reach = np.maximum(high, -low)
    if (reach <= margin).all():
        return "supported", _row(rows, int(reach.argmax()))
    if (beyond > margin).any():
        return "contradicted", _row(rows, int(beyond.argmax()))
    return "inconclusive", _row(rows, int(reach.argmax()))


def unordered(rows: pd.DataFrame) -> Decided:
    """Decide whether scores fail to fall step by step."""
    high, low = (_finite(rows)[end].to_numpy() for end in ("high", "low"))
    if (low > 0).any():
        return "supported", _row(rows, int(low.argmax()))
    return ("contradicted" if (high < 0).all() else "inconclusive"), _row(rows, int(high.argmax()))


def rises(rows: pd.DataFrame) -> Decided:
    """Decide whether every difference, next regime - regime, lies above zero; decided by the one furthest below it."""
    high, low = (_finite(rows)[end].to_numpy() for end in ("high", "low"))
    below = high < 0
    outcome = (
        "supported" if (low > 0).all() else "opposite" if below.all() else "contradicted" if below.any()
        else "inconclusive"
    )  # fmt: skip
    return outcome, _row(rows, int((high if below.any() else low).argmin()))


def overstated(rows: pd.DataFrame) -> Decided:
    """Decide whether projected PGD takes no more than `SLACK` beyond what the two reported attacks take."""
    high, low = (_finite(rows)[end].to_numpy() for end in ("high", "low"))
    outcome = "supported" if (high <= SLACK).all() else "contradicted" if (low > SLACK).any() else "inconclusive"
    return outcome, _row(rows, int((low if outcome == "contradicted" else high).argmax()))


def met(shares: pd.Series) -> Decided:
    """Decide from the shares of searches that met their stopping criterion, one per regime (the index)."""
    if shares.empty or not shares.between(0, 1).all():
        raise ValueError(f"expected shares from 0 to 1, got {shares.tolist()}")
    few = shares <= UNMET
    outcome = (
        "supported" if (shares >= MET).all() else "opposite" if few.all() else "contradicted" if few.any()
        else "inconclusive"
    )  # fmt: skip
    return outcome, {"what": f"converged, {shares.idxmin()}", "mean": float(shares.min())}


def scale(rows: pd.DataFrame) -> Decided:
    """Decide whether a difference outlives equal gradients: rows `before`, `after` and `half_margin`."""
    found = _finite(rows).set_index("comparison")
    before, after, half = (found.loc[name] for name in ("before", "after", "half_margin"))
    decisive = {"what": "strong - standard at equal gradients", **after[["mean", "low", "high"]].to_dict()}
    if before["low"] <= 0:
        return "inconclusive", decisive
    if after["low"] > 0 and half["mean"] >= 0:
        return "supported", decisive
    return ("contradicted" if half["high"] < 0 else "inconclusive"), decisive


def spread(table: pd.DataFrame) -> Decided:
    """Decide whether seeds vary more than draws of factuals explain, S seeds of R runs each (rows of `summaries`).

    Draws alone would make (S - 1) sd_seeds^2 / (sd^2 / R) follow chi-squared with S - 1 degrees of freedom.
    """
    several = table[(table["n_seeds"] > 1) & (table["runs"] > 1)]
    ratio = float((several["sd_seeds"] / several["sd"]).max()) if len(several) else np.nan
    decisive = {"what": "SD over seeds / SD over runs, greatest", "mean": ratio}
    if several.empty:
        return "inconclusive", decisive
    if not np.isfinite(several[["sd", "sd_seeds"]].to_numpy(float)).all():
        raise ValueError("expected finite standard deviations, got others")
    freedom = several["n_seeds"] - 1
    more = freedom * several["sd_seeds"] ** 2 > chi2.ppf(0.95, freedom) * several["sd"] ** 2 / several["runs"]
    outcome = "contradicted" if more.mean() >= 0.5 else "inconclusive" if more.any() else "supported"
    return outcome, decisive


def repeats(within: int) -> Decided:
    """Decide from how many of the 16 implausibilities lie within two combined standard deviations."""
    outcome = "supported" if within >= AGREE else "contradicted" if within < DISAGREE else "inconclusive"
    return outcome, {"what": "implausibilities within 2 SD, of 16", "mean": float(within)}


def joined(outcomes: Sequence[str]) -> str:
    """Join the outcomes of the datasets that a claim is about."""
    if len(set(outcomes)) == 1:
        return outcomes[0]
    return "contradicted" if {"contradicted", "opposite"} & set(outcomes) else "inconclusive"


def conclusion(outcomes: Mapping[str, str]) -> str:
    """Reach the conclusion from {condition: outcome}, or from the one outcome of a claim that no condition changes.

    >>> conclusion({"as_run": "supported", "as_written": "inconclusive", "corrected": "contradicted"})
    'reproducible but not robust'
    """
    if unknown := set(outcomes.values()) - set(OUTCOMES):
        raise ValueError(f"expected outcomes among {', '.join(OUTCOMES)}, got {', '.join(map(str, unknown))}")
    if set(outcomes) == {"any"}:
        return {"supported": "supported", "inconclusive": "inconclusive"}.get(outcomes["any"], "not supported")
    others = [outcomes["as_written"], outcomes["corrected"]]
    if set(others) == {"opposite"}:
        return "reversed"
    if set(others) == {"supported"}:
        return "supported"
    if "supported" not in others:
        if outcomes["as_run"] == "supported":
            return "reproducible but not robust"
        if {"contradicted", "opposite"} & set(others):
            return "not supported"
    return "inconclusive"
