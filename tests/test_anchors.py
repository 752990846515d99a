"""The scale of implausibility: its ends, ratios of means, components of variance, the control by thresholding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from robexpl import data
from robexpl.metrics import implausibility
from robexpl.readings import reading
from robexpl.report import anchors, anchortext, components, pixels, study
from robexpl.seeds import numpy_generator


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def rows(value: float | None = None, n: int = 60, seeds: int = 3) -> pd.DataFrame:
    """Rows of one cell: real points about 0.2, factuals about 0.4, counterfactuals at `value` between them."""
    rng = numpy_generator(0, "rows")
    real, factual = rng.normal(0.2, 0.01, n), rng.normal(0.4, 0.01, n)
    frame = pd.DataFrame({"real": real, "factual": factual, "blank": 0.25, "noisy": 0.5, "seed": np.arange(n) % seeds})
    score = factual if value is None else real + value * (factual - real)
    return frame.assign(implausibility=score, reading="stated", stop="decision_threshold", regime="weak", counted=True)


def one(frame: pd.DataFrame) -> dict:
    return anchors.normalised(frame)["stated"]["decision_threshold"]["weak"]


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0, 1.7])
def test_the_scale_is_zero_at_real_points_and_one_at_factuals(value: float) -> None:
    record = one(rows(value))
    assert [record[key] for key in ("mean", "low", "high")] == pytest.approx([value] * 3)  # every row lies there


def test_rows_that_do_not_count_are_left_out() -> None:
    frame = rows(0.5)
    spoilt = pd.concat([frame, frame.assign(implausibility=9.0, counted=False)])
    assert one(spoilt)["mean"] == pytest.approx(0.5)


def test_differences_to_anchors_have_their_sign() -> None:
    against = one(rows(0.9))["against"]
    assert against["blank"]["low"] > 0
    assert against["factual"]["high"] < 0
    assert against["noisy"]["mean"] == pytest.approx(-0.12, abs=0.01)


def test_a_ratio_is_that_of_the_means_and_its_interval_covers_both() -> None:
    rng = numpy_generator(0, "ratio")
    below, seeds = rng.normal(2.0, 0.5, 4000), np.zeros(4000)
    above = 3.0 + rng.normal(0.0, 0.5, 4000)
    found = anchors.ratio(above, below, seeds, rng=rng)
    assert found.mean == pytest.approx(above.mean() / below.mean())
    # the delta method by hand: sd of (a - r b) / mean(b)
    spread = np.hypot(0.5, 1.5 * 0.5) / 2 / np.sqrt(4000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_seeds_count_alike_in_a_ratio_whatever_their_size() -> None:
    above, below = np.array([1.0, 1.0, 1.0, 1.0, 4.0, 4.0]), np.ones(6)
    found = anchors.ratio(above, below, np.array([0, 0, 0, 0, 1, 1]), rng=numpy_generator(0, "sizes"))
    assert found.mean == pytest.approx(2.5)


def test_a_scale_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a scale of some length"):
        anchors.ratio(np.ones(4), np.array([1.0, -1.0, 1.0, -1.0]), np.zeros(4), rng=numpy_generator(0, "none"))


def test_the_margin_is_a_twentieth_of_the_way() -> None:
    record = {"stated": {"real": {"mean": 0.2}, "factual": {"mean": 0.4}}}
    assert anchors.margins(record) == {"stated": pytest.approx(0.01)}


def test_anchors_are_what_their_names_say(digits: data.Dataset) -> None:
    factual, target = digits.x_test[:200], (digits.y_test[:200] + 1) % 10
    found = anchors.points(digits, factual, target, seed=0)
    assert tuple(found) == anchors.ANCHORS
    assert set(anchors.names(digits)) == set(anchors.ANCHORS)
    test = {tuple(row) for row in torch.cat([digits.x_test, digits.y_test[:, None].float()], 1).tolist()}
    assert all((*row, float(t)) in test for row, t in zip(found["real"].tolist(), target.tolist(), strict=True))
    assert found["blank"].abs().max() == 0
    assert torch.equal(found["mean"][0], digits.x_train[digits.y_train == target[0]].mean(0))
    for noisy, clean in (("noisy", "factual"), ("real_noisy", "real")):
        assert float((found[noisy] - found[clean]).std()) == pytest.approx(0.1, rel=0.02)
    assert float(found["uniform"].mean()) == pytest.approx(0.5, abs=0.01)
    again = anchors.points(digits, factual, target, seed=0)
    assert all(torch.equal(found[name], again[name]) for name in anchors.ANCHORS)


def test_a_table_has_its_median_for_a_blank() -> None:
    table = data.load("breast_cancer")
    found = anchors.points(table, table.x_test[:5], 1 - table.y_test[:5], seed=0)
    assert torch.equal(found["blank"][3], table.x_train.median(0).values)
    low, high = (torch.as_tensor(bound) for bound in table.bounds)
    assert bool(((found["uniform"] >= low) & (found["uniform"] <= high)).all())


def noise_rows(added: float, gap: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng, n = numpy_generator(0, "noise"), 80
    frame = pd.concat(
        [
            pd.DataFrame({"row": np.arange(n), "target": 1, "seed": np.arange(n) % 2, "run": 0, "regime": regime})
            for regime in ("standard", "weak", "medium", "strong")
        ],
        ignore_index=True,
    ).assign(stop="decision_threshold", correct=True, factual=0.2)
    frame["noisy"] = frame["factual"] + gap + rng.normal(0, 0.01, len(frame))
    silent = frame.assign(implausibility=rng.normal(0.3, 0.01, len(frame)))
    return silent.assign(implausibility=silent["implausibility"] + added), silent


def test_the_share_of_noise_is_what_goes_without_it() -> None:
    record = anchors.noise_share(*noise_rows(0.1, 0.2))["strong"]
    assert record["added"]["mean"] == pytest.approx(0.1)
    assert record["of_score"]["mean"] == pytest.approx(0.25, abs=0.01)
    assert record["of_gap"]["mean"] == pytest.approx(0.5, abs=0.01)


def test_no_share_of_an_effect_that_is_none() -> None:
    assert anchors.noise_share(*noise_rows(0.1, 0.0))["weak"]["of_gap"] is None


def test_noise_is_compared_on_the_same_factuals_alone() -> None:
    loud, silent = noise_rows(0.1, 0.2)
    with pytest.raises(ValueError, match="expected the same factuals"):
        anchors.noise_share(loud, silent.assign(row=silent["row"] + 1))


def test_the_gap_with_and_without_noise_is_paired_over_what_both_get_right() -> None:
    loud, silent = noise_rows(0.1, 0.2)
    wrong = (loud["regime"] == "standard") & (loud["row"] < 40)  # rows on which the standard network is far worse
    loud, silent = (
        part.assign(correct=~wrong, implausibility=part["implausibility"] + 5.0 * (part["row"] < 40))
        for part in (loud, silent)
    )
    found = anchors.noise_share(loud, silent)
    assert found["standard"]["against_standard"] is None
    for key in ("with", "without"):
        gap = found["strong"]["against_standard"][key]
        assert (gap["n"], gap["mean"]) == (40, pytest.approx(0.0, abs=0.01))
        assert found["strong"][key]["mean"] - found["standard"][key]["mean"] == pytest.approx(2.5, abs=0.01)


def simulated(seeds: int, factuals: int, draws: int, *, same: bool) -> np.ndarray:
    """Scores with variance 4 between seeds, 9 between factuals, 1 (interplay, only where crossed), 2.25 of noise."""
    rng = numpy_generator(1, "simulated")
    of_factual = rng.normal(0, 3, (1 if same else seeds, factuals, 1))
    values = rng.normal(0, 2, (seeds, 1, 1)) + of_factual + rng.normal(0, 1.5, (seeds, factuals, draws))
    return values + rng.normal(0, 1, (seeds, factuals, 1)) * same


def test_crossed_components_are_found() -> None:
    parts = components.crossed(simulated(300, 300, 3, same=True))
    assert parts == pytest.approx({"seed": 4, "factual": 9, "interaction": 1, "noise": 2.25}, rel=0.2)


def test_nested_components_are_found() -> None:
    parts = components.nested(simulated(1000, 60, 3, same=False))
    assert parts == pytest.approx({"seed": 4, "factual": 9, "noise": 2.25}, rel=0.2)


@pytest.mark.parametrize("same", [True, False])
def test_without_repeats_noise_stays_where_it_is(same: bool) -> None:
    values = simulated(40, 40, 1, same=same)
    record = components.record(values, same_factuals=same, per_seed=100)
    assert "noise" not in record["parts"]
    assert sum(record["shares"].values()) == pytest.approx(1)
    rest = sum(value for key, value in record["parts"].items() if key != "seed")
    assert record["of_mean"] == pytest.approx(record["parts"]["seed"] / (record["parts"]["seed"] + rest / 100))


def test_equal_scores_have_no_components() -> None:
    record = components.record(np.ones((3, 4, 2)), same_factuals=True, per_seed=10)
    assert record["shares"] == {"seed": 0, "factual": 0, "interaction": 0, "noise": 0}
    assert "cannot be divided" in anchortext.components_sentence({})


def test_the_soft_threshold_keeps_its_ends_and_shrinks_what_is_near_them() -> None:
    soft = pixels.Threshold()
    ends = soft(torch.tensor([0.0, 0.5, 1.0]))
    assert ends.tolist() == pytest.approx([0, 0.5, 1], abs=1e-6)
    moved = soft(torch.tensor([0.2, 0.8]))
    assert float(moved[0]) < 0.05
    assert float(moved[1]) > 0.95
    x = torch.zeros(1, requires_grad=True)
    soft(x).sum().backward()
    assert float(x.grad) > 0.05  # an attack or a search can still follow it


def test_black_and_white_is_black_and_white() -> None:
    assert pixels.binary(torch.tensor([0.0, 0.5, 0.51, 1.0])).tolist() == [0, 0, 1, 1]


def test_tables_have_no_control() -> None:
    table = data.load("breast_cancer")
    assert pixels.control(pd.DataFrame(), table, seeds=1, name="stated", profile=None) is None


def test_sentences_name_what_is_worse() -> None:
    cells = anchors.normalised(rows(1.5))
    text = anchortext.worse_sentence(cells, {"blank": "blank image"})
    assert "worse than a blank image: one of 1 cells (DTC stated, weak)" in text
    assert "untouched by any search: none of 1 cells." in text
    assert "-50% (weak)" in anchortext.way_sentence(cells)
    assert anchortext.normalised_table(cells)["worse than"].iloc[0] == "blank, factual"


def test_searches_are_repeated_from_the_same_factuals_with_other_noise(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path))
    sizes = replace(study.profile("demo"), epochs={"image": 1, "tabular": 1}, steps=5, runs=1, factuals=30)
    named = study.trained("breast_cancer", "standard", seed=0, reading=reading("stated"), profile=sizes)
    chosen = components.agreed([named], 0, sizes, most=6)
    settings = reading("stated").settings("tabular", steps=5)
    arguments = (named, "generator_conditions", settings, chosen)
    values = components.repeats(*arguments, 3, "euclidean", 20)["implausibility"]
    assert values.shape == (len(chosen), 3)
    assert bool((values.std(1) > 0).all())
    wrong = tuple((row, 1 - target) for row, target in chosen)  # the factual's own class
    with pytest.raises(ValueError, match="expected targets that differ"):
        components.repeats(*arguments[:3], wrong, 3, "euclidean", 20)
    found = anchors.scores(named, 1, 30, "euclidean", 20)
    drawn = study.draw_factuals(named.load_data(), seed=0, runs=1, per_run=30)
    direct = implausibility(
        named.load_data().x_test[drawn["row"]],
        drawn["target"],
        study.neighbours(named, "euclidean"),
        k=20,
    )
    assert torch.allclose(found["factual"], direct)
    assert len({round(float(v), 5) for v in found["blank"]}) <= 2  # one point, a score for each class
