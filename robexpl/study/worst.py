"""Attacks beyond those of the thesis as cached stages: the worst case over growing radii, and transferred examples."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robexpl import attacks
from robexpl.seeds import torch_generator
from robexpl.study.cache import cached
from robexpl.study.networks import Subject
from robexpl.study.sizes import Attack


@dataclass(frozen=True)
class Worst:
    """The first test rows of a subject under the worst case of rising radii, of which the last is in question."""

    subject: Subject
    radii: tuple[float, ...]
    rows: int | None = None

    def code(self) -> tuple:
        """Return the functions whose code the points rest on."""
        return (attacks.module("worst_case").details,)


@dataclass(frozen=True)
class Transferred:
    """Test rows as an attack perturbs them in the network `source`, shown to a subject."""

    subject: Subject
    source: Subject
    attack: Attack
    rows: int | None = None


@cached
def worst_case(wanted: Worst) -> dict[str, Tensor]:
    """Attack test rows by the worst case, those alone that no smaller radius has changed; keep, each (n,): label still
    right; part, the place in `attacks.worst_case.NAMES` of what changed it; lead of another class. Each radius is an
    entry of its own, so that an interrupted run goes on at the radius where it stopped.
    """
    dataset, model = wanted.subject.data.load(), wanted.subject.model()
    x, y = dataset.x_test[: wanted.rows], dataset.y_test[: wanted.rows]
    *smaller, eps = wanted.radii
    before = worst_case(replace(wanted, radii=tuple(smaller))) if smaller else {"correct": torch.ones_like(y).bool()}
    left = before["correct"]
    generator = torch_generator(wanted.subject.data.seed, "worst case", str(eps))
    found = attacks.module("worst_case").details(
        model, x[left], y[left], eps=eps, bounds=dataset.bounds, generator=generator
    )
    with torch.no_grad():
        new = {"correct": model(found.x).argmax(1) == y[left], "part": found.part, "lead": found.lead}
    kept = {name: before.get(name, values.new_zeros(len(y))).clone() for name, values in new.items()}
    for name, values in new.items():
        kept[name][left] = values
    return kept


@cached
def transfer(wanted: Transferred) -> dict[str, Tensor]:
    """Attack test rows in another network; keep which labels the subject still gets right (n,)."""
    dataset, how = wanted.subject.data.load(), wanted.attack
    x, y = dataset.x_test[: wanted.rows], dataset.y_test[: wanted.rows]
    generator = torch_generator(wanted.subject.data.seed, "transfer")
    options = {"bounds": dataset.bounds, "generator": generator, **dict(how.settings)}
    points, _ = attacks.run(how.attack, wanted.source.model(), x, y, **options)
    with torch.no_grad():
        return {"correct": wanted.subject.model()(points).argmax(1) == y}
