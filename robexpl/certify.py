"""Certificates of robustness in the maximum norm for perceptrons with one hidden layer, by branch and bound.

The margin of class y over class j of f(x) = V relu(h) + c, h = W x + b, is sum_i a_i relu(h_i) + c_y - c_j with a = V_y
- V_j. The ball |x' - x|_inf <= eps within the box of the data is a box, [m - r, m + r]. There each term is at least a
linear function [Wong & Kolter 2018; with split units, Wang et al. 2021]:
    a_i relu(h_i) >= s h_i              for any 0 <= s <= a_i, where a_i >= 0,
    a_i relu(h_i) >= a_i (t h_i + o)    where a_i < 0, with the chord t h + o >= relu(h) on the range of h_i,
    a_i relu(h_i)  = a_i h_i >= s h_i   for any s <= a_i, where h_i >= 0 is known, as s - a_i <= 0 is its multiplier,
    a_i relu(h_i)  = 0 >= s h_i         for any s >= 0, where h_i <= 0 is known.
So margin >= k + s h(x) >= k + s h(m) - |s W| r, concave in s and raised by projected ascent over s. Only terms with a_i
< 0 lose by it what no s can win back, so that nodes are split by the sign of such an h_i, where the chord loses most.

Rounding. Any s within its limits gives a bound, so that the ascent may run in single precision; what counts is the last
evaluation, in double precision, of unit roundoff u = 2^-53. That expression is a sum of monomials (k's parts, s_i b_i,
s_i W_ij m_j, and s_i W_ij r_j within absolute values, which never enlarge an error), and each passes through at most N
= d + 2 h + 32 operations, in whatever order sums are taken, with or without fused ones; the rounding of a, of the
chord's slope times a and of products is among the 32. So the error is at most g M with g = N u / (1 - N u) [Higham
2002, section 3.1] and M the sum of the monomials' absolute values; 2 g times M as computed covers M's own rounding. The
range of h_i is widened likewise, and o is raised until the chord lies above relu at both ends of that range, which is
enough for a convex function. The ball is widened by the rounding of attacks in the precision of x, before m and r.
"""

import heapq
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.attacks._loops import prepare
from robexpl.checks import Bounds
from robexpl.gradients import relu_layers
from robexpl.progress import bar

STEPS, RATE, WIDTH = 20, 0.25, 32  # of the ascent, in units of |a_i|; nodes that are bounded at once
ROUNDOFF = 2.0**-53
FREE, ACTIVE, INACTIVE, ALWAYS, NEVER = 0, 1, -1, 2, -2  # what is known of a unit: by a split, or in the whole ball
Nodes = tuple[Tensor, Tensor, Tensor]  # class (m,), what is known of each unit (m, h), slopes s to start from (m, h)
Entry = tuple[float, int, Tensor, Tensor, Tensor, int]  # bound, number, node and the unit to split it at


@dataclass(frozen=True)
class Certificates:
    """What is decided of each image; it is open where neither proven nor broken."""

    proven: Tensor  # (n,) bool, no point of the ball has another class
    broken: Tensor  # (n,) bool, `x` has another class, in double precision
    x: Tensor  # (n, d) float64, the point of the ball with the least margin that was found
    margin: Tensor  # (n,) float64, its margin, where the search for it ended
    bound: Tensor  # (n,) float64, what the margin is at least in the whole ball; -inf where it was not needed
    nodes: Tensor  # (n,) subproblems that were bounded


