"""Checks of what comes in: each failure is one line that says what was expected and what came."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

Bounds = tuple[float | Tensor, float | Tensor]
COUNTS = frozenset({"batch_size", "chunk", "epochs", "hidden", "inputs", "outputs", "rows", "seed", "seeds", "steps"})


def one_of(what: str, value: str, known: Collection[str]) -> str:
    """Return `value` if it is among the known names, else raise with the list of them."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"unknown {what} {_short(value)}; known: {', '.join(map(str, known))}")
    return value


def positive(**values: float) -> None:
    """Raise unless every value is a finite number above zero, and whole where its name is that of a count."""
    for name, value in values.items():
        if not 0 < _number(name, value) < float("inf"):
            raise ValueError(f"expected {name} > 0, got {value}")
        _whole(name, value)


def non_negative(**values: float) -> None:
    """Raise unless every value is a finite number of at least zero, and whole where its name is that of a count."""
    for name, value in values.items():
        if not 0 <= _number(name, value) < float("inf"):
            raise ValueError(f"expected {name} >= 0, got {value}")
        _whole(name, value)


def _number(name: str, value: Any) -> float:
    try:
        if not isinstance(value, (str, bytes, bool)):
            return float(value)
    except OverflowError:
        return float("inf")
    except (TypeError, ValueError, RuntimeError):  # the last: a tensor of several numbers
        pass
    raise ValueError(f"expected {name} as one number, got {_short(value)}")


def _whole(name: str, value: Any) -> None:
    if name in COUNTS and int(value) != value:
        raise ValueError(f"expected {name} as a whole number, got {value}")


def _short(value: Any) -> str:
    """Show a value in a few words on one line."""
    text = repr(value)
    return text if len(text) <= 60 and text.isprintable() else type(value).__name__


def points(x: Tensor, what: str = "x") -> Tensor:
    """Return `x` if it is a finite floating-point tensor of shape (n, d)."""
    if not isinstance(x, Tensor):
        raise ValueError(f"expected {what} to be a torch tensor of shape (n, d), got {type(x).__name__}")
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"expected {what} of shape (n, d), got {tuple(x.shape)}")
    if x.layout != torch.strided or x.is_meta:
        raise ValueError(f"expected {what} to be a dense tensor with values, got {x.layout} on {x.device}")
    if x.requires_grad:
        raise ValueError(f"expected {what} to be plain numbers, got a tensor that requires gradients; detach it")
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
    if y.is_meta:
        raise ValueError(f"expected {what} with values, got a tensor on {y.device}")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"expected {what} to be integers, got {y.dtype}")
    if n and (int(y.min()) < 0 or (n_classes is not None and int(y.max()) >= n_classes)):
        upper = "" if n_classes is None else f" ... {n_classes - 1}"
        raise ValueError(f"expected {what} in 0{upper}, got values from {int(y.min())} to {int(y.max())}")
    return y


