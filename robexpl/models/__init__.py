"""Architectures of networks, one file each, found by name; and their weights in files.

A file x.py defines `x(**sizes, generator=None)`; `build(inputs, outputs, image_shape, *, generator)`, which makes a
network of the study's sizes; and `sizes(model)`, which is None for a model of another architecture. `names()` lists
them, and `module(name)` returns the module of one or raises ValueError.
"""

import json
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from robexpl import checks, registry
from robexpl.files import write_atomic
from robexpl.models._pretrained import card, pretrained
from robexpl.models.mlp import from_weights, mlp

__all__ = ["build", "card", "from_weights", "load", "mlp", "module", "names", "pretrained", "save"]
names = partial(registry.names, __name__)
module = partial(registry.module, __name__, what="architecture")


def build(
    architecture: str, inputs: int, outputs: int, image_shape: tuple[int, int] | None = None, *,
    generator: torch.Generator | None = None,
) -> nn.Module:  # fmt: skip
    """Make a network of an architecture in the study's size, mapping (n, inputs) to logits (n, outputs).
    >>> build("mlp", 30, 2)[0].out_features
    10
    """
    return module(architecture).build(inputs, outputs, image_shape, generator=generator)


def save(model: nn.Module, path: str | Path) -> Path:
    """Write the weights of a network of a registered architecture, its name and its sizes, to a safetensors file.
    An architecture x is registered by a file robexpl/models/x.py with `x`, `build` and `sizes`, as in mlp.py.
    >>> save(mlp(3, 4, 2), "a.safetensors").name
    'a.safetensors'
    """
    checks.refuse_type("model", model, nn.Module)
    checks.refuse_type("path", path, (str, Path))
    known = {name: module(name).sizes(model) for name in names()}
    about = [{"model": name, "sizes": sizes} for name, sizes in known.items() if sizes is not None]
    how = "to register one, add robexpl/models/NAME.py with NAME(**sizes), build and sizes, or save its state_dict()"
    line = f"expected a network of a known architecture ({', '.join(known)}), got {type(model).__name__}; {how}"
    checks.refuse_unless(bool(about), line)
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    for name, value in weights.items():
        checks.refuse_numbers(name, value, value)
    return write_atomic(Path(path), to_bytes(weights, metadata={"robexpl": json.dumps(about[0])}))


def load(path: str | Path) -> nn.Module:
    """Read a network that `save` wrote, in eval mode and in its precision; raise ValueError for another file.
    >>> load(save(mlp(3, 4, 2), "a.safetensors"))[0].weight.shape
    torch.Size([4, 3])
    """
    checks.refuse_type("path", path, (str, Path))
    checks.refuse_unless(Path(path).is_file(), f"expected a file with weights, found none at {path}")
    try:
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
            about = json.loads((file.metadata() or {}).get("robexpl", "{}"))
        if "sizes" not in about:
            return from_weights(weights)  # perceptrons were the first, and had no sizes in their files
        kinds = [value.dtype for value in weights.values() if value.is_floating_point()]
        model = getattr(module(about["model"]), about["model"])(**about["sizes"]).to(kinds[0] if kinds else None)
        model.load_state_dict(weights)
    except SafetensorError as error:
        raise ValueError(f"expected a safetensors file at {path}, but it cannot be read: {error}") from None
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds another model's weights: {' '.join(str(error).split())}") from None
    return model.eval()
