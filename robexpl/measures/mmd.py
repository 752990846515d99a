"""Maximum mean discrepancy between a set of rows and as many reference points of the same classes."""

import torch
from torch import Tensor

from robexpl.measures._known import Known, Score
from robexpl.measures._pairs import matched

TITLE, KINDS, COST, SET = "Maximum mean discrepancy", ("image", "tabular"), 1e-6, True
BANDWIDTH = 1000  # reference points whose median distance is the kernel's width


def prepare(known: Known) -> Score:
    """Return the part of each row x (n, d) in the MMD^2 of the set from reference points; their mean (n,) is the MMD^2.
    h_i = mean over j != i of k(x_i, x_j) + k(r_i, r_j) - k(x_i, r_j) - k(x_j, r_i), the unbiased estimate [Gretton
    2012, equation 4], r_i a reference point of row i's class; k(x, r) = exp(-||x - r||^2 / (2 s^2)) within a class and
    0 between classes, s the median distance of reference points. About 0 where the two sets are alike. A set has at
    least two rows.
    """
    some = known.x[:BANDWIDTH].double()
    width = torch.pdist(some).median().clamp_min(1e-12)

    def score(x: Tensor, target: Tensor) -> Tensor:
        x, r = x.double(), matched(known, target).double()  # (n, d) each
        same = (target[:, None] == target) & ~torch.eye(len(x), dtype=torch.bool)

        def kernel(a: Tensor, b: Tensor) -> Tensor:
            return torch.exp(-((torch.cdist(a, b) / width) ** 2) / 2) * same

        across = kernel(x, r)
        return (kernel(x, x) + kernel(r, r) - across - across.T).sum(1) / max(1, len(x) - 1)

    return score
