"""The claims of the thesis, each brought to its test: outcomes by condition, conclusions, agreement of the halves."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import yaml

from robexpl.study import rules, sizes
from robexpl.study.estimates import difference, kept, rows_of
from robexpl.study.evidence import Evidence, compared, gather, minus
from robexpl.study.places import ROOT

KINDS = {"mnist": ("image",), "california": ("tabular",), "both": ("image", "tabular")}
ANY = "any"  # the condition of claims that no condition changes
COMPARISONS = {"before": ("strong", "standard"), "after": ("strong", "shrunk"), "other_way": ("grown", "standard")}
Listed = list[dict[str, Any]]


def load() -> Listed:
    """Read the claims of paper/claims.yaml; `section` names those that the thesis' sentences stand in."""
    listed = yaml.safe_load((ROOT / "paper" / "claims.yaml").read_text(encoding="utf-8"))
    sections = [dict.fromkeys(quote["section"] for quote in claim["thesis"]) for claim in listed]
    return [{**claim, "section": ", ".join(names)} for claim, names in zip(listed, sections, strict=True)]


def outcome(
    claim: dict[str, Any], condition: str, evidence: Mapping[str, Evidence], within: int | None, several: int = 1
) -> rules.Decided | None:
    """Decide a claim in one condition: its outcome and what decided it; nothing where the evidence is lacking.
    Intervals are simultaneous over its comparisons on all its datasets, and over `several` such claims.
    """
    if claim["test"]["kind"] == "repeats":
        return None if within is None else rules.repeats(within)
    rows = {each: compared(claim, condition, evidence[each]) for each in KINDS[claim["dataset"]]}
    if not all(map(len, rows.values())):
        return None
    margin = {each: float(evidence[each].margin.set_index("condition")["margin"][condition]) for each in rows}
    return decided(claim, rows, margin, several)


def decided(
    claim: dict[str, Any], rows: Mapping[str, pd.DataFrame], margin: Mapping[str, float], several: int = 1
) -> rules.Decided:
    """Decide a claim from its comparisons and the smallest effects of interest by kind of data."""
    kind, of = claim["test"]["kind"], several * sum(map(len, rows.values()))
    if kind == "trade_off":
        cost = minus(*(rows[each].iloc[0] for each in ("tabular", "image")))
        named = pd.DataFrame([{"what": "cost on tabular data - cost on images", **cost}])
        return rules.higher(named, rules.POINT, several)
    found = {each: _by_kind(kind, part, margin[each], of) for each, part in rows.items()}
    joint = rules.joined([said for said, _ in found.values()])
    wanted = {"contradicted", "reversed"} if joint == "contradicted" else {joint}
    return joint, next({**row, "kind": each} for each, (said, row) in found.items() if said in wanted)


def _by_kind(kind: str, rows: pd.DataFrame, margin: float, of: int) -> rules.Decided:
    if kind == "spread":
        return rules.spread(rows)
    if kind == "overstated":
        return rules.overstated(rows, of)
    if kind == "rises":
        return rules.higher(rows, rules.POINT, of)
    return getattr(rules, "lower" if kind == "picture" else kind)(rows, margin, of)


