"""FGSM with a random start: adversarial training with a single step."""

import torch
from torch import Tensor, nn

from robexpl.attacks._loops import ascend
from robexpl.gradients import vjp
from robexpl.regimes import Adversary

TITLE, ADVERSARIAL = "FGSM, random start", True
STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.5)
LONGER = 1.25  # step size in radii, as published


def perturb(
    model: nn.Module, x: Tensor, y: Tensor, *, strength: float, box: tuple[Tensor, Tensor], generator: torch.Generator
) -> Tensor:
    """Return P(x + u + 1.25 eps sign(grad CE(f(x + u), y))), u uniform in the ball, eps = strength [Wong et al. 2020].
    P projects onto the ball |x' - x|_inf <= eps and the box.
    >>> how = {"box": (torch.tensor(0.0), torch.tensor(1.0)), "generator": torch.Generator()}
    >>> perturb(nn.Identity(), torch.zeros(1, 2), torch.tensor([0]), strength=0.1, **how).shape
    torch.Size([1, 2])
    """
    run = vjp(model)
    one_hot = nn.functional.one_hot(y, run(x[:1])[0].shape[1]).to(x.dtype)
    uniform = torch.rand(x.shape, generator=generator, device=generator.device).to(x) * 2 - 1
    return ascend(run, x, one_hot, x + strength * uniform, Adversary(strength, LONGER * strength, 1), box)[0]
