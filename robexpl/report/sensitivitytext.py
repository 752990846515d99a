"""Tables and sentences of the sensitivity study, computed from its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from robexpl.readings import STOP_NAMES
from robexpl.regimes import REGIME_NAMES, REGIMES
from robexpl.report import words
from robexpl.report.sensitivity import GCC, PAIR, reached
from robexpl.report.sensitivityplots import RULER_NAMES, number

Record = dict[str, Any]
SETTINGS = {
    "scale": "scale of the logits",
    "reg": "ridge of the energy",
    "steps": "number of steps",
    "learning_rate": "step size, way as long",
    "start_noise": "noise at the start",
    "threshold": "target probability asked for",
    "k": "neighbours",
}
COURSES = {"holds": "keeps its sign, every interval", "turns": "turns", "wavers": "is undecided somewhere"}


def course(points: Sequence[Mapping[str, float]]) -> str:
    """Say what the estimate does along some points: "holds" one side of 0, "turns" from one to the other, "wavers"."""
    sides = {words.side(point) for point in points}
    return "turns" if {"lower", "higher"} <= sides else "holds" if sides in ({"lower"}, {"higher"}) else "wavers"


def courses(curves: Record) -> Record:
    """Return {setting: {stop: course}}, over the points at which the target is mostly reached."""
    return {setting: {stop: course(compared(line)) for stop, line in by.items()} for setting, by in curves.items()}


def compared(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Keep the points at which both networks mostly reach the target class: elsewhere there is little to compare."""
    return [point for point in points if reached(point)]


def shares_table(shares: Record) -> pd.DataFrame:
    """Tabulate the shares of the maps."""
    titles = {"cells": "settings", "lower": "strong lower", "surely_lower": "surely lower"}
    titles |= {"surely_higher": "surely higher", "order": "in order", "surely_order": "surely in order"}
    rows = {
        (STOP_NAMES[stop], {"all": "all", "valid": "target mostly reached"}[which]): {
            title: record[key] if key == "cells" else "-" if record[key] is None else f"{record[key]:.2f}"
            for key, title in titles.items()
        }
        for stop, by in shares.items()
        for which, record in by.items()
    }
    return pd.DataFrame(rows).T.rename_axis(["stop", "settings"])


def maps_sentences(maps: Record, shares: Record) -> str:
    """Say in how much of each map the strong network scores lower, and what the energy does at its distance weight."""
    lines = []
    for stop, record in maps.items():
        share, own = shares[stop]["valid"], record["l1"].index(record["own"][1])
        column = {energy: row[own] for energy, row in zip(record["energy"], record["cells"], strict=True)}
        mine, least, most = column[record["own"][0]], min(column), max(column)
        order = ""
        if share["order"] is not None:
            order = f" The order weak, medium, strong is found in {share['order']:.2f}, surely in "
            order += f"{share['surely_order']:.2f}."
        found = (
            f"of the {share['cells']} settings at which both networks mostly reach the target class, the strong one "
            f"scores lower in a share of {share['lower']:.2f}, surely lower in {share['surely_lower']:.2f} and surely "
            f"higher in {share['surely_higher']:.2f}.{order}"
            if share["cells"]
            else "at no setting do both networks mostly reach the target class."
        )
        lines.append(
            f"- **{STOP_NAMES[stop]}**: {found} At the reading's weights the difference is {words.delta(mine)}; with "
            f"its distance weight and an energy weight of {least:g} it is {words.delta(column[least])}, and with "
            f"one of {most:g} it is {words.delta(column[most])}."
        )
    return "\n".join(lines)


def curves_table(curves: Record) -> pd.DataFrame:
    """Tabulate along each setting where the estimate is least and greatest, and what becomes of its sign."""
    rows = {}
    for setting, by_stop in curves.items():
        for stop, line in by_stop.items():
            least, most = (f(line, key=lambda point: point["mean"]) for f in (min, max))
            rows[(SETTINGS[setting], STOP_NAMES[stop])] = {
                "values": ", ".join(number(point["value"]) for point in line),
                "least [95 %]": f"{words.delta(least)} at {number(least['value'])}",
                "greatest [95 %]": f"{words.delta(most)} at {number(most['value'])}",
                "sign": course(compared(line)),
                "target reached, least share": f"{min(min(p['validity'][r] for r in PAIR) for p in line):.2f}",
            }
    return pd.DataFrame(rows).T.rename_axis(["setting", "stop"])


def curves_sentences(curves: Record) -> str:
    """Say along which settings the sign of the estimate holds, turns or is undecided, where the target is reached."""
    by_course: dict[str, list[str]] = {name: [] for name in COURSES}
    for setting, by_stop in courses(curves).items():
        for stop, name in by_stop.items():
            by_course[name].append(f"{SETTINGS[setting]} ({'beyond' if stop == GCC else 'at'} the boundary)")
    parts = [f"- It **{COURSES[name]}**, along: {words.listed(found)}." for name, found in by_course.items() if found]
    said = "The difference between the strong and the standard network, where both mostly reach the target:\n\n"
    return said + "\n".join(parts)


def rulers_table(rulers: Record) -> pd.DataFrame:
    """Tabulate the estimates by ruler and stop, also in units of the standard network's mean."""
    rows = {
        (RULER_NAMES[ruler].replace("\n", " "), STOP_NAMES[stop]): {
            "standard": round(record["means"]["standard"], 3),
            "strong": round(record["means"]["strong"], 3),
            "difference [95 %]": words.delta(record),
            "relative": f"{record['relative']['mean']:+.3f}",
            "side": words.side(record),
        }
        for ruler, by_stop in rulers.items()
        for stop, record in by_stop.items()
    }
    return pd.DataFrame(rows).T.rename_axis(["ruler", "stop"])


