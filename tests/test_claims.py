"""The rules of paper/rules.md, case by case, and the claims that they are applied to."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from robexpl.regimes import REGIMES
from robexpl.study import claims, evidence, rules
from robexpl.study.estimates import differences
from robexpl.study.places import ROOT

CONDITIONS = ("as_run", "as_written", "corrected")
MARGIN = pd.DataFrame({"condition": CONDITIONS, "margin": 0.05})  # in the units of implausibility


def rows(*means: float, half: float = 0.1) -> pd.DataFrame:
    """Differences with 95 % intervals of half this length, from so many networks that one comparison widens none."""
    values = np.array(means, float)
    ends = {"mean": values, "low": values - half, "high": values + half}
    return pd.DataFrame({"what": list(map(str, means)), **ends, "n": 1000, "n_seeds": 10})


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ((-1, -0.2), "supported"),
        ((-1, -0.12), "inconclusive"),  # beyond zero, but not beyond the margin
        ((-1, 0.0), "inconclusive"),
        ((-1, 0.2), "contradicted"),
        ((1, 0.2), "reversed"),
        ((1, 0.12), "contradicted"),
    ],
)
def test_lower_asks_every_interval_and_an_effect(means, said):
    assert rules.lower(rows(*means), 0.05, 1)[0] == said
    assert rules.higher(rows(*(-mean for mean in means)), 0.05, 1)[0] == said


def test_a_difference_within_the_margin_refutes_a_claim_without_contradicting_it():
    outcome, row = rules.lower(rows(-1.0, 0.02, half=0.02), 0.05, 1)
    assert (outcome, row["mean"]) == ("no noticeable difference", 0.02)
    assert rules.lower(rows(-1.0, 0.02, 0.5, half=0.02), 0.05, 1)[0] == "contradicted"
    # significantly above zero and yet too small to matter
    assert rules.lower(rows(-1.0, 0.004, half=0.003), 0.01, 1)[0] == "no noticeable difference"


def test_intervals_are_simultaneous_over_the_comparisons():
    """Student's t with 9 degrees of freedom: 2.262 for one comparison, 2.685 for two, 5.29 for 200."""
    assert rules.lower(rows(-0.11), 0.0, 1)[0] == "supported"
    assert rules.lower(rows(-0.11, -0.11), 0.0, 2)[0] == "inconclusive"
    assert rules.lower(rows(-0.2, -0.2), 0.0, 2)[0] == "supported"
    assert rules.lower(rows(-0.2, -0.2), 0.0, 200)[0] == "inconclusive"
    assert rules.lower(rows(-0.2, -0.2), 0.0, 2)[1]["high"] == pytest.approx(-0.2 + 0.1 * 2.6850 / 2.2622, abs=1e-4)


@pytest.mark.parametrize(
    ("means", "said"), [((0.0, 0.3), "supported"), ((0.0, 0.35), "inconclusive"), ((0.0, -0.6), "contradicted")]
)
def test_equal_asks_for_the_margin(means, said):
    assert rules.equal(rows(*means), 0.4, 1)[0] == said


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ((-1, -1), "contradicted"),  # an order
        ((1, 1), "contradicted"),  # the reverse order
        ((-1, 1), "supported"),
        ((1, -1), "supported"),
        ((0.0, 0.0), "supported"),
        ((-1, 0), "inconclusive"),
        ((1, 0.15), "inconclusive"),
    ],
)
def test_no_order_is_refuted_by_an_order_either_way(means, said):
    assert rules.unordered(rows(*means), 0.12, 1)[0] == said


def test_a_reverse_order_is_reported_as_such():
    assert rules.unordered(rows(0.5, 1.0), 0.05, 1)[1]["what"] == "reverse order, 0.5"
    assert rules.unordered(rows(-0.5, -1.0), 0.05, 1)[1]["what"] == "order, -0.5"


