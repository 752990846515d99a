"""The strongest of several attacks on each row: what is left of accuracy under it is at most this."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.attacks._loops import Pair, ball, blocks, lead, prepare
from robexpl.attacks.square import search
from robexpl.checks import Bounds
from robexpl.gradients import Vjp, refuse_infinite
from robexpl.progress import bar
from robexpl.seeds import torch_generator

# The parts, in the order in which they are tried, each as often as it has restarts: so many steps, the first of so many
# radii, in a ball that is at first so many times as wide. The slope of a network bends often within a ball: many short
# climbs from random points find more than a few long ones, fine steps others than coarse ones, the end of a climb is a
# good place to begin another, and a wide ball leads out of regions where no unit responds and the slope is zero.
COARSE, FINE, LONG = (20, 2.0, 1), (40, 0.25, 1), (100, 0.25, 1)
PARTS = {
    "cross_entropy": ((40, 2.0, 1),), "margin": ((40, 2.0, 1), (40, 0.5, 1)), "targets": (COARSE, FINE, FINE, LONG),
    "shrinking": ((60, 0.5, 3), (60, 0.5, 5)), "polish": ((100, 0.1, 1),) * 20, "square": ((1000, 2.0, 1),),
}  # fmt: skip
LAST, MOMENTUM, REDRAWN = 0.01, 0.75, 0.1  # the last step, of the first; of the gradients before; inputs, by a polish
SHRUNK = 0.7  # of the steps, after which a wide ball has the radius asked for
NAMES = ("none", "clean", *PARTS)  # what changed a row's class: no part, or it was another one from the beginning
TARGETS = 9  # climbs towards other classes of each restart, the likeliest first; fewer classes are aimed at repeatedly
TOGETHER = 1024  # rows that are attacked together


@dataclass(frozen=True)
class Details:
    """What the attacks found: points x (n, d); part (n,), the place in NAMES of what changed the class; lead (n,),
    max_{j != y} f_j - f_y at x less what rounding may add, above 0 where the class has surely changed.
    """

    x: Tensor
    part: Tensor
    lead: Tensor


def worst_case(
    model: nn.Module, x: Tensor, y: Tensor, *, eps: float, bounds: Bounds, generator: torch.Generator
) -> Tensor:
    """Perturb x (n, d) by the strongest of several attacks per row, with nothing to choose; see `details`.
    Units, bounds and errors are those of `fgsm`.
    >>> how = {"eps": 0.1, "bounds": (0, 1), "generator": torch.Generator().manual_seed(0)}
    >>> worst_case(nn.Identity(), torch.full((1, 2), 0.5), torch.tensor([0]), **how)
    tensor([[0.4000, 0.6000]])
    """
    return details(model, x, y, eps=eps, bounds=bounds, generator=generator).x


def details(
    model: nn.Module, x: Tensor, y: Tensor, *, eps: float, bounds: Bounds, generator: torch.Generator,
    parts: Sequence[str] = tuple(PARTS),
) -> Details:  # fmt: skip
    """Attack each row until its class changes, and keep the point where another class leads by most.
    A row of another class than y from the beginning stays as it is. Five parts climb by signs of gradients with
    momentum, v_{t+1} = 0.75 v_t + g_t / mean |g_t|, g_t = grad_x L(x_t), in steps that shrink to a hundredth,
    x_{t+1} = P(x_t + s eps 0.01^(t / T) sign(v_{t+1})), P the projection onto ball and box: cross_entropy, from x
    itself [Madry 2018]; the others from random points of the ball: margin, L = max_{j != y} f_j - f_y [Carlini 2017];
    targets, L = f_t - f_y for every other class t, the likeliest first [Croce 2020]; shrinking, the same in a ball that
    is wider at first; polish, the margin from the best point so far, first as it is, then with a tenth of its inputs
    drawn anew. square [Andriushchenko 2020] asks for no gradients and would find what masked ones hide. Random numbers
    do not depend on what became of other rows or parts: all together change every row that one of them but polish
    changes alone.
    >>> how = {"eps": 0.1, "bounds": (0, 1), "generator": torch.Generator().manual_seed(0)}
    >>> found = details(nn.Identity(), torch.tensor([[0.5, 0.4], [0.9, 0.2]]), torch.tensor([0, 0]), **how)
    >>> [NAMES[part] for part in found.part]
    ['cross_entropy', 'none']
    """
    eps = checks.non_negative(eps=eps)
    checks.refuse_type("generator", generator, torch.Generator)
    tries = [(name, *one) for name in parts for one in enumerate(PARTS[checks.one_of("part", name, PARTS)])]
    run, one_hot, box = prepare(model, x, y, bounds)
    size, found = min(eps, torch.finfo(x.dtype).max / 64), []
    cut = blocks(TOGETHER, x, one_hot)
    seeds = torch.randint(2**62, (len(cut),), generator=generator, device=generator.device).tolist()
    for (part, to), seed in zip(cut, bar(seeds, desc="worst case"), strict=True):
        found.append(_block(run, part, to, size, box, tries if eps else (), seed))
    return Details(*map(torch.cat, zip(*found, strict=True)))


def _block(run: Vjp, x: Tensor, one_hot: Tensor, eps: float, box: Pair, tries: Sequence, seed: int) -> tuple:
    """Attack a block of rows by one try after the other, (part, restart, steps) -> points, parts and leads."""
    logits = run(x)[0].clone()
    best, height = x.clone(), lead(logits, one_hot)
    part = torch.full((len(x),), NAMES.index("none"), device=x.device)
    part[height > 0] = NAMES.index("clean")
    likeliest = torch.sub(logits, one_hot, alpha=torch.finfo(x.dtype).max).argsort(1, descending=True)
    for name, restart, (steps, size, wide) in tries:
        for number in range(TARGETS if name in ("targets", "shrinking") else 1):
            rows = (height <= 0).nonzero().flatten()
            if not len(rows):
                break
            generator = torch_generator(seed, name, restart, number)
            if name == "square":
                new, found = search(lambda points: run(points)[0], x, one_hot, eps, box, steps, generator, rows=rows)
            else:
                noise = 2 * torch.rand(x.shape, generator=generator, dtype=x.dtype).to(x.device)[rows] - 1
                start = x[rows] if name == "cross_entropy" else x[rows] + wide * eps * noise
                if name == "polish":
                    anew = torch.rand(x.shape, generator=generator).to(x.device)[rows] < (REDRAWN if restart else 0)
                    start = torch.where(anew, start, best[rows])
                aim = nn.functional.one_hot(likeliest[rows, number % (logits.shape[1] - 1)], one_hot.shape[1]).to(
                    x.dtype
                )
                new, found = _climb(run, x[rows], one_hot[rows], start, name, aim, eps, box, steps, size, wide)
            better = found > height[rows]
            best[rows[better]], height[rows[better]] = new[better], found[better]
            part[rows[found > 0]] = NAMES.index(name)
    return best, part, height


def _climb(
    run: Vjp, x: Tensor, one_hot: Tensor, start: Tensor, name: str, aim: Tensor, eps: float, box: Pair, steps: int,
    size: float, wide: int,
) -> Pair:  # fmt: skip
    """Climb from `start` until the class changes, and return the best points and their leads."""
    best, height, rows = x.clone(), x.new_full((len(x),), -torch.inf), torch.arange(len(x), device=x.device)
    here, speed = start, torch.zeros_like(x)
    for step in range(steps + 1):  # of the rows that still climb
        width = 1 + (wide - 1) * max(0.0, 1 - step / (SHRUNK * steps))
        low, high = ball(x, eps * width, box)
        here = torch.clamp(here, low, high)
        logits, pull = run(here)
        found = lead(logits, one_hot)
        if width == 1:
            better = found > height[rows]
            best[rows[better]], height[rows[better]] = here[better], found[better]
        slope = pull(_upwards(name, logits, one_hot, aim))
        refuse_infinite("gradients", slope)
        slope = slope / slope.abs().mean(1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        speed = MOMENTUM * speed + slope
        here = here + size * eps * LAST ** (step / steps) * speed.sign()
        left = height[rows] <= 0
        if int(left.sum()) < len(rows):
            rows, x, here, speed, one_hot, aim = (one[left] for one in (rows, x, here, speed, one_hot, aim))
        if not len(rows):
            break
    return best, height


def _upwards(name: str, logits: Tensor, one_hot: Tensor, aim: Tensor) -> Tensor:
    """Return dL/df (n, classes), for cross_entropy divided by 1 - p_y, as in `direction` of the other attacks."""
    if name in ("targets", "shrinking"):
        return aim - one_hot
    others = torch.sub(logits, one_hot, alpha=torch.finfo(logits.dtype).max)
    if name == "cross_entropy":
        return torch.softmax(others, 1).sub_(one_hot)
    return nn.functional.one_hot(others.argmax(1), logits.shape[1]).to(logits.dtype).sub_(one_hot)
