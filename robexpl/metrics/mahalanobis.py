"""Mahalanobis distance: Euclidean distance after whitening."""

import torch
from torch import Tensor

from robexpl import checks
from robexpl.metrics._neighbours import Mapped, mapped, pairs

TITLE, KINDS, distances = "Mahalanobis", ("tabular",), pairs


def prepare(points: Tensor, *, everything: Tensor, image_shape: tuple[int, int]) -> Mapped:
    """Prepare points (m, d) for sqrt(u^T C^-1 u), u = x - r, with C the covariance of all reference points (n, d).
    That is ||A u||_2 with A = L^-1 and C = L L^T (Cholesky). Raises ValueError where C is singular.
    """
    d = everything.shape[1]
    x = everything.double() if len(everything) > 1 else everything.new_zeros(2, d).double()
    factor, failed = torch.linalg.cholesky_ex(torch.cov(x.T).reshape(d, d))
    checks.refuse_unless(not failed, f"expected a covariance of full rank {d}, got a singular one")
    return mapped(points, torch.linalg.inv(factor))
