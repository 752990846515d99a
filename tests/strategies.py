"""What the property tests draw, points, labels and settings as users have them, and the rule that all are held to."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from robexpl import models

FEW = settings(max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
D, CLASSES = 6, 3
NET = models.mlp(D, 5, CLASSES, generator=torch.Generator().manual_seed(0))
DEEP = nn.Sequential(nn.Linear(D, 4), nn.Tanh(), nn.Linear(4, CLASSES))  # no closed form
FIXED = torch.zeros(D), torch.tensor([1.0] * (D - 1) + [0.0])  # the last feature may not move
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def outcome(call: Callable[[], Any], refusal: type[Exception] | tuple[type[Exception], ...] = ValueError) -> Any:
    """Return what a call gives, None where it refuses in one line; anything else it raises fails the test."""
    try:
        return call()
    except refusal as error:
        line = str(error)
    assert line
    assert line.isprintable() or "\n" not in line, line
    return None


@st.composite
def arrays(draw: st.DrawFn, d: int = D, clean: bool = False) -> Tensor:
    """Draw points as users have them: most of them good, in any layout."""
    n = draw(st.integers(0, 9))
    x = torch.rand(n, d, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    layout = draw(
        st.sampled_from(["plain", "transposed", "every other", "expanded", "constant feature", "constant", "fixed"])
    )
    if layout == "transposed":
        x = torch.rand(d, n, generator=torch.Generator().manual_seed(n)).T
    elif layout == "every other":
        x = x.repeat_interleave(2, 0)[::2]
    elif layout == "expanded":
        x = x[:1].expand(n, d)
    elif layout == "constant feature":
        x[:, 0] = 0.5
    elif layout == "fixed":
        x[:, -1] = 0.0
    elif layout == "constant":
        x = torch.full((n, d), 0.5)
    if clean:
        return x
    spoil = draw(st.sampled_from([None] * 6 + ["nan", "inf", "-inf", "long", "bool", "1d", "3d", "width", "grad"]))
    if spoil in ("nan", "inf", "-inf") and n:
        x = x.clone()
        x[-1, -1] = float(spoil)
    changes = {
        "long": lambda: x.long(), "bool": lambda: x > 0.5, "1d": lambda: x.flatten(), "3d": lambda: x[None],
        "grad": lambda: x.clone().requires_grad_(),
    }  # fmt: skip
    if spoil == "width":
        x = x[:, 1:]
    return changes.get(spoil, lambda: x)()


@st.composite
def classes(draw: st.DrawFn, n: int) -> Any:
    """Draw labels for n points: most of them good, also of one class alone."""
    y = torch.from_numpy(np.array(draw(st.lists(st.integers(0, CLASSES - 1), min_size=n, max_size=n)), dtype=np.int64))
    kinds = ["uint8", "int8", "int16", "int32", "uint16", "uint32", "uint64"]
    bad = ["float", "bool", "high", "low", "wide", "list"]
    kind = draw(st.sampled_from(["good"] * 5 + ["one", *kinds, *bad]))
    if kind in kinds:
        return y.to(getattr(torch, kind))
    changes = {
        "one": lambda: torch.zeros_like(y), "float": lambda: y.float(), "bool": lambda: y > 0,
        "high": lambda: y + CLASSES, "low": lambda: y - 1, "wide": lambda: y[:, None],
        "list": y.tolist,
    }  # fmt: skip
    return changes.get(kind, lambda: y)()


NUMBERS = [np.float32(0.1), np.float64(0.1), np.array(0.1), torch.tensor(0.1), Fraction(1, 10), Decimal("0.1"), 10**400]
HUGE = [1e30, 1e308, 2**70, Fraction(10) ** 300, np.float64(1e200), torch.tensor(1e39, dtype=torch.float64)]
ODD = [torch.tensor(0.1, requires_grad=True), np.array([0.1, 0.2]), np.bool_(True), 1j, b"1", torch.ones(2), object()]
PLAIN = [0, 0.0, 1e-30, 0.1, 1, 3.5, -0.1, math.nan, math.inf, "0.1", None, True]
SIZES = st.one_of(st.sampled_from(PLAIN), st.sampled_from(NUMBERS), st.sampled_from(HUGE), st.sampled_from(ODD))
WHOLE = [0, 1, 3, 2.0, np.int64(3), np.uint8(2), np.float32(2), np.array(3), torch.tensor(2), Fraction(3), Decimal(2)]
COUNTS = st.sampled_from([*WHOLE, 1.5, -1, math.nan, math.inf, "2", None, 2**70, 10**400, Fraction(1, 2), True])
BOXES = st.sampled_from(
    [
        (0.0, 1.0), (0, 1), (-1e30, 1e30), (-math.inf, math.inf), (0.0, 1.0 + 1e-6), (torch.zeros(D), torch.ones(D)),
        (0.0, torch.ones(D)), (-torch.ones(D), 1), (1.0, 0.0), (0.5, 0.5), (0.0, math.nan), FIXED,
        (torch.zeros(2), 1.0), 1.0, None, "01", (0, 1, 2), (np.zeros(D), np.ones(D)),
    ]
)  # fmt: skip


class Wrapped(nn.Module):
    """A network that no closed form can see into, and that cannot be copied once it has run."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.lock, self.seen = inner, threading.Lock(), nn.Buffer(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.seen + 1
        self.kept = self.inner(x)
        return self.kept