# What `points`, `labels` and `box` return goes into results, which the keys of cached stages do not show: a change of
# it needs the cache to be deleted (`make clean`). tests/test_inner_properties.py holds it.
def box(bounds: Bounds, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the box (low, high) as tensors that broadcast with x: scalars, or one value per feature of shape (d,)."""
    refuse_hollow("bounds", *(bounds if isinstance(bounds, (tuple, list)) else [bounds]))
    try:
        low, high = (torch.as_tensor(side, dtype=x.dtype, device=x.device) for side in bounds)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(f"expected bounds as a pair (low, high), got {_short(bounds)}") from None
    for side in (low, high):
        if side.ndim and tuple(side.shape) != (x.shape[1],):
            raise ValueError(f"expected bounds as numbers or of shape ({x.shape[1]},), got {tuple(side.shape)}")
        if torch.isnan(side).any():
            raise ValueError("expected bounds without NaN")
    if not (low < high).all():
        raise ValueError(f"expected low < high in bounds, got low {low.max():g} and high {high.min():g}")
    return low, high


# The functions below return nothing: as statements of their own they decide what is refused, never what comes out, and
# `provenance.essence` leaves them out. One more or less of them recomputes nothing.


def refuse_type(what: str, value: Any, kind: type | tuple[type, ...]) -> None:
    """Raise unless a value is of a kind."""
    if not isinstance(value, kind):
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise ValueError(f"expected {what} as {names}, got {_short(value)}")


def refuse_seed(seed: Any) -> None:
    """Raise unless a seed is a whole number of at least zero."""
    non_negative(seed=seed)


def refuse_numbers(what: str, values: Tensor, x: Tensor) -> None:
    """Raise unless values are a finite tensor with the type and the device of x."""
    for tensor in (values, x):
        refuse_type(what, tensor, Tensor)
    refuse_hollow(what, values, x)
    if (values.dtype, values.device) != (x.dtype, x.device):
        raise ValueError(f"expected {what} as {x.dtype} on {x.device}, got {values.dtype} on {values.device}")
    if not torch.isfinite(values).all():
        raise ValueError(
            f"expected finite numbers in {what}, got {int((~torch.isfinite(values)).sum())} NaN or infinite"
        )


def refuse_outside(what: str, values: Tensor, low: Tensor, high: Tensor) -> None:
    """Raise where values lie outside the box from low to high, but for rounding."""
    slack = 1e-6 * (1 + values.abs())
    if values.numel() and not ((values >= low - slack) & (values <= high + slack)).all():
        raise ValueError(f"expected {what} inside the bounds, got values from {values.min():g} to {values.max():g}")


def refuse_hollow(what: str, *values: Any) -> None:
    """Raise where a tensor among the values is sparse, complex or without values."""
    for value in values:
        if isinstance(value, Tensor) and (value.layout != torch.strided or value.is_meta or value.is_complex()):
            kind = f"{value.layout}, {value.dtype} on {value.device}"
            raise ValueError(f"expected {what} as dense real tensors with values, got {kind}")


def refuse_image_shape(shape: Any) -> None:
    """Raise unless a shape is a pair of whole numbers."""
    if not (isinstance(shape, (tuple, list)) and len(shape) == 2 and all(type(side) is int for side in shape)):
        raise ValueError(f"expected image_shape as (height, width), got {_short(shape)}")


def refuse_intensities(x: Tensor, what: str = "x", most: float = 1e6) -> None:
    """Raise where numbers are so far from intensities in [0, 1] that their squares would overflow."""
    if x.numel() and float(x.abs().max()) > most:
        raise ValueError(f"expected intensities about [0, 1] in {what}, got {float(x.abs().max()):g}")


def refuse_half(x: Tensor, what: str = "x") -> None:
    """Raise where numbers are in half precision, for which torch knows no distances."""
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"expected {what} in single or double precision, got {x.dtype}")


def refuse_rows(x: Tensor, y: Tensor, n_classes: int) -> None:
    """Raise unless x (n, d) and y (n,) int64 can be trained on."""
    positive(rows=len(points(x, "x_train")))
    if labels(y, len(x), n_classes, "y_train").dtype != torch.int64:
        raise ValueError(f"expected y_train as torch.int64, got {y.dtype}")


def refuse_weights(weights: dict[str, Tensor]) -> None:
    """Raise unless weights "....weight" are matrices and the others vectors, of finite numbers."""
    for name, value in weights.items():
        refuse_numbers(name, value, value)
        if value.ndim != 1 + name.endswith("weight"):
            raise ValueError(f"expected {name} of {1 + name.endswith('weight')} dimensions, got {tuple(value.shape)}")


def refuse_model(
    model: nn.Module, x: Tensor, *, gradients: bool = True, training: bool = False, n_classes: int | None = None
) -> None:
    """Raise unless a model maps points x (n, d) to logits (n, classes) that are finite, repeatable and have gradients.

    Tried on the first two rows of x: each alone and both together must give the same, which a network in training mode
    with dropout or batch normalisation does not. Gradients are asked for unless `gradients=False`; `training=True` lets
    such a network and infinities pass, and asks for weights. `n_classes`, if given, is how many logits there must be.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"expected a model that is a torch.nn.Module, got {_short(model)}")
    points(x)
    rows = (x[:2] if len(x) else x.new_zeros(1, x.shape[1])).detach().clone().requires_grad_()
    try:
        tried = copy.deepcopy(model) if next(model.buffers(), None) is not None else model  # trying leaves no trace
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            logits = tried(rows)
            parts = [] if training else [tried(row) for row in rows.split(1)]
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"expected a model of x {tuple(x.shape)} {x.dtype}, but it fails: {lines[0]}") from None
    expected = f"expected the model to map (n, d) to logits (n, classes), {x.dtype}"
    for logit, row in zip([logits, *parts], [rows, *rows.split(1)], strict=False):
        if not isinstance(logit, Tensor):
            raise ValueError(f"{expected}, got {type(logit).__name__}")
        if logit.ndim != 2 or len(logit) != len(row) or logit.shape[1] < 2:
            raise ValueError(f"{expected}, got {tuple(logit.shape)} for {tuple(row.shape)}")
        if logit.dtype != x.dtype:
            raise ValueError(f"{expected}, got {logit.dtype}")
        if not training and not torch.isfinite(logit).all():
            raise ValueError(f"expected finite logits, got {int((~torch.isfinite(logit)).sum())} NaN or infinite")
        if n_classes not in (None, logit.shape[1]):
            raise ValueError(f"expected logits of {n_classes} classes, got {logit.shape[1]}")
    if training and not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError("expected a model with weights to train, got none")
    if training and (odd := _odd_weights(model)):
        raise ValueError(f"expected free weights, got {odd} ones; they train inside a module of your own")
    if gradients and not _follows(logits, rows):
        raise ValueError("expected logits that follow the input, got some without gradients: detached or rounded")
    if parts and not torch.allclose(logits, torch.cat(parts), rtol=1e-3, atol=1e-4):
        raise ValueError("expected the same logits for the same row, got others: call model.eval() first")


def _odd_weights(model: nn.Module) -> str:
    """Say what is odd about the weights of a perceptron, whose gradients in closed form would pass it over."""
    from robexpl.gradients import relu_layers  # late: only here do checks need to know

    layers = relu_layers(model) or []
    weights = [weight for layer in layers for weight in (layer.weight, layer.bias)]
    if not all(weight.requires_grad for weight in weights):
        return "frozen"
    if len({id(weight) for weight in weights}) < len(weights):
        return "shared"
    return "hooked" if any(weight._backward_hooks for weight in weights) else ""


@torch.enable_grad()
def _follows(logits: Tensor, rows: Tensor) -> bool:
    """Tell whether logits have a gradient with respect to the rows they were computed from."""
    return logits.requires_grad and torch.autograd.grad(logits.sum(), rows, allow_unused=True)[0] is not None
