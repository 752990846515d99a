"""The study's networks, factuals, stages and tables on a small scale: what they compute, and from what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import Opaque, linear

from robexpl import data, metrics
from robexpl.generators import ecco
from robexpl.regimes import REGIMES
from robexpl.study import estimates, frames, grid, networks, plan, sizes, stages, variations
from robexpl.study.factuals import Agreed, Draw, Pairs

DTC, GCC = sizes.STOPS


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBEXPL_BUILD", str(tmp_path_factory.mktemp("build")))
        yield


def small(dataset: str, **changes: int) -> sizes.Study:
    few = {"epochs": 2, "seeds": 2, "runs": 2, "factuals": 10, "steps": 10, "k": 5, **changes}
    return replace(sizes.load("demo", dataset), **few)


TABLE, IMAGES = small("breast_cancer"), small("digits")
HOW = sizes.primary()


def one(study: sizes.Study, regime: str = "standard", seed: int = 0) -> networks.Network:
    return networks.network(study, regime, seed, HOW)


# Networks and what a search may do to one first


@pytest.mark.parametrize("scale", [0.125, 2.0, 8.0])
def test_a_scaled_network_is_the_same_classifier_with_other_logits(network, points, scale):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    other = networks.scaled(network, scale)
    assert torch.equal(other(points), scale * network(points))  # powers of two: not a bit is lost
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_any_network_is_scaled(network, points):
    other = networks.scaled(Opaque(network), 2.0)
    assert torch.equal(other(points), 2 * network(points))
    for factor in (0.0, -1.0, float("inf")):
        with pytest.raises(ValueError, match="expected factor > 0"):
            networks.scaled(network, factor)


def test_conditions_share_the_networks_that_they_can_share():
    as_run, as_written, corrected = sizes.conditions()
    assert networks.network(IMAGES, "standard", 0, as_run) == networks.network(IMAGES, "standard", 0, corrected)
    assert networks.network(IMAGES, "strong", 0, as_written) == networks.network(IMAGES, "strong", 0, corrected)
    assert networks.network(IMAGES, "strong", 0, as_run) != networks.network(IMAGES, "strong", 0, as_written)
    assert networks.network(TABLE, "strong", 0, as_written) != networks.network(TABLE, "strong", 0, corrected)


def test_equal_gradients_are_equal():
    draw, standard, strong = Draw(1, 10), one(TABLE), one(TABLE, "strong")
    matched, grown = networks.Matched(standard, strong, draw), networks.Matched(strong, standard, draw, inverse=True)
    target = networks.gradient_size(strong, draw)
    assert networks.gradient_size(standard, draw) * matched.factor() == pytest.approx(target, rel=1e-3)
    assert matched.factor() * grown.factor() == pytest.approx(1, rel=1e-3)
    x = standard.data.load().x_test[:5]
    torch.testing.assert_close(matched.model()(x), matched.factor() * standard.model()(x))


def test_the_soft_threshold_keeps_its_ends_and_shrinks_what_is_near_them():
    soft = networks.Threshold(0.1)
    assert soft(torch.tensor([0.0, 0.5, 1.0])).tolist() == pytest.approx([0, 0.5, 1], abs=1e-6)
    moved = soft(torch.tensor([0.2, 0.8]))
    assert float(moved[0]) < 0.05
    assert float(moved[1]) > 0.95
    x = torch.zeros(1, requires_grad=True)
    soft(x).sum().backward()
    assert float(x.grad) > 0.05  # an attack or a search can still follow it
    assert networks.binary(torch.tensor([0.0, 0.5, 0.51, 1.0])).tolist() == [0, 0, 1, 1]


# Factuals


def test_factuals_are_those_of_a_seed_whatever_the_network():
    draw = Draw(2, 10)
    first, again, other = (draw.take(one(IMAGES, r, s).data) for r, s in (("weak", 0), ("strong", 0), ("weak", 1)))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["row"], other["row"])
    assert bool((first["label"] != first["target"]).all())
    assert first["run"].tolist() == [0] * 10 + [1] * 10


def test_agreed_factuals_are_right_in_every_network():
    known = tuple(grid.of_seed(TABLE, HOW, 0).values())
    found = Agreed(Draw(2, 10), known[0].data, known, 6).take(known[0].data)
    x = known[0].data.load().x_test[found["row"]]
    assert len(found["row"]) == 6
    assert all(bool((network.model()(x).argmax(1) == found["label"]).all()) for network in known)


def test_pairs_are_of_their_classes():
    known = tuple(grid.of_seed(IMAGES, HOW, 0).values())
    found = Pairs((("3", "8"), ("0", "6")), known).take(known[0].data)
    assert found["label"].tolist() == [3, 0]
    assert found["target"].tolist() == [8, 6]
    assert known[0].data.load().y_test[found["row"]].tolist() == [3, 0]


# Stages


def test_a_score_is_the_implausibility_of_what_was_found():
    point = grid.main(TABLE, ("corrected",))[0]
    found, data_ = stages.search(point.search), point.search.subject.data.load()
    direct = metrics.implausibility(
        found["x"], found["target"], data_.x_train, data_.y_train, distance="euclidean", k=5
    )
    assert torch.equal(stages.score(point.search, point.measure)["implausibility"], direct)


def test_a_search_on_a_network_scaled_by_one_is_that_of_the_study():
    plain = grid.main(IMAGES, ("corrected",), (GCC,))[0].search
    scaled = replace(plain, subject=networks.Scaled(plain.subject, 1.0))
    a, b = stages.search(plain), stages.search(scaled)
    assert stages.search.key(plain) != stages.search.key(scaled)
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_repeated_searches_start_from_the_same_factuals_with_other_noise():
    noisy = [p for p in grid.components(TABLE) if dict(p.labels)["condition"] == "as_written"][:3]
    assert [dict(p.labels)["draw"] for p in noisy] == [0, 1, 2]
    found = [stages.search(p.search) for p in noisy]
    assert all(torch.equal(found[0]["row"], other["row"]) for other in found)
    assert not torch.equal(found[0]["x"], found[1]["x"])


@pytest.mark.parametrize("dataset", ["digits", "breast_cancer"])
def test_reference_points_are_what_their_names_say(dataset):
    known = data.load(dataset)
    factual, label = known.x_test[:100], known.y_test[:100]
    target = (label + 1) % known.n_classes
    found = {name: stages.points(name, known, factual, target, seed=0) for name in stages.POINTS}
    test = {tuple(row) for row in torch.cat([known.x_test, known.y_test[:, None].float()], 1).tolist()}
    assert all((*row, float(t)) in test for row, t in zip(found["real"].tolist(), target.tolist(), strict=True))
    assert torch.equal(found["mean"][0], known.x_train[known.y_train == target[0]].mean(0))
    blank = torch.zeros_like(factual[0]) if known.image_shape else known.x_train.median(0).values
    assert torch.equal(found["blank"], blank.expand_as(factual))
    for noisy, clean in (("noisy", "factual"), ("real_noisy", "real")):
        assert float((found[noisy] - found[clean]).std()) == pytest.approx(0.1, rel=0.05)
    low, high = (torch.as_tensor(bound) for bound in known.bounds)
    assert bool(((found["uniform"] >= low) & (found["uniform"] <= high)).all())
    again = {name: stages.points(name, known, factual, target, seed=0) for name in stages.POINTS}
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_one_score_for_each_class_of_a_point_without_content():
    entries = [e for e in grid.reference(TABLE, ("blank", "factual")) if dict(e.labels)["condition"] == "corrected"]
    blank, factual = (stages.score(e.what, e.measure)["implausibility"] for e in entries[:2])
    assert len({round(float(value), 5) for value in blank}) <= 2
    drawn, known = entries[1].what.factuals.take(entries[1].what.data), entries[1].what.data.load()
    direct = metrics.implausibility(
        known.x_test[drawn["row"]], drawn["target"], known.x_train, known.y_train, distance="euclidean", k=5
    )
    assert torch.allclose(factual, direct)


# When the fixed step converges


TARGET = torch.tensor([1])


def descend(slope: float, start: float, steps: int) -> tuple[float, float]:
    """Search where f_1 = slope x and the energy rules; return c and the distance of the target logit from its rest."""
    model = linear(torch.tensor([[0.0], [slope]]), torch.tensor([-1000.0, 0.0]))
    s = ecco.Settings(l1=0.0, energy=1.0, steps=steps, tolerance=1e-9)
    x = torch.tensor([[start]])
    found = ecco.search(model, x, TARGET, settings=s, stop=GCC, bounds=(-1e6, 1e6), start=x)
    return 2 * s.learning_rate * s.energy * s.reg * slope**2, found.target_logit.item() - 1 / (2 * s.reg)


@pytest.mark.parametrize("slope", [1.0, 5.0, 9.0, 11.0])
def test_each_step_multiplies_the_distance_by_one_minus_c(slope):
    before = slope * 0.5 - 5
    for steps in (1, 2, 5):
        c, after = descend(slope, 0.5, steps)
        assert after == pytest.approx(before * (1 - c) ** steps, rel=1e-3, abs=1e-4)


def test_beyond_two_the_search_diverges():
    below, above = (abs(descend(slope, 0.4, 30)[1]) for slope in (9.9, 10.1))
    assert below < abs(9.9 * 0.4 - 5) < above


def test_the_factor_is_that_of_the_conditions_settings():
    points = {c: [p for p in grid.main(TABLE, (c,), (GCC,)) if dict(p.labels)["regime"] == "standard"] for c in
              ("as_run", "as_written")}  # fmt: skip
    run, written = (frames.convergence(points[c])["factor"].mean() for c in points)
    assert run == pytest.approx(2 * written, rel=1e-5)


# Tables


def test_the_table_of_the_study():
    frame = frames.counterfactuals(grid.main(TABLE))
    assert len(frame) == 3 * 2 * 2 * 4 * 20
    corrected = frame[frame["condition"] == "corrected"]
    by_factual = corrected.groupby(["seed", "stop", corrected.groupby(["seed", "stop", "regime"]).cumcount()])
    assert (by_factual["counted"].nunique() == 1).all()  # all four networks or none
    assert (by_factual["correct"].all() == by_factual["counted"].all()).all()
    others = frame[frame["condition"] != "corrected"]
    assert (others["counted"] == others["correct"]).all()
    assert (frame["l1"] >= frame["l2"]).all()
    beside = frames.beside(frame, frames.reference(grid.reference(TABLE)))
    assert len(beside) == len(frame)
    assert beside.groupby(["condition", "seed", "row", "target"])["factual"].nunique().max() == 1
    assert set(estimates.summaries(frame)["regime"]) == set(REGIMES)


def test_attacks_and_histories():
    attacked = frames.attacked(grid.robustness(TABLE)).set_index(["condition", "seed", "regime", "attack"])
    assert (attacked.xs("clean", level="attack")[["steps", "radius", "over"]] == 0).all(axis=None)
    assert (attacked.xs("pgd_projected", level="attack")["over"] == 0).all()
    assert (attacked.xs("fgsm", level="attack")["radius"] <= 0.2 + 1e-6).all()
    histories = frames.histories(grid.networks(TABLE))
    assert (histories.groupby(["condition", "seed", "regime"])["epoch"].count() == 2).all()
    assert (histories[histories["regime"] == "standard"]["steps"] == 0).all()


def test_the_same_step_budget_in_finer_steps():
    rows = grid.step_budget(TABLE)
    budget = {p.search.settings.steps * p.search.settings.learning_rate for p in rows}
    assert max(budget) == pytest.approx(min(budget))
    assert {p.search.settings.steps for p in rows} == {10, 100}
    assert {dict(p.labels)["condition"] for p in rows} == {"as_run", "as_written"}


def test_own_points_lie_on_every_curve_and_no_step_is_beyond_the_limit():
    study = small("breast_cancer", steps=300)
    tried = sizes.sensitivity(study)
    points = variations.curves(study)
    own = {p.search for p in points if dict(p.labels)["own"] and dict(p.labels)["stop"] == GCC}
    base = {entry.search for entry in variations.varied(study, GCC, {})}
    assert own == base
    assert {search.settings.steps for search in base} == {HOW.finer * tried["most"]}
    assert all(p.search.factuals == Draw(1, tried["factuals"]) for p in points)


def test_fewer_neighbours_are_nearer_and_other_metrics_score_the_same_counterfactuals():
    frame = frames.counterfactuals(p for p in variations.curves(TABLE) if dict(p.labels)["setting"] == "k")
    means = frame.groupby("value")["implausibility"].mean()
    assert means.is_monotonic_increasing
    scored = frames.counterfactuals(variations.metrics(TABLE))
    assert set(scored["measure"]) == set(metrics.names("tabular"))
    wide = scored.assign(n=scored.groupby(["measure", "stop", "seed", "regime"]).cumcount()).pivot(
        index=["stop", "seed", "regime", "n"], columns="measure", values=["l1", "implausibility"]
    )
    assert (wide["l1"].nunique(axis=1) == 1).all()
    assert (wide["implausibility"]["l1"] >= wide["implausibility"]["euclidean"]).all()  # |u|_1 >= |u|_2


# The plan


@pytest.mark.parametrize("profile", ["demo", "full"])
def test_every_cell_is_there_once_and_after_what_it_needs(profile):
    cells = plan.cells(profile, seeds=1)
    assert len(cells) == len(set(cells))
    order = {cell: i for i, cell in enumerate(cells)}
    for cell in cells:
        if cell.stage == "score" and isinstance(cell.arguments[0], stages.Search):
            assert order[plan.Cell("search", cell.arguments[:1])] < order[cell]
        if cell.stage == "search" and isinstance(cell.owner, networks.Network):
            assert order[plan.Cell("train", (cell.owner,))] < order[cell]


def test_networks_that_conditions_share_are_trained_once():
    trained = {c.arguments[0] for c in plan.cells("full", seeds=4) if c.stage == "train"}
    own = {name: sizes.load("full", name).epochs for name in ("mnist", "california")}
    found = {  # of the regimes: the controls have networks of their own
        one for one in trained if type(one) is networks.Network and one.regime in REGIMES and not one.binary
        and one.architecture == "mlp" and one.epochs == own[one.data.dataset] and one.data.seed >= 100
    }  # fmt: skip
    images = [network for network in found if network.data.dataset == "mnist"]
    rounded = 2 * 3  # of the audit: two regimes and three seeds trained with the rounded direction
    # networks of single choices: of three seeds as run, some of which the audit has; of four seeds on tabular data
    chosen = 3 * (3 + 3) - 2 * 3, 4 * (3 + 3 + 3)
    assert len(images) == 4 + 3 * 4 + 3 * 4 + rounded + chosen[0]
    assert len(found) - len(images) == 4 * (4 + 3 + 4) + rounded + chosen[1]
    assert len(set(map(str, images))) == len(images)


def test_what_takes_longer_costs_more():
    cost = {n.what.regime: plan.Cell("train", (n.what,)).cost() for n in grid.networks(IMAGES, ("corrected",), 1)}
    assert list(cost.values()) == sorted(cost.values())
    strong = one(IMAGES, "strong")
    assert plan.Cell("train", (replace(strong, early_stop=True),)).cost() < cost["strong"]


def test_what_waits_for_other_networks_comes_last():
    cells = plan.cells("demo")
    waiting = [cell.waits for cell in cells]
    assert waiting == sorted(waiting)
    assert any(waiting)


def test_a_template_that_is_not_in_the_plan_is_noticed():
    templates = {path.stem for path in (Path(__file__).parents[1] / "notebooks").glob("*.py")}
    assert templates == {entry.name for entry in plan.NOTEBOOKS}
    with pytest.raises(ValueError, match="unknown notebook 'rq3'; known: audit, sensitivity"):
        plan.notebook("rq3")


def test_means_do_not_depend_on_the_order_of_the_rows():
    frame = frames.counterfactuals(grid.main(TABLE, ("as_run",)))
    shuffled = frame.sample(frac=1, random_state=0)
    a, b = (estimates.summaries(f).sort_values(["stop", "regime"]) for f in (frame, shuffled))
    pd.testing.assert_series_equal(a["mean"].reset_index(drop=True), b["mean"].reset_index(drop=True))
    assert np.isfinite(a["sd"]).all()
