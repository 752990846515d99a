"""Multilayer perceptrons: made, saved and loaded."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from robexpl import checks
from robexpl.artifacts import write_atomic


def mlp(inputs: int, hidden: int, outputs: int, *, generator: torch.Generator | None = None) -> nn.Sequential:
    """Make a perceptron with one hidden ReLU layer, f(x) = W2 relu(W1 x + b1) + b2, mapping (n, inputs) to logits.

    Weights are Glorot normal, N(0, 2 / (fan_in + fan_out)) [Glorot & Bengio 2010], biases zero. Without a generator all
    weights are zero, ready to be filled by `load_state_dict`.
    """
    checks.positive(inputs=inputs, hidden=hidden, outputs=outputs)
    checks.refuse_type("generator", generator, (torch.Generator, type(None)))
    # built without storage first: torch would otherwise initialise, from the global generator, what is replaced here
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
    model = model.to_empty(device="cpu")
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.bias.zero_()
            if generator is None:
                layer.weight.zero_()
            else:
                nn.init.xavier_normal_(layer.weight, generator=generator)
    return model


def from_weights(weights: dict[str, Tensor]) -> nn.Sequential:
    """Make the perceptron whose state dictionary is `weights` (keys 0.weight, 0.bias, 2.weight, 2.bias)."""
    checks.refuse_type("weights", weights, dict)
    expected = {"0.weight", "0.bias", "2.weight", "2.bias"}
    if set(weights) != expected:
        raise ValueError(f"expected weights {sorted(expected)}, got {sorted(weights)}")
    checks.refuse_weights(weights)
    (hidden, inputs), (outputs, _) = weights["0.weight"].shape, weights["2.weight"].shape
    shapes = {"0.bias": (hidden,), "2.weight": (outputs, hidden), "2.bias": (outputs,)}
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != shape:
            raise ValueError(f"expected {name} of shape {shape}, got {tuple(weights[name].shape)}")
    model = mlp(inputs, hidden, outputs)
    model.load_state_dict(weights)
    return model


def save(model: nn.Module, path: str | Path) -> Path:
    """Write the weights of a perceptron made by `mlp` to a safetensors file."""
    checks.refuse_type("model", model, nn.Module)
    checks.refuse_type("path", path, (str, Path))
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    from_weights(weights)  # refuses what `load` could not read back
    return write_atomic(Path(path), to_bytes(weights, metadata={"robexpl": json.dumps({"model": "mlp"})}))


def load(path: str | Path) -> nn.Sequential:
    """Read a perceptron that `save` wrote."""
    checks.refuse_type("path", path, (str, Path))
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"expected a file with weights, found none at {path}")
    try:
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except SafetensorError as error:
        raise ValueError(f"expected a safetensors file at {path}, but it cannot be read: {error}") from None
    try:
        return from_weights(weights)
    except ValueError as error:
        raise ValueError(f"{path} holds another model's weights: {error}") from None
