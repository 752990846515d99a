"""Implementation findings: each choice of the author's code is changed alone."""

from __future__ import annotations

from dataclasses import fields

import pytest

from robexpl.study import choices, sizes

CHANGED = {
    "energy_factor": {"energy"},
    "start_noise": {"start_noise"},
    "proximal": {"proximal"},
    "finer": {"learning_rate", "steps"},
    "early_stop": {"early_stop"},
    "rounded": {"rounded"},
    "sampling": {"sampling"},
    "common_factuals": {"counting"},
}


def facts(point) -> dict[str, object]:
    """Return all that a scored search rests on, by name."""
    known = {field.name: getattr(point.search.settings, field.name) for field in fields(point.search.settings)}
    one = point.search.subject
    return {
        **known, "early_stop": one.early_stop, "rounded": one.rounded, "sampling": one.data.sampling,
        "counting": len(point.counting), "rest": (one.regime, one.data.seed, point.search.factuals, point.measure),
    }  # fmt: skip


@pytest.mark.parametrize(("profile", "kind"), [("full", "image"), ("full", "tabular"), ("demo", "tabular")])
def test_each_choice_changes_what_it_names_and_nothing_else(profile: str, kind: str) -> None:
    study = sizes.load(profile, sizes.datasets(profile)[kind])
    cells: dict[str, list] = {}
    for point in choices.searches(study):
        cells.setdefault(dict(point.labels)["choice"], []).append(point)
    assert list(cells) == ["as_run", *(choice.field for choice in choices.tried(study))]
    for name, points in cells.items():
        found = set()
        for own, point in zip(cells["as_run"], points, strict=True):
            before, after = facts(own), facts(point)
            found |= {key for key in before if before[key] != after[key]}
        assert found == (CHANGED[name] if name != "as_run" else set())


def test_the_demo_trains_no_networks_for_it() -> None:
    study = sizes.load("demo", "digits")
    assert not any(choice.training for choice in choices.tried(study))
    own = {point.search.subject for point in choices.searches(study)}
    assert len(own) == 4


def test_attacks_change_one_thing_each() -> None:
    study = sizes.load("full", "mnist")
    cells: dict[tuple, dict] = {}
    for entry in choices.attacks(study):
        labels = dict(entry.labels)
        cells.setdefault((labels["attack"], labels["regime"], labels["seed"]), {})[labels["choice"]] = entry.what
    assert len(cells) == 2 * 4 * sizes.settings()["choices"]["seeds"]["image"]
    for (attack, *_), of in cells.items():
        assert (of["as_run"].rounded, of["exact direction"].rounded) == (True, False)
        assert of["as_run"].attack == of["exact direction"].attack
        assert ("projection" in of) == (attack == "pgd")
        if attack == "pgd":
            assert (of["as_run"].attack.name, of["projection"].attack.name) == ("pgd_early_stop", "pgd_projected")
