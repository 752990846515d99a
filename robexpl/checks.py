"""Checks of what comes in: each failure is one line that says what was expected and what came.
Functions called refuse_... return nothing, so results do not rest on their code; the others return what callers use.
"""

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from robexpl.gradients import relu_layers

Bounds = tuple[float | Tensor, float | Tensor]
COUNTS = frozenset({"batch_size", "chunk", "epochs", "hidden", "inputs", "outputs", "rows", "seed", "seeds", "steps"})


def refuse_unless(right: bool, line: str) -> None:
    """Raise ValueError with a line unless something is right."""
    if not right:
        raise ValueError(line)


def one_of(what: str, value: str, known: Collection[str]) -> str:
    """Return `value` if it is among the known names, else raise with the list of them.
    >>> one_of("regime", "weak", ("weak", "strong"))
    'weak'
    """
    is_known = isinstance(value, str) and value in known
    refuse_unless(is_known, f"unknown {what} {_short(value)}; known: {', '.join(map(str, known))}")
    return value


def positive(**values: float) -> None:
    """Raise unless every value is a finite number above zero, and whole where its name is that of a count."""
    non_negative("> 0", **values)


def non_negative(expected: str = ">= 0", /, **values: float) -> None:
    """Raise unless every value is a finite number of at least zero, and whole where its name is that of a count."""
    for name, value in values.items():
        try:
            number = None if isinstance(value, (str, bytes, bool)) else float(value)
        except (TypeError, ValueError, RuntimeError, OverflowError):  # RuntimeError: a tensor of several numbers
            number = None
        refuse_unless(number is not None, f"expected {name} as one number, got {_short(value)}")
        right = 0 <= number < float("inf") and (number > 0 or expected == ">= 0")
        refuse_unless(right, f"expected {name} {expected}, got {value}")
        refuse_unless(name not in COUNTS or int(value) == value, f"expected {name} as a whole number, got {value}")


def _short(value: Any) -> str:
    """Show a value in a few words on one line."""
    text = repr(value)
    return text if len(text) <= 60 and text.isprintable() else type(value).__name__


def points(x: Tensor, what: str = "x") -> Tensor:
    """Return `x` if it is a finite floating-point tensor of shape (n, d)."""
    got = type(x).__name__
    refuse_unless(isinstance(x, Tensor), f"expected {what} to be a torch tensor of shape (n, d), got {got}")
    refuse_unless(x.ndim == 2 and x.shape[1] > 0, f"expected {what} of shape (n, d), got {tuple(x.shape)}")
    refuse_unless(x.is_floating_point(), f"expected {what} to hold floating-point numbers, got {x.dtype}")
    refuse_unless(not x.requires_grad, f"expected {what} to be plain numbers, got a tensor with gradients; detach it")
    refuse_numbers(what, x, x)
    return x


def labels(y: Tensor, n: int, n_classes: int | None = None, what: str = "labels") -> Tensor:
    """Return `y` if it is an integer tensor of shape (n,) with values in 0 ... n_classes - 1."""
    got = type(y).__name__
    refuse_unless(isinstance(y, Tensor), f"expected {what} to be a torch tensor of shape ({n},), got {got}")
    refuse_unless(tuple(y.shape) == (n,), f"expected {what} of shape ({n},), got {tuple(y.shape)}")
    whole = not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)
    refuse_unless(whole, f"expected {what} to be integers, got {y.dtype}")
    refuse_hollow(what, y)
    least, most = (int(y.min()), int(y.max())) if n else (0, -1)
    upper = "" if n_classes is None else f" ... {n_classes - 1}"
    inside = least >= 0 and (n_classes is None or most < n_classes)
    refuse_unless(inside, f"expected {what} in 0{upper}, got values from {least} to {most}")
    return y


