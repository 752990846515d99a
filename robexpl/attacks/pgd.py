"""Projected gradient descent: many steps, with projection or with an early stop."""

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.attacks._loops import BLOCK, ascend, blocks, prepare, start_from
from robexpl.checks import Bounds
from robexpl.regimes import Adversary

EARLY_STOPS = ("example", "batch", False)


def pgd(
    model: nn.Module, x: Tensor, y: Tensor, *, eps: float, step_size: float, steps: int, bounds: Bounds,
    generator: torch.Generator | None = None, early_stop: str | bool = False, start: Tensor | None = None,
    rounded: bool = False,
) -> Tensor:  # fmt: skip
    """Perturb x (n, d) by signed-gradient steps x_{t+1} = P(x_t + step_size sign(grad_x CE(f(x_t), y))) [Madry 2018].
    The start is `start` or x + step_size N(0, I) from `generator`. P projects onto the box and the ball |x' - x|_inf <=
    eps. With early_stop "example" or "batch" P clamps to the box alone, and the steps end as soon as the largest
    perturbation, of the example or of the array, reaches eps: the last step may leave the ball by at most step_size,
    and most points stay well inside. Units, bounds, `rounded` and errors are those of `fgsm`.
    >>> pgd(nn.Identity(), x := torch.ones(1, 2), torch.arange(1), eps=1, step_size=2, steps=2, bounds=(0, 9), start=x)
    tensor([[0., 2.]])
    """
    settings = {"eps": eps, "step_size": step_size, "steps": steps, "bounds": bounds, "rounded": rounded}
    return with_steps(model, x, y, **settings, generator=generator, early_stop=early_stop, start=start)[0]


def with_steps(
    model: nn.Module, x: Tensor, y: Tensor, *, eps: float, step_size: float, steps: int, bounds: Bounds,
    generator: torch.Generator | None = None, early_stop: str | bool = False, start: Tensor | None = None,
    rounded: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Run `pgd` and also return how many steps each example took, shape (n,)."""
    checks.refuse_type("early_stop", early_stop, (str, bool))
    checks.refuse_type("rounded", rounded, bool)
    line = f"expected early_stop to be one of {EARLY_STOPS}, got {early_stop!r}"
    checks.refuse_unless(early_stop in EARLY_STOPS, line)
    eps, steps = checks.non_negative(eps=eps, steps=steps)
    step_size = checks.positive(step_size=step_size)
    run, one_hot, box = prepare(model, x, y, bounds)
    start = torch.clamp(start_from(x, step_size, generator, start), *box)
    adversary = Adversary(eps, step_size, steps)
    parts = blocks(max(1, len(x)) if early_stop == "batch" else BLOCK, x, one_hot, start)
    adv, taken = zip(*(ascend(run, *part, adversary, box, early_stop, rounded) for part in parts), strict=True)
    return torch.cat(adv), torch.cat(taken)