def judge(
    claims: Listed, evidence: Mapping[str, Evidence], halves: list[Mapping[str, Evidence | None]], within: int | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Judge every claim: a table of claims with their conclusions, and one of outcomes by condition.
    conclusion: from all seeds, decided in the primary condition; differs: the conditions whose outcome is another;
    survives: whether the outcome stays with intervals that are simultaneous over all tested claims; implied: the claims
    that it follows from; even, odd: conclusion from half of the seeds; agree: whether both halves reach that of the
    whole, empty where a half holds no network or the claim does not depend on networks.
    """
    judged, outcomes, primary = [], [], sizes.primary().name
    several = sum(bool(_reached(claim, evidence, within)[0]) and "implied" not in claim for claim in claims)
    for claim in claims:
        kind = claim["test"]["kind"] if claim["test"] else ""
        (found, whole), parts = _reached(claim, evidence, within), {}
        for name, half in zip(("even", "odd"), halves, strict=True):
            usable = found and kind != "repeats" and all(half[each] for each in KINDS[claim["dataset"]])
            again, reached = _reached(claim, half, within) if usable else ({}, "")
            parts[name] = reached if again else ""
        agree = all(part == whole for part in parts.values()) if all(parts.values()) else None
        about = {key: claim[key] or "" for key in ("id", "section", "question", "dataset", "stop", "claim")}
        about |= {"test": kind, "implied": ", ".join(claim.get("implied", ())), "conclusion": whole}
        reached = found[primary][0] if primary in found else ""
        differs = ", ".join(name for name, (other, _) in found.items() if name != ANY and other != reached)
        survives = outcome(claim, primary, evidence, within, several)[0] == reached if reached else None
        judged.append({**about, "differs": differs, "survives": survives, **parts, "agree": agree})
        for name, (said, row) in found.items():
            decisive = {key: row.get(key) for key in ("what", "kind", "mean", "low", "high", "n_seeds")}
            outcomes.append({"id": claim["id"], "condition": name, "outcome": said, **decisive})
    return pd.DataFrame(judged), pd.DataFrame(outcomes)


def _reached(claim: dict[str, Any], evidence: Mapping, within: int | None) -> tuple[dict[str, rules.Decided], str]:
    """Return a claim's outcomes by condition and its conclusion; no outcomes where a test or evidence is lacking."""
    kind = claim["test"]["kind"] if claim["test"] else ""
    alone = {"repeats": ANY, "overstated": sizes.primary().name}  # of kinds with one outcome
    names = [alone[kind]] if kind in alone else [each.name for each in sizes.conditions()]
    found = {name: outcome(claim, name, evidence, within) for name in names if kind}
    if not kind or None in found.values():
        return {}, "not tested"
    return found, rules.conclusion({name: said for name, (said, _) in found.items()}, sizes.primary().name)


def leave_one_out(claims: Listed, known: Mapping[str, tuple], evidence: Mapping[str, Evidence]) -> pd.DataFrame:
    """Decide every claim in the primary condition again without each network in turn: id, choice, tried, same, turned.
    `known` has by kind of data the arguments of `gather`. same: how often the outcome stays; turned: how often one that
    supports the claim becomes one that refutes it, or the reverse.
    """
    primary, parts, found = sizes.primary().name, [], []
    for kind, (*tables, margin, names) in known.items():
        own = [rows[rows["condition"] == primary] for rows in tables]
        seeds, few = set(own[0]["seed"]), set(own[2]["seed"])
        for seed in sorted(seeds) if len(seeds) > 2 else ():
            parts.append((kind, seed in few, gather(*own, margin, names, seeds - {seed})))
    for claim in (one for one in claims if one["test"] and one["test"]["kind"] != "repeats"):
        whole, every = outcome(claim, primary, evidence, None), claim["test"]["kind"] != "overstated"
        kinds = KINDS[claim["dataset"]]
        tried = [{**evidence, kind: part} for kind, few, part in parts if kind in kinds and (every or few)]
        if whole is None or not tried:
            continue
        said = [(again or ("inconclusive",))[0] for again in (outcome(claim, primary, one, None) for one in tried)]
        clear = [each for each in said if "inconclusive" not in (each, whole[0])]
        turned = sum((each == "supported") != (whole[0] == "supported") for each in clear)
        about = {"id": claim["id"], "choice": "network left out", "tried": len(said)}
        found.append({**about, "same": said.count(whole[0]), "turned": turned})
    return pd.DataFrame(found, columns=["id", "choice", "tried", "same", "turned"])


def over_settings(claims: Listed, varied: pd.DataFrame) -> pd.DataFrame:
    """Count for every claim on the strong and the standard network over which settings their difference has its sign.
    `varied` has strong - standard with columns kind, choice (what is varied), stop and side. same: values at which it
    lies on the claimed side of zero; turned: on the other.
    """
    found = []
    for claim in (one for one in claims if (one["test"] or {}).get("kind") == "lower"):
        pairs = claim["test"]["pairs"]
        wanted = "lower" if ["strong", "standard"] in pairs else "higher" if ["standard", "strong"] in pairs else None
        rows = varied[varied["kind"].isin(KINDS[claim["dataset"]]) & (varied["stop"] == claim["stop"])]
        for choice, part in rows.groupby("choice", sort=False) if wanted else ():
            same, clear = (part["side"] == wanted).sum(), (part["side"] != "unclear").sum()
            counts = {"tried": len(part), "same": int(same), "turned": int(clear - same)}
            found.append({"id": claim["id"], "choice": choice, **counts})
    return pd.DataFrame(found, columns=["id", "choice", "tried", "same", "turned"])


def scale(matched: pd.DataFrame) -> pd.DataFrame:
    """Compare the regimes before and after their gradients are made equally large, by condition.
    before: strong - standard; after: strong - standard shrunk; other_way: strong grown - standard; half_margin: after -
    before / 2. All over the factuals that count.
    """
    found = []
    for name, score, named in _scores(matched):
        pairs = {key: (score[a], score[b]) for key, (a, b) in COMPARISONS.items()}
        before, after = (pairs[key][0] - pairs[key][1] for key in ("before", "after"))
        pairs["half_margin"] = after, before / 2
        found += [{"condition": name, "comparison": key, **difference(*pair, *named)} for key, pair in pairs.items()]
    return pd.DataFrame(found)


def scale_kept(matched: pd.DataFrame) -> pd.DataFrame:
    """Return by condition the share of strong - standard that remains at equal gradients, with its interval."""
    return pd.DataFrame(
        {"condition": name, **kept(score["strong"] - score["standard"], score["strong"] - score["shrunk"], *named)}
        for name, score, named in _scores(matched)
    )


def _scores(matched: pd.DataFrame) -> Iterator[tuple[str, dict[str, np.ndarray], tuple]]:
    """Yield each condition, the implausibilities of the factuals that count, by network, their seeds and test rows."""
    for name, rows in matched.groupby("condition", sort=False) if len(matched) else ():
        cells = dict(list(rows.groupby("regime", sort=False)))
        common = cells["standard"]["counted"].to_numpy()
        score = {cell: part["implausibility"].to_numpy()[common] for cell, part in cells.items()}
        counted = cells["standard"][common]
        yield name, score, (counted["seed"].to_numpy(), rows_of(counted))
