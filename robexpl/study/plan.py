"""The one plan: which notebooks there are, what each of them computes, and what that costs.

A notebook is its template in notebooks/ and its entry in `NOTEBOOKS`; the lists of points in `grid` and `variations`
that it names are those that it makes its tables from.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from math import ceil
from pathlib import Path
from typing import Any

from robexpl import checks, measures, trainings
from robexpl.attacks import module
from robexpl.measures import _judges
from robexpl.models.mlp import HIDDEN
from robexpl.regimes import ADVERSARIES, Adversary
from robexpl.study import audit, choices, controlled, grid, judging, proofs, security, sizes, stages, variations, worst
from robexpl.study.controlled import Controlled
from robexpl.study.factuals import Draw
from robexpl.study.grid import Measured, Point
from robexpl.study.networks import Itself, Network
from robexpl.study.proofs import Certified, Distances
from robexpl.study.sizes import Study
from robexpl.study.stages import Attacked, Judges, Reference, Search, Seen
from robexpl.study.worst import Transferred, Worst

# Seconds on one core, about: per step of an adversary and of a search, whatever its size; per row and weight of a step;
# per pair of rows and input of a distance. Their proportions order the work; the time left is measured.
ADVERSARY_STEP, SEARCH_STEP, ROW_WEIGHT, PAIR_INPUT = 8e-5, 1.1e-4, 5e-11, 1.6e-9
JUDGE_STEP, JUDGE_PIXEL = 1.5e-3, 1.5e-7  # of the training of a judge: per step, and per row and input of a step
ROW = {"lenet": 2e-4, "decision_tree": 2.5e-5}  # per row of a step, where not all of the work is in one layer
BATCH, BLOCK = 32, 256
EARLY = {"image": 0.05, "tabular": 1.0}  # share of the steps that a search for the decision threshold takes, about
STAGES = {
    Network: ("train",), Controlled: ("train",), Judges: ("judges",), Attacked: ("attack",), Worst: ("worst_case",),
    Transferred: ("transfer",), Search: ("search", "score"), Reference: ("score",), Seen: ("score",),
    Distances: ("distance",), Certified: ("certificate",),
}  # fmt: skip
ORDER = ("judges", "train", "attack", "worst_case", "transfer", "distance", "certificate", "search", "score")
Lists = tuple[Callable[[Study], list[Point] | list[Measured]], ...]


@dataclass(frozen=True)
class Cell:
    """One entry of the cache: a stage and its arguments."""

    stage: str
    arguments: tuple[Any, ...]

    def run(self) -> None:
        """Compute it into the cache, if it is not there."""
        self._function()(*self.arguments)

    def path(self) -> Path:
        """Return its file in the cache."""
        return self._function().path(*self.arguments)

    def _function(self) -> Callable:
        return next(getattr(room, self.stage) for room in (stages, worst, proofs) if hasattr(room, self.stage))

    @property
    def about(self) -> Any:
        """The network or the reference points that it belongs to, with what is done to a network before."""
        return getattr(self.arguments[0], "subject", self.arguments[0])

    @property
    def owner(self) -> Itself | None:
        """The network that it belongs to: cells of one network are computed one after the other."""
        return getattr(self.about, "network", None)

    @property
    def waits(self) -> bool:
        """Whether it needs other networks than its own, which should be trained before it starts."""
        return any(len(_networks(argument)) > 1 for argument in self.arguments)

    @property
    def networks(self) -> set[Network]:
        """The trained networks that it needs, a training its own."""
        return set().union(*map(_networks, self.arguments))

    def __str__(self) -> str:
        return f"{self.stage} {self.owner or self.about.data.dataset}"

    def cost(self) -> float:
        """Return about how many seconds it takes on one core, from what is known before it runs."""
        first, data = self.arguments[0], self.about.data.load()
        rows, inputs = data.x_train.shape
        architecture = getattr(self.owner, "architecture", "mlp")
        row = ROW.get(architecture, inputs * HIDDEN["image" if data.image_shape else "tabular"] * ROW_WEIGHT)
        if isinstance(first, Network):
            opponent = ADVERSARIES.get(first.regime) or Adversary(0.0, 1.0, 0)
            if isinstance(first, Controlled):  # its gradient costs a few steps of an adversary more, or one per class
                few = Adversary(0.0, 1.0, 2 if architecture == "mlp" else data.n_classes)
                opponent = getattr(trainings.module(first.regime), "OPPONENT", few)
            away = max(opponent.eps / opponent.step_size - 3, 1)  # the noise at the start makes some of the way
            steps = min(opponent.steps, away) if first.early_stop else opponent.steps
            step = (steps + 7) * ADVERSARY_STEP + (steps + 4) * BATCH * row  # the update counts as some steps more
            return first.epochs * ceil(rows / BATCH) * step
        if isinstance(first, (Distances, Certified)):
            return proofs.cost(first)
        if isinstance(first, Worst):
            parts = module("worst_case").PARTS.items()
            often = dict.fromkeys(("targets", "shrinking"), module("worst_case").TARGETS)
            passes = sum(often.get(name, 1) * steps for name, tries in parts for steps, *_ in tries)
            return passes * (3 * ADVERSARY_STEP + (first.rows or len(data.x_test)) * row)
        if isinstance(first, (Attacked, Transferred)):
            passes, n = 1 + dict(first.attack.settings).get("steps", 1), first.rows or len(data.x_test)
            return passes * (ceil(n / BLOCK) * ADVERSARY_STEP + n * row)
        if isinstance(first, Judges):
            steps = _judges.JUDGES * min(_judges.STEPS, _judges.PASSES * ceil(rows / _judges.BATCH))
            return steps * (JUDGE_STEP + 2 * _judges.BATCH * inputs * JUDGE_PIXEL)
        drawn = first.factuals
        n = drawn.runs * drawn.per_run if isinstance(drawn, Draw) else getattr(drawn, "most", 5)
        if self.stage == "search":
            early = EARLY["image" if data.image_shape else "tabular"]
            steps = first.settings.steps * (early if first.stop == "decision_threshold" else 1)
            return steps * (SEARCH_STEP + n * row)
        cost = getattr(measures.module(self.arguments[1].distance), "COST", rows / data.n_classes * PAIR_INPUT)
        return n * inputs * cost


def _networks(value: Any) -> set[Network]:
    if isinstance(value, Network):
        return {value}
    parts = vars(value).values() if is_dataclass(value) else value if isinstance(value, tuple) else ()
    return set().union(*map(_networks, parts))


def cells_of(entries: Iterable[Point | Measured]) -> Iterator[Cell]:
    """Yield the cells of labelled points: the networks that they need, then the searches, then the scores."""
    for entry in entries:
        what = entry.search if isinstance(entry, Point) else entry.what
        for needed in [*sorted(_networks((what, getattr(entry, "counting", ()))), key=str), what]:
            for stage in STAGES.get(type(needed), ()):
                if stage == "score" and entry.measure.marked("JUDGES"):
                    data = getattr(needed, "subject", needed).data
                    if sizes.image_shape(data.dataset):
                        yield Cell("judges", (Judges(data.shared()),))
                yield Cell(stage, (needed, entry.measure) if stage == "score" else (needed,))


@dataclass(frozen=True)
class Notebook:
    """A notebook: its template's name, whether it is made for each dataset, in which profiles, and its points."""

    name: str
    points: Lists
    each: bool = True
    profiles: tuple[str, ...] = ("full", "demo")
    images: Lists = ()  # points that only images have
    full: Lists = ()  # points that only the full study has


