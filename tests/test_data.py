"""Datasets: their numbers, their sampling, and what happens to damaged, missing and wrong files."""

from __future__ import annotations

import hashlib
import http.server
import logging
import threading

import numpy as np
import pooch
import pytest
import torch
from sklearn.datasets import load_breast_cancer

from robexpl import data, files
from robexpl.data import DataError, _tables, california, mnist

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


def test_equal_rows_count_once_when_corrected():
    x = np.repeat(np.random.default_rng(0).normal(size=(60, 2)), 2, axis=0)
    x_train, _, x_test, _, _ = _tables.corrected(x, np.repeat([0, 1], 60), 20, np.random.default_rng(0))
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
