"""The rules of paper/rules.md, case by case, and the claims that they are applied to."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from robexpl.artifacts import ROOT
from robexpl.regimes import REGIMES
from robexpl.report import claims, tables, verdicts


def d(mean: float, half: float = 0.1) -> dict:
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": 9, "n_seeds": 3}


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ((-1, -0.2), "supported"),
        ((-1, -0.05), "undecided"),
        ((-1, 0.2), "contradicted"),
        ((1, 0.2), "opposite"),
        ((1, 0.05), "contradicted"),
    ],
)
def test_lower_asks_every_interval(means, said):
    assert verdicts.lower([d(mean) for mean in means]) == said
    assert verdicts.rises([d(-mean) for mean in means]) == said


@pytest.mark.parametrize(
    ("means", "said"), [((0.0, 0.3), "supported"), ((0.0, 0.35), "undecided"), ((0.0, -0.6), "contradicted")]
)
def test_equal_asks_for_the_margin(means, said):
    assert verdicts.equal([d(mean) for mean in means], margin=0.4) == said


@pytest.mark.parametrize(
    ("means", "said"), [((-1, 1), "supported"), ((-1, -1), "contradicted"), ((-1, 0), "undecided")]
)
def test_unordered_asks_for_one_step_back(means, said):
    assert verdicts.unordered([d(mean) for mean in means]) == said


def test_overstated_allows_a_point():
    assert verdicts.overstated([d(0.0, 0.01)]) == "supported"
    assert verdicts.overstated([d(0.0, 0.01), d(0.02, 0.015)]) == "undecided"
    assert verdicts.overstated([d(0.0, 0.01), d(0.03, 0.015)]) == "contradicted"


@pytest.mark.parametrize(
    ("shares", "said"),
    [((1, 0.95), "supported"), ((1, 0.9), "undecided"), ((1, 0.05), "contradicted"), ((0, 0.05), "opposite")],
)
def test_met_asks_every_regime(shares, said):
    assert verdicts.met(shares) == said


def test_scale_asks_only_where_there_is_something_to_explain():
    assert verdicts.scale(d(0.05), d(1), d(1)) == "undecided"
    assert verdicts.scale(d(1), d(0.8), d(0.3)) == "supported"
    assert verdicts.scale(d(1), d(0.05), d(-0.45)) == "contradicted"
    assert verdicts.scale(d(1), d(0.45), d(-0.05)) == "undecided"


def test_spread_is_right_about_one_time_in_twenty_where_seeds_do_not_differ():
    rng, flagged, tries = np.random.default_rng(0), 0, 2000
    for _ in range(tries):
        runs = rng.normal(size=(8, 5))  # seeds, runs: draws alone
        cell = {
            "n_seeds": 8,
            "runs": 5,
            "sd": np.sqrt((runs.std(1, ddof=1) ** 2).mean()),
            "sd_seeds": runs.mean(1).std(ddof=1),
        }
        flagged += verdicts.spread([cell]) == "contradicted"
    assert 0.03 < flagged / tries < 0.1  # the SD over runs is itself estimated, hence a little more than 0.05
    assert verdicts.spread([{**cell, "sd_seeds": 9.0}]) == "contradicted"
    assert verdicts.spread([{**cell, "n_seeds": 1}]) == "undecided"


@pytest.mark.parametrize(
    ("published", "stated", "repaired", "said"),
    [
        ("undecided", "supported", "supported", "stands"),
        ("supported", "supported", "undecided", "undecided"),
        ("supported", "undecided", "contradicted", "stands only as published"),
        ("supported", "opposite", "opposite", "reversed"),
        ("undecided", "undecided", "contradicted", "does not stand"),
        ("undecided", "opposite", "contradicted", "does not stand"),
        ("contradicted", "undecided", "undecided", "undecided"),
        ("contradicted", "supported", "contradicted", "undecided"),
    ],
)
def test_the_verdict_over_readings(published, stated, repaired, said):
    assert verdicts.verdict({"published": published, "stated": stated, "repaired": repaired}) == said


def test_the_verdict_that_no_reading_changes():
    assert [verdicts.verdict({"any": verdicts.repeats(n)}) for n in (16, 13, 11)] == [
        "stands",
        "undecided",
        "does not stand",
    ]


def test_every_claim_has_a_kind_that_the_rules_name():
    rules = (ROOT / "paper" / "rules.md").read_text(encoding="utf-8")
    kinds = {claim["test"]["kind"] for claim in tables.thesis()["claims"] if claim["test"]}
    assert kinds <= set(re.findall(r"^\| `(\w+)`", rules, flags=re.MULTILINE))
    assert len([claim for claim in tables.thesis()["claims"] if claim["test"]]) >= 12


def evidence(shift: dict[str, float], seeds: int = 4) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of a study in which regimes differ by `shift` and seeds by little."""
    rng, rows, attacked = np.random.default_rng(0), [], []
    for name in ("published", "stated", "repaired"):
        for seed in range(seeds):
            level = rng.normal(scale=0.01, size=40)
            for regime in REGIMES:
                for stop in ("decision_threshold", "generator_conditions"):
                    frame = pd.DataFrame({"run": np.repeat([0, 1], 20), "implausibility": 1 + level + shift[regime]})
                    frame["implausibility"] += rng.normal(scale=0.01, size=40)
                    rows.append(frame.assign(reading=name, seed=seed, regime=regime, stop=stop))
                for attack in ("clean", "fgsm", "pgd_early_stop", "pgd_projected"):
                    right = 900 if attack == "clean" else 200 + 150 * REGIMES.index(regime)
                    attacked.append(
                        {
                            "reading": name,
                            "seed": seed,
                            "regime": regime,
                            "attack": attack,
                            "correct": 1000 * right,
                            "n": 1_000_000,
                        }
                    )
    columns = {"counted": True, "valid": True, "converged": True, "l1": 1.0, "label": 3, "target": 8}
    columns |= {"steps": 5, "target_prob": 0.9, "target_logit": 5.0}
    return pd.concat(rows, ignore_index=True).assign(**columns), pd.DataFrame(attacked)


