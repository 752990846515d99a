"""Random signs on the inputs: an adversary's largest perturbation, in a direction that nobody chose."""

import torch
from torch import Tensor, nn

TITLE, ADVERSARIAL = "Random-sign noise", False
STRENGTHS = (0.1, 0.3, 0.5, 1.0)


def perturb(
    model: nn.Module, x: Tensor, y: Tensor, *, strength: float, box: tuple[Tensor, Tensor], generator: torch.Generator
) -> Tensor:
    """Return x + strength s, every s_ij -1 or 1 at random, brought into the box: a corner of the ball, as FGSM takes.
    >>> how = {"box": (torch.tensor(0.0), torch.tensor(1.0)), "generator": torch.Generator()}
    >>> perturb(nn.Identity(), torch.zeros(1, 2), torch.tensor([0]), strength=0.1, **how).shape
    torch.Size([1, 2])
    """
    signs = torch.randint(2, x.shape, generator=generator, device=generator.device).to(x) * 2 - 1
    return torch.clamp(x + strength * signs, *box)
