"""Every quotation of the thesis is one of its sentences, in the section that is named."""

from __future__ import annotations

import pytest
import quotations
import yaml

from robexpl.study import claims
from robexpl.study.places import ROOT

QUOTED = [(claim["id"], quote) for claim in claims.load() for quote in claim["thesis"]]
CONCEDED = yaml.safe_load((ROOT / "paper" / "concessions.yaml").read_text(encoding="utf-8"))
TEXT = """A title

Abstract

Networks are *vulnerable* [1].

4.3 Search and Analysis

We stop, as Li et al. [2] do, when it re-

turns a point. It ends the search

Figure 3: A digit. It is a three.

there:

- **Strong:** forty steps.
- Weak: seven steps.
"""


@pytest.mark.parametrize(
    "quote", [quote for _, quote in QUOTED] + CONCEDED, ids=[f"{name}-{i}" for i, (name, _) in enumerate(QUOTED)] +
    [f"conceded-{i}" for i in range(len(CONCEDED))],
)  # fmt: skip
def test_a_quotation_is_a_sentence_of_its_section(quote: dict[str, str]) -> None:
    assert quotations.key(quote["section"], quote["text"]) in quotations.stored()


def test_an_altered_word_or_another_section_is_found() -> None:
    quote = QUOTED[0][1]
    section, text = quote["section"], quote["text"]
    for wrong in ((section, text.replace("directly", "roughly")), ("4.1", text), (section, text.rsplit(" ", 1)[0])):
        assert quotations.key(*wrong) not in quotations.stored()


def test_sentences_are_read_across_pages_captions_and_lists() -> None:
    assert quotations.sentences(TEXT) == [
        ("Abstract", "Networks are vulnerable [1]."),
        ("4.3", "We stop, as Li et al. [2] do, when it returns a point."),
        ("4.3", "It ends the search there: "),
        ("4.3", "Strong: forty steps. "),
        ("4.3", "Weak: seven steps."),
    ]


def test_every_claim_is_quoted_read_and_tested_or_says_why_not() -> None:
    for claim in claims.load():
        assert claim["thesis"], claim["id"]
        assert claim["claim"], claim["id"]
        assert claim["test"] or claim["untested"], claim["id"]


def test_an_implied_claim_asks_for_nothing_that_the_others_do_not() -> None:
    known = {claim["id"]: claim for claim in claims.load()}
    pairs = {name: {tuple(pair) for pair in (claim["test"] or {}).get("pairs", ())} for name, claim in known.items()}
    for name, claim in known.items():
        for other in claim.get("implied", []):
            assert known[other]["stop"] == claim["stop"]
            assert known[other]["test"]["kind"] == claim["test"]["kind"]
            assert pairs[name] <= pairs[other]
        if claim["dataset"] == "both" and "implied" in claim:
            assert {known[other]["dataset"] for other in claim["implied"]} == {"mnist", "california"}
