"""Exact distances to the decision boundary of perceptrons, by mixed-integer linear programming with HiGHS.

Class t has at least probability p where f_t - log sum_j exp f_j >= log(p / (1 - p)), the sum over the other classes.
With one rival that is linear in the logits f. With more it is not, but the sum's logarithm is convex: each of its
tangents gives a linear condition that all solutions meet, and one is added at every solution that does not meet the
true condition, until one does [Kelley 1960]. Conditions are asked for with a margin, so that the solver's tolerances do
not decide; every point returned is checked by the network itself, in double precision. The program is searched within
the distance of a solution known before, the end of a steepest ascent, which makes it small.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.attacks._loops import prepare
from robexpl.checks import Bounds
from robexpl.gradients import relu_layers, vjp
from robexpl.progress import bar
from robexpl.relu_program import Network, Row, Side, nearest

NORMS = ("linf", "l1")
MARGIN = 1e-6  # of logits
TOLERANCE = 1e-5  # of a distance, relative to 1 + distance, within which it counts as optimal
NODES = 10_000  # of a branch and bound, by default
CUTS, STEPS, GROWTH = 30, 80, 1.1  # tangents; steps of the ascent, the first of 0.01, each longer than the last
Goal = tuple[int, tuple[int, ...]]  # the class that shall win, and over which
Goals = Callable[[int, int], list[Goal]]  # from the number of classes and a label
Found = tuple[float, np.ndarray]  # a distance and its point


@dataclass(frozen=True)
class Exact:
    """The nearest points that meet a condition; where none does, `x` is the point itself and the distance infinite."""

    x: Tensor  # (n, d) float64
    distance: Tensor  # (n,) float64
    bound: Tensor  # (n,) float64, no point that meets the condition (with its margin) is nearer than this
    optimal: Tensor  # (n,) bool, whether distance and bound agree; else the limit of nodes or numbers stood in the way


def smallest(
    model: nn.Module, x: Tensor, y: Tensor, *, bounds: Bounds, norm: str = "linf", fixed: Tensor | None = None,
    nodes: int = NODES,
) -> Exact:  # fmt: skip
    """Find for each x (n, d) the smallest perturbation after which its class is not y (n,): min ||x' - x|| in the box.
    That is the least over rivals j of the distance to f_j >= f_y + 1e-6, and 0 where the class is not y already. `norm`
    is "linf" or "l1"; `fixed` (d,) bool marks features that may not change; each program may look at `nodes` nodes,
    and `optimal` tells where that was not enough. `model` is a perceptron of ReLUs; others raise ValueError, and so
    does what attacks refuse.
    >>> network = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2)).requires_grad_(False)
    >>> for part, value in zip(network.parameters(), ([[1.0], [-1.0]], 0.0, [[1.0, 0.0], [0.0, 1.0]], 0.0)):
    ...     _ = part.copy_(torch.tensor(value))
    >>> smallest(network, torch.tensor([[0.25]]), torch.tensor([0]), bounds=(-1, 1)).distance.round(decimals=5)
    tensor([0.2500], dtype=torch.float64)
    """

    def rivals(classes: int, label: int) -> list[Goal]:
        return [(j, (label,)) for j in range(classes) if j != label]

    return _search(model, x, y, rivals, bounds=bounds, norm=norm, fixed=fixed, nodes=nodes)


def closest(
    model: nn.Module, x: Tensor, target: Tensor, *, bounds: Bounds, norm: str = "l1", probability: float = 0.5,
    fixed: Tensor | None = None, margin: float = MARGIN, nodes: int = NODES,
) -> Exact:  # fmt: skip
    """Find the closest x' in the box at which class target (n,) has at least a probability: min ||x' - x||, p_t >= p.
    `margin` is added to log(p / (1 - p)), in logits. All else is as in `smallest`; what the probability means for more
    than two classes heads this file.
    >>> from robexpl import models
    >>> network = models.mlp(2, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    >>> found = closest(network, torch.zeros(1, 2).double(), torch.tensor([1]), bounds=(-1, 1), probability=0.6)
    >>> network(found.x).softmax(1)[0, 1].detach().round(decimals=5)
    tensor(0.6000, dtype=torch.float64)
    """
    probability, margin = checks.positive(probability=probability, margin=margin)
    checks.refuse_unless(probability < 1, f"expected probability between 0 and 1, got {probability}")
    odds = float(np.log(probability / (1 - probability)))

    def alone(classes: int, label: int) -> list[Goal]:
        return [(label, tuple(j for j in range(classes) if j != label))]

    how = {"bounds": bounds, "norm": norm, "fixed": fixed, "nodes": nodes}
    return _search(model, x, target, alone, odds=odds, margin=margin, **how)


def _search(
    model: nn.Module, x: Tensor, y: Tensor, goals: Goals, *, bounds: Bounds, norm: str, fixed: Tensor | None,
    nodes: int, odds: float = 0.0, margin: float = MARGIN,
) -> Exact:  # fmt: skip
    """Find for each x the nearest point that reaches one of its goals by odds + margin."""
    checks.one_of("norm", norm, NORMS)
    nodes = checks.positive(steps=nodes)
    _, one_hot, box = prepare(model, x, y, bounds)
    layers, classes = relu_layers(model), one_hot.shape[1]
    checks.refuse_unless(layers is not None, f"expected a perceptron of ReLUs, got {type(model).__name__}")
    double, z, one_hot = copy.deepcopy(model).double().cpu(), x.double().cpu(), one_hot.cpu()
    low, high = (edge.double().cpu().expand_as(z) for edge in box)
    if fixed is not None:
        checks.refuse_type("fixed", fixed, Tensor)
        right = fixed.dtype == torch.bool and fixed.shape == x.shape[1:]
        line = f"expected fixed as bool of shape {tuple(x.shape[1:])}, got {fixed.dtype} {tuple(fixed.shape)}"
        checks.refuse_unless(right, line)
        low, high = (torch.where(fixed.cpu(), z, side) for side in (low, high))
    low, high = torch.minimum(low, z), torch.maximum(high, z)  # x may lie outside by its rounding
    wanted = [goals(classes, label) for label in one_hot.argmax(1).tolist()]
    rows = [i for i, some in enumerate(wanted) for _ in some]
    every = [goal for some in wanted for goal in some]
    crossings = _crossings(double, z[rows], low[rows], high[rows], every, odds + margin, norm)
    starts = crossings.split([len(some) for some in wanted])
    network = Network(tuple((n.weight.numpy(), n.bias.numpy()) for n in relu_layers(double.requires_grad_(False))))
    found = []
    for some, start, *place in zip(bar(wanted, desc="exact distances"), starts, z, low, high, strict=True):
        point, *ends = (part.numpy() for part in place)
        best, lower = (np.inf, point), np.inf
        for goal, first in zip(some, start.numpy(), strict=True):
            best, bound = _Search(network, point, tuple(ends), norm, goal, odds, margin, nodes).run(first, best)
            lower = min(lower, bound)
        logits = double(torch.from_numpy(best[1])[None])[0].numpy()
        distance = best[0] if any(_score(logits, goal) > odds for goal in some) else np.inf
        lower = min(lower, distance)
        found.append((best[1], distance, lower, distance == lower or distance - lower <= TOLERANCE * (1 + distance)))
    columns = [np.array(column) for column in zip(*found, strict=True)] or [z, *z[:, :1].expand(-1, 3).T]
    return Exact(*map(torch.as_tensor, columns[:3]), torch.as_tensor(columns[3], dtype=torch.bool))


def _score(logits: np.ndarray, goal: Goal) -> float:
    """Return f_t - log sum_j exp f_j over the rivals j."""
    target, rivals = goal
    return float(logits[target] - np.logaddexp.reduce(logits[list(rivals)]))


def _crossings(
    model: nn.Module, x: Tensor, low: Tensor, high: Tensor, goals: list[Goal], need: float, norm: str
) -> Tensor:
    """Return points (m, d) that just reach their goal, by steepest ascent and bisection; NaN where it leads to none."""
    run, size, met = vjp(model), 0.01, torch.zeros(len(x), dtype=torch.bool)
    z, before, after = x, x, torch.full_like(x, torch.nan)
    classes = run(x[:1])[0].shape[1]
    target = nn.functional.one_hot(torch.tensor([t for t, _ in goals], dtype=torch.long), classes).double()
    rivals = torch.stack([torch.isin(torch.arange(classes), torch.tensor(r)) for _, r in goals]) if goals else target

    def score(z: Tensor) -> tuple[Tensor, Tensor]:
        logits, pull = run(z)
        others = logits.masked_fill(~rivals.bool(), -torch.inf)
        value = (logits * target).sum(1) - others.logsumexp(1)
        return value, pull(target - others.softmax(1))

    for _ in range(STEPS):
        value, slope = score(z)
        new = (value >= need) & ~met
        met = met | new
        after, before = torch.where(new[:, None], z, after), torch.where(met[:, None], before, z)
        slope = slope.where(torch.where(slope > 0, z < high, z > low), 0.0)
        if norm == "l1":
            slope = slope * nn.functional.one_hot(slope.abs().argmax(1), slope.shape[1])
        z, size = torch.clamp(z + size * slope.sign(), low, high), size * GROWTH
    for _ in range(50):
        middle = (before + after) / 2
        inside = (score(middle.nan_to_num())[0] >= need)[:, None] & met[:, None]
        before, after = torch.where(inside, before, middle), torch.where(inside, middle, after)
    return after


@dataclass(frozen=True)
class _Search:
    """The search for the point nearest to x that reaches a goal, within ends."""

    network: Network
    x: np.ndarray
    ends: Side
    norm: str
    goal: Goal
    odds: float
    margin: float
    nodes: int

    def run(self, start: np.ndarray, known: Found) -> tuple[Found, float]:
        """Return the nearest point and its distance, `known` unless it is nearer, and a bound on the distance."""
        best, (target, rivals), bound = known, self.goal, 0.0
        logits, _ = self.network.run(self.x)
        if _score(logits, self.goal) > self.odds:
            return (0.0, self.x), 0.0
        unit = np.eye(len(logits))
        rows = [(unit[target] - unit[j], self.odds + self.margin) for j in rivals]
        if not np.isnan(start).any():
            best = self.better(best, start, self.nearest(rows, best[0], self.network.run(start)[1])[0])
        for _ in range(CUTS):
            point, lower = self.nearest(rows, best[0])
            bound = max(bound, lower)
            if point is None:
                break
            exact = self.nearest(rows, np.inf, self.network.run(point)[1])[0]  # free of the switches' tolerance
            best = self.better(best, point, exact)
            if len(rivals) == 1 or best[0] - bound <= TOLERANCE / 10:
                break
            logits, _ = self.network.run(point if exact is None else exact)
            share = np.exp(logits - np.logaddexp.reduce(logits[list(rivals)])) * unit[list(rivals)].sum(0)
            shift = np.logaddexp.reduce(logits[list(rivals)]) - share @ logits
            rows.append((unit[target] - share, self.odds + self.margin + shift))
        return best, bound

    def better(self, best: Found, *points: np.ndarray | None) -> Found:
        """Return the nearest of points that reach the goal, and its distance."""
        for point in points:
            if point is not None and _score(self.network.run(point)[0], self.goal) > self.odds:
                moved = np.abs(point - self.x)
                distance = float(moved.max() if self.norm == "linf" else moved.sum())
                best = (distance, point) if distance < best[0] else best
        return best

    def nearest(
        self, rows: list[Row], radius: float, on: list[np.ndarray] | None = None
    ) -> tuple[np.ndarray | None, float]:
        """Return what `relu_program.nearest` does."""
        how = {"norm": self.norm, "radius": radius, "nodes": self.nodes, "on": on}
        return nearest(self.network, self.x, self.ends, rows, **how)