def changed(how: str) -> nn.Module:
    """Make the network NET, altered in a way that its layers' types and weights do not show."""
    model = copy.deepcopy(NET)
    first, last = model[0], model[2]
    if how == "forward of a layer":
        first.forward = lambda x, old=first.forward: old(1 - x)
    elif how == "forward of the model":
        model.forward = lambda x, old=model.forward: 2 * old(x) - 1
    elif how == "forward of the activation":
        model[1].forward = torch.tanh
    elif how == "forward hook":
        last.register_forward_hook(lambda module, args, output: output.flip(1))
    elif how == "forward pre-hook":
        first.register_forward_pre_hook(lambda module, args: (args[0] ** 2,))
    elif how == "hook with arguments":
        first.register_forward_hook(lambda module, args, named, output: 3 * output, with_kwargs=True)
    elif how == "backward hook":
        model.register_full_backward_hook(lambda module, grads, outputs: (grads[0].flip(1),))
    elif how == "backward pre-hook":
        last.register_full_backward_pre_hook(lambda module, grads: (-grads[0],))
    elif how == "parametrised":
        parametrize.register_parametrization(first, "weight", nn.Softmax(1))
    elif how == "normalised weights":
        parametrizations.weight_norm(first)
    elif how == "pruned":
        prune.l1_unstructured(first, "weight", 10)
    elif how == "other class":
        last.__class__ = type("Twice", (nn.Linear,), {"forward": lambda self, x: 2 * nn.Linear.forward(self, x)})
    return model


WAYS = [
    "forward of a layer", "forward of the model", "forward of the activation", "forward hook", "forward pre-hook",
    "hook with arguments", "backward hook", "backward pre-hook", "parametrised", "normalised weights", "pruned",
    "other class",
]  # fmt: skip
NETS = st.sampled_from([NET, DEEP, Wrapped(NET), *map(changed, WAYS)])


def wave(*shape: int, phase: float = 0.0) -> Tensor:
    """Make numbers in [0, 1] that any processor makes alike, in float64: no random generator is needed."""
    places = torch.arange(math.prod(shape), dtype=torch.float64)
    return (0.5 + 0.5 * torch.sin(1.7 * places + 0.03 * places**2 + phase)).view(shape)


def fixed_network() -> nn.Sequential:
    """Make a perceptron 4-5-3 in float64 from waves, with weights about [-1, 1]."""
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    with torch.no_grad():
        for i, weight in enumerate(model.parameters()):
            weight.copy_(2 * wave(*weight.shape, phase=float(i)) - 1)
    return model


def inside(x: Tensor, bounds: Any) -> bool:
    low, high = (torch.as_tensor(side, dtype=x.dtype) for side in bounds)
    return bool(((x >= low) & (x <= high)).all())


def finite(*tensors: Tensor) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
