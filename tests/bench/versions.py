"""What the rules say of the results first published: `python tests/bench/versions.py` writes paper/conclusions.csv.

Reads the tables of the commit that published them from the history. Version 1 are the conclusions published there.
Version 2 applies robexpl.study.rules to the differences and accuracies published there; accuracies are compared as
independent ones, since those of single networks were not published.
"""

from __future__ import annotations

import io
import subprocess
from itertools import pairwise
from pathlib import Path

import pandas as pd

from robexpl.regimes import REGIMES
from robexpl.study import claims, evidence, rules, sizes

ROOT = Path(__file__).parents[2]
PUBLISHED = "f7bf69e"  # networks of seeds 0 to 9 (MNIST) and 0 to 19 (California Housing)
NAMES = {"image": "mnist", "tabular": "california"}


def table(name: str) -> pd.DataFrame:
    """Read a table as published."""
    show = ["git", "-C", str(ROOT), "show", f"{PUBLISHED}:paper/generated/{name}.csv"]
    return pd.read_csv(io.BytesIO(subprocess.run(show, check=True, capture_output=True).stdout))


def accuracy(kind: str, condition: str, regime: str, attack: str) -> pd.Series:
    """Return a published accuracy."""
    found = table(f"models-{NAMES[kind]}-accuracy")
    return found[(found["condition"] == condition) & (found["regime"] == regime) & (found["attack"] == attack)].iloc[0]


def compared(claim: dict, kind: str, condition: str) -> pd.DataFrame:
    """Return the published comparisons that a claim rests on."""
    test = claim["test"]["kind"]
    if test == "rises":
        return pd.DataFrame(
            {"what": f"{b} - {a}, {attack}", **evidence.minus(*(accuracy(kind, condition, r, attack) for r in (b, a)))}
            for attack in ("fgsm", evidence.pgd_of(condition))
            for a, b in pairwise(REGIMES)
        )
    if test == "trade_off":
        cost = evidence.minus(*(accuracy(kind, condition, regime, "clean") for regime in ("standard", "strong")))
        return pd.DataFrame([{"what": "cost", **cost}])
    if test == "picture":
        row = table("verdicts-outcomes").query("id == 'picture' and condition == @condition").iloc[0]
        n_seeds = table(f"rq1-{NAMES[kind]}-means").query("condition == @condition")["n_seeds"].iloc[0]
        return pd.DataFrame([{**row, "n": 100, "n_seeds": n_seeds}])
    if test == "spread":
        return table(f"rq1-{NAMES[kind]}-means").query("condition == @condition")
    both = pd.concat([table(f"{name}-{NAMES[kind]}-differences") for name in ("rq1", "rq2")])
    return evidence.pairs_of(both[both["condition"] == condition], claim["stop"], claim["test"]["pairs"])


def margins(kind: str) -> pd.Series:
    """Return the published margins by condition."""
    return table(f"anchors-{NAMES[kind]}-margin").set_index("condition")["margin"]


def version2(claim: dict, within: int) -> str:
    """Return the conclusion of version 2."""
    if not claim["test"] or claim["test"]["kind"] == "overstated":
        return "not tested"
    if claim["test"]["kind"] == "repeats":
        return rules.conclusion({"any": rules.repeats(within)[0]})
    found = {}
    for condition in (each.name for each in sizes.conditions()):
        rows = {kind: compared(claim, kind, condition) for kind in claims.KINDS[claim["dataset"]]}
        margin = {kind: float(margins(kind)[condition]) for kind in rows}
        found[condition] = claims.decided(claim, rows, margin)[0]
    return rules.conclusion(found, sizes.primary().name)


if __name__ == "__main__":
    first = table("verdicts-claims").set_index("id")["conclusion"]
    within = int(table("audit-findings").query("finding == 'within_2' and factor == 1")["value"].iloc[0])
    rows = [(claim["id"], first[claim["id"]], version2(claim, within)) for claim in claims.load()]
    columns = ["id", "version1", "version2_old_seeds"]
    pd.DataFrame(rows, columns=columns).to_csv(ROOT / "paper" / "conclusions.csv", index=False, lineterminator="\n")
