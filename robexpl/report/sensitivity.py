"""What the results rest on beside the networks: weights of the search, its other settings, the ruler, the logit scale.

The estimate that everything is asked about is strong - standard, the paired difference of implausibility. A point is a
stop with what differs there from the reading's own settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from robexpl.readings import Reading, reading
from robexpl.regimes import REGIMES
from robexpl.report import study, tables
from robexpl.report.networks import Subject, network
from robexpl.report.variants import RULERS, allowed, rows
from robexpl.ssim import RADIUS

Record = dict[str, Any]
Point = tuple[str, tuple[tuple[str, Any], ...]]  # stop, changes
DTC, GCC = study.STOPS
PAIR = ("strong", "standard")
READING = "repaired"
CURVES = {
    "scale": (GCC, DTC),
    "reg": (GCC,),
    "steps": (GCC,),
    "learning_rate": (GCC,),
    "start_noise": (GCC, DTC),
    "threshold": (DTC,),
    "k": (GCC, DTC),
}


@dataclass(frozen=True)
class Sizes:
    """Sizes for one kind of data: at most so many seeds, factuals of each, the regimes searched, the values tried.

    energy, l1, steps and learning_rate are multiples of the reading's own; learning_rate at a way of equal length;
    matched: factuals of each seed that the mechanism is examined on; most: step limit, if below the profile's.
    """

    seeds: int
    factuals: int
    regimes: tuple[str, ...]
    matched: int
    most: int = 1_000_000
    map_stops: tuple[str, ...] = (GCC, DTC)
    energy: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0)
    l1: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
    scale: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    reg: tuple[float, ...] = (0.0, 0.025, 0.05, 0.1, 0.2, 0.4)
    steps: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    learning_rate: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0)
    start_noise: tuple[float, ...] = (0.0, 0.03, 0.1, 0.3)
    threshold: tuple[float, ...] = (0.5, 0.75, 0.9, 0.99)


SMALL = Sizes(
    1, 20, PAIR[::-1], 20, most=40, map_stops=(GCC,), energy=(0.0, 1.0, 4.0), l1=(0.1, 1.0, 10.0),
    scale=(0.25, 1.0, 4.0), reg=(0.05, 0.1), steps=(0.1, 1.0), learning_rate=(1.0, 5.0), start_noise=(0.0, 0.1),
    threshold=(0.5, 0.9),
)  # fmt: skip
SIZES = {
    ("full", "image"): Sizes(
        5, 20, PAIR[::-1], 40, map_stops=(GCC,), energy=(0.0, 1.0, 2.0, 4.0), l1=(0.0, 0.1, 1.0, 10.0),
        scale=(0.125, 0.5, 1.0, 2.0, 8.0), reg=(0.0, 0.05, 0.1, 0.2), learning_rate=(1.0, 5.0),
        start_noise=(0.0, 0.1, 0.3),
    ),
    ("full", "tabular"): Sizes(
        8, 40, PAIR[::-1], 40, most=200, map_stops=(GCC,), energy=(0.0, 0.5, 1.0, 2.0, 4.0), l1=(0.0, 0.1, 1.0, 10.0),
        scale=(0.125, 0.5, 1.0, 2.0, 8.0), reg=(0.0, 0.05, 0.1, 0.2), learning_rate=(1.0, 5.0),
    ),
    ("demo", "image"): SMALL,
    ("demo", "tabular"): replace(SMALL, seeds=2, regimes=REGIMES),
}  # fmt: skip


def counted(subjects: Iterable[Subject], profile: study.Profile) -> np.ndarray:
    """Tell which factuals of a seed all of its networks classify correctly (n,)."""
    result = []
    for subject in subjects:
        dataset = subject.load_data()
        drawn = study.draw_factuals(dataset, seed=subject.seed, runs=profile.runs, per_run=profile.factuals)
        with torch.no_grad():
            predicted = network(subject)(dataset.x_test[drawn["row"]]).argmax(1)
        result.append((predicted == drawn["label"]).numpy())
    return np.logical_and.reduce(result)


def searched(
    dataset: str, points: Iterable[Point], *, seeds: Iterable[int], how: Reading, profile: study.Profile,
    regimes: Sequence[str],
) -> dict[Point, pd.DataFrame]:  # fmt: skip
    """Tabulate every point over seeds and regimes, with a column `counted`."""
    parts: dict[Point, list[pd.DataFrame]] = {point: [] for point in points}
    for seed in seeds:
        named = {r: study.trained(dataset, r, seed=seed, reading=how, profile=profile) for r in REGIMES}
        right = counted([named[r] for r in (REGIMES if how.common_factuals else regimes)], profile)
        for (stop, changes), frames in parts.items():
            frames += [rows(named[r], stop, how, profile, **dict(changes)).assign(counted=right) for r in regimes]
    return {point: pd.concat(frames, ignore_index=True) for point, frames in parts.items()}


def estimate(frame: pd.DataFrame) -> Record:
    """Return strong - standard at one point, with the mean and the validity of each regime.

    Where all four regimes were searched, `falls` says whether the means fall from weak over medium to strong, and
    `surely` whether both steps do so with their whole intervals.
    """
    pairs = {"main": PAIR, **(tables.to_weaker() if set(frame["regime"]) == set(REGIMES) else {})}
    (by_stop,) = tables.differences(frame, pairs).values()
    (found,) = by_stop.values()
    seen = frame[frame["counted"]]
    means = seen.groupby(["regime", "seed"], sort=False)["implausibility"].mean().groupby("regime", sort=False).mean()
    record = {**found["main"], "means": means.to_dict(), "n_seeds": int(seen["seed"].nunique())}
    record["validity"] = seen.groupby("regime", sort=False)["valid"].mean().to_dict()
    if len(pairs) > 1:
        up = [found["weak_to_medium"], found["medium_to_strong"]]
        record |= {"falls": all(d["mean"] < 0 for d in up), "surely": all(d["high"] < 0 for d in up)}
    return record


def shape(dataset: str, profile: study.Profile, seeds: int) -> tuple[Sizes, study.Profile, range]:
    """Return the sizes of a dataset's study, the profile cut down to them and the seeds."""
    sizes = SIZES[profile.name, profile.kind(dataset)]
    small = replace(profile, runs=1, factuals=sizes.factuals, steps=min(profile.steps, sizes.most))
    return sizes, small, profile.seeds_of(dataset, READING, seeds)[: sizes.seeds]


