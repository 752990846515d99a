"""What is proven of the study's networks, on a small scale: the stages, their lists and their tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import pytest
import torch

from robexpl import generators
from robexpl.generators import ecco
from robexpl.study import frames, plan, proofs, sizes, stages
from robexpl.study.grid import Measured

DTC, GCC = sizes.STOPS
ROUNDING = 1e-4  # of attacks on standardised features, whose values reach 100, in single precision


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBEXPL_BUILD", str(tmp_path_factory.mktemp("build")))
        patch.setitem(sizes.settings(), "proofs", {"demo": FEW})
        yield


FEW = {
    "conditions": ["as_run", "corrected"], "factuals": 4, "finer": 10, "eps": [0.1, 0.5], "seeds": 1, "images": 3,
    "nodes": 40,
}  # fmt: skip
SMALL = {"epochs": 2, "seeds": 1, "runs": 1, "factuals": 4, "steps": 60, "k": 5}
TABLE, IMAGES = (replace(sizes.load("demo", name), **SMALL) for name in ("breast_cancer", "digits"))


def accuracy_table(exact_ones: list[Measured], attacks_on: list[Measured]) -> pd.DataFrame:
    """Compare attacks with the truth, one row per network and radius eps.

    exact: share of rows with the right class whose distance is above eps; attack: share still right under the attack;
    surpassed: rows that the attack changed although they are proven to be farther (none, but for an error); undecided:
    rows whose distance is only bounded, and not on one side of eps; n: rows.
    """
    known, found = {one.labels: proofs.distance(one.what) for one in exact_ones}, []
    for entry in attacks_on:
        truth, eps = known[entry.labels[:-1]], entry.labels[-1][1]
        right, beyond = truth["correct"], truth["distance"] > eps
        fell = ~stages.attack(entry.what)["correct"]
        surpassed = right & fell & (truth["bound"] > eps + ROUNDING)
        undecided = right & beyond & ~truth["optimal"] & (truth["bound"] <= eps)
        shares = {"exact": (right & beyond).double().mean(), "attack": (~fell).double().mean()}
        counts = {"surpassed": surpassed.sum(), "undecided": undecided.sum()}
        columns = {name: value.item() for name, value in (shares | counts).items()}
        found.append({**dict(entry.labels), **columns, "n": len(right)})
    return pd.DataFrame(found)


def test_distances_bound_what_attacks_can_do() -> None:
    known, attacks = proofs.distances(TABLE), proofs.attacked(TABLE)
    rows = proofs.distance_table(known)
    assert len(rows) == 2 * 4 * 4
    assert rows["optimal"].all()
    assert (rows.loc[~rows["correct"], "distance"] == 0).all()
    table = accuracy_table(known, attacks)
    assert len(table) == 2 * 4 * 2
    assert (table["exact"] <= table["attack"]).all()
    assert (table[["surpassed", "undecided"]] == 0).all(axis=None)
    for eps in FEW["eps"]:
        counts = proofs.exact_counts(known, eps)
        share = (counts["correct"] / counts["n"]).to_numpy()
        assert share == pytest.approx(table[table["eps"] == eps]["exact"].to_numpy())
    near, far = (table[table["eps"] == eps]["exact"].to_numpy() for eps in FEW["eps"])
    assert (near >= far).all()


def test_an_attack_beyond_the_truth_is_counted() -> None:
    """With distances that are too large by a mistake, the table says so."""
    known, attacks, true = proofs.distances(TABLE), proofs.attacked(TABLE), proofs.distance
    with pytest.MonkeyPatch.context() as patch:
        far = torch.full((4,), 9.0).double()
        patch.setattr(proofs, "distance", lambda of: {**true(of), "distance": far, "bound": far})
        assert accuracy_table(known, attacks)["surpassed"].sum() > 0


def test_no_search_is_nearer_than_the_optimum() -> None:
    points = proofs.boundary(TABLE)
    assert {dict(p.labels)["way"] for p in points} == {"searched", "noiseless", "finer", "exact"}
    table = proofs.boundary_table(points)
    assert len(table) == (4 + 3) * 4 * 4
    met = table[table["valid"] & table["correct"]]
    assert (met["l1"] >= met["optimum"] - 1e-3).all()
    exact = table[table["way"] == "exact"]
    assert exact["converged"].all()
    assert exact["valid"].all()
    assert (exact["l1"] == exact["optimum"]).all()
    assert exact["implausibility"].gt(0).all()
    named = {dict(p.labels)["way"]: p.search for p in points if dict(p.labels)["condition"] == "corrected"}
    assert named["finer"].settings.learning_rate == pytest.approx(0.01)
    assert named["finer"].settings.steps == 600
    assert named["exact"].generator == "exact"


def test_certificates_have_a_status_each() -> None:
    entries = proofs.certificates(IMAGES)
    assert len(entries) == 4 * 2
    table = proofs.certificate_table(entries)
    assert len(table) == 4 * 2 * 3
    assert set(table["status"]) <= {"proven", "broken", "open"}
    assert (table["status"] == "broken").any()
    assert not ((table["status"] == "proven") & ~table["withstood"]).any()
    assert (table.loc[~table["correct"], "status"] == "broken").all()
    opened = table[table["status"] != "broken"]
    assert (opened["bound"] <= opened["margin"]).all()
    assert (table["nodes"] <= 40).all()
    counts = proofs.status_counts(entries)
    assert (counts["n"] == 3).all()
    assert (counts.groupby(["eps", "regime", "seed"])["correct"].sum() == 3).all()
    assert counts.groupby("status")["correct"].sum().to_dict() == {
        name: int((table["status"] == name).sum()) for name in ("proven", "open", "broken")
    }


def test_each_kind_of_data_has_its_own_proofs() -> None:
    assert proofs.certificates(TABLE) == []
    assert proofs.distances(replace(TABLE, architecture="decision_tree")) == []  # no perceptron of ReLUs
    assert proofs.distances(IMAGES) == proofs.attacked(IMAGES) == proofs.boundary(IMAGES) == []


def test_the_plan_computes_all_of_it() -> None:
    lists = (proofs.distances, proofs.attacked, proofs.boundary)
    entries = [entry for make in lists for entry in make(TABLE)] + proofs.certificates(IMAGES)
    cells = list(dict.fromkeys(plan.cells_of(entries)))
    assert {cell.stage for cell in cells} == set(plan.ORDER) - {"judges", "worst_case", "transfer"}
    assert all(cell.cost() > 0 for cell in cells)
    for cell in cells:
        cell.run()
        assert cell.path().is_file()
    before = {cell: cell.path().read_bytes() for cell in cells}
    assert len(frames.counterfactuals(proofs.boundary(TABLE))) > 0  # from the cache
    assert all(cell.path().read_bytes() == content for cell, content in before.items())


def test_the_generator_of_exact_counterfactuals_refuses_what_it_cannot_do() -> None:
    search = proofs.boundary(TABLE)[-1].search
    model, dataset = search.subject.model(), search.subject.data.load()
    x, y = dataset.x_test[:2], dataset.y_test[:2]
    exact, how = generators.module("exact"), {"settings": ecco.Settings(), "bounds": dataset.bounds}
    with pytest.raises(ValueError, match=r"^unknown stop of exact counterfactuals 'generator_conditions'; known: deci"):
        exact.search(model, x, 1 - y, stop=GCC, **how)
    with pytest.raises(ValueError, match=r"^expected targets that differ from the factuals' classes, got 2 that do no"):
        exact.search(model, x, y, stop=DTC, labels=y, **how)
    found = exact.search(model, x, 1 - y, stop=DTC, labels=y, **how)
    assert found.x.dtype == x.dtype
    assert (stages.search(search)["target_prob"] >= 0.5).all()
    assert torch.equal(found.converged, found.target_prob >= 0.5)
