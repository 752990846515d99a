"""The author's networks: read right, and refused where they are not what they should be."""

from __future__ import annotations

import bson
import numpy as np
import pooch
import pytest
import torch

from robexpl import attacks, data, files
from robexpl.data import mnist
from robexpl.files import DataError
from robexpl.models import _author as author
from robexpl.regimes import REGIMES


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(author, "URL", "http://127.0.0.1:9/")
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/",))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def need(dataset):
    wanted = {f"thesis/{author.FOLDERS[dataset]}/{author.FILES[r]}": author.SHA256[dataset][r] for r in REGIMES}
    if dataset == "mnist":
        wanted |= {f"mnist/{file}": sha256 for file, (sha256, _) in mnist.FILES.items()}
    absent = [file for file, sha256 in wanted.items() if files.find(file, sha256) is None]
    if absent:
        pytest.skip(f"neither in ROBEXPL_DATA nor in the user cache: {', '.join(absent)}")


@pytest.mark.parametrize(
    ("regime", "clean", "fgsm"),
    [
        ("standard", 0.9812, 0.0322),
        ("weak", 0.9832, 0.2475),  # the thesis prints 0.248
        ("medium", 0.9847, 0.3790),
        ("strong", 0.9689, 0.7139),
    ],
)
def test_mnist_accuracies_are_the_published_ones(regime, clean, fgsm):
    need("mnist")
    images, model = data.load("mnist"), author.load_author_network("mnist", regime)
    adversarial = attacks.fgsm(model, images.x_test, images.y_test, eps=0.2, bounds=images.bounds, rounded=True)
    with torch.no_grad():
        for x, expected in ((images.x_test, clean), (adversarial, fgsm)):
            correct = model(x).argmax(1) == images.y_test
            assert correct.double().mean().item() == pytest.approx(expected, abs=2e-3)  # rounding is a processor's own


@pytest.mark.parametrize("regime", REGIMES)
def test_california_networks_have_their_shapes(regime):
    need("california")
    model = author.load_author_network("california", regime)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes == {"0.weight": (10, 8), "0.bias": (10,), "2.weight": (2, 10), "2.bias": (2,)}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown author's dataset 'digits'; known: mnist, california"):
        author.load_author_network("digits", "standard")
    with pytest.raises(ValueError, match="unknown regime 'robust'; known: standard, weak, medium, strong"):
        author.load_author_network("mnist", "robust")


def test_missing_and_damaged_files_are_named(monkeypatch, tmp_path):
    (tmp_path / "data" / "thesis" / "MNIST").mkdir(parents=True)
    monkeypatch.setenv("ROBEXPL_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    with pytest.raises(DataError, match=r"no thesis/MNIST/clean_20ep_32bs.bson: tried .*; remedies: set ROBEXPL_DATA"):
        author.load_author_network("mnist", "standard")
    path = tmp_path / "data" / "thesis" / "MNIST" / "clean_20ep_32bs.bson"
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"clean_20ep_32bs.bson is truncated or altered: expected sha256 62a51524e13b"):
        author.load_author_network("mnist", "standard")
    assert path.read_bytes() == b"damaged"


# The reader, on files made here


def julia(value):
    """Write an array as Julia's BSON does: column by column, little-endian."""
    return {
        "tag": "array",
        "type": datatype("Core", "Float32"),
        "size": list(value.shape),
        "data": value.astype("<f4").tobytes(order="F"),
    }


def datatype(*name):
    return {"tag": "datatype", "params": [], "name": list(name)}


def dense(weight, bias, activation):
    function = {"tag": "struct", "type": datatype("NNlib", f"#{activation}"), "data": []}
    return {"tag": "struct", "type": datatype("Flux", "Dense"), "data": [weight, bias, function]}


def chain(*layers, **others):
    model = {"tag": "struct", "type": datatype("Flux", "Chain"), "data": [{"tag": "tuple", "data": list(layers)}]}
    return {"some_name": model, "_backrefs": []} | others


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in ((4, 3), (4,), (2, 4), (2,))]


def read(tmp_path, document, shape=(3, 4, 2)):
    path = tmp_path / "network.bson"
    path.write_bytes(bson.encode(document))
    return author.read_network(path, shape)


def test_arrays_are_read_column_by_column_and_through_back_references(tmp_path, arrays):
    w1, b1, w2, b2 = map(julia, arrays)
    plain = chain(dense(w1, b1, "relu"), dense(w2, b2, "identity"))
    reference = {"tag": "backref", "ref": 2}
    shared = chain(dense(w1, b1, "relu"), dense(reference, b2, "identity"), _backrefs=[b1, w2])
    for document in (plain, shared):
        for got, expected in zip(read(tmp_path, document).parameters(), arrays, strict=True):
            assert np.array_equal(got.detach().numpy(), expected)


def test_other_networks_are_refused(tmp_path, arrays):
    w1, b1, w2, b2 = map(julia, arrays)
    first, last = dense(w1, b1, "relu"), dense(w2, b2, "identity")
    broken = arrays[0].copy()
    broken[0, 0] = np.nan
    refused = {
        "holds another network: expected layers": [
            chain(first),
            chain(first, last, last),
            chain(dense(w1, b1, "tanh"), last),
            chain(dense(w1, b2, "relu"), last),
            chain(last, first),
        ],
        "is no Julia network that can be read": [
            {},
            chain(first, last, second_model={}),
            chain(first, "identity"),
            chain(dense(w1 | {"data": w1["data"][:-4]}, b1, "relu"), last),
            chain(dense(w1 | {"type": datatype("Core", "Float64")}, b1, "relu"), last),
            chain(dense({"tag": "backref", "ref": 7}, b1, "relu"), last),
            chain(dense(julia(broken), b1, "relu"), last),
            chain(first | {"type": datatype("Flux", "Conv")}, last),
        ],
    }
    for message, documents in refused.items():
        for document in documents:
            with pytest.raises(DataError, match=f"network.bson {message}"):
                read(tmp_path, document)
    with pytest.raises(DataError, match="expected layers"):
        read(tmp_path, chain(first, last), shape=(3, 5, 2))
    path = tmp_path / "network.bson"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match="is no Julia network that can be read"):
        author.read_network(path, (3, 4, 2))
