"""The expensive stages: train, attack, search, score. Each is computed once and kept; its arguments say all of it.

An argument that names a dataset, an architecture, an attack, a generator or a measure brings the code of its file into
the key (`code`), so that only what a result rests on recomputes it.
"""

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from robexpl import attacks, generators, measures, metrics
from robexpl.attacks import start_points
from robexpl.data import Dataset
from robexpl.measures import _judges
from robexpl.seeds import numpy_generator, torch_generator
from robexpl.study.cache import cached, checkpoint_path
from robexpl.study.factuals import Agreed, Draw, Pairs
from robexpl.study.networks import Data, Network, Subject, binary
from robexpl.study.sizes import Attack
from robexpl.training import fit

NOISE = 0.1  # standard deviation of the noise of the reference points: that of the search as it was run
POINTS = ("real", "mean", "blank", "factual", "noisy", "real_noisy", "uniform")


@dataclass(frozen=True)
class Attacked:
    """Test rows of a subject under an attack: all of them or the first `rows`, grey or in black and white."""

    subject: Subject
    attack: Attack
    rows: int | None = None
    binary: bool = False
    stream: tuple[str, ...] = ("evaluation",)  # names of the random stream, beside the seed
    rounded: bool = False  # the direction as single precision leaves it
    double: bool = False  # attack and network in double precision


@dataclass(frozen=True)
class Search:
    """A search for counterfactuals: in what, from where, how, until when, and with which random stream."""

    subject: Subject
    stop: str
    settings: Any  # Settings of the generator
    factuals: Draw | Agreed | Pairs
    generator: str = "ecco"
    stream: str = "start"
    draw: int | None = None  # which repetition of the initialisation noise

    def code(self) -> tuple:
        """Return the functions whose code the counterfactuals rest on."""
        module = generators.module(self.generator)
        return tuple(getattr(module, name) for name in ("search", "fitted") if hasattr(module, name))


@dataclass(frozen=True)
class Reference:
    """Points of known plausibility for the factuals and target classes of a draw; see `points`."""

    point: str
    data: Data
    factuals: Draw


@dataclass(frozen=True)
class Seen(Reference):
    """Reference points as a network sees them, for measures of faithfulness."""

    subject: Subject


@dataclass(frozen=True)
class Judges:
    """The judges of a dataset, classifiers of images that are never explained."""

    data: Data

    def code(self) -> tuple:
        """Return the functions whose code their weights rest on."""
        return (_judges.learn,)


@dataclass(frozen=True)
class Measure:
    """A measure of plausibility or faithfulness, by the name of its file, and its number of neighbours.
    Of a distance metric: implausibility, the mean distance to the k nearest training points of the target class.
    """

    distance: str
    k: int

    def code(self) -> tuple:
        """Return the functions whose code the scores rest on."""
        module = measures.module(self.distance)
        return tuple(getattr(module, name) for name in ("prepare", "distances") if hasattr(module, name))

    def marked(self, mark: str) -> bool:
        """Tell whether a measure's file has a mark: SET, NETWORK or JUDGES."""
        return bool(getattr(measures.module(self.distance), mark, False))


@cached
def train(network: Network) -> dict[str, Tensor]:
    """Train a network; keep its weights and its history (epochs, 3): loss, steps and radius of the adversary."""
    dataset, history = network.data.load(), []
    if network.binary:
        dataset = replace(dataset, x_train=binary(dataset.x_train), x_test=binary(dataset.x_test))
    how = {name: getattr(network, name) for name in ("early_stop", "rounded", "epochs", "architecture")}
    checkpoint = checkpoint_path(train, network)
    model = fit(dataset, network.training(), seed=network.data.seed, history=history, checkpoint=checkpoint, **how)
    rows = torch.tensor([[row[name] for name in ("loss", "steps", "radius")] for row in history], dtype=torch.float64)
    return {**model.state_dict(), "history": rows}


@cached
def attack(attacked: Attacked) -> dict[str, Tensor]:
    """Attack test rows; keep, each (n,): label still right, steps, largest and typical (median) move of an input."""
    subject, how = attacked.subject, attacked.attack
    dataset, model = subject.data.load(), subject.model()
    x, y = dataset.x_test[: attacked.rows], dataset.y_test[: attacked.rows]
    x = binary(x) if attacked.binary else x
    if attacked.double:
        x, model = x.double(), model.double()
    points, steps = x, torch.zeros(len(x), dtype=torch.long)
    if how.attack:
        generator = torch_generator(subject.data.seed, *attacked.stream)
        options = {"bounds": dataset.bounds, "generator": generator, "rounded": attacked.rounded, **dict(how.settings)}
        points, steps = attacks.run(how.attack, model, x, y, **options)
    with torch.no_grad():
        correct = model(points).argmax(1) == y
    moved = (points - x).abs()
    typical = moved.where(moved > 0, torch.nan).nanmedian(1).values.nan_to_num(0)
    return {"correct": correct, "steps": steps, "radius": moved.amax(1), "typical": typical}


