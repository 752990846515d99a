"""ECCo: counterfactuals z of a factual x by gradient descent on a loss, a distance and an energy [Altmeyer 2024]:
CE(f(z), t) + l1 ||z - x||_1 + energy (-f_t(z) + reg f_t(z)^2), f the logits, t the target class, no conformal term.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.attacks._loops import Pair, blocks, prepare, start_from
from robexpl.checks import Bounds
from robexpl.gradients import Vjp, refuse_infinite
from robexpl.progress import bar

STOPS = ("decision_threshold", "generator_conditions")
BLOCK = 100_000  # numbers per block of rows: keeps memory constant and the working set near the processor


@dataclass(frozen=True)
class Settings:
    """Settings of a search; raises ValueError for a number out of range.
    >>> Settings(energy=0.1).l1
    0.01
    """

    l1: float = 0.01  # weight of the distance
    energy: float = 0.5  # weight of the energy, which is least at the target logit 1 / (2 reg)
    reg: float = 0.1
    learning_rate: float = 0.1
    steps: int = 1000
    start_noise: float = 0.1  # standard deviation of the noise added to the factual
    threshold: float = 0.5  # target probability that both stops ask for
    tolerance: float = 0.01  # largest component of a gradient that counts as stationary
    proximal: bool = False  # soft-threshold the distance term

    def __post_init__(self) -> None:
        checks.refuse_type("proximal", self.proximal, bool)
        for name in [field.name for field in fields(self) if field.name != "proximal"]:
            check = checks.positive if name in ("learning_rate", "tolerance", "threshold") else checks.non_negative
            object.__setattr__(self, name, check(**{name: getattr(self, name)}))
        line = f"expected threshold between 0 and 1, got {self.threshold}"
        checks.refuse_unless(self.threshold < 1, line)


@dataclass(frozen=True)
class Counterfactuals:
    """Result of a search, one row per factual; `gradient_max` is, for proximal steps, that of the gradient mapping."""

    x: Tensor  # (n, d), the counterfactuals
    steps: Tensor  # (n,), descent steps made
    converged: Tensor  # (n,), whether the stop was met
    target_prob: Tensor  # (n,), probability of the target class
    target_logit: Tensor  # (n,)
    gradient_max: Tensor  # (n,), largest component of the objective's gradient


def search(
    model: nn.Module, x: Tensor, target: Tensor, *, settings: Settings, stop: str, bounds: Bounds,
    generator: torch.Generator | None = None, start: Tensor | None = None, labels: Tensor | None = None,
    penalty: Callable[[Tensor], Tensor] | None = None,
) -> Counterfactuals:  # fmt: skip
    """Search a counterfactual of class target (n,) for each factual x (n, d), every row on its own, inside `bounds`.
    Starts at `start` or x + start_noise N(0, I) from `generator`. A row stops where its target probability reaches
    `threshold` and, by "generator_conditions", each component of the gradient is below `tolerance`: checked before each
    of at most `steps` steps. `labels`, if given, must differ from `target`. `penalty` maps logits (n, classes) to the
    gradient, with respect to them, of one more term of the objective. Raises ValueError for NaN, shapes that do not
    fit, factuals outside the box and an unknown stop.
    >>> how = {"settings": Settings(start_noise=0), "stop": "decision_threshold", "bounds": (0, 1)}
    >>> search(nn.Identity(), torch.tensor([[0.6, 0.4]]), torch.tensor([1]), **how).steps
    tensor([2])
    """
    checks.one_of("stop", stop, STOPS)
    checks.refuse_type("settings", settings, Settings)
    run, one_hot, box = prepare(model, x, target, bounds, "target")
    most, largest = max(*asdict(settings).values(), settings.learning_rate * settings.l1), torch.finfo(x.dtype).max
    checks.refuse_unless(most <= largest, f"expected settings that {x.dtype} can hold, got {most:g}")
    same = 0 if labels is None else int((checks.labels(labels, len(x)) == one_hot.argmax(1)).sum())
    checks.refuse_unless(not same, f"expected targets that differ from the factuals' classes, got {same} that do not")
    start = start_from(x, settings.start_noise, generator, start)
    run = run if penalty is None else _penalised(run, penalty)
    rows = bar(blocks(max(1, BLOCK // x.shape[1]), x, start, one_hot), desc="counterfactuals")
    parts = [_descend(run, *part, settings, stop, box) for part in rows]
    return Counterfactuals(*(torch.cat(column) for column in zip(*parts, strict=True)))


def gradient(run: Vjp, z: Tensor, one_hot: Tensor, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient of the smooth part (n, d), the target probability (n,) and the target logit (n,).
    With respect to the logits it is softmax(f) - e_t + energy (2 reg f_t - 1) e_t, with 1 - p_t as the sum of the other
    probabilities, which is exact where p_t rounds to 1.
    """
    logits, pull = run(z)
    probabilities = torch.softmax(logits, 1)
    target_logit = (logits * one_hot).sum(1)  # (n,)
    own = probabilities * one_hot
    others = probabilities.sub_(own)
    slope = settings.energy * (2 * settings.reg * target_logit - 1) - others.sum(1)  # (n,)
    result = pull(torch.addcmul(others, slope[:, None], one_hot))
    refuse_infinite("gradients", result)
    return result, own.sum(1), target_logit


def _penalised(run: Vjp, penalty: Callable[[Tensor], Tensor]) -> Vjp:
    """Return a function as `run` whose pullback adds the gradient of a penalty of the logits."""

    def both(z: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        logits, pull = run(z)
        more = penalty(logits)  # before the logits' memory is used again
        return logits, lambda v: pull(v + more)

    return both


def _descend(run: Vjp, x: Tensor, z: Tensor, one_hot: Tensor, how: Settings, stop: str, box: Pair) -> list[Tensor]:
    kinds = (torch.long, torch.bool, x.dtype, x.dtype, x.dtype)
    found = [torch.empty_like(x), *(x.new_empty(len(x), dtype=kind) for kind in kinds)]  # as in Counterfactuals
    rows = torch.arange(len(x), device=x.device)  # still searching
    for step in range(int(how.steps) + 1):
        slope, prob, logit = gradient(run, z, one_hot, how)
        if how.proximal:  # the proximal map of a ||.||_1 is the soft threshold sign(u) max(|u| - a, 0)
            gap = z - how.learning_rate * slope - x
            gap = gap.sign() * (gap.abs() - how.learning_rate * how.l1).clamp_(min=0)
            moved = torch.clamp(gap + x, *box)
            component = (z - moved).abs_().amax(1) / how.learning_rate
        else:
            slope.add_((z - x).sign_(), alpha=how.l1)
            moved = torch.sub(z, slope, alpha=how.learning_rate).clamp_(*box)
            component = slope.abs().amax(1)
        done = prob >= how.threshold
        if stop == "generator_conditions":
            done &= component < how.tolerance
        ends = torch.ones_like(done) if step == how.steps else done
        if ends.any():
            for kept, values in zip(found, (z, torch.full_like(rows, step), done, prob, logit, component), strict=True):
                kept[rows[ends]] = values[ends]
            if ends.all():
                break
            rows, x, one_hot, moved = (part[~ends] for part in (rows, x, one_hot, moved))
        z = moved
    return found