def maps(dataset: str, *, seeds: int, profile: study.Profile) -> Record:
    """Estimate over energy weight x L1 weight: {stop: {"energy", "l1", "own", "cells"}}, a row of cells per energy."""
    sizes, small, used = shape(dataset, profile, seeds)
    how = reading(READING)
    own = how.settings(profile.kind(dataset))
    energies, l1s = ([factor * value for factor in f] for f, value in ((sizes.energy, own.energy), (sizes.l1, own.l1)))
    points = {
        (stop, energy, l1): (stop, (("energy", energy), ("l1", l1)))
        for stop in sizes.map_stops for energy in energies for l1 in l1s
    }  # fmt: skip
    found = searched(dataset, points.values(), seeds=used, how=how, profile=small, regimes=sizes.regimes)
    return {
        stop: {
            "energy": energies,
            "l1": l1s,
            "own": [own.energy, own.l1],
            "cells": [[estimate(found[points[stop, energy, l1]]) for l1 in l1s] for energy in energies],
        }
        for stop in sizes.map_stops
    }


def shares(records: Record) -> Record:
    """Return the share of each map where a claim holds: {stop: {"all" or "valid": {...}}}.

    valid: the cells where at least half of the searches of either network reach the target class. lower, higher: the
    mean of strong - standard; surely: with its whole interval; order: weak > medium > strong, None where not searched.
    """
    result: Record = {}
    for stop, record in records.items():
        every = [cell for row in record["cells"] for cell in row]
        for name, cells in {"all": every, "valid": [c for c in every if reached(c)]}.items():
            held = {
                "lower": [c["mean"] < 0 for c in cells],
                "surely_lower": [c["high"] < 0 for c in cells],
                "surely_higher": [c["low"] > 0 for c in cells],
                "order": [c["falls"] for c in cells if "falls" in c],
                "surely_order": [c["surely"] for c in cells if "surely" in c],
            }
            share = {key: float(np.mean(values)) if values else None for key, values in held.items()}
            result.setdefault(stop, {})[name] = {"cells": len(cells), **share}
    return result


