"""Attacks in the maximum norm, one file each: a file `name.py` here defines the attack `name`."""

import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from robexpl import registry
from robexpl.attacks._loops import start_points
from robexpl.attacks.fgsm import fgsm
from robexpl.attacks.pgd import EARLY_STOPS, pgd
from robexpl.attacks.random_signs import random_signs
from robexpl.attacks.square import square
from robexpl.attacks.worst_case import worst_case
from robexpl.checks import Bounds

__all__ = [
    "EARLY_STOPS", "fgsm", "module", "names", "pgd", "random_signs", "run", "square", "start_points", "worst_case",
]  # fmt: skip

names = partial(registry.names, __name__)
module = partial(registry.module, __name__, what="attack")


def run(
    name: str, model: nn.Module, x: Tensor, y: Tensor, *, bounds: Bounds, generator: torch.Generator,
    rounded: bool = False, **settings: Any,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Perturb x (n, d) with labels y (n,) by the attack of that name -> x' (n, d) and the steps of each row (n,).
    `generator` and `rounded` go to attacks that know them, `settings` to all. Raises ValueError as the attack does.
    >>> run("fgsm", nn.Identity(), torch.ones(1, 2), torch.tensor([0]), eps=0.1, bounds=(0, 2), generator=None)
    (tensor([[0.9000, 1.1000]]), tensor([1]))
    """
    attack = module(name)
    function = getattr(attack, name)
    known = inspect.signature(function).parameters
    given = {"bounds": bounds, "generator": generator, "rounded": rounded}
    arguments = {**{key: value for key, value in given.items() if key in known}, **settings}
    if hasattr(attack, "with_steps"):
        return attack.with_steps(model, x, y, **arguments)
    return function(model, x, y, **arguments), torch.full((len(x),), int(settings.get("steps", 1)), device=x.device)