def box(bounds: Bounds, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the box (low, high) as tensors that broadcast with x: scalars, or one value per feature of shape (d,)."""
    refuse_hollow("bounds", *(bounds if isinstance(bounds, (tuple, list)) else [bounds]))
    try:
        low, high = (torch.as_tensor(side, dtype=x.dtype, device=x.device) for side in bounds)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(f"expected bounds as a pair (low, high), got {_short(bounds)}") from None
    row = tuple(x.shape[1:])
    for side in (low, high):
        refuse_unless(side.shape in ((), row), f"expected bounds as numbers or of shape {row}, got {tuple(side.shape)}")
    refuse_unless((low < high).all(), f"expected low < high in bounds, got low {low.max():g} and high {high.min():g}")
    return low, high


def refuse_type(what: str, value: Any, kind: type | tuple[type, ...]) -> None:
    """Raise unless a value is of a kind."""
    if not isinstance(value, kind):
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise ValueError(f"expected {what} as {names}, got {_short(value)}")


def refuse_numbers(what: str, values: Tensor, x: Tensor) -> None:
    """Raise unless values are a finite tensor with the type and the device of x."""
    for tensor in (values, x):
        refuse_type(what, tensor, Tensor)
    refuse_hollow(what, values)
    same = (values.dtype, values.device) == (x.dtype, x.device)
    refuse_unless(same, f"expected {what} as {x.dtype} on {x.device}, got {values.dtype} on {values.device}")
    bad = int((~torch.isfinite(values)).sum())
    refuse_unless(not bad, f"expected finite numbers in {what}, got {bad} NaN or infinite")


def refuse_hollow(what: str, *values: Any) -> None:
    """Raise where a tensor among the values is sparse, complex or without values."""
    for value in values:
        if isinstance(value, Tensor) and (value.layout != torch.strided or value.is_meta or value.is_complex()):
            kind = f"{value.layout}, {value.dtype} on {value.device}"
            raise ValueError(f"expected {what} to be a dense tensor with values, got {kind}")


def refuse_outside(what: str, values: Tensor, low: Tensor, high: Tensor) -> None:
    """Raise where values lie outside the box from low to high, but for rounding."""
    slack = 1e-6 * (1 + values.abs())
    if not ((values >= low - slack) & (values <= high + slack)).all():
        raise ValueError(f"expected {what} inside the bounds, got values from {values.min():g} to {values.max():g}")


def refuse_image_shape(shape: Any) -> None:
    """Raise unless a shape is a pair of whole numbers."""
    pair = isinstance(shape, (tuple, list)) and [type(side) for side in shape] == [int, int]
    refuse_unless(pair, f"expected image_shape as (height, width), got {_short(shape)}")


def refuse_intensities(x: Tensor, what: str = "x", most: float = 1e6) -> None:
    """Raise where numbers are so far from intensities in [0, 1] that their squares would overflow."""
    largest = float(x.abs().max()) if x.numel() else 0.0
    refuse_unless(largest <= most, f"expected intensities about [0, 1] in {what}, got {largest:g}")


def refuse_half(x: Tensor, what: str = "x") -> None:
    """Raise where numbers are in half precision, for which torch knows no distances."""
    refuse_unless(x.dtype.itemsize > 2, f"expected {what} in single or double precision, got {x.dtype}")


def refuse_model(
    model: nn.Module, x: Tensor, *, gradients: bool = True, training: bool = False, n_classes: int | None = None
) -> None:
    """Raise unless a model maps points x (n, d) to logits (n, n_classes) that are finite, repeatable, with gradients.
    Tried on the first two rows of x: each alone and both together must give the same, which a network in training mode
    with dropout or batch normalisation does not; `training=True` lets it and infinities pass, and asks for weights.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"expected a model that is a torch.nn.Module, got {_short(model)}")
    points(x)
    rows = (x[:2] if len(x) else x.new_zeros(1, x.shape[1])).clone().requires_grad_()
    batches = [rows] if training else [rows, *rows.split(1)]
    try:
        tried = copy.deepcopy(model) if next(model.buffers(), None) is not None else model  # trying leaves no trace
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            answers = [tried(batch) for batch in batches]
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"expected a model of x {tuple(x.shape)} {x.dtype}, but it fails: {line}") from None
    form = f"the model to map (n, d) to logits (n, {n_classes or 'classes'}), {x.dtype}"
    for logits, batch in zip(answers, batches, strict=True):
        right = isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == len(batch) and logits.shape[1] >= 2
        right = right and logits.dtype == x.dtype and n_classes in (None, logits.shape[1])
        got = f"{tuple(logits.shape)} {logits.dtype}" if isinstance(logits, Tensor) else type(logits).__name__
        refuse_unless(right, f"expected {form}, got {got} for {tuple(batch.shape)}")
        bad = 0 if training else int((~torch.isfinite(logits)).sum())
        refuse_unless(not bad, f"expected finite logits, got {bad} NaN or infinite")
    if training:
        some = any(weight.requires_grad for weight in model.parameters())
        refuse_unless(some, "expected a model with weights to train, got none")
        weights = [weight for layer in relu_layers(model) or [] for weight in (layer.weight, layer.bias)]
        free = all(w.requires_grad and not w._backward_hooks for w in weights) and len(set(weights)) == len(weights)
        wrong = "frozen, shared or hooked ones, which gradients in closed form pass over; wrap them in a module"
        refuse_unless(free, f"expected free weights, got {wrong}")
    if gradients:
        whole, ones = answers[0], torch.ones_like(answers[0])
        follows = whole.requires_grad and torch.autograd.grad(whole, rows, ones, allow_unused=True)[0] is not None
        refuse_unless(follows, "expected logits that follow the input, got some without gradients: detached or rounded")
    same = training or torch.allclose(answers[0], torch.cat(answers[1:]), rtol=1e-3, atol=1e-4)
    refuse_unless(same, "expected the same logits for the same row, got others: call model.eval() first")
