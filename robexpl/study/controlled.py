"""Trainings compared with adversarial training: their networks and lists of points. paper/plan.md says why these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from robexpl import data, trainings
from robexpl.regimes import REGIMES, Control
from robexpl.study import grid, sizes
from robexpl.study.factuals import Draw, Pairs
from robexpl.study.grid import DTC, GCC, Labels, Measured, Point, of_seed, point
from robexpl.study.networks import Data, Network
from robexpl.study.sizes import Attack, Study
from robexpl.study.stages import Attacked, Judges, Measure
from robexpl.study.worst import Worst

NOTHING = 1e-20  # weights below this size are lost in every sum that the network takes


@dataclass(frozen=True)
class Held(Data):
    """The training rows of a seed alone: four fifths to train on, and the last fifth, as test rows, for validation."""

    def load(self) -> data.Dataset:
        """Load them."""
        whole = super().load()
        rows = len(whole.x_train) * 4 // 5
        x, y = whole.x_train, whole.y_train
        return replace(whole, x_train=x[:rows], y_train=y[:rows], x_test=x[rows:], y_test=y[rows:])


@dataclass(frozen=True)
class Controlled(Network):
    """A network trained with a control, whose name is its regime, at a strength."""

    strength: float = 0.0

    def __str__(self) -> str:
        return super().__str__().replace(self.regime, f"{self.regime} {self.strength:g}", 1)

    def training(self) -> Control:
        """Return what `fit` takes."""
        return Control(self.regime, self.strength)

    def model(self) -> nn.Module:
        """Return the trained network, with weights that change no sum as zeros."""
        model = super().model()
        with torch.no_grad():  # weight decay leaves thousands; products with them are subnormal, which is slow
            for part in model.parameters():
                part[part.abs() < NOTHING] = 0
        return model

    def code(self) -> tuple:
        """Return the functions whose code the trained network rests on."""
        made = trainings.module(self.regime)
        return *super().code(), getattr(made, "loss", None) or made.perturb


def settings(study: Study) -> dict[str, Any]:
    """Return the sizes of the comparison for a study, with the primary level that all studies share."""
    how = sizes.settings()["controls"]
    return {"level": how["level"], **how[study.profile][study.kind]}


def small(study: Study) -> Study:
    """Return a study of the sizes of the comparison."""
    how = settings(study)
    return replace(study, epochs=min(study.epochs, how["epochs"]), steps=min(study.steps, how["steps"]))


def measures(study: Study) -> dict[str, Measure]:
    """Return the measures of plausibility: the study's own, and a second."""
    return {"primary": grid.measure(study), "second": Measure(settings(study)["second"], study.k)}


def seeds(study: Study) -> range:
    """Return the seeds whose networks are compared."""
    return study.every[: settings(study)["seeds"]]


def controlled(like: Network, name: str, strength: float) -> Controlled:
    """Return the network of a control that shares all but the training with a network of the study."""
    return Controlled(like.data, name, epochs=like.epochs, architecture=like.architecture, strength=float(strength))


def doses(study: Study) -> Iterator[tuple[str, float]]:
    """Yield the controls and the strengths at which they are compared: the chosen one, and those of the dose curves."""
    how = settings(study)
    for name, chosen in how["chosen"].items():
        every = trainings.module(name).STRENGTHS if name in how["curves"] else ()
        yield from ((name, strength) for strength in sorted({float(chosen), *every}))


def of_trainings(study: Study, seed: int) -> list[tuple[Labels, Network]]:
    """List the networks of a seed that are compared: regimes, then controls, with the columns that name them.
    training: the name, of a control with its strength; family: the name; strength: 0 for regimes; chosen: whether it is
    the strength that the rule gives.
    """
    known, chosen = of_seed(small(study), sizes.primary(), seed), settings(study)["chosen"]
    found = [({"training": name, "family": name, "strength": 0.0, "chosen": True}, one) for name, one in known.items()]
    for name, strength in doses(study):
        labels = {"training": f"{name} {strength:g}", "family": name, "strength": strength}
        one = controlled(known["standard"], name, strength)
        found.append(({**labels, "chosen": strength == chosen[name]}, one))
    return found


def _searches(study: Study, one: Network, labels: Labels, factuals: int, levels: list[float]) -> Iterator[Point]:
    """Yield searches in a network for each level, by each measure."""
    level = replace(small(study), generator="ecco_level")
    for threshold in levels:
        for name, by in measures(study).items():
            named = {**labels, "level": f"{threshold:g}", "measure": name}
            how = {"factuals": Draw(1, factuals), "by": by, "threshold": threshold}
            yield point(level, sizes.primary(), one, DTC, named, **how)


