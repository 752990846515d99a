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
UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)


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
        document = bson.decode(path.read_bytes())
        (variable,) = set(document) - {"_backrefs"}  # the name that the saved variable had, another in each file
        chain, (dense,) = _plain(document, document[variable])
        if (kinds := [chain, *{kind for kind, _ in dense}]) != ["Chain", "Dense"]:
            raise ValueError(f"expected a Chain of Dense, got {kinds}")
        layers = [(weight, bias, activation.lstrip("#")) for _, (weight, bias, (activation, _)) in dense]
        found = [(activation, weight.shape) for weight, _, activation in layers]
        fits = all(bias.shape == weight.shape[:1] for weight, bias, _ in layers)
    except (*UNREADABLE, bson.errors.BSONError) as error:
        raise DataError(f"{path} is no Julia network that can be read: {error!r}") from None
    if found != expected or not fits:
        raise DataError(f"{path} holds another network: expected layers {expected}, got {found}")
    weights = {}
    for index, (weight, bias, _) in zip((0, 2), layers, strict=True):
        weights |= {f"{index}.weight": torch.from_numpy(weight), f"{index}.bias": torch.from_numpy(bias)}
    return models.from_weights(weights)


def _plain(document: dict[str, Any], node: dict[str, Any]) -> Any:
    """Return what a node of Julia's BSON holds: a list, an array, a type's name, or that of a struct and its fields."""
    if node["tag"] == "backref":  # Julia counts from 1 and keeps what it uses more than once in a list of its own
        return _plain(document, document["_backrefs"][int(node["ref"]) - 1])
    if node["tag"] == "datatype":
        return node["name"][-1]
    if node["tag"] == "tuple":
        return [_plain(document, part) for part in node["data"]]
    kind = _plain(document, node["type"])
    if node["tag"] == "struct":
        return kind, [_plain(document, part) for part in node["data"]]
    if (node["tag"], kind) != ("array", "Float32"):
        raise ValueError(f"expected array Float32, got {node['tag']} {kind}")
    values = np.frombuffer(node["data"], "<f4").reshape([int(n) for n in node["size"]], order="F")  # column by column
    if not np.isfinite(values).all():
        raise ValueError("expected finite weights")
    return np.array(values, dtype=np.float32, order="C")  # a copy: torch wants to own it
