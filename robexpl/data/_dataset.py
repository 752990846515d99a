"""What a loaded dataset is, and the making of one from images of digits."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """Hold one dataset, split, scaled and ready for a network; `bounds` is the box of attacks and counterfactuals."""

    name: str
    title: str
    x_train: Tensor  # (n, d) float32
    y_train: Tensor  # (n,) int64
    x_test: Tensor  # (m, d) float32
    y_test: Tensor  # (m,) int64
    bounds: tuple[float | Tensor, float | Tensor]  # numbers, or (d,) each
    image_shape: tuple[int, int] | None
    n_classes: int
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]


def digits(name: str, title: str, largest: int, parts: list[np.ndarray]) -> Dataset:
    """Make a dataset from images (n, side, side) up to `largest` and labels (n,): train, train, test, test."""
    side = parts[0].shape[1]
    images = [part.reshape(len(part), -1).astype(np.float32) / np.float32(largest) for part in parts[::2]]
    labels = [part.astype(np.int64) for part in parts[1::2]]
    tensors = map(torch.from_numpy, (images[0], labels[0], images[1], labels[1]))
    pixels = tuple(f"pixel {row},{column}" for row in range(side) for column in range(side))
    return Dataset(name, title, *tensors, (0.0, 1.0), (side, side), 10, pixels, tuple("0123456789"))