@cached
def search(wanted: Search) -> dict[str, Tensor]:
    """Search a counterfactual for every factual; keep the factuals and what was found, row by row."""
    subject = wanted.subject
    dataset, model, drawn = subject.data.load(), subject.model(), wanted.factuals.take(subject.data)
    x = dataset.x_test[drawn["row"]]
    names = (wanted.stop,) if wanted.draw is None else (wanted.stop, wanted.draw)
    generator = torch_generator(subject.data.seed, wanted.stream, *names)
    module, settings = generators.module(wanted.generator), wanted.settings
    settings = module.fitted(settings, model, dataset) if hasattr(module, "fitted") else settings
    how = {"settings": settings, "stop": wanted.stop, "bounds": dataset.bounds, "labels": drawn["label"]}
    found = module.search(model, x, drawn["target"], generator=generator, **how)
    with torch.no_grad():
        correct = model(x).argmax(1) == drawn["label"]
    return {**drawn, "factual": x, "correct": correct, **vars(found)}


@cached
def judges(wanted: Judges) -> dict[str, Tensor]:
    """Train the judges of a dataset; keep their weights."""
    known = wanted.data.load()
    return _judges.learn(known.x_train, known.y_train, known.image_shape, wanted.data.seed)


@cached
def score(of: Search | Reference, measure: Measure) -> dict[str, Tensor]:
    """Score counterfactuals or reference points by a measure (n,)."""
    subject, rows = getattr(of, "subject", None), slice(None)
    data = subject.data if subject else of.data
    by = scorer(data.shared(), measure, subject if measure.marked("NETWORK") else None)
    if isinstance(of, Search):
        found = search(of)
        x, target = found["x"], found["target"]
    else:
        drawn, dataset = of.factuals.take(data), data.load()
        target = drawn["target"]
        x = points(of.point, dataset, dataset.x_test[drawn["row"]], target, seed=data.seed)
        if of.point in ("mean", "blank") and not measure.marked("SET"):  # one point for each class: score it once
            target, rows = target.unique(return_inverse=True)
            x = x[torch.stack([(rows == i).nonzero()[0, 0] for i in range(len(target))])]
        elif of.point in ("real_noisy", "uniform"):  # nothing is paired with these two
            x, target = x[: of.factuals.per_run], target[: of.factuals.per_run]
    return {"implausibility": by(x, target)[rows]}


def scorer(data: Data, measure: Measure, subject: Subject | None = None) -> measures.Score:
    """Return what scores rows by a measure, with all that it learns of the training points and of a network learnt."""
    if measure.distance not in metrics.names():
        return prepared(data, measure, subject)
    known = neighbours(data, measure.distance)
    return partial(metrics.implausibility, reference_x=known, k=measure.k)


@lru_cache(maxsize=2)
def neighbours(data: Data, distance: str) -> metrics.Reference:
    """Return the training points by class, prepared once for a distance, whatever the number of neighbours."""
    known = data.load()
    shape = known.image_shape or metrics.IMAGE_SHAPE
    return metrics.reference(known.x_train, known.y_train, distance=distance, image_shape=shape)


@lru_cache(maxsize=12)
def prepared(data: Data, measure: Measure, subject: Subject | None) -> measures.Score:
    """Return what scores rows by a measure that is no distance, prepared once."""
    known, asked = data.load(), measure.marked("JUDGES")
    weights = judges(Judges(data)) if known.image_shape and asked else None
    model = subject.model() if subject else None
    about = known.image_shape, measure.k, data.seed, known.bounds, model, weights
    return measures.prepare(measure.distance, measures.Known(known.x_train, known.y_train, *about))


def points(point: str, dataset: Dataset, factual: Tensor, target: Tensor, *, seed: int) -> Tensor:
    """Return the reference point of each factual (n, d) and target class (n,) -> (n, d).
    real: a test point of the target class, drawn at random; mean: of the training points of that class; blank: an image
    without ink, for tabular data the median of all training rows; noisy, real_noisy: the factual and the real point
    with the initialisation noise of a search; uniform: noise over the whole box.
    """
    if point in ("real", "real_noisy"):
        rng = numpy_generator(seed, "anchors", "real")
        of_class = [(dataset.y_test == label).nonzero().flatten().numpy() for label in range(dataset.n_classes)]
        real = dataset.x_test[torch.as_tensor([int(rng.choice(of_class[label])) for label in target.tolist()])]
        return real if point == "real" else start_points(real, NOISE, torch_generator(seed, "anchors", "target"))
    if point == "mean":
        means = [dataset.x_train[dataset.y_train == label].mean(0) for label in range(dataset.n_classes)]
        return torch.stack(means)[target]
    if point == "blank":
        blank = torch.zeros_like(factual[0]) if dataset.image_shape else dataset.x_train.median(0).values
        return blank.expand_as(factual).contiguous()
    if point == "noisy":
        return start_points(factual, NOISE, torch_generator(seed, "anchors", "factual"))
    if point == "uniform":
        low, high = (torch.as_tensor(bound) for bound in dataset.bounds)
        return low + (high - low) * torch.rand(factual.shape, generator=torch_generator(seed, "anchors", "uniform"))
    return factual
