"""A deeper perceptron: two hidden layers of the study's size."""

import torch
from torch import nn

from robexpl.models.mlp import HIDDEN, mlp


def deep_mlp(**sizes) -> nn.Sequential:
    """Make a perceptron as `mlp` does.
    >>> len(deep_mlp(inputs=3, hidden=[4, 4], outputs=2))
    5
    """
    return mlp(**sizes)


def build(
    inputs: int, outputs: int, image_shape: tuple[int, int] | None, *, generator: torch.Generator | None = None
) -> nn.Sequential:
    """Make a perceptron with two hidden layers, of 128 units for images and 10 for tabular data."""
    return mlp(inputs, [HIDDEN["image" if image_shape else "tabular"]] * 2, outputs, generator=generator)


def sizes(model: nn.Module) -> None:
    """Recognise none: files name a perceptron of any depth `mlp`."""
    return None
