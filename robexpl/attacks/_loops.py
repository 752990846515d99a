"""What attacks share: checks, starting points and loops of steps along sign(grad_x CE(f, y))."""

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.checks import Bounds
from robexpl.gradients import Vjp, refuse_infinite, telling, vjp
from robexpl.regimes import Adversary

BLOCK = 256  # rows per block: activations and perturbations of a block stay in the processor's cache
Pair = tuple[Tensor, Tensor]


def prepare(model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, what: str = "labels") -> tuple[Vjp, Tensor, Pair]:
    """Check what an attack or a search is given; return the model's vjp, y one-hot (n, classes) and the box."""
    checks.points(x)
    box = checks.box(bounds, x)
    checks.refuse_outside("x", x, *box)
    tried = telling(x)
    checks.refuse_model(model, tried)
    run = vjp(model, tried=tried)
    classes = run(x[:1])[0].shape[1]
    y = checks.labels(y, len(x), classes, what)
    return run, nn.functional.one_hot(y, classes).to(x.dtype), box


def start_from(x: Tensor, scale: float, generator: torch.Generator | None, start: Tensor | None) -> Tensor:
    """Check and return the given starting points, or draw them by `start_points`; x itself for scale 0."""
    checks.refuse_type("generator", generator, (torch.Generator, type(None)))
    given = start is not None or generator is not None or not scale
    checks.refuse_unless(given, "expected a torch.Generator or explicit starting points, got neither")
    if start is None:
        return start_points(x, scale, generator) if scale else x
    checks.refuse_gradients("start", start)
    checks.refuse_numbers("start", start, x)
    line = f"expected start of shape {tuple(x.shape)}, got {tuple(start.shape)}"
    checks.refuse_unless(start.shape == x.shape, line)
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


def ball(x: Tensor, eps: float, box: Pair) -> Pair:
    """Return the lowest and highest points of the box with |x' - x|_inf <= eps; in half precision rounded inwards."""
    sides = [x - eps, x + eps]
    if x.dtype.itemsize < 4:
        about = torch.finfo(x.dtype)
        for i, (sign, nearer) in enumerate(((-1, torch.minimum), (1, torch.maximum))):
            exact = x.double() + sign * eps
            unit = exact.abs() * about.eps + about.smallest_normal * about.eps  # at least the last digit's
            inner = nearer((exact - sign * unit).to(x.dtype), x)
            sides[i] = torch.where((sides[i].double() - exact) * sign > 0, inner, sides[i])
    low, high = (torch.clamp(side, *box) for side in sides)
    return low, high


def jump(x: Tensor, signs: Tensor, eps: float, box: Pair) -> Tensor:
    """Return x + eps signs, brought into the box; in half precision into the ball as well. Overwrites the signs."""
    eps = min(eps, torch.finfo(x.dtype).max)
    return torch.clamp(x + signs.mul_(eps), *(ball(x, eps, box) if x.dtype.itemsize < 4 else box))


def direction(run: Vjp, x: Tensor, one_hot: Tensor, rounded: bool = False) -> Tensor:
    """Return sign(grad_x CE(f(x), y)), shape (n, d).
    With respect to the logits the gradient is softmax(f) - e_y = (1 - p_y) (q - e_y), q the softmax over the other
    classes: q - e_y has the same signs and keeps them where p_y rounds to 1, whatever the scale of the logits.
    `rounded` takes softmax(f) - e_y as it is, of which rounding leaves nothing there, or the other classes alone.
    """
    logits, pull = run(x)
    away = 0.0 if rounded else torch.finfo(x.dtype).max  # leaves the class no weight in the softmax
    gradient = pull(torch.softmax(torch.sub(logits, one_hot, alpha=away), 1).sub_(one_hot))
    refuse_infinite("gradients", gradient)
    return gradient.sign_()


def lead(logits: Tensor, one_hot: Tensor) -> Tensor:
    """Return max_{j != y} f_j - f_y less what rounding may add to it, shape (n,): above 0 where y has surely lost.
    >>> lead(torch.tensor([[2.0, 3.5], [4.0, 4.0]]), torch.eye(2)).sign()
    tensor([ 1., -1.])
    """
    about = torch.finfo(logits.dtype)
    others = torch.sub(logits, one_hot, alpha=about.max).amax(1)
    return others - (logits * one_hot).sum(1) - 8 * about.eps * logits.abs().amax(1)


def ascend(
    run: Vjp, x: Tensor, one_hot: Tensor, start: Tensor, adversary: Adversary, box: Pair,
    early_stop: str | bool = False, rounded: bool = False,
) -> Pair:  # fmt: skip
    """Make steps from `start`, each projected onto the ball |x' - x|_inf <= eps and the box -> x' (n, d), steps (n,).
    With an early stop onto the box alone, until an entry of the row ("example") or array ("batch") has moved by eps.
    """
    largest, steps = torch.finfo(x.dtype).max, int(adversary.steps)
    eps, size = (min(float(number), largest) for number in (adversary.eps, adversary.step_size))
    low, high = box if early_stop else ball(x, eps, box)
    adv, out, taken = torch.clamp(start, low, high), torch.empty_like(x), torch.full((len(x),), steps, device=x.device)
    rows, bound = torch.arange(len(x), device=x.device), torch.inf  # rows still below eps, and their largest move
    for step in range(steps):
        if early_stop and len(rows) and not bound < eps - 1e-5:
            moved = (adv - x).abs_().amax(1)
            if early_stop == "batch":  # no entry moves by more than a step: measured again only where that may decide
                moved = moved.max().double().expand(len(x))
                bound = float(moved[0])
            ends = ~(moved < eps)
            if ends.any():
                out[rows[ends]], taken[rows[ends]] = adv[ends], step
                rows, adv, x, one_hot = (part[~ends] for part in (rows, adv, x, one_hot))
                if not len(rows):
                    break
        adv.add_(direction(run, adv, one_hot, rounded), alpha=size)
        torch.clamp(adv, low, high, out=adv)
        bound += size
    out[rows] = adv
    return out, taken
