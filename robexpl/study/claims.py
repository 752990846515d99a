"""The claims of the thesis, each brought to its test: outcomes by condition, conclusions, agreement of the halves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import yaml

from robexpl.regimes import REGIMES
from robexpl.study import rules, sizes
from robexpl.study.estimates import TO_STANDARD, TO_WEAKER, accuracies, difference, differences, kept, summaries
from robexpl.study.places import ROOT
from robexpl.study.sizes import STOPS

KINDS = {"mnist": ("image",), "california": ("tabular",), "both": ("image", "tabular")}
ANY = "any"  # the condition of claims that no condition changes
PICTURE = ("3", "8")  # the classes of the thesis' Figure 3
COMPARISONS = {"before": ("strong", "standard"), "after": ("strong", "shrunk"), "other_way": ("grown", "standard")}


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
    matched = pd.DataFrame() if matched is None else matched
    if half is not None:
        names = set(searched["condition"])
        frames = (searched, attacked, matched)
        searched, attacked, matched = (rows[rows["seed"] % 2 == half] if len(rows) else rows for rows in frames)
        if set(searched["condition"]) != names:
            return None
    pictured = searched[searched["stop"] == STOPS[1]]
    label, target = map(class_names.index, PICTURE) if set(PICTURE) <= set(class_names) else (-1, -1)
    pictured = pictured[(pictured["label"] == label) & (pictured["target"] == target)]
    enough = [rows for _, rows in pictured.groupby("condition", sort=False) if _common(rows) >= 2]
    return Evidence(
        differences=differences(searched, (*TO_STANDARD, *TO_WEAKER)),
        table=summaries(searched),
        accuracy=accuracies(attacked),
        picture=differences(pd.concat(enough), [("strong", "standard")]) if enough else pd.DataFrame(),
        margin=margin,
        scale=scale(matched),
    )


def _common(rows: pd.DataFrame) -> int:
    counted = (rows.loc[rows["regime"] == regime, "counted"].to_numpy() for regime in ("standard", "strong"))
    return int(np.logical_and(*counted).sum())


def scale(matched: pd.DataFrame) -> pd.DataFrame:
    """Compare the regimes before and after their gradients are made equally large, by condition.
    before: strong - standard; after: strong - standard shrunk; other_way: strong grown - standard; half_margin: after -
    before / 2. All over the factuals that count.
    """
    found = []
    for name, score, seeds in _scores(matched):
        pairs = {key: (score[a], score[b]) for key, (a, b) in COMPARISONS.items()}
        before, after = (pairs[key][0] - pairs[key][1] for key in ("before", "after"))
        pairs["half_margin"] = after, before / 2
        found += [{"condition": name, "comparison": key, **difference(*pair, seeds)} for key, pair in pairs.items()]
    return pd.DataFrame(found)


def scale_kept(matched: pd.DataFrame) -> pd.DataFrame:
    """Return by condition the share of strong - standard that remains at equal gradients, with its interval."""
    return pd.DataFrame(
        {"condition": name, **kept(score["strong"] - score["standard"], score["strong"] - score["shrunk"], seeds)}
        for name, score, seeds in _scores(matched)
    )


def _scores(matched: pd.DataFrame) -> Iterator[tuple[str, dict[str, np.ndarray], np.ndarray]]:
    """Yield each condition, the implausibilities of the factuals that count, by network, and their seeds."""
    for name, rows in matched.groupby("condition", sort=False) if len(matched) else ():
        cells = dict(list(rows.groupby("regime", sort=False)))
        common = cells["standard"]["counted"].to_numpy()
        score = {cell: part["implausibility"].to_numpy()[common] for cell, part in cells.items()}
        yield name, score, cells["standard"]["seed"].to_numpy()[common]


def pgd_of(condition: str) -> str:
    """Return the PGD that a condition measures robustness with."""
    return "pgd_early_stop" if sizes.condition(condition).early_stop else "pgd_projected"


def _minus(a: pd.Series, b: pd.Series, what: str) -> dict[str, Any]:
    """Subtract two estimates, with the widest interval that theirs allow, however the two depend on each other."""
    ends = {"mean": a["mean"] - b["mean"], "low": a["low"] - b["high"], "high": a["high"] - b["low"]}
    return {"what": what, **ends, "n_seeds": min(a["n_seeds"], b["n_seeds"])}


def _accuracy(evidence: Evidence, condition: str) -> dict[tuple[str, str], pd.Series]:
    rows = evidence.accuracy[evidence.accuracy["condition"] == condition]
    return {(row["regime"], row["attack"]): row for _, row in rows.iterrows()}


def accuracy_steps(evidence: Evidence, condition: str) -> pd.DataFrame:
    """Compare the accuracies of neighbouring regimes, next - regime, under FGSM and the condition's own PGD."""
    of = _accuracy(evidence, condition)
    return pd.DataFrame(
        _minus(of[b, attack], of[a, attack], f"{b} - {a}, {attack}")
        for attack in ("fgsm", pgd_of(condition))
        for a, b in pairwise(REGIMES)
    )


