"""What the notebook `measures` compares: its lists, criteria of validity, agreement, orders, and their plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from robexpl import measures
from robexpl.generators import eccco
from robexpl.study import criteria, frames, grid, judging, networks, plan, sizes, stages
from robexpl.study.factuals import Draw
from robexpl.study.stages import Measure, Reference, Seen

HOW = sizes.primary()
TABLE = replace(sizes.load("demo", "breast_cancer"), epochs=2, seeds=2, runs=2, factuals=8, steps=10, k=5)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBEXPL_BUILD", str(tmp_path_factory.mktemp("build")))
        yield


def test_scores_are_those_of_the_library():
    network = grid.of_seed(TABLE, HOW, 1)["weak"]
    known, model = network.data.load(), network.model()
    wanted = grid.point(TABLE, HOW, network, sizes.STOPS[0], {}).search
    found = stages.search(wanted)
    reference = measures.Known(known.x_train, known.y_train, None, 5, 1, known.bounds, model)
    for name in ("gower", "c2st", "energy", "euclidean"):
        expected = measures.prepare(name, reference)(found["x"], found["target"])
        torch.testing.assert_close(stages.score(wanted, Measure(name, 5))["implausibility"], expected)


def test_a_set_measure_looks_at_every_row_of_a_reference_point_and_a_single_one_at_one_of_each_class():
    data, draw = networks.Data("breast_cancer", 0, "corrected"), Draw(2, 8)
    for name in ("mmd", "density"):
        scores = stages.score(Reference("blank", data, draw), Measure(name, 5))["implausibility"]
        assert len(scores) == 16
        drawn, known = draw.take(data), data.load()
        blank = known.x_train.median(0).values.expand(16, -1).contiguous()
        score = measures.prepare(name, measures.Known(known.x_train, known.y_train, k=5, bounds=known.bounds))
        torch.testing.assert_close(scores, score(blank, drawn["target"]))


def test_a_measure_of_the_network_needs_one():
    network, draw = grid.of_seed(TABLE, HOW, 0)["standard"], Draw(1, 8)
    by = Measure("energy", 5)
    assert len(stages.score(Seen("real", network.data, draw, network), by)["implausibility"]) == 8
    with pytest.raises(ValueError, match="expected the network that is explained for energy"):
        stages.score(Reference("real", network.data, draw), by)


def test_keys_hold_the_code_of_the_measure_and_of_the_generator():
    by = Measure("gower", 5), Measure("euclidean", 5), Measure("oracle", 5)
    assert [len(each.code()) for each in by] == [1, 2, 1]
    wanted = {
        name: next(e.search for e in judging.generated(TABLE) if e.search.generator == name)
        for name in judging.GENERATORS
    }
    assert len({stages.search.key(each) for each in wanted.values()}) == 3
    assert isinstance(wanted["eccco"].settings, eccco.Settings)
    assert [len(each.code()) for each in wanted.values()] == [1, 1, 2]


def test_generators_search_from_the_same_factuals():
    found = frames.counterfactuals(judging.generated(TABLE))
    found = found[(found["run"] == 0) & (found["measure"] == TABLE.distance)]
    rows = [
        part[["stop", "regime", "seed", "row", "target"]].to_numpy().tolist() for _, part in found.groupby("generator")
    ]
    assert rows[0] == rows[1] == rows[2]
    assert found.groupby("generator")["l1"].mean().nunique() == 3


def test_every_measure_of_a_study_suits_its_data():
    names = [by.distance for by in judging.plausible(sizes.load("demo", "digits"))]
    assert {"ssim", "features", "oracle", "mmd"} <= {*names}
    assert not {"ssim_cropped", "gower", "energy", "violations"} & {*names}
    assert {"gower", "violations", "robust", "oracle"} <= {by.distance for by in judging.plausible(TABLE)}
    assert judging.out_of_range(sizes.load("demo", "digits")) == []
    assert {dict(p.labels)["condition"] for p in judging.out_of_range(TABLE)} == {c.name for c in sizes.conditions()}


def test_the_plan_trains_judges_once_and_for_images_alone():
    for dataset, count in (("digits", 1), ("breast_cancer", 0)):
        cells = plan.cells("demo", 0, [(plan.notebook("measures"), dataset)])
        assert sum(cell.stage == "judges" for cell in cells) == count
        assert all(cell.cost() > 0 for cell in cells)
    judge = next(
        cell for cell in plan.cells("demo", 0, [(plan.notebook("measures"), "digits")]) if cell.stage == "judges"
    )
    assert judge.owner is None
    assert not judge.waits
    assert str(judge) == "judges digits"


# Criteria


def made(real: float, others: dict[str, float], n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    columns = {name: value + rng.normal(size=n) for name, value in {"real": real, **others}.items()}
    return pd.DataFrame({"measure": "lof", "seed": np.arange(n) % 5, "place": range(n), **columns})


FAR = {"factual": 9.0, "blank": 9.0, "real_noisy": 9.0, "uniform": 20.0}
STOPS = {"decision_threshold": 5.0, "generator_conditions": 5.0}


def test_a_measure_meets_the_criteria_that_it_should():
    table = criteria.criteria(made(0.0, {**FAR, **STOPS}))
    assert table["met"].all()
    assert len(table) == 8
    table = criteria.criteria(made(0.0, {**FAR, **STOPS, "blank": -3.0, "decision_threshold": 0.0}))
    met = table.drop_duplicates("criterion").set_index("criterion")["met"]
    assert met[~met].index.tolist() == [
        "rejects the blank",
        "real before counterfactual",
        "counterfactual before blank",
    ]
    open_, wrong = table[table["b"] == "decision_threshold"].iloc[0], table[table["b"] == "blank"]
    assert open_["side"] == "unclear"
    assert (wrong["side"] == "higher").all()
    row = table[table["criterion"] == "knows the class"].iloc[0]
    frame = made(0.0, FAR)
    assert row["mean"] == pytest.approx(float((frame["real"] - frame["factual"]).mean() / frame["real"].std()))


def test_the_trusted_measure_is_the_first_choice_unless_another_meets_more():
    table = pd.DataFrame(
        [
            (m, c, ok)
            for m, oks in {"lof": (1, 1), "oracle": (1, 1), "ssim": (0, 1)}.items()
            for c, ok in zip("ab", oks, strict=True)
        ],
        columns=["measure", "criterion", "met"],
    )
    assert criteria.trusted(table, "ssim") == "oracle"
    assert criteria.trusted(table[table["measure"] != "oracle"], "ssim") == "lof"
    worse = table.assign(met=table["met"].where(table["measure"] != "oracle", 0))
    assert criteria.trusted(worse, "ssim") == "lof"


def scored(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    base = {"seed": 0, "run": np.arange(n) % 2, "stop": "s", "regime": "r", "counted": True}
    return pd.concat([pd.DataFrame({**base, "measure": name, "implausibility": v}) for name, v in columns.items()])


def test_agreement_is_kendalls_tau():
    x = np.random.default_rng(0).normal(size=30)
    table = criteria.agreement(scored({"lof": x, "forest": np.exp(x), "oracle": -x, "mmd": x, "violations": x}))
    tau = table.set_index(["measure", "other"])["mean"]
    assert tau.to_dict() == pytest.approx({("lof", "forest"): 1.0, ("lof", "oracle"): -1.0, ("forest", "oracle"): -1.0})


def test_beside_takes_the_mean_over_networks_of_what_counts():
    searched = pd.concat(
        [
            pd.DataFrame(
                {"measure": "lof", "seed": 0, "stop": s, "regime": r, "counted": [True, False], "implausibility": v}
            )
            for s, r, v in (("a", "standard", [1.0, 9.0]), ("a", "weak", [3.0, 9.0]), ("b", "weak", [5.0, 7.0]))
        ],
        ignore_index=True,
    )
    points = pd.DataFrame({"measure": "lof", "seed": 0, "place": [0, 1], "point": "real", "implausibility": [0.5, 0.6]})
    wide = criteria.beside(searched, points).set_index("place")
    assert wide.loc[0, ["a", "b", "real"]].tolist() == [2.0, 5.0, 0.5]
    assert wide.loc[1, ["a", "b"]].isna().all()
    assert wide.loc[1, "real"] == 0.6


def test_orders_are_in_standard_deviations_and_disagreements_are_listed():
    rng = np.random.default_rng(0)
    noise = {name: rng.normal(size=60) for name in ("standard", "weak", "medium", "strong")}
    shift = {"lof": {"weak": -2, "medium": 0, "strong": 2}, "gower": {"weak": 2, "medium": 0, "strong": 2}}
    parts = [
        pd.DataFrame(
            {"measure": m, "stop": "s", "regime": r, "seed": np.repeat(range(6), 10), "run": 0, "row": range(60),
             "target": 1, "counted": True, "implausibility": scale * (values + shift[m].get(r, 0))}
        )
        for m, scale in (("lof", 1.0), ("gower", 100.0))
        for r, values in noise.items()
    ]  # fmt: skip
    table = criteria.order(pd.concat(parts), ["measure", "stop"])
    by = table.set_index(["measure", "regime"])["mean"]
    assert by["lof", "strong"] == pytest.approx(by["gower", "strong"])
    found = criteria.disagreements(table, "measure")
    assert found.to_dict("records") == [{"stop": "s", "regime": "weak", "lower": "lof", "higher": "gower"}]