def reached(record: Record) -> bool:
    """Tell whether at least half of the searches of either network reach the target class."""
    return min(record["validity"][regime] for regime in PAIR) >= 0.5


def curves(dataset: str, *, seeds: int, profile: study.Profile) -> Record:
    """Estimate along each setting of CURVES: {setting: {stop: [{"value", "own", **estimate}]}}, `own` the reading's."""
    sizes, small, used = shape(dataset, profile, seeds)
    how, result = reading(READING), {}
    for setting, stops in CURVES.items():
        if len(tried := values(setting, dataset, how, small, sizes)) < 2:
            continue
        points = {(stop, value): (stop, changes) for stop in stops for value, (changes, _) in tried.items()}
        found = searched(dataset, points.values(), seeds=used, how=how, profile=small, regimes=PAIR[::-1])
        result[setting] = {
            stop: [
                {"value": value, "own": own, **estimate(found[points[stop, value]])}
                for value, (_, own) in tried.items()
            ]
            for stop in stops
        }
    return result


def values(setting: str, dataset: str, how: Reading, profile: study.Profile, sizes: Sizes) -> Record:
    """Return {value: (changes, whether it is the reading's own)} of a setting."""
    own = how.settings(profile.kind(dataset))
    if setting == "k":
        ks = allowed(study.load_data(dataset, 0, how.sampling).y_train)
        return {k: ((("k", k),), k == profile.k) for k in ks}
    if setting == "steps":
        return {n: ((("steps", n),), f == 1) for f, n in ((f, round(f * profile.steps)) for f in sizes.steps)}
    if setting == "learning_rate":  # a way of equal length: as many steps more as they are shorter
        tried = {f: (f * own.learning_rate, round(profile.steps / f)) for f in sizes.learning_rate}
        return {rate: ((("learning_rate", rate), ("steps", n)), f == 1) for f, (rate, n) in tried.items()}
    mine = 1.0 if setting == "scale" else getattr(own, setting)
    return {value: (((setting, value),), value == mine) for value in getattr(sizes, setting)}


def rulers(dataset: str, *, seeds: int, profile: study.Profile) -> Record:
    """Score the same counterfactuals by every ruler: {ruler: {stop: {**estimate, "relative"}}}.

    relative: the estimate in units of the standard network's mean under that ruler. SSIM cropped needs images of more
    than ten pixels a side.
    """
    _, small, used = shape(dataset, profile, seeds)
    how, result = reading(READING), {}
    image = study.load_data(dataset, 0, how.sampling).image_shape
    for ruler in RULERS[profile.kind(dataset)]:
        if ruler == "ssim_cropped" and min(image) <= 2 * RADIUS:
            continue
        points = [(stop, (("ruler", ruler),)) for stop in study.STOPS]
        found = searched(dataset, points, seeds=used, how=how, profile=small, regimes=PAIR[::-1])
        for point, frame in found.items():
            record = estimate(frame)
            relative = {key: record[key] / record["means"]["standard"] for key in ("mean", "low", "high")}
            result.setdefault(ruler, {})[point[0]] = {**record, "relative": relative}
    return result
