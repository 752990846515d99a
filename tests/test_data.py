"""Datasets: their numbers, their sampling, and what happens to damaged, missing and wrong files."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import logging
import re
import socket
import threading
import time

import numpy as np
import pandas as pd
import pooch
import pytest
import torch
from sklearn.datasets import _california_housing as housing
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from robexpl import data, files
from robexpl.data import DataError, Dataset, _tables, california, mnist
from robexpl.study import networks, provenance, sizes, stages, variations
from robexpl.study.networks import Data

CLOSED = "http://127.0.0.1:9/"  # nothing listens there


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test downloads anything, whatever is missing."""
    monkeypatch.setattr(mnist, "MIRRORS", (CLOSED, CLOSED + "second/"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    fetch = california.sk.fetch_california_housing

    def local_only(*, data_home=None, download_if_missing=True, return_X_y=True):
        if download_if_missing:
            raise OSError("offline")
        return fetch(data_home=data_home, download_if_missing=False, return_X_y=return_X_y)

    monkeypatch.setattr(california.sk, "fetch_california_housing", local_only)


@pytest.fixture
def empty(monkeypatch, tmp_path):
    """Two empty places for files, ROBEXPL_DATA and the user cache, and nothing in memory from before."""
    for name in ("data", "cache"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("ROBEXPL_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    for cached in (mnist._bytes, california.read):
        cached.cache_clear()
    yield tmp_path
    for cached in (mnist._bytes, california.read):
        cached.cache_clear()


def need(*names):
    wanted = {f"mnist/{file}": sha256 for file, (sha256, _) in mnist.FILES.items()} if "mnist" in names else {}
    wanted |= {california.FILE: california.SHA256} if "california" in names else {}
    absent = [file for file, sha256 in wanted.items() if files.find(file, sha256) is None]
    if absent:
        pytest.skip(f"neither in ROBEXPL_DATA nor in the user cache: {', '.join(absent)}")


def repeated(dataset):
    """Return the share of test rows that are also training rows."""
    train = {row.tobytes() for row in dataset.x_train.numpy()}
    return np.mean([row.tobytes() in train for row in dataset.x_test.numpy()])


def same(a, b):
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("x_train", "y_train", "x_test", "y_test"))


def well_formed(dataset):
    for x, y in ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test)):
        assert x.dtype == torch.float32
        assert y.dtype == torch.int64
        assert x.shape == (len(y), len(dataset.feature_names))
        assert set(y.tolist()) == set(range(dataset.n_classes)) == set(range(len(dataset.class_names)))
        low, high = dataset.bounds
        assert bool(((x >= low) & (x <= high)).all())


# Contents


def test_mnist_is_the_canonical_one():
    need("mnist")
    loaded = data.load("mnist", seed=3, sampling="corrected")
    well_formed(loaded)
    assert loaded.title == "MNIST"
    assert (loaded.x_train.shape, loaded.x_test.shape) == ((60000, 784), (10000, 784))
    assert loaded.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert loaded.y_test.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert loaded.x_train.double().mean().item() == pytest.approx(0.1306604, abs=1e-6)
    assert (loaded.bounds, loaded.image_shape, loaded.x_train.max().item()) == ((0.0, 1.0), (28, 28), 1.0)


@pytest.mark.parametrize("name", ["mnist", "california", "digits", "breast_cancer"])
@pytest.mark.parametrize("sampling", data.SAMPLINGS)
def test_a_change_in_place_leaves_later_loads_alone(name, sampling):
    need(name)
    first, kept = (data.load(name, sampling=sampling) for _ in range(2))
    bounds = [bound for bound in first.bounds if isinstance(bound, torch.Tensor)]
    for values in (first.x_train, first.y_train, first.x_test, first.y_test, *bounds):
        values.fill_(7)
    again = data.load(name, sampling=sampling)
    assert same(kept, again)
    assert all(
        torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(kept.bounds, again.bounds, strict=True)
    )


def test_digits_stand_in_for_mnist():
    digits = data.load("digits")
    well_formed(digits)
    assert (digits.image_shape, digits.bounds, digits.x_train.max().item()) == ((8, 8), (0.0, 1.0), 1.0)
    assert (len(digits.x_train), len(digits.x_test)) == (1437, 360)
    assert digits.y_test.bincount().min() >= 34  # stratified


def test_california_has_the_rows_of_the_published_experiment():
    need("california")
    x, y = california.read()
    assert x.shape == (20630, 8)
    assert np.bincount(y).tolist() == [10315, 10315]
    table = data.load("california")
    well_formed(table)
    assert table.feature_names[0] == "MedInc"
    assert table.bounds == pytest.approx((-2.3856, 119.387), abs=1e-3)


@pytest.mark.parametrize(("name", "rows"), [("california", (4000, 1000)), ("breast_cancer", (288, 72))])
def test_tabular_data_as_run(name, rows):
    need(name)
    table = data.load(name)
    well_formed(table)
    assert (len(table.x_train), len(table.x_test)) == rows
    assert torch.cat([table.y_train, table.y_test]).bincount().tolist() == [sum(rows) // 2] * 2
    x = california.read()[0] if name == "california" else load_breast_cancer().data
    scaled = (x - x.mean(0)) / x.std(0, ddof=1)
    assert table.bounds == pytest.approx((scaled.min(), scaled.max()), rel=1e-6)
    known = {row.tobytes() for row in scaled.astype(np.float32)}
    assert all(row.tobytes() in known for row in table.x_train.numpy())


@pytest.mark.parametrize(("name", "rows"), [("california", (4000, 1000)), ("breast_cancer", (288, 72))])
def test_tabular_data_corrected(name, rows):
    need(name)
    table = data.load(name, sampling="corrected")
    well_formed(table)
    assert table.y_train.bincount().tolist() == [rows[0] // 2] * 2
    assert table.y_test.bincount().tolist() == [rows[1] // 2] * 2
    assert len({row.tobytes() for row in table.x_train.numpy()}) == rows[0]
    assert torch.allclose(table.x_train.mean(0), torch.zeros(1), atol=1e-4)
    assert torch.allclose(table.x_train.std(0), torch.ones(1), atol=1e-4)
    assert torch.equal(table.bounds[0], table.x_train.amin(0))
    assert torch.equal(table.bounds[1], table.x_train.amax(0))


def test_only_sampling_as_run_repeats_training_rows_in_the_test():
    need("california")
    shares = [repeated(data.load("california", seed=seed)) for seed in range(10)]
    assert np.mean(shares) == pytest.approx(0.176, abs=0.012)  # 1 - exp(-4000 / 20630), 10 samples of 1,000
    assert all(repeated(data.load("california", seed=seed, sampling="corrected")) == 0 for seed in range(3))


def test_the_corrected_stand_in_repeats_nothing():
    assert repeated(data.load("breast_cancer")) > 0.2
    assert all(repeated(data.load("breast_cancer", seed=seed, sampling="corrected")) == 0 for seed in range(20))


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "california"])
@pytest.mark.parametrize("sampling", data.SAMPLINGS)
def test_the_seed_decides(name, sampling):
    need(name)
    torch.manual_seed(1)
    first = data.load(name, seed=1, sampling=sampling)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002 (that it has no influence is the point)
    assert same(first, data.load(name, seed=1, sampling=sampling))
    assert not same(first, data.load(name, seed=2, sampling=sampling))


@pytest.mark.parametrize("sampling", data.SAMPLINGS)
@pytest.mark.parametrize("name", ["breast_cancer", "california", "digits", "mnist"])
def test_the_scaler_brings_rows_of_the_source_to_those_of_the_dataset(name, sampling):
    need(name)
    found = data.load(name, seed=1, sampling=sampling)
    source = {
        "breast_cancer": lambda: load_breast_cancer().data,
        "california": lambda: california.read()[0],
        "digits": lambda: load_digits().data,
        "mnist": lambda: mnist._bytes()[2][:100].reshape(100, -1),
    }[name]()
    mean, sd = (part.numpy() for part in found.scaler)
    rows = {row.tobytes() for row in ((source - mean) / sd).astype(np.float32)}
    assert all(row.numpy().tobytes() in rows for row in found.x_test[:100])


def test_own_rows_are_scaled_by_what_the_dataset_says():
    raw = load_wine()
    own = Dataset.from_arrays(raw.data, raw.target, scale=True)
    mean, sd = own.scaler
    rows = ((torch.from_numpy(raw.data) - mean) / sd).float()
    assert all((rows == row).all(1).any() for row in own.x_test)
    assert Dataset.from_arrays(raw.data, raw.target).scaler is None


@pytest.mark.parametrize("sampling", data.SAMPLINGS)
def test_points_return_to_the_units_of_the_measurements(sampling):
    table, raw = data.load("breast_cancer", sampling=sampling), load_breast_cancer().data
    found = table.original(table.x_test[:5]).numpy()
    apart = np.abs(raw[None] / found[:, None] - 1)
    assert np.nan_to_num(apart).max(2).min(1).max() < 1e-4  # each is a row of the table
    digits = data.load("digits")
    assert torch.equal(digits.original(digits.x_test), 16 * digits.x_test.double())  # grey levels


def test_equal_rows_count_once_when_corrected():
    x = np.repeat(np.random.default_rng(0).normal(size=(60, 2)), 2, axis=0)
    x_train, _, x_test, *_ = _tables.corrected(x, np.repeat([0, 1], 60), 20, np.random.default_rng(0))
    assert len({row.tobytes() for row in np.concatenate([x_train, x_test])}) == 40
    with pytest.raises(ValueError, match="expected 20 test rows of each class inside the box"):
        _tables.corrected(x, np.repeat([0, 1], 60), 100, np.random.default_rng(0))


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown dataset 'cifar'; known: breast_cancer, california, digits, mnist"):
        data.load("cifar")
    with pytest.raises(ValueError, match="unknown sampling 'fair'; known: as_run, corrected"):
        data.load("digits", sampling="fair")
    with pytest.raises(ValueError, match="expected seed >= 0, got -1"):
        data.load("digits", seed=-1)


# Data of one's own

RNG = np.random.default_rng(0)
X, Y = RNG.uniform(size=(40, 3)), np.arange(40) % 2


def made(x=X, y=Y, **options):
    return Dataset.from_arrays(x, y, **options)


def test_arrays_tensors_tables_and_lists_are_the_same_data():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    first = made(seed=1)
    for x, y in (
        (torch.from_numpy(X).requires_grad_(), torch.from_numpy(Y)), (frame, pd.Series(Y)), (X.tolist(), Y.tolist()),
        (frame.astype(object), pd.Series(Y, dtype="category")), (np.asfortranarray(X), Y[:, None][:, 0]),
    ):  # fmt: skip
        assert same(first, made(x, y, seed=1))
    assert (
        made(frame, Y).feature_names == ("a", "b", "c") == made(feature_names=np.array(["a", "b", "c"])).feature_names
    )
    assert not same(first, made(seed=2))
    well_formed(first)
    assert (first.image_shape, first.n_classes, len(first.x_train)) == (None, 2, 32)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_labels_of_any_integer_type(kind):
    assert same(made(), made(y=Y.astype(kind)))
    assert same(made(), made(y=torch.from_numpy(Y).to(getattr(torch, kind))))
    assert made(y=(3 + 7 * Y).astype(kind)).class_names == ("3", "10")


def test_labels_may_be_texts_and_truth_values():
    words = np.array(["yes", "no"])[Y]
    known = {row.tobytes(): word for row, word in zip(X.astype(np.float32), words, strict=True)}
    for y in (words, words.tolist(), pd.Series(words), pd.Series(words, dtype="category"), words.astype(object)):
        loaded = made(y=y)
        assert loaded.class_names == ("no", "yes")
        named = [loaded.class_names[label] for label in loaded.y_train]
        assert named == [known[row.tobytes()] for row in loaded.x_train.numpy()]
    assert made(y=Y == 1).class_names == ("False", "True")


def test_the_bounds_are_those_of_the_training_rows(monkeypatch, capsys):
    monkeypatch.delenv("ROBEXPL_PROGRESS", raising=False)
    loaded = made()
    assert torch.equal(loaded.bounds[0], loaded.x_train.amin(0))
    assert torch.equal(loaded.bounds[1], loaded.x_train.amax(0))
    left = 40 - 32 - len(loaded.x_test)
    assert left > 0
    said = f"warning: left out {left} of 8 test rows outside the bounds of the training rows\n"
    assert capsys.readouterr().err == said
    given = made(bounds=(0, 1))
    assert (given.bounds, len(given.x_test)) == ((0.0, 1.0), 8)
    assert capsys.readouterr().err == ""
    low, high = made(bounds=(X.min(0), X.max(0))).bounds
    assert low.dtype == torch.float32
    assert torch.equal(high, torch.from_numpy(X.max(0)).float())


def test_scaling_knows_the_training_rows_alone():
    plain, scaled = made(bounds=(0, 1)), made(scale=True, bounds=(0, 1))
    mean, std = plain.x_train.mean(0), plain.x_train.std(0)
    for name in ("x_train", "x_test"):
        torch.testing.assert_close(getattr(scaled, name), (getattr(plain, name) - mean) / std, atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.bounds[1], (1 - mean) / std)
    assert torch.allclose(scaled.x_train.mean(0), torch.zeros(3), atol=1e-6)


def test_a_constant_feature_stays():
    loaded = made(np.column_stack([X, np.full(40, 0.1)]), scale=True)
    low, high = loaded.bounds
    assert low[3] == high[3]
    assert torch.isfinite(loaded.x_train).all()
    assert float(loaded.x_train[:, 3].abs().max()) < 1e-6


def test_test_rows_are_split_off_by_class_or_given():
    y = np.repeat([0, 1, 2], [20, 16, 4])
    loaded = made(y=y, bounds=(0, 1), test_share=0.25)
    assert loaded.y_train.bincount().tolist() == [15, 12, 3]
    assert loaded.y_test.bincount().tolist() == [5, 4, 1]
    rows = {row.tobytes() for row in torch.cat([loaded.x_train, loaded.x_test]).numpy()}
    assert rows == {row.tobytes() for row in X.astype(np.float32)}
    given = made(x_test=X[:5] * 0.5 + 0.25, y_test=Y[:5].astype(np.int8), bounds=(0, 1))
    assert torch.equal(given.x_train, torch.from_numpy(X).float())
    assert given.y_test.tolist() == Y[:5].tolist()


@pytest.mark.parametrize("shape", [(40, 6, 5), (40, 1, 6, 5), (40, 6, 5, 1)])
def test_images(shape):
    x = RNG.uniform(size=shape).astype(np.float32)
    loaded = made(x, Y)
    assert (loaded.image_shape, loaded.bounds, loaded.x_train.shape) == ((6, 5), (0.0, 1.0), (32, 30))
    assert torch.equal(loaded.x_train, made(x.reshape(40, 30), Y, bounds=(0, 1)).x_train)


WRONG = {
    "labels as floats": (lambda: made(y=Y * 0.5), "expected whole numbers or texts in y, got float64"),
    "a missing label": (lambda: made(y=[*"ab"] * 19 + ["a", None]), "expected whole numbers or texts in y, got object"),
    "a label that is NaN": (lambda: made(y=[*"ab"] * 19 + ["a", np.nan]), "expected whole numbers or texts in y, got "),
    "labels of two types": (lambda: made(y=[0, "0"] * 20), "expected whole numbers or texts in y, got object"),
    "one class": (lambda: made(y=Y * 0), "expected labels of two classes or more in y, got [0]"),
    "a class of one row": (
        lambda: made(y=np.arange(40)),
        "expected test_share below 1 and two rows of each class, got",
    ),
    "labels of other rows": (lambda: made(y=Y[:30]), "expected y of shape (40,), got (30,)"),
    "labels one-hot": (lambda: made(y=np.eye(2, dtype=int)[Y]), "expected y of shape (40,), got (40, 2)"),
    "text in a table": (
        lambda: made(pd.DataFrame({"age": X[:, 0], "town": ["Delft"] * 40})),
        "expected finite numbers in column 'town' of x, got text, NaN or infinite",
    ),
    "a missing number": (
        lambda: made(pd.DataFrame({"age": [*X[1:, 0], np.nan]})),
        "expected finite numbers in column 'age' of x, got text, NaN or infinite",
    ),
    "a missing whole number": (
        lambda: made(pd.DataFrame({"age": pd.array([*range(39), None], dtype="Int64")})),
        "expected finite numbers in column 'age' of x, got text, NaN or infinite",
    ),
    "numbers too large": (lambda: made(X * 1e300), "expected finite numbers in x_train, got "),
    "complex numbers": (lambda: made(X + 1j), "expected numbers or texts in x, got complex128"),
    "dates": (lambda: made(pd.DataFrame({"a": pd.to_datetime(Y)})), "expected numbers or texts in x, got datetime64["),
    "rows of two lengths": (lambda: made([[1, 2], [3]], [0, 1]), "expected x as one array, got list: "),
    "one row": (lambda: made(X[0]), "expected x of shape (n, d) or (n, height, width), got (3,)"),
    "colours": (lambda: made(np.zeros((40, 3, 8, 8))), "expected x of shape (n, d) or (n, height, width), got (40, 3"),
    "nothing": (lambda: made(None, None), "expected x of shape (n, d) or (n, height, width), got ()"),
    "sparse": (lambda: made(torch.eye(40).to_sparse()), "expected x to be a dense tensor with values, got torch.spar"),
    "images up to 255": (
        lambda: made((RNG.uniform(size=(40, 4, 4)) * 255).astype(np.uint8)),
        "expected x_train inside the bounds, got values from 0 to 25",
    ),
    "rows outside": (lambda: made(bounds=(0, 0.5)), "expected x_train inside the bounds, got values from 0.0"),
    "test rows outside": (
        lambda: made(x_test=X * 9, y_test=Y),
        "expected bounds that hold all rows, got 40 of 40 test rows outside the bounds of the training rows",
    ),
    "other columns": (
        lambda: made(pd.DataFrame(X, columns=[*"abc"]), x_test=pd.DataFrame(X, columns=[*"acb"]), y_test=Y),
        "expected x_test with the columns of x, got others, of shape (40, 3)",
    ),
    "fewer columns": (lambda: made(x_test=X[:, 1:], y_test=Y), "expected x_test with the columns of x, got others, of"),
    "test labels missing": (lambda: made(x_test=X), "expected whole numbers or texts in y_test, got object"),
    "a new class": (lambda: made(x_test=X, y_test=Y + 1), "expected labels in y_test that y has, got [2]"),
    "one bound": (lambda: made(bounds=1.0), "expected bounds as a pair (low, high), got 1.0"),
    "bounds turned around": (lambda: made(bounds=(1, 0), scale=True), "expected low <= high in bounds, got low 1 and "),
    "a seed below zero": (lambda: made(seed=-1), "expected seed >= 0, got -1"),
    "a share as text": (lambda: made(test_share="a"), "expected test_share as one number, got 'a'"),
    "all for the test": (lambda: made(test_share=1), "expected test_share below 1 and two rows of each class, got 1 "),
    "too few names": (lambda: made(feature_names=["a"]), "expected names of 3 features and 2 classes, and as many pi"),
    "scale as a number": (lambda: made(scale=2), "expected scale as bool, got 2"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_arrays_are_one_line(what):
    call, says = WRONG[what]
    with pytest.raises(ValueError, match="^" + re.escape(says)) as error:
        call()
    one_line(error)


def test_wine_from_arrays():
    raw = load_wine()
    wine = made(raw.data, raw.target_names[raw.target], scale=True, feature_names=raw.feature_names)
    well_formed(wine)
    assert wine.feature_names[:2] == ("alcohol", "malic_acid")
    assert wine.class_names == ("class_0", "class_1", "class_2")
    assert wine.y_train.bincount().tolist() == [47, 57, 38]


def csv_file(folder, text, encoding="utf-8"):
    path = folder / "my table.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_file(tmp_path, mark, encoding):
    rows = [["age", "größe", "ill"], *([str(i), str(i / 4 - 2), str(8 + i % 3)] for i in range(30))]
    path = csv_file(tmp_path, "\r\n".join(mark.join(row) for row in rows) + "\r\n\r\n", encoding)
    loaded = Dataset.from_csv(path, target="ill", scale=False, bounds=(-99, 99))
    assert (loaded.name, loaded.feature_names, loaded.class_names) == ("my table", ("age", "größe"), ("8", "9", "10"))
    assert sorted(torch.cat([loaded.x_train, loaded.x_test])[:, 0].tolist()) == [*range(30)]
    assert same(loaded, made(np.array([[i, i / 4 - 2] for i in range(30)]), np.arange(30) % 3, bounds=(-99, 99)))
    scaled = Dataset.from_csv(str(path), target="ill", seed=3)
    assert same(scaled, data.load(f"{path}:ill", seed=3))
    assert torch.allclose(scaled.x_train.mean(0), torch.zeros(2), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a CSV file with a header, in UTF-8, got another at "),
        ("a,b\n", "expected x of shape (n, d) or (n, height, width), got (0, 1)"),
        ("a,c\n1,2\n", "expected column 'b' and others, each once, in "),
        ("b\n1\n", "expected column 'b' and others, each once, in "),
        ("a,a,b\n1,2,3\n", "expected column 'b' and others, each once, in "),
        ("a,b\n1,2\n1\n", "expected 2 cells in every row of "),
        ("a,b\n1,2,3\n", "expected 2 cells in every row of "),
        ("a,b\n1,\n", "expected 2 cells in every row of "),
        ("a,b\n1,x\nNA,y\n", "expected finite numbers in column 'a' of x, got text, NaN or infinite"),
        ('"a,b\n1,2', "expected a CSV file with a header, in UTF-8, got another at "),
        ("a,b\n1,\xe9\n", "expected a CSV file with a header, in UTF-8, got another at "),
    ],
)
def test_a_wrong_csv_file_is_one_line(tmp_path, text, says):
    path = csv_file(tmp_path, text, "latin-1")
    with pytest.raises(ValueError, match="^" + re.escape(says)) as error:
        Dataset.from_csv(path, target="b")
    one_line(error)


def test_a_csv_file_that_is_not_there_is_named(tmp_path):
    for call in (lambda: Dataset.from_csv("no.csv", target="b"), lambda: data.load("no.csv:b")):
        with pytest.raises(ValueError, match=r"^expected a CSV file, found none at no\.csv$"):
            call()


def test_a_study_runs_on_a_csv_file_and_knows_its_content(tmp_path):
    path = csv_file(tmp_path, "age,ill\n" + "".join(f"{i},{i % 2}\n" for i in range(30)))
    name = f"{path}:ill"
    study, first = sizes.load("demo", name), Data(name, 1, "corrected")
    assert (study.kind, study.profile, study.distance) == ("tabular", "demo", "euclidean")
    assert sizes.slug(name) == "my-table"
    assert sizes.slug("digits") == "digits"
    assert same(first.load(), Dataset.from_csv(path, target="ill", seed=1))
    assert "robexpl.data._dataset.Dataset" in provenance.reached(first.code())
    key = stages.train.key(networks.network(study, "weak", 0, sizes.primary()))
    path.write_bytes(path.read_bytes() + b"31,0\n")
    assert Data(name, 1, "corrected") != first
    assert stages.train.key(networks.network(study, "weak", 0, sizes.primary())) != key
    assert len(Data(name, 1, "corrected").load().x_train) == len(first.load().x_train) + 1


def test_what_a_small_csv_file_allows_is_computed_and_once(tmp_path):
    """No more neighbours than the smallest class has; conditions that differ in the sampling alone share networks."""
    path = csv_file(tmp_path, "age,ill\n" + "".join(f"{i},{i % 3 == 0}\n" for i in range(45)))
    study = sizes.load("demo", f"{path}:ill")
    assert variations.most_neighbours(study) == 12
    assert sizes.sensitivity(study)["k"] == [1, 2, 5, 10, 20, 50, 100]
    assert [k for k, _, _ in variations.values(study, "k")] == [1, 2, 5, 10]
    standard, strong = (
        {networks.network(study, regime, 0, how) for how in sizes.conditions()} for regime in ("standard", "strong")
    )
    assert len(standard) == 1
    assert len(strong) == 2  # as run, its adversary stops early


# Files


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["mnist", "california"])
def test_missing_files_are_named_with_both_remedies(empty, name):
    with pytest.raises(DataError) as error:
        data.load(name)
    text = one_line(error)
    file = {"mnist": "mnist/train-images-idx3-ubyte.gz", "california": "scikit_learn/cal_housing_py3.pkz"}[name]
    assert text.startswith(f"no {file}: tried ")
    assert "set ROBEXPL_DATA" in text
    assert str(empty / "cache" / file) in text
    assert text.count("ConnectionError") == (2 if name == "mnist" else 0)


@pytest.mark.parametrize("place", ["data", "cache"])
@pytest.mark.parametrize("file", ["mnist/train-images-idx3-ubyte.gz", "scikit_learn/cal_housing_py3.pkz"])
def test_damaged_files_are_refused_and_stay(empty, place, file):
    path = empty / place / file
    path.parent.mkdir()
    path.write_bytes(b"damaged")
    with pytest.raises(DataError) as error:
        data.load("mnist" if file.startswith("mnist") else "california")
    assert f"{path} is truncated or altered" in one_line(error)
    assert path.read_bytes() == b"damaged"


def test_a_truncated_real_file_is_refused(monkeypatch, tmp_path):
    need("california")
    whole = files.find(california.FILE, california.SHA256).read_bytes()
    (tmp_path / "scikit_learn").mkdir()
    (tmp_path / california.FILE).write_bytes(whole[:-1])
    monkeypatch.setenv("ROBEXPL_DATA", str(tmp_path))
    california.read.cache_clear()
    with pytest.raises(DataError, match="truncated or altered"):
        data.load("california")


def test_a_folder_that_does_not_exist_is_named(monkeypatch, empty):
    monkeypatch.setenv("ROBEXPL_DATA", str(empty / "typo"))
    with pytest.raises(DataError, match=r"ROBEXPL_DATA names no folder: .*typo"):
        data.load("mnist")
    assert data.load("digits").name == "digits"  # needs no file


@pytest.fixture
def mirror(tmp_path):
    """A mirror on this machine: good/ holds the file, bad/ another one of that name, anything else answers 404."""
    root = tmp_path / "mirror"
    for folder, content in (("good", b"right bytes"), ("bad", b"wrong bytes")):
        (root / folder).mkdir(parents=True)
        (root / folder / "file.gz").write_bytes(content)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(root))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_mirrors_are_tried_in_turn_and_the_cache_keeps_the_file(empty, mirror, capfd):
    sha256 = hashlib.sha256(b"right bytes").hexdigest()
    bad = [CLOSED + "file.gz", mirror + "none/file.gz", mirror + "bad/file.gz"]
    with pytest.raises(DataError) as error:
        files.fetch("set/file.gz", sha256, bad)
    text = one_line(error)
    assert "file.gz (ConnectionError)" in text
    assert "none/file.gz (HTTP 404)" in text
    assert "bad/file.gz (another checksum)" in text
    path = files.fetch("set/file.gz", sha256, [*bad, mirror + "good/file.gz"])
    assert path == empty / "cache" / "set" / "file.gz"
    assert path.read_bytes() == b"right bytes"
    assert files.fetch("set/file.gz", sha256, []) == path  # no second download
    assert list((empty / "data").iterdir()) == []
    assert capfd.readouterr() == ("", "")  # no terminal, no progress bar
    assert not pooch.get_logger().isEnabledFor(logging.INFO)  # nor notes with local folders


@pytest.fixture(params=["headers", "body"])
def trickle(request):
    """A server that sends its headers, or what follows them, a byte at a time and never ends."""
    sent, ended = [], threading.Event()

    def serve(listening):
        with listening.accept()[0] as client, contextlib.suppress(OSError):  # the client may leave
            client.recv(4096)
            head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
            client.sendall(head + b"X: " if request.param == "headers" else head + b"\r\n")
            while not ended.wait(0.05):
                client.sendall(b"x")
                sent.append(1)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/", sent
        ended.set()
        thread.join()


def test_a_server_that_never_ends_is_left_after_a_time(empty, trickle, monkeypatch):
    """Each read of it is in time; the whole is not."""
    monkeypatch.setattr(files, "LIMIT", 0.5)
    url, sent = trickle
    start = time.monotonic()
    with pytest.raises(DataError, match=rf"{url}file\.gz \(not complete after 0\.5 s\); rem") as error:
        files.fetch("set/file.gz", hashlib.sha256(b"").hexdigest(), [url + "file.gz"])
    one_line(error)
    assert 0.5 <= time.monotonic() - start < 30
    assert sent
    assert [path for path in (empty / "cache").rglob("*") if path.is_file()] == []


def test_california_from_a_server_that_never_ends_is_one_line(empty, trickle, monkeypatch):
    monkeypatch.setattr(files, "LIMIT", 0.5)
    slow = housing.ARCHIVE._replace(url=trickle[0])
    monkeypatch.setattr(housing, "ARCHIVE", slow)
    monkeypatch.setattr(california.sk, "fetch_california_housing", housing.fetch_california_housing)
    with pytest.raises(DataError, match=r"scikit-learn's download \(not complete after 0\.5 s\)") as error:
        california._arrays()
    one_line(error)


def test_robexpl_data_comes_before_the_cache(empty):
    for place in ("data", "cache"):
        (empty / place / "file").write_bytes(b"x")
    sha256 = hashlib.sha256(b"x").hexdigest()
    assert files.find("file", sha256) == empty / "data" / "file"
    (empty / "data" / "file").unlink()
    assert files.find("file", sha256) == empty / "cache" / "file"


def test_california_downloads_once_and_keeps_no_pickle(monkeypatch, empty):
    rng = np.random.default_rng(0)
    x, value = rng.normal(size=(40, 8)), rng.normal(size=40)
    monkeypatch.setattr(california.sk, "fetch_california_housing", lambda **_: (x, value))
    with pytest.raises(DataError, match="scikit-learn's download holds other numbers"):
        data.load("california")
    assert list((empty / "cache").iterdir()) == []  # what is wrong is not kept
    monkeypatch.setattr(california, "CONTENT", hashlib.sha256(x.tobytes() + value.tobytes()).hexdigest())
    data.load("california")
    assert [path.name for path in (empty / "cache").iterdir()] == ["california.npz"]
    monkeypatch.setattr(california.sk, "fetch_california_housing", None)  # not needed a second time
    california.read.cache_clear()
    data.load("california")
    kept = empty / "cache" / "california.npz"
    kept.write_bytes(kept.read_bytes()[:-100])
    california.read.cache_clear()
    with pytest.raises(DataError, match=r"california\.npz is truncated or altered"):
        data.load("california")
