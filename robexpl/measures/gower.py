"""Gower distance to the nearest points of the class: each feature counts by the share of its range."""

import torch
from torch import Tensor

from robexpl import checks
from robexpl.measures._known import Known, Score
from robexpl.metrics._neighbours import pairs

TITLE, KINDS, COST = "Gower distance", ("tabular",), 1e-6


def prepare(known: Known) -> Score:
    """Return the mean Gower distance of rows x (n, d) to the k nearest points of their target class -> (n,).
    G(x, r) = mean over features j of |x_j - r_j| / (max_j - min_j), ranges those of all reference points [Gower 1971];
    the same in original units as after standardisation, because the ranges are scaled with the features. Features that
    do not vary are left out. Raises ValueError where a class has fewer than k points.
    """
    low, high = known.x.double().aminmax(dim=0)
    varying = high > low
    scale = varying / (torch.where(varying, high - low, 1) * varying.sum())  # (d,)
    banks = {label: known.of_class(label).double() * scale for label in known.y.unique().tolist()}
    least = min(map(len, banks.values()))
    checks.refuse_unless(least >= known.k, f"expected k = {known.k} reference points of each class, got {least}")

    def score(x: Tensor, target: Tensor) -> Tensor:
        result = torch.empty(len(x), dtype=torch.float64)
        for label in target.unique().tolist():
            rows = target == label
            near = pairs(x[rows].double() * scale, banks[label], 1.0).topk(known.k, largest=False).values
            result[rows] = near.mean(1)
        return result

    return score
