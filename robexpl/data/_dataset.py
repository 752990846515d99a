"""What a loaded dataset is; the making of one from data of one's own, and from images of digits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robexpl import checks
from robexpl.checks import Bounds
from robexpl.data import _own
from robexpl.progress import warn


@dataclass(frozen=True)
class Dataset:
    """Hold one dataset, split, scaled and ready for a network; `bounds` is the box of attacks and counterfactuals."""

    name: str
    title: str
    x_train: Tensor  # (n, d) float32
    y_train: Tensor  # (n,) int64
    x_test: Tensor  # (m, d) float32
    y_test: Tensor  # (m,) int64
    bounds: Bounds  # numbers, or (d,) each; where both are equal, a feature may not change
    image_shape: tuple[int, int] | None
    n_classes: int
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    scaler: tuple[Tensor, Tensor] | None = None  # mean and sd: rows of the source became (rows - mean) / sd

    def original(self, x: Tensor) -> Tensor:
        """Return points x (n, d) in the units of the source, x sd + mean in double precision, or x without a scaler."""
        if self.scaler is None:
            return x
        mean, sd = self.scaler
        return x.double() * sd + mean

    def checked(self) -> "Dataset":
        """Return the dataset if networks can be trained, attacked and searched on it, else raise ValueError."""
        x = checks.points(self.x_train, "x_train")
        checks.positive(rows=len(x))
        checks.refuse_half(x, "x_train")
        box, d = checks.box(self.bounds, x), x.shape[1]
        for part, y in (("x_train", self.y_train), ("x_test", self.y_test)):
            rows = checks.points(getattr(self, part), part)
            checks.refuse_unless(rows.shape[1] == d, f"expected {part} of shape (n, {d}), got {tuple(rows.shape)}")
            checks.labels(y, len(rows), self.n_classes, part.replace("x", "y"))
            if len(rows):
                checks.refuse_outside(part, torch.stack([rows.amin(0), rows.amax(0)]).to(x), *box)
        pixels = d if self.image_shape is None else int(np.prod(checks.image_shape(self.image_shape)))
        known = len(self.feature_names), len(self.class_names)
        line = f"expected names of {d} features and {self.n_classes} classes, and as many pixels, got {*known, pixels}"
        checks.refuse_unless((*known, pixels) == (d, self.n_classes, d), line)
        return self

    @classmethod
    def from_arrays(
        cls, x: Any, y: Any, *, x_test: Any = None, y_test: Any = None, test_share: float = 0.2, seed: int = 0,
        bounds: Bounds | None = None, scale: bool = False, name: str = "own", feature_names: Sequence[str] = (),
    ) -> "Dataset":  # fmt: skip
        """Make a dataset from arrays, tensors, lists or pandas objects: rows x (n, d) or images (n, height, width).
        y (n,) holds whole numbers or texts; sorted, they are the classes 0, 1, ... Test rows are given, or a share of
        each class drawn by `seed`. `scale` subtracts the mean of the training rows and divides by their standard
        deviation. `bounds`, in the units of x, are by default those of the training rows, and [0, 1] for images; test
        rows outside are refused, or left out where they are drawn. Raises ValueError in one line.
        >>> Dataset.from_arrays([[0, 3], [1, 4], [0, 4], [1, 3]], ["no", "no", "yes", "yes"]).class_names
        ('no', 'yes')
        """
        checks.refuse_type("scale", scale, bool)
        names = tuple(map(str, getattr(x, "columns", feature_names)))
        x = _own.numbers(x, "x", names)
        n, shape, y = len(x), x.shape[1:] if x.ndim == 3 else None, _own.labels(y, "y", len(x))
        if x_test is not None:
            columns, rest = getattr(x_test, "columns", names), _own.numbers(x_test, "x_test", names)
            same = rest.shape[1:] == x.shape[1:] and names == tuple(map(str, columns))
            checks.refuse_unless(same, f"expected x_test with the columns of x, got others, of shape {rest.shape}")
            x, y = np.concatenate([x, rest]), np.concatenate([y, _own.labels(y_test, "y_test", len(rest))])
        x, (classes, y) = torch.from_numpy(x.reshape(len(x), -1)), np.unique(y, return_inverse=True)
        checks.refuse_unless(len(classes) > 1, f"expected labels of two classes or more in y, got {classes.tolist()}")
        new = classes[list({*y} - {*y[:n]})].tolist()
        checks.refuse_unless(not new, f"expected labels in y_test that y has, got {new[:20]}")
        train, test = _own.split(y, test_share, seed) if x_test is None else (np.arange(n), np.arange(n, len(x)))
        box, scaler = None if bounds is None else checks.box(bounds, x), None
        if scale:
            low, high = x[train].aminmax(dim=0)
            mean, std = x[train].mean(0), torch.where(low < high, x[train].std(0), 1)
            x, box, scaler = (x - mean) / std, box and [(side - mean) / std for side in box], (mean, std)
        x = x.float()
        if box is not None:
            bounds = tuple(side.float() if side.ndim else float(side) for side in box)
        elif shape and not scale:
            bounds = 0.0, 1.0
        else:
            bounds = low, high = tuple(x[train].aminmax(dim=0))
            inside = ((x[test] >= low) & (x[test] <= high)).all(1).numpy()
            line = f"{(~inside).sum()} of {len(test)} test rows outside the bounds of the training rows"
            checks.refuse_unless(x_test is None or inside.all(), f"expected bounds that hold all rows, got {line}")
            if not inside.all():
                warn(f"left out {line}")
            test = test[inside]
        parts = [of[rows] for rows in (train, test) for of in (x, torch.from_numpy(y))]
        names = names or tuple(f"feature {i}" for i in range(x.shape[1]))
        known = shape, len(classes), names, tuple(map(str, classes.tolist()))
        return cls(name, name, *parts, bounds, *known, scaler).checked()

    @classmethod
    def from_csv(cls, path: str | Path, *, target: str, scale: bool = True, **options: Any) -> "Dataset":
        """Read a CSV file with a header: numbers in all columns but `target`, which holds the classes.
        `options` are those of `from_arrays`; the dataset has the name of the file. Raises ValueError in one line.
        >>> _ = Path("a.csv").write_text("age,ill\\n1,no\\n2,no\\n1,yes\\n2,yes\\n")
        >>> Dataset.from_csv("a.csv", target="ill").feature_names
        ('age',)
        """
        x, y, names = _own.read(path, target)
        known = {"name": Path(path).stem, "feature_names": names}
        return cls.from_arrays(x, y, scale=scale, **known | options)


def digits(name: str, title: str, largest: int, parts: list[np.ndarray]) -> Dataset:
    """Make a dataset from images (n, side, side) up to `largest` and labels (n,): train, train, test, test."""
    side = parts[0].shape[1]
    images = [part.reshape(len(part), -1).astype(np.float32) / np.float32(largest) for part in parts[::2]]
    labels = [part.astype(np.int64) for part in parts[1::2]]
    tensors = map(torch.from_numpy, (images[0], labels[0], images[1], labels[1]))
    pixels = tuple(f"pixel {row},{column}" for row in range(side) for column in range(side))
    known = (side, side), 10, pixels, tuple("0123456789")
    return Dataset(name, title, *tensors, (0.0, 1.0), *known, (torch.tensor(0.0), torch.tensor(float(largest))))
