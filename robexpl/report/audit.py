"""The audit: this implementation on the author's own eight networks, held against the thesis cell by cell."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from robexpl.progress import bar
from robexpl.readings import STATED_WEIGHTS, reading
from robexpl.regimes import REGIMES
from robexpl.report import study, tables
from robexpl.report.networks import Subject
from robexpl.report.study import STOPS, Profile

Record = dict[str, Any]
FACTORS = (1.0, 2.0)  # multiples of the stated energy weight
GRID = {
    "energy": (0.1, 0.5, 0.7, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0),
    "reg": (0.05, 0.075, 0.1, 0.15, 0.2),
    "start_noise": (0.0, 0.05, 0.1, 0.15, 0.2),
}
EFFECTIVE = 1.0  # energy weight at which reg and start noise are profiled
CHI_SQUARED = 3.84  # 95 % quantile, one degree of freedom
UNPRINTED = (0.1, 0.2)  # energy weights beside the author's unprinted California runs


def subject(dataset: str, regime: str) -> Subject:
    """Name one of the author's networks."""
    return Subject(dataset, regime, seed=0, early_stop=False, sampling="published", epochs=20, author=True)


def kinds(profile: Profile) -> dict[str, str]:
    """Return the datasets by kind."""
    return {"image": profile.image, "tabular": profile.tabular}


@lru_cache(maxsize=2)
def accuracies(dataset: str) -> pd.DataFrame:
    """Tabulate the accuracies of the author's networks on a test set, one row per regime and attack."""
    grid = [(regime, attack) for regime in REGIMES for attack in study.ATTACKS]
    subject(dataset, "standard").load_data()  # once, for all threads
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda regime: study.attack(subject(dataset, regime)), REGIMES))
    return pd.DataFrame([study.accuracy_row(subject(dataset, regime), "author", attack) for regime, attack in grid])


def counterfactuals(dataset: str, profile: Profile, **changes: float) -> pd.DataFrame:
    """Tabulate counterfactuals of the author's networks, stop by stop and regime by regime; `changes` are settings."""
    how, grid = reading("published"), [(stop, regime) for stop in STOPS for regime in REGIMES]
    study.neighbours(
        subject(dataset, "standard"), study.default_distance(profile.kind(dataset))
    )  # once, for all threads
    with ThreadPoolExecutor(
        os.cpu_count()
    ) as pool:  # cells are independent, and their kernels leave the interpreter free
        frames = pool.map(lambda at: study.frame(subject(dataset, at[1]), at[0], how, profile, **changes), grid)
        frame = pd.concat(frames, ignore_index=True)
    return frame.assign(counted=frame["correct"])


def energy(dataset: str, profile: Profile, factor: float) -> float:
    """Return a multiple of the stated energy weight."""
    return factor * STATED_WEIGHTS[profile.kind(dataset)][1]


def accuracy_records(profile: Profile) -> Record:
    """Return {kind: {regime: {attack: accuracy record, "thesis": {clean, fgsm, pgd}}}}."""
    result: Record = {}
    for kind, dataset in kinds(profile).items():
        records = tables.accuracy_records(accuracies(dataset))["author"]
        theirs = tables.thesis()["table1"][dataset]
        result[kind] = {
            regime: {**records[regime], "thesis": {a: theirs[regime][a] for a in ("clean", "fgsm", "pgd")}}
            for regime in REGIMES
        }
    return result


def agreement(records: Record) -> Record:
    """Count deterministic accuracies (clean, FGSM) that equal the printed three digits, or hold them in the interval.

    MNIST's test set is the author's, so digits must agree, up to one unit in the last where the file behind a printed
    figure was itself rounded; California is another draw of rows, so the interval must hold the thesis' figure.
    """
    cells = [(regime, attack) for regime in REGIMES for attack in ("clean", "fgsm")]
    images, table = records["image"], records["tabular"]
    equal = [abs(images[r][a]["mean"] - images[r]["thesis"][a]) <= 0.001 for r, a in cells]
    within = [table[r][a]["low"] <= table[r]["thesis"][a] <= table[r][a]["high"] for r, a in cells]
    return {
        "image": {"equal": sum(equal), "of": len(cells)},
        "tabular": {"within": sum(within), "of": len(cells)},
    }


def cell_records(profile: Profile, factor: float) -> Record:
    """Return {kind: {stop: {regime: cell}}} at a multiple of the stated energy weight, with z and what ended it."""
    result: Record = {}
    for kind, dataset in kinds(profile).items():
        frame = counterfactuals(dataset, profile, energy=energy(dataset, profile, factor))
        theirs = tables.thesis()["table1_files"][dataset]
        for (stop, regime), rows in frame.groupby(["stop", "regime"], sort=False):
            record = tables.cell(rows)
            record["z"] = tables.z_score(record, theirs[regime][stop])
            counted = rows[rows["counted"]]
            met, valid = counted["converged"], counted["valid"]
            record["stopped_by"] = {
                "threshold": float((met if stop == "decision_threshold" else met & False).mean()),
                "gradient": float((met if stop == "generator_conditions" else met & False).mean()),
                "limit": float((~met).mean()),
            }
            record["gradient_max"] = float(counted["gradient_max"].median())
            record["invalid"] = float((~valid).mean())
            result.setdefault(kind, {}).setdefault(stop, {})[regime] = record
    return result


