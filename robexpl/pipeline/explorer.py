"""The explorer: one page of plain JavaScript in which the networks that come with the package run.

Its scripts and templates lie in paper/site. Pictures and districts are those of the study where its data are found, and
nothing is downloaded for it; where they are not, the page has scikit-learn's digits, or what the networks' card says.
"""

import base64
import json
import zlib
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robexpl import data, files, metrics, models, trainings
from robexpl.data import california, mnist
from robexpl.gradients import relu_layers
from robexpl.regimes import REGIME_NAMES
from robexpl.study import sizes

# What to load with `models.pretrained`, and its title: the regimes, and the best control that sees no adversary.
NETWORKS = {
    kind: {**REGIME_NAMES, name: trainings.module(name).TITLE}
    for kind, name in (("image", "double_backprop"), ("tabular", "weight_decay"))
}
PICKED, REFERENCE, NEIGHBOURS = 4, 30, 5  # digits of each class to pick from and to compare with; nearest ones
DISTRICTS, DISTRICT_REFERENCE, DISTRICT_NEIGHBOURS = 3, 200, 10  # as above
SIDE, BOX = 28, 20  # pixels of a picture, and of the box within it that holds the digit
LEVELS = 127  # eight bits hold the whole numbers up to it, and their negatives
# In the units of the source, and how a form counts them.
FEATURES = {
    "MedInc": ("median income", "10,000 dollars a year", 0.1), "HouseAge": ("median age of the houses", "years", 1),
    "AveRooms": ("rooms per household", "", 0.1), "AveBedrms": ("bedrooms per household", "", 0.1),
    "Population": ("inhabitants", "", 10), "AveOccup": ("people per household", "", 0.1),
    "Latitude": ("latitude", "degrees north", 0.01), "Longitude": ("longitude", "degrees east", 0.01),
}  # fmt: skip
Arrays = dict[str, np.ndarray]


def rounded(model: nn.Sequential) -> tuple[Arrays, nn.Sequential]:
    """Return the weights of a perceptron with one hidden layer in eight bits for the first layer, and the network that
    they make. The weights q s of a hidden unit are whole numbers q times s = max |w| / 127, so that each moves by at
    most s / 2; all other weights stay in single precision.
    >>> arrays, same = rounded(models.mlp(3, 4, 2, generator=torch.Generator().manual_seed(0)))
    >>> arrays["w1"].dtype, same[0].out_features
    (dtype('int8'), 4)
    """
    arrays = exact(model)
    weights = arrays["w1"]
    scale = (np.abs(weights).max(1, keepdims=True) / np.float32(LEVELS)).astype(np.float32)
    whole = np.rint(weights / np.where(scale > 0, scale, 1)).astype(np.int8)
    names = {"0.weight": whole * scale, "0.bias": arrays["b1"], "2.weight": arrays["w2"], "2.bias": arrays["b2"]}
    made = models.from_weights({name: torch.from_numpy(value) for name, value in names.items()})
    return {**arrays, "w1": whole, "scale": scale[:, 0]}, made.eval()


def exact(model: nn.Sequential) -> Arrays:
    """Return the weights of a perceptron with one hidden layer, in single precision."""
    layers = relu_layers(model) or []
    if len(layers) != 2:
        raise ValueError(f"expected a perceptron with one hidden layer for the explorer, got {len(layers)} layers")
    pairs = [(f"{kind}{i}", getattr(layer, name)) for i, layer in enumerate(layers, 1)
             for kind, name in (("w", "weight"), ("b", "bias"))]  # fmt: skip
    return {name: value.detach().numpy().astype(np.float32) for name, value in pairs}


def found(file: str, digest: str) -> bool:
    """Tell whether a data file lies on this machine; raise DataError where it is damaged."""
    return files.find(file, digest) is not None


def digits() -> tuple[data.Dataset, str]:
    """Return the pictures (n, 784) of the page as a dataset, and their source: MNIST, or scikit-learn's digits enlarged
    to the box of 20 x 20 pixels that MNIST's digits fill, by bilinear interpolation.
    """
    if all(found(f"mnist/{file}", digest) for file, (digest, _) in mnist.FILES.items()):
        return data.load("mnist"), "mnist"
    small = data.load("digits")
    parts = {"x_train": larger(small.x_train), "y_train": small.y_train}
    return data.Dataset.from_arrays(
        *parts.values(), x_test=larger(small.x_test), y_test=small.y_test, name="digits"
    ), "digits"  # fmt: skip


