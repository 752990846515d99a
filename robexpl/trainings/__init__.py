"""Trainings to compare adversarial training with, one file each, found by name: `fit(data, Control(name, strength))`.

A file defines TITLE (for tables); STRENGTHS, those that the study tries, the weakest first; ADVERSARIAL, whether it
sees an adversary; and one function of a batch x (n, d), y (n,), whose inputs lie in the `box`:

- `loss(model, x, y, *, strength, box, generator)`, the mean loss, differentiable in the parameters; or
- `perturb(model, x, y, *, strength, box, generator)` -> x' (n, d): the loss is then CE(f(x'), y) + CE(f(x), y), that of
  adversarial training, in which the perturbation alone differs.
"""

from functools import partial

import torch
from torch import Tensor, nn

from robexpl import checks, gradients, registry
from robexpl.regimes import Control

names = partial(registry.names, __name__)
module = partial(registry.module, __name__, what="training")


def checked(control: Control) -> Control:
    """Return a control if there is a training of its name and its strength is a number of at least zero.
    >>> checked(Control("jacobian", 1)).strength
    1
    """
    module(control.name)
    return Control(control.name, checks.non_negative(strength=control.strength))


def backward(
    control: Control, model: nn.Module, x: Tensor, y: Tensor, box: tuple[Tensor, Tensor], generator: torch.Generator
) -> tuple[Tensor, float]:
    """Set the gradients of a network's parameters to those of a control's loss on a batch x (n, d), y (n,).
    Returns the loss and the mean over rows of the largest perturbation of an input.
    """
    made, how = module(control.name), {"strength": control.strength, "box": box, "generator": generator}
    if hasattr(made, "perturb"):
        moved = made.perturb(model.eval(), x, y, **how)
        both = torch.cat([moved, x]), torch.cat([y, y])
        return gradients.backward(model.train(), *both, scale=2.0), float((moved - x).abs().amax(1).mean())
    with torch.enable_grad():
        model.zero_grad()
        loss = made.loss(model, x, y, **how)
        loss.backward()
    return loss.detach(), 0.0
