"""ECCo: faithful counterfactuals by gradient descent on a classification loss, a distance and an energy.

The search minimises, for a factual x and a target class t [Altmeyer 2024, without the conformal term],

    CE(f(z), t) + l1 ||z - x||_1 + energy (-f_t(z) + reg f_t(z)^2),        f the logits.

The energy term is least at the target logit f_t = 1 / (2 reg).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.attacks import start_points
from robexpl.checks import Bounds
from robexpl.gradients import Vjp, vjp
from robexpl.progress import bar

STOPS = ("decision_threshold", "generator_conditions")
BLOCK = 100_000  # numbers per block of rows: keeps memory constant and the working set near the processor


@dataclass(frozen=True)
class Settings:
    """Settings of a search.

    l1, energy: weights of distance and energy; reg: curvature of the energy; learning_rate and steps of the descent;
    start_noise: standard deviation of the noise added to the factual; threshold: target probability both stops ask for;
    tolerance: largest gradient component that counts as stationary; proximal: soft-threshold the distance term.
    """

    l1: float = 0.01
    energy: float = 0.5
    reg: float = 0.1
    learning_rate: float = 0.1
    steps: int = 1000
    start_noise: float = 0.1
    threshold: float = 0.5
    tolerance: float = 0.01
    proximal: bool = False

    def __post_init__(self) -> None:
        checks.non_negative(
            l1=self.l1, energy=self.energy, reg=self.reg, steps=self.steps, start_noise=self.start_noise
        )
        checks.positive(learning_rate=self.learning_rate, tolerance=self.tolerance)
        checks.refuse_type("proximal", self.proximal, bool)
        checks.refuse_type("threshold", self.threshold, (float, int))
        if not 0 < self.threshold < 1:
            raise ValueError(f"expected threshold between 0 and 1, got {self.threshold}")


@dataclass(frozen=True)
class Counterfactuals:
    """Result of a search, one row per factual.

    x (n, d): the counterfactuals; steps (n,): descent steps made; converged (n,): whether the stop was met;
    target_prob (n,): probability of the target class; target_logit (n,); gradient_max (n,): largest component of the
    objective's gradient, for proximal steps of the gradient mapping.
    """

    x: Tensor
    steps: Tensor
    converged: Tensor
    target_prob: Tensor
    target_logit: Tensor
    gradient_max: Tensor


def search(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    settings: Settings,
    stop: str,
    bounds: Bounds,
    generator: torch.Generator | None = None,
    start: Tensor | None = None,
    labels: Tensor | None = None,
) -> Counterfactuals:
    """Search a counterfactual of class target (n,) for each factual x (n, d), every row on its own.

    Descent starts at x + start_noise N(0, I) from `generator`, or at `start`; each step is followed by a clamp to the
    box `bounds`. "decision_threshold" stops a row at the first point whose target probability reaches `threshold`;
    "generator_conditions" asks besides that every component of the gradient is below `tolerance`. Both are checked
    before each step, and a row that never meets its stop ends after `steps` steps; one that meets it at once stays
    where it started, noise included. `labels`, if given, must differ from `target`.
    """
    checks.one_of("stop", stop, STOPS)
    checks.refuse_type("settings", settings, Settings)
    checks.refuse_type("generator", generator, (torch.Generator, type(None)))
    checks.refuse_type("start", start, (Tensor, type(None)))
    checks.points(x)
    checks.labels(target, len(x), what="target")
    low, high = checks.box(bounds, x)
    checks.refuse_outside("x", x, low, high)
    if labels is not None and (same := int((checks.labels(labels, len(x)) == target).sum())):
        raise ValueError(f"expected targets that differ from the factuals' classes, got {same} that do not")
    if start is None:
        if settings.start_noise and generator is None:
            raise ValueError("expected a torch.Generator or explicit starting points, got neither")
        start = start_points(x, settings.start_noise, generator) if settings.start_noise else x
    elif start.shape != x.shape:
        raise ValueError(f"expected start of shape {tuple(x.shape)}, got {tuple(start.shape)}")
    checks.refuse_numbers("start", start, x)
    checks.refuse_model(model, x)
    run = vjp(model)
    checks.labels(target, len(x), run(x[:1])[0].shape[1], what="target")
    size = max(1, BLOCK // max(x.shape[1], 1))  # rows
    parts = [
        _descend(run, x[i : i + size], start[i : i + size], target[i : i + size], settings, stop, low, high)
        for i in bar(range(0, max(len(x), 1), size), desc="counterfactuals")
    ]
    return Counterfactuals(*(torch.cat(column) for column in zip(*parts, strict=True)))


def gradient(run: Vjp, z: Tensor, one_hot: Tensor, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient of the smooth part (n, d), the target probability (n,) and the target logit (n,).

    With respect to the logits it is softmax(f) - e_t + energy (2 reg f_t - 1) e_t.
    """
    logits, pull = run(z)
    probabilities = torch.softmax(logits, 1)
    target_logit = (logits * one_hot).sum(1)  # (n,)
    target_prob = (probabilities * one_hot).sum(1)
    slope = settings.energy * (2 * settings.reg * target_logit - 1) - 1  # (n,)
    return pull(probabilities + slope[:, None] * one_hot), target_prob, target_logit


def _descend(run, x, z, target, settings: Settings, stop: str, low, high) -> tuple[Tensor, ...]:
    n, z, rate, l1 = len(x), z.clone(), settings.learning_rate, settings.l1
    classes = run(x[:1])[0].shape[1]
    one_hot = nn.functional.one_hot(target.long(), classes).to(x.dtype)
    final = torch.empty_like(x)
    steps = torch.zeros(n, dtype=torch.long, device=x.device)
    converged = torch.zeros(n, dtype=torch.bool, device=x.device)
    prob, logit, largest = (torch.empty(n, dtype=x.dtype, device=x.device) for _ in range(3))
    rows = torch.arange(n, device=x.device)  # rows still searching
    for step in range(int(settings.steps) + 1):
        slope, target_prob, target_logit = gradient(run, z, one_hot, settings)
        if settings.proximal:
            moved = torch.clamp(_shrink(z - rate * slope - x, rate * l1) + x, low, high)
            component = (z - moved).abs_().amax(1) / rate if z.shape[1] else target_prob.new_zeros(len(z))
        else:
            slope.add_((z - x).sign_(), alpha=l1)
            component = slope.abs().amax(1)
        done = target_prob >= settings.threshold
        if stop == "generator_conditions":
            done &= component < settings.tolerance
        ends = torch.ones_like(done) if step == settings.steps else done
        if ends.any():
            at = rows[ends]
            final[at], steps[at], converged[at] = z[ends], step, done[ends]
            prob[at], logit[at], largest[at] = target_prob[ends], target_logit[ends], component[ends]
            if ends.all():
                break
            keep = ~ends
            rows, x, one_hot = rows[keep], x[keep], one_hot[keep]
            z, slope = z[keep], slope[keep]
            moved = moved[keep] if settings.proximal else None
        z = moved if settings.proximal else torch.clamp(z.sub_(slope, alpha=rate), low, high)
    return final, steps, converged, prob, logit, largest


def _shrink(difference: Tensor, by: float) -> Tensor:
    """Soft-threshold: sign(u) max(|u| - by, 0), the proximal map of by ||.||_1."""
    return difference.sign() * (difference.abs() - by).clamp_(min=0)