def hidden(evidence: Evidence, condition: str) -> pd.DataFrame:
    """Return by robust regime what projected PGD takes beyond the harsher of FGSM and the early-stopped PGD."""
    of, found = _accuracy(evidence, condition), []
    for regime in REGIMES[1:]:
        harsher = min((of[regime, name] for name in ("fgsm", "pgd_early_stop")), key=lambda row: row["mean"])
        what = f"{regime}, harsher reported attack - projected PGD"
        found.append(_minus(harsher, of[regime, "pgd_projected"], what))
    return pd.DataFrame(found)


ACCURACY = {"rises": accuracy_steps, "overstated": hidden}  # tests of accuracies, which compare across datasets


def _pairs_of(rows: pd.DataFrame, stop: str, pairs: list[list[str]]) -> pd.DataFrame:
    """Return the differences low - high of these pairs, from whichever direction was computed."""
    rows = rows[rows["stop"] == stop].set_index(["regime", "baseline"])
    found = []
    for a, b in pairs:
        sign, row = (1, rows.loc[(a, b)]) if (a, b) in rows.index else (-1, rows.loc[(b, a)])
        low, high = sorted((sign * row["low"], sign * row["high"]))
        found.append({"what": f"{a} - {b}", "mean": sign * row["mean"], "low": low, "high": high})
    return pd.DataFrame(found)


def _on_one(claim: dict[str, Any], condition: str, evidence: Evidence) -> rules.Decided | None:
    """Decide a claim on one dataset and in one condition; nothing where the evidence is lacking."""
    test, kind, stop = claim["test"], claim["test"]["kind"], claim["stop"]
    here = {key: rows[rows["condition"] == condition] if len(rows) else rows for key, rows in vars(evidence).items()}
    if kind in ACCURACY:
        return getattr(rules, kind)(ACCURACY[kind](evidence, condition))
    if kind in ("lower", "unordered", "equal"):
        margin = {"margin": float(here["margin"]["margin"].iloc[0])} if kind == "equal" else {}
        return getattr(rules, kind)(_pairs_of(here["differences"], stop, test["pairs"]), **margin)
    if kind in ("picture", "scale"):
        rows = here[kind].assign(what="strong - standard, 3 to 8")
        return {"picture": rules.lower, "scale": rules.scale}[kind](rows) if len(rows) else None
    if kind == "met":
        return rules.met(here["table"][here["table"]["stop"] == stop].set_index("regime")["converged"])
    if kind == "spread":
        return rules.spread(here["table"])
    raise ValueError(f"expected a kind of test that paper/rules.md knows, got {kind!r}")


def outcome(
    claim: dict[str, Any], condition: str, evidence: Mapping[str, Evidence], within: int | None
) -> rules.Decided | None:
    """Decide a claim in one condition: its outcome and what decided it; nothing where the evidence is lacking."""
    kind, kinds = claim["test"]["kind"], KINDS[claim["dataset"]]
    if kind == "repeats":
        return None if within is None else rules.repeats(within)
    if kind == "trade_off":
        of = (_accuracy(evidence[each], condition) for each in kinds)
        images, table = (pd.Series(_minus(one["standard", "clean"], one["strong", "clean"], "cost")) for one in of)
        return rules.rises(pd.DataFrame([_minus(table, images, "cost on tabular data - cost on images")]))
    found = {each: _on_one(claim, condition, evidence[each]) for each in kinds}
    if None in found.values():
        return None
    joint = rules.joined([decided for decided, _ in found.values()])
    wanted = {"contradicted", "opposite"} if joint == "contradicted" else {joint}
    those = [{**row, "kind": each} for each, (decided, row) in found.items() if decided in wanted]
    if kind in ACCURACY and len(those) > 1:
        return joint, getattr(rules, kind)(pd.DataFrame(those))[1]
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
        (found, whole), parts = _reached(claim, evidence, within), {}
        for name, half in zip(("even", "odd"), halves, strict=True):
            usable = found and kind != "repeats" and all(half[each] for each in KINDS[claim["dataset"]])
            parts[name] = _reached(claim, half, within)[1] if usable else ""
        agree = all(part == whole for part in parts.values()) if all(parts.values()) else None
        about = {key: claim[key] or "" for key in ("id", "section", "question", "dataset", "stop", "claim")}
        judged.append({**about, "test": kind, "conclusion": whole, **parts, "agree": agree})
        for name, (decided, row) in found.items():
            decisive = {key: row.get(key) for key in ("what", "kind", "mean", "low", "high")}
            outcomes.append({"id": claim["id"], "condition": name, "outcome": decided, **decisive})
    return pd.DataFrame(judged), pd.DataFrame(outcomes)


def _reached(claim: dict[str, Any], evidence: Mapping, within: int | None) -> tuple[dict[str, rules.Decided], str]:
    """Return a claim's outcomes by condition and its conclusion; no outcomes where a test or evidence is lacking."""
    kind = claim["test"]["kind"] if claim["test"] else ""
    names = [ANY] if kind == "repeats" else [each.name for each in sizes.conditions()]
    found = {name: outcome(claim, name, evidence, within) for name in names if kind}
    if not kind or None in found.values():
        return {}, "not tested"
    return found, rules.conclusion({name: decided for name, (decided, _) in found.items()})
