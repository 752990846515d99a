"""What the notebook `measures` compares, as lists of points: measures, reference points, faithfulness, generators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from robexpl import generators, measures, metrics
from robexpl.study import grid, sizes
from robexpl.study.factuals import Draw
from robexpl.study.grid import Measured, Point
from robexpl.study.sizes import Study
from robexpl.study.stages import Measure, Reference, Seen

PRIMARY = "oracle"  # of plausibility; see paper/plan-measures.md
FAITHFUL = ("unfaithfulness", "energy")  # measures of the network that is explained
LEFT_OUT = ("l1", "ssim_cropped")  # distance metrics that follow another one closely; `sensitivity` has them
KNOWN = ("real", "mean", "blank", "factual", "real_noisy", "uniform")  # reference points
SEEN = ("real", "factual", "blank", "uniform")  # reference points that networks are asked about
GENERATORS = ("wachter", "ecco", "eccco")


def plausible(study: Study) -> list[Measure]:
    """Return the measures of plausibility that suit a study's data."""
    named = [name for name in measures.names(study.kind) if name not in (*FAITHFUL, *LEFT_OUT)]
    fitting = [name for name in named if name in sizes.measures(study) or name not in metrics.names()]
    return [Measure(name, study.k) for name in fitting]


def faithful(study: Study) -> list[Measure]:
    """Return the measures of faithfulness."""
    return [Measure(name, study.k) for name in FAITHFUL]


def points(study: Study, names: Sequence[str] = KNOWN) -> list[Measured]:
    """List the reference points of the primary condition, scored by every measure of plausibility."""
    how, draw = sizes.primary(), Draw(study.runs, study.factuals)
    return [
        Measured(
            (("measure", by.distance), ("condition", how.name), ("seed", seed), ("point", name)),
            Reference(name, grid.of_seed(study, how, seed)["standard"].data, draw), by,
        )
        for by in plausible(study)
        for seed in study.seeds_of(how.name)
        for name in names
    ]  # fmt: skip


def counterfactuals(study: Study, by: Sequence[Measure] = ()) -> list[Point]:
    """List the searches of the primary condition, scored by some measures, by default all of plausibility."""
    base = grid.main(study, (sizes.primary().name,))
    return [
        replace(entry, labels=(("measure", one.distance), *entry.labels), measure=one)
        for one in by or plausible(study)
        for entry in base
    ]


def seen(study: Study) -> list[Measured]:
    """List reference points as each network of the primary condition sees them, by the measures of faithfulness."""
    how, draw = sizes.primary(), Draw(1, study.factuals)
    return [
        Measured(
            (("measure", by.distance), ("seed", seed), ("regime", regime), ("point", name)),
            Seen(name, one.data, draw, one), by,
        )
        for by in faithful(study)
        for seed in study.seeds_of(how.name)
        for regime, one in grid.of_seed(study, how, seed).items()
        for name in SEEN
    ]  # fmt: skip


def explained(study: Study) -> list[Point]:
    """List the searches of the primary condition, scored by the measures of faithfulness."""
    return counterfactuals(study, faithful(study))


def generated(study: Study) -> list[Point]:
    """List the searches of each generator, by the primary measure and the study's distance.
    One run of factuals; those of the study's own generator are searches of the main study, of which it is the first.
    """
    few, found = sizes.settings()["generators"][study.profile], []
    base = grid.main(study, (sizes.primary().name,), seeds=few)
    for name in GENERATORS:
        for entry in base:
            wanted, own = entry.search, vars(entry.search.settings)
            if name != study.generator:
                settings, draw = generators.module(name).Settings(**own), Draw(1, study.factuals)
                wanted = replace(wanted, generator=name, settings=settings, factuals=draw)
            for by in (Measure(PRIMARY, study.k), grid.measure(study)):
                labels = (("generator", name), ("measure", by.distance), *entry.labels)
                found.append(replace(entry, labels=labels, search=wanted, measure=by))
    return found


def out_of_range(study: Study) -> list[Point]:
    """List the searches of all conditions by the share of features out of range; none for images."""
    by = Measure("violations", study.k)
    return grid.main(study, by=by) if study.kind == "tabular" else []