def test_overstated_allows_a_point():
    two = pd.concat([rows(0.0, half=0.01), rows(0.02, half=0.015)])
    assert rules.overstated(rows(0.0, half=0.01), 1)[0] == "supported"
    assert rules.overstated(two, 1)[0] == "inconclusive"
    assert rules.overstated(pd.concat([rows(0.0, half=0.01), rows(0.03, half=0.015)]), 1)[0] == "contradicted"


def test_spread_is_seldom_wrong_where_seeds_do_not_differ_and_right_where_they_do():
    rng, tries = np.random.default_rng(0), 1000
    for between, said in ((0.0, "contradicted"), (2.0, "supported")):
        wrong = 0
        for _ in range(tries):
            runs = between * rng.normal(size=(8, 1)) + rng.normal(size=(8, 5))  # seeds, runs: draws alone
            sd, sd_seeds = np.sqrt((runs.std(1, ddof=1) ** 2).mean()), runs.mean(1).std(ddof=1)
            cell = pd.DataFrame([{"n_seeds": 8, "runs": 5, "sd": sd, "sd_seeds": sd_seeds}])
            wrong += rules.spread(cell)[0] == said
        assert wrong / tries < 0.05
    assert rules.spread(cell.assign(sd_seeds=9.0))[0] == "contradicted"
    assert rules.spread(cell.assign(sd_seeds=1e-3))[0] == "supported"
    assert rules.spread(cell.assign(n_seeds=1))[0] == "inconclusive"


@pytest.mark.parametrize(
    ("as_run", "as_written", "corrected", "said"),
    [
        ("inconclusive", "contradicted", "supported", "supported"),
        ("supported", "supported", "inconclusive", "inconclusive"),
        ("supported", "inconclusive", "contradicted", "reproducible but not robust"),
        ("supported", "supported", "no noticeable difference", "reproducible but not robust"),
        ("supported", "reversed", "reversed", "reproducible but not robust"),
        ("inconclusive", "supported", "contradicted", "not supported"),
        ("inconclusive", "inconclusive", "reversed", "not supported"),
        ("contradicted", "inconclusive", "inconclusive", "inconclusive"),
    ],
)
def test_the_primary_condition_decides(as_run, as_written, corrected, said):
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


def strongest_of(attacked: pd.DataFrame, hidden: int = 0, most: int = 100) -> pd.DataFrame:
    """Rows of the primary condition and the first seeds, and of an attack that takes so many of a million rows more."""
    own = attacked[(attacked["condition"] == "corrected") & (attacked["seed"] < most)]
    harsher = own[own["attack"] == "fgsm"].assign(attack="worst_case", correct=lambda rows: rows["correct"] - hidden)
    return pd.concat([own, harsher], ignore_index=True)


def gathered(shift: dict[str, float], half: int | None = None, hidden: int = 0, most: int = 100, **how: int):
    seeds = None if half is None else range(half, 100, 2)
    searched, attacked = study_of(shift, **how)
    known = searched, attacked, strongest_of(attacked, hidden, most), MARGIN, tuple("0123456789")
    return evidence.gather(*known, seeds)


def test_claims_are_judged_from_a_study_whose_truth_is_known():
    falling = dict(zip(REGIMES, (0.0, -0.2, -0.4, -0.6), strict=True))
    parts = [{kind: gathered(falling, half) for kind in ("image", "tabular")} for half in (None, 0, 1)]
    table, outcomes = claims.judge(claims.load(), parts[0], parts[1:], 16)
    said = table.set_index("id")["conclusion"]
    supported = ["boundary-image", "boundary-tabular", "boundary-order", "interior-order", "picture"]
    supported += ["training-works", "settings-complete", "attacks-measure"]
    assert (said[supported] == "supported").all()
    assert (said[["interior-tabular", "boundary-no-order", "interior-no-order"]] == "not supported").all()
    assert (said[["likelihood-moved", "first", "interior-is-likely"]] == "not tested").all()
    known = table.set_index("id")
    assert known["agree"][["boundary-image", "interior-tabular", "boundary-no-order"]].all()
    assert known["survives"][[name for name in supported if name != "settings-complete"]].all()
    assert outcomes.loc[outcomes["id"] == "attacks-measure", "condition"].tolist() == ["corrected"]
    assert (known["differs"][supported] == "").all()
    assert known["implied"]["boundary-weak-suffices"] == "boundary-image, boundary-tabular"
    assert set(outcomes[outcomes["id"] == "interior-tabular"]["outcome"]) == {"reversed"}
    worst = outcomes.set_index(["id", "condition"]).loc[("boundary-image", "as_written")]
    assert worst["what"] == "weak - standard"
    assert worst["mean"] == pytest.approx(-0.2, abs=0.01)
    assert set(table["conclusion"]) <= set(rules.CONCLUSIONS)


