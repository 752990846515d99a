"""The rules of paper/rules.md, case by case, and the claims that they are applied to."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from robexpl.regimes import REGIMES
from robexpl.study import claims, rules
from robexpl.study.estimates import differences
from robexpl.study.places import ROOT

CONDITIONS = ("as_run", "as_written", "corrected")
NO_MARGIN = pd.DataFrame({"condition": CONDITIONS, "margin": 0.05})


def rows(*means: float, half: float = 0.1) -> pd.DataFrame:
    values = np.array(means, float)
    return pd.DataFrame({"what": list(map(str, means)), "mean": values, "low": values - half, "high": values + half})


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ((-1, -0.2), "supported"),
        ((-1, -0.05), "inconclusive"),
        ((-1, 0.2), "contradicted"),
        ((1, 0.2), "opposite"),
        ((1, 0.05), "contradicted"),
    ],
)
def test_lower_asks_every_interval(means, said):
    assert rules.lower(rows(*means))[0] == said
    assert rules.rises(rows(*(-mean for mean in means)))[0] == said


@pytest.mark.parametrize(
    ("means", "said"), [((0.0, 0.3), "supported"), ((0.0, 0.35), "inconclusive"), ((0.0, -0.6), "contradicted")]
)
def test_equal_asks_for_the_margin(means, said):
    assert rules.equal(rows(*means), margin=0.4)[0] == said


@pytest.mark.parametrize(
    ("means", "said"), [((-1, 1), "supported"), ((-1, -1), "contradicted"), ((-1, 0), "inconclusive")]
)
def test_unordered_asks_for_one_step_back(means, said):
    assert rules.unordered(rows(*means))[0] == said


def test_overstated_allows_a_point():
    two = pd.concat([rows(0.0, half=0.01), rows(0.02, half=0.015)])
    assert rules.overstated(rows(0.0, half=0.01))[0] == "supported"
    assert rules.overstated(two)[0] == "inconclusive"
    assert rules.overstated(pd.concat([rows(0.0, half=0.01), rows(0.03, half=0.015)]))[0] == "contradicted"


@pytest.mark.parametrize(
    ("shares", "said"),
    [((1, 0.95), "supported"), ((1, 0.9), "inconclusive"), ((1, 0.05), "contradicted"), ((0, 0.05), "opposite")],
)
def test_met_asks_every_regime(shares, said):
    assert rules.met(pd.Series(shares, index=["standard", "strong"], dtype=float))[0] == said


def matched(before: float, after: float, half: float) -> pd.DataFrame:
    return rows(before, after, half).assign(comparison=["before", "after", "half_margin"])


def test_scale_asks_only_where_there_is_something_to_explain():
    assert rules.scale(matched(0.05, 1, 1))[0] == "inconclusive"
    assert rules.scale(matched(1, 0.8, 0.3))[0] == "supported"
    assert rules.scale(matched(1, 0.05, -0.45))[0] == "contradicted"
    assert rules.scale(matched(1, 0.45, -0.05))[0] == "inconclusive"


def test_spread_is_right_about_one_time_in_twenty_where_seeds_do_not_differ():
    rng, flagged, tries = np.random.default_rng(0), 0, 2000
    for _ in range(tries):
        runs = rng.normal(size=(8, 5))  # seeds, runs: draws alone
        sd, sd_seeds = np.sqrt((runs.std(1, ddof=1) ** 2).mean()), runs.mean(1).std(ddof=1)
        cell = pd.DataFrame([{"n_seeds": 8, "runs": 5, "sd": sd, "sd_seeds": sd_seeds}])
        flagged += rules.spread(cell)[0] == "contradicted"
    assert 0.03 < flagged / tries < 0.1  # the SD over runs is itself estimated, hence a little more than 0.05
    assert rules.spread(cell.assign(sd_seeds=9.0))[0] == "contradicted"
    assert rules.spread(cell.assign(n_seeds=1))[0] == "inconclusive"


@pytest.mark.parametrize(
    ("as_run", "as_written", "corrected", "said"),
    [
        ("inconclusive", "supported", "supported", "supported"),
        ("supported", "supported", "inconclusive", "inconclusive"),
        ("supported", "inconclusive", "contradicted", "reproducible but not robust"),
        ("supported", "opposite", "opposite", "reversed"),
        ("inconclusive", "inconclusive", "contradicted", "not supported"),
        ("inconclusive", "opposite", "contradicted", "not supported"),
        ("contradicted", "inconclusive", "inconclusive", "inconclusive"),
        ("contradicted", "supported", "contradicted", "inconclusive"),
    ],
)
def test_the_conclusion_over_conditions(as_run, as_written, corrected, said):
    outcomes = dict(zip(CONDITIONS, (as_run, as_written, corrected), strict=True))
    assert rules.conclusion(outcomes) == said


def test_the_conclusion_that_no_condition_changes():
    said = [rules.conclusion({"any": rules.repeats(n)[0]}) for n in (16, 13, 11)]
    assert said == ["supported", "inconclusive", "not supported"]


def test_every_claim_has_a_kind_that_the_rules_name():
    text = (ROOT / "paper" / "rules.md").read_text(encoding="utf-8")
    kinds = {claim["test"]["kind"] for claim in claims.load() if claim["test"]}
    assert kinds <= set(re.findall(r"^\| `(\w+)`", text, flags=re.MULTILINE))
    assert len([claim for claim in claims.load() if claim["test"]]) >= 12


def study_of(shift: dict[str, float], seeds: int = 4) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of a study in which regimes differ by `shift` and seeds by little."""
    rng, found, attacked = np.random.default_rng(0), [], []
    for name in CONDITIONS:
        for seed in range(seeds):
            level = rng.normal(scale=0.01, size=40)
            for regime in REGIMES:
                for stop in ("decision_threshold", "generator_conditions"):
                    frame = pd.DataFrame({"run": np.repeat([0, 1], 20), "implausibility": 1 + level + shift[regime]})
                    frame["implausibility"] += rng.normal(scale=0.01, size=40)
                    found.append(frame.assign(condition=name, seed=seed, regime=regime, stop=stop))
                for attack in ("clean", "fgsm", "pgd_early_stop", "pgd_projected"):
                    right = 900 if attack == "clean" else 200 + 150 * REGIMES.index(regime)
                    key = {"condition": name, "seed": seed, "regime": regime, "attack": attack}
                    attacked.append({**key, "correct": 1000 * right, "n": 1_000_000})
    columns = {"counted": True, "valid": True, "converged": True, "l1": 1.0, "label": 3, "target": 8, "row": 0}
    columns |= {"steps": 5, "target_prob": 0.9, "target_logit": 5.0}
    return pd.concat(found, ignore_index=True).assign(**columns), pd.DataFrame(attacked)


