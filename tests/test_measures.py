"""Measures of plausibility and faithfulness against closed forms, brute force and invariances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import linear
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from robexpl import measures, metrics
from robexpl.measures import Known, _judges, density, mmd, unfaithfulness
from robexpl.seeds import torch_generator

OWN = [name for name in measures.names() if name not in metrics.names()]
SINGLE = [name for name in OWN if not getattr(measures.module(name), "SET", False)]


def clouds(n: int, d: int = 3, apart: float = 4.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return n points of two normal classes around 0 and `apart` in every feature, with their labels."""
    y = torch.arange(n) % 2
    return torch.randn(n, d, generator=torch_generator(seed, "clouds")) + apart * y[:, None], y


@pytest.fixture
def known() -> Known:
    x, y = clouds(200)
    model = linear(torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]), torch.tensor([6.0, -6.0]))
    return Known(x, y, k=5, bounds=(-4.0, 8.0), model=model)


def test_every_measure_is_a_file_with_all_that_is_asked_of_it() -> None:
    titles = [measures.module(name).TITLE for name in measures.names()]
    assert len({*titles}) == len(titles)
    assert {"ssim", "oracle", "features"} <= {*measures.names("image")}
    assert {"gower", "violations", "mahalanobis"} <= {*measures.names("tabular")} - {*measures.names("image")}
    assert all(measures.module(name).COST > 0 for name in OWN)
    assert measures.module("l1") is metrics.module("l1")


@pytest.mark.parametrize("name", [name for name in measures.names("tabular") if name not in ("violations", "energy")])
def test_points_of_the_class_score_lower_than_points_far_away(name: str, known: Known) -> None:
    x, y = clouds(40, seed=1)
    score = measures.prepare(name, known)
    here, away, other = score(x, y).double(), score(x + 30 * (2 * y[:, None] - 1), y).double(), score(x, 1 - y).double()
    assert here.shape == (40,)
    assert here.mean() < other.mean()
    assert here.mean() < away.mean() or name == "oracle"  # far beyond the other class it is surer still
    torch.testing.assert_close(score(x, y).double(), here)  # nothing is drawn anew


@pytest.mark.parametrize("name", [name for name in SINGLE if "tabular" in measures.module(name).KINDS])
def test_a_row_is_scored_on_its_own_in_either_precision(name: str, known: Known) -> None:
    x, y = clouds(12, seed=2)
    score = measures.prepare(name, known)
    whole = score(x, y).double()
    alone = torch.cat([score(x[i : i + 1], y[i : i + 1]).double() for i in range(12)])
    torch.testing.assert_close(alone, whole, atol=1e-6, rtol=1e-6)
    assert score(x[:0], y[:0]).shape == (0,)


def test_gower_is_the_mean_share_of_the_ranges_whatever_the_units(known: Known) -> None:
    x, y = clouds(9, seed=3)
    found = measures.prepare("gower", known)(x, y)
    spread = known.x.double().max(0).values - known.x.double().min(0).values
    for row, label, value in zip(x.double(), y, found, strict=True):
        gaps = ((row - known.x[known.y == label].double()).abs() / spread).mean(1)
        assert float(value) == pytest.approx(float(gaps.sort().values[:5].mean()), rel=1e-9)
    scale, shift = torch.tensor([10.0, 0.5, 3.0]), torch.tensor([1.0, -7.0, 0.0])
    original = measures.prepare("gower", replace(known, x=known.x * scale + shift))(x * scale + shift, y)
    torch.testing.assert_close(original, found, atol=1e-5, rtol=1e-5)  # the products round in single precision
    constant = torch.cat([known.x, torch.ones(200, 1)], 1)
    wider = measures.prepare("gower", replace(known, x=constant))(torch.cat([x, torch.ones(9, 1)], 1), y)
    torch.testing.assert_close(wider, found)


def test_violations_are_counted_against_the_range_of_all_points(known: Known) -> None:
    low, high = known.x.min(0).values, known.x.max(0).values
    x = torch.stack([low, high, low - 0.1, torch.cat([high[:2] + 1, low[2:]])])
    expected = torch.tensor([0, 0, 1, 2 / 3], dtype=torch.float64)
    torch.testing.assert_close(measures.prepare("violations", known)(x, torch.tensor([0, 1, 0, 1])), expected)


