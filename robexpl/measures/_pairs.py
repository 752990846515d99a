"""Reference points beside the rows of a set, class by class."""

import torch
from torch import Tensor

from robexpl import checks
from robexpl.measures._known import Known


def matched(known: Known, target: Tensor) -> Tensor:
    """Return a reference point of each row's target class, each at most once while there are enough -> (n, d).
    Raises ValueError for fewer than two rows.
    >>> matched(Known(torch.tensor([[1.0], [2.0], [3.0], [4.0]]), torch.tensor([0, 1, 0, 1])), torch.tensor([0, 0]))
    tensor([[1.],
            [3.]])
    """
    checks.refuse_unless(len(target) > 1, f"expected a set of at least two rows, got {len(target)}")
    result = known.x.new_empty(len(target), known.x.shape[1])
    for label in target.unique().tolist():
        rows, points = (target == label).nonzero().flatten(), known.of_class(label)
        result[rows] = points[torch.arange(len(rows)) % len(points)]
    return result
