"""Distances between vectors: all pairs, as they are or after a linear map."""

from dataclasses import dataclass

import torch
from torch import Tensor

POINTS = 8192  # reference points compared at once
EXACT = "donot_use_mm_for_euclid_dist"  # the product form loses half the digits between near neighbours


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


def unchanged(points: Tensor, *, everything: Tensor, image_shape: tuple[int, int]) -> Tensor:
    """Keep the points of a class (m, d) as they are."""
    return points


def pairs(x: Tensor, bank: Tensor | Mapped, p: float = 2.0) -> Tensor:
    """Return ||x - r||_p or, after a map, ||A (x - r)||_p, for every row of x (n, d) and point r of m -> (n, m)."""
    x, bank = (x.to(bank.by) @ bank.by, bank.points) if isinstance(bank, Mapped) else (x.to(bank), bank)
    return torch.cat([torch.cdist(x, part, p=p, compute_mode=EXACT) for part in bank.split(POINTS)], dim=1)
