"""Sentences and verdicts follow from numbers by rule; figures and tables take any result."""

import matplotlib as mpl
import pytest

from robexpl.regimes import REGIMES
from robexpl.report import answers, plots, robustness, words

LOWER = {"mean": -0.2, "low": -0.3, "high": -0.1}
HIGHER = {"mean": 0.2, "low": 0.1, "high": 0.3}
UNCLEAR = {"mean": 0.0, "low": -0.1, "high": 0.1}


@pytest.mark.parametrize(
    ("weak", "medium", "strong", "sentence", "verdict"),
    [
        (LOWER, LOWER, LOWER, "All three robust networks score lower than the standard one", "supported"),
        (
            UNCLEAR,
            UNCLEAR,
            UNCLEAR,
            "None of the three robust networks can be told apart from the standard one",
            "undecided",
        ),
        (
            LOWER,
            UNCLEAR,
            HIGHER,
            "The weak network scores lower than the standard one, the strong network scores higher than the standard "
            "one and the medium network cannot be told apart from the standard one",
            "contradicted",
        ),
        (
            LOWER,
            LOWER,
            UNCLEAR,
            "The weak and medium networks score lower than the standard one and the strong network cannot be told "
            "apart from the standard one",
            "undecided",
        ),
    ],
)
def test_sentence_and_verdict_follow_the_intervals(weak, medium, strong, sentence, verdict):
    differences = {"weak": weak, "medium": medium, "strong": strong}
    assert words.against_standard(differences) == sentence
    assert answers.verdict(list(differences.values())) == verdict


def test_an_interval_that_touches_zero_decides_nothing():
    assert words.side({"mean": -0.1, "low": -0.2, "high": 0.0}) == "unclear"


def test_numbers_and_lists_read_well():
    assert [words.number(n) for n in (0, 3, 12, 13, 1234)] == ["none", "three", "twelve", "13", "1,234"]
    assert [words.listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_order_of_strength_is_strict():
    means = dict(zip(REGIMES, (0.1, 0.2, 0.3, 0.4), strict=True))
    assert robustness.rises(means)
    assert not robustness.rises({**means, "weak": 0.1})
    falling = {"weak": {"mean": 3}, "medium": {"mean": 2}, "strong": {"mean": 1}}
    assert answers.monotone(falling)
    assert not answers.monotone({**falling, "medium": {"mean": 3}})


def test_sanity_flags_a_weak_iterative_attack():
    record = {
        attack: {"mean": mean} for attack, mean in (("fgsm", 0.2), ("pgd_early_stop", 0.3), ("pgd_projected", 0.1))
    }
    ladder = {"FGSM 0.05": 0.5, "FGSM 0.1": 0.3, "FGSM 0.2": 0.2, "FGSM 0.3": 0.4}
    table = robustness.sanity_table(
        {"stated": {"weak": record}}, {"stated": {"weak": {"noise": 0.1, "moved": 1.0, **ladder}}}
    )
    assert list(table.iloc[0]) == ["FLAG", "ok", "FLAG", "FLAG", "ok"]


def test_figures_keep_colours_apart_and_intervals_whole():
    assert list(plots.COLOURS) == list(plots.MARKERS) == list(REGIMES)
    cell = {"mean": 0.3, "low": 0.2, "high": 0.5}
    cells = {"published": {stop: dict.fromkeys(REGIMES, cell) for stop in plots.STOP_TITLES}}
    with mpl.rc_context():
        figure = plots.implausibility(cells, anchors={"factual": 0.4})
        low, high = figure.axes[0].get_xlim()
    assert low < 0.2
    assert high > 0.5
    mpl.pyplot.close(figure)


def test_means_are_held_against_the_anchors_of_their_own_reading():
    ladders = {"a": {"blank": 2.0, "factual": 1.0}, "b": {"blank": 4.0, "factual": 3.0}}
    cells = {name: {"stop": {"standard": {"mean": 2.5}, "strong": {"mean": 0.5}}} for name in ladders}
    said = answers.anchors_sentence(ladders, cells, {"blank": "blank image", "factual": "factuals"})
    assert said.startswith('From plausible to implausible (reading "a"): factuals 1.000, blank image 2.000. ')
    assert "Of the 4 means above, one exceeds the score of the blank image in its own reading and one exceeds" in said


@pytest.mark.parametrize(("shares", "words_"), [((0, 0), "No search meets"), ((0.25, 1), "Between 0.25 and 1.00 of")])
def test_how_many_searches_meet_the_second_stop(shares, words_):
    records = {r: {"target_logit": 4.0, "converged": shares[r == "strong"]} for r in REGIMES}
    said = answers.travel_sentence({"stated": {"generator_conditions": records}}, goal=5.0)
    assert words_ in said
    assert ("the others" in said) == (shares[1] > 0)