def test_claims_are_judged_from_a_study_whose_truth_is_known():
    falling = dict(zip(REGIMES, (0.0, -0.2, -0.4, -0.6), strict=True))
    parts = {}
    for half in (None, 0, 1):
        found = {}
        for role, dataset in (("image", "mnist"), ("tabular", "california")):
            searched, attacked = evidence(falling)
            found[role] = claims.gather(
                searched,
                attacked,
                dataset=dataset,
                margin=dict.fromkeys(("published", "stated", "repaired"), 0.05),
                scale={},
                half=half,
            )
        parts[half] = found
    judged = claims.judge(
        tables.thesis()["claims"], ("published", "stated", "repaired"), parts[None], (parts[0], parts[1]), 16
    )
    said = {row["id"]: row["verdict"] for row in judged}
    assert {
        said[name] for name in ("boundary-image", "boundary-tabular", "boundary-order", "interior-order", "picture")
    } == {"stands"}
    assert (
        said["training-works"]
        == said["attacks-measure"]
        == said["interior-is-likely"]
        == said["settings-complete"]
        == "stands"
    )
    assert said["interior-tabular"] == "reversed"
    assert said["boundary-no-order"] == said["interior-no-order"] == "does not stand"
    assert said["likelihood-moved"] == said["first"] == "not tested"
    assert all(
        row["agree"] for row in judged if row["id"] in ("boundary-image", "interior-tabular", "boundary-no-order")
    )
    assert sum(claims.tally(judged).values()) == len(judged)
    worst = next(row for row in judged if row["id"] == "boundary-image")["found"]["stated"]["decisive"]
    assert worst["what"] == "Weak - Standard"
    assert worst["mean"] == pytest.approx(-0.2, abs=0.01)


@pytest.mark.parametrize(("kind", "said"), [("lower", "contradicted"), ("unordered", "supported")])
def test_what_decided_is_the_difference_above_zero(kind, said):
    wide, sure = ({"mean": m, "low": a, "high": b} for m, a, b in ((-0.05, -0.6, 0.5), (0.2, 0.1, 0.3)))
    steps = {"generator_conditions": {"weak_to_medium": wide, "medium_to_strong": sure}}
    found = claims.Evidence({"stated": steps}, {}, {}, {}, {}, {})
    pairs = [["medium", "weak"], ["strong", "medium"]]
    claim = {"dataset": "california", "stop": "generator_conditions", "test": {"kind": kind, "pairs": pairs}}
    decided = claims.outcome(claim, "stated", {"tabular": found}, None)
    assert decided["outcome"] == said
    assert (decided["decisive"]["what"], decided["decisive"]["mean"]) == ("Strong - Medium", 0.2)


