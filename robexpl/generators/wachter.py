"""Counterfactuals without an energy term, CE(f(z), t) + l1 ||z - x||_1 [Wachter 2018]: the control of the others."""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from robexpl.generators import ecco
from robexpl.generators.ecco import Counterfactuals, Settings


def search(model: nn.Module, x: Tensor, target: Tensor, *, settings: Settings, **options: Any) -> Counterfactuals:
    """Search a counterfactual of class target (n,) for each factual x (n, d), as `ecco.search` does with energy 0.
    >>> how = {"settings": Settings(start_noise=0), "stop": "decision_threshold", "bounds": (0, 1)}
    >>> import torch
    >>> search(nn.Identity(), torch.tensor([[0.6, 0.4]]), torch.tensor([1]), **how).steps
    tensor([2])
    """
    return ecco.search(model, x, target, settings=replace(settings, energy=0.0), **options)
