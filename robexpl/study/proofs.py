"""What is proven of networks: exact distances on tabular data and certificates on images, with what searches find.

Two stages, the lists of points that they are computed for, and tidy tables of what came out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from robexpl import attacks, certify, exact
from robexpl.progress import bar
from robexpl.regimes import REGIMES
from robexpl.seeds import torch_generator
from robexpl.study import audit, frames, grid, security, sizes
from robexpl.study.cache import Arrays, cached
from robexpl.study.factuals import Draw
from robexpl.study.grid import DTC, Measured, Point
from robexpl.study.networks import Subject
from robexpl.study.sizes import Attack, Study
from robexpl.study.stages import Attacked

PERCEPTRONS = ("mlp", "deep_mlp")  # architectures of linear maps and ReLUs alone, as exact distances need them


@dataclass(frozen=True)
class Distances:
    """The smallest perturbations that change the class of the first test rows of a subject, in a norm."""

    subject: Subject
    rows: int
    norm: str = "linf"


@dataclass(frozen=True)
class Certified:
    """Certificates for the first test rows of a subject: radius, budget of nodes, the attack whose points are tried."""

    subject: Subject
    rows: int
    eps: float
    nodes: int
    attack: Attack


@cached
def distance(of: Distances) -> dict[str, Tensor]:
    """Compute exact distances; keep, each (n,): label right, distance, bound, optimal; and the points x (n, d)."""
    dataset, model = of.subject.data.load(), of.subject.model()
    x, y = dataset.x_test[: of.rows], dataset.y_test[: of.rows]
    found = exact.smallest(model, x, y, bounds=dataset.bounds, norm=of.norm)
    with torch.no_grad():
        correct = model(x).argmax(1) == y
    return {"correct": correct, **vars(found)}


@cached
def certificate(of: Certified) -> dict[str, Tensor]:
    """Certify test rows; keep, each (n,): label right, proven, broken, margin, bound, nodes, attack failed."""
    dataset, model = of.subject.data.load(), of.subject.model()
    x, y = dataset.x_test[: of.rows], dataset.y_test[: of.rows]
    generator = torch_generator(of.subject.data.seed, "certificates")
    options = {"bounds": dataset.bounds, "generator": generator, **dict(of.attack.settings)}
    tried, _ = attacks.run(of.attack.attack, model, x, y, **options)
    found = certify.certify(model, x, y, eps=of.eps, bounds=dataset.bounds, nodes=of.nodes, tried=tried)
    with torch.no_grad():
        correct, withstood = (model(points).argmax(1) == y for points in (x, tried))
    kept = {name: getattr(found, name) for name in ("proven", "broken", "margin", "bound", "nodes")}
    return {"correct": correct, "withstood": withstood, **kept}


def settings(study: Study) -> dict[str, Any]:
    """Return the sizes of what is proven for a study."""
    return sizes.settings()["proofs"][study.profile]


def opponent(eps: float) -> Attack:
    """Return the attack that proofs are compared with: projected PGD, 40 steps of a tenth of the radius."""
    return Attack(f"pgd {eps:g}", "pgd", (("eps", eps), ("step_size", eps / 10), ("steps", 40)))


def distances(study: Study) -> list[Measured]:
    """List the exact distances in the maximum norm of every network, for tabular data and perceptrons of ReLUs."""
    few, possible = settings(study), study.kind == "tabular" and study.architecture in PERCEPTRONS
    known = grid.networks(study, few["conditions"]) if possible else []
    return [Measured(one.labels, Distances(one.what, few["factuals"])) for one in known]


def attacked(study: Study) -> list[Measured]:
    """List the attacks on the rows of `distances`, at each radius."""
    few = settings(study)
    return [
        Measured((*one.labels, ("eps", eps)), Attacked(one.what.subject, opponent(eps), one.what.rows))
        for one in distances(study)
        for eps in few["eps"]
    ]


def boundary(study: Study) -> list[Point]:
    """List searches for the decision threshold from one run of factuals, and the exact closest counterfactuals.
    searched: as the condition does; noiseless: from the factual itself; finer: so, in steps a fraction as long; exact.
    For tabular data.
    """
    few, found = settings(study), []
    draw, finer = Draw(1, few["factuals"]), few["finer"]
    for how in grid.chosen(few["conditions"]) if study.kind == "tabular" else ():
        rate, steps = study.search(how.name).learning_rate * how.finer / finer, study.steps * finer // how.finer
        ways: dict[str, tuple[str, dict[str, float]]] = {
            "searched": (study.generator, {}),
            "noiseless": (study.generator, {"start_noise": 0.0}),
            "finer": (study.generator, {"start_noise": 0.0, "learning_rate": rate, "steps": steps}),
            "exact": ("exact", {}),
        }
        for way, (generator, changes) in ways.items():
            if way != "noiseless" or how.start_noise:
                by = replace(study, generator=generator)
                listed = grid.main(by, (how.name,), (DTC,), factuals=draw, **changes)
                found += [replace(entry, labels=(*entry.labels, ("way", way))) for entry in listed]
    return found


def certificates(study: Study) -> list[Measured]:
    """List the certificates of a few networks of the primary condition at each radius, for images."""
    few = settings(study)
    known = grid.networks(study, [sizes.primary().name], few["seeds"]) if study.kind == "image" else []
    return [
        Measured((*one.labels, ("eps", eps)), Certified(one.what, few["images"], eps, few["nodes"], opponent(eps)))
        for one in known
        for eps in few["eps"]
    ]


def author(study: Study) -> list[Measured]:
    """List what is proven of the author's networks: exact distances, for images certificates at the study's radius."""
    few, eps, found = settings(study), security.radius(), []
    for regime in REGIMES:
        labels, one = (("condition", "as_run"), ("seed", 0), ("regime", regime)), audit.author(study, regime)
        if study.kind == "tabular":
            found.append(Measured(labels, Distances(one, few["factuals"])))
        else:
            wanted = Certified(one, few["images"], eps, few["nodes"], opponent(eps))
            found.append(Measured((*labels, ("eps", eps)), wanted))
    return found


def cost(of: Distances | Certified) -> float:
    """Return about how many seconds it takes on one core."""
    return 0.03 * of.rows if isinstance(of, Distances) else 5e-5 * of.rows * of.nodes


def distance_table(entries: Iterable[Measured]) -> pd.DataFrame:
    """Tabulate exact distances, one row per network and test row: correct, distance, bound, optimal."""
    return _table(entries, distance, ("correct", "distance", "bound", "optimal"))


def exact_counts(entries: Iterable[Measured], eps: float) -> pd.DataFrame:
    """Count exactly what no attack of radius eps can change, one row per network: test rows of the right class whose
    distance is above eps, `correct` of n.
    """
    frame = distance_table(entries)
    held = frame.assign(correct=frame["correct"] & (frame["distance"] > eps))
    by = [name for name in ("condition", "seed", "regime") if name in frame]
    return held.groupby(by, sort=False)["correct"].agg(["sum", "size"]).set_axis(["correct", "n"], axis=1).reset_index()


def status_counts(entries: Iterable[Measured]) -> pd.DataFrame:
    """Count the certificates of each status, one row per network, radius and status: `correct` of n images have it."""
    frame = certificate_table(entries)
    parts = [frame.assign(status=one, correct=frame["status"] == one) for one in ("proven", "open", "broken")]
    by = ["eps", "regime", "status", "seed"]
    counted = pd.concat(parts, ignore_index=True).groupby(by, sort=False)["correct"].agg(["sum", "size"])
    return counted.set_axis(["correct", "n"], axis=1).reset_index()


def certificate_table(entries: Iterable[Measured]) -> pd.DataFrame:
    """Tabulate certificates, one row per network, radius and image, with `status`: proven, broken or open.

    withstood: whether the label is right under the attack, in single precision; margin and bound: the least margin
    that was found and what it is at least, where the search for it ended; nodes: subproblems that were bounded.
    """
    columns = ("correct", "withstood", "proven", "broken", "margin", "bound", "nodes")
    frame = _table(entries, certificate, columns)
    status = frame["proven"].map({True: "proven", False: "open"}).mask(frame["broken"], "broken")
    return frame.drop(columns=["proven", "broken"]).assign(status=status)


def _table(entries: Iterable[Measured], stage: Callable[[Any], Arrays], names: Sequence[str]) -> pd.DataFrame:
    parts = []
    for entry in bar(list(entries), desc="table"):
        found = stage(entry.what)
        columns = {name: found[name].numpy() for name in names}
        parts.append(pd.DataFrame({**dict(entry.labels), "row": range(len(found["correct"])), **columns}))
    return pd.concat(parts, ignore_index=True)


def boundary_table(points: Iterable[Point]) -> pd.DataFrame:
    """Tabulate `boundary` as `frames.counterfactuals` does, with the exact L1 distance of each factual as `optimum`."""
    frame = frames.counterfactuals(points)
    keys = ["condition", "seed", "regime", "place"]
    frame["place"] = frame.groupby(["condition", "seed", "regime", "way"], sort=False).cumcount()
    optimum = frame[frame["way"] == "exact"].set_index(keys)["l1"].rename("optimum")
    return frame.join(optimum, on=keys, validate="many_to_one")