def test_the_density_is_that_of_a_normal_distribution(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    """One Gaussian in all components: the class's mean and covariance; and in two of five, the rest isotropic."""
    monkeypatch.setattr(density, "MIXTURES", (1,))
    x, y = clouds(8, seed=4)
    found = measures.prepare("density", known)(x, y).numpy()
    for row, label, value in zip(x.double().numpy(), y.tolist(), found, strict=True):
        own = known.x[known.y == label].double().numpy()
        covariance = np.cov(own.T, ddof=0) + density.RIDGE * np.eye(3)
        assert value == pytest.approx(-multivariate_normal(own.mean(0), covariance).logpdf(row) / 3, rel=1e-6)
    monkeypatch.setattr(density, "COMPONENTS", 2)
    x, y = clouds(60, d=5, seed=5)
    found = measures.prepare("density", Known(x, y))(x, y).numpy()
    exact = x.double().numpy()
    axes = np.linalg.svd(exact - exact.mean(0), full_matrices=False)[2][:2]
    z = (exact - exact.mean(0)) @ axes.T
    rest = ((exact - exact.mean(0) - z @ axes) ** 2).sum(1)
    for label in (0, 1):
        rows = y.numpy() == label
        inner = multivariate_normal(z[rows].mean(0), np.cov(z[rows].T, ddof=0) + density.RIDGE * np.eye(2))
        variance = rest[rows].mean() / 3
        outer = -0.5 * (rest[rows] / variance + 3 * np.log(2 * np.pi * variance))
        np.testing.assert_allclose(found[rows], -(inner.logpdf(z[rows]) + outer) / 5, rtol=1e-6)


def test_the_parts_of_the_mean_discrepancy_are_those_of_the_double_sum(known: Known) -> None:
    x, y = clouds(14, apart=3.0, seed=6)
    y = y[torch.randperm(14, generator=torch_generator(0, "order"))]
    r = torch.stack([known.x[known.y == t][int((y[:i] == t).sum())] for i, t in enumerate(y)]).double()
    width = torch.pdist(known.x[: mmd.BANDWIDTH].double()).median()
    kernel = lambda a, b: torch.exp(-((a - b) ** 2).sum() / (2 * width**2))  # noqa: E731
    expected = torch.zeros(14, dtype=torch.float64)
    a = x.double()
    for i in range(14):
        for j in range(14):
            if i != j and y[i] == y[j]:
                expected[i] += kernel(a[i], a[j]) + kernel(r[i], r[j]) - kernel(a[i], r[j]) - kernel(a[j], r[i])
    torch.testing.assert_close(measures.prepare("mmd", known)(x, y), expected / 13, atol=1e-9, rtol=0)


def test_sets_that_are_alike_cannot_be_told_apart(known: Known) -> None:
    same, y = clouds(120, seed=7)
    for name, none, tolerance in (("mmd", 0.0, 0.02), ("c2st", 0.5, 0.15)):  # 0.15: 3 sd of a share of 120 and more
        score = measures.prepare(name, known)
        assert abs(float(score(same, y).mean()) - none) < tolerance
        assert float(score(same + 6, y).mean()) > none + 3 * tolerance - 0.02
    assert float(measures.prepare("c2st", known)(same + 20, y).mean()) > 0.97


def test_the_oracle_of_rows_sees_their_class(known: Known) -> None:
    x, y = clouds(60, seed=8)
    score = measures.prepare("oracle", known)
    assert float(score(x, y).mean()) < 0.05
    torch.testing.assert_close(score(x, y) + score(x, 1 - y), torch.ones(60, dtype=torch.float64))
    assert torch.equal(measures.prepare("oracle", known)(x, y), score(x, y))


def test_the_judges_of_images_are_the_same_again_and_see_through_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_judges, "STEPS", 40)
    monkeypatch.setattr(_judges, "JUDGES", 2)
    y = torch.arange(240) % 3
    bars = torch.zeros(240, 8, 8)
    bars[y == 0, 2:4], bars[y == 1, 5:7], bars[y == 2, :, 3:5] = 1.0, 1.0, 1.0
    x = (bars.flatten(1) + 0.1 * torch.rand(240, 64, generator=torch_generator(0, "bars"))).clamp(0, 1)
    weights = _judges.learn(x, y, (8, 8))
    again = _judges.learn(x, y, (8, 8))
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not torch.equal(weights["0.1.weight"], weights["1.1.weight"])
    known = Known(x, y, (8, 8), k=5, judges=weights)
    noisy = x + 0.2 * torch.randn(x.shape, generator=torch_generator(1, "bars"))
    oracle, features = (measures.prepare(name, known) for name in ("oracle", "features"))
    assert float(oracle(noisy, y).mean()) < 0.1
    assert float(features(noisy, y).mean()) < 0.5 * float(features(noisy, (y + 1) % 3).mean())
    torch.testing.assert_close(
        sum(oracle(x[:5], torch.full((5,), t)) for t in range(3)), torch.full((5,), 2.0).double()
    )


