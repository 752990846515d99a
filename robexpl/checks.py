"""Checks of what comes in: each failure is one line that says what was expected and what came."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

Bounds = tuple[float | Tensor, float | Tensor]


def one_of(what: str, value: str, known: Collection[str]) -> str:
    """Return `value` if it is among the known names, else raise with the list of them."""
    if value not in known:
        raise ValueError(f"unknown {what} {value!r}; known: {', '.join(map(str, known))}")
    return value


def positive(**values: float) -> None:
    """Raise unless every value is a finite number above zero."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"expected {name} > 0, got {value}")


def non_negative(**values: float) -> None:
    """Raise unless every value is a finite number of at least zero."""
    for name, value in values.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"expected {name} >= 0, got {value}")


def points(x: Tensor, what: str = "x") -> Tensor:
    """Return `x` if it is a finite floating-point tensor of shape (n, d)."""
    if not isinstance(x, Tensor):
        raise ValueError(f"expected {what} to be a torch tensor of shape (n, d), got {type(x).__name__}")
    if x.ndim != 2:
        raise ValueError(f"expected {what} of shape (n, d), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"expected {what} to hold floating-point numbers, got {x.dtype}")
    if not torch.isfinite(x).all():
        raise ValueError(f"expected finite numbers in {what}, got {int((~torch.isfinite(x)).sum())} NaN or infinite")
    return x


def labels(y: Tensor, n: int, n_classes: int | None = None, what: str = "labels") -> Tensor:
    """Return `y` if it is an integer tensor of shape (n,) with values in 0 ... n_classes - 1."""
    if not isinstance(y, Tensor):
        raise ValueError(f"expected {what} to be a torch tensor of shape ({n},), got {type(y).__name__}")
    if tuple(y.shape) != (n,):
        raise ValueError(f"expected {what} of shape ({n},), got {tuple(y.shape)}")
    if y.is_floating_point() or y.dtype == torch.bool:
        raise ValueError(f"expected {what} to be integers, got {y.dtype}")
    if n and (int(y.min()) < 0 or (n_classes is not None and int(y.max()) >= n_classes)):
        upper = "" if n_classes is None else f" ... {n_classes - 1}"
        raise ValueError(f"expected {what} in 0{upper}, got values from {int(y.min())} to {int(y.max())}")
    return y


def box(bounds: Bounds, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the box (low, high) as tensors that broadcast with x: scalars, or one value per feature of shape (d,)."""
    try:
        low, high = (torch.as_tensor(side, dtype=x.dtype, device=x.device) for side in bounds)
    except (TypeError, ValueError):
        raise ValueError(f"expected bounds as a pair (low, high), got {bounds!r}") from None
    for side in (low, high):
        if side.ndim and tuple(side.shape) != (x.shape[1],):
            raise ValueError(f"expected bounds as numbers or of shape ({x.shape[1]},), got {tuple(side.shape)}")
        if torch.isnan(side).any():
            raise ValueError("expected bounds without NaN")
    if not (low < high).all():
        raise ValueError(f"expected low < high in bounds, got low {low.max():g} and high {high.min():g}")
    return low, high