def test_what_decided_is_the_difference_above_the_margin():
    both = rows(-0.05, 0.2).assign(what=["wide", "sure"], low=[-0.6, 0.1], high=[0.5, 0.3])
    outcome, row = rules.lower(both, 0.05, 1)
    assert (outcome, row["what"]) == ("contradicted", "sure")


@pytest.mark.parametrize(
    ("decide", "ends", "said", "decider"),
    [
        (rules.higher, ((0.0, -0.5, 0.5), (-0.2, -0.3, -0.1)), "contradicted", -0.2),
        (rules.higher, ((0.3, 0.2, 0.4), (0.2, 0.1, 0.3)), "supported", 0.2),
        (
            lambda some, _, of: rules.overstated(some, of),
            ((0.08, -0.04, 0.2), (0.05, 0.04, 0.06)),
            "contradicted",
            0.05,
        ),
        (lambda some, _, of: rules.overstated(some, of), ((0.0, -0.01, 0.01), (0.004, 0.003, 0.005)), "supported", 0.0),
    ],
)
def test_what_decided_a_claim_on_accuracies(decide, ends, said, decider):
    found = pd.DataFrame(ends, columns=["mean", "low", "high"]).assign(what="", n=1000, n_seeds=10)
    outcome, row = decide(found, rules.POINT, 1)
    assert (outcome, row["mean"]) == (said, decider)


def test_accuracies_are_compared_in_pairs_of_networks():
    right = {"weak": [500, 700, 900], "strong": [510, 710, 910]}
    attacked = pd.DataFrame(
        {"regime": regime, "attack": "fgsm", "seed": seed, "correct": n, "n": 1000}
        for regime, of in right.items()
        for seed, n in enumerate(of)
    )
    found = evidence.accuracy_difference(attacked, ("strong", "fgsm"), ("weak", "fgsm"))
    assert [found[end] for end in ("mean", "low", "high")] == pytest.approx([0.01] * 3)
    one = evidence.accuracy_difference(attacked[attacked["seed"] == 1], ("strong", "fgsm"), ("weak", "fgsm"))
    assert (one["mean"], one["n_seeds"]) == (pytest.approx(0.01), 1)
    assert one["low"] < 0 < one["high"]  # 1.96 sqrt(2 x 0.7 x 0.3 / 1000) = 0.04
    assert one["high"] - one["mean"] == pytest.approx(0.04, abs=0.002)


def test_a_stronger_attack_shows_what_others_hid():
    attacked = study_of(dict.fromkeys(REGIMES, 0.0))[1]
    assert evidence.hidden(attacked.query("condition == 'corrected'"), "corrected", "worst_case").empty
    found = evidence.hidden(strongest_of(attacked, 50_000), "corrected", "worst_case")
    assert found["mean"].tolist() == pytest.approx([0.05] * 3)
    assert rules.overstated(found, 3)[0] == "contradicted"