def searches(study: Study) -> list[Point]:
    """List the searches of the comparison: seed x training x level x measure, and the generator conditions."""
    study, how, found = small(study), settings(study), []
    for seed in seeds(study):
        for labels, one in of_trainings(study, seed):
            own = {"seed": seed, **labels}
            found += _searches(study, one, own, how["factuals"], how["levels"])
            found += [
                point(
                    study, sizes.primary(), one, GCC, {**own, "level": "generator conditions", "measure": name},
                    factuals=Draw(1, how["factuals"]), by=by,
                )
                for name, by in measures(study).items()
            ]  # fmt: skip
    return found


def judges(study: Study) -> list[Measured]:
    """List the judges of images, whose answers are set beside implausibility; none for tabular data."""
    every = {one.data.shared() for _, one in of_trainings(study, study.first)} if study.kind == "image" else ()
    return [Measured((), Judges(data)) for data in every]


def clean(study: Study) -> list[Measured]:
    """List the networks of the comparison on clean test rows."""
    return _networks(study, lambda one: Attacked(one, Attack("clean"), settings(study)["rows"]))


def robustness(study: Study) -> list[Measured]:
    """List the networks of the comparison under the worst case of the last of the radii."""
    how = settings(study)["worst"]
    return _networks(study, lambda one: Worst(one, tuple(how["radii"]), how["rows"]))


def _networks(study: Study, asked: Callable[[Network], Attacked | Worst]) -> list[Measured]:
    return [
        Measured(tuple({"seed": seed, **labels}.items()), asked(one))
        for seed in seeds(study)
        for labels, one in of_trainings(study, seed)
    ]


def extra(study: Study) -> dict[str, Network]:
    """Return the networks of the extra seed, by training: the strong regime, and each control at all its strengths."""
    strong = of_seed(study, sizes.primary(), settings(study)["extra"])["strong"]
    held = Held(strong.data.dataset, strong.data.seed, strong.data.sampling)
    strong = replace(strong, data=held, epochs=settings(study)["selection_epochs"])
    every = ((name, strength) for name in settings(study)["chosen"] for strength in trainings.module(name).STRENGTHS)
    return {"strong": strong} | {f"{name} {strength:g}": controlled(strong, name, strength) for name, strength in every}


def selection(study: Study) -> list[Measured]:
    """List the networks of the extra seed on their validation rows."""
    return [
        Measured((("seed", one.data.seed), ("training", name), ("attack", "clean")), Attacked(one, Attack("clean")))
        for name, one in extra(study).items()
    ]


def ranking(study: Study) -> list[Point]:
    """List searches from validation rows in the networks of the extra seed, by the primary measure and level."""
    how, level = settings(study), replace(small(study), generator="ecco_level")
    return [
        point(
            level, sizes.primary(), one, DTC, {"seed": one.data.seed, "training": name},
            factuals=Draw(1, how["selection_factuals"]), threshold=how["level"],
        )
        for name, one in extra(study).items()
    ]  # fmt: skip


def architectures(study: Study) -> list[Point]:
    """List searches in networks of other architectures, and of the study's own, all trained as briefly."""
    whole = sizes.settings()["architectures"]
    how, found = whole[study.profile][study.kind], []
    for seed in study.every[: how["seeds"]]:
        known = of_seed(study, sizes.primary(), seed)
        for name in how["names"]:
            for training in whole["trainings"]:
                regime = training in REGIMES
                one = known[training if regime else "standard"]
                one = one if regime else controlled(one, training, settings(study)["chosen"][training])
                one = replace(one, architecture=name, epochs=how["epochs"])
                labels = {"seed": seed, "architecture": name, "training": training}
                found += _searches(study, one, labels, how["factuals"], [settings(study)["level"]])
    return found


def look(study: Study) -> list[Point]:
    """List searches from a few images to look at: networks of the first seed, the standard and the strong one and those
    of all controls at their chosen strength, at the primary level.
    """
    if study.kind != "image":
        return []
    level, how = replace(small(study), generator="ecco_level"), sizes.primary()
    found = {labels["training"]: one for labels, one in of_trainings(study, study.first) if labels["chosen"]}
    networks = {name: one for name, one in found.items() if name not in ("weak", "medium")}
    factuals = Pairs(tuple(map(tuple, sizes.settings()["gallery"])), tuple(networks.values()), study.first)
    labels = {"condition": how.name, "seed": study.first, "stop": DTC}
    return [
        point(
            level, how, one, DTC, {**labels, "regime": name},
            factuals=factuals, stream="look", threshold=settings(study)["level"],
        )
        for name, one in networks.items()
    ]  # fmt: skip
