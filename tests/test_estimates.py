"""Tidy estimates: means, differences, ratios, the scale of the reference points, the share of a difference kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from robexpl.seeds import numpy_generator
from robexpl.study import estimates

KEY = {"condition": "as_written", "stop": "decision_threshold", "regime": "weak"}


def cell(value: float | None = None, n: int = 60, seeds: int = 3) -> pd.DataFrame:
    """Rows of one cell: real points about 0.2, factuals about 0.4, counterfactuals at `value` between them."""
    rng = numpy_generator(0, "rows")
    real, factual = rng.normal(0.2, 0.01, n), rng.normal(0.4, 0.01, n)
    frame = pd.DataFrame({"real": real, "factual": factual, "blank": 0.25, "noisy": 0.5, "seed": np.arange(n) % seeds})
    score = factual if value is None else real + value * (factual - real)
    return frame.assign(implausibility=score, counted=True, **KEY)


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0, 1.7])
def test_the_scale_is_zero_at_real_points_and_one_at_factuals(value):
    row = estimates.normalised(cell(value)).iloc[0]
    assert [row[key] for key in ("mean", "low", "high")] == pytest.approx([value] * 3)  # every row lies there


def test_rows_that_do_not_count_are_left_out():
    frame = cell(0.5)
    spoilt = pd.concat([frame, frame.assign(implausibility=9.0, counted=False)])
    assert estimates.normalised(spoilt)["mean"].item() == pytest.approx(0.5)


def test_differences_to_reference_points_have_their_sign():
    against = estimates.against(cell(0.9)).set_index("point")
    assert against["side"].to_dict() == {"blank": "higher", "factual": "lower", "noisy": "lower"}
    assert against["mean"]["noisy"] == pytest.approx(-0.12, abs=0.01)


def test_a_ratio_is_that_of_the_means_and_its_interval_covers_both():
    rng = numpy_generator(0, "ratio")
    below, seeds = rng.normal(2.0, 0.5, 4000), np.zeros(4000)
    above = 3.0 + rng.normal(0.0, 0.5, 4000)
    found = estimates.ratio(above, below, seeds)
    assert found["mean"] == pytest.approx(above.mean() / below.mean())
    # the delta method by hand: sd of (a - r b) / mean(b)
    spread = np.hypot(0.5, 1.5 * 0.5) / 2 / np.sqrt(4000)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_seeds_count_alike_in_a_ratio_whatever_their_size():
    above, below = np.array([1.0, 1.0, 1.0, 1.0, 4.0, 4.0]), np.ones(6)
    assert estimates.ratio(above, below, np.array([0, 0, 0, 0, 1, 1]))["mean"] == pytest.approx(2.5)


def test_a_scale_without_length_is_refused():
    with pytest.raises(ValueError, match="expected a scale of some length"):
        estimates.ratio(np.ones(4), np.array([1.0, -1.0, 1.0, -1.0]), np.zeros(4))


def test_the_margin_is_a_twentieth_of_the_way():
    points = pd.DataFrame({"condition": "as_run", "point": ["real", "factual"], "mean": [0.2, 0.4]})
    assert estimates.margins(points).to_dict("records") == [{"condition": "as_run", "margin": pytest.approx(0.01)}]


@pytest.mark.parametrize(
    ("low", "high", "side"), [(-2, -1, "lower"), (1, 2, "higher"), (-1, 0, "unclear"), (0, 1, "unclear")]
)
def test_the_side_of_zero(low, high, side):
    assert estimates.side(low, high) == side


def test_z_is_in_combined_standard_deviations():
    ours = pd.DataFrame([{"stop": "a", "regime": "weak", "mean": 1.0, "sd": 3.0}])
    theirs = pd.DataFrame([{"stop": "a", "regime": "weak", "mean": 0.0, "sd": 4.0}])
    assert estimates.with_thesis(ours, theirs)["z"].item() == pytest.approx(0.2)
    assert estimates.with_thesis(ours, theirs.iloc[:0])["z"].isna().all()


def searched() -> pd.DataFrame:
    """Two seeds of two runs of two factuals in four regimes, the second factual of each run not counted."""
    rows = [
        {
            "condition": "as_run", "stop": "decision_threshold", "regime": regime, "seed": seed, "run": run, "row": row,
            "target": 1, "counted": row == 0, "implausibility": level + 10 * seed + run + 100 * row, "valid": row == 0,
            "converged": True, "steps": 2, "l1": 1.0, "target_prob": 0.9, "target_logit": 3.0,
        }
        for regime, level in zip(("standard", "weak", "medium", "strong"), (4.0, 3.0, 2.0, 1.0), strict=True)
        for seed in (0, 1)
        for run in (0, 1)
        for row in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_summary_by_hand():
    row = estimates.summaries(searched()).set_index("regime").loc["weak"]
    assert row["mean"] == pytest.approx(3 + 5 + 0.5)
    assert row["all"] == pytest.approx(3 + 5 + 0.5 + 50)
    assert row["sd"] == pytest.approx(np.sqrt(0.5))  # of two runs one apart
    assert row["sd_seeds"] == pytest.approx(10 / np.sqrt(2))
    assert (row["n"], row["n_seeds"], row["runs"], row["factuals"], row["skipped"]) == (4, 2, 2, 8, 4)
    assert (row["validity"], row["distance"]) == (1.0, 1.0)


def test_a_difference_by_hand_and_its_other_direction():
    found = estimates.differences(searched(), [("strong", "standard"), ("standard", "strong")])
    assert found["mean"].tolist() == pytest.approx([-3.0, 3.0])
    assert found["side"].tolist() == ["lower", "higher"]
    assert found["n"].tolist() == [4, 4]


def test_the_order_of_the_robust_regimes():
    row = estimates.monotone(searched()).iloc[0]
    assert (row["order"], row["monotone"], row["share"]) == ("strong < medium < weak", True, 1.0)


def test_accuracies_of_one_and_of_several_networks():
    frame = pd.DataFrame(
        {"condition": "as_run", "regime": "weak", "attack": "clean", "seed": [0, 1], "correct": [8, 6], "n": 10}
    )
    both, first = estimates.accuracies(frame).iloc[0], estimates.accuracies(frame.iloc[:1]).iloc[0]
    assert (both["mean"], both["n_seeds"], first["n_seeds"]) == (pytest.approx(0.7), 2, 1)
    assert 0.49 < first["low"] < first["mean"] < first["high"] < 0.95  # Wilson's interval of 8 of 10


def test_a_difference_that_shrinks_alike_everywhere_keeps_exactly_that_share():
    seeds = np.repeat([0, 1, 2], 20)
    before = np.random.default_rng(0).normal(1, 0.3, 60)
    for sign in (1, -1):
        found = estimates.kept(sign * before, sign * 0.25 * before, seeds)
        assert list(found.values()) == pytest.approx([0.25] * 3, abs=1e-5)


def test_the_share_lies_in_its_interval_and_widens_with_noise():
    rng, seeds = np.random.default_rng(1), np.repeat([0, 1, 2, 3], 25)
    before = rng.normal(2, 0.5, 100)
    widths = []
    for noise in (0.1, 1.0):
        found = estimates.kept(before, 0.5 * before + rng.normal(0, noise, 100), seeds)
        assert found["kept_low"] < found["kept"] < found["kept_high"]
        widths.append(found["kept_high"] - found["kept_low"])
    assert widths[0] < widths[1]


def test_an_unclear_difference_has_no_share():
    found = estimates.kept(np.array([-1.0, 1.0, -1.0, 1.0]), np.ones(4), np.array([0, 0, 1, 1]))
    assert all(np.isnan(value) for value in found.values())
