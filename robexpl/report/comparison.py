"""Our Table 1 beside the thesis': the same shape, and how far the two are apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from robexpl.regimes import REGIME_NAMES, REGIMES
from robexpl.report.plots import FADED, PAGE, STOP_SHORT, STOP_TITLES, legend, panels, regime_mark
from robexpl.report.tables import lowest, thesis

Record = dict[str, Any]
ATTACKS = {"clean": "clean", "fgsm": "FGSM", "pgd": "PGD"}
SHORT = ("mean", "low", "high", "sd", "sd_seeds", "n", "n_seeds", "skipped", "converged", "validity", "z")


def table_record(accuracies: Record, cells: Record) -> Record:
    """Join accuracies {attack: A} and cells {stop: C} of one reading and dataset by regime."""
    return {
        regime: {
            **{attack: accuracies[regime][attack] for attack in ATTACKS},
            **{stop: {key: cells[stop][regime][key] for key in SHORT} for stop in STOP_SHORT},
        }
        for regime in REGIMES
    }


def lowest_record(table: Record) -> Record:
    """Return the regime with the lowest mean by stop."""
    return {stop: lowest({regime: table[regime][stop] for regime in REGIMES}) for stop in STOP_SHORT}


def show_table(table: dict[str, Record], titles: Record) -> pd.DataFrame:
    """Show {role: {regime: record}} in the shape of the thesis' Table 1; the lowest of a column has a star."""
    rows = {}
    for role, of_regime in table.items():
        for regime, record in of_regime.items():
            marks = {stop: "*" * (regime == best) for stop, best in lowest_record(of_regime).items()}
            row = {title: f"{record[attack]['mean']:.3f}" for attack, title in ATTACKS.items()}
            row |= {name: _spread(record[stop]) + marks[stop] for stop, name in STOP_SHORT.items()}
            rows[(titles[role], REGIME_NAMES[regime])] = row
    return pd.DataFrame(rows).T.rename_axis(["dataset", "training"])


def show_thesis(datasets: Record, titles: Record) -> pd.DataFrame:
    """Show Table 1 as the thesis prints it."""
    every = {role: thesis()["table1"][dataset] for role, dataset in datasets.items()}
    as_means = {
        role: {r: {k: v if isinstance(v, dict) else {"mean": v} for k, v in row.items()} for r, row in table.items()}
        for role, table in every.items()
    }
    return show_table({role: {regime: table[regime] for regime in REGIMES} for role, table in as_means.items()}, titles)


def show_gaps(table: dict[str, Record], datasets: Record, titles: Record) -> pd.DataFrame:
    """Show ours - thesis for accuracies and z, the difference in combined SDs, for implausibilities."""
    rows = {}
    for role, of_regime in table.items():
        for regime, record in of_regime.items():
            printed = thesis()["table1"][datasets[role]][regime]
            row = {title: f"{record[attack]['mean'] - printed[attack]:+.3f}" for attack, title in ATTACKS.items()}
            row |= {f"z {name}": f"{record[stop]['z']:+.1f}" for stop, name in STOP_SHORT.items()}
            rows[(titles[role], REGIME_NAMES[regime])] = row
    return pd.DataFrame(rows).T.rename_axis(["dataset", "training"])


def z_scores(tables: dict[str, dict[str, Record]]) -> Record:
    """Return {reading: {role: {stop: {regime: z}}}}."""
    return {
        name: {
            role: {stop: {regime: of_regime[regime][stop]["z"] for regime in REGIMES} for stop in STOP_SHORT}
            for role, of_regime in table.items()
        }
        for name, table in tables.items()
    }


def plot_z(scores: Mapping, titles: Mapping[str, str]) -> Figure:
    """Plot z, our mean minus the thesis' in combined SDs: {reading: {role: {stop: {regime: z}}}}, a panel per role."""
    fig, axes = panels(len(titles), width=PAGE, height=2.7, sharey=True)
    rows = [(stop, regime) for stop in STOP_TITLES for regime in REGIMES]
    for ax, (role, title) in zip(axes[0], titles.items(), strict=True):
        ax.axvspan(-2, 2, color="#EEF2F5", zorder=0)
        ax.axvline(0, color=FADED, linewidth=0.8, zorder=1)
        for j, by_role in enumerate(scores.values()):
            for i, (stop, regime) in enumerate(rows):
                y = i + (i >= len(REGIMES)) * 0.7 + 0.2 * (j - (len(scores) - 1) / 2)
                ax.plot(by_role[role][stop][regime], y, linestyle="none", **regime_mark(regime, reading=j))
        ax.set(title=title, xlabel="(ours - thesis) / combined SD")
        ax.grid(axis="y", visible=False)
    places = [i + (i >= len(REGIMES)) * 0.7 for i in range(len(rows))]
    axes[0, 0].set_yticks(places, [f"{STOP_SHORT[stop]}  {REGIME_NAMES[regime]}" for stop, regime in rows])
    axes[0, 0].invert_yaxis()
    legend(fig, regimes=False, readings=list(scores))
    return fig


