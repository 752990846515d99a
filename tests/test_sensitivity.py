"""Sensitivity of the results: rescaled networks, rulers, shares of a difference, and what the records say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import Opaque

from robexpl import metrics, models
from robexpl.readings import reading
from robexpl.report import mechanism, sensitivity, sensitivityplots, sensitivitytext, study, variants

GCC, DTC = sensitivity.GCC, sensitivity.DTC
HOW = reading("repaired")


@pytest.fixture(scope="module")
def small() -> study.Profile:
    epochs = {"image": 2, "tabular": 2}
    return study.Profile("demo", "digits", "breast_cancer", epochs, {"image": 1, "tabular": 2}, 2, 12, 10, 5)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"seeds": 2, "factuals": 12, "energy": (0.0, 1.0), "l1": (1.0, 10.0)}
    for kind in ("image", "tabular"):
        key = ("demo", kind)
        monkeypatch.setitem(sensitivity.SIZES, key, replace(sensitivity.SIZES[key], most=10, **few))


def subject(dataset: str, small: study.Profile, regime: str = "standard") -> study.Subject:
    return study.trained(dataset, regime, seed=0, reading=HOW, profile=small)


# A scaled network


@pytest.mark.parametrize("scale", [0.125, 2.0, 8.0])
def test_a_scaled_network_is_the_same_classifier_with_other_logits(network, points, scale):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    other = variants.scaled(network, scale)
    assert torch.equal(other(points), scale * network(points))  # powers of two: not a bit is lost
    assert torch.equal(other(points).argmax(1), network(points).argmax(1))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_only_perceptrons_are_scaled(network):
    with pytest.raises(ValueError, match="expected a perceptron, got Opaque"):
        variants.scaled(Opaque(network), 2.0)
    for scale in (0.0, -1.0, float("inf")):
        with pytest.raises(ValueError, match="expected scale > 0"):
            variants.scaled(network, scale)


@pytest.mark.parametrize(("dataset", "distance"), [("digits", "ssim"), ("breast_cancer", "euclidean")])
def test_a_search_on_a_network_scaled_by_one_is_that_of_the_study(small, dataset, distance):
    one, settings = subject(dataset, small), HOW.settings(small.kind(dataset), steps=4)
    arguments = (settings, 1, 6)
    scaled = variants.explain_scaled(one, 1.0, GCC, *arguments, distance, 5)
    found = study.explain(one, GCC, *arguments)
    scored = study.score(one, GCC, *arguments, distance, 5)
    assert torch.equal(scaled["implausibility"], scored["implausibility"])
    assert torch.equal(scaled["target_logit"], found["target_logit"])
    assert torch.equal(scaled["l1"], (found["x"] - found["factual"]).abs().sum(1))


def test_rows_of_a_scaled_network_have_the_columns_that_are_read(small):
    one = subject("breast_cancer", small)
    plain, scaled = (variants.rows(one, GCC, HOW, small, scale=scale) for scale in (1.0, 0.5))
    needed = {"reading", "seed", "regime", "stop", "valid", "l1", "target_logit", "implausibility"}
    assert needed <= set(plain) & set(scaled)
    assert len(plain) == len(scaled) == small.runs * small.factuals
    assert not np.array_equal(plain["implausibility"], scaled["implausibility"])


def test_changed_settings_reach_the_search(small):
    one = subject("breast_cancer", small)
    short = variants.rows(one, GCC, HOW, small, steps=1)
    assert short["steps"].max() <= HOW.finer
    assert variants.rows(one, GCC, HOW, small)["steps"].max() > HOW.finer


# Rulers


def test_the_robust_ruler_divides_by_the_interquartile_range():
    x = torch.arange(9.0)[:, None] * torch.tensor([1.0, 10.0])  # quartiles 2 and 6, 20 and 60
    assert torch.equal(variants.linear_map(x, "robust"), torch.diag(torch.tensor([1 / 4, 1 / 40], dtype=torch.float64)))


def test_the_mahalanobis_ruler_is_that_of_the_covariance(points):
    a = variants.linear_map(points, "mahalanobis")
    u = (points[0] - points[1]).double()
    expected = u @ torch.linalg.solve(torch.cov(points.double().T), u)
    assert float((a @ u).square().sum()) == pytest.approx(float(expected), rel=1e-9)


def test_the_mahalanobis_ruler_does_not_see_linear_maps_of_the_data(points, generator):
    mixed = points.double() @ torch.randn(12, 12, generator=generator).double()
    a, b = (variants.linear_map(x, "mahalanobis") for x in (points, mixed))
    first, second = (torch.cdist(x.double() @ m.T, x.double() @ m.T) for x, m in ((points, a), (mixed, b)))
    assert torch.allclose(first, second, rtol=1e-6, atol=1e-6)


def test_rulers_are_refused_where_they_have_no_meaning(points):
    flat = points.clone()
    flat[:, 3] = 0.5
    with pytest.raises(ValueError, match="differ between their quartiles, got 1"):
        variants.linear_map(flat, "robust")
    with pytest.raises(ValueError, match="covariance of full rank 12, got a singular"):
        variants.linear_map(flat, "mahalanobis")
    with pytest.raises(ValueError, match="unknown ruler 'cosine'; known: robust, mahalanobis"):
        variants.linear_map(points, "cosine")


def test_other_rulers_score_the_same_counterfactuals(small):
    one = subject("breast_cancer", small)
    frames = {ruler: variants.rows(one, GCC, HOW, small, ruler=ruler) for ruler in variants.RULERS["tabular"]}
    own = variants.rows(one, GCC, HOW, small)
    assert np.array_equal(frames["euclidean"]["implausibility"], own["implausibility"])
    assert all(np.array_equal(frame["l1"], own["l1"]) for frame in frames.values())
    assert (frames["l1"]["implausibility"] >= own["implausibility"]).all()  # |u|_1 >= |u|_2


def test_fewer_neighbours_are_prefixes_of_more(small):
    one, settings = subject("breast_cancer", small), HOW.settings("tabular", steps=small.steps)
    by = variants.by_neighbours(one, GCC, settings, 1, 6)
    data, found = one.load_data(), study.explain(one, GCC, settings, 1, 6)
    for k in (1, 5, 20):
        expected = metrics.implausibility(
            found["x"], found["target"], data.x_train, data.y_train, distance="euclidean", k=k
        )
        assert torch.allclose(by[str(k)].float(), expected, rtol=1e-5)
    assert list(by) == sorted(map(str, variants.allowed(data.y_train)))
    assert variants.allowed(torch.tensor([0] * 7 + [1] * 60)) == [1, 2, 5]


# The share of a difference that is kept


def test_a_difference_that_shrinks_alike_everywhere_keeps_exactly_that_share():
    seeds = np.repeat([0, 1, 2], 20)
    before = np.random.default_rng(0).normal(1, 0.3, 60)
    for sign in (1, -1):
        record = mechanism.kept(sign * before, sign * 0.25 * before, seeds)
        assert [record[key] for key in ("kept", "kept_low", "kept_high")] == pytest.approx([0.25] * 3, abs=1e-5)


def test_the_share_lies_in_its_interval_and_widens_with_noise():
    rng, seeds = np.random.default_rng(1), np.repeat([0, 1, 2, 3], 25)
    before = rng.normal(2, 0.5, 100)
    widths = []
    for noise in (0.1, 1.0):
        record = mechanism.kept(before, 0.5 * before + rng.normal(0, noise, 100), seeds)
        assert record["kept_low"] < record["kept"] < record["kept_high"]
        widths.append(record["kept_high"] - record["kept_low"])
    assert widths[0] < widths[1]


def test_no_difference_has_no_share():
    with pytest.raises(ValueError, match="expected a difference before the change, got none"):
        mechanism.kept(np.zeros(4), np.ones(4), np.array([0, 0, 1, 1]))


def test_gradients_of_a_scaled_network_are_scaled(small, monkeypatch):
    one = subject("digits", small)
    size = mechanism.gradient_size(one, small)
    original = mechanism.network
    monkeypatch.setattr(mechanism, "network", lambda named: variants.scaled(original(named), 4.0))
    assert mechanism.gradient_size(one, small) == pytest.approx(4 * size, rel=1e-6)


def test_the_gradient_of_a_linear_network_is_its_weight(small, monkeypatch):
    model = models.mlp(64, 1, 10)
    with torch.no_grad():
        model[0].weight.fill_(1.0)  # relu(sum x) = sum x for pixels; f_t = 3 sum x, so |grad| = 3 sqrt(64)
        model[2].weight.fill_(3.0)
    monkeypatch.setattr(mechanism, "network", lambda named: model)
    assert mechanism.gradient_size(subject("digits", small), small) == pytest.approx(24.0)


# Records


def test_records_of_a_small_study(small, tiny):
    for dataset in small.datasets:
        maps = sensitivity.maps(dataset, seeds=2, profile=small)
        assert [[len(row) for row in record["cells"]] for record in maps.values()] == [[2, 2]] * len(maps)
        shares = sensitivity.shares(maps)
        assert shares[GCC]["all"]["cells"] == 4
        assert 0 <= shares[GCC]["all"]["surely_lower"] <= shares[GCC]["all"]["lower"] <= 1
        assert (shares[GCC]["all"]["order"] is None) == (dataset == "digits")  # two regimes have no order
        curves = sensitivity.curves(dataset, seeds=2, profile=small)
        own = {p["mean"] for name in ("scale", "reg", "steps", "learning_rate") for p in curves[name][GCC] if p["own"]}
        assert len(own) == 1  # the reading's own point lies on every curve
        assert {p["value"] for p in curves["k"][DTC] if p["own"]} == {5}
        rulers = sensitivity.rulers(dataset, seeds=2, profile=small)
        assert "ssim_cropped" not in rulers  # 8 x 8 pixels have nothing left
        first = next(iter(rulers.values()))[GCC]
        assert first["mean"] == pytest.approx(next(iter(own)))
        assert first["relative"]["mean"] == pytest.approx(first["mean"] / first["means"]["standard"])
        assert set(sensitivitytext.summary(shares, curves, rulers).loc["ruler"]) <= {"holds", "turns", "wavers"}
        for figure in (
            sensitivityplots.maps(maps, 2.0), sensitivityplots.curves(curves), sensitivityplots.rulers(rulers),
        ):  # fmt: skip
            figure.clear()


def test_the_step_limit_of_the_sizes_is_kept(small):
    assert sensitivity.shape("digits", replace(small, steps=300), 1)[1].steps == sensitivity.SIZES["demo", "image"].most
    assert sensitivity.shape("digits", small, 1)[1].steps == small.steps


def test_the_mechanism_of_a_small_study(small, tiny):
    (record,) = mechanism.mechanism("breast_cancer", seeds=2, readings=("repaired",), profile=small).values()
    before, after, half = record["before"], record["after"], record["half_margin"]
    assert half["mean"] == pytest.approx(after["mean"] - before["mean"] / 2, rel=1e-9)
    assert record["scale"]["low"] <= record["scale"]["mean"] <= record["scale"]["high"]
    assert (record["kept"] is None) == (before["low"] <= 0 <= before["high"])
    assert set(record["ends"]) == set(mechanism.CELLS)
    assert [record["halves"][key]["n_seeds"] for key in ("even", "odd")] == [1, 1]
    assert "strong - standard is" in sensitivitytext.mechanism_sentences({"repaired": record})


# Words


def point(low: float, high: float) -> dict[str, float]:
    return {"mean": (low + high) / 2, "low": low, "high": high}


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([point(-2, -1), point(-3, -1)], "holds"),
        ([point(1, 2), point(3, 4)], "holds"),
        ([point(-2, -1), point(-1, 1)], "wavers"),
        ([point(-2, -1), point(-1, 1), point(1, 2)], "turns"),
        ([], "wavers"),
    ],
)
def test_the_course_of_a_sign(points, expected):
    assert sensitivitytext.course(points) == expected


def test_a_course_leaves_out_where_the_target_is_seldom_reached():
    valid, seldom = ({"standard": 1.0, "strong": share} for share in (0.5, 0.4))
    line = [{**point(-3, -2), "validity": valid}, {**point(1, 2), "validity": seldom}]
    assert sensitivitytext.course(line) == "turns"
    assert sensitivitytext.courses({"threshold": {GCC: line}}) == {"threshold": {GCC: "holds"}}


def test_rulers_are_listed_without_commas_of_their_own():
    assert sensitivitytext.ruler_name("robust") == "Euclidean (by quartile range)"
    assert sensitivitytext.ruler_name("l1") == "L1"


def test_shares_count_cells_by_hand():
    def cell(low: float, high: float, validity: float, falls: bool) -> dict:
        of = {"standard": 1.0, "strong": validity}
        return {**point(low, high), "validity": of, "falls": falls, "surely": False}

    cells = [[cell(-3, -1, 1.0, True), cell(-2, 1, 0.6, False)], [cell(1, 2, 0.9, True), cell(-3, -1, 0.4, True)]]
    shares = sensitivity.shares({GCC: {"cells": cells}})[GCC]
    assert shares["all"] == {
        "cells": 4, "lower": 0.75, "surely_lower": 0.5, "surely_higher": 0.25, "order": 0.75, "surely_order": 0.0,
    }  # fmt: skip
    assert shares["valid"]["cells"] == 3
    assert shares["valid"]["surely_lower"] == pytest.approx(1 / 3)
