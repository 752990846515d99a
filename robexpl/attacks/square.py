"""The Square attack: random search that asks a model for its answers and never for gradients."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.attacks._loops import Pair, ball, blocks, lead
from robexpl.checks import Bounds
from robexpl.gradients import plainly, refuse_infinite

FIRST = 0.8  # share of the inputs that the first square covers
HALVED = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # parts of the search at which that share is halved
TOGETHER = 1024  # rows that are searched together
Ask = Callable[[Tensor], Tensor]


def square(
    model: nn.Module, x: Tensor, y: Tensor, *, eps: float, bounds: Bounds, generator: torch.Generator,
    steps: int = 1000, image_shape: tuple[int, int] | None = None,
) -> Tensor:  # fmt: skip
    """Perturb x (n, d) by random search: a change is kept where max_{j != y} f_j - f_y rises [Andriushchenko 2020].
    The first of `steps` queries moves every column of an image by eps up or down at random, each other one a random
    square of it to one side, the smaller the later. Where d is no square number and no `image_shape` is given, columns
    are single inputs and squares random sets of inputs. A row ends where its class has changed. The model needs no
    gradients. Units, bounds and errors are those of `fgsm`.
    >>> how = {"eps": 0.1, "bounds": (0, 1), "generator": torch.Generator().manual_seed(0), "steps": 20}
    >>> square(nn.Identity(), torch.full((1, 2), 0.5), torch.tensor([0]), **how)
    tensor([[0.4000, 0.6000]])
    """
    eps, steps = checks.non_negative(eps=eps, steps=steps)
    checks.refuse_type("generator", generator, torch.Generator)
    checks.points(x)
    box = checks.box(bounds, x)
    checks.refuse_outside("x", x, *box)
    checks.refuse_model(model, x, gradients=False)
    ask = plainly(torch.no_grad()(model))
    y = checks.labels(y, len(x), classes := ask(x[:1]).shape[1])
    if image_shape:
        height, width = checks.image_shape(image_shape)
        line = f"expected image_shape of {x.shape[1]} pixels, got {(height, width)}"
        checks.refuse_unless(height * width == x.shape[1], line)
    parts = blocks(TOGETHER, x, nn.functional.one_hot(y, classes).to(x.dtype))
    return torch.cat([search(ask, *part, eps, box, steps, generator, image_shape)[0] for part in parts])


def search(
    ask: Ask, x: Tensor, one_hot: Tensor, eps: float, box: Pair, steps: int, generator: torch.Generator,
    image_shape: tuple[int, int] | None = None, rows: Tensor | None = None,
) -> Pair:  # fmt: skip
    """Return the best points found (n, d), x itself where it has another class already, and by how much another leads
    (n,); only of some `rows`, where they are given, which are searched as they would be among all.
    """
    (n, d), side = x.shape, math.isqrt(x.shape[1])
    shape = image_shape or ((side, side) if side * side == d else None)
    width = shape[1] if shape else d
    sides = ball(x, min(eps, torch.finfo(x.dtype).max), box)
    chosen = torch.arange(n, device=x.device) if rows is None else rows
    best, height = x.clone(), _asked(ask, x, one_hot)
    rows = chosen[height[chosen] <= 0]
    for step in range(steps if n else 0):
        if not len(rows):
            break
        low, high = (part[rows] for part in sides)
        if step:
            inside, corner = _square(shape, d, FIRST / 2 ** sum(step > part * steps for part in HALVED), n, generator)
            inside, corner = (part.to(x.device)[rows] for part in (inside, corner))
            at, bottom, top = (part.gather(1, corner) for part in (best[rows], low, high))  # where its corner is not
            new = torch.where(inside, torch.where(at - bottom < top - at, high, low), best[rows])
        else:
            up = torch.rand(n, 1, width, generator=generator, device=generator.device).to(x.device) < 0.5
            new = torch.where(up.expand(n, d // width, width).reshape(n, d)[rows], high, low)
        found = _asked(ask, new, one_hot[rows])
        better = (found > height[rows]) | (step == 0)
        best[rows[better]], height[rows[better]] = new[better], found[better]
        rows = rows[height[rows] <= 0]
    return best[chosen], height[chosen]


def _asked(ask: Ask, x: Tensor, one_hot: Tensor) -> Tensor:
    logits = ask(x)
    refuse_infinite("logits", logits)
    return lead(logits, one_hot)


def _square(shape: tuple[int, int] | None, d: int, share: float, n: int, generator: torch.Generator) -> Pair:
    """Draw for each of n rows a square of that share of the inputs: which it holds (n, d), and one of them (n, 1).
    It is drawn for every row, so that no row's changes depend on what became of the others.
    """
    if shape is None:
        order = torch.rand(n, d, generator=generator, device=generator.device).argsort(1)
        return order < max(1, round(share * d)), order.argmin(1, keepdim=True)
    edge = min(max(1, round(math.sqrt(share * d))), *shape)
    drawn = torch.rand(2, n, generator=generator, device=generator.device)
    last = torch.tensor(shape, device=drawn.device)[:, None] - edge
    first = torch.minimum((drawn * (last + 1)).long(), last)[:, :, None]  # (2, n, 1)
    across, down = (torch.arange(length, device=drawn.device) for length in shape)
    of_row, of_column = ((at >= start) & (at < start + edge) for at, start in zip((across, down), first, strict=True))
    return (of_row[:, :, None] & of_column[:, None, :]).flatten(1), first[0] * shape[1] + first[1]
