"""The sensitivity analysis as lists of points: weights, single settings, distance metrics, the scale of the logits."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from robexpl.regimes import REGIMES
from robexpl.study import sizes
from robexpl.study.factuals import Draw
from robexpl.study.grid import DTC, GCC, Labels, Point, counting, of_seed, point
from robexpl.study.networks import Matched, Scaled, Subject, network
from robexpl.study.sizes import Study
from robexpl.study.stages import Measure

PAIR = ("standard", "strong")
CURVES = {  # which stopping criteria a setting is varied under
    "scale": (GCC, DTC),
    "reg": (GCC,),
    "steps": (GCC,),
    "learning_rate": (GCC,),
    "start_noise": (GCC, DTC),
    "threshold": (DTC,),
    "k": (GCC, DTC),
}


def small(study: Study) -> Study:
    """Return a study cut down to the sizes of its sensitivity analysis."""
    tried = sizes.sensitivity(study)
    return replace(study, runs=1, factuals=tried["factuals"], steps=min(study.steps, tried["most"]))


def seeds(study: Study) -> range:
    """Return the seeds of the sensitivity analysis."""
    return study.seeds_of(sizes.primary().name)[: sizes.sensitivity(study)["seeds"]]


def varied(
    study: Study, stop: str, labels: Labels, regimes: Sequence[str] = PAIR, *, by: Measure | None = None,
    scale: float = 1.0, **changes: Any,
) -> Iterator[Point]:  # fmt: skip
    """Yield searches of the primary condition over seeds and regimes with some settings changed."""
    how = sizes.primary()
    for seed in seeds(study):
        known = of_seed(study, how, seed)
        for regime in regimes:
            subject: Subject = known[regime] if scale == 1 else Scaled(known[regime], scale)
            named = {"condition": how.name, **labels, "stop": stop, "seed": seed, "regime": regime}
            whose = counting(how, known, regimes)
            yield point(small(study), how, subject, stop, named, counting=whose, by=by, **changes)


def weights(study: Study) -> list[Point]:
    """List the plane of energy weight x L1 weight under the generator conditions."""
    tried, own = sizes.sensitivity(study), study.search(sizes.primary().name)
    return [
        entry
        for energy in (factor * own.energy for factor in tried["energy"])
        for l1 in (factor * own.l1 for factor in tried["l1"])
        for labels in [{"energy": energy, "l1_weight": l1, "own": (energy, l1) == (own.energy, own.l1)}]
        for entry in varied(study, GCC, labels, tried["regimes"], energy=energy, l1=l1)
    ]


def most_neighbours(study: Study) -> int:
    """Return the largest number of neighbours that every class of a table of one's own has: the rows of the smallest.
    The study's own datasets have enough for what its settings try, and are not loaded to plan it.
    """
    if ".csv:" not in study.dataset:
        return sys.maxsize
    known = network(study, "standard", study.first, sizes.primary()).data.load()
    return int(known.y_train.bincount(minlength=known.n_classes).min())


def values(study: Study, setting: str) -> Iterator[tuple[float, bool, dict[str, Any]]]:
    """Yield the values of a setting: the value, whether it is the condition's own, and what changes in the search."""
    tried, steps, own = sizes.sensitivity(study)[setting], small(study).steps, study.search(sizes.primary().name)
    if setting == "k":
        known = (k for k in tried if k <= most_neighbours(study))
        yield from ((k, k == study.k, {"by": Measure(study.distance, k)}) for k in known)
    elif setting == "steps":
        yield from ((round(f * steps), f == 1, {"steps": round(f * steps)}) for f in tried)
    elif setting == "learning_rate":  # at the same step budget: as many steps more as they are shorter
        for factor in tried:
            rate = factor * own.learning_rate
            yield rate, factor == 1, {"learning_rate": rate, "steps": round(steps / factor)}
    elif setting == "scale":
        yield from ((value, value == 1, {"scale": value}) for value in tried)
    else:
        yield from ((value, value == getattr(own, setting), {setting: value}) for value in tried)


def curves(study: Study) -> list[Point]:
    """List the searches along each setting of `CURVES`, all else as in the primary condition."""
    found = {setting: list(values(study, setting)) for setting in CURVES}
    return [
        entry
        for setting, tried in found.items()
        if len(tried) > 1
        for stop in CURVES[setting]
        for value, own, changes in tried
        for entry in varied(study, stop, {"setting": setting, "value": value, "own": own}, **changes)
    ]


def metrics(study: Study) -> list[Point]:
    """List the same counterfactuals scored by every distance metric that suits the data."""
    return [
        entry
        for name in sizes.measures(study)
        for stop in sizes.STOPS
        for entry in varied(study, stop, {"measure": name}, by=Measure(name, study.k))
    ]


def equal_gradients(study: Study) -> list[Point]:
    """List searches under the generator conditions with the networks as trained and with equally large gradients.

    shrunk: the standard network with the strong one's gradients; grown: the strong network with the standard one's.
    """
    matched = replace(study, runs=1, factuals=sizes.sensitivity(study)["matched"])
    draw, found = Draw(1, matched.factuals), []
    for how in sizes.conditions():
        for seed in study.seeds_of(how.name):
            known = of_seed(study, how, seed)
            standard, strong = known["standard"], known["strong"]
            cells: dict[str, Subject] = {
                "standard": standard,
                "strong": strong,
                "shrunk": Matched(standard, strong, draw),
                "grown": Matched(strong, standard, draw, inverse=True),
            }
            whose = counting(how, known, PAIR)
            found += [
                point(
                    matched, how, subject, GCC, {"condition": how.name, "stop": GCC, "seed": seed, "regime": cell},
                    counting=whose,
                )
                for cell, subject in cells.items()
            ]  # fmt: skip
    return found


def four_regimes(study: Study) -> bool:
    """Tell whether the plane of weights is searched in all four regimes."""
    return set(sizes.sensitivity(study)["regimes"]) == set(REGIMES)
