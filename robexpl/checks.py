"""Checks of what comes in: each failure is one line that says what was expected and what came.
Functions called refuse_... return nothing, so results do not rest on their code; the others return what callers use.
"""

import math
import sys
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robexpl.gradients import plainly, refuse_infinite, relu_layers, telling

Bounds = tuple[float | Tensor, float | Tensor]
SIZES = {"batch_size", "chunk", "epochs", "height", "hidden", "inputs", "k", "outputs", "rows", "steps", "width"}
COUNTS = SIZES | {"seed", "seeds", "target"}
SWITCHES = ("p", "dropout", "track_running_stats")  # where one is 0 or False, what follows does neither:
# what in training mode draws at random or changes its state
RESTLESS = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase, nn.RReLU, nn.RNNBase, nn.MultiheadAttention)


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


def positive(**values: float) -> Any:
    """Return values as `non_negative` does, and raise as well where one is zero."""
    return non_negative("> 0", **values)


def non_negative(expected: str = ">= 0", /, **values: float) -> Any:
    """Return finite numbers of at least zero, one or a list, of any type; as int where their name is that of a count.
    >>> non_negative(eps=np.float64(0.5), steps=2.0)
    [0.5, 2]
    """
    numbers = [_number(name, value, expected) for name, value in values.items()]
    return numbers[0] if len(numbers) == 1 else numbers


def _number(name: str, value: Any, expected: str) -> int | float:
    refuse_gradients(name, value)
    try:
        plain = value.item() if isinstance(value, (Tensor, np.ndarray, np.generic)) else value
        number = None if isinstance(plain, (str, bytes, bool)) else float(plain)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # RuntimeError: a tensor of several numbers
        number = None
    refuse_unless(number is not None, f"expected {name} as one number, got {_short(value)}")
    right = 0 <= number < math.inf and (number > 0 or expected == ">= 0")
    refuse_unless(right, f"expected {name} {expected}, got {plain}")
    if name not in COUNTS:
        return plain if type(plain) is int and plain < 2**53 else number
    refuse_unless(int(plain) == plain, f"expected {name} as a whole number, got {plain}")
    refuse_unless(name == "seed" or plain <= sys.maxsize, f"expected {name} below 2^63, got {plain}")
    return int(plain)


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
    refuse_gradients(what, x)
    refuse_numbers(what, x, x)
    return x


def labels(y: Tensor, n: int, n_classes: int | None = None, what: str = "labels") -> Tensor:
    """Return `y` as torch.long if it is an integer tensor of shape (n,) with values in 0 ... n_classes - 1."""
    got = type(y).__name__
    refuse_unless(isinstance(y, Tensor), f"expected {what} to be a torch tensor of shape ({n},), got {got}")
    refuse_unless(tuple(y.shape) == (n,), f"expected {what} of shape ({n},), got {tuple(y.shape)}")
    whole = not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)
    refuse_unless(whole, f"expected {what} to be integers, got {y.dtype}")
    refuse_hollow(what, y)
    y = y.long()
    least, most = (int(y.min()), int(y.max())) if n else (0, -1)
    upper = "" if n_classes is None else f" ... {n_classes - 1}"
    inside = least >= 0 and (n_classes is None or most < n_classes)
    refuse_unless(inside, f"expected {what} in 0{upper}, got values from {least} to {most}")
    return y


