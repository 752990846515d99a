"""The comparison of trainings: equal footing, properties, correlations, matched pairs, and what the plan has of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import Opaque, linear

from robexpl import smoothness, stats, trainings
from robexpl.generators import ecco, ecco_level
from robexpl.regimes import Control
from robexpl.study import associations, controlled, frames, networks, plan, sizes, stages

STUDY = replace(sizes.load("demo", "breast_cancer"), seeds=1, epochs=1, steps=4)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBEXPL_BUILD", str(tmp_path_factory.mktemp("build")))
        yield


# Equal footing


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_counterfactuals_lie_on_their_level(network, points, level):
    target = (network(points).argmax(1) + 1) % 4
    settings = ecco.Settings(threshold=level, start_noise=0.0, steps=100, energy=0.0, learning_rate=1.0)
    how = {"settings": settings, "stop": "decision_threshold"}
    for model in (network, Opaque(network)):
        found, whole = (make.search(model, points, target, bounds=(-5, 5), **how) for make in (ecco_level, ecco))
        reached = whole.target_prob >= level
        assert reached.any()
        assert (found.target_prob >= level).equal(reached)
        torch.testing.assert_close(
            found.target_prob[reached], torch.full((int(reached.sum()),), level), atol=1e-4, rtol=0
        )
        assert torch.equal(found.x[~reached], whole.x[~reached])
        exact = torch.softmax(model(found.x), 1).gather(1, target[:, None])[:, 0]
        torch.testing.assert_close(found.target_prob, exact, atol=1e-5, rtol=1e-4)
        share = (found.x - points).norm(dim=1) / (whole.x - points).norm(dim=1)
        assert (share <= 1 + 1e-5).all()


def test_the_level_of_a_linear_network_is_where_its_logit_says():
    """f = (0, x): p = 0.9 at x = log 9, from wherever the search overshot."""
    model = linear(torch.tensor([[0.0], [1.0]]))
    settings = ecco.Settings(threshold=0.9, start_noise=0.0, learning_rate=5.0, l1=0.0)
    found = ecco_level.search(
        model, torch.tensor([[-1.0]]), torch.tensor([1]), settings=settings, stop="decision_threshold", bounds=(-9, 9)
    )
    assert found.x.item() == pytest.approx(np.log(9), abs=1e-5)
    assert found.steps.item() < 9


def frame(**columns: list) -> pd.DataFrame:
    """Four factuals of each of three trainings on one level."""
    n = 12
    base = {"seed": [0] * n, "level": ["0.9"] * n, "measure": ["primary"] * n, "training": list("aaaabbbbcccc")}
    return pd.DataFrame({**base, "correct": [True] * n, "valid": [True] * n, **columns})


def test_a_factual_counts_where_every_training_reaches_the_level():
    valid, correct = [True] * 12, [True] * 12
    valid[1], correct[6] = False, False  # a does not reach the level from factual 1, b is wrong about factual 2
    valid[8:11] = [False] * 3  # c reaches it from one factual in four: left out, and it hinders none
    found = associations.footing(frame(valid=valid, correct=correct))
    assert found["counted"].tolist() == [True, False, False, True] * 2 + [False] * 4
    assert found.groupby("training")["compared"].first().tolist() == [True, True, False]
    assert found.groupby("training")["validity"].first().tolist() == [0.75, 1.0, 0.25]


# Smoothness


def test_a_linear_network_has_the_gradient_of_its_weights():
    weight = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    x, y = torch.rand(4, 2), torch.tensor([0, 1, 0, 1])
    found = smoothness.gradient_norm(linear(weight), x, y, bounds=(0, 1))
    torch.testing.assert_close(found, torch.tensor([5.0, 1.0, 5.0, 1.0]))


def test_curvature_is_that_of_the_logistic_loss():
    """f = (0, w x): the loss of class 1 is log(1 + exp(-w x)), with second derivative w^2 p (1 - p)."""
    model, x, y = linear(torch.tensor([[0.0], [2.0]])).double(), torch.tensor([[0.3]]).double(), torch.tensor([1])
    p = 1 / (1 + np.exp(-0.6))
    found = smoothness.curvature(model, x, y, eps=1e-5, bounds=(0, 1))
    assert found.item() == pytest.approx(4 * p * (1 - p), rel=1e-4)
    flat = smoothness.curvature(linear(torch.zeros(2, 1)), x.float(), y, eps=0.1, bounds=(0, 1))
    assert flat.item() == 0
    with pytest.raises(ValueError, match="expected eps > 0"):
        smoothness.curvature(model, x, y, eps=0.0, bounds=(0, 1))


def test_closed_forms_of_smoothness_are_those_of_any_module(network, points):
    y = network(points).argmax(1)
    for measure in (
        smoothness.gradient_norm,
        lambda *given, **how: smoothness.curvature(*given, eps=0.1, **how),
    ):
        torch.testing.assert_close(
            *(measure(model, points, y, bounds=(0, 1)) for model in (network, Opaque(network))), atol=1e-5, rtol=1e-4
        )


# Rank correlations


def test_partial_rank_correlations_of_three_variables_are_the_textbook_ones():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))
    y = x[:, 0] + 0.5 * x[:, 1] + rng.normal(size=30)
    ranks = np.stack([y, *x.T]).argsort(1).argsort(1)
    r = np.corrcoef(ranks)
    plain, partial = stats.rank_correlations(y, x)
    np.testing.assert_allclose(plain, r[0, 1:])
    for j, other in ((1, 2), (2, 1)):
        expected = (r[0, j] - r[0, other] * r[j, other]) / np.sqrt((1 - r[0, other] ** 2) * (1 - r[j, other] ** 2))
        assert partial[j - 1] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(stats.rank_correlations(np.exp(y), x**3)[1], partial)  # only order counts


def test_a_common_cause_leaves_no_partial_correlation():
    """y and x_1 both follow x_2 with errors of their own: correlated, but not given x_2."""
    rng = np.random.default_rng(1)
    cause = rng.normal(size=2000)
    plain, partial = stats.rank_correlations(
        cause + 0.5 * rng.normal(size=2000), np.stack([cause + 0.5 * rng.normal(size=2000), cause], 1)
    )
    assert plain[0] > 0.7
    assert abs(partial[0]) < 0.08  # three standard errors


def test_what_is_not_determined_is_nan():
    x = np.arange(6.0)
    plain, partial = stats.rank_correlations(x, np.stack([x, 2 * x, np.ones(6)], 1))
    assert plain[:2].tolist() == [1, 1]
    assert np.isnan(plain[2])
    assert np.isnan(partial).all()
    other = np.array([2.0, 0, 1, 5, 3, 4])
    np.testing.assert_allclose(stats.rank_correlations(-x, np.stack([x, other], 1))[1], [-1, 0], atol=1e-4)
    with pytest.raises(ValueError, match=r"expected outcome \(n,\) and predictors \(n, p\), got \(6,\) and \(6,\)"):
        stats.rank_correlations(x, x)


def test_a_resampled_mean_has_the_interval_of_a_mean():
    values = np.random.default_rng(0).normal(size=8)
    found = stats.resampled(lambda chosen: values[chosen].mean(keepdims=True), 8, rng=np.random.default_rng(3))
    own = stats.mean_interval(values, np.arange(8))
    assert found[0][0] == pytest.approx(own.mean)
    assert [found[1][0], found[2][0]] == pytest.approx([own.low, own.high], abs=0.1)
    assert np.isnan(stats.resampled(lambda chosen: np.ones(2), 1, rng=np.random.default_rng(0))[1]).all()


def described(seeds: int = 6) -> pd.DataFrame:
    """Twelve trainings whose plausibility falls with the gradient alone; robustness follows the gradient as well."""
    rng, rows = np.random.default_rng(0), []
    for number in range(12):
        slope, clean, bend = rng.uniform(size=3)
        robust = -slope + 0.5 * rng.normal()
        for seed in range(seeds):
            own = {"gradient": slope, "clean": clean, "curvature": bend, "robust": robust}
            own = {name: value + 0.01 * rng.normal() for name, value in own.items()}
            rows.append({"seed": seed, "training": f"t{number}", **own, "implausibility": slope + 0.02 * rng.normal()})
    return pd.DataFrame(rows)


def test_the_property_that_decides_is_found():
    found = associations.correlations(described()).set_index(["kind", "property"])
    assert found.loc[("rank", "robust"), "mean"] > 0.3
    assert found["predicts"].loc["partial"].to_dict() == {
        "robust": False, "gradient": True, "curvature": False, "clean": False,
    }  # fmt: skip
    assert found.loc[("partial", "gradient"), "high"] < -0.8
    assert ((found["least"] <= found["mean"] + 1e-9) & (found["mean"] <= found["most"] + 1e-9)).loc["rank"].all()
    lost = described()
    lost.loc[5, "implausibility"] = np.nan
    assert (associations.correlations(lost)["n"] == 11).all()
    assert associations.correlations(described().iloc[:12])["mean"].isna().all()  # two trainings: nothing to correlate


def test_matched_pairs_are_equal_in_what_they_say():
    rows, table = [], []
    known = {  # clean, gradient, robust, implausibility
        "medium": (0.90, 1.0, 0.8, 3.0), "strong": (0.80, 0.5, 0.9, 2.0),
        "jacobian 0.1": (0.895, 0.52, 0.3, 1.0), "trades 1": (0.9, 1.0, 0.5, 1.0),
    }  # fmt: skip
    for name, (clean, slope, robust, score) in known.items():
        for seed in range(3):
            own = {"seed": seed, "training": name, "family": name.split()[0]}
            table.append({**own, "clean": clean, "gradient": slope, "robust": robust, "curvature": 1.0})
            rows += [
                {**own, "level": "0.9", "measure": "primary", "compared": True, "counted": True, "run": 0, "row": row,
                 "target": 1, "implausibility": score + 0.01 * row}
                for row in range(4)
            ]  # fmt: skip
    found = associations.matched(pd.DataFrame(rows), pd.DataFrame(table), 0.9)
    assert found[["equal", "control", "regime", "more_plausible"]].to_numpy().tolist() == [
        ["clean", "jacobian 0.1", "medium", "less robust"],
        ["gradient", "jacobian 0.1", "strong", "less robust"],
    ]
    assert found["mean"].tolist() == pytest.approx([-2, -1])
    assert found["robustness"].tolist() == pytest.approx([-0.5, -0.6])


# Networks and plan


def test_controls_have_keys_of_their_own_and_regimes_keep_theirs(monkeypatch):
    standard = controlled.of_trainings(STUDY, 0)[0][1]
    own, other = (controlled.controlled(standard, "jacobian", strength) for strength in (0.1, 0.3))
    noise = controlled.controlled(standard, "gaussian_noise", 0.1)
    keys = {stages.train.key(one) for one in (standard, own, other, noise)}
    assert len(keys) == 4
    assert own.training() == Control("jacobian", 0.1)
    assert str(own) == "breast_cancer jacobian 0.1 seed 0 (corrected)"
    before = stages.train.key(standard), stages.train.key(noise), stages.train.key(own)
    monkeypatch.setattr(trainings.module("jacobian"), "loss", trainings.module("weight_decay").loss)
    after = stages.train.key(standard), stages.train.key(noise), stages.train.key(own)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False]


def test_weights_of_nothing_are_zero_and_change_no_answer():
    """Weight decay drives the weights of idle inputs to subnormal numbers."""
    one = controlled.controlled(controlled.of_trainings(STUDY, 0)[0][1], "weight_decay", 0.03)
    kept = stages.train(one)
    name = next(name for name, value in kept.items() if value.ndim == 2 and name != "history")
    kept[name][0] = 1e-40
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "train", lambda _: kept)
        model = one.model()
    assert (dict(model.named_parameters())[name][0] == 0).all()
    x, exact = one.data.load().x_test, super(controlled.Controlled, one).model()
    exact.load_state_dict({key: value for key, value in kept.items() if key != "history"})
    torch.testing.assert_close(model(x), exact(x), atol=0, rtol=0)


def test_validation_rows_are_the_last_fifth_of_the_training_rows():
    data = networks.Data("digits", 3, "as_run")
    held, whole = controlled.Held("digits", 3, "as_run").load(), data.load()
    assert torch.equal(torch.cat([held.x_train, held.x_test]), whole.x_train)
    assert torch.equal(torch.cat([held.y_train, held.y_test]), whole.y_train)
    assert len(held.x_test) == -(-len(whole.x_train) // 5)
    assert stages.train.key(networks.Network(data, "weak")) != stages.train.key(
        networks.Network(controlled.Held("digits", 3, "as_run"), "weak")
    )


@pytest.mark.parametrize("kind", sizes.KINDS)
@pytest.mark.parametrize("profile", ["full", "demo"])
def test_the_strengths_of_the_study_are_among_those_that_are_tried(profile, kind):
    study = sizes.load(profile, sizes.datasets(profile)[kind])
    how = controlled.settings(study)
    assert all(strength in trainings.module(name).STRENGTHS for name, strength in how["chosen"].items())
    assert set(how["curves"]) <= set(how["chosen"])
    assert how["level"] in how["levels"]
    if profile == "full":
        assert set(how["chosen"]) == set(trainings.names())
    extra = {one.data.seed for one in controlled.extra(study).values()}
    assert len(extra) == 1
    assert not extra & set(study.every)  # of no other network of the study


def test_what_the_notebook_needs_is_in_the_plan_with_its_cost():
    entry = plan.notebook("controls")
    for dataset in sizes.datasets("demo").values():
        cells = plan.cells("demo", 1, [(entry, dataset)])
        assert all(cell.cost() > 0 for cell in cells)
        trained = {cell.arguments[0].regime for cell in cells if cell.stage == "train"}
        assert trained >= {"strong", *controlled.settings(sizes.load("demo", dataset))["chosen"]}
        judges = {cell for cell in cells if cell.stage == "judges"}  # those that the notebook on measures has, too
        assert judges <= set(plan.cells("demo", 1, [(plan.notebook("measures"), dataset)]))
        assert bool(judges) == (dataset == sizes.datasets("demo")["image"])
    one = controlled.of_trainings(sizes.load("demo", "digits"), 0)[-1][1]
    assert plan.Cell("train", (one,)).cost() > plan.Cell("train", (replace(one, epochs=1),)).cost()


def test_pairs_with_a_single_common_factual_are_left_out():
    """A single factual has no interval, and stops no notebook."""
    frame = pd.DataFrame(
        {"training": ["a", "b"] * 3, "level": ["1", "1", "2", "2", "2", "2"], "seed": 0, "run": 0, "target": 1}
        | {"row": [0, 0, 0, 0, 1, 1], "counted": True, "implausibility": [1.0, 2.0, 1.0, 3.0, 2.0, 5.0]}
    )
    found = associations.compared(frame, [("b", "a")], ["level"])
    assert list(found["level"]) == ["2"]
    assert found["mean"].item() == 2.5


def test_the_tables_of_a_small_study():
    searched = associations.footing(frames.counterfactuals(controlled.searches(STUDY)))
    labels = [dict(entry.labels) for entry in controlled.robustness(STUDY)]
    assert len({label["training"] for label in labels}) == 4 + len(list(controlled.doses(STUDY)))
    assert sum(label["chosen"] for label in labels) == 4 + len(controlled.settings(STUDY)["chosen"])
    table = associations.properties(STUDY)
    assert (table[["gradient", "curvature"]] > 0).all(axis=None)
    pgd = sizes.Attack("pgd", "pgd", (("eps", 0.1), ("step_size", 0.01), ("steps", 40)))
    for entry in controlled.robustness(STUDY):  # no more rows than PGD leaves, or one by rounding
        name, rows = dict(entry.labels)["training"], entry.what.rows
        left = stages.attack(stages.Attacked(entry.what.subject, pgd, rows))["correct"].double().mean()
        assert table.set_index("training").loc[name, "robust"] <= float(left) + 1 / rows
    assert set(searched["level"]) == {"0.5", "0.9", "generator conditions"}
    asked, own = associations.judged(STUDY), searched[searched["measure"] == "primary"]
    keys = ["seed", "level", "training", "place"]
    assert len(own.merge(asked, on=keys, validate="one_to_one")) == len(own) == len(asked)
    point = controlled.searches(STUDY)[0]
    scored = stages.score(point.search, stages.Measure("oracle", STUDY.k))["implausibility"]
    first = asked[asked["training"] == "standard"].iloc[: len(scored)]
    assert first["oracle"].tolist() == scored.tolist()
    assert first["agreed"].tolist() == (scored < 0.5).double().tolist()
    ruled = associations.chosen(STUDY)
    assert (ruled.groupby("control")["ruled"].sum() == 1).all()
    rows = ruled[ruled["ruled"] & (ruled["accuracy"] < ruled["strong"])]
    assert all(row.strength == min(trainings.module(row.control).STRENGTHS) for row in rows.itertuples())