@pytest.mark.parametrize(
    ("hidden", "most", "said"),
    [
        (5_000, 2, {"conclusion": "supported", "even": "supported", "odd": "supported", "agree": True}),
        (50_000, 2, {"conclusion": "not supported", "even": "not supported", "odd": "not supported", "agree": True}),
        # networks of a single seed met the stronger attack: no odd half, and no claim about it
        (50_000, 1, {"conclusion": "not supported", "even": "not supported", "odd": "", "agree": None}),
        (50_000, 0, {"conclusion": "not tested", "even": "", "odd": "", "agree": None}),
    ],
)
def test_whether_attacks_measure_robustness_is_judged_where_a_stronger_one_was_tried(hidden, most, said):
    level, how = dict.fromkeys(REGIMES, 0.0), {"hidden": hidden, "most": most}
    parts = [{kind: gathered(level, half, **how) for kind in ("image", "tabular")} for half in (None, 0, 1)]
    table, outcomes = claims.judge(claims.load(), parts[0], parts[1:], 16)
    assert table.set_index("id").loc["attacks-measure", list(said)].to_dict() == said
    decided = outcomes[outcomes["id"] == "attacks-measure"]
    assert decided["condition"].tolist() == ["corrected"] * bool(most)
    assert decided["mean"].tolist() == pytest.approx([hidden / 1_000_000] * bool(most))


def test_leaving_out_a_network_and_varying_a_setting():
    falling = dict(zip(REGIMES, (0.0, -0.2, -0.4, -0.6), strict=True))
    whole = {kind: gathered(falling) for kind in ("image", "tabular")}
    searched, attacked = study_of(falling)
    known = (searched, attacked, strongest_of(attacked, most=3), MARGIN, tuple("0123456789"))
    left = claims.leave_one_out(claims.load(), dict.fromkeys(whole, known), whole).set_index("id")
    assert (left.loc["boundary-image", ["tried", "same", "turned"]] == [4, 4, 0]).all()
    assert left.loc["boundary-no-order", "tried"] == 8  # networks of both datasets
    assert left.loc["attacks-measure", "tried"] == 6  # those that met the stronger attack
    varied = pd.DataFrame(
        {"kind": "image", "choice": "k", "stop": "decision_threshold", "side": ["lower"] * 3 + ["unclear", "higher"]}
    )
    found = claims.over_settings(claims.load(), varied)
    assert found.to_dict("records") == [{"id": "boundary-image", "choice": "k", "tried": 5, "same": 3, "turned": 1}]


def test_a_claim_about_both_needs_both_and_is_decided_by_the_one_that_fails():
    up, down = gathered(dict.fromkeys(REGIMES, 0.0)), gathered(dict(zip(REGIMES, (0.6, 0.4, 0.2, 0.0), strict=True)))
    claim = next(claim for claim in claims.load() if claim["id"] == "boundary-weak-suffices")
    outcome, row = claims.outcome(claim, "corrected", {"image": down, "tabular": up}, None)
    assert outcome == "no noticeable difference"
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
    basis = (attacked, strongest_of(attacked), MARGIN, tuple("0123456789"))
    assert evidence.gather(searched.assign(counted=apart), *basis).picture.empty
    two = evidence.gather(searched.assign(counted=(first < 2) | (first > 4)), *basis).picture
    assert (two["n"] == 2).all()
    assert evidence.gather(searched, *basis[:3], ("benign", "malignant")).picture.empty


@pytest.mark.parametrize(
    ("decide", "found"),
    [
        (lambda some: rules.lower(some, 0.1, 1), rows()),
        (lambda some: rules.higher(some, 0.1, 1), rows()),
        (lambda some: rules.unordered(some, 0.1, 1), rows()),
        (lambda some: rules.overstated(some, 1), rows()),
        (lambda some: rules.lower(some, 0.1, 1), rows(np.nan)),
        (lambda some: rules.equal(some, 0.1, 1), rows()),
        (rules.conclusion, {"as_written": "suported", "corrected": "supported", "as_run": "supported"}),
        (rules.spread, pd.DataFrame([{"n_seeds": 3, "runs": 5, "sd": np.nan, "sd_seeds": 1.0}])),
    ],
)
def test_no_evidence_supports_nothing(decide, found):
    with pytest.raises(ValueError, match=r"^expected "):
        decide(found)


def test_a_margin_below_zero_is_none():
    assert rules.equal(rows(0.0, half=0.01), -0.1, 1)[0] == "inconclusive"


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