def box(bounds: Bounds, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the box (low, high) as finite tensors that broadcast with x, () or (d,); where they are equal x stays."""
    given = bounds if isinstance(bounds, (tuple, list)) else [bounds]
    refuse_hollow("bounds", *given)
    refuse_gradients("bounds", *given)
    try:
        low, high = (torch.as_tensor(side, dtype=x.dtype, device=x.device) for side in bounds)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(f"expected bounds as a pair (low, high), got {_short(bounds)}") from None
    row = tuple(x.shape[1:])
    for side in (low, high):
        refuse_unless(side.shape in ((), row), f"expected bounds as numbers or of shape {row}, got {tuple(side.shape)}")
    refuse_unless((low <= high).all(), f"expected low <= high in bounds, got low {low.max():g} and high {high.min():g}")
    largest = torch.finfo(x.dtype).max
    return low.clamp(-largest, largest), high.clamp(-largest, largest)


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
    refuse_infinite(f"numbers in {what}", values.detach())


def refuse_gradients(what: str, *values: Any) -> None:
    """Raise where a tensor among the values asks for gradients."""
    wanted = any(isinstance(value, Tensor) and value.requires_grad for value in values)
    refuse_unless(not wanted, f"expected {what} to be plain numbers, got a tensor with gradients; detach it")


def refuse_hollow(what: str, *values: Any) -> None:
    """Raise where a tensor among the values is sparse, complex or without values."""
    for value in values:
        if isinstance(value, Tensor) and (value.layout != torch.strided or value.is_meta or value.is_complex()):
            kind = f"{value.layout}, {value.dtype} on {value.device}"
            raise ValueError(f"expected {what} to be a dense tensor with values, got {kind}")


def refuse_outside(what: str, values: Tensor, low: Tensor, high: Tensor) -> None:
    """Raise where values lie outside the box from low to high, but for rounding."""
    if not ((values >= low).all() and (values <= high).all()):
        slack = 1e-6 * (1 + values.abs())
        inside = bool(((values >= low - slack) & (values <= high + slack)).all())
        line = f"expected {what} inside the bounds, got values from {values.min():g} to {values.max():g}"
        refuse_unless(inside, line)


def image_shape(shape: Any) -> tuple[int, int]:
    """Return (height, width) as a pair of integers above zero."""
    pair = isinstance(shape, (tuple, list)) and len(shape) == 2
    refuse_unless(pair, f"expected image_shape as (height, width), got {_short(shape)}")
    return tuple(positive(height=shape[0], width=shape[1]))


def refuse_intensities(x: Tensor, what: str = "x", most: float = 1.9) -> None:
    """Raise where numbers are not about [0, 1], within [1 - most, most]: noise passes, but no other scale."""
    least, largest = (float(edge) for edge in x.aminmax()) if x.numel() else (0.0, 0.0)
    line = f"expected intensities about [0, 1] in {what}, got values from {least:g} to {largest:g}: scale them first"
    refuse_unless(1 - most <= least and largest <= most, line)


def refuse_half(x: Tensor, what: str = "x") -> None:
    """Raise where numbers are in half precision, for which torch knows no distances."""
    refuse_unless(x.dtype.itemsize > 2, f"expected {what} in single or double precision, got {x.dtype}")


@torch.no_grad()
@plainly
def refuse_model(
    model: nn.Module, x: Tensor, *, gradients: bool = True, training: bool = False, n_classes: int | None = None
) -> None:
    """Raise unless a model maps points x (n, d) to logits (n, n_classes) that are finite, repeatable, with gradients.
    Tried on two rows of x: each alone and both together must give the same, and torch's generator stays where it was,
    unlike in training mode with dropout or batch normalisation, which `training=True` lets pass, as it does infinities;
    it asks for weights besides.
    """
    refuse_unless(isinstance(model, nn.Module), f"expected a model that is a torch.nn.Module, got {_short(model)}")
    points(x)
    lost = gradients and torch.is_inference_mode_enabled()
    refuse_unless(not lost, "expected gradients, which torch.inference_mode() turns off for good: leave it")
    rows = (telling(x) if len(x) else x.new_zeros(1, x.shape[1])).clone().requires_grad_()
    kept, slope, drawn = [], None, False
    try:
        for m in model.modules():
            kept += [(m, name, part, part.clone()) for name, part in m.named_buffers(recurse=False)]
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            answers = [(rows, logits := model(rows))]
            if gradients and isinstance(logits, Tensor) and logits.requires_grad:
                slope = torch.autograd.grad(logits, rows, torch.ones_like(logits), allow_unused=True)[0]
            state = torch.get_rng_state()
            answers += [] if training else [(row, model(row)) for row in rows.split(1)]
            drawn = not torch.equal(torch.get_rng_state(), state)  # though rows of zeros may not show it
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"expected a model of x (n, {x.shape[1]}) {x.dtype}, but it fails: {reason}") from None
    finally:
        for m, name, part, value in kept:
            setattr(m, name, value if part.is_inference() else part.copy_(value))  # trying leaves no trace
    form = f"the model to map (n, d) to logits (n, {n_classes or 'classes'}), {x.dtype}"
    for batch, found in answers:
        tensor = isinstance(found, Tensor)
        single = tensor and found.shape in ((len(batch),), (len(batch), 1))
        right = tensor and found.ndim == 2 and len(found) == len(batch) and found.shape[1] >= 2
        right = right and found.dtype == x.dtype and n_classes in (None, found.shape[1])
        got = f"{tuple(found.shape)} {found.dtype}" if tensor else type(found).__name__
        remedy = "; make a single logit f two, 0 and f" if single else "" if tensor else "; return the logits alone"
        refuse_unless(right, f"expected {form}, got {got} for {tuple(batch.shape)}{remedy}")
        if not training:
            refuse_infinite("logits", found)
    if training:
        some = any(weight.requires_grad for weight in model.parameters())
        refuse_unless(some, "expected a model with weights to train, got none")
        weights = [weight for layer in relu_layers(model) or [] for weight in (layer.weight, layer.bias)]
        free = all(w.requires_grad and not w._backward_hooks for w in weights) and len(set(weights)) == len(weights)
        wrong = "frozen, shared or hooked ones, which gradients in closed form pass over; wrap them in a module"
        refuse_unless(free, f"expected free weights, got {wrong}")
    if gradients:
        line = "expected logits that follow the input, got some without gradients: detached or rounded"
        refuse_unless(slope is not None, line)
        shares = bool((logits >= 0).all() and ((logits.sum(1) - 1).abs() < 0.01).all() and (slope.abs() < 0.01).all())
        refuse_unless(not shares, "expected logits, got probabilities, which sum to 1: leave out the final softmax")
    if not training:
        same = torch.allclose(logits, torch.cat([found for _, found in answers[1:]]), rtol=1e-3, atol=1e-4)
        restless = [m for m in model.modules() if m.training and isinstance(m, RESTLESS)]
        same = same and not drawn and not any(all(getattr(m, name, True) for name in SWITCHES) for m in restless)
        why = "in eval mode, too, it is random or mixes rows (F.dropout asks for training=self.training)"
        why = "call model.eval() first" if any(m.training for m in model.modules()) else why
        refuse_unless(same, f"expected the same logits for the same row, got others: {why}")
