"""The program behind exact distances: a ReLU perceptron and the ball around a point as a mixed-integer linear program.

A unit z = relu(h) with l <= h <= u is z >= 0, z >= h, z <= u a and z <= h - l (1 - a) for a switch a of 0 or 1 [Tjeng
2019]. Ranges l, u of the first layer are exact for the box and the ball, in the L1 norm as a fractional knapsack; those
of later layers are by interval arithmetic.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from robexpl import checks

LARGEST = 1e8  # of hidden units: beyond it a program says nothing in double precision
Side = tuple[np.ndarray, np.ndarray]
Row = tuple[np.ndarray, float]  # the condition w f >= c on the logits


@dataclass(frozen=True)
class Network:
    """A perceptron's weights (out, in) and biases, in double precision."""

    layers: tuple[Side, ...]

    def run(self, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the logits at one point and which units of each hidden layer respond."""
        on = []
        for weight, bias in self.layers[:-1]:
            x = weight @ x + bias
            on.append(x > 0)
            x = np.maximum(x, 0)
        return self.layers[-1][0] @ x + self.layers[-1][1], on

    def ranges(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, budget: float) -> list[Side]:
        """Return the least and the largest h of each hidden layer where ||x' - x||_1 <= budget between low and high."""
        found: list[Side] = []
        for weight, bias in self.layers[:-1]:
            ends = []
            for sign in (-1, 1):
                room = np.where(sign * weight > 0, high - x, x - low)  # (h, d)
                order = np.argsort(-np.abs(weight), axis=1)
                spent = np.minimum(np.cumsum(np.take_along_axis(room, order, 1), 1), budget)
                gain = np.diff(spent, axis=1, prepend=0) * np.take_along_axis(np.abs(weight), order, 1)
                ends.append(weight @ x + bias + sign * (gain.sum(1) + 1e-9))
            found.append((ends[0], ends[1]))
            x, low, high = (np.maximum(side, 0) for side in (ends[0], *ends))
            budget = np.inf
        return found


def nearest(
    network: Network, x: np.ndarray, ends: Side, rows: list[Row], *, norm: str, radius: float, nodes: int,
    on: list[np.ndarray] | None = None,
) -> tuple[np.ndarray | None, float]:  # fmt: skip
    """Return the point x' (d,) nearest to x between `ends` where the rows hold, and a lower bound on its distance.
    None where no point within the radius is found: with the radius as bound where there is none. `on` says which units
    respond, which leaves a linear program.
    """
    d, wide, layers = len(x), 1 if norm == "linf" else len(x), network.layers
    low, high = np.maximum(ends[0], x - radius), np.minimum(ends[1], x + radius)
    ranges = network.ranges(x, low, high, radius if norm == "l1" else np.inf)
    largest_range = max((float(np.abs(side).max()) for pair in ranges for side in pair), default=0.0)
    line = f"expected hidden units below {LARGEST:g} within the bounds, got {largest_range:g}: narrow the bounds"
    checks.refuse_unless(largest_range < LARGEST, line)
    sizes = [d, wide, *(len(bias) for _, bias in layers[:-1] for _ in "za")]
    edges = np.cumsum([0, *sizes])
    move, part, *units = (slice(*pair) for pair in itertools.pairwise(edges))
    blocks, most = [], []

    def add(right: np.ndarray, *terms: tuple[slice, np.ndarray]) -> None:
        block = np.zeros((len(right), edges[-1]))
        for where, matrix in terms:
            block[:, where] = matrix
        blocks.append(block)
        most.append(right)

    one = -np.ones((d, 1)) if wide == 1 else -np.eye(d)
    add(x, (move, np.eye(d)), (part, one))  # +-(x' - x) <= t
    add(-x, (move, -np.eye(d)), (part, one))
    add(np.array([radius]), (part, np.ones(wide)))
    least, largest = [low, np.zeros(wide)], [high, np.full(wide, radius)]
    before = move
    for i, (weight, bias) in enumerate(layers[:-1]):
        z, a, unit = units[2 * i], units[2 * i + 1], np.eye(len(bias))
        bottom, top = np.minimum(ranges[i][0], 0), np.maximum(ranges[i][1], 0)
        add(-bias, (before, weight), (z, -unit))  # h <= z
        add(bias - bottom, (before, -weight), (z, unit), (a, -np.diag(bottom)))  # z <= h - l (1 - a)
        add(np.zeros(len(bias)), (z, unit), (a, -np.diag(top)))  # z <= u a
        fixed = (ranges[i][0] >= 0, ranges[i][1] > 0) if on is None else (on[i], on[i])
        least += [np.zeros(len(bias)), fixed[0].astype(float)]
        largest += [top, fixed[1].astype(float)]
        before = z
    weight, bias = layers[-1]
    add(np.array([w @ bias - c for w, c in rows]), (before, np.array([-w @ weight for w, _ in rows])))
    switches = np.concatenate([np.full(size, i > 1 and i % 2) for i, size in enumerate(sizes)]) * (on is None)
    sides = [np.concatenate(side) for side in (least, largest)]
    cost = np.concatenate([np.full(size, float(i == 1)) for i, size in enumerate(sizes)])
    rule = LinearConstraint(np.concatenate(blocks), -np.inf, np.concatenate(most))
    for presolve in (True, False):  # where numbers fail it after simplifying, the program is solved as it stands
        options = {"mip_rel_gap": 0.0, "node_limit": nodes, "presolve": presolve}
        found = milp(cost, integrality=switches, bounds=Bounds(*sides), constraints=rule, options=options)
        if found.status in (0, 2):
            break
    if found.status == 2:
        return None, radius
    bound = found.fun if found.mip_dual_bound is None else found.mip_dual_bound
    point = None if found.x is None else np.clip(found.x[move], *ends)
    return point, 0.0 if bound is None else max(0.0, float(bound))
