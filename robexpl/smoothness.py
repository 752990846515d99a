"""How smooth a network is about given points: the size of its input gradient, and the curvature of its loss."""

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.attacks._loops import BLOCK, blocks, direction, prepare
from robexpl.checks import Bounds


def gradient_norm(model: nn.Module, x: Tensor, y: Tensor, *, bounds: Bounds) -> Tensor:
    """Measure |grad_x f_y(x)|_2, f_y the logit of the class y (n,) of each point x (n, d) -> (n,).
    In units of the logit per unit of the input. Raises ValueError as an attack does.
    >>> gradient_norm(nn.Identity(), torch.zeros(1, 2), torch.tensor([0]), bounds=(0, 1))
    tensor([1.])
    """
    run, one_hot, _ = prepare(model, x, y, bounds)
    return torch.cat([run(part)[1](to).norm(dim=1) for part, to in blocks(BLOCK, x, one_hot)])


def curvature(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, bounds: Bounds) -> Tensor:
    """Measure |grad l(x + h) - grad l(x)|_2 / |h|_2 for l = CE(f(.), y) and h = eps sign(grad l(x)) -> (n,).
    The finite difference that curvature regularisation penalises [Moosavi-Dezfooli 2019]; points x (n, d), labels y
    (n,); x + h is not brought into the bounds. Zero where the loss has no gradient.
    >>> curvature(nn.Identity(), torch.zeros(1, 2), torch.tensor([0]), eps=0.1, bounds=(0, 1)) < 0.5
    tensor([True])
    """
    eps = checks.positive(eps=eps)
    run, one_hot, _ = prepare(model, x, y, bounds)
    found = []
    for part, to in blocks(BLOCK, x, one_hot):
        move = eps * direction(run, part, to).clone()
        slopes = []
        for point in (part + move, part):
            logits, pull = run(point)
            slopes.append(pull(torch.softmax(logits, 1) - to).clone())
        length = move.norm(dim=1)
        found.append((slopes[0] - slopes[1]).norm(dim=1) / length.where(length > 0, 1.0))
    return torch.cat(found)
