"""The claims of the thesis, each brought to its test: outcomes by condition, conclusions, agreement of the halves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd
import yaml

from robexpl.regimes import REGIMES
from robexpl.study import rules, sizes
from robexpl.study.estimates import TO_STANDARD, TO_WEAKER, accuracies, difference, differences, kept, summaries
from robexpl.study.places import ROOT
from robexpl.study.sizes import STOPS

DTC, GCC = STOPS
KINDS = {"mnist": ("image",), "california": ("tabular",), "both": ("image", "tabular")}
ANY = "any"  # the condition of claims that no condition changes
ACCURACY = ("rises", "overstated")  # tests of accuracies, which compare across datasets
PICTURE = ("3", "8")  # the classes of the thesis' Figure 3


def load() -> list[dict[str, Any]]:
    """Read the claims of paper/claims.yaml."""
    return yaml.safe_load((ROOT / "paper" / "claims.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Evidence:
    """What the tests look at, for one dataset and one choice of seeds: tidy tables with a column `condition`.

    differences: of all pairs of regimes; table: `summaries`; accuracy; picture: strong - standard over the classes of
    the thesis' Figure 3, where there are any; margin; scale: comparisons before, after and half_margin.
    """

    differences: pd.DataFrame
    table: pd.DataFrame
    accuracy: pd.DataFrame
    picture: pd.DataFrame
    margin: pd.DataFrame
    scale: pd.DataFrame


def gather(
    searched: pd.DataFrame, attacked: pd.DataFrame, margin: pd.DataFrame, matched: pd.DataFrame | None,
    class_names: tuple[str, ...], half: int | None = None,
) -> Evidence | None:  # fmt: skip
    """Gather the evidence from rows of `frames`; `half` keeps even (0) or odd (1) seeds.

    Returns nothing where a condition has no seed in that half.
    """
    if half is not None:
        names = set(searched["condition"])
        searched, attacked = (frame[frame["seed"] % 2 == half] for frame in (searched, attacked))
        matched = None if matched is None else matched[matched["seed"] % 2 == half]
        if set(searched["condition"]) != names:
            return None
    pictured = searched[searched["stop"] == GCC]
    if set(PICTURE) <= set(class_names):
        label, target = map(class_names.index, PICTURE)
        pictured = pictured[(pictured["label"] == label) & (pictured["target"] == target)]
    else:
        pictured = pictured.iloc[:0]
    enough = [rows for _, rows in pictured.groupby("condition", sort=False) if _pairs(rows) >= 2]
    return Evidence(
        differences=differences(searched, (*TO_STANDARD, *TO_WEAKER)),
        table=summaries(searched),
        accuracy=accuracies(attacked),
        picture=differences(pd.concat(enough), [("strong", "standard")]) if enough else pd.DataFrame(),
        margin=margin,
        scale=pd.DataFrame() if matched is None else scale(matched),
    )


def _pairs(rows: pd.DataFrame) -> int:
    counted = [rows[rows["regime"] == regime]["counted"].to_numpy() for regime in ("standard", "strong")]
    return int((counted[0] & counted[1]).sum())


COMPARISONS = {"before": ("strong", "standard"), "after": ("strong", "shrunk"), "other_way": ("grown", "standard")}


def scale(matched: pd.DataFrame) -> pd.DataFrame:
    """Compare the regimes before and after their gradients are made equally large, by condition.

    before: strong - standard; after: strong - standard shrunk; other_way: strong grown - standard; half_margin: after -
    before / 2. All over the factuals that count.
    """
    found = []
    for name, rows in matched.groupby("condition", sort=False):
        score, seeds = _scores(rows)
        pairs = {key: (score[a], score[b]) for key, (a, b) in COMPARISONS.items()}
        before, after = (pairs[key][0] - pairs[key][1] for key in ("before", "after"))
        pairs["half_margin"] = after, before / 2
        found += [{"condition": name, "comparison": key, **difference(*pair, seeds)} for key, pair in pairs.items()]
    return pd.DataFrame(found)


def scale_kept(matched: pd.DataFrame) -> pd.DataFrame:
    """Return by condition the share of strong - standard that remains at equal gradients, with its interval."""
    found = []
    for name, rows in matched.groupby("condition", sort=False):
        score, seeds = _scores(rows)
        share = kept(score["strong"] - score["standard"], score["strong"] - score["shrunk"], seeds)
        found.append({"condition": name, **share})
    return pd.DataFrame(found)


def _scores(rows: pd.DataFrame) -> tuple[dict[str, Any], Any]:
    cells = {cell: part.reset_index(drop=True) for cell, part in rows.groupby("regime", sort=False)}
    common = cells["standard"]["counted"].to_numpy()
    score = {cell: part["implausibility"].to_numpy()[common] for cell, part in cells.items()}
    return score, cells["standard"]["seed"].to_numpy()[common]


def pgd_of(condition: str) -> str:
    """Return the PGD that a condition measures robustness with."""
    return "pgd_early_stop" if sizes.condition(condition).early_stop else "pgd_projected"


def _minus(a: pd.Series, b: pd.Series, what: str) -> dict[str, Any]:
    """Subtract two estimates, with the widest interval that theirs allow, however the two depend on each other."""
    ends = {"mean": a["mean"] - b["mean"], "low": a["low"] - b["high"], "high": a["high"] - b["low"]}
    return {"what": what, **ends, "n_seeds": min(a["n_seeds"], b["n_seeds"])}


def _accuracy(evidence: Evidence, condition: str) -> pd.DataFrame:
    return evidence.accuracy[evidence.accuracy["condition"] == condition].set_index(["regime", "attack"])


def accuracy_steps(evidence: Evidence, condition: str) -> pd.DataFrame:
    """Compare the accuracies of neighbouring regimes, next - regime, under FGSM and the condition's own PGD."""
    of = _accuracy(evidence, condition)
    return pd.DataFrame(
        [
            _minus(of.loc[(b, attack)], of.loc[(a, attack)], f"{b} - {a}, {attack}")
            for attack in ("fgsm", pgd_of(condition))
            for a, b in pairwise(REGIMES)
        ]
    )