@pytest.mark.parametrize(
    ("kind", "steps", "said", "decider"),
    [
        ("rises", ((0.0, -0.5, 0.5), (-0.2, -0.3, -0.1)), "contradicted", -0.2),
        ("rises", ((0.3, 0.2, 0.4), (0.2, 0.1, 0.3)), "supported", 0.2),
        ("overstated", ((0.08, -0.04, 0.2), (0.05, 0.04, 0.06)), "contradicted", 0.05),
        ("overstated", ((0.0, -0.01, 0.01), (0.004, 0.003, 0.005)), "supported", 0.0),
    ],
)
def test_what_decided_a_claim_on_accuracies(monkeypatch, kind, steps, said, decider):
    ds = [{"mean": m, "low": low, "high": high, "what": "?"} for m, low, high in steps]
    monkeypatch.setattr(verdicts, "accuracy_steps", lambda of: [ds[of]])
    monkeypatch.setattr(verdicts, "hidden", lambda of: [ds[of]])
    evidence_of = [claims.Evidence({}, {}, {"stated": i}, {}, {}, {}) for i in range(2)]
    parts = dict(zip(("image", "tabular"), evidence_of, strict=True))
    claim = {"dataset": "both", "stop": None, "test": {"kind": kind}}
    decided = claims.outcome(claim, "stated", parts, None)
    assert (decided["outcome"], decided["decisive"]["mean"]) == (said, decider)


def test_differences_are_between_the_same_factuals_alone():
    searched, _ = evidence(dict.fromkeys(REGIMES, 0.0), seeds=2)
    moved = searched.assign(seed=searched["seed"] + (searched["regime"] == "strong"))
    with pytest.raises(ValueError, match="expected the same factuals in the same order for strong and standard"):
        tables.differences(moved, {"strong": ("strong", "standard")})


def test_a_picture_needs_two_factuals_in_common():
    searched, _ = evidence(dict.fromkeys(REGIMES, 0.0), seeds=1)
    first = searched.groupby(["reading", "regime", "stop"]).cumcount()
    other = searched["regime"].isin(["standard"])
    few = searched.assign(counted=np.where(other, first.isin([0, 1, 2]), first.isin([2, 3, 4])))
    rows = few[few["reading"] == "stated"]
    assert claims._picture(rows) is None
    both = searched.assign(counted=first < 2)
    assert claims._picture(both[both["reading"] == "stated"])["n"] == 2


@pytest.mark.parametrize(
    ("decide", "found"),
    [
        (verdicts.lower, []),
        (verdicts.rises, []),
        (verdicts.unordered, []),
        (verdicts.overstated, []),
        (verdicts.met, []),
        (verdicts.met, [np.nan]),
        (verdicts.lower, [d(np.nan)]),
        (lambda ds: verdicts.equal(ds, 0.1), []),
        (verdicts.verdict, {"stated": "suported", "repaired": "supported", "published": "supported"}),
        (verdicts.spread, [{"n_seeds": 3, "runs": 5, "sd": np.nan, "sd_seeds": 1.0}]),
    ],
)
def test_no_evidence_supports_nothing(decide, found):
    with pytest.raises(ValueError, match=r"^expected "):
        decide(found)


def test_a_margin_below_zero_is_none():
    assert verdicts.equal([d(0.0, 0.01)], margin=-0.1) == "undecided"


def test_a_half_without_seeds_is_no_evidence():
    searched, attacked = evidence(dict.fromkeys(REGIMES, 0.0), seeds=1)
    basis = {"dataset": "mnist", "margin": {}, "scale": {}}
    assert claims.gather(searched, attacked, **basis, half=1) is None
    assert claims.gather(searched, attacked, **basis, half=0) is not None
