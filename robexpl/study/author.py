"""The eight networks behind the thesis' Table 1, as its author published them, read into our own perceptrons."""

from pathlib import Path
from typing import Any

import bson
import numpy as np
import torch
from torch import nn

from robexpl import checks, models
from robexpl.files import DataError, fetch
from robexpl.regimes import REGIMES

# MIT licence; the commit is pinned, and so are the bytes.
URL = (
    "https://raw.githubusercontent.com/JuliaTrustworthyAI/AdversarialRobustness.jl/"
    "6ae3f971a1fabef8b1c5843563b131805bfe4a67/temp/src/models/"
)
FOLDERS = {"mnist": "MNIST", "california": "CaliHousing"}
SHAPES = {"mnist": (784, 128, 10), "california": (8, 10, 2)}  # inputs, hidden units, outputs
FILES = {
    "standard": "clean_20ep_32bs.bson",
    "weak": "adv_20ep_32bs_7it_0.01ss_0.05eps.bson",
    "medium": "adv_20ep_32bs_13it_0.01ss_0.1eps.bson",
    "strong": "adv_20ep_32bs_40it_0.01ss_0.3eps.bson",
}
SHA256 = {
    "mnist": {
        "standard": "62a51524e13b7f617cd6226a852bed444e6390ecc4ab30cb6b41bd819a1bc755",
        "weak": "24180a40f130cea8028395ad70dedcd353010dd8b7a9752a4fdf7c365f7bc93b",
        "medium": "f5ae706321ba06846660331ccdafda09060ecfd01ecefb8ab93b2ba029f9cd43",
        "strong": "5affd96e311f0ff618e307d616de024abb06fe336d06cade4e4bcd2928dbc909",
    },
    "california": {
        "standard": "2e66aec6878156a3d1ced2540e67155871f6c51db76fc77095db2bedad9fb3bd",
        "weak": "e037d21fc95ed95042d7c730fb41c3a6439ba417839eac9e64e669ccc81ceb9f",
        "medium": "db10c3a91ce58e4134d2ded527a059f4308d78b52c5cf4592d26bc73cf63ef2f",
        "strong": "f55a012b11df7495179c6ce8efe7452175f0558ca072cff91e5a6d85bf900e31",
    },
}


def load_author_network(dataset: str, regime: str) -> nn.Sequential:
    """Load the author's network for "mnist" or "california" and one of the four regimes, as a `models.mlp`.
    It maps (n, 784) or (n, 8) to logits (n, 10) or (n, 2); pixels and features are in the order of `data.load`.
    Raises ValueError for unknown names, DataError for a missing or damaged file.
    >>> load_author_network("digits", "weak")
    Traceback (most recent call last):
    ValueError: unknown author's dataset 'digits'; known: mnist, california
    """
    checks.one_of("author's dataset", dataset, FOLDERS)
    checks.one_of("regime", regime, REGIMES)
    file = f"{FOLDERS[dataset]}/{FILES[regime]}"
    return read_network(fetch(f"thesis/{file}", SHA256[dataset][regime], [URL + file]), SHAPES[dataset])


def read_network(path: Path, shape: tuple[int, int, int]) -> nn.Sequential:
    """Read a Julia BSON file that holds a Flux chain Dense(inputs => hidden, relu), Dense(hidden => outputs).
    Only numbers are taken from the file; nothing in it is ever executed. Raises DataError where it holds anything else.
    """
    inputs, hidden, outputs = shape
    expected = [("relu", (hidden, inputs)), ("identity", (outputs, hidden))]
    try:
        layers = _layers(bson.decode(path.read_bytes()))
    except (bson.errors.BSONError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no Julia network that can be read: {error!r}") from None
    found = [(activation, weight.shape) for activation, weight, _ in layers]
    if found != expected or any(bias.shape != weight.shape[:1] for _, weight, bias in layers):
        raise DataError(f"{path} holds another network: expected layers {expected}, got {found}")
    weights = {}
    for index, (_, weight, bias) in zip((0, 2), layers, strict=True):
        weights |= {f"{index}.weight": torch.from_numpy(weight), f"{index}.bias": torch.from_numpy(bias)}
    return models.from_weights(weights)


def _layers(document: dict[str, Any]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return activation, weight and bias of the dense layers in a document."""

    def resolved(node: Any) -> Any:
        if node.get("tag") == "backref":  # Julia counts from 1 and keeps what it uses more than once in a list
            return document["_backrefs"][int(node["ref"]) - 1]
        return node

    def name(node: Any) -> str:
        return resolved(node["type"])["name"][-1]

    def checked(node: Any, tag: str, kind: str) -> Any:
        node = resolved(node)
        if (node["tag"], name(node)) != (tag, kind):
            raise ValueError(f"expected {tag} {kind}, got {node['tag']} {name(node)}")
        return node

    def array(node: Any) -> np.ndarray:
        node = checked(node, "array", "Float32")
        size = [int(side) for side in node["size"]]
        values = np.frombuffer(node["data"], "<f4").reshape(size, order="F")  # the first index runs fastest
        if not np.isfinite(values).all():
            raise ValueError("expected finite weights")
        return np.array(values, dtype=np.float32, order="C")  # a copy: torch wants to own it

    (variable,) = set(document) - {"_backrefs"}  # the name that the saved variable had, another in each file
    chain = checked(document[variable], "struct", "Chain")["data"]
    layers = [checked(layer, "struct", "Dense")["data"] for layer in resolved(chain[0])["data"]]
    return [(name(resolved(relu)).lstrip("#"), array(weight), array(bias)) for weight, bias, relu in layers]
