"""Random signs, the noise that an attack must beat."""

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.attacks._loops import jump, prepare
from robexpl.checks import Bounds


def random_signs(
    model: nn.Module, x: Tensor, y: Tensor, *, eps: float, bounds: Bounds, generator: torch.Generator
) -> Tensor:
    """Perturb x (n, d) by a random corner of the ball: x' = clamp(x + eps s), every s_ij -1 or 1 at random.
    Looks at neither model nor labels y (n,), but checks them. Units, bounds and errors are those of `fgsm`.
    >>> how = {"eps": 0.1, "bounds": (0, 1), "generator": torch.Generator().manual_seed(0)}
    >>> random_signs(nn.Identity(), torch.full((1, 3), 0.5), torch.tensor([0]), **how)
    tensor([[0.4000, 0.6000, 0.6000]])
    """
    eps = checks.non_negative(eps=eps)
    checks.refuse_type("generator", generator, torch.Generator)
    _, _, box = prepare(model, x, y, bounds)
    signs = torch.randint(2, x.shape, generator=generator, device=generator.device).to(x) * 2.0 - 1
    return jump(x, signs, eps, box)
