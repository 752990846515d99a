"""The verdicts as a table, as sentences and as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from robexpl.report import plots, words
from robexpl.report.verdicts import VERDICTS

Record = dict[str, Any]
# light to dark would rank them; these are told apart by colour-blind readers too, and by their letter
LOOKS = {
    "supported": ("#0072B2", "white", "S"),
    "undecided": ("#D9D9D9", "black", "U"),
    "contradicted": ("#E69F00", "black", "C"),
    "opposite": ("#D55E00", "white", "O"),
}


def table(judged: Sequence[Record], readings: Sequence[str]) -> pd.DataFrame:
    """Tabulate the claims with their verdicts, the outcomes by reading and what decided the last reading."""
    rows = {}
    for row in judged:
        found = row["found"] or {}
        outcomes = {name: (found.get(name) or found.get("any") or {}).get("outcome", "-") for name in readings}
        halves = "-" if row["agree"] is None else "agree" if row["agree"] else ", ".join(row["halves"])
        rows[row["id"]] = {
            "place": row["section"],
            **outcomes,
            "verdict": row["verdict"],
            "halves of the seeds": halves,
        }
    return pd.DataFrame(rows).T.rename_axis("claim")


def evidence_table(judged: Sequence[Record]) -> pd.DataFrame:
    """Tabulate by claim and reading the estimate that decided it."""
    rows = {}
    for row in judged:
        for name, part in (row["found"] or {}).items():
            rows[(row["id"], name)] = {
                "outcome": part["outcome"],
                "decided by": part["decisive"]["what"],
                "on": {"image": "images", "tabular": "tables"}.get(part["decisive"].get("role"), "both"),
                "estimate [95 %]": estimate(part["decisive"]),
            }
    return pd.DataFrame(rows).T.rename_axis(["claim", "reading"])


def estimate(d: Record) -> str:
    """Write what decided an outcome: a difference with its interval, or a bare number."""
    if d["mean"] is None:
        return "-"
    return words.delta(d) if "low" in d else f"{d['mean']:.3g}"


def sentence(judged: Sequence[Record], counted: dict[str, int], smallest: int) -> str:
    """Say how many claims met which verdict, and which verdicts a half of the seeds, taken alone, does not reach.

    smallest: the networks per regime in the smallest half.
    """
    parts = [f"{words.number(n)} {SAID[name][n != 1]}" for name, n in counted.items()]
    split = [row["id"] for row in judged if row["agree"] is False]
    halved = [row for row in judged if row["agree"] is not None]
    said = f"Of {len(judged)} claims, {words.listed(parts)}. "
    if not halved:
        return said + "There are too few seeds to judge on halves of them."
    if smallest < 2:
        said += "The smallest half holds one network per regime, and its intervals then cover factuals alone. "
    if not split:
        return said + f"All {len(halved)} verdicts that can be tried on halves of the seeds are reached on both, too."
    return said + (
        f"{words.number(len(halved) - len(split)).capitalize()} of the {len(halved)} verdicts that can be tried on "
        "halves of the seeds are reached on both, too; at least one half misses: "
        f"{words.listed([f'`{name}`' for name in split])}."
    )


SAID = {
    "stands": ("stands", "stand"),
    "stands only as published": ("stands only as published", "stand only as published"),
    "undecided": ("is undecided", "are undecided"),
    "does not stand": ("does not stand", "do not stand"),
    "reversed": ("is reversed", "are reversed"),
    "not tested": ("is not tested", "are not tested"),
}


def matrix(judged: Sequence[Record], readings: Sequence[str]) -> Figure:
    """Draw the outcomes, claims by readings, with the verdicts beside them; claims in the order of their verdicts."""
    rows = sorted((row for row in judged if row["found"]), key=lambda row: VERDICTS.index(row["verdict"]))
    fig, axes = plots.panels(1, width=plots.PAGE, height=0.55 + 0.24 * len(rows))
    ax = axes[0, 0]
    for y, row in enumerate(rows):
        for x, name in enumerate(readings):
            part = row["found"].get(name) or row["found"].get("any")
            colour, ink, letter = LOOKS[part["outcome"]]
            ax.barh(y, 0.92, left=x - 0.46, height=0.84, color=colour, linewidth=0)
            ax.text(x, y, letter, ha="center", va="center", color=ink, fontsize=7.5)
        mark = "" if row["agree"] in (None, True) else " *"
        ax.text(len(readings) - 0.4, y, row["verdict"] + mark, ha="left", va="center", fontsize=8)
    ax.set(xlim=(-0.5, len(readings) + 1.0), ylim=(len(rows) - 0.5, -0.5))
    ax.set_xticks(range(len(readings)), readings)
    ax.set_yticks(range(len(rows)), [row["id"] for row in rows])
    ax.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    handles = [Patch(color=colour, label=f"{letter}  {name}") for name, (colour, _, letter) in LOOKS.items()]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return fig
