"""The grid of the study: what is computed for each question, as lists of labelled points.

A notebook makes its tables from these lists and the plan computes their cells beforehand: there is no other list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from robexpl.regimes import REGIMES
from robexpl.study import sizes
from robexpl.study.factuals import Agreed, Draw, Pairs
from robexpl.study.networks import Network, Subject, Thresholded, network
from robexpl.study.sizes import STOPS, Attack, Study
from robexpl.study.stages import POINTS, Attacked, Judges, Measure, Reference, Search
from robexpl.study.worst import Transferred, Worst

DTC, GCC = STOPS
Labels = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """A scored search: the columns that name it, what is computed, and whose right answers make a factual count."""

    labels: tuple[tuple[str, Any], ...]
    search: Search
    measure: Measure
    counting: tuple[Network, ...]


@dataclass(frozen=True)
class Measured:
    """Anything else that is computed: an attack, reference points, a trained network, with the columns that name it."""

    labels: tuple[tuple[str, Any], ...]
    what: Attacked | Transferred | Worst | Reference | Network | Judges
    measure: Measure | None = None


def networks(study: Study, names: Iterable[str] = (), seeds: int | None = None) -> list[Measured]:
    """List the networks of the conditions, one per condition, seed and regime; at most `seeds` of each."""
    return [
        Measured((("condition", how.name), ("seed", seed), ("regime", regime)), network(study, regime, seed, how))
        for how in chosen(names)
        for seed in study.seeds_of(how.name)[:seeds]
        for regime in REGIMES
    ]


def chosen(names: Iterable[str] = ()) -> tuple[sizes.Condition, ...]:
    """Return the conditions of these names, all where there are none."""
    return tuple(sizes.condition(name) for name in names) or sizes.conditions()


def robustness(study: Study) -> list[Measured]:
    """List every network under every attack of the evaluation, whose direction is that of the condition."""
    return [
        Measured((*entry.labels, ("attack", name)), Attacked(entry.what, attack, rounded=rounded(entry, attack)))
        for entry in networks(study)
        for name, attack in sizes.evaluation().items()
    ]


def rounded(entry: Measured, attack: Attack) -> bool:
    """Tell whether a network's condition attacks with the direction that single precision leaves."""
    return bool(attack.attack) and sizes.condition(dict(entry.labels)["condition"]).rounded


def checks(study: Study) -> list[Measured]:
    """List the first seed's networks under FGSM of growing radius and under random signs of the evaluation's radius."""
    radius = dict(sizes.evaluation()["fgsm"].settings)["eps"]
    tried = {f"FGSM {eps:g}": Attack(f"fgsm {eps:g}", "fgsm", (("eps", eps),)) for eps in sizes.settings()["ladder"]}
    tried["random signs"] = Attack("random_signs", "random_signs", (("eps", radius),))
    how = {"stream": ("sanity",)}
    return [
        Measured((*one.labels, ("attack", name)), Attacked(one.what, attack, **how, rounded=rounded(one, attack)))
        for one in networks(study, seeds=1)
        for name, attack in tried.items()
    ]


def measure(study: Study) -> Measure:
    """Return the thesis' measure: the study's distance and number of neighbours."""
    return Measure(study.distance, study.k)


def point(
    study: Study, how: sizes.Condition, subject: Subject, stop: str, labels: Labels, *, factuals: Any = None,
    counting: Sequence[Network] = (), by: Measure | None = None, stream: str = "start", draw: int | None = None,
    **changes: Any,
) -> Point:  # fmt: skip
    """Return one scored search at a condition's settings, some of them changed."""
    wanted = Search(
        subject, stop, study.search(how.name, **changes), factuals or Draw(study.runs, study.factuals),
        study.generator, stream, draw,
    )  # fmt: skip
    return Point(tuple(labels.items()), wanted, by or measure(study), tuple(counting) or (subject.network,))


def of_seed(study: Study, how: sizes.Condition, seed: int | None = None) -> dict[str, Network]:
    """Return the networks of a seed, by default the study's first one, by regime."""
    return {regime: network(study, regime, study.first if seed is None else seed, how) for regime in REGIMES}


def counting(how: sizes.Condition, known: dict[str, Network], own: Iterable[str]) -> tuple[Network, ...]:
    """Return whose right answers make a factual count: those of all four networks in a condition that asks for it."""
    return tuple(known[regime] for regime in (REGIMES if how.common_factuals else own))


def main(
    study: Study, names: Iterable[str] = (), stops: Sequence[str] = STOPS, *, seeds: int | None = None, **changes: Any
) -> list[Point]:
    """List the searches of the study: condition x seed x stopping criterion x regime."""
    return [
        point(
            study, how, one, stop, {"condition": how.name, "seed": seed, "stop": stop, "regime": regime},
            counting=counting(how, known, (regime,)), **changes,
        )
        for how in chosen(names)
        for seed in study.seeds_of(how.name)[:seeds]
        for known in [of_seed(study, how, seed)]
        for stop in stops
        for regime, one in known.items()
    ]  # fmt: skip


