"""What measures are given, and what those share that look at the points of one class at a time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.checks import Bounds
from robexpl.gradients import refuse_infinite
from robexpl.seeds import numpy_generator

MOST = 2000  # points of a class that a measure is fitted to, where its cost grows fast with their number
Score = Callable[[Tensor, Tensor], Tensor]
OfRows = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Known:
    """Reference points x (m, d) with labels y (m,), and what else some measures need: neighbours k, the box of the
    inputs, the network that is explained, and the weights of judges that `learn` trained (without them they are).
    """

    x: Tensor
    y: Tensor
    image_shape: tuple[int, int] | None = None
    k: int = 100
    seed: int = 0
    bounds: Bounds = (0.0, 1.0)
    model: nn.Module | None = None
    judges: Mapping[str, Tensor] | None = None

    def checked(self) -> "Known":
        """Return it if it holds points that can be compared with, else raise ValueError."""
        checks.points(self.x, "reference points")
        checks.positive(rows=len(self.x), k=self.k)
        checks.labels(self.y, len(self.x), what="labels of the reference points")
        checks.refuse_half(self.x, "reference points")
        checks.non_negative(seed=self.seed)
        return self

    def of_class(self, label: int, most: int | None = None) -> Tensor:
        """Return the points of a class, at most so many, in their order -> (m, d); raise ValueError for fewer than two.
        >>> Known(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 1, 0])).of_class(0)
        tensor([[1.],
                [3.]])
        """
        rows = self.x[self.y == label][:most]
        checks.refuse_unless(len(rows) > 1, f"expected two reference points of class {label} or more, got {len(rows)}")
        return rows

    def state(self, *names: str | int) -> int:
        """Return a seed for scikit-learn that depends on this one and on names."""
        return int(numpy_generator(self.seed, "measure", *names).integers(2**31))


def by_class(known: Known, fit: Callable[[int, np.ndarray], OfRows], most: int = MOST) -> Score:
    """Fit each class's points (m, d) by fit(label, points) and return what scores rows by the fit of their target."""
    fits = {label: fit(label, known.of_class(label, most).double().numpy()) for label in known.y.unique().tolist()}

    def score(x: Tensor, target: Tensor) -> Tensor:
        result = torch.empty(len(x), dtype=torch.float64)
        for label in target.unique().tolist():
            rows = target == label
            result[rows] = torch.from_numpy(np.ascontiguousarray(fits[label](x[rows].double().numpy()), np.float64))
        return result

    return score


def checked(score: Score, known: Known, x: Tensor, target: Tensor) -> Tensor:
    """Score rows x (n, d) with targets (n,) that suit the reference points; raise ValueError for others."""
    checks.points(x)
    line = f"expected x of shape (n, {known.x.shape[1]}) as the reference points are, got {tuple(x.shape)}"
    checks.refuse_unless(x.shape[1] == known.x.shape[1], line)
    target = checks.labels(target, len(x), what="target")
    strange = sorted({*target.tolist()} - {*known.y.tolist()})
    checks.refuse_unless(not strange, f"expected targets that the reference points have, got {strange[:9]}")
    result = score(x, target)
    refuse_infinite("scores", result)
    return result
