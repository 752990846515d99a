"""Gradient-based attacks in the maximum norm: FGSM and PGD, with projection or with an early stop.

Every attack ascends the cross-entropy of the true class. Its gradient with respect to the logits is softmax(f) - e_y.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.checks import Bounds
from robexpl.gradients import Vjp, vjp

EARLY_STOPS = ("example", "batch", False)
BLOCK = 256  # rows per block: activations and perturbations of a block stay in the processor's cache


def fgsm(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, bounds: Bounds) -> Tensor:
    """Perturb x (n, d) by one signed-gradient step: x' = clamp(x + eps sign(grad_x L(f(x), y))) [Goodfellow 2015].

    y (n,) holds the true classes; eps is in input units; bounds = (low, high), numbers or of shape (d,).
    """
    checks.non_negative(eps=eps)
    run, one_hot, low, high = _prepare(model, x, y, bounds)
    out = torch.empty_like(x)
    for i in range(0, len(x), BLOCK):
        rows = slice(i, i + BLOCK)
        step = _ascent_direction(run, x[rows], one_hot[rows]).mul_(eps)
        torch.clamp(x[rows] + step, low, high, out=out[rows])
    return out


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    step_size: float,
    steps: int,
    bounds: Bounds,
    generator: torch.Generator | None = None,
    early_stop: str | bool = False,
    start: Tensor | None = None,
) -> Tensor:
    """Perturb x (n, d) by signed-gradient steps x_{t+1} = P(x_t + step_size sign(grad_x L(f(x_t), y))) [Madry 2018].

    The start is x + step_size N(0, I), drawn from `generator`, or `start` if given. With `early_stop=False` P projects
    onto the intersection of the ball |x' - x|_inf <= eps and the box. With "example" or "batch" P clamps to the box
    alone, and the steps end as soon as the largest perturbation, of the example or of the array, reaches eps: most
    points then stay well inside the ball, and the last step may leave it by at most step_size.
    """
    return pgd_with_steps(
        model,
        x,
        y,
        eps=eps,
        step_size=step_size,
        steps=steps,
        bounds=bounds,
        generator=generator,
        early_stop=early_stop,
        start=start,
    )[0]


def pgd_with_steps(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    step_size: float,
    steps: int,
    bounds: Bounds,
    generator: torch.Generator | None = None,
    early_stop: str | bool = False,
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run `pgd` and also return how many steps each example took, shape (n,)."""
    checks.refuse_type("early_stop", early_stop, (str, bool))
    if early_stop not in EARLY_STOPS or early_stop is True:
        raise ValueError(f"expected early_stop to be one of {EARLY_STOPS}, got {early_stop!r}")
    checks.non_negative(eps=eps, steps=steps)
    checks.positive(step_size=step_size)
    checks.refuse_type("generator", generator, (torch.Generator, type(None)))
    checks.refuse_type("start", start, (Tensor, type(None)))
    run, one_hot, low, high = _prepare(model, x, y, bounds)
    if start is None:
        if generator is None:
            raise ValueError("expected a torch.Generator or explicit starting points, got neither")
        start = start_points(x, step_size, generator)
    elif start.shape != x.shape:
        raise ValueError(f"expected start of shape {tuple(x.shape)}, got {tuple(start.shape)}")
    checks.refuse_numbers("start", start, x)
    start = torch.clamp(start, low, high)
    if early_stop == "batch":
        return ascend_until(run, x, one_hot, start, eps, step_size, steps, low, high)
    out, taken = torch.empty_like(x), torch.full((len(x),), int(steps), device=x.device)
    for i in range(0, len(x), BLOCK):
        rows = slice(i, i + BLOCK)
        if early_stop:
            out[rows], taken[rows] = _ascend_each(
                run, x[rows], one_hot[rows], start[rows], eps, step_size, steps, low, high
            )
        else:
            out[rows] = ascend_within(run, x[rows], one_hot[rows], start[rows], eps, step_size, steps, low, high)
    return out, taken


def start_points(x: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Return x + scale N(0, I), drawn on the generator's device so that every device sees the same noise."""
    noise = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
    return noise.to(x.device).mul_(scale).add_(x)


def ascend_within(
    run: Vjp,
    x: Tensor,
    one_hot: Tensor,
    start: Tensor,
    eps: float,
    step_size: float,
    steps: int,
    low: Tensor,
    high: Tensor,
) -> Tensor:
    """Make `steps` projected signed-gradient steps from `start` (the inner loop of `pgd`, nothing checked)."""
    lower, upper = torch.clamp(x - eps, low, high), torch.clamp(x + eps, low, high)  # ball and box in one
    adv = torch.clamp(start, lower, upper)
    for _ in range(int(steps)):
        adv.add_(_ascent_direction(run, adv, one_hot), alpha=step_size)
        torch.clamp(adv, lower, upper, out=adv)
    return adv


def ascend_until(
    run: Vjp,
    x: Tensor,
    one_hot: Tensor,
    start: Tensor,
    eps: float,
    step_size: float,
    steps: int,
    low: Tensor,
    high: Tensor,
) -> tuple[Tensor, Tensor]:
    """Make signed-gradient steps until any entry of the whole array has moved by eps (nothing checked)."""
    adv, taken = start.clone(), 0
    moved = largest(adv - x)
    while taken < steps and moved < eps:
        adv.add_(_ascent_direction(run, adv, one_hot), alpha=step_size)
        torch.clamp(adv, low, high, out=adv)
        taken += 1
        # no entry moves by more than step_size: measure only where that bound does not decide
        moved = moved + step_size if moved + step_size < eps - 1e-5 else largest(adv - x)
    return adv, torch.full((len(x),), taken, device=x.device)


def largest(difference: Tensor) -> float:
    """Return the maximum norm of a whole array."""
    return float(torch.linalg.vector_norm(difference, torch.inf)) if difference.numel() else torch.inf


def _ascend_each(run, x, one_hot, start, eps, step_size, steps, low, high) -> tuple[Tensor, Tensor]:
    out, taken = start.clone(), torch.zeros(len(x), dtype=torch.long, device=x.device)
    going = torch.arange(len(x), device=x.device)  # rows still below eps
    for _ in range(int(steps)):
        going = going[(out[going] - x[going]).abs_().amax(1) < eps]
        if not len(going):
            break
        adv = out[going]
        adv.add_(_ascent_direction(run, adv, one_hot[going]), alpha=step_size)
        out[going] = torch.clamp(adv, low, high)
        taken[going] += 1
    return out, taken


def _ascent_direction(run: Vjp, x: Tensor, one_hot: Tensor) -> Tensor:
    """Return sign(grad_x CE(f(x), y)), shape (n, d)."""
    logits, pull = run(x)
    return pull(torch.softmax(logits, 1).sub_(one_hot)).sign_()


def _prepare(model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds) -> tuple[Vjp, Tensor, Tensor, Tensor]:
    checks.points(x)
    checks.labels(y, len(x))
    low, high = checks.box(bounds, x)
    checks.refuse_model(model, x)
    if len(x) and not ((x >= low) & (x <= high)).all():
        raise ValueError(f"expected x inside the bounds, got values from {x.min():g} to {x.max():g}")
    run = vjp(model)
    classes = run(x[:1])[0].shape[1]
    checks.labels(y, len(x), classes)
    return run, nn.functional.one_hot(y.long(), classes).to(x.dtype), low, high