def summary(table: dict[str, Record], datasets: Record) -> Record:
    """Count the cells within two and three combined SDs and name the farthest, for one comparable reading."""
    cells = [
        {"role": role, "regime": regime, "stop": stop, "z": record[stop]["z"]}
        for role, of_regime in table.items()
        for regime, record in of_regime.items()
        for stop in STOP_SHORT
    ]
    gaps = [
        {"value": abs(record[attack]["mean"] - _printed(datasets[role], regime, attack)), "role": role}
        | {"regime": regime, "attack": attack}
        for role, of_regime in table.items()
        for regime, record in of_regime.items()
        for attack in ATTACKS
    ]
    return {
        "cells": len(cells),
        "within_2": sum(abs(cell["z"]) <= 2 for cell in cells),
        "within_3": sum(abs(cell["z"]) <= 3 for cell in cells),
        "worst": max(cells, key=lambda cell: abs(cell["z"])),
        "accuracies": len(gaps),
        "clean_gap": max((gap for gap in gaps if gap["attack"] == "clean"), key=lambda gap: gap["value"]),
        "robust_gap": max((gap for gap in gaps if gap["attack"] != "clean"), key=lambda gap: gap["value"]),
    }


def sentences(summaries: dict[str, Record | None], titles: Record) -> str:
    """Say how close each reading comes to the thesis."""
    lines = []
    for name, s in summaries.items():
        if s is None:
            continue
        worst, clean, robust = s["worst"], s["clean_gap"], s["robust_gap"]
        where = f"{titles[worst['role']]}, {REGIME_NAMES[worst['regime']].lower()}, {STOP_SHORT[worst['stop']]}"
        lines.append(
            f'- **Reading "{name}"**: {s["within_2"]} of {s["cells"]} implausibilities lie within two combined '
            f"standard deviations of the thesis, {s['within_3']} within three. The farthest is {where}, with "
            f"z = {worst['z']:+.1f}. Clean accuracies differ by at most {clean['value']:.3f} "
            f"({_place(clean, titles)}), accuracies under attack by at "
            f"most {robust['value']:.3f} ({_place(robust, titles)}, {ATTACKS[robust['attack']]})."
        )
    return "\n".join(lines) or "The demo's data are not the thesis' data: its numbers are **not comparable**."


def summary_table(
    tables: dict[str, dict[str, Record]], summaries: dict[str, Record | None], datasets: Record, titles: Record
) -> pd.DataFrame:
    """Show by reading where each column is lowest and how many cells agree with the thesis."""
    rows = {}
    for name, table in tables.items():
        row = {
            f"lowest {STOP_SHORT[stop]}, {titles[role]}": REGIME_NAMES[best]
            for role, of_regime in table.items()
            for stop, best in lowest_record(of_regime).items()
        }
        s = summaries[name]
        row["within 2 SD"] = f"{s['within_2']} of {s['cells']}" if s else "not comparable"
        row["within 3 SD"] = f"{s['within_3']} of {s['cells']}" if s else "not comparable"
        rows[name] = row
    frame = pd.DataFrame(rows).rename_axis("")
    if any(summaries.values()):
        printed = {role: lowest_record(thesis()["table1"][dataset]) for role, dataset in datasets.items()}
        best = [REGIME_NAMES[regime] for role in titles for regime in printed[role].values()]
        frame.insert(0, "thesis", [*best, "", ""])
    return frame


def _printed(dataset: str, regime: str, attack: str) -> float:
    return thesis()["table1"][dataset][regime][attack]


def _place(gap: Record, titles: Record) -> str:
    return f"{titles[gap['role']]}, {REGIME_NAMES[gap['regime']].lower()}"


def _spread(record: Record) -> str:
    return f"{record['mean']:.3f} ± {record['sd']:.3f}" if record["sd"] is not None else f"{record['mean']:.3f}"