def flat(cells: Record) -> list[tuple[str, str, str, Record]]:
    """List the sixteen cells as (kind, stop, regime, record)."""
    return [
        (kind, stop, regime, record)
        for kind, by_stop in cells.items()
        for stop, by_regime in by_stop.items()
        for regime, record in by_regime.items()
    ]


def within(cells: Record, limit: float = 2.0) -> int:
    """Count the cells whose z lies within the limit."""
    return sum(abs(record["z"]) <= limit for *_, record in flat(cells))


def worst(cells: Record) -> Record:
    """Return the cell with the largest |z|."""
    kind, stop, regime, record = max(flat(cells), key=lambda cell: abs(cell[-1]["z"]))
    return {"role": kind, "stop": stop, "regime": regime, "z": record["z"]}


def sum_of_squares(profile: Profile, **changes: float) -> dict[str, float]:
    """Return the sum of squared z over the cells of each kind of data for one value of a setting.

    One run of factuals against the mean of the thesis' R runs: z = (mean - thesis) / sqrt(s^2 / n + sd_thesis^2 / R),
    s over the n counted factuals. Cells share factuals, so the sum is only about chi-squared.
    """
    totals: dict[str, float] = {}
    runs = tables.thesis()["settings"]["runs"]
    for kind, dataset in kinds(profile).items():
        theirs = tables.thesis()["table1_files"][dataset]
        frame = counterfactuals(dataset, replace(profile, runs=1), **changes)
        for (stop, regime), rows in frame[frame["counted"]].groupby(["stop", "regime"], sort=False):
            values, cell = rows["implausibility"], theirs[regime][stop]
            spread = np.hypot(values.std(ddof=1) / np.sqrt(len(values)), cell["sd"] / np.sqrt(runs))
            totals[kind] = totals.get(kind, 0.0) + float(((values.mean() - cell["mean"]) / spread) ** 2)
    return totals


def profiles(profile: Profile, grid: dict[str, tuple[float, ...]] = GRID) -> Record:
    """Profile the settings that the thesis leaves open: {setting: {"values", "sum_z2", "best", "compatible", "of"}}.

    The energy weight is profiled by itself; reg and start noise at the effective energy weight. `of` {kind: {"sum_z2",
    "best", "compatible"}} holds the cells of each kind of data alone: the images and their networks are the author's,
    of the table we have another sample of rows, whose offset all its cells share.
    """
    result: Record = {}
    points = [(name, value) for name, values in grid.items() for value in values]
    sums: dict[str, list[dict[str, float]]] = {name: [] for name in grid}
    for name, value in bar(points, desc="profile"):
        changes = {name: value} if name == "energy" else {"energy": EFFECTIVE, name: value}
        sums[name].append(sum_of_squares(profile, **changes))
    for name, values in grid.items():
        of = {kind: fit(values, [total[kind] for total in sums[name]]) for kind in sums[name][0]}
        whole = fit(values, [sum(total.values()) for total in sums[name]])
        result[name] = {"values": list(values), **whole, "of": of}
    return result


def fit(values: tuple[float, ...], sums: list[float]) -> Record:
    """Return the value with the least sum, and the range of those compatible with it.

    Compatible are values whose sum lies within 3.84 of the least: the 95 % quantile of chi-squared with one degree of
    freedom.
    """
    least = min(sums)
    near = [value for value, total in zip(values, sums, strict=True) if total <= least + CHI_SQUARED]
    return {"sum_z2": sums, "best": values[sums.index(least)], "compatible": [min(near), max(near)]}


def unprinted(profile: Profile) -> Record:
    """Return {energy: {regime: {mean, sd, thesis}}}: the author's unprinted California GCC runs beside ours."""
    theirs = tables.thesis()["unprinted"]["california"]["regimes"]
    result: Record = {}
    for weight in UNPRINTED:
        frame = counterfactuals(profile.tabular, profile, energy=weight)
        for regime, rows in frame[frame["stop"] == "generator_conditions"].groupby("regime", sort=False):
            record = tables.cell(rows)
            entry = {"mean": record["mean"], "sd": record["sd"], "thesis": theirs[regime]["generator_conditions"]}
            result.setdefault(f"{weight:g}", {})[regime] = entry
    return result


def perturbation(profile: Profile) -> Record:
    """Return {kind: {regime: {steps, radius, nominal, over}}}: what the author's PGD really does in the evaluation."""
    result: Record = {}
    for kind, dataset in kinds(profile).items():
        rows = accuracies(dataset)
        for _, row in rows[rows["attack"] == "pgd_early_stop"].iterrows():
            result.setdefault(kind, {})[row["regime"]] = {
                "steps": row["steps"],
                "radius": row["radius"],
                "typical": row["typical"],
                "nominal": row["nominal"],
                "over": row["over"],
            }
    return result


def pgd_above_fgsm(records: Record) -> dict[str, int]:
    """Count the regimes whose accuracy under the early-stopped PGD exceeds that under FGSM."""
    return {
        kind: sum(r["pgd_early_stop"]["mean"] > r["fgsm"]["mean"] for r in by_regime.values())
        for kind, by_regime in records.items()
    }
