"""The multilayer perceptron."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.gradients import relu_layers

HIDDEN = {"image": 128, "tabular": 10}  # of the study


def mlp(
    inputs: int, hidden: int | Sequence[int], outputs: int, *, generator: torch.Generator | None = None
) -> nn.Sequential:
    """Make a perceptron with a hidden ReLU layer, f(x) = W2 relu(W1 x + b1) + b2, or several, mapping (n, inputs) to
    logits. Weights are Glorot normal, N(0, 2 / (fan_in + fan_out)) [Glorot & Bengio 2010], biases zero. Without a
    generator all weights are zero, ready to be filled by `load_state_dict`.
    >>> mlp(3, 4, 2, generator=torch.Generator().manual_seed(0))(torch.rand(5, 3)).shape
    torch.Size([5, 2])
    """
    checks.refuse_type("generator", generator, (torch.Generator, type(None)))
    inner = [checks.positive(hidden=size) for size in (hidden if isinstance(hidden, (list, tuple)) else [hidden])]
    sizes = [checks.positive(inputs=inputs), *inner, checks.positive(outputs=outputs)]
    layers: list[nn.Module] = []
    for pair in itertools.pairwise(sizes):
        # torch would otherwise initialise, from the global generator, what is replaced here
        layer = nn.utils.skip_init(nn.Linear, *pair, dtype=torch.float32, device="cpu")
        nn.init.zeros_(layer.bias)
        if generator is None:
            nn.init.zeros_(layer.weight)
        else:
            nn.init.xavier_normal_(layer.weight, generator=generator)
        layers += [nn.ReLU(), layer]
    return nn.Sequential(*layers[1:])


def build(
    inputs: int, outputs: int, image_shape: tuple[int, int] | None, *, generator: torch.Generator | None = None
) -> nn.Sequential:
    """Make the study's perceptron: 128 hidden units for images, 10 for tabular data."""
    return mlp(inputs, HIDDEN["image" if image_shape else "tabular"], outputs, generator=generator)


def sizes(model: nn.Module) -> dict[str, int | list[int]] | None:
    """Return the arguments of `mlp` that give a model of this form, None if it has another."""
    layers = relu_layers(model) or []
    if len(layers) < 2:
        return None
    hidden = [layer.out_features for layer in layers[:-1]]
    one = hidden[0] if len(hidden) == 1 else hidden
    return {"inputs": layers[0].in_features, "hidden": one, "outputs": layers[-1].out_features}


def from_weights(weights: dict[str, Tensor]) -> nn.Sequential:
    """Make the perceptron whose state dictionary is `weights` (keys 0.weight, 0.bias, 2.weight, 2.bias).
    >>> from_weights(mlp(3, 4, 2).state_dict())[2].weight.shape
    torch.Size([2, 4])
    """
    checks.refuse_type("weights", weights, dict)
    expected = {"0.weight", "0.bias", "2.weight", "2.bias"}
    checks.refuse_unless(set(weights) == expected, f"expected weights {sorted(expected)}, got {[*weights]}")
    for name, value in weights.items():
        checks.refuse_numbers(name, value, value)
    hidden, outputs = weights["0.bias"].numel(), weights["2.bias"].numel()
    model = mlp(weights["0.weight"].shape[-1:].numel(), hidden, outputs).to(weights["0.weight"].dtype)
    for name, value in model.state_dict().items():
        (expected, got) = tuple(value.shape), tuple(weights[name].shape)
        checks.refuse_unless(got == expected, f"expected {name} of shape {expected}, got {got}")
    model.load_state_dict(weights)
    return model
