"""The claims of the thesis, each brought to its test: what was measured, on whole data and on halves of the seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from robexpl.regimes import REGIME_NAMES, REGIMES
from robexpl.report import robustness, tables, verdicts

Record = dict[str, Any]
ROLES = {"mnist": ("image",), "california": ("tabular",), "both": ("image", "tabular")}
ANY = ("repeats",)  # kinds that no reading changes
ONE_UNIT = ("rises", "overstated")  # kinds on accuracies, which compare across datasets
FROM, TO = 3, 8  # the digits of the thesis' Figure 3


@dataclass(frozen=True)
class Evidence:
    """What the tests look at, for one dataset and one choice of seeds, by reading.

    differences: {reading: {stop: {name: D}}}; cells: {reading: {stop: {regime: C}}}; accuracy: {reading: {regime:
    {attack: A}}} with the reading's own PGD as "pgd"; picture: {reading: D or nothing}; margin: {reading: that of
    `equal`}; scale: {reading: {"before", "after", "half_margin"}}.
    """

    differences: Record
    cells: Record
    accuracy: Record
    picture: Record
    margin: Record
    scale: Record


def gather(
    searched: pd.DataFrame,
    attacked: pd.DataFrame,
    *,
    dataset: str,
    margin: Record,
    scale: Record,
    half: int | None = None,
) -> Evidence | None:
    """Gather the evidence from `study.counterfactuals` and `study.accuracies`; `half` keeps even (0) or odd (1) seeds.

    Returns nothing where a reading has no seed in that half.
    """
    if half is not None:
        readings = set(searched["reading"])
        searched, attacked = (frame[frame["seed"] % 2 == half] for frame in (searched, attacked))
        if set(searched["reading"]) != readings:
            return None
        scale = {name: record["halves"][("even", "odd")[half]] for name, record in scale.items()}
    pairs = {**tables.to_standard(), **tables.to_weaker()}
    pictured = searched[(searched["label"] == FROM) & (searched["target"] == TO)]
    return Evidence(
        differences=tables.differences(searched, pairs),
        cells=tables.cells(searched, dataset, False),
        accuracy=robustness.own_pgd(tables.accuracy_records(attacked)),
        picture={name: _picture(rows) for name, rows in pictured.groupby("reading", sort=False)},
        margin=margin,
        scale=scale,
    )


def _picture(rows: pd.DataFrame) -> Record | None:
    rows = rows[rows["stop"] == "generator_conditions"]
    counted = [rows[rows["regime"] == regime]["counted"].to_numpy() for regime in ("standard", "strong")]
    if not len(counted[0]) or sum(counted[0] & counted[1]) < 2:
        return None
    return tables.differences(rows, {"strong": ("strong", "standard")}).popitem()[1]["generator_conditions"]["strong"]


def outcome(claim: Record, name: str, evidence: Mapping[str, Evidence], within: int | None) -> Record | None:
    """Decide a claim in one reading: its outcome and what decided it; nothing where the evidence is lacking."""
    kind = claim["test"]["kind"]
    if kind == "repeats":
        if within is None:
            return None
        return {"outcome": verdicts.repeats(within), "decisive": {"what": "cells within 2 SD, of 16", "mean": within}}
    roles = ROLES[claim["dataset"]]
    if kind == "trade_off":
        images, table = (verdicts.cost(evidence[role].accuracy[name]) for role in roles)
        d = {**verdicts.minus(table, images), "what": "cost on tables - cost on images"}
        return {"outcome": verdicts.rises([d]), "decisive": d}
    found = [_of_role(claim, name, role, evidence[role]) for role in roles]
    if any(part is None for part in found):
        return None
    joint = verdicts.joined([part["outcome"] for part in found])
    against = {"contradicted", "opposite"} if joint == "contradicted" else {joint}
    those = [part["decisive"] for part in found if part["outcome"] in against]
    return {"outcome": joint, "decisive": max(those, key=_reach(kind, joint)) if kind in ONE_UNIT else those[0]}


def _of_role(claim: Record, name: str, role: str, evidence: Evidence) -> Record | None:
    test, stop = claim["test"], claim["stop"]
    kind = test["kind"]
    if kind in ("lower", "equal", "unordered"):
        ds = [_difference(evidence.differences[name][stop], a, b) for a, b in test["pairs"]]
        decide = {"lower": verdicts.lower, "unordered": verdicts.unordered}.get(kind)
        decided = decide(ds) if decide else verdicts.equal(ds, evidence.margin[name])
        # the difference that decided: one wholly above zero where one is enough, else the one that reaches highest
        end = "low" if (kind, decided) in {("lower", "contradicted"), ("unordered", "supported")} else "high"
        surely = decided == "contradicted"  # of `equal`: how far from zero an interval lies, not how far it reaches
        away = [max(d["low"], -d["high"]) if surely else max(d["high"], -d["low"]) for d in ds]
        worst = ds[away.index(max(away))] if kind == "equal" else max(ds, key=lambda d: d[end])
    elif kind == "rises":
        ds = verdicts.accuracy_steps(evidence.accuracy[name])
        decided = verdicts.rises(ds)
        worst = max(ds, key=_reach(kind, decided))
    elif kind == "overstated":
        ds = verdicts.hidden(evidence.accuracy[name])
        decided = verdicts.overstated(ds)
        worst = max(ds, key=_reach(kind, decided))
    elif kind == "met":
        shares = {regime: evidence.cells[name][stop][regime]["converged"] for regime in REGIMES}
        least = min(shares, key=shares.get)
        decided, worst = (
            verdicts.met([*shares.values()]),
            {"what": f"met, {REGIME_NAMES[least]}", "mean": shares[least]},
        )
    elif kind == "spread":
        cells = [cell for by_regime in evidence.cells[name].values() for cell in by_regime.values()]
        ratios = [cell["sd_seeds"] / cell["sd"] for cell in cells if cell["sd_seeds"] and cell["sd"]]
        decided = verdicts.spread(cells)
        worst = {"what": "SD over seeds / SD over draws, greatest", "mean": max(ratios, default=None)}
    elif kind == "picture":
        d = evidence.picture.get(name)
        if d is None:
            return None
        decided, worst = verdicts.lower([d]), {**d, "what": "Strong - Standard, 3 to 8"}
    elif kind == "scale":
        record = evidence.scale.get(name)
        if record is None:
            return None
        decided = verdicts.scale(record["before"], record["after"], record["half_margin"])
        worst = {**record["after"], "what": "Strong - Standard at equal gradients"}
    else:
        raise ValueError(f"expected a kind of test that paper/rules.md knows, got {kind!r}")
    return {"outcome": decided, "decisive": {**worst, "role": role}}


def _reach(kind: str, decided: str) -> Callable[[Record], float]:
    """Return what is greatest for the difference that decided a claim on accuracies."""
    if kind == "rises":  # one wholly below zero where one is enough, else the one that reaches lowest
        end = "high" if decided in ("contradicted", "opposite") else "low"
        return lambda d: -d[end]
    end = "low" if decided == "contradicted" else "high"
    return lambda d: d[end]


def _difference(by_name: Record, low: str, high: str) -> Record:
    """Return the difference low - high from those against the standard and against the weaker regimes."""
    if high == "standard":
        d = by_name[low]
    elif low == "standard":
        d = verdicts.negated(by_name[high])
    else:
        d = by_name[f"{high}_to_{low}"]
    return {**d, "what": f"{REGIME_NAMES[low]} - {REGIME_NAMES[high]}"}


def judge(
    claims: Sequence[Record],
    readings: Sequence[str],
    evidence: Mapping[str, Evidence],
    halves: Sequence[Mapping[str, Evidence | None]],
    within: int | None,
) -> list[Record]:
    """Judge every claim: its outcome and what decided it by reading, its verdict, and the verdicts of the halves."""
    judged = []
    for claim in claims:
        about = {key: claim[key] for key in ("id", "section", "question", "dataset", "stop", "quantity", "claim")}
        kind = claim["test"]["kind"] if claim["test"] else None
        found = _by_reading(claim, readings, evidence, within) if kind else None
        split = [
            _by_reading(claim, readings, half, within)
            if found and kind not in ANY and all(half[role] for role in ROLES[claim["dataset"]])
            else None
            for half in halves
        ]
        own = _verdict(found)
        others = [_verdict(part) if part else None for part in split]
        agree = None if not found or None in others else all(other == own for other in others)
        judged.append({**about, "kind": kind, "found": found, "verdict": own, "halves": others, "agree": agree})
    return judged


def _by_reading(claim: Record, readings: Sequence[str], evidence: Mapping, within: int | None) -> Record | None:
    names = ("any",) if claim["test"]["kind"] in ANY else readings
    found = {name: outcome(claim, name, evidence, within) for name in names}
    return None if any(part is None for part in found.values()) else found


def _verdict(found: Record | None) -> str:
    if not found:
        return "not tested"
    return verdicts.verdict({name: part["outcome"] for name, part in found.items()})


def tally(judged: Sequence[Record]) -> dict[str, int]:
    """Count the claims by verdict, in the order of the rules."""
    counted = Counter(row["verdict"] for row in judged)
    return {name: counted[name] for name in verdicts.VERDICTS if counted[name]}