def ruler_name(ruler: str) -> str:
    """Name a ruler without the comma that a list of them would stumble over."""
    name, _, detail = RULER_NAMES[ruler].replace("\n", " ").partition(", ")
    return f"{name} ({detail})" if detail else name


def rulers_sentence(rulers: Record) -> str:
    """Say by stop which rulers put the strong network lower, higher or leave it open."""
    parts, verbs = [], {"lower": "scores lower", "higher": "scores higher"}
    verbs["unclear"] = "cannot be told apart from the standard one"
    for stop in next(iter(rulers.values())):
        sides = {ruler: words.side(by_stop[stop]) for ruler, by_stop in rulers.items()}
        said = [
            f"{text} by {words.listed([ruler_name(r) for r in sides if sides[r] == side])}"
            for side, text in verbs.items()
            if side in sides.values()
        ]
        parts.append(f"- **{STOP_NAMES[stop]}**: the strong network {'; '.join(said)}.")
    return "\n".join(parts)


def mechanism_table(records: Record) -> pd.DataFrame:
    """Tabulate by reading the sizes of gradients, the factor, the difference before and after, the share kept."""
    rows = {}
    for name, r in records.items():
        share = "-" if r["kept"] is None else f"{r['kept']:.2f} [{_end(r['kept_low'])}, {_end(r['kept_high'])}]"
        rows[name] = {
            **{f"gradient, {REGIME_NAMES[regime].lower()}": f"{r['gradient'][regime]:.2f}" for regime in REGIMES},
            "factor": f"{r['scale']['mean']:.3f} ({r['scale']['low']:.3f} to {r['scale']['high']:.3f})",
            "before [95 %]": words.delta(r["before"]),
            "standard shrunk [95 %]": words.delta(r["after"]),
            "strong grown [95 %]": words.delta(r["other_way"]),
            "kept [95 %]": share,
            "pairs": r["before"]["n"],
        }
    return pd.DataFrame(rows).rename_axis(columns="reading")


def ends_table(records: Record) -> pd.DataFrame:
    """Tabulate by reading and network where the searches end; logits of a rescaled network are the rescaled ones."""
    names = {"standard": "Standard", "strong": "Strong", "shrunk": "Standard, shrunk", "grown": "Strong, grown"}
    titles = {"l1": "distance (L1)", "target_logit": "target logit", "valid": "valid"}
    rows = {
        (name, names[cell]): {title: end[key] for key, title in titles.items()}
        for name, record in records.items()
        for cell, end in record["ends"].items()
    }
    return pd.DataFrame(rows).T.rename_axis(["reading", "network"]).round(2)


def mechanism_sentences(records: Record) -> str:
    """Say by reading what of the difference between strong and standard is left where gradients are equally large."""
    lines = []
    for name, r in records.items():
        before, after, half = r["before"], r["after"], r["half_margin"]
        text = f'- **Reading "{name}"**: strong - standard is {words.delta(before)}, {words.delta(after)} with the '
        text += f"standard network's logits multiplied by {r['scale']['mean']:.3f} (n = {before['n']} pairs of "
        text += f"{words.number(r['n_seeds'])} seed{'s' * (r['n_seeds'] > 1)}). "
        if r["kept"] is None:
            text += "The difference before is not clear of zero, so there is no share of it to keep."
        else:
            sign = 1 if before["mean"] > 0 else -1
            low, high = sorted((sign * half["low"], sign * half["high"]))
            kept = "more than half" if low > 0 else "less than half" if high < 0 else "no decided side of half"
            text += f"The share kept is {r['kept']:.2f} [{_end(r['kept_low'])}, {_end(r['kept_high'])}]: {kept}."
            if words.side(after) not in ("unclear", words.side(before)):
                text += " The sign turns: what set the two apart beforehand was the scale."
        other = r["other_way"]
        text += f" The other way, with the strong network's logits enlarged instead, it is {words.delta(other)}"
        agree = words.side(after) == words.side(other)
        text += "." if agree else ", on another side of zero or undecided: the two ways do not say the same."
        lines.append(text)
    return "\n".join(lines)


def _end(value: float | None) -> str:
    return "unbounded" if value is None else f"{value:.2f}"


def summary(shares: Record, curves: Record, rulers: Record) -> pd.DataFrame:
    """Tabulate by stop what the sign of the estimate does along every setting, over the map and over the rulers."""
    rows: Record = {}
    for setting, by_stop in courses(curves).items():
        for stop, name in by_stop.items():
            rows.setdefault(SETTINGS[setting], {})[STOP_NAMES[stop]] = name
    for stop, by in shares.items():
        found, name = by["valid"], "weights, where the target is reached"
        both = min(found["surely_lower"] or 0, found["surely_higher"] or 0) > 0
        whole = max(found["surely_lower"] or 0, found["surely_higher"] or 0) == 1
        rows.setdefault(name, {})[STOP_NAMES[stop]] = "turns" if both else "holds" if whole else "wavers"
    for stop in next(iter(rulers.values())):
        line = [by_stop[stop] for by_stop in rulers.values()]
        rows.setdefault("ruler", {})[STOP_NAMES[stop]] = course(line)
    return pd.DataFrame(rows).T.fillna("-").rename_axis("sign of strong - standard along")