def step_budget(study: Study) -> list[Point]:
    """List searches for the generator conditions with the study's step and with the same step budget in finer steps.
    Conditions whose step is the default one; one run of factuals and a few seeds of each. Each network counts the
    factuals that it classifies correctly itself.
    """
    how = sizes.settings()["step_budget"]
    finer, found = how["finer"], []
    for name in (c.name for c in sizes.conditions() if c.finer == 1):
        rate = study.search(name).learning_rate
        for label, steps, factor in (("fixed", study.steps, 1), ("finer", finer * study.steps, finer)):
            changes = {"steps": steps, **({"learning_rate": rate / factor} if factor > 1 else {})}
            draw = Draw(how["runs"], study.factuals)
            rows = main(study, (name,), (GCC,), seeds=how["seeds"], factuals=draw, **changes)
            found += [
                replace(r, labels=(*r.labels, ("steps_are", label)), counting=(r.search.subject.network,)) for r in rows
            ]
    return found


def without_noise(study: Study) -> list[Point]:
    """List searches at the decision threshold that start from the factual itself: one run of every noisy condition."""
    names = [c.name for c in sizes.conditions() if c.start_noise]
    return main(study, names, (DTC,), factuals=Draw(1, study.factuals), start_noise=0.0)


def reference(study: Study, points: Sequence[str] = POINTS) -> list[Measured]:
    """List the reference points of the factuals of every condition and seed."""
    draw = Draw(study.runs, study.factuals)
    return [
        Measured(
            (("condition", how.name), ("seed", seed), ("point", name)),
            Reference(name, network(study, "standard", seed, how).data, draw),
            measure(study),
        )
        for how in sizes.conditions()
        for seed in study.seeds_of(how.name)
        for name in points
    ]


def gallery(study: Study, name: str = "") -> list[Point]:
    """List searches from a few factuals to look at, in the networks of the first seed."""
    how = sizes.condition(name) if name else sizes.primary()
    known = of_seed(study, how)
    pairs = tuple(map(tuple, sizes.settings()["gallery"])) if study.kind == "image" else ()
    factuals = Pairs(pairs, tuple(known.values()), study.first)
    labels = {"condition": how.name, "seed": study.first}
    return [
        point(study, how, one, stop, {**labels, "stop": stop, "regime": regime}, factuals=factuals, stream="gallery")
        for stop in STOPS
        for regime, one in known.items()
    ]


# Images only: networks that threshold pixels and never saw an adversary


def controls(study: Study, seed: int) -> dict[str, Subject]:
    """Return the regimes and the two controls of a seed: one network trained in black and white, shown grey images.
    binarised: as they are; thresholded: behind a soft threshold.
    """
    known = of_seed(study, sizes.primary(), seed)
    own = replace(known["standard"], binary=True)
    return {**known, "binarised": own, "thresholded": Thresholded(own)}


def control(study: Study) -> list[Point]:
    """List searches in the controls from factuals of the main study; each counts what it gets right itself."""
    how, few = sizes.primary(), sizes.settings()["control"]
    draw = Draw(min(few["runs"], study.runs), study.factuals)
    return [
        point(study, how, one, stop, {"seed": seed, "stop": stop, "regime": name}, factuals=draw)
        for seed in study.every[: few["seeds"]]
        for stop in STOPS
        for name, one in controls(study, seed).items()
        if name not in REGIMES
    ]


def control_attacks(study: Study) -> list[Measured]:
    """List regimes and controls under attack, on grey images and on the same in black and white."""
    few, evaluation = sizes.settings()["control"], sizes.evaluation()
    tried = {"clean": evaluation["clean"], "fgsm": evaluation["fgsm"], "pgd": evaluation["pgd_projected"]}
    return [
        Measured(
            (("seed", seed), ("network", name), ("inputs", inputs), ("attack", title)),
            Attacked(one, attack, few["rows"], inputs == "binary", ("pixels", inputs)),
        )
        for seed in study.every[: few["seeds"]]
        for name, one in controls(study, seed).items()
        for inputs in ("grey", "binary")
        for title, attack in tried.items()
    ]


def components(study: Study) -> list[Point]:
    """List repeated searches for components of variance; none with a single seed.
    The networks of a condition search from the same factuals, those of the first seed, where all seeds share their
    data, else from those of their own seed; conditions that start with noise are searched with several draws of it.
    """
    how_many, found = sizes.settings()["components"], []
    draw = Draw(study.runs, study.factuals)
    for how in (c for c in sizes.conditions() if not c.most_on_images):
        seeds = [of_seed(study, how, seed) for seed in study.every]
        every = tuple(one for known in seeds for one in known.values())
        for seed, known in zip(study.every, seeds, strict=True) if len(seeds) > 1 else ():
            first, own = seeds[0]["standard"].data, known["standard"].data
            shared = first.shared() == seeds[1]["standard"].data.shared()
            whose, data = (every, first) if shared else (tuple(known.values()), own)
            factuals = Agreed(draw, data, whose, how_many["factuals"])
            found += [
                point(
                    study, how, one, stop,
                    {"condition": how.name, "seed": seed, "stop": stop, "regime": regime, "draw": number},
                    factuals=factuals, stream="components", draw=number,
                )
                for stop in STOPS
                for regime, one in known.items()
                for number in range(how_many["draws"] if how.start_noise else 1)
            ]  # fmt: skip
    return found
