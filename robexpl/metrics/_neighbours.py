"""Implausibility, how far points lie from their nearest neighbours in a class; distances between vectors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robexpl import checks, registry
from robexpl.gradients import refuse_infinite

IMAGE_SHAPE = (28, 28)
QUERIES = 128  # rows of x compared at once: bounds the memory whatever their number
POINTS = 8192  # reference points that vectors are compared with at once
EXACT = "donot_use_mm_for_euclid_dist"  # the product form loses half the digits between near neighbours
Shape = tuple[int, int]


@dataclass(frozen=True)
class Reference:
    """Reference points by class, with all that a distance needs to know of them alone computed once."""

    distance: str
    image_shape: Shape
    d: int
    groups: Mapping[int, Any]  # class -> its points, as the distance's `prepare` made them


def reference(
    x: Tensor, y: Tensor, *, distance: str = "ssim", image_shape: Shape = IMAGE_SHAPE,
    labels: Iterable[int] | None = None,
) -> Reference:  # fmt: skip
    """Prepare the points x (m, d) with labels y (m,) for `nearest` and `implausibility`: all classes, or only `labels`.
    Worth its while where the same points serve several calls. Holds about three times the memory of x for SSIM. Raises
    ValueError as `implausibility` does.
    >>> len(reference(torch.zeros(3, 2), torch.tensor([0, 1, 1]), distance="l1").groups[1])
    2
    """
    metric = registry.module(__package__, distance, "distance")
    checks.points(x, "reference_x")
    y = checks.labels(y, len(x), what="reference_y")
    checks.refuse_half(x, "reference_x")
    image_shape = checks.image_shape(image_shape)
    how = {"everything": x, "image_shape": image_shape}
    metric.prepare(x[:0], **how)  # refuses what does not suit, even where there are no classes
    labels = y.unique().tolist() if labels is None else labels
    groups = {label: metric.prepare(x[y == label], **how) for label in labels}
    return Reference(distance, image_shape, x.shape[1], groups)


def implausibility(
    x: Tensor, target: Tensor | int, reference_x: Tensor | Reference, reference_y: Tensor | None = None, *,
    distance: str | None = None, k: int = 100, image_shape: Shape | None = None,
) -> Tensor:  # fmt: skip
    """Measure how far each row of x (n, d) lies from the points of its target class (a label, or one a row) -> (n,).
    impl(x, t) = mean of dist(x, r) over the k points r of class t nearest to x [Altmeyer 2024, there over all of them];
    `distance` is one of `metrics.names()`, by default "ssim" of 28 x 28 pixels. The reference is (m, d) points with
    labels (m,), or what `reference` made of them. The result has the higher of the precisions of x and distances.
    Raises ValueError for NaN, shapes that do not fit, unknown distances, classes of fewer than k points.
    >>> implausibility(torch.zeros(1, 1), 0, torch.tensor([[1.0], [3.0]]), torch.tensor([0, 0]), distance="l1", k=2)
    tensor([2.])
    """
    return nearest(x, target, reference_x, reference_y, distance=distance, k=k, image_shape=image_shape).mean(1)


@torch.no_grad()
def nearest(
    x: Tensor, target: Tensor | int, reference_x: Tensor | Reference, reference_y: Tensor | None = None, *,
    distance: str | None = None, k: int = 100, image_shape: Shape | None = None,
) -> Tensor:  # fmt: skip
    """Find the k smallest distances from each row of x to points of its target class -> (n, k), ascending.
    The mean of the first j columns is the implausibility for k = j. Arguments and errors as in `implausibility`.
    >>> nearest(torch.zeros(1, 1), 0, torch.tensor([[3.0], [1.0]]), torch.tensor([0, 0]), distance="l1", k=2)
    tensor([[1., 3.]])
    """
    checks.points(x)
    checks.refuse_half(x, "x")
    if not isinstance(target, Tensor) or not target.ndim:
        target = torch.full((len(x),), checks.non_negative(target=target), device=x.device)
    target, known = checks.labels(target, len(x), what="target"), reference_x
    k, wanted = checks.positive(k=k), target.unique().tolist()
    if isinstance(known, Reference):
        checks.refuse_unless(reference_y is None, "expected no reference_y beside a prepared reference, got one")
        for what, asked in (("distance", distance), ("image_shape", image_shape and tuple(image_shape))):
            line = f"expected {what} {getattr(known, what)!r}, that of the prepared reference, got {asked!r}"
            checks.refuse_unless(asked in (None, getattr(known, what)), line)
    else:
        how = {"distance": distance or "ssim", "image_shape": image_shape or IMAGE_SHAPE}
        known = reference(reference_x, reference_y, **how, labels=wanted)
    line = f"expected x of shape (n, {known.d}) as the reference points are, got {tuple(x.shape)}"
    checks.refuse_unless(x.shape[1] == known.d, line)
    for label in wanted:  # all of them before the first distance: a late failure would be a long one
        count = len(known.groups.get(label, ()))
        checks.refuse_unless(count >= k, f"expected at least k = {k} reference points of class {label}, got {count}")
    metric, result = registry.module(__package__, known.distance, "distance"), x.new_empty(len(x), k)
    for label in wanted:
        for rows in (target == label).nonzero().flatten().to(x.device).split(QUERIES):
            pairs = metric.distances(x[rows], known.groups[label])  # (rows, points of the class)
            found = pairs.topk(k, largest=False, sorted=True).values
            result = result.to(torch.promote_types(result.dtype, found.dtype))
            result[rows] = found.to(result)
    refuse_infinite("distances", result)
    return result


@dataclass(frozen=True)
class Mapped:
    """Points r as A r, in float64, and the matrix A^T."""

    points: Tensor  # (m, d)
    by: Tensor  # (d, d)

    def __len__(self) -> int:
        return len(self.points)


def mapped(points: Tensor, matrix: Tensor) -> Mapped:
    """Prepare points (m, d) for distances after a linear map by the matrix A (d, d)."""
    return Mapped(points.double() @ matrix.T, matrix.T)


def unchanged(points: Tensor, *, everything: Tensor, image_shape: Shape) -> Tensor:
    """Keep the points of a class (m, d) as they are."""
    return points


def pairs(x: Tensor, bank: Tensor | Mapped, p: float = 2.0) -> Tensor:
    """Return ||x - r||_p or, after a map, ||A (x - r)||_p, for every row of x (n, d) and point r of m -> (n, m)."""
    x, bank = (x.to(bank.by) @ bank.by, bank.points) if isinstance(bank, Mapped) else (x.to(bank), bank)
    return torch.cat([torch.cdist(x, part, p=p, compute_mode=EXACT) for part in bank.split(POINTS)], dim=1)
