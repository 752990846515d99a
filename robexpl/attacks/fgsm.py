"""The fast gradient sign method: one step."""

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.attacks._loops import BLOCK, blocks, direction, jump, prepare
from robexpl.checks import Bounds


def fgsm(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, bounds: Bounds, rounded: bool = False) -> Tensor:
    """Perturb x (n, d) by one signed-gradient step: x' = clamp(x + eps sign(grad_x CE(f(x), y))) [Goodfellow 2015].
    y (n,) holds the true classes; eps is in input units; bounds = (low, high), numbers or of shape (d,). The sign is
    that of exact arithmetic; `rounded` takes what single precision leaves of it, as the thesis' code does. Raises
    ValueError for NaN, shapes that do not fit and x outside the bounds.
    >>> fgsm(nn.Identity(), torch.full((1, 2), 0.5), torch.tensor([0]), eps=0.1, bounds=(0, 1))
    tensor([[0.4000, 0.6000]])
    """
    eps = checks.non_negative(eps=eps)
    checks.refuse_type("rounded", rounded, bool)
    run, one_hot, box = prepare(model, x, y, bounds)
    parts = blocks(BLOCK, x, one_hot)
    return torch.cat([jump(part, direction(run, part, to, rounded), eps, box) for part, to in parts])