def test_the_energy_is_in_standard_deviations_of_real_points(known: Known) -> None:
    x, y = clouds(7, seed=9)
    found = measures.prepare("energy", known)(x, y)
    sign = 2 * y - 1
    for row, label, s, value in zip(x.double(), y, sign, found, strict=True):
        own = -(s * (known.x[known.y == label].double().sum(1) - 6))
        energy = -float(s * (row.sum() - 6))
        assert float(value) == pytest.approx((energy - float(own.mean())) / float(own.std()), rel=1e-4, abs=1e-5)
    steep = linear(10 * known.model.weight.detach(), 10 * known.model.bias.detach())
    torch.testing.assert_close(
        measures.prepare("energy", replace(known, model=steep))(x, y), found, rtol=1e-4, atol=1e-5
    )


def test_samples_of_a_linear_network_lie_in_a_corner_of_the_box(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        unfaithfulness.samples, "__kwdefaults__", unfaithfulness.samples.__kwdefaults__ | {"noise": 0.0}
    )
    x, y = clouds(6, seed=10)
    corner = torch.where(y[:, None] == 1, 8.0, -4.0).expand(6, 3)
    found = measures.prepare("unfaithfulness", known)(x, y)
    torch.testing.assert_close(found, (x - corner).norm(dim=1))


class Bowl(nn.Module):
    """Logits -x^2 / 2 of each feature: the Langevin chain of a class is an autoregression of order one."""

    def forward(self, x: Tensor) -> Tensor:
        return -(x**2) / 2


def test_samples_have_the_variance_of_the_autoregression() -> None:
    target, draw = torch.zeros(4000, dtype=torch.long), torch_generator(0, "bowl")
    how = {"generator": draw, "steps": 60, "step": 0.5, "noise": 0.1}
    x, energy = unfaithfulness.samples(Bowl(), target, (-1.0, 1.0), 2, **how)
    expected = 0.1**2 / (1 - (1 - 0.5 / 2) ** 2)
    assert float(x[:, 0].var()) == pytest.approx(expected, rel=0.12)  # five standard errors of 4,000 chains
    torch.testing.assert_close(energy, x[:, 0] ** 2 / 2)


def test_what_does_not_suit_is_one_line(known: Known) -> None:
    x, y = clouds(6)
    score = measures.prepare("gower", known)
    for call, message in (
        (lambda: measures.prepare("beauty", known), "unknown measure 'beauty'; known: "),
        (lambda: measures.prepare("energy", replace(known, model=None)), "expected the network that is explained for"),
        (lambda: measures.prepare("gower", replace(known, k=101)), "expected k = 101 reference points of each class"),
        (
            lambda: measures.prepare("lof", replace(known, y=torch.arange(200))),
            "expected two reference points of class",
        ),
        (
            lambda: measures.prepare("lof", replace(known, x=known.x * torch.nan)),
            "expected finite numbers in reference",
        ),
        (lambda: score(x[:, :2], y), r"expected x of shape \(n, 3\) as the reference points are"),
        (lambda: score(x, y + 1), r"expected targets that the reference points have, got \[2\]"),
        (lambda: score(x * torch.inf, y), "expected finite numbers in x"),
        (lambda: measures.prepare("mmd", known)(x[:1], y[:1]), "expected a set of at least two rows, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
