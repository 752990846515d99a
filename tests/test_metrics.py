"""SSIM against float64 filters of other libraries, distances against closed forms, and every way to ask wrongly."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import linear
from scipy.ndimage import correlate1d
from skimage.metrics import structural_similarity
from strategies import wave
from torch import Tensor

from robexpl import metrics
from robexpl.metrics import _neighbours

maps = metrics.module("ssim")

SHAPES = [(28, 28), (8, 8), (12, 17), (3, 20), (1, 1)]


def reference_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The SSIM map in float64 by scipy's symmetric borders, which it calls 'reflect'."""
    x = np.arange(-5, 6)
    window = np.exp(-(x**2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(image):
        return correlate1d(correlate1d(image, window, axis=0, mode="reflect"), window, axis=1, mode="reflect")

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    return (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))


def exact(a: Tensor, b: Tensor, shape: tuple[int, int], margin: int = 0) -> Tensor:
    inner = slice(margin, shape[0] - margin), slice(margin, shape[1] - margin)
    pairs = [[reference_map(p.reshape(shape), q.reshape(shape))[inner].mean() for q in b.numpy()] for p in a.numpy()]
    return torch.tensor(pairs)


def pictures(n: int, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Noise, speckles on black, flat images, waves, bright faint noise: in [0, 1], float64."""
    noise = torch.rand(n, *shape, generator=generator)
    noise[1::5] = (noise[1::5] > 0.8).float()
    noise[2::5] = noise[2::5, :1, :1]
    noise[3::5] = 0.5 + 0.5 * torch.cos((0.5 + noise[3::5, :1, :1]) * torch.arange(shape[1]))
    noise[4::5] = 0.9 + 0.1 * noise[4::5]
    return noise.view(n, -1).double()


def paths(a: Tensor, b: Tensor, shape: tuple[int, int], margin: int = 0) -> dict[str, Tensor]:
    """The pairs by the fused kernel, by the general path and by the general path in float64."""
    single, exact_bank = b.float(), maps.bank(b, shape)
    return {
        "fused": maps.scores(a.float(), maps.bank(single, shape, fused=True), margin=margin),
        "general": maps.scores(a.float(), maps.bank(single, shape, fused=False), margin=margin),
        "float64": maps.scores(a, exact_bank, margin=margin),
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_equals_float64_filters_with_symmetric_borders(shape, generator):
    a, b = pictures(6, shape, generator), pictures(21, shape, generator)
    expected = exact(a.float().double(), b.float().double(), shape)
    for name, found in paths(a.float().double(), b.float().double(), shape).items():
        assert (found - expected).abs().max() < (1e-10 if name == "float64" else 1e-6), name
    assert (metrics.ssim(a.float(), b.float(), image_shape=shape) - expected).abs().max() < 1e-6


def test_sharp_shapes_lose_at_most_one_digit():
    """Single precision errs most where one image is saturated in two wide flat areas, black and white."""
    sharp = torch.stack([(torch.arange(784) % 28 < column).double() for column in (2, 7, 14, 21)])
    for name, found in paths(sharp, sharp, (28, 28)).items():
        assert (found - exact(sharp, sharp, (28, 28))).abs().max() < (1e-10 if name == "float64" else 1e-5), name


@pytest.mark.parametrize("shape", [(28, 28), (12, 17)])
def test_both_paths_agree_with_scikit_image_in_the_interior(shape, generator):
    a, b = pictures(3, shape, generator), pictures(18, shape, generator)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    expected = torch.tensor(
        [[structural_similarity(p.reshape(shape), q.reshape(shape), **settings) for q in b.numpy()] for p in a.numpy()]
    )
    for name, found in paths(a, b, shape, margin=5).items():
        assert (found - expected).abs().max() < 1e-6, name
    labels = torch.arange(18)  # a class for each image: then the nearest of a class is that image
    reference = metrics.reference(b.float(), labels, distance="ssim_cropped", image_shape=shape)
    for label in labels.tolist():
        found = metrics.implausibility(a.float(), label, reference, k=1)
        torch.testing.assert_close(found, ((1 - expected[:, label]) / 2).float(), atol=1e-6, rtol=0)


def test_ssim_of_flat_images_has_a_closed_form():
    """Without variance SSIM is (2 a b + C1) / (a^2 + b^2 + C1), and 1 for equals."""
    levels = torch.tensor([0.0, 0.25, 0.5, 0.9, 1.0])
    flat = levels[:, None].expand(5, 784).contiguous()
    expected = (2 * levels[:, None] * levels + 1e-4) / (levels[:, None] ** 2 + levels**2 + 1e-4)
    torch.testing.assert_close(metrics.ssim(flat, flat), expected, atol=1e-6, rtol=0)
    assert metrics.ssim(flat[:1], flat[-1:]).item() == pytest.approx(1e-4 / 1.0001, abs=1e-9)


def test_golden_values_of_three_pictures():
    """A ramp, a soft spot and stripes: numbers from float64 filters, typed once."""
    row, column = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    ramp, stripes = column / 27, (column % 4 < 2).float()
    spot = torch.exp(-((row - 13.5) ** 2 + (column - 13.5) ** 2) / 50)
    images = torch.stack([ramp, spot, stripes]).view(3, -1)
    golden = torch.tensor([[1.0, 0.13230363, -0.0041377], [0.13230363, 1.0, 0.0022144], [-0.0041377, 0.0022144, 1.0]])
    torch.testing.assert_close(metrics.ssim(images, images), golden, atol=1e-6, rtol=0)


def test_ssim_is_symmetric_and_one_for_equals(generator):
    a = pictures(25, (28, 28), generator).float()
    found = metrics.ssim(a, a)
    torch.testing.assert_close(found, found.T, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.diagonal(), torch.ones(25), atol=1e-6, rtol=0)
    assert found.max() < 1 + 1e-6
    turned = a.view(-1, 28, 28).flip(1).transpose(1, 2).reshape(25, -1)  # turning both images changes no pair
    torch.testing.assert_close(metrics.ssim(turned, turned), found, atol=1e-6, rtol=0)


@pytest.mark.parametrize("fused", [True, False])
def test_batch_equals_singles_in_any_order(fused, generator):
    a, b = (pictures(n, (8, 8), generator).float() for n in (5, 39))
    whole = maps.scores(a, maps.bank(b, (8, 8), fused=fused))
    order = torch.randperm(39, generator=generator)
    torch.testing.assert_close(maps.scores(a, maps.bank(b[order], (8, 8), fused=fused)), whole[:, order])
    single = torch.cat([maps.scores(row[None], maps.bank(b, (8, 8), fused=fused)) for row in a])
    torch.testing.assert_close(single, whole, atol=1e-7, rtol=0)


def test_chunks_of_statistics_do_not_matter(generator, monkeypatch):
    b = pictures(53, (8, 8), generator).float()
    whole = maps.bank(b, (8, 8))
    monkeypatch.setattr(maps, "CHUNK", 16)
    parts = maps.bank(b, (8, 8))
    for name in ("pixels", "mean", "variance", "centre"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), atol=1e-7, rtol=0)


def test_the_general_path_serves_where_numba_is_missing(generator, monkeypatch):
    a = pictures(5, (8, 8), generator).float()
    with_numba = metrics.ssim(a, a, image_shape=(8, 8))
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    monkeypatch.setattr(maps, "_fused", lambda *_: pytest.fail("the kernel was used"))
    torch.testing.assert_close(metrics.ssim(a, a, image_shape=(8, 8)), with_numba, atol=1e-6, rtol=0)


def test_a_read_only_installation_compiles_without_a_cache(monkeypatch, capsys):
    monkeypatch.delenv("ROBEXPL_PROGRESS", raising=False)
    from robexpl.metrics import _kernel as kernel

    def njit(*, cache=False, **options):
        def decorate(function):
            if cache:
                raise RuntimeError("cannot cache function: no locator available")
            return function, options

        return decorate

    monkeypatch.setattr(kernel, "njit", njit)
    function, options = kernel._kept(len)
    assert function is len
    assert options["fastmath"] == {"contract"}
    assert capsys.readouterr().err.startswith("warning: numba has no place for machine code")


def test_importing_metrics_does_not_import_numba():
    code = "import sys; from robexpl import metrics; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert importlib.util.find_spec("numba") is not None


# Nearest neighbours


def brute(distances: np.ndarray, k: int) -> Tensor:
    return torch.from_numpy(np.sort(distances, axis=1)[:, :k].mean(1)).float()


@pytest.mark.parametrize("distance", ["euclidean", "l1"])
def test_vector_distances_by_closed_form(distance, generator):
    x, points = torch.rand(9, 6, generator=generator), torch.rand(50, 6, generator=generator)
    y, target = torch.arange(50) % 3, torch.arange(9) % 3
    found = metrics.implausibility(x, target, points, y, distance=distance, k=4)
    order = 2 if distance == "euclidean" else 1
    gaps = np.linalg.norm(x.numpy()[:, None] - points.numpy(), ord=order, axis=2)
    for label in range(3):
        rows = target == label
        torch.testing.assert_close(found[rows], brute(gaps[rows.numpy()][:, (y == label).numpy()], 4))


def test_distances_along_a_line_are_exact():
    """The points 0, 1, ..., 99 and a query at -1: the k nearest lie at 1 ... k, so their mean is (k + 1) / 2."""
    points, y = torch.arange(100.0)[:, None], torch.zeros(100, dtype=torch.long)
    for k in (1, 7, 100):
        assert metrics.implausibility(torch.tensor([[-1.0]]), 0, points, y, distance="euclidean", k=k) == (k + 1) / 2


def test_near_duplicates_keep_their_digits():
    """Far from the origin, the distance of two points 2^-8 apart is still 2^-8."""
    point = torch.full((1, 400), 100.0)
    moved = point.clone()
    moved[0, 0] += 2**-8
    y = torch.zeros(1, dtype=torch.long)
    assert metrics.implausibility(point, 0, moved, y, distance="euclidean", k=1) == 2**-8


def test_implausibility_by_ssim_is_the_mean_over_the_nearest_of_the_class(generator):
    x, points = (pictures(n, (8, 8), generator).float() for n in (6, 60))
    y, target = torch.arange(60) % 4, torch.tensor([3, 0, 1, 1, 2, 0])
    found = metrics.implausibility(x, target, points, y, k=5, image_shape=(8, 8))
    gaps = (1 - exact(x.double(), points.double(), (8, 8)).numpy()) / 2
    for row, label in enumerate(target.tolist()):
        expected = brute(gaps[row : row + 1, (y == label).numpy()], 5)
        torch.testing.assert_close(found[row : row + 1], expected, atol=1e-6, rtol=0)
    assert metrics.implausibility(points[:1], int(y[0]), points, y, k=1, image_shape=(8, 8)).abs() < 1e-6


@pytest.mark.parametrize("distance", ["ssim", "euclidean", "l1"])
def test_blocks_order_and_preparation_do_not_matter(distance, generator, monkeypatch):
    x, points = (pictures(n, (8, 8), generator).float() for n in (10, 60))
    y, target = torch.arange(60) % 2, torch.arange(10) % 2
    settings = {"distance": distance, "k": 7, "image_shape": (8, 8)}
    whole = metrics.nearest(x, target, points, y, **settings)
    assert whole.shape == (10, 7)
    assert (whole.diff(dim=1) >= 0).all()
    reference = metrics.reference(points, y, distance=distance, image_shape=(8, 8))
    torch.testing.assert_close(metrics.nearest(x, target, reference, k=7), whole, atol=0, rtol=0)
    torch.testing.assert_close(metrics.implausibility(x, target, reference, k=3), whole[:, :3].mean(1))
    order = torch.randperm(60, generator=generator)
    shuffled = metrics.nearest(x, target, points[order], y[order], **settings)
    torch.testing.assert_close(shuffled, whole, atol=1e-6, rtol=0)
    monkeypatch.setattr(_neighbours, "QUERIES", 3)
    monkeypatch.setattr(_neighbours, "POINTS", 11)
    torch.testing.assert_close(metrics.nearest(x, target, points, y, **settings), whole, atol=1e-6, rtol=0)
    assert metrics.nearest(x[:0], target[:0], points, y, **settings).shape == (0, 7)


def test_doubles_stay_doubles(generator):
    x, y = pictures(12, (8, 8), generator), torch.arange(12) % 2
    found = metrics.implausibility(x, y, x, y, k=2, image_shape=(8, 8))
    assert found.dtype == torch.float64
    single = metrics.implausibility(x.float(), y, x.float(), y, k=2, image_shape=(8, 8))
    torch.testing.assert_close(single.double(), found, atol=1e-6, rtol=0)


GOLDEN = {  # the images' from scipy's filters, the others from numpy
    "ssim": [0.51596747994, 0.48204803688],
    "ssim_cropped": [0.48869594958, 0.39307008682],
    "euclidean": [6.4036516393, 6.5082241938],
    "l1": [65.293224542, 66.033428899],
    "robust": [1.1729652214, 1.6771502468],
    "mahalanobis": [3.6456452418, 2.4622692417],
}


@pytest.mark.parametrize("distance", GOLDEN)
def test_golden_values(distance):
    """Implausibility of fixed points for two classes by the three nearest of five each, in both precisions."""
    flat = distance in metrics.names("tabular") and distance not in metrics.names("image")
    x, points = (wave(2, 3), wave(10, 3, phase=3.0)) if flat else (wave(2, 156), wave(10, 156, phase=3.0))
    if not flat:
        points[::3] = (points[::3] > 0.6).double()  # some in black and white
    y, target = torch.arange(10) % 2, torch.tensor([0, 1])
    expected = torch.tensor(GOLDEN[distance], dtype=torch.double)
    settings = {"distance": distance, "k": 3, "image_shape": (12, 13)}
    found = metrics.implausibility(x, target, points, y, **settings)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
    single = metrics.implausibility(x.float(), target, points.float(), y, **settings)
    assert single.dtype == (torch.double if flat else torch.float)
    torch.testing.assert_close(single.double(), expected, atol=2e-6, rtol=2e-6)


def test_every_metric_is_a_file_with_all_that_is_asked_of_it():
    assert set(GOLDEN) <= set(metrics.names())
    assert set(GOLDEN) & set(metrics.names("image")) == {"euclidean", "l1", "ssim", "ssim_cropped"}
    assert set(GOLDEN) & set(metrics.names("tabular")) == {"euclidean", "l1", "mahalanobis", "robust"}
    titles = [metrics.module(name).TITLE for name in metrics.names()]
    assert len({*titles}) == len(titles)
    x = torch.rand(30, 169, generator=torch.Generator().manual_seed(0))
    for name in metrics.names():
        module = metrics.module(name)
        assert module.__name__ == f"robexpl.metrics.{name}"
        everything = x if "image" in module.KINDS else x[:, :5]
        bank = module.prepare(everything[:7], everything=everything, image_shape=(13, 13))
        assert len(bank) == 7
        assert len(module.prepare(everything[:0], everything=everything, image_shape=(13, 13))) == 0
        gaps = module.distances(everything[:9], bank)
        assert gaps.shape == (9, 7)
        torch.testing.assert_close(gaps[:7].diagonal(), torch.zeros(7).to(gaps), atol=1e-6, rtol=0)
        torch.testing.assert_close(gaps[:7], gaps[:7].T, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="unknown kind of data 'text'; known: image, tabular"):
        metrics.names("text")
    with pytest.raises(ValueError, match="unknown distance 'cosine'"):
        metrics.module("cosine")
    fits = metrics.module("ssim_cropped").fits
    assert (fits((11, 11)), fits((28, 28)), fits((10, 28)), fits((28, 10)), fits((8, 8))) == (True, True, *[False] * 3)


# Metrics after a linear map


def mapped(x: Tensor, points: Tensor, distance: str, everything: Tensor | None = None) -> Tensor:
    module = metrics.module(distance)
    everything = points if everything is None else everything
    return module.distances(x, module.prepare(points, everything=everything, image_shape=(1, 1)))


def test_the_robust_metric_divides_by_the_interquartile_range():
    points = torch.arange(9.0)[:, None] * torch.tensor([1.0, 10.0])  # quartiles 2 and 6, 20 and 60
    found = mapped(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 40.0]]), points[:1], "robust", points)
    assert torch.equal(found, torch.tensor([[0.0], [1.0], [1.0]], dtype=torch.float64))
    bank = metrics.module("robust").prepare(points[:1], everything=points, image_shape=(1, 1))
    assert torch.equal(bank.by, torch.diag(torch.tensor([1 / 4, 1 / 40], dtype=torch.float64)))


def test_the_mahalanobis_metric_is_that_of_the_covariance(points):
    found = mapped(points[:3], points[3:8], "mahalanobis", points)
    inverse = torch.linalg.inv(torch.cov(points.double().T))
    u = points[:3, None].double() - points[3:8].double()
    expected = torch.einsum("nmi,ij,nmj->nm", u, inverse, u).sqrt()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_the_mahalanobis_metric_does_not_see_linear_maps_of_the_data(points, generator):
    mixed = points.double() @ torch.randn(12, 12, generator=generator).double()
    first, second = (mapped(x, x, "mahalanobis") for x in (points, mixed))
    assert torch.allclose(first, second, rtol=1e-6, atol=1e-6)


def test_the_scales_are_those_of_all_classes(points):
    """The map is fitted on every reference point, whatever class the distances are to."""
    y = torch.arange(40) % 2
    spread = points * torch.where(y == 1, 5.0, 1.0)[:, None]
    for distance in ("robust", "mahalanobis"):
        found = metrics.implausibility(points[:3], 0, spread, y, distance=distance, k=4)
        expected = mapped(points[:3], spread[y == 0], distance, spread).sort(1).values[:, :4].mean(1)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
        alone = mapped(points[:3], spread[y == 0], distance).sort(1).values[:, :4].mean(1)
        assert not torch.allclose(found, alone, rtol=1e-2)
        known = metrics.reference(spread, y, distance=distance)
        assert torch.equal(found, metrics.implausibility(points[:3], 0, known, k=4))


@pytest.mark.parametrize("rows", [slice(0), slice(1), slice(None)])
def test_maps_are_refused_where_they_have_no_meaning(points, rows):
    flat = points.clone()
    flat[:, 3] = 0.5
    for distance, message in (
        ("robust", "differ between their quartiles, got (1|12) that do not"),
        ("mahalanobis", "covariance of full rank 12, got a singular"),
    ):
        with pytest.raises(ValueError, match=message):
            metrics.reference(flat[rows], torch.zeros(40).long()[rows], distance=distance)


def wrong(**changes) -> dict:
    x, y = torch.rand(20, 64, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2
    good = {"x": x[:3], "target": y[:3], "reference_x": x, "reference_y": y, "k": 5, "image_shape": (8, 8)}
    return {**good, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 11}, "expected at least k = 11 reference points of class 0, got 10"),
        ({"k": 0}, "expected k > 0, got 0"),
        ({"k": 2.5}, "expected k as a whole number, got 2.5"),
        ({"target": torch.tensor([0, 1, 7])}, "expected at least k = 5 reference points of class 7, got 0"),
        ({"target": torch.tensor([0, 1])}, "expected target of shape (3,), got (2,)"),
        ({"target": -1}, "expected target >= 0, got -1"),
        ({"distance": "cosine"}, "unknown distance 'cosine'; known: euclidean, l1, "),
        ({"distance": "_kernel"}, "unknown distance '_kernel'"),
        ({"distance": "robust", "reference_x": torch.ones(20, 64)}, "expected features that differ between their"),
        ({"distance": "mahalanobis"}, "expected a covariance of full rank 64, got a singular one"),
        ({"image_shape": 8, "distance": "l1"}, "expected image_shape as (height, width), got 8"),
        ({"distance": "ssim_cropped"}, "expected images larger than 10 pixels for ssim_cropped, got (8, 8)"),
        ({"image_shape": (28, 28)}, "expected image_shape (height, width) with 64 pixels for reference_x"),
        (
            {"image_shape": (3, 3)},
            "expected image_shape (height, width) with 64 pixels for reference_x, got (3, 3); for tabular data name "
            "another distance, such as euclidean",
        ),
        ({"x": torch.full((3, 64), math.nan)}, "expected finite numbers in x"),
        ({"x": torch.zeros(3, 63)}, "expected x of shape (n, 64) as the reference points are, got (3, 63)"),
        ({"x": torch.zeros(64)}, "expected x of shape (n, d), got (64,)"),
        ({"reference_x": torch.full((20, 64), math.inf)}, "expected finite numbers in reference_x"),
        ({"reference_y": torch.zeros(20)}, "expected reference_y to be integers"),
        ({"reference_y": None}, "expected reference_y to be a torch tensor of shape (20,), got NoneType"),
    ],
)
def test_wrong_questions_are_named(changes, message):
    with pytest.raises(ValueError, match="^" + message.translate({ord(c): "\\" + c for c in "()[]"})):
        metrics.implausibility(**wrong(**changes))


def test_a_prepared_reference_keeps_its_settings():
    good = wrong()
    reference = metrics.reference(good["reference_x"], good["reference_y"], distance="euclidean")
    with pytest.raises(ValueError, match="expected distance 'euclidean', that of the prepared reference, got 'l1'"):
        metrics.implausibility(good["x"], 0, reference, distance="l1", k=5)
    with pytest.raises(ValueError, match="expected no reference_y beside a prepared reference"):
        metrics.implausibility(good["x"], 0, reference, good["reference_y"], k=5)
    with pytest.raises(ValueError, match="that of the prepared reference, got"):
        metrics.implausibility(good["x"], 0, reference, image_shape=(8, 8), k=5)
    with pytest.raises(ValueError, match="expected at least k = 5 reference points of class 3, got 0"):
        metrics.implausibility(good["x"], 3, reference, k=5)


@pytest.mark.parametrize("bad", [torch.zeros(2, 784).long(), torch.zeros(2, 783), torch.full((2, 784), math.nan)])
def test_ssim_takes_finite_images_of_its_shape(bad):
    with pytest.raises(ValueError, match="expected"):
        metrics.ssim(bad, torch.zeros(1, 784))
    with pytest.raises(ValueError, match="expected"):
        metrics.ssim(torch.zeros(1, 784), bad)


# Accuracy


def test_accuracy_counts_largest_logits():
    model, x = linear(torch.eye(3)), torch.eye(3)[[0, 1, 2, 2, 1]]
    y = torch.tensor([0, 1, 2, 0, 1])
    assert metrics.accuracy(model, x, y) == 0.8
    assert metrics.accuracy(model, x, y, chunk=2) == 0.8


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.eye(3), torch.tensor([0, 1, 3]), "expected y in 0 ... 2, got values from 0 to 3"),
        (torch.eye(3), torch.tensor([0, 1]), r"expected y of shape \(3,\), got \(2,\)"),
        (torch.eye(3) * math.nan, torch.tensor([0, 1, 2]), "expected finite numbers in x"),
        (torch.eye(3)[:0], torch.tensor([]).long(), "expected rows > 0, got 0"),
    ],
)
def test_accuracy_refuses_what_it_cannot_count(x, y, message):
    with pytest.raises(ValueError, match=message):
        metrics.accuracy(linear(torch.eye(3)), x, y)


@pytest.mark.parametrize("chunk", [1, 2, 10])
def test_accuracy_refuses_logits_that_are_not_finite(chunk):
    model, x, y = linear(torch.eye(3)), torch.eye(3)[[0, 1, 2, 2, 1]], torch.tensor([0, 1, 2, 0, 1])
    model.forward = lambda x: torch.where(x[:, 2:] == 1, math.nan, x)
    with pytest.raises(ValueError, match=r"^expected finite logits, got 6 NaN or infinite$"):
        metrics.accuracy(model, x, y, chunk=chunk)


def test_accuracy_takes_probabilities(network, points):
    """Their largest is that of the logits; only attacks and searches need the logits themselves."""
    y = network(points).argmax(1)
    assert metrics.accuracy(torch.nn.Sequential(network, torch.nn.Softmax(1)), points, y) == 1


# Domains and numbers


SCALES = {
    "bytes": lambda x: 255 * x, "about zero": lambda x: 2 * x - 1, "standardised": lambda x: (x - 0.13) / 0.31,
    "percent": lambda x: 100 * x, "negative": lambda x: -x, "shifted": lambda x: x + 1, "huge": lambda x: x + 0.5e5,
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("distance", ["ssim", "ssim_cropped"])
def test_images_of_another_scale_are_refused_at_every_door(scale, distance, dtype):
    """SSIM's constants are for [0, 1]: on another scale it would be another measure."""
    x, y = torch.rand(6, 144, generator=torch.Generator().manual_seed(0), dtype=dtype), torch.arange(6) % 2
    x[:, 0], x[:, 1] = 0, 1
    other, shape, line = (
        SCALES[scale](x),
        {"image_shape": (12, 12)},
        "^expected intensities about .0, 1. in {}, got .* scale",
    )
    known = metrics.reference(x, y, distance=distance, **shape)
    calls = {
        "a": lambda: metrics.ssim(other, x, **shape),
        "b": lambda: metrics.ssim(x, other, **shape),
        "reference_x": lambda: metrics.reference(other, y, distance=distance, **shape),
    }
    if scale in ("bytes", "percent", "huge"):
        calls["x"] = lambda: metrics.implausibility(other, 0, known, k=1)
    for what, call in calls.items():
        with pytest.raises(ValueError, match=line.format(what)):
            call()


def test_the_noise_of_a_start_is_no_other_scale(generator):
    x, y = torch.rand(20, 784, generator=generator), torch.arange(20) % 2
    for noise in (0.1, 0.3):
        noisy = x + noise * torch.randn(x.shape, generator=generator)
        assert (noisy.min() < 0) & (noisy.max() > 1)
        assert torch.isfinite(metrics.implausibility(noisy, y, x, y, k=3)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_similarity_is_at_most_one(shape, dtype, generator):
    a = pictures(25, shape, generator)
    a = torch.cat([a, a.round(), 1 - a, 0.999 + 0.001 * a, 1e-4 * a, 1.8 * a - 0.8]).to(dtype)
    for fused in {False, dtype == torch.float32}:
        found = maps.scores(a, maps.bank(a, shape, fused=fused))
        assert found.max() <= 1
        near = 1e-5 if dtype == torch.float32 else 1e-9  # processors add the window in other orders
        torch.testing.assert_close(found.diagonal(), torch.ones(len(a), dtype=dtype), atol=near, rtol=0)
    assert metrics.implausibility(a[:5], 0, a, torch.zeros(len(a), dtype=torch.long), k=1, image_shape=shape).min() >= 0


@pytest.mark.parametrize(
    "shape", [(8.0, 8), [8, 8], (np.int64(8), np.uint8(8)), torch.Size([8, 8]), np.zeros((8, 8)).shape]
)
def test_shapes_and_targets_are_whole_numbers_of_any_type(shape):
    good = wrong()
    for target in (1, 1.0, np.int64(1), np.uint8(1), torch.tensor(1)[None].expand(3), torch.tensor(1)):
        found = metrics.implausibility(**good | {"target": target, "image_shape": shape})
        assert torch.equal(found, metrics.implausibility(**good | {"target": torch.ones(3, dtype=torch.long)}))


def test_distances_that_overflow_are_refused():
    x = torch.full((3, 4), 1e30) * torch.tensor([[1.0], [-1.0], [2.0]])
    with pytest.raises(ValueError, match=r"^expected finite distances, got \d+ NaN or infinite$"):
        metrics.implausibility(x, 0, -x, torch.zeros(3, dtype=torch.long), distance="euclidean", k=1)


@pytest.mark.parametrize("distance", metrics.names())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_surroundings_do_not_change_distances(distance, dtype, generator):
    x, y = pictures(200, (12, 12), generator).to(dtype), torch.arange(200) % 2
    if distance not in metrics.names("image"):
        x = torch.rand(200, 5, generator=generator).to(dtype)
    call = lambda: metrics.implausibility(x[:9], 1, x, y, distance=distance, k=3, image_shape=(12, 12))  # noqa: E731
    expected = call()
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(call(), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    for around in (torch.autocast("cpu", torch.bfloat16), torch.device("meta"), torch.inference_mode()):
        with around:
            found = call()
        assert torch.equal(found, expected)


# numba's files of machine code

ONE_CALL = """
import sys, torch
from robexpl import metrics
x = torch.rand(5, 64, generator=torch.Generator().manual_seed(0))
print(metrics.ssim(x, x, image_shape=(8, 8)).sum().item())
"""


def one_call(folder, preexec=None) -> tuple[str, list[str]]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    environment.pop("ROBEXPL_PROGRESS", None)
    run = subprocess.run(
        [sys.executable, "-c", ONE_CALL],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=preexec,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout, run.stderr.splitlines()


@pytest.fixture(scope="module")
def machine_code(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numba")
    result, said = one_call(folder)
    assert not said
    assert one_call(folder) == (result, [])
    return folder, result


def damaged(content: bytes, how: str) -> bytes:
    at = {"flipped early": 90, "flipped in the middle": len(content) // 2, "flipped late": len(content) - 40}
    if how in at:
        return content[: at[how]] + bytes([content[at[how]] ^ 64]) + content[at[how] + 1 :]
    return {"empty": b"", "cut": content[: len(content) // 2], "other": b"no pickle at all"}[how]


HOW = ["empty", "cut", "other", "flipped early", "flipped in the middle", "flipped late"]
CASES = [(suffix, how) for suffix in ("nbi", "nbc") for how in HOW]


@pytest.mark.slow  # each case compiles anew
@pytest.mark.parametrize(("suffix", "how"), CASES)
def test_damaged_machine_code_is_named_and_made_again(how, suffix, machine_code, tmp_path):
    folder, result = machine_code
    shutil.copytree(folder, tmp_path / "c")
    files = list((tmp_path / "c").rglob(f"*.{suffix}"))
    assert files
    for file in files:
        file.write_bytes(damaged(file.read_bytes(), how))
    found, said = one_call(tmp_path / "c")
    assert found == result
    assert len(said) <= 1
    assert suffix == "nbi" or len(said) == 1
    assert all(line.startswith("warning: numba cannot read or keep machine code in ") for line in said)
    assert one_call(tmp_path / "c") == (result, [])  # mended


def test_a_full_disk_is_one_line(machine_code, tmp_path):
    """No file may grow beyond a few kilobytes: numba's index fits, its machine code does not."""
    resource = pytest.importorskip("resource")
    found, said = one_call(tmp_path, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)))
    assert found == machine_code[1]
    (line,) = said
    assert line.startswith("warning: numba cannot read or keep machine code in ")


def test_nowhere_to_keep_machine_code_is_one_line(machine_code, monkeypatch, capsys, generator):
    from robexpl.metrics import _kernel as kernel

    monkeypatch.delenv("ROBEXPL_PROGRESS", raising=False)
    a = pictures(5, (8, 8), generator).float()
    expected = metrics.ssim(a, a, image_shape=(8, 8))
    called = []

    def pairs(*arguments):
        called.append(1)
        if len(called) == 1:
            raise OSError(30, "Read-only file system")
        return kept(*arguments)

    kept = kernel.pairs
    pairs._cache, pairs.stats = kept._cache, kept.stats
    monkeypatch.setattr(kernel, "pairs", pairs)
    monkeypatch.setattr(kept._cache, "flush", lambda: 1 / 0)
    try:
        assert torch.equal(metrics.ssim(a, a, image_shape=(8, 8)), expected)
    finally:
        kept._cache.enable()
    assert len(called) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("(OSError); compiled anew")