def _standard(study: Study) -> list[Measured]:
    """List the network that `background` shows."""
    return [Measured((("regime", "standard"),), grid.of_seed(study, sizes.primary())["standard"])]


def _scale(study: Study) -> list[Measured]:
    """List the reference points that the smallest effect of interest is measured by."""
    return grid.reference(study, ("real", "factual"))


# Longest first; the verdicts come last, as they use what all others compute.
NOTEBOOKS = (
    Notebook(
        "audit", (
            grid.main, audit.attacks, audit.cells, audit.judged, audit.profile, audit.unreported, audit.directions,
            audit.trained_attacks, audit.trained_searches,
        ),
        each=False, profiles=("full",),
    ),
    Notebook("sensitivity", (variations.weights, variations.curves, variations.metrics, variations.equal_gradients)),
    Notebook("rq1", (grid.main, grid.step_budget, grid.gallery, grid.reference)),
    Notebook(
        "anchors", (grid.main, grid.reference, grid.without_noise, grid.components),
        images=(grid.control, grid.control_attacks),
    ),
    Notebook(
        "measures", (
            judging.points, judging.counterfactuals, judging.seen, judging.explained, judging.generated,
            judging.out_of_range,
        ),
    ),
    Notebook(
        "robustness", (
            security.curves, security.alone, proofs.distances, proofs.boundary, proofs.certificates,
        ),
        full=(security.author, proofs.author),
    ),
    Notebook("models", (grid.networks, grid.robustness, grid.checks, security.curves, proofs.distances)),
    Notebook("rq2", (grid.main, grid.robustness, security.curves)),
    Notebook("background", (), each=False, images=(_standard,)),
    Notebook(
        "controls", (
            controlled.searches, controlled.clean, controlled.robustness, controlled.selection, controlled.ranking,
            controlled.architectures, controlled.look, controlled.judges,
        ),
    ),
    Notebook("table1", (grid.main, grid.robustness, choices.searches, choices.attacks, _scale), each=False),
    Notebook(
        "verdicts",
        (grid.main, grid.robustness, security.worst, grid.reference, variations.curves, variations.metrics),
        each=False, full=(audit.cells,),
    ),
)  # fmt: skip


def notebook(name: str) -> Notebook:
    """Return the notebook of that name; raise ValueError with the list of them."""
    known = {entry.name: entry for entry in NOTEBOOKS}
    return known[checks.one_of("notebook", name, known)]


def templates(profile: str) -> list[tuple[Notebook, str | None]]:
    """Return the notebooks of a profile, each with its dataset or None, in the order in which to run them."""
    entries = [entry for entry in NOTEBOOKS if profile in entry.profiles]
    return [(entry, one) for entry in entries for one in (sizes.datasets(profile).values() if entry.each else [None])]


def points(entry: Notebook, study: Study) -> list[Point | Measured]:
    """Return what a notebook computes for a study."""
    some = (entry.images if study.kind == "image" else ()) + (entry.full if study.profile == "full" else ())
    return [p for make in (*entry.points, *some) for p in make(study)]


def cells(profile: str, seeds: int = 0, only: Iterable[tuple[Notebook, str | None]] | None = None) -> list[Cell]:
    """Return every cell that the notebooks of a profile use, each once, what others need before them."""
    found: dict[Cell, None] = {}
    for entry, dataset in templates(profile) if only is None else only:
        for one in [dataset] if dataset else sizes.datasets(profile).values():
            found |= dict.fromkeys(cells_of(points(entry, sizes.load(profile, one, seeds))))
    return sorted(found, key=lambda cell: (cell.waits, ORDER.index(cell.stage)))
