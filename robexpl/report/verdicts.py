"""Verdicts on the claims of the thesis, by the rules of paper/rules.md: one function per kind of test.

A test turns differences or records of one reading into an outcome; outcomes of all readings make the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from scipy.stats import chi2

from robexpl.regimes import REGIME_NAMES, REGIMES

Record = dict[str, Any]
OUTCOMES = ("supported", "contradicted", "opposite", "undecided")
VERDICTS = ("stands", "stands only as published", "undecided", "does not stand", "reversed", "not tested")
ROBUST = REGIMES[1:]
SLACK = 0.01  # rules.md: the margin of `overstated`
MET, UNMET = 0.95, 0.05
AGREE, DISAGREE = 15, 12  # of 16 cells


def lower(pairs: Sequence[Record]) -> str:
    """Decide whether every difference a - b lies below zero."""
    _refuse(pairs)
    if all(d["high"] < 0 for d in pairs):
        return "supported"
    above = [d["low"] > 0 for d in pairs]
    return "opposite" if all(above) else "contradicted" if any(above) else "undecided"


def equal(pairs: Sequence[Record], margin: float) -> str:
    """Decide whether every difference stays within the margin, which is none where it would be below zero."""
    _refuse(pairs)
    margin = max(margin, 0.0)
    if all(-margin <= d["low"] and d["high"] <= margin for d in pairs):
        return "supported"
    return "contradicted" if any(d["low"] > margin or d["high"] < -margin for d in pairs) else "undecided"


def unordered(pairs: Sequence[Record]) -> str:
    """Decide whether scores fail to fall step by step."""
    _refuse(pairs)
    if any(d["low"] > 0 for d in pairs):
        return "supported"
    return "contradicted" if all(d["high"] < 0 for d in pairs) else "undecided"


def rises(pairs: Sequence[Record]) -> str:
    """Decide whether every difference, next regime - regime, lies above zero."""
    return lower([negated(d) for d in pairs])


def overstated(gaps: Sequence[Record]) -> str:
    """Decide whether projected PGD takes no more than `SLACK` beyond what the two reported attacks take."""
    _refuse(gaps)
    if all(d["high"] <= SLACK for d in gaps):
        return "supported"
    return "contradicted" if any(d["low"] > SLACK for d in gaps) else "undecided"


def met(shares: Sequence[float]) -> str:
    """Decide from the shares of searches that met their stop, one per regime."""
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"expected shares from 0 to 1, got {list(shares)}")
    if all(share >= MET for share in shares):
        return "supported"
    few = [share <= UNMET for share in shares]
    return "opposite" if all(few) else "contradicted" if any(few) else "undecided"


def scale(before: Record, after: Record, half: Record) -> str:
    """Decide whether a difference outlives equal gradients: before, after and after - before / 2."""
    if before["low"] <= 0:
        return "undecided"
    if after["low"] > 0 and half["mean"] >= 0:
        return "supported"
    return "contradicted" if half["high"] < 0 else "undecided"


def spread(cells: Sequence[Record]) -> str:
    """Decide whether seeds vary more than draws of factuals explain, S seeds of R runs each.

    Draws alone would make (S - 1) sd_seeds^2 / (sd^2 / R) follow chi-squared with S - 1 degrees of freedom.
    """
    more = []
    for cell in cells:
        if cell["n_seeds"] > 1 and cell["runs"] > 1:
            if not (math.isfinite(cell["sd"]) and math.isfinite(cell["sd_seeds"])):
                raise ValueError(f"expected finite deviations, got {cell['sd']} and {cell['sd_seeds']}")
            freedom, expected = cell["n_seeds"] - 1, cell["sd"] ** 2 / cell["runs"]
            more.append(bool(freedom * cell["sd_seeds"] ** 2 > chi2.ppf(0.95, freedom) * expected))
    if not more:
        return "undecided"
    return "supported" if not any(more) else "contradicted" if sum(more) >= len(more) / 2 else "undecided"


def repeats(within: int) -> str:
    """Decide from how many of the 16 cells lie within two combined deviations at the stated weight."""
    return "supported" if within >= AGREE else "contradicted" if within < DISAGREE else "undecided"


def _refuse(pairs: Sequence[Record]) -> None:
    if not pairs or not all(math.isfinite(d[end]) for d in pairs for end in ("low", "high")):
        raise ValueError(f"expected differences with finite intervals, got {list(pairs)}")


def negated(d: Record) -> Record:
    """Turn a difference around."""
    return {**d, "mean": -d["mean"], "low": -d["high"], "high": -d["low"]}


def minus(a: Record, b: Record) -> Record:
    """Subtract two estimates, with the widest interval that theirs allow, however the two depend on each other."""
    seeds = min(a["n_seeds"], b["n_seeds"])
    return {"mean": a["mean"] - b["mean"], "low": a["low"] - b["high"], "high": a["high"] - b["low"], "n_seeds": seeds}


def joined(outcomes: Sequence[str]) -> str:
    """Join the outcomes of the datasets that a claim is about."""
    if len(set(outcomes)) == 1:
        return outcomes[0]
    return "contradicted" if {"contradicted", "opposite"} & set(outcomes) else "undecided"


def verdict(outcomes: Mapping[str, str]) -> str:
    """Reach the verdict from {reading: outcome}, or from the one outcome of a claim that no reading changes."""
    if unknown := set(outcomes.values()) - set(OUTCOMES):
        raise ValueError(f"expected outcomes among {', '.join(OUTCOMES)}, got {', '.join(map(str, unknown))}")
    if set(outcomes) == {"any"}:
        return {"supported": "stands", "undecided": "undecided"}.get(outcomes["any"], "does not stand")
    honest = [outcomes["stated"], outcomes["repaired"]]
    if set(honest) == {"opposite"}:
        return "reversed"
    if set(honest) == {"supported"}:
        return "stands"
    if "supported" not in honest:
        if outcomes["published"] == "supported":
            return "stands only as published"
        if {"contradicted", "opposite"} & set(honest):
            return "does not stand"
    return "undecided"


def accuracy_steps(accuracies: Record) -> list[Record]:
    """Compare the accuracies of neighbouring regimes, next - regime, under FGSM and the reading's own PGD."""
    return [
        {**minus(accuracies[b][attack], accuracies[a][attack]), "what": f"{_pair(b, a)}, {attack.upper()}"}
        for attack in ("fgsm", "pgd")
        for a, b in pairwise(REGIMES)
    ]


def hidden(accuracies: Record) -> list[Record]:
    """Return by robust regime what projected PGD takes beyond the harsher of FGSM and the early-stopped PGD."""
    gaps = []
    for regime in ROBUST:
        of = accuracies[regime]
        harsher = min((of["fgsm"], of["pgd_early_stop"]), key=lambda record: record["mean"])
        what = f"{REGIME_NAMES[regime]}, harsher reported attack - projected PGD"
        gaps.append({**minus(harsher, of["pgd_projected"]), "what": what})
    return gaps


def cost(accuracies: Record) -> Record:
    """Return the clean accuracy that the strong regime costs."""
    return minus(accuracies["standard"]["clean"], accuracies["strong"]["clean"])


def _pair(a: str, b: str) -> str:
    return f"{REGIME_NAMES[a]} - {REGIME_NAMES[b]}"