def hidden(evidence: Evidence, condition: str) -> pd.DataFrame:
    """Return by robust regime what projected PGD takes beyond the harsher of FGSM and the early-stopped PGD."""
    of, found = _accuracy(evidence, condition), []
    for regime in REGIMES[1:]:
        harsher = min((of.loc[(regime, name)] for name in ("fgsm", "pgd_early_stop")), key=lambda row: row["mean"])
        what = f"{regime}, harsher reported attack - projected PGD"
        found.append(_minus(harsher, of.loc[(regime, "pgd_projected")], what))
    return pd.DataFrame(found)


def cost(evidence: Evidence, condition: str) -> pd.Series:
    """Return the clean accuracy that the strong regime costs."""
    of = _accuracy(evidence, condition)
    return pd.Series(_minus(of.loc[("standard", "clean")], of.loc[("strong", "clean")], "cost"))


def _pairs_of(evidence: Evidence, condition: str, stop: str, pairs: list[list[str]]) -> pd.DataFrame:
    """Return the differences low - high of these pairs, from whichever direction was computed."""
    rows = evidence.differences
    rows = rows[(rows["condition"] == condition) & (rows["stop"] == stop)].set_index(["regime", "baseline"])
    found = []
    for a, b in pairs:
        turned = (a, b) not in rows.index
        row = rows.loc[(b, a) if turned else (a, b)]
        ends = (-row["mean"], -row["high"], -row["low"]) if turned else (row["mean"], row["low"], row["high"])
        found.append({"what": f"{a} - {b}", **dict(zip(("mean", "low", "high"), ends, strict=True))})
    return pd.DataFrame(found)