def gathered(shift: dict[str, float], half: int | None = None, **how: int) -> claims.Evidence | None:
    return claims.gather(*study_of(shift, **how), NO_MARGIN, None, tuple("0123456789"), half)


def test_claims_are_judged_from_a_study_whose_truth_is_known():
    falling = dict(zip(REGIMES, (0.0, -0.2, -0.4, -0.6), strict=True))
    parts = [{kind: gathered(falling, half) for kind in ("image", "tabular")} for half in (None, 0, 1)]
    table, outcomes = claims.judge(claims.load(), parts[0], parts[1:], 16)
    said = table.set_index("id")["conclusion"]
    supported = ["boundary-image", "boundary-tabular", "boundary-order", "interior-order", "picture"]
    supported += ["training-works", "attacks-measure", "interior-is-likely", "settings-complete"]
    assert (said[supported] == "supported").all()
    assert said["interior-tabular"] == "reversed"
    assert (said[["boundary-no-order", "interior-no-order"]] == "not supported").all()
    assert (said[["likelihood-moved", "first"]] == "not tested").all()
    assert table.set_index("id")["agree"][["boundary-image", "interior-tabular", "boundary-no-order"]].all()
    worst = outcomes.set_index(["id", "condition"]).loc[("boundary-image", "as_written")]
    assert worst["what"] == "weak - standard"
    assert worst["mean"] == pytest.approx(-0.2, abs=0.01)
    assert set(table["conclusion"]) <= set(rules.CONCLUSIONS)


@pytest.mark.parametrize(("decide", "said"), [(rules.lower, "contradicted"), (rules.unordered, "supported")])
def test_what_decided_is_the_difference_above_zero(decide, said):
    both = pd.DataFrame({"what": ["wide", "sure"], "mean": [-0.05, 0.2], "low": [-0.6, 0.1], "high": [0.5, 0.3]})
    outcome, row = decide(both)
    assert (outcome, row["what"]) == (said, "sure")


