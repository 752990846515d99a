"""Euclidean distance in units of the features' interquartile ranges."""

import torch
from torch import Tensor

from robexpl import checks
from robexpl.metrics._neighbours import Mapped, mapped, pairs

TITLE, KINDS, distances = "Euclidean, scaled by interquartile range", ("tabular",), pairs


def prepare(points: Tensor, *, everything: Tensor, image_shape: tuple[int, int]) -> Mapped:
    """Prepare points (m, d) for ||A (x - r)||_2, A = diag(1 / interquartile range) of all reference points (n, d).
    Raises ValueError where a feature has equal quartiles.
    """
    x = everything.double() if len(everything) else everything.new_zeros(1, everything.shape[1]).double()
    low, high = x.quantile(x.new_tensor([0.25, 0.75]), dim=0)
    flat = int((high == low).sum())
    checks.refuse_unless(not flat, f"expected features that differ between their quartiles, got {flat} that do not")
    return mapped(points, torch.diag(1 / (high - low)))