@dataclass(frozen=True)
class _Ball:
    """A network and the ball around one image, in double precision."""

    w: Tensor  # (h, d)
    b: Tensor  # (h,)
    v: Tensor  # (classes, h)
    c: Tensor  # (classes,)
    y: int
    middle: Tensor  # (d,)
    radius: Tensor  # (d,)

    def __post_init__(self) -> None:
        (h, d), w = self.w.shape, self.w
        operations = d + 2 * h + 32
        slack = 2 * operations * ROUNDOFF / (1 - operations * ROUNDOFF)
        size = self.b.abs() + w.abs() @ (self.middle.abs() + self.radius)  # (h,) absolute monomials of h
        centre, reach = w @ self.middle + self.b, w.abs() @ self.radius + slack * size
        low, high = centre - reach, centre + reach
        unstable = (low < 0) & (high > 0)
        slope = torch.where(unstable, high / (high - low), 0.0)
        offset = torch.maximum(-slope * low, high - slope * high) + 4 * ROUNDOFF * (high - low)
        rivals = [j for j in range(len(self.v)) if j != self.y]
        shifts = self.c[self.y] - self.c[rivals], self.c[self.y].abs() + self.c[rivals].abs()
        known = torch.where(low >= 0, ALWAYS, torch.where(high <= 0, NEVER, FREE))
        made = {"slack": slack, "size": size, "centre": centre, "slope": slope, "offset": offset, "known": known}
        for name, value in {**made, "a": self.v[self.y] - self.v[rivals], "shifts": shifts}.items():
            object.__setattr__(self, name, value)

    def margins(self, x: Tensor) -> Tensor:
        """Return the margins of points x (m, d) over every other class (m, classes - 1)."""
        logits = torch.relu(x @ self.w.T + self.b) @ self.v.T + self.c
        return logits[:, self.y, None] - logits[:, [j for j in range(len(self.v)) if j != self.y]]

    def limits(self, which: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the least and the largest slope of each unit (m, h), the constants k and their absolute parts (m,)."""
        a = self.a[which]
        chord = (known == FREE) & (a < 0)
        line, zero = a * self.slope, torch.zeros_like(a)
        least = torch.where(chord, line, torch.where(known == ALWAYS, a, zero))
        least = torch.where(known == ACTIVE, -torch.inf, least)
        most = torch.where(chord, line, torch.where((known == NEVER) | (known == INACTIVE), zero, a))
        most = torch.where(known == INACTIVE, torch.inf, most)
        lost = torch.where(chord, a * self.offset, zero).sum(1)  # <= 0
        return least, most, self.shifts[0][which] + lost, self.shifts[1][which] - lost

    def bound(self, nodes: Nodes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the bound of each node (m,), its slopes (m, h), and two points where the margin may be least (m, d).
        The points are the minimiser of the last linear function and the mean of those on the way.
        """
        which, known, s = nodes
        least, most, k, parts = self.limits(which, known)
        scale = self.a[which].abs().float()
        low, high, constant = least.float(), most.float(), k.float()
        w, centre, radius = self.w.float(), self.centre.float(), self.radius.float()
        s = torch.clamp(s.float(), low, high)
        best, kept = torch.full_like(constant, -torch.inf), s
        mean, square, corners = torch.zeros_like(s), torch.zeros_like(s), torch.zeros(len(s), len(radius))
        for step in range(STEPS):
            through = s @ w  # (m, d)
            value = constant + s @ centre - through.abs() @ radius
            kept = torch.where((value > best)[:, None], s, kept)
            best = torch.maximum(best, value)
            corner = through.sign_().mul_(-radius)
            corners += corner * (step >= STEPS // 2)
            if float(best.min()) > 0:
                break
            slope = torch.addmm(centre, corner, w.T)  # h at the minimiser, the gradient with respect to s
            mean, square = mean.lerp(slope, 0.2), square.lerp(slope.square(), 0.05)
            unbiased = (mean / (1 - 0.8 ** (step + 1)), (square / (1 - 0.95 ** (step + 1))).sqrt_() + 1e-9)
            s = torch.clamp(s + RATE * (1 - step / STEPS) * scale * unbiased[0] / unbiased[1], low, high)
        s = torch.clamp(kept.double(), least, most)
        through = s @ self.w
        value = k + s @ self.centre - through.abs() @ self.radius - self.slack * (parts + s.abs() @ self.size)
        between = self.middle + corners.double() / max(1, step + 1 - STEPS // 2)
        return value, s, self.middle - self.radius * through.sign(), between

    def unit(self, which: Tensor, known: Tensor, points: Tensor) -> list[int]:
        """Return the unit to split each node at, where its chord loses most at its point (m, d); -1 where none is left.
        Once no chord is left, a unit of the convex terms, of which splits need fewer multipliers.
        """
        a, h, free = self.a[which], points @ self.w.T + self.b, known == FREE
        loss = torch.where(free & (a < 0), -a * (self.slope * h + self.offset - h.relu()), -torch.inf)  # (m, h)
        none = torch.isinf(loss).all(1, keepdim=True)
        loss = torch.where(none & free, a * self.offset, loss)
        return torch.where(torch.isinf(loss).all(1), -1, loss.argmax(1)).tolist()


def certify(
    model: nn.Module, x: Tensor, y: Tensor, *, eps: float, bounds: Bounds, nodes: int = 20_000,
    tried: Tensor | None = None,
) -> Certificates:  # fmt: skip
    """Prove or refute for each x (n, d) with class y (n,) that no x' in the box with |x' - x|_inf <= eps is of another.
    `model` is a perceptron with one hidden layer of ReLUs. An image is broken where x itself, its row of `tried` (n, d;
    points of an attack, brought into the ball) or a point met on the way has another class in double precision; it is
    open once `nodes` subproblems did not decide it. So the number of nodes decides, not the speed of a machine. A proof
    is about the network with these weights as real numbers; why it holds under rounding is said at the head of this
    file. What is returned lies on the CPU. Raises ValueError as attacks do, and for other models.
    >>> from robexpl import models
    >>> network = models.mlp(2, 3, 2, generator=torch.Generator().manual_seed(0))
    >>> certify(network, torch.ones(1, 2), torch.tensor([0]), eps=0.01, bounds=(0, 1)).proven
    tensor([True])
    """
    eps, nodes = checks.non_negative(eps=eps), checks.positive(steps=nodes)
    _, one_hot, box = prepare(model, x, y, bounds)
    layers = relu_layers(model) or []
    line = f"expected a perceptron with one hidden layer of ReLUs, got {type(model).__name__} with {len(layers)} layers"
    checks.refuse_unless(len(layers) == 2, line)
    tried = x if tried is None else checks.points(tried, "tried")
    checks.refuse_unless(tried.shape == x.shape, f"expected tried of shape {tuple(x.shape)}, got {tuple(tried.shape)}")
    network = [part.detach().double().cpu() for layer in layers for part in (layer.weight, layer.bias)]
    x, tried, low, high, one_hot = (part.cpu() for part in (x, tried, *box, one_hot))
    wider = eps + 4 * torch.finfo(x.dtype).eps * (x.abs() + eps).double()
    x, tried, low, high = (part.double() for part in (x, tried, low, high))
    rows = zip(x, one_hot.argmax(1).tolist(), tried, wider, strict=True)
    decided = []
    for point, label, other, reach in bar(list(rows), desc="certificates"):
        ends = torch.maximum(point - reach, low), torch.minimum(point + reach, high)
        middle = (ends[0] + ends[1]) / 2
        radius = torch.maximum(ends[1] - middle, middle - ends[0]) * (1 + 4 * ROUNDOFF)
        ball = _Ball(*network, label, middle, radius)
        exact = torch.maximum(point - eps, low), torch.minimum(point + eps, high)
        decided.append(_decide(ball, torch.stack([point, other]), exact, nodes))
    empty = (torch.zeros(0, dtype=torch.bool),) * 2 + (x, x[:, 0], x[:, 0], torch.zeros(0, dtype=torch.long))
    return Certificates(*map(torch.stack, map(list, zip(*decided, strict=True)))) if decided else Certificates(*empty)


def _decide(ball: _Ball, points: Tensor, ends: tuple[Tensor, Tensor], budget: int) -> tuple[Tensor, ...]:
    """Return of one image what `Certificates` holds; `points` are tried first, `ends` are those of the exact ball."""
    nodes = torch.arange(len(ball.a)), ball.known.expand(ball.a.shape), (ball.a * (ball.centre > 0)).float()
    best, margin, bound, used, done = points[0], torch.inf, -torch.inf, 0, torch.inf
    heap: list[Entry] = []  # nodes to be split, the worst bound first
    while True:
        points = torch.clamp(points, *ends)
        values = ball.margins(points).amin(1)
        least = int(values.argmin())
        if values[least] < margin:
            best, margin = points[least], float(values[least])
        if margin < 0 or not len(nodes[0]):
            break
        value, slopes, corners, between = ball.bound(nodes)
        for i, (low, unit) in enumerate(zip(value.tolist(), ball.unit(*nodes[:2], between), strict=True)):
            if low > 0 or unit < 0:
                done = min(done, low)
            else:
                heapq.heappush(heap, (low, used + i, nodes[0][i], nodes[1][i], slopes[i].float(), unit))
        used, bound = used + len(value), min([done, *(entry[0] for entry in heap[:1])])
        taken = [heapq.heappop(heap) for _ in range(min(WIDTH, len(heap), max(0, budget - used) // 2))]
        nodes, points = _split(ball, taken), torch.cat([corners, between])
    flags = torch.tensor(bound > 0 and margin >= 0), torch.tensor(margin < 0)
    return *flags, best, torch.tensor(margin).double(), torch.tensor(bound).double(), torch.tensor(used)


def _split(ball: _Ball, entries: list[Entry]) -> Nodes:
    """Return the two halves of each node."""
    parts = []
    for _, _, which, known, s, unit in entries:
        for side, slope in ((ACTIVE, ball.a[which, unit]), (INACTIVE, 0.0)):
            parts.append((which, known.clone(), s.clone()))
            parts[-1][1][unit], parts[-1][2][unit] = side, slope
    if not parts:
        return torch.zeros(0, dtype=torch.long), ball.known[None][:0], ball.centre[None][:0]
    return tuple(map(torch.stack, zip(*parts, strict=True)))