@pytest.mark.parametrize(
    ("decide", "ends", "said", "decider"),
    [
        (rules.rises, ((0.0, -0.5, 0.5), (-0.2, -0.3, -0.1)), "contradicted", -0.2),
        (rules.rises, ((0.3, 0.2, 0.4), (0.2, 0.1, 0.3)), "supported", 0.2),
        (rules.overstated, ((0.08, -0.04, 0.2), (0.05, 0.04, 0.06)), "contradicted", 0.05),
        (rules.overstated, ((0.0, -0.01, 0.01), (0.004, 0.003, 0.005)), "supported", 0.0),
    ],
)
def test_what_decided_a_claim_on_accuracies(decide, ends, said, decider):
    outcome, row = decide(pd.DataFrame(ends, columns=["mean", "low", "high"]))
    assert (outcome, row["mean"]) == (said, decider)


def test_a_claim_about_both_needs_both_and_is_decided_by_the_one_that_fails():
    up, down = gathered(dict.fromkeys(REGIMES, 0.0)), gathered(dict(zip(REGIMES, (0.6, 0.4, 0.2, 0.0), strict=True)))
    claim = next(claim for claim in claims.load() if claim["id"] == "boundary-weak-suffices")
    outcome, row = claims.outcome(claim, "corrected", {"image": down, "tabular": up}, None)
    assert outcome == "inconclusive"
    assert row["kind"] == "tabular"


def test_differences_are_between_the_same_factuals_alone():
    searched, _ = study_of(dict.fromkeys(REGIMES, 0.0), seeds=2)
    moved = searched.assign(seed=searched["seed"] + (searched["regime"] == "strong"))
    with pytest.raises(ValueError, match="expected the same factuals in the same order for strong and standard"):
        differences(moved, [("strong", "standard")])


def test_a_picture_needs_two_factuals_in_common():
    searched, attacked = study_of(dict.fromkeys(REGIMES, 0.0), seeds=1)
    first = searched.groupby(["condition", "regime", "stop"]).cumcount()
    searched = searched.assign(label=np.where(first < 5, 3, 4))
    apart = np.where(searched["regime"] == "standard", first.isin([0, 1, 2]), first.isin([2, 3, 4])) | (first > 4)
    basis = (attacked, NO_MARGIN, None, tuple("0123456789"))
    assert claims.gather(searched.assign(counted=apart), *basis).picture.empty
    two = claims.gather(searched.assign(counted=(first < 2) | (first > 4)), *basis).picture
    assert (two["n"] == 2).all()
    assert claims.gather(searched, *basis[:3], ("benign", "malignant")).picture.empty


@pytest.mark.parametrize(
    ("decide", "found"),
    [
        (rules.lower, rows()),
        (rules.rises, rows()),
        (rules.unordered, rows()),
        (rules.overstated, rows()),
        (rules.met, pd.Series(dtype=float)),
        (rules.met, pd.Series([np.nan])),
        (rules.lower, rows(np.nan)),
        (lambda some: rules.equal(some, 0.1), rows()),
        (rules.conclusion, {"as_written": "suported", "corrected": "supported", "as_run": "supported"}),
        (rules.spread, pd.DataFrame([{"n_seeds": 3, "runs": 5, "sd": np.nan, "sd_seeds": 1.0}])),
    ],
)
def test_no_evidence_supports_nothing(decide, found):
    with pytest.raises(ValueError, match=r"^expected "):
        decide(found)


def test_a_margin_below_zero_is_none():
    assert rules.equal(rows(0.0, half=0.01), margin=-0.1)[0] == "inconclusive"


def test_a_half_without_seeds_is_no_evidence():
    level = dict.fromkeys(REGIMES, 0.0)
    assert gathered(level, half=1, seeds=1) is None
    assert gathered(level, half=0, seeds=1) is not None


def test_equal_gradients_are_compared_both_ways():
    rng, parts = np.random.default_rng(0), []
    for seed in range(3):
        base = rng.normal(size=30)
        shift = {"standard": 0.0, "strong": 1.0, "shrunk": 0.75, "grown": 0.25}
        parts += [
            pd.DataFrame({"condition": "as_run", "seed": seed, "regime": cell, "implausibility": base + by})
            for cell, by in shift.items()
        ]
    frame = pd.concat(parts, ignore_index=True).assign(counted=True)
    found = claims.scale(frame).set_index("comparison")["mean"]
    assert found.to_dict() == pytest.approx({"before": 1.0, "after": 0.25, "other_way": 0.25, "half_margin": -0.25})
    kept = claims.scale_kept(frame).iloc[0]
    assert [kept[key] for key in ("kept", "kept_low", "kept_high")] == pytest.approx([0.25] * 3, abs=1e-5)
