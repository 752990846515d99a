"""Answers to the two research questions: tables, sentences and verdicts from records, by rule."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pandas as pd

from robexpl.readings import STOP_NAMES, reading
from robexpl.regimes import REGIME_NAMES, REGIMES
from robexpl.report import words
from robexpl.report.gallery import Gallery
from robexpl.report.tables import ROBUST, order, thesis

Record = dict[str, Any]
STEPS_UP = ("neither step up clearly lowers", "one of the two steps up clearly lowers", "both steps up clearly lower")
STEP_NAMES = {
    "weak_to_medium": "Medium - Weak",
    "medium_to_strong": "Strong - Medium",
    "weak_to_strong": "Strong - Weak",
}


def settings_records(kind: str, readings: tuple[str, ...], steps: int) -> Record:
    """Return the settings of the search by reading."""
    return {name: vars(reading(name).settings(kind, steps=steps)) for name in readings}


def settings_table(settings: Record) -> pd.DataFrame:
    """Tabulate settings by reading, whole numbers as such."""
    return pd.DataFrame({k: pd.Series(v, dtype=object) for k, v in settings.items()}).rename_axis("setting")


def cells_table(cells: Record) -> pd.DataFrame:
    """Tabulate every cell of {reading: {stop: {regime: C}}} with what its mean rests on."""
    rows = {}
    for name, by_stop in cells.items():
        for stop, by_regime in by_stop.items():
            for regime, c in by_regime.items():
                rows[(name, STOP_NAMES[stop], REGIME_NAMES[regime])] = {
                    "mean [95 %]": words.mean(c),
                    "all": f"{c['all']:.3f}",
                    "SD over runs": f"{c['sd']:.3f}" if c["sd"] is not None else "-",
                    "SD over seeds": f"{c['sd_seeds']:.3f}" if c["sd_seeds"] is not None else "-",
                    "n": c["n"],
                    "skipped": c["skipped"],
                    "valid": f"{c['validity']:.2f}",
                    "converged": f"{c['converged']:.2f}",
                    "steps": f"{c['steps']:.1f}",
                }
    return pd.DataFrame(rows).T.rename_axis(["reading", "stop", "regime"])


def travel_table(cells: Record) -> pd.DataFrame:
    """Tabulate where the searches end: distance from the factual, logit and probability of the target class."""
    rows = {}
    for name, by_stop in cells.items():
        for stop, by_regime in by_stop.items():
            for regime, c in by_regime.items():
                ends = {"distance (L1)": c["distance"], "target logit": c["target_logit"]}
                rows[(name, STOP_NAMES[stop], REGIME_NAMES[regime])] = {**ends, "target probability": c["target_prob"]}
    return pd.DataFrame(rows).T.rename_axis(["reading", "stop", "regime"]).round(2)


def differences_table(differences: Record, names: Record) -> pd.DataFrame:
    """Tabulate paired differences {reading: {stop: {name: D}}} with their side of zero; `names` says what each is."""
    rows = {}
    for name, by_stop in differences.items():
        for stop, by_pair in by_stop.items():
            for pair, d in by_pair.items():
                said = {"lower": "more plausible", "higher": "less plausible", "unclear": "undecided"}[words.side(d)]
                rows[(name, STOP_NAMES[stop], names[pair])] = {
                    "difference [95 %]": words.delta(d),
                    "P(lower)": f"{d['p_lower']:.2f}",
                    "verdict": said,
                    "pairs": d["n"],
                }
    return pd.DataFrame(rows).T.rename_axis(["reading", "stop", "difference"])


def against_names() -> dict[str, str]:
    """Return what the differences to the standard network are called."""
    return {regime: f"{REGIME_NAMES[regime]} - Standard" for regime in ROBUST}


def rq1_sentences(cells: Record, differences: Record) -> str:
    """Say, by reading and stop, which robust networks differ from the standard one and where the lowest mean lies."""
    lines = []
    for name, by_stop in differences.items():
        for stop, by_regime in by_stop.items():
            records = cells[name][stop]
            best, standard = order(records, REGIMES)[0], words.mean(records["standard"])
            n, seeds = [records[regime]["n"] for regime in REGIMES], records[best]["n_seeds"]
            whose = (
                f"The lowest mean is that of the {REGIME_NAMES[best].lower()} network, {words.mean(records[best])}; "
                f"the standard one has {standard}."
            )
            lines.append(
                f'- **{STOP_NAMES[stop]}, reading "{name}"**: {words.against_standard(by_regime)}. '
                + (whose if best != "standard" else f"The lowest mean is the standard one's, {standard}.")
                + f" Each mean rests on {min(n)}{f' to {max(n)}' * (max(n) > min(n))} counterfactuals of "
                f"{words.number(seeds)} seed{'s' * (seeds > 1)}."
            )
    return "\n".join(lines)


def anchors_sentence(ladders: Record, cells: Record, names: Record) -> str:
    """Say between which anchors the scores lie and how many do worse than the anchors of their own reading.

    ladders: {reading: {anchor: mean}}; the anchors named are those of the first reading.
    """
    scores = [
        (name, c["mean"])
        for name, by_stop in cells.items()
        for by_regime in by_stop.values()
        for c in by_regime.values()
    ]  # fmt: skip
    first, anchors = next(iter(ladders.items()))
    ladder = ", ".join(f"{names[key]} {anchors[key]:.3f}" for key in sorted(anchors, key=anchors.get))
    above = {key: sum(value > ladders[name][key] for name, value in scores) for key in ("blank", "factual")}
    return (
        f'From plausible to implausible (reading "{first}"): {ladder}. Of the {len(scores)} means above, '
        f"{words.number(above['blank'])} exceed{'s' * (above['blank'] == 1)} the score of the {names['blank']} in "
        f"{'its' if above['blank'] == 1 else 'their'} own reading and {words.number(above['factual'])} "
        f"exceed{'s' * (above['factual'] == 1)} that of the factuals, which are certainly not of the target class."
    )


def verdict(differences: list[Record]) -> str:
    """Judge "all of these are lower": supported, contradicted where one is clearly higher, else undecided."""
    sides = [words.side(d) for d in differences]
    return "supported" if set(sides) == {"lower"} else "contradicted" if "higher" in sides else "undecided"


def rq1_verdicts(differences: Record, dataset: str, *, comparable: bool) -> pd.DataFrame:
    """Judge "every robust network is more plausible than the standard one" by stop and reading, beside the thesis."""
    printed = thesis()["table1"][dataset] if comparable else {}
    rows = {}
    for stop, title in STOP_NAMES.items():
        holds = bool(printed) and all(printed[r][stop]["mean"] < printed["standard"][stop]["mean"] for r in ROBUST)
        mine = {name: verdict(list(by_stop[stop].values())) for name, by_stop in differences.items()}
        rows[title] = {"thesis": ("no", "yes")[holds] if printed else "not comparable", **mine}
    return pd.DataFrame(rows).T.rename_axis("every robust network more plausible than the standard one")


def monotone(records: Record) -> bool:
    """Tell whether means fall from weak over medium to strong."""
    return all(records[a]["mean"] > records[b]["mean"] for a, b in pairwise(ROBUST))


def rq2_sentences(cells: Record, steps: Record, shares: Record) -> str:
    """Say, by reading and stop, how the robust networks are ordered and which steps up in strength count."""
    lines = []
    for name, by_stop in steps.items():
        for stop, by_pair in by_stop.items():
            ordered = " < ".join(REGIME_NAMES[regime] for regime in order(cells[name][stop]))
            said = {"lower": "lowers it", "higher": "raises it", "unclear": "leaves it undecided"}
            weak_strong = by_pair["weak_to_strong"]
            clear = sum(words.side(by_pair[key]) == "lower" for key in ("weak_to_medium", "medium_to_strong"))
            lines.append(
                f'- **{STOP_NAMES[stop]}, reading "{name}"**: {ordered}, '
                f"{'in' if monotone(cells[name][stop]) else 'not in'} the order of strength; "
                f"{STEPS_UP[clear]} implausibility. "
                f"Going from weak to strong {said[words.side(weak_strong)]}: {words.delta(weak_strong)}. "
                f"In {shares[name][stop]:.2f} of the runs the three means fall from weak over medium to strong (chance "
                "alone: 0.17)."
            )
    return "\n".join(lines)


def rq2_verdicts(steps: Record, dataset: str, *, comparable: bool) -> pd.DataFrame:
    """Judge "each stronger adversary makes counterfactuals more plausible" by stop and reading, beside the thesis."""
    printed = thesis()["table1"][dataset] if comparable else {}
    rows = {}
    for stop, title in STOP_NAMES.items():
        pairs = ("weak_to_medium", "medium_to_strong")
        mine = {name: verdict([by_stop[stop][key] for key in pairs]) for name, by_stop in steps.items()}
        holds = bool(printed) and monotone({regime: printed[regime][stop] for regime in ROBUST})
        rows[title] = {"thesis": ("no", "yes")[holds] if printed else "not comparable", **mine}
    return pd.DataFrame(rows).T.rename_axis("each stronger adversary makes counterfactuals more plausible")


def travel_sentence(cells: Record, goal: float) -> str:
    """Say how far the target logits are from where the energy term is least, under generator conditions."""
    lines = []
    for name, by_stop in cells.items():
        records = by_stop["generator_conditions"]
        logits = words.listed([f"{records[r]['target_logit']:.2f} ({REGIME_NAMES[r].lower()})" for r in REGIMES])
        least, most = (f(c["converged"] for c in records.values()) for f in (min, max))
        met = (
            "No search meets the generator conditions; all end after the last step allowed."
            if most == 0
            else f"Between {least:.2f} and {most:.2f} of a network's searches meet the generator conditions; the "
            "others end after the last step allowed."
        )
        lines.append(
            f'- **Reading "{name}"**: mean target logits at the end are {logits}; the energy is least at {goal:g}. '
            f"{met}"
        )
    return "\n".join(lines)


def travel_records(cells: Record) -> Record:
    """Return distance and target logit at the end of the searches: {reading: {stop: {regime: {...}}}}."""
    return {
        name: {
            stop: {r: {key: c[key] for key in ("distance", "target_logit")} for r, c in by_regime.items()}
            for stop, by_regime in by_stop.items()
        }
        for name, by_stop in cells.items()
    }


def gallery_sentence(shown: Gallery, pair: Record | None, name: str) -> str:
    """Say what the pictures, or the table of one factual, show in numbers, and how little that proves."""
    scores = {stop: {r: float(s.mean()) for r, (_, s) in found.items()} for stop, found in shown.found.items()}
    rows = f"these {words.number(len(shown.rows))} factuals" if len(shown.rows) > 1 else "this one factual"
    best = {stop: REGIME_NAMES[min(s, key=s.get)].lower() for stop, s in scores.items()}
    lowest = [f"that of the {regime} network ({STOP_NAMES[stop].lower()})" for stop, regime in best.items()]
    if len(set(best.values())) == 1:
        lowest = [f"that of the {next(iter(best.values()))} network under both stops"]
    text = f'For {rows} (reading "{name}") the lowest mean score is {words.listed(lowest)}. '
    if pair:
        better = "lower" if pair["strong"] < pair["standard"] else "higher"
        text += (
            f'The "{pair["to"]}" of the strong network scores {pair["strong"]:.3f}, {better} than that of the standard '
            f"network with {pair['standard']:.3f}; an image without any ink scores {pair['blank']:.3f}. "
        )
    return text + "A handful of examples illustrates; the tables above decide."
