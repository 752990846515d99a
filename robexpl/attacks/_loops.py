"""What attacks share: checks, starting points and loops of steps along sign(grad_x CE(f(x), y)).

The loops check nothing; `adversary` holds radius, step size and number of steps, `box` lowest and highest values.
"""

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.checks import Bounds
from robexpl.gradients import Vjp, vjp
from robexpl.regimes import Adversary

BLOCK = 256  # rows per block: activations and perturbations of a block stay in the processor's cache
Pair = tuple[Tensor, Tensor]


def prepare(model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, what: str = "labels") -> tuple[Vjp, Tensor, Pair]:
    """Check what an attack or a search is given; return the model's vjp, y one-hot (n, classes) and the box."""
    checks.points(x)
    checks.labels(y, len(x), what=what)
    box = checks.box(bounds, x)
    checks.refuse_outside("x", x, *box)
    checks.refuse_model(model, x)
    run = vjp(model)
    classes = run(x[:1])[0].shape[1]
    checks.labels(y, len(x), classes, what)
    return run, nn.functional.one_hot(y.long(), classes).to(x.dtype), box


def start_from(x: Tensor, scale: float, generator: torch.Generator | None, start: Tensor | None) -> Tensor:
    """Check and return the given starting points, or draw them by `start_points`; x itself for scale 0."""
    checks.refuse_type("generator", generator, (torch.Generator, type(None)))
    if start is None:
        line = "expected a torch.Generator or explicit starting points, got neither"
        checks.refuse_unless(not scale or generator is not None, line)
        return start_points(x, scale, generator) if scale else x
    checks.refuse_numbers("start", start, x)
    fits = f"expected start of shape {tuple(x.shape)}, got {tuple(start.shape)}"
    checks.refuse_unless(start.shape == x.shape, fits)
    return start


def start_points(x: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Return x + scale N(0, I), drawn on the generator's device so that every device sees the same noise.
    >>> start_points(torch.zeros(2, 3), 0.1, torch.Generator()).shape
    torch.Size([2, 3])
    """
    noise = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
    return noise.to(x.device).mul_(scale).add_(x)


def blocks(size: int, *arrays: Tensor) -> list[tuple[Tensor, ...]]:
    """Cut arrays into blocks of rows, side by side; arrays without rows make one block without rows."""
    return list(zip(*(array.split(size) for array in arrays), strict=True))


def direction(run: Vjp, x: Tensor, one_hot: Tensor) -> Tensor:
    """Return sign(grad_x CE(f(x), y)), shape (n, d); with respect to the logits it is softmax(f) - e_y."""
    logits, pull = run(x)
    return pull(torch.softmax(logits, 1).sub_(one_hot)).sign_()


def ascend_within(run: Vjp, x: Tensor, one_hot: Tensor, start: Tensor, adversary: Adversary, box: Pair) -> Tensor:
    """Make all steps from `start`, each projected onto the ball |x' - x|_inf <= eps and the box -> (n, d)."""
    lower, upper = torch.clamp(x - adversary.eps, *box), torch.clamp(x + adversary.eps, *box)
    adv = torch.clamp(start, lower, upper)
    for _ in range(int(adversary.steps)):
        adv.add_(direction(run, adv, one_hot), alpha=adversary.step_size)
        torch.clamp(adv, lower, upper, out=adv)
    return adv


def ascend_until(run: Vjp, x: Tensor, one_hot: Tensor, start: Tensor, adversary: Adversary, box: Pair) -> Pair:
    """Make steps in the box until any entry of the array has moved by eps -> x' (n, d) and their number (n,)."""
    adv, taken, moved = start.clone(), 0, torch.inf
    while len(x) and taken < adversary.steps:
        if not moved < adversary.eps - 1e-5:  # no entry moves by more than a step: measure only where that is no answer
            moved = float(torch.linalg.vector_norm(adv - x, torch.inf))
            if not moved < adversary.eps:
                break
        adv.add_(direction(run, adv, one_hot), alpha=adversary.step_size)
        torch.clamp(adv, *box, out=adv)
        taken, moved = taken + 1, moved + adversary.step_size
    return adv, torch.full((len(x),), taken, device=x.device)


def ascend_each(run: Vjp, x: Tensor, one_hot: Tensor, start: Tensor, adversary: Adversary, box: Pair) -> Pair:
    """Make steps in the box, each row until an entry of it has moved by eps -> x' (n, d) and their numbers (n,)."""
    out, taken = start.clone(), torch.zeros(len(x), dtype=torch.long, device=x.device)
    going = torch.arange(len(x), device=x.device)  # rows still below eps
    for _ in range(int(adversary.steps)):
        going = going[(out[going] - x[going]).abs_().amax(1) < adversary.eps]
        if not len(going):
            break
        adv = out[going]
        adv.add_(direction(run, adv, one_hot[going]), alpha=adversary.step_size)
        out[going] = torch.clamp(adv, *box)
        taken[going] += 1
    return out, taken
