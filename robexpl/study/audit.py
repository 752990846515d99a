"""The audit as lists of points: our code on the author's own networks, and what rounding did to attacks."""

from __future__ import annotations

from dataclasses import replace

from robexpl.regimes import REGIMES
from robexpl.study import judging, sizes
from robexpl.study.factuals import Draw
from robexpl.study.grid import Labels, Measured, Point, of_seed, point
from robexpl.study.networks import Author, Data, Network
from robexpl.study.sizes import STOPS, Study
from robexpl.study.stages import Attacked, Measure

FACTORS = (1.0, 2.0)  # multiples of the stated energy weight
# Settings that the thesis leaves open; reg and start noise are profiled at the energy weight that fits
PROFILE = {
    "energy": (0.1, 0.5, 0.7, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0),
    "reg": (0.05, 0.075, 0.1, 0.15, 0.2),
    "start_noise": (0.0, 0.05, 0.1, 0.15, 0.2),
}
EFFECTIVE = 1.0
UNREPORTED = (0.1, 0.2)  # energy weights beside the author's unreported runs on California Housing
# How the sign of a gradient is computed: rounded or exact, in double precision or not
DIRECTIONS = {"single precision": {"rounded": True}, "double precision": {"rounded": True, "double": True}, "exact": {}}
TRAINED = ("weak", "medium")  # regimes whose adversary met rows of which the network was sure
SEEDS = 3


def author(study: Study, regime: str) -> Author:
    """Name the author's network of a regime."""
    return Author(Data(study.dataset, 0, "as_run"), regime)


def attacks(study: Study) -> list[Measured]:
    """List the author's networks under every attack of the evaluation, as the author's code computes its direction."""
    return [
        Measured(
            (("dataset", study.dataset), ("regime", regime), ("attack", name)),
            Attacked(author(study, regime), how, rounded=bool(how.attack)),
        )
        for regime in REGIMES
        for name, how in sizes.evaluation().items()
    ]


def directions(study: Study) -> list[Measured]:
    """List the author's networks under attack, with the direction computed in three ways."""
    return [
        Measured(
            (("dataset", study.dataset), ("regime", regime), ("attack", name), ("direction", direction)),
            Attacked(author(study, regime), how, **options),
        )
        for regime in REGIMES
        for name, how in sizes.evaluation().items()
        if how.attack
        for direction, options in DIRECTIONS.items()
    ]


def trained(study: Study) -> dict[tuple[str, int, str], Network]:
    """Return networks of the primary condition, and the same trained with the direction as rounding leaves it."""
    how = sizes.primary()
    known = {(seed, r): of_seed(study, how, seed)[r] for seed in study.every[:SEEDS] for r in TRAINED}
    return {
        (direction, *key): replace(one, rounded=direction != "exact")
        for key, one in known.items()
        for direction in ("single precision", "exact")
    }


def trained_attacks(study: Study) -> list[Measured]:
    """List those networks under every attack of the evaluation, with the exact direction."""
    return [
        Measured(
            (("dataset", study.dataset), ("trained", t), ("seed", seed), ("regime", regime), ("attack", name)),
            Attacked(one, how),
        )
        for (t, seed, regime), one in trained(study).items()
        for name, how in sizes.evaluation().items()
    ]


def trained_searches(study: Study) -> list[Point]:
    """List the searches of the primary condition in those networks, one run of factuals, each counting its own."""
    how, draw = sizes.primary(), Draw(1, study.factuals)
    return [
        point(
            study, how, one, stop,
            {"dataset": study.dataset, "trained": t, "seed": seed, "regime": regime, "stop": stop}, factuals=draw,
        )
        for (t, seed, regime), one in trained(study).items()
        for stop in STOPS
    ]  # fmt: skip


def search(study: Study, labels: Labels, *, runs: int | None = None, **changes: float) -> list[Point]:
    """List searches in the author's networks as the author's code makes them, some settings changed."""
    how, draw = sizes.condition("as_run"), Draw(runs or study.runs, study.factuals)
    return [
        point(
            study, how, author(study, regime), stop,
            {"dataset": study.dataset, **labels, "seed": 0, "stop": stop, "regime": regime}, factuals=draw, **changes,
        )
        for stop in STOPS
        for regime in REGIMES
    ]  # fmt: skip


def cells(study: Study) -> list[Point]:
    """List the author's networks at the stated energy weight and at twice that weight."""
    stated = sizes.settings()["weights"][study.kind]["energy"]
    return [entry for factor in FACTORS for entry in search(study, {"factor": factor}, energy=factor * stated)]


def judged(study: Study) -> list[Point]:
    """List the `cells` at twice the stated energy weight, scored by the primary measure of plausibility."""
    by, doubled = Measure(judging.PRIMARY, study.k), ("factor", FACTORS[1])
    return [replace(entry, measure=by) for entry in cells(study) if doubled in entry.labels]


def profile(study: Study) -> list[Point]:
    """List the author's networks along the settings that the thesis leaves open, one run of factuals each."""
    return [
        entry
        for setting, tried in PROFILE.items()
        for value in tried
        for changes in [{"energy": value} if setting == "energy" else {"energy": EFFECTIVE, setting: value}]
        for entry in search(study, {"setting": setting, "value": value}, runs=1, **changes)
    ]


def unreported(study: Study) -> list[Point]:
    """List the author's tabular networks at the energy weight of the unreported runs, and at twice that weight."""
    weights = UNREPORTED if study.kind == "tabular" else ()
    return [entry for weight in weights for entry in search(study, {"energy": weight}, energy=weight)]
