"""Worst cases over growing radii and black-box attacks as the study computes them, on a small scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from robexpl import attacks
from robexpl.attacks.worst_case import NAMES, details
from robexpl.seeds import torch_generator
from robexpl.study import associations, frames, grid, plan, security, sizes, worst
from robexpl.study.worst import Transferred, Worst

STUDY = replace(sizes.load("demo", "breast_cancer"), epochs=2)
RADII = (0.0, 0.2, 0.6)
ROWS = 40


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBEXPL_BUILD", str(tmp_path_factory.mktemp("build")))
        yield


@pytest.fixture(scope="module")
def known() -> dict:
    return grid.of_seed(STUDY, sizes.primary(), 0)


def test_each_radius_attacks_what_the_smaller_ones_left_and_goes_on_where_it_stopped(known):
    one = known["standard"]
    data, model = one.data.load(), one.model()
    x, y = data.x_test[:ROWS], data.y_test[:ROWS]
    found = worst.worst_case(Worst(one, RADII, ROWS))
    smaller = [worst.worst_case.path(Worst(one, RADII[: i + 1], ROWS)) for i in range(3)]
    assert all(path.is_file() for path in smaller)  # an interrupted run starts after the last of them
    before = worst.worst_case(Worst(one, RADII[:2], ROWS))
    clean = worst.worst_case(Worst(one, RADII[:1], ROWS))
    assert torch.equal(clean["correct"], model(x).argmax(1) == y)
    assert (clean["part"] == NAMES.index("clean")).equal(~clean["correct"])
    assert 0 < int(before["correct"].sum()) < int(clean["correct"].sum())
    lost = ~before["correct"]
    assert not found["correct"][lost].any()
    assert torch.equal(found["part"][lost], before["part"][lost])
    left = before["correct"]
    generator = torch_generator(0, "worst case", "0.6")
    alone = details(model, x[left], y[left], eps=0.6, bounds=data.bounds, generator=generator)
    assert torch.equal(found["lead"][left], alone.lead)
    assert torch.equal(found["correct"][left], alone.lead <= 0)


def test_the_mean_radius_held_is_the_area_under_the_curve(known):
    entries = [
        grid.Measured(
            (("seed", 0), ("regime", "standard"), ("eps", eps)), Worst(known["standard"], RADII[: i + 1], ROWS)
        )
        for i, eps in enumerate(RADII)
    ]
    curve, held = frames.worst_cases(entries), frames.held(entries)
    a, b, c = curve["value"]
    assert held["radius"].mean() == pytest.approx(0.2 * (a + b) / 2 + 0.4 * (b + c) / 2, rel=1e-9)
    assert set(held["radius"].round(6)) <= {0.0, 0.1, 0.4, 0.6}  # lost at the first radius, the second, the last, never
    assert (curve[list(NAMES)].sum(axis=1) == ROWS).all()


def test_transferred_examples_are_those_of_the_other_network(known):
    how = sizes.evaluation()["pgd_projected"]
    found = worst.transfer(Transferred(known["strong"], known["standard"], how, ROWS))["correct"]
    data, source, subject = known["strong"].data.load(), known["standard"].model(), known["strong"].model()
    x, y = data.x_test[:ROWS], data.y_test[:ROWS]
    generator = torch_generator(0, "transfer")
    adv = attacks.pgd(source, x, y, **dict(how.settings), bounds=data.bounds, generator=generator)
    assert torch.equal(found, subject(adv).argmax(1) == y)
    own = attacks.pgd(subject, x, y, **dict(how.settings), bounds=data.bounds, generator=generator)
    assert int((subject(own).argmax(1) == y).sum()) <= int(found.sum())


def test_the_lists_hold_every_network_and_no_network_attacks_itself_from_another():
    study = sizes.load("full", "mnist", 3)
    curves, alone = security.curves(study), security.alone(study)
    assert len(curves) == 3 * 4 * len(security.settings(study)["radii"]) >= 3 * 4 * 8
    assert security.radius() in security.settings(study)["radii"]
    names = {dict(entry.labels)["attack"] for entry in alone}
    assert {"FGSM", "Square", "random signs", security.STANDARD, security.ANOTHER} < names
    for entry in alone:
        if isinstance(entry.what, Transferred):
            assert entry.what.source != entry.what.subject
    single = security.alone(STUDY)
    assert security.ANOTHER not in {dict(entry.labels)["attack"] for entry in single}
    assert all(cell.cost() > 0 for cell in plan.cells_of([*security.curves(STUDY), *single]))


def test_the_dose_of_each_network_is_its_area_and_falling_values_correlate_perfectly():
    seeds, names = (0, 1, 2), ("standard", "weak", "medium", "strong")
    networks = [(seed, i, regime) for seed in seeds for i, regime in enumerate(names)]
    radii = [0.3, 0.1]  # of two test rows, which area averages
    held = pd.DataFrame([{"seed": s, "regime": r, "radius": i + radius} for s, i, r in networks for radius in radii])
    rows = [
        {
            "stop": stop,
            "seed": s,
            "regime": r,
            "counted": counted,
            "implausibility": (sign * i if counted else 99) + s / 9,
        }
        for stop, sign in (("falls", -1), ("rises", 1))
        for s, i, r in networks
        for counted in (True, False)
    ]
    extra = [{"stop": "falls", "seed": 9, "regime": "weak", "counted": True, "implausibility": 1.0}]  # without a curve
    table = associations.doses(pd.DataFrame(rows + extra), held)
    assert len(table) == 2 * len(networks)
    strong = table[(table["regime"] == "strong") & (table["stop"] == "falls") & (table["seed"] == 0)].iloc[0]
    assert strong["area"] == pytest.approx(3.2)
    assert strong["implausibility"] == pytest.approx(-3)
    found = associations.responses(table).set_index(["stop", "group"])
    assert found["n"].to_dict() == {(s, g): n for s in ("falls", "rises") for g, n in (("all", 12), ("robust", 9))}
    spearman = pytest.approx(spearmanr(*table[table["stop"] == "falls"][["area", "implausibility"]].to_numpy().T)[0])
    assert found.loc[("falls", "all"), "mean"] == spearman
    assert found["side"].tolist() == ["lower", "lower", "higher", "higher"]
    assert found["low"].between(-1, found["mean"]).all()
    assert found["high"].between(found["mean"], 1).all()
    alone = associations.responses(table[table["seed"] == 0])
    assert alone["mean"].tolist() == pytest.approx([-1, -1, 1, 1])
    assert alone[["low", "high"]].isna().all(axis=None)
    assert set(alone["side"]) == {"unclear"}