def _of_kind(claim: dict[str, Any], condition: str, evidence: Evidence) -> rules.Decided | None:
    """Decide a claim on one dataset and in one condition; nothing where the evidence is lacking."""
    test, stop = claim["test"], claim["stop"]
    here = {"table": evidence.table, "scale": evidence.scale, "picture": evidence.picture, "margin": evidence.margin}
    here = {key: rows[rows["condition"] == condition] if len(rows) else rows for key, rows in here.items()}
    match test["kind"]:
        case "lower":
            return rules.lower(_pairs_of(evidence, condition, stop, test["pairs"]))
        case "unordered":
            return rules.unordered(_pairs_of(evidence, condition, stop, test["pairs"]))
        case "equal":
            rows = _pairs_of(evidence, condition, stop, test["pairs"])
            return rules.equal(rows, float(here["margin"]["margin"].iloc[0]))
        case "rises":
            return rules.rises(accuracy_steps(evidence, condition))
        case "overstated":
            return rules.overstated(hidden(evidence, condition))
        case "met":
            return rules.met(here["table"][here["table"]["stop"] == stop].set_index("regime")["converged"])
        case "spread":
            return rules.spread(here["table"])
        case "picture":
            return (
                rules.lower(here["picture"].assign(what="strong - standard, 3 to 8")) if len(here["picture"]) else None
            )
        case "scale":
            return rules.scale(here["scale"]) if len(here["scale"]) else None
    raise ValueError(f"expected a kind of test that paper/rules.md knows, got {test['kind']!r}")


def outcome(
    claim: dict[str, Any], condition: str, evidence: Mapping[str, Evidence], within: int | None
) -> rules.Decided | None:
    """Decide a claim in one condition: its outcome and what decided it; nothing where the evidence is lacking."""
    kind, kinds = claim["test"]["kind"], KINDS[claim["dataset"]]
    if kind == "repeats":
        return None if within is None else rules.repeats(within)
    if kind == "trade_off":
        images, table = (cost(evidence[each], condition) for each in kinds)
        return rules.rises(pd.DataFrame([_minus(table, images, "cost on tabular data - cost on images")]))
    found = [(each, _of_kind(claim, condition, evidence[each])) for each in kinds]
    if any(part is None for _, part in found):
        return None
    joint = rules.joined([decided for _, (decided, _) in found])
    wanted = {"contradicted", "opposite"} if joint == "contradicted" else {joint}
    those = [{**row, "kind": each} for each, (decided, row) in found if decided in wanted]
    if kind in ACCURACY and len(those) > 1:
        rows = pd.DataFrame(those)
        return joint, (rules.rises if kind == "rises" else rules.overstated)(rows)[1]
    return joint, those[0]


def judge(
    claims: list[dict[str, Any]], evidence: Mapping[str, Evidence], halves: list[Mapping[str, Evidence | None]],
    within: int | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Judge every claim: a table of claims with their conclusions, and one of outcomes by condition.

    conclusion: from all seeds; even, odd: from half of them; agree: whether both halves reach the conclusion of the
    whole, empty where a half holds no network or the claim does not depend on networks.
    """
    judged, outcomes = [], []
    for claim in claims:
        kind = claim["test"]["kind"] if claim["test"] else ""
        found = _by_condition(claim, evidence, within) if kind else {}
        whole, parts = _conclusion(found), {}
        for name, half in zip(("even", "odd"), halves, strict=True):
            usable = found and kind != "repeats" and all(half[each] for each in KINDS[claim["dataset"]])
            parts[name] = _conclusion(_by_condition(claim, half, within)) if usable else ""
        agree = all(part == whole for part in parts.values()) if all(parts.values()) else None
        about = {key: claim[key] or "" for key in ("id", "section", "question", "dataset", "stop", "claim")}
        judged.append({**about, "test": kind, "conclusion": whole, **parts, "agree": agree})
        outcomes += [
            {"id": claim["id"], "condition": name, "outcome": decided}
            | {key: row.get(key) for key in ("what", "kind", "mean", "low", "high")}
            for name, (decided, row) in found.items()
        ]
    return pd.DataFrame(judged), pd.DataFrame(outcomes)


def _by_condition(claim: dict[str, Any], evidence: Mapping, within: int | None) -> dict[str, rules.Decided]:
    names = (ANY,) if claim["test"]["kind"] == "repeats" else [c.name for c in sizes.conditions()]
    found = {name: outcome(claim, name, evidence, within) for name in names}
    return {} if any(part is None for part in found.values()) else found


def _conclusion(found: dict[str, rules.Decided]) -> str:
    return rules.conclusion({name: decided for name, (decided, _) in found.items()}) if found else "not tested"
