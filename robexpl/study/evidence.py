"""The evidence for the claims: comparisons between networks on one dataset, in tidy tables by condition."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from robexpl import stats
from robexpl.regimes import REGIMES
from robexpl.study import sizes
from robexpl.study.estimates import TO_STANDARD, TO_WEAKER, difference, differences, rows_of, summaries
from robexpl.study.sizes import STOPS

PICTURE = ("3", "8")  # the classes of the thesis' Figure 3


@dataclass(frozen=True)
class Evidence:
    """What the tests look at, for one dataset and some seeds: tidy tables with a column `condition`.
    differences: of all pairs of regimes; table: `summaries`; attacked: rows of `frames.attacked`; strongest: the same
    with a stronger attack, on the test rows and networks that it was tried on, where there are any; picture: strong -
    standard over the classes of the thesis' Figure 3, where there are any; margin.
    """

    differences: pd.DataFrame
    table: pd.DataFrame
    attacked: pd.DataFrame
    strongest: pd.DataFrame
    picture: pd.DataFrame
    margin: pd.DataFrame


def gather(
    searched: pd.DataFrame, attacked: pd.DataFrame, strongest: pd.DataFrame, margin: pd.DataFrame,
    class_names: tuple[str, ...], seeds: Collection[int] | None = None,
) -> Evidence | None:  # fmt: skip
    """Gather the evidence from rows of `frames`, of these seeds alone where some are given.
    Returns nothing where a condition has none of them.
    """
    if seeds is not None:
        names = set(searched["condition"])
        every = (searched, attacked, strongest)
        searched, attacked, strongest = (rows[rows["seed"].isin(list(seeds))] for rows in every)
        if set(searched["condition"]) != names:
            return None
    pictured = searched[searched["stop"] == STOPS[1]]
    label, target = map(class_names.index, PICTURE) if set(PICTURE) <= set(class_names) else (-1, -1)
    pictured = pictured[(pictured["label"] == label) & (pictured["target"] == target)]
    enough = [rows for _, rows in pictured.groupby("condition", sort=False) if _common(rows) >= 2]
    return Evidence(
        differences=differences(searched, (*TO_STANDARD, *TO_WEAKER)),
        table=summaries(searched),
        attacked=attacked,
        strongest=strongest,
        picture=differences(pd.concat(enough), [("strong", "standard")]) if enough else pd.DataFrame(),
        margin=margin,
    )


def _common(rows: pd.DataFrame) -> int:
    """Return how many test rows count for the standard and the strong network."""
    one, other = (rows[rows["regime"] == regime].reset_index(drop=True) for regime in ("standard", "strong"))
    both = one[one["counted"] & other["counted"]]
    rows = rows_of(both)
    return len(both) if rows is None or both["seed"].nunique() > 1 else len(np.unique(rows))


def pgd_of(condition: str) -> str:
    """Return the PGD that a condition measures robustness with."""
    return "pgd_early_stop" if sizes.condition(condition).early_stop else "pgd_projected"


def minus(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Subtract two independent estimates: d - sqrt((a - a_low)^2 + (b_high - b)^2) and so above [Newcombe 1998]."""
    found = {"mean": a["mean"] - b["mean"], "n": min(a["n"], b["n"]), "n_seeds": min(a["n_seeds"], b["n_seeds"])}
    down = np.hypot(a["mean"] - a["low"], b["high"] - b["mean"])
    up = np.hypot(a["high"] - a["mean"], b["mean"] - b["low"])
    return {**found, "low": found["mean"] - down, "high": found["mean"] + up}


def accuracy_difference(attacked: pd.DataFrame, a: tuple[str, str], b: tuple[str, str]) -> dict[str, Any]:
    """Compare two accuracies, each of a regime under an attack, a - b, over networks of the same seeds, paired.
    A single seed: the two Wilson intervals subtracted as if they were independent.
    """
    parts = [attacked[(attacked["regime"] == r) & (attacked["attack"] == n)].set_index("seed") for r, n in (a, b)]
    share = [part["correct"] / part["n"] for part in parts]
    if len(share[0]) > 1:
        return difference(share[0].to_numpy(), share[1][share[0].index].to_numpy(), share[0].index.to_numpy())
    return minus(*(vars(stats.accuracy_interval(part["correct"].to_numpy(), part["n"].to_numpy())) for part in parts))


def accuracy_steps(attacked: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Compare the accuracies of neighbouring regimes, next - regime, under FGSM and the condition's own PGD."""
    return pd.DataFrame(
        {"what": f"{b} - {a}, {attack}", **accuracy_difference(attacked, (b, attack), (a, attack))}
        for attack in ("fgsm", pgd_of(condition))
        for a, b in pairwise(REGIMES)
    )


def hidden(attacked: pd.DataFrame, condition: str, by: str) -> pd.DataFrame:
    """Return by robust regime what the attack `by` takes beyond the harsher of FGSM and the condition's own PGD."""
    share, found = (attacked["correct"] / attacked["n"]).groupby([attacked["regime"], attacked["attack"]]).mean(), []
    for regime in REGIMES[1:] if by in set(attacked["attack"]) else ():
        harsher = share[regime][["fgsm", pgd_of(condition)]].idxmin()
        what = f"{regime}, harsher reported attack - {by}"
        found.append({"what": what, **accuracy_difference(attacked, (regime, harsher), (regime, by))})
    return pd.DataFrame(found)


def pairs_of(rows: pd.DataFrame, stop: str, pairs: list[list[str]]) -> pd.DataFrame:
    """Return the differences low - high of these pairs, from whichever direction was computed."""
    rows = rows[rows["stop"] == stop].set_index(["regime", "baseline"])
    found = []
    for a, b in pairs:
        sign, row = (1, rows.loc[(a, b)]) if (a, b) in rows.index else (-1, rows.loc[(b, a)])
        low, high = sorted((sign * row["low"], sign * row["high"]))
        ends = {"mean": sign * row["mean"], "low": low, "high": high}
        found.append({"what": f"{a} - {b}", **ends, "n": row["n"], "n_seeds": row["n_seeds"]})
    return pd.DataFrame(found)


def compared(claim: dict[str, Any], condition: str, evidence: Evidence) -> pd.DataFrame:
    """Return the comparisons that a claim rests on, on one dataset and in one condition; none where they lack."""
    kind, stop = claim["test"]["kind"], claim["stop"]
    here = {key: rows[rows["condition"] == condition] if len(rows) else rows for key, rows in vars(evidence).items()}
    if kind == "rises":
        return accuracy_steps(here["attacked"], condition)
    if kind == "overstated":
        return hidden(here["strongest"], condition, claim["test"]["by"])
    if kind == "trade_off":
        cost = accuracy_difference(here["attacked"], ("standard", "clean"), ("strong", "clean"))
        return pd.DataFrame([{"what": "cost", **cost}])
    if kind == "picture":
        return here["picture"].assign(what="strong - standard, 3 to 8")
    if kind == "spread":
        return here["table"]
    if kind in ("lower", "unordered", "equal"):
        return pairs_of(here["differences"], stop, claim["test"]["pairs"])
    raise ValueError(f"expected a kind of test that paper/rules.md knows, got {kind!r}")
