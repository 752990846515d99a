"""Accuracy, structural similarity and implausibility: the measures of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl import ssim as _ssim

DISTANCES = ("ssim", "ssim_cropped", "euclidean", "l1")
IMAGE_SHAPE = (28, 28)
QUERIES = 128  # rows of x compared at once: bounds the memory whatever their number
POINTS = 8192  # reference points compared at once by the distances between vectors


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor, *, chunk: int = 4096) -> float:
    """Measure the share of rows of x (n, d) whose largest logit is that of their label y (n,).

    Raises ValueError for no rows, NaN, or labels that are not classes of the model.
    """
    checks.points(x)
    checks.positive(rows=len(x), chunk=chunk)
    checks.labels(y, len(x), what="y")
    checks.refuse_model(model, x, gradients=False)
    correct = 0
    for rows, labels in zip(x.split(chunk), y.split(chunk), strict=True):
        logits = model(rows)  # (chunk, n_classes)
        if logits.ndim != 2 or len(logits) != len(rows):
            raise ValueError(f"expected logits of shape ({len(rows)}, n_classes), got {tuple(logits.shape)}")
        checks.labels(labels, len(rows), logits.shape[1], what="y")
        correct += int((logits.argmax(1) == labels).sum())
    return correct / len(x)


def ssim(a: Tensor, b: Tensor, *, image_shape: tuple[int, int] = IMAGE_SHAPE) -> Tensor:
    """Compare every image of a (n, d) with every image of b (m, d) -> (n, m), each at most 1.

    SSIM = mean over all pixels of (2 mx my + C1)(2 cov + C2) / ((mx^2 + my^2 + C1)(vx + vy + C2)) (Wang et al.,
    "Image quality assessment", IEEE TIP 2004, equation 13), with the means, variances and the covariance under an
    11 x 11 Gaussian window (sigma 1.5), C1 = 0.01^2, C2 = 0.03^2 for intensities in [0, 1], population covariance and
    borders extended symmetrically (d c b a | a b c d | d c b a). Raises ValueError for NaN and shapes that do not fit.
    """
    _images(a, image_shape, "a")
    _images(b, image_shape, "b")
    checks.refuse_half(a, "a")
    checks.refuse_half(b, "b")
    reference = _ssim.bank(b, image_shape)
    return torch.cat([_ssim.scores(rows, reference) for rows in a.split(QUERIES)])


@dataclass(frozen=True)
class Reference:
    """Reference points by class, with all that a distance needs to know of them alone computed once."""

    distance: str
    image_shape: tuple[int, int]
    d: int
    groups: Mapping[int, _ssim.Bank | Tensor]  # class -> its points

    def count(self, label: int) -> int:
        """Count the points of a class."""
        return len(self.groups[label]) if label in self.groups else 0


def reference(x: Tensor, y: Tensor, *, distance: str = "ssim", image_shape: tuple[int, int] = IMAGE_SHAPE) -> Reference:
    """Prepare the points x (m, d) with labels y (m,) for `nearest` and `implausibility`.

    Worth its while where the same points serve several calls: means and variances of the images are then computed
    once. Holds about three times the memory of x for SSIM. Raises ValueError as `implausibility` does.
    """
    _check_reference(x, y, distance, image_shape)
    groups = {label: _group(x[y == label], distance, image_shape) for label in y.unique().tolist()}
    return Reference(distance, tuple(image_shape), x.shape[1], groups)


def implausibility(
    x: Tensor,
    target: Tensor | int,
    reference_x: Tensor | Reference,
    reference_y: Tensor | None = None,
    *,
    distance: str | None = None,
    k: int = 100,
    image_shape: tuple[int, int] | None = None,
) -> Tensor:
    """Measure how far each row of x (n, d) lies from the points of its target class -> (n,).

    impl(x, t) = mean of dist(x, r) over the k points r of class t that are nearest to x (Altmeyer et al., "Faithful
    model explanations through energy-constrained conformal counterfactuals", AAAI 2024, with k nearest instead of all).
    Distances: "ssim", (1 - SSIM) / 2 in [0, 1], the default; "ssim_cropped", the same without the five pixels at each
    border; "euclidean" and "l1" in the units of x. `target` is a label for each row (n,) or one label for all.
    The reference is (m, d) points with labels (m,), or what `reference` made of them, which then fixes the distance.
    Raises ValueError for NaN, shapes that do not fit, an unknown distance, a class with fewer than k points.
    """
    return nearest(x, target, reference_x, reference_y, distance=distance, k=k, image_shape=image_shape).mean(1)


@torch.no_grad()
def nearest(
    x: Tensor,
    target: Tensor | int,
    reference_x: Tensor | Reference,
    reference_y: Tensor | None = None,
    *,
    distance: str | None = None,
    k: int = 100,
    image_shape: tuple[int, int] | None = None,
) -> Tensor:
    """Find the k smallest distances from each row of x to points of its target class -> (n, k), ascending.

    The mean of the first j columns is the implausibility for k = j. Arguments and errors as in `implausibility`.
    """
    checks.points(x)
    checks.refuse_half(x, "x")
    if isinstance(target, int):
        target = torch.full((len(x),), target)
    checks.labels(target, len(x), what="target")
    known, distance, image_shape = _reference(reference_x, reference_y, distance, image_shape)
    d = known.d if known else reference_x.shape[1]
    if x.shape[1] != d:
        raise ValueError(f"expected x of shape (n, {d}) as the reference points are, got {tuple(x.shape)}")
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"expected k to be a whole number of at least 1, got {k!r}")
    wanted = target.unique().tolist()
    for label in wanted:  # all of them before the first distance: a late failure would be a long one
        size = known.count(label) if known else int((reference_y == label).sum())
        if size < k:
            raise ValueError(f"expected at least k = {k} reference points of class {label}, got {size}")
    result = x.new_empty(len(x), k)
    for label in wanted:
        group = known.groups[label] if known else _group(reference_x[reference_y == label], distance, image_shape)
        rows = (target == label).nonzero().flatten().to(x.device)
        for block in rows.split(QUERIES):
            found = _distances(x[block], group, distance)  # (block, points of the class)
            result[block] = found.topk(k, largest=False, sorted=True).values.to(result)
    return result


def _distances(x: Tensor, group: _ssim.Bank | Tensor, distance: str) -> Tensor:
    """Compute the distances of x (n, d) from the m points of a group -> (n, m)."""
    if distance in ("ssim", "ssim_cropped"):
        return (1 - _ssim.scores(x, group, margin=_margin(distance))) / 2
    p = 1.0 if distance == "l1" else 2.0
    exact = "donot_use_mm_for_euclid_dist"  # the product form loses half the digits between near neighbours
    x = x.to(group)
    return torch.cat([torch.cdist(x, part, p=p, compute_mode=exact) for part in group.split(POINTS)], dim=1)


def _group(points: Tensor, distance: str, image_shape: tuple[int, int]) -> _ssim.Bank | Tensor:
    return _ssim.bank(points, image_shape) if distance in ("ssim", "ssim_cropped") else points


def _margin(distance: str) -> int:
    return _ssim.RADIUS if distance == "ssim_cropped" else 0


def _reference(
    x: Tensor | Reference, y: Tensor | None, distance: str | None, image_shape: tuple[int, int] | None
) -> tuple[Reference | None, str, tuple[int, int]]:
    """Settle what the reference is: a prepared one with its own settings, or None and checked arrays."""
    if not isinstance(x, Reference):
        distance, image_shape = distance or "ssim", image_shape or IMAGE_SHAPE
        _check_reference(x, y, distance, image_shape)
        return None, distance, image_shape
    if y is not None:
        raise ValueError("expected no reference_y beside a prepared reference, got one")
    if distance not in (None, x.distance):
        raise ValueError(f"expected distance {x.distance!r}, that of the prepared reference, got {distance!r}")
    if image_shape is not None and tuple(image_shape) != x.image_shape:
        raise ValueError(f"expected image_shape {x.image_shape}, that of the prepared reference, got {image_shape}")
    return x, x.distance, x.image_shape


def _check_reference(x: Tensor, y: Tensor | None, distance: str, image_shape: tuple[int, int]) -> None:
    checks.one_of("distance", distance, DISTANCES)
    checks.points(x, "reference_x")
    checks.labels(y, len(x), what="reference_y")
    checks.refuse_half(x, "reference_x")
    if distance in ("ssim", "ssim_cropped"):
        _images(x, image_shape, "reference_x", _margin(distance))


def _images(x: Tensor, image_shape: tuple[int, int], what: str, margin: int = 0) -> None:
    checks.points(x, what)
    checks.refuse_image_shape(image_shape)
    checks.refuse_intensities(x, what)
    if len(image_shape) != 2 or min(image_shape) < 1 or image_shape[0] * image_shape[1] != x.shape[1]:
        raise ValueError(f"expected image_shape (height, width) with {x.shape[1]} pixels for {what}, got {image_shape}")
    if min(image_shape) <= 2 * margin:
        raise ValueError(f"expected images larger than {2 * margin} pixels for ssim_cropped, got {tuple(image_shape)}")
