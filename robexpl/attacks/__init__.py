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
from robexpl.checks import Bounds

__all__ = ["EARLY_STOPS", "fgsm", "module", "names", "pgd", "random_signs", "run", "start_points"]

names = partial(registry.names, __name__)
module = partial(registry.module, __name__, what="attack")


def run(
    name: str, model: nn.Module, x: Tensor, y: Tensor, *, bounds: Bounds, generator: torch.Generator, **settings: Any
) -> tuple[Tensor, Tensor]:
    """Perturb x (n, d) with labels y (n,) by the attack of that name -> x' (n, d) and the steps of each row (n,).
    `generator` goes to attacks that draw random numbers, `settings` to all. Raises ValueError as the attack does.
    >>> how = {"eps": 0.1, "bounds": (0, 1), "generator": torch.Generator()}
    >>> run("fgsm", nn.Identity(), torch.full((1, 2), 0.5), torch.tensor([0]), **how)
    (tensor([[0.4000, 0.6000]]), tensor([1]))
    """
    attack = module(name)
    function, arguments = getattr(attack, name), {"bounds": bounds, **settings}
    if "generator" in inspect.signature(function).parameters:
        arguments["generator"] = generator
    if hasattr(attack, "with_steps"):
        return attack.with_steps(model, x, y, **arguments)
    return function(model, x, y, **arguments), torch.full((len(x),), int(settings.get("steps", 1)), device=x.device)