def larger(x: Tensor) -> Tensor:
    """Enlarge images (n, 64) to pictures (n, 28, 28)."""
    images = F.interpolate(x.reshape(-1, 1, 8, 8), size=(BOX, BOX), mode="bilinear", align_corners=False)
    return F.pad(images, [(SIDE - BOX) // 2] * 4)[:, 0].clamp(0, 1)


def first(x: Tensor, y: Tensor, count: int) -> tuple[np.ndarray, list[int]]:
    """Return the first `count` rows of each class, class by class, and their labels."""
    rows = torch.cat([(y == label).nonzero().flatten()[:count] for label in y.unique()])
    return x[rows].numpy(), y[rows].tolist()


def image_part(arrays: Arrays) -> dict[str, Any]:
    """Add pictures and networks to the arrays; return what the page says of them."""
    loaded, source = digits()
    shape = (-1, SIDE * SIDE)
    part: dict[str, Any] = {"source": source, "k": NEIGHBOURS, "perClass": REFERENCE, "networks": []}
    part |= {"accuracy": None, "scores": None}
    for name, x, y, count in (("picked", loaded.x_test, loaded.y_test, PICKED),
                              ("reference", loaded.x_train, loaded.y_train, REFERENCE)):  # fmt: skip
        rows, part[f"{name}Labels"] = first(x.reshape(shape), y, count)
        arrays[name] = np.rint(rows * 255).astype(np.uint8)
    losses = []
    for name, title in NETWORKS["image"].items():
        own = models.pretrained("mnist", name)
        packed, made = rounded(own)
        part["networks"].append(_entry("image", name, title, packed, arrays))
        if source == "mnist":
            losses.append([metrics.accuracy(net, loaded.x_test, loaded.y_test) for net in (own, made)])
    if losses:
        differences = [abs(before - after) for before, after in losses]
        part["accuracy"] = {"n": len(loaded.x_test), "most": max(differences)}
        part["scores"] = compared(loaded, arrays, part)
    return part


def compared(loaded: data.Dataset, arrays: Arrays, part: dict[str, Any]) -> dict[str, float]:
    """Return the mean implausibility of the page's pictures in their own class by its reference, and by the study's."""
    x, y = (torch.as_tensor(part) for part in (arrays["picked"] / np.float32(255), part["pickedLabels"]))
    few = torch.from_numpy(arrays["reference"] / np.float32(255)), torch.tensor(part["referenceLabels"])
    k = sizes.load("full", "mnist").k
    ours = metrics.implausibility(x, y, *few, k=NEIGHBOURS)
    theirs = metrics.implausibility(x, y, loaded.x_train, loaded.y_train, k=k)
    correlation = float(np.corrcoef(ours.numpy(), theirs.numpy())[0, 1])
    return {"page": float(ours.mean()), "study": float(theirs.mean()), "k": k, "correlation": correlation}


def tabular_part(arrays: Arrays) -> dict[str, Any]:
    """Add districts and networks to the arrays; return what the page says of them."""
    inputs = models.card("california", "standard")["inputs"]
    mean, sd = (np.asarray(inputs[key], np.float64) for key in ("mean", "sd"))
    features = [dict(zip(("name", "unit", "step"), FEATURES[name], strict=True)) for name in inputs["features"]]
    part = {"features": features, "classes": inputs["classes"], "k": DISTRICT_NEIGHBOURS, "networks": []}
    part |= {"perClass": DISTRICT_REFERENCE, "source": "card", "examples": [{"row": mean.tolist(), "label": None}]}
    for key in ("mean", "sd", "low", "high"):
        arrays[key] = np.asarray(inputs[key], np.float32)
    nets = {name: models.pretrained("california", name) for name in NETWORKS["tabular"]}
    if found(california.FILE, california.SHA256):
        loaded = data.load("california", sampling=sizes.primary().sampling)
        with torch.no_grad():  # as in the study: districts that every network reads correctly
            right = torch.stack([net(loaded.x_test).argmax(1) == loaded.y_test for net in nets.values()]).all(0)
        rows, labels = first(loaded.x_test[right], loaded.y_test[right], DISTRICTS)
        values = zip(rows * sd + mean, labels, strict=True)
        part["examples"] = [{"row": [round(float(v), 4) for v in row], "label": label} for row, label in values]
        part["source"] = "california"
        arrays["districts"], part["referenceLabels"] = first(loaded.x_train, loaded.y_train, DISTRICT_REFERENCE)
    for name, title in NETWORKS["tabular"].items():
        part["networks"].append(_entry("tabular", name, title, exact(nets[name]), arrays))
    return part


def _entry(kind: str, name: str, title: str, packed: Arrays, arrays: Arrays) -> dict[str, Any]:
    """Add a network's weights to the arrays; return its entry."""
    key = f"{kind}/{name}"
    arrays |= {f"{key}/{part}": value for part, value in packed.items()}
    (hidden, inputs), outputs = packed["w1"].shape, len(packed["b2"])
    return {"key": key, "name": name, "title": title, "sizes": [inputs, hidden, outputs]}


def settings() -> list[dict[str, Any]]:
    """Return the settings of the search in each condition, under the names that the scripts use."""
    names = {"learning_rate": "learningRate", "start_noise": "noise"}
    found = []
    for condition in sizes.conditions():
        kinds = {kind: asdict(condition.search(kind)) for kind in sizes.KINDS}
        renamed = {kind: {names.get(key, key): value for key, value in how.items()} for kind, how in kinds.items()}
        found.append({"name": condition.name, "title": condition.title, "meaning": condition.meaning, **renamed})
    return found


def contents() -> tuple[dict[str, Any], str]:
    """Return what the page is about, as JSON will hold it, and its arrays as a zlib stream in base64."""
    arrays: Arrays = {}
    about: dict[str, Any] = {"conditions": settings(), "image": image_part(arrays), "tabular": tabular_part(arrays)}
    index, blob = {}, b""
    for name, values in sorted(
        arrays.items(), key=lambda item: (-item[1].itemsize, item[0])
    ):  # so that all are aligned
        index[name] = [str(values.dtype), len(blob), values.size]
        blob += np.ascontiguousarray(values).tobytes()
    about["index"] = index
    return about, base64.b64encode(zlib.compress(blob, 9)).decode()


def as_json(about: dict[str, Any]) -> str:
    """Return JSON that may stand within a script element."""
    return json.dumps(about, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
