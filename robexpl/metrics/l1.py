"""Distance by the sum of absolute differences, in the units of the data."""

from torch import Tensor

from robexpl.metrics._neighbours import pairs, unchanged

TITLE, KINDS = "L1", ("image", "tabular")
prepare = unchanged


def distances(x: Tensor, bank: Tensor) -> Tensor:
    """Return ||x - r||_1 for every row of x (n, d) and every point r of the bank (m, d) -> (n, m)."""
    return pairs(x, bank, 1.0)
