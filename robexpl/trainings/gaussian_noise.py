"""Gaussian noise on the inputs."""

import torch
from torch import Tensor, nn

from robexpl.attacks import start_points

TITLE, ADVERSARIAL = "Gaussian noise", False
STRENGTHS = (0.1, 0.3, 0.5, 1.0)


def perturb(
    model: nn.Module, x: Tensor, y: Tensor, *, strength: float, box: tuple[Tensor, Tensor], generator: torch.Generator
) -> Tensor:
    """Return x + strength N(0, I), brought into the box as an adversary's points are [Bishop 1995].
    >>> how = {"box": (torch.tensor(0.0), torch.tensor(1.0)), "generator": torch.Generator()}
    >>> perturb(nn.Identity(), torch.zeros(1, 2), torch.tensor([0]), strength=0.1, **how).shape
    torch.Size([1, 2])
    """
    return torch.clamp(start_points(x, strength, generator), *box)
