"""Attacks against closed forms, invariances, and what must be refused."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import Opaque, linear
from strategies import DEEP, NET, Wrapped, fixed_network, outcome, wave
from torch import nn

from robexpl import attacks, checks, data, metrics, models, training
from robexpl.attacks import _loops
from robexpl.attacks.pgd import with_steps
from robexpl.generators import ecco
from robexpl.gradients import vjp
from robexpl.regimes import Adversary
from robexpl.study import sizes

BOX = (0.0, 1.0)
PGD = {"eps": 0.2, "step_size": 0.01, "steps": 26}


def test_fgsm_of_a_linear_network_is_the_optimum(binary):
    # the loss of class 1 grows along -w: the worst point of the ball is x - eps sign(w), a corner
    x = torch.full((2, 3), 0.5)
    adv = attacks.fgsm(binary, x, torch.tensor([1, 0]), eps=0.1, bounds=BOX)
    torch.testing.assert_close(adv, torch.tensor([[0.4, 0.6, 0.4], [0.6, 0.4, 0.6]]))


def test_fgsm_respects_the_box(binary):
    x = torch.tensor([[0.05, 0.95, 0.5]])
    adv = attacks.fgsm(binary, x, torch.tensor([1]), eps=0.1, bounds=BOX)
    torch.testing.assert_close(adv, torch.tensor([[0.0, 1.0, 0.4]]))
    low, high = torch.tensor([0.0, 0.0, 0.45]), torch.tensor([1.0, 0.96, 1.0])
    adv = attacks.fgsm(binary, x, torch.tensor([1]), eps=0.1, bounds=(low, high))
    torch.testing.assert_close(adv, torch.tensor([[0.0, 0.96, 0.45]]))


def test_projected_pgd_of_a_linear_network_is_the_optimum(binary, generator):
    # enough steps reach the same corner as FGSM, from any start
    x, y = torch.full((8, 3), 0.5), torch.arange(8) % 2
    adv = attacks.pgd(binary, x, y, eps=0.1, step_size=0.01, steps=30, bounds=BOX, generator=generator)
    torch.testing.assert_close(adv, attacks.fgsm(binary, x, y, eps=0.1, bounds=BOX))


@pytest.mark.parametrize("eps", [0.0, 0.01, 0.2, 2.0])
@pytest.mark.parametrize("bounds", [BOX, (torch.linspace(-0.2, 0, 12), torch.linspace(1, 1.5, 12))])
def test_projected_pgd_never_leaves_ball_or_box(network, points, labels, generator, eps, bounds):
    adv = attacks.pgd(network, points, labels, eps=eps, step_size=0.05, steps=20, bounds=bounds, generator=generator)
    assert float((adv - points).abs().max()) <= eps + 1e-6
    assert ((adv >= torch.as_tensor(bounds[0])) & (adv <= torch.as_tensor(bounds[1]))).all()


def test_early_stop_of_a_linear_network(binary):
    # every step moves every entry by 0.01: the 20th passes eps = 0.195 and the steps end
    x, y = torch.full((2, 3), 0.5), torch.tensor([0, 1])
    for early_stop in ("example", "batch"):
        adv, steps = with_steps(binary, x, y, **PGD | {"eps": 0.195}, bounds=BOX, early_stop=early_stop, start=x)
        assert steps.tolist() == [20, 20]
        torch.testing.assert_close((adv - x).abs(), torch.full((2, 3), 0.2))


def test_early_stop_looks_at_the_whole_array_or_at_each_example(binary):
    # the second example starts 0.15 away: alone it stops after 5 steps, and in a batch it stops the first one too
    x, y = torch.full((2, 3), 0.5), torch.tensor([0, 1])
    start = x.clone()
    start[1] -= 0.15 * torch.tensor([1.0, -1.0, 1.0])
    _, alone = with_steps(binary, x, y, **PGD | {"eps": 0.195}, bounds=BOX, early_stop="example", start=start)
    _, batch = with_steps(binary, x, y, **PGD | {"eps": 0.195}, bounds=BOX, early_stop="batch", start=start)
    assert alone.tolist() == [20, 5]
    assert batch.tolist() == [5, 5]


def test_early_stop_may_leave_the_ball_by_one_step_at_most(network, points, labels, generator):
    for early_stop in ("example", "batch"):
        adv = attacks.pgd(network, points, labels, **PGD, bounds=BOX, early_stop=early_stop, generator=generator)
        assert float((adv - points).abs().max()) <= 0.2 + 0.01 + 1e-6


def test_skipped_measurements_change_nothing(network, points, labels, generator):
    # the bound on the largest move must stop where measuring at every step would
    x = points[:8]
    start = attacks.start_points(x, 0.01, generator).clamp(0, 1)
    adv, steps = with_steps(network, x, labels[:8], **PGD, bounds=BOX, early_stop="batch", start=start)
    expected, taken = start.clone(), 0
    while taken < 26 and float((expected - x).abs().max()) < 0.2:
        leaf = expected.clone().requires_grad_()
        torch.nn.functional.cross_entropy(network(leaf), labels[:8]).backward()
        expected, taken = (expected + 0.01 * leaf.grad.sign()).clamp(0, 1), taken + 1
    assert steps.tolist() == [taken] * 8
    torch.testing.assert_close(adv, expected)


@pytest.mark.parametrize("early_stop", [False, "example"])
def test_a_batch_equals_its_members(network, points, labels, generator, early_stop):
    start = attacks.start_points(points, 0.01, generator)
    settings = {**PGD, "bounds": BOX, "early_stop": early_stop}
    batch, steps = with_steps(network, points, labels, **settings, start=start)
    for i in range(0, 40, 7):
        row = slice(i, i + 1)
        single, taken = with_steps(network, points[row], labels[row], **settings, start=start[row])
        torch.testing.assert_close(single, batch[row], atol=1e-5, rtol=0)
        assert taken == steps[i]


@pytest.mark.parametrize("early_stop", [False, "example", "batch"])
def test_any_module_gives_the_same(network, opaque, points, labels, generator, early_stop):
    start = attacks.start_points(points, 0.01, generator)
    settings = {**PGD, "bounds": BOX, "early_stop": early_stop, "start": start}
    torch.testing.assert_close(
        attacks.pgd(network, points, labels, **settings),
        attacks.pgd(opaque, points, labels, **settings),
        atol=1e-5,
        rtol=0,
    )


def test_starting_points_are_brought_inside_before_the_first_step(network, points, labels):
    far, settings = points + 0.3, {"eps": 0.2, "step_size": 0.01, "bounds": BOX}
    adv = attacks.pgd(network, points, labels, **settings, steps=0, start=far)
    torch.testing.assert_close(adv, (points + 0.2).clamp(0, 1))
    for early_stop in ("example", "batch"):
        adv, steps = with_steps(network, points, labels, **settings, steps=5, start=far, early_stop=early_stop)
        assert torch.equal(adv, far.clamp(0, 1))  # beyond the radius already, so no step is made
        assert steps.tolist() == [0] * 40
    generator = torch.Generator().manual_seed(0)
    adv = attacks.pgd(network, points, labels, **settings | {"step_size": 0.05}, steps=0, generator=generator)
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(adv, (points + 0.05 * noise).clamp(0, 1).clamp(points - 0.2, points + 0.2))


def test_same_generator_same_result(network, points, labels):
    results = [
        attacks.pgd(network, points, labels, **PGD, bounds=BOX, generator=torch.Generator().manual_seed(s))
        for s in (0, 0, 1)
    ]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_a_planted_adversarial_example_is_found():
    # the label of x in [0, 1]^3 flips when the first coordinate passes 0.5, and nowhere else in reach
    model = linear(torch.tensor([[-50.0, 0, 0], [50.0, 0, 0]]), torch.tensor([25.0, -25.0]))
    x, y = torch.tensor([[0.45, 0.3, 0.9]]), torch.tensor([0])
    assert metrics.accuracy(model, x, y) == 1
    start = x.clone()
    for adv in (
        attacks.fgsm(model, x, y, eps=0.06, bounds=BOX),
        attacks.pgd(model, x, y, eps=0.06, step_size=0.01, steps=10, bounds=BOX, start=start),
    ):
        assert metrics.accuracy(model, adv, y) == 0


def test_more_steps_are_no_weaker(network, points, labels, generator):
    start = attacks.start_points(points, 0.01, generator)
    loss = []
    for steps in (1, 5, 26):
        adv = attacks.pgd(network, points, labels, eps=0.2, step_size=0.01, steps=steps, bounds=BOX, start=start)
        loss.append(torch.nn.functional.cross_entropy(network(adv), labels).item())
    assert loss[0] < loss[1] < loss[2]


def test_nothing_to_attack(network):
    x, y = torch.empty(0, 12), torch.empty(0, dtype=torch.long)
    assert attacks.fgsm(network, x, y, eps=0.1, bounds=BOX).shape == (0, 12)
    for early_stop in attacks.EARLY_STOPS:
        assert attacks.pgd(network, x, y, **PGD, bounds=BOX, early_stop=early_stop, start=x).shape == (0, 12)


def test_inputs_stay_as_they_are(network, points, labels, generator):
    x, start = points.clone(), attacks.start_points(points, 0.3, generator)
    before = start.clone()
    for early_stop in attacks.EARLY_STOPS:
        attacks.pgd(network, points, labels, **PGD, bounds=BOX, early_stop=early_stop, start=start)
    attacks.fgsm(network, points, labels, eps=0.1, bounds=BOX)
    assert torch.equal(points, x)
    assert torch.equal(start, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": -0.1}, "expected eps >= 0, got -0.1"),
        ({"eps": float("nan")}, "expected eps >= 0, got nan"),
        ({"steps": -1}, "expected steps >= 0, got -1"),
        ({"step_size": 0.0}, "expected step_size > 0, got 0.0"),
        ({"bounds": (1.0, 0.0)}, "expected low <= high in bounds"),
        ({"bounds": (torch.zeros(3), torch.ones(3))}, r"expected bounds as numbers or of shape \(12,\), got \(3,\)"),
        ({"bounds": 1.0}, "expected bounds as a pair"),
        ({"bounds": (0.0, 0.5)}, "expected x inside the bounds"),
        ({"early_stop": "never"}, "expected early_stop to be one of"),
        ({"early_stop": True}, "expected early_stop to be one of"),
        ({"start": torch.zeros(2, 12)}, r"expected start of shape \(40, 12\), got \(2, 12\)"),
        ({"generator": None}, "expected a torch.Generator or explicit starting points"),
    ],
)
def test_bad_settings_are_refused(network, points, labels, generator, change, message):
    settings = {**PGD, "bounds": BOX, "generator": generator, **change}
    with pytest.raises(ValueError, match=message):
        attacks.pgd(network, points, labels, **settings)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x, y[:, None]), r"expected labels of shape \(40,\), got \(40, 1\)"),
        (lambda x, y: (x, y + 4), r"expected labels in 0 ... 3, got values from 4 to 7"),
        (lambda x, y: (x, y.float()), "expected labels to be integers, got torch.float32"),
        (lambda x, y: (x[0], y), r"expected x of shape \(n, d\), got \(12,\)"),
        (lambda x, y: (x * float("nan"), y), "expected finite numbers in x, got 480 NaN or infinite"),
        (lambda x, y: ((x * 9).long(), y), "expected x to hold floating-point numbers, got torch.int64"),
        (lambda x, y: (x.numpy(), y), "expected x to be a torch tensor"),
    ],
)
def test_bad_data_are_refused(network, points, labels, spoil, message):
    x, y = spoil(points, labels)
    with pytest.raises(ValueError, match=message):
        attacks.fgsm(network, x, y, eps=0.1, bounds=BOX)


def test_the_evaluation_attack_is_the_one_of_the_thesis():
    known = {name: dict(attack.settings) for name, attack in sizes.evaluation().items()}
    assert known == {
        "clean": {}, "fgsm": {"eps": 0.2}, "pgd_early_stop": PGD | {"early_stop": "example"}, "pgd_projected": PGD,
    }  # fmt: skip


# Attacks that cannot lie


def masked(inner: torch.nn.Module, levels: int = 8) -> torch.nn.Module:
    """A network whose answers follow from rounded inputs and whose gradients have nothing to do with them."""
    noise = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))

    class Masked(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = inner((x * levels).round() / levels)
            return logits.detach() + (x - x.detach()) @ noise

    return Masked()


def plane(seed: int, d: int, distance: float) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """A linear network and a point whose class changes at that distance in the maximum norm, and not before."""
    w = torch.randn(d, generator=torch.Generator().manual_seed(seed))
    x = torch.full((1, d), 0.5)
    w = w / w.abs().sum()  # logits of moderate size: see `test_a_saturated_network_is_flagged`
    # f_1 - f_0 = 2 (w x + b) = -2 distance |w|_1 at x: the worst point of a ball of radius r gains 2 r |w|_1
    b = -(w @ x[0]) - distance * w.abs().sum()
    return linear(torch.stack([-w, w]), torch.stack([-b, b])), x, torch.tensor([0])


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("d", "distance"), [(2, 0.05), (30, 0.1), (784, 0.2)])
def test_an_example_planted_just_inside_the_ball_is_found_and_none_just_outside(seed, d, distance):
    model, x, y = plane(seed, d, distance)
    for radius, accuracy in ((1.02 * distance, 0.0), (0.98 * distance, 1.0)):
        near = attacks.fgsm(model, x, y, eps=radius, bounds=BOX)
        settings = {"eps": radius, "step_size": radius / 10, "steps": 40, "bounds": BOX}
        far = attacks.pgd(model, x, y, **settings, generator=torch.Generator().manual_seed(seed))
        for adv in (near, far):
            assert metrics.accuracy(model, adv, y) == accuracy
            assert float((adv - x).abs().max()) == pytest.approx(radius, rel=1e-4)  # the radius is used, not exceeded


def test_an_example_behind_a_bend_is_found_by_steps_and_missed_by_one():
    # the class changes past x_2 = 0.7, towards which the gradient points only once x_1 is past 0.55
    class Bend(torch.nn.Module):
        def forward(self, x):
            gate = (20 * (x[:, :1] - 0.55)).relu().clamp(max=1)
            score = 0.1 * x[:, :1] + gate * (5 * (x[:, 1:] - 0.5)) - 0.56
            return torch.cat([-score, score], 1)

    x, y = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    model = Bend()
    one = attacks.fgsm(model, x, y, eps=0.2, bounds=BOX)
    many = attacks.pgd(model, x, y, eps=0.2, step_size=0.02, steps=30, bounds=BOX, start=x)
    assert metrics.accuracy(model, one, y) == 1
    assert metrics.accuracy(model, many, y) == 0


@pytest.mark.parametrize("module", ["network", "opaque"])
@pytest.mark.parametrize("eps", [0.02, 0.1, 0.3])
def test_more_steps_never_make_it_weaker(module, eps, points, generator, request):
    model = request.getfixturevalue(module)
    with torch.no_grad():
        labels = model(points).argmax(1)
    start, kept = attacks.start_points(points, 0.01, generator), []
    for steps in (0, 1, 2, 5, 10, 20, 40, 80):
        adv = attacks.pgd(model, points, labels, eps=eps, step_size=eps / 5, steps=steps, bounds=BOX, start=start)
        kept.append(metrics.accuracy(model, adv, labels))
    assert kept[0] >= 0.9
    assert all(later <= earlier + 1 / len(points) for earlier, later in pairwise(kept))  # one row is noise
    assert kept[-1] <= metrics.accuracy(model, attacks.fgsm(model, points, labels, eps=eps, bounds=BOX), labels) + 0.01


@pytest.mark.parametrize("early_stop", attacks.EARLY_STOPS)
def test_what_is_returned_is_the_perturbation_that_was_made(early_stop, network, points, labels):
    given = points.clone()
    adv, steps = with_steps(
        network, points, labels, **PGD, bounds=BOX, early_stop=early_stop, generator=torch.Generator().manual_seed(0)
    )
    moved = (adv - given).abs().amax(1)
    assert torch.equal(points, given)
    assert bool((moved <= PGD["eps"] + (PGD["step_size"] if early_stop else 0) + 1e-6).all())
    assert bool((moved <= PGD["step_size"] * (steps + 5) + 1e-6).all())  # 5: the noise of the start
    assert bool((moved > 0).all())


def sanity_of(model, dataset):
    """Check a measurement of robustness as the study does: accuracies, and which checks are passed."""
    x, y, box = dataset.x_test, dataset.y_test, dataset.bounds
    pgd = {**PGD, "bounds": box, "start": attacks.start_points(x, 0.01, torch.Generator().manual_seed(0))}
    ladder = {eps: attacks.fgsm(model, x, y, eps=eps, bounds=box) for eps in (0.05, 0.1, 0.2, 0.3)}
    noise = attacks.random_signs(model, x, y, eps=0.2, bounds=box, generator=torch.Generator().manual_seed(0))
    points = {"fgsm": ladder[0.2], "pgd_projected": attacks.pgd(model, x, y, **pgd), "noise": noise}
    accuracy = {name: metrics.accuracy(model, adv, y) for name, adv in points.items()}
    falling = [metrics.accuracy(model, adv, y) for adv in ladder.values()]
    passed = {
        "steps": accuracy["pgd_projected"] <= accuracy["fgsm"] + 0.01,
        "falls": all(later <= earlier + 0.01 for earlier, later in pairwise(falling)),
        "noise": accuracy["fgsm"] <= accuracy["noise"] + 0.01,
        "gradient": float((ladder[0.2] != x).any(1).double().mean()) >= 0.99,
    }
    return passed, accuracy


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def trained(digits):
    return training.fit(digits, "standard", seed=0, epochs=8)


def test_an_honest_network_passes_the_sanity_checks(digits, trained):
    passed, accuracy = sanity_of(trained, digits)
    assert all(passed.values()), passed
    assert accuracy["pgd_projected"] < accuracy["noise"] - 0.2


def test_a_network_with_masked_gradients_is_flagged(digits, trained):
    hidden = masked(trained)
    assert metrics.accuracy(hidden, digits.x_test, digits.y_test) > 0.9
    transferred = attacks.fgsm(trained, digits.x_test, digits.y_test, eps=0.2, bounds=BOX)
    honest = metrics.accuracy(trained, transferred, digits.y_test)
    passed, accuracy = sanity_of(hidden, digits)
    assert accuracy["fgsm"] > honest + 0.3  # it looks robust
    assert not passed["noise"]
    # and what was found on another network transfers: it is not robust
    assert metrics.accuracy(hidden, transferred, digits.y_test) < honest + 0.1


def test_a_saturated_network_is_attacked_as_any_other(digits, trained):
    # the same answers, a hundred times as sure: the softmax is 0 or 1 exactly and, rounded, its gradient is gone
    sure = copy.deepcopy(trained)
    with torch.no_grad():
        sure[2].weight.mul_(100)
        sure[2].bias.mul_(100)
    x, y = digits.x_test, digits.y_test
    assert metrics.accuracy(sure, x, y) == metrics.accuracy(trained, x, y)
    passed, _ = sanity_of(sure, digits)
    assert all(passed.values()), passed
    how = {"eps": 0.2, "bounds": BOX}
    found = {r: metrics.accuracy(sure, attacks.fgsm(sure, x, y, **how, rounded=r), y) for r in (True, False)}
    honest = metrics.accuracy(trained, attacks.fgsm(trained, x, y, **how), y)
    assert found[True] > honest + 0.2
    assert abs(found[False] - honest) < 0.1


# Attacks by name


def test_attacks_are_found_by_the_names_of_their_files():
    assert attacks.names() == sorted(attacks.names())
    assert {"fgsm", "pgd", "random_signs"} <= set(attacks.names())
    for name in attacks.names():
        module = attacks.module(name)
        assert module.__name__ == f"robexpl.attacks.{name}"
        assert getattr(module, name).__module__ == module.__name__
    for name in ("deepfool", "_loops", "", None, "../fgsm"):
        with pytest.raises(ValueError, match="unknown attack"):
            attacks.module(name)


def test_every_attack_runs_by_its_name(network, points, labels):
    settings = {"fgsm": {"eps": 0.1}, "random_signs": {"eps": 0.1}, "pgd": PGD | {"early_stop": "example"}}
    for name, chosen in settings.items():
        made = [torch.Generator().manual_seed(3) for _ in range(2)]
        adv, steps = attacks.run(name, network, points, labels, bounds=BOX, generator=made[0], **chosen)
        drawn = {} if name == "fgsm" else {"generator": made[1]}
        function = getattr(attacks, name)
        assert torch.equal(adv, function(network, points, labels, bounds=BOX, **chosen, **drawn))
        assert torch.equal(made[0].get_state(), made[1].get_state())
        assert steps.shape == (40,)
        if name == "pgd":
            start = attacks.start_points(points, 0.01, torch.Generator().manual_seed(3))
            _, taken = with_steps(network, points, labels, **chosen, bounds=BOX, start=start)
            assert torch.equal(steps, taken)
            assert 1 < int(steps.min()) <= int(steps.max()) < 26
        else:
            assert steps.tolist() == [1] * 40
    with pytest.raises(ValueError, match="unknown attack 'pdg'; known: fgsm, "):
        attacks.run("pdg", network, points, labels, bounds=BOX, generator=made[0])


def test_random_signs_are_corners_of_the_ball_clamped_to_the_box(network, points, labels, generator):
    state = generator.get_state()
    adv = attacks.random_signs(network, points, labels, eps=0.1, bounds=BOX, generator=generator)
    signs = torch.randint(2, points.shape, generator=generator.set_state(state)) * 2.0 - 1
    assert torch.equal(adv, torch.clamp(points + 0.1 * signs, 0, 1))
    assert bool((adv == 0).any() and (adv == 1).any())
    assert 0.4 < float((signs > 0).double().mean()) < 0.6
    with pytest.raises(ValueError, match="expected generator as Generator, got None"):
        attacks.random_signs(network, points, labels, eps=0.1, bounds=BOX, generator=None)
    with pytest.raises(ValueError, match="expected eps >= 0, got -1"):
        attacks.random_signs(network, points, labels, eps=-1, bounds=BOX, generator=generator)


def test_the_loop_takes_an_adversary_and_a_box(network, points, labels):
    run, one_hot, box = _loops.prepare(network, points, labels, BOX)
    adversary, start = Adversary(0.2, 0.01, 26), points.clone()
    arguments = (run, points, one_hot, start, adversary, box)
    settings = {**PGD, "bounds": BOX, "start": start}
    for early_stop in attacks.EARLY_STOPS:
        adv, steps = with_steps(network, points, labels, **settings, early_stop=early_stop)
        found, taken = _loops.ascend(*arguments, early_stop)
        assert torch.equal(found, adv)
        assert torch.equal(taken, steps)
    assert torch.equal(start, points)
    assert all(torch.equal(a, b) for a, b in zip(box, checks.box(BOX, points), strict=True))


# Golden values

LOGITS = [1.6165229808, -1.8903524195, -0.51307993674]
SLOPE = [0.09181034757, -0.34054966856, 0.27117925453, -0.060496988354]
FGSM = [
    [0.555, 0.81462538187, 0.39798759262, 0.05863175254],
    [0.75189191827, 0.62890303129, 0.05, 0.86094899066],
    [0.47441483068, 0.1725395776, 0.9, 0.25372827967],
    [0.38452320732, 0.77459504704, 0.13578129207, 0.70978658745],
]
PGDS = {
    False: (
        [
            [0.555, 0.81462538187, 0.39798759262, 0.062889215592],
            [0.75189191827, 0.62051263141, 0.05, 0.86094899066],
            [0.47441483068, 0.1725395776, 0.9, 0.25372827967],
            [0.38452320732, 0.77459504704, 0.13578129207, 0.70978658745],
        ],
        [4, 4, 4, 4],
    ),
    "example": (
        [
            [0.58046487134, 0.80687353601, 0.34342625404, 0.12288921559],
            [0.74910555412, 0.59051263141, 0.05, 0.88752730381],
            [0.44586271168, 0.191090665, 0.9, 0.23776511838],
            [0.41451643217, 0.75556376818, 0.12883204022, 0.7449213445],
        ],
        [2, 3, 2, 2],
    ),
    "batch": (
        [
            [0.58046487134, 0.80687353601, 0.34342625404, 0.12288921559],
            [0.77910555412, 0.56051263141, 0.05, 0.85752730381],
            [0.44586271168, 0.191090665, 0.9, 0.23776511838],
            [0.41451643217, 0.75556376818, 0.12883204022, 0.7449213445],
        ],
        [2, 2, 2, 2],
    ),
}


def test_golden_values():
    """A few steps on four points that no random generator made, in float64."""
    model, x, y = fixed_network(), 0.05 + 0.85 * wave(4, 4), torch.tensor([0, 2, 1, 0])
    start = x + 0.05 * (2 * wave(4, 4, phase=2.0) - 1)
    settings = {"eps": 0.08, "step_size": 0.03, "steps": 4, "bounds": (0.05, 0.9), "start": start}
    close = {"atol": 1e-9, "rtol": 0}
    adv = attacks.fgsm(model, x, y, eps=0.08, bounds=(0.05, 0.9))
    torch.testing.assert_close(adv, torch.tensor(FGSM, dtype=torch.double), **close)
    for early_stop, (values, steps) in PGDS.items():
        adv, taken = with_steps(model, x, y, **settings, early_stop=early_stop)
        torch.testing.assert_close(adv, torch.tensor(values, dtype=torch.double), **close)
        assert taken.tolist() == steps, early_stop
    logits, pull = vjp(model)(x)
    torch.testing.assert_close(logits[0], torch.tensor(LOGITS, dtype=torch.double), **close)
    slope = pull(logits.softmax(1) - torch.nn.functional.one_hot(y, 3))
    torch.testing.assert_close(slope[0], torch.tensor(SLOPE, dtype=torch.double), **close)


@pytest.mark.parametrize("scale", [1.0, 5.0, 20.0, 50.0])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_direction_is_that_of_exact_arithmetic_whatever_the_scale_of_the_logits(scale, classes, points, generator):
    """In single precision p_y rounds to 1; the sign is still that of double precision with the sum taken exactly."""
    model = models.mlp(12, 16, classes, generator=generator)
    with torch.no_grad():
        model[2].weight.mul_(scale)
        labels = model(points).argmax(1)  # the rows that the network is surest of
    exact = copy.deepcopy(model).double()
    logits, pull = vjp(exact)(points.double())
    others = torch.softmax(logits.masked_fill(nn.functional.one_hot(labels, classes) > 0, -torch.inf), 1)
    gradient = pull(others - nn.functional.one_hot(labels, classes))
    clear = gradient.abs() > 1e-4 * gradient.abs().amax(1, keepdim=True)  # signs of single entries, ties aside
    moved = attacks.fgsm(model, points, labels, eps=1e-3, bounds=(-9, 9)) - points
    assert bool((moved.sign() == gradient.sign())[clear].all())
    opaque = Opaque(model)
    assert torch.equal(moved, attacks.fgsm(opaque, points, labels, eps=1e-3, bounds=(-9, 9)) - points)


def test_the_rounded_direction_is_lost_where_the_exact_one_is_not(points, generator):
    model = models.mlp(12, 16, 2, generator=generator)
    with torch.no_grad():
        model[2].weight.mul_(200)
        labels = model(points).argmax(1)
        sure = torch.softmax(model(points), 1).amax(1) == 1
    assert int(sure.sum()) > 5
    how = {"eps": 0.1, "bounds": (0, 1)}
    exact, rounded = (attacks.fgsm(model, points, labels, **how, rounded=r) for r in (False, True))
    single = attacks.pgd(model, points, labels, **how, step_size=0.1, steps=1, start=points)
    assert bool((exact != points).any(1).all())
    assert not torch.equal(exact[sure], rounded[sure])
    assert torch.allclose(exact, single)
    accuracy = [float((model(x).argmax(1) == labels).float().mean()) for x in (exact, rounded)]
    assert accuracy[0] <= accuracy[1]


# Whatever surrounds the call, whatever type the numbers have, wherever the model fails

X = torch.rand(300, 6, generator=torch.Generator().manual_seed(1))  # more than a block
Y = torch.arange(300) % 3
NETWORKS = {"closed form": NET, "autograd": DEEP, "not to be copied": Wrapped(NET)}
RUNS = {
    "fgsm": lambda model, x=X, y=Y, box=BOX: attacks.fgsm(model, x, y, eps=0.1, bounds=box),
    "pgd": lambda model, x=X, y=Y, box=BOX: attacks.pgd(
        model, x, y, eps=0.1, step_size=0.03, steps=4, bounds=box, generator=torch.Generator().manual_seed(0)
    ),
    "random_signs": lambda model, x=X, y=Y, box=BOX: attacks.random_signs(
        model, x, y, eps=0.1, bounds=box, generator=torch.Generator().manual_seed(0)
    ),
    "search": lambda model, x=X, y=Y, box=BOX: ecco.search(
        model, x, y, settings=ecco.Settings(steps=4), stop="generator_conditions", bounds=box,
        generator=torch.Generator().manual_seed(0),
    ).x,
    "accuracy": lambda model, x=X, y=Y, box=BOX: torch.full(
        (), metrics.accuracy(model, x, y), dtype=torch.float64, device="cpu"
    ),
}  # fmt: skip
GRADIENTS = {name: run for name, run in RUNS.items() if name not in ("accuracy", "random_signs")}


@contextmanager
def double_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


SURROUNDINGS = {
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast in half": lambda: torch.autocast("cpu", torch.float16),
    "default device": lambda: torch.device("meta"),
    "default type": double_by_default,
}


@pytest.mark.parametrize("around", SURROUNDINGS)
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_surroundings_do_not_change_results(run, around, kind):
    expected = RUNS[run](NETWORKS[kind])
    with SURROUNDINGS[around]():
        found = RUNS[run](NETWORKS[kind])
    assert torch.equal(found, expected)


@pytest.mark.parametrize("run", GRADIENTS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_inference_mode_is_named_and_its_tensors_are_taken(run, kind):
    with torch.inference_mode():
        assert 0 <= metrics.accuracy(NETWORKS[kind], X, Y) <= 1
        with pytest.raises(
            ValueError, match=r"^expected gradients, which torch.inference_mode\(\) turns off.*leave it$"
        ):
            GRADIENTS[run](NETWORKS[kind])
        x = X.clone()
    assert torch.equal(GRADIENTS[run](NETWORKS[kind], x), GRADIENTS[run](NETWORKS[kind]))


class Standardised(nn.Module):
    """Standardises each row, which leaves nothing of a constant one."""

    def __init__(self) -> None:
        super().__init__()
        self.f = DEEP

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.f((x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True))


class Rooted(nn.Module):
    """Has finite logits everywhere and no gradient where a row's first two features are 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, :2].square().sum(1).sqrt(), x[:, 2], x[:, 3]], 1)


class Overflowing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :2], torch.where(x[:, 2:3] == 0.5, torch.inf, x[:, 2:3])], 1)


@pytest.mark.parametrize("row", [0, 1, 2, 5, 255, 256, 299])
@pytest.mark.parametrize("run", {**GRADIENTS, "accuracy": 0})
@pytest.mark.parametrize("model", [Standardised(), Rooted(), Overflowing()], ids=lambda model: type(model).__name__)
def test_nan_in_any_row_is_refused(model, run, row):
    x = X.clone()
    x[row] = 0.0 if isinstance(model, Rooted) else 0.5
    if isinstance(model, Rooted) and run == "accuracy":
        assert 0 <= RUNS[run](model, x) <= 1
        return
    call = lambda: RUNS[run](model, x)  # noqa: E731
    if run == "pgd":
        call = lambda: attacks.pgd(model, x, Y, eps=0.1, step_size=0.03, steps=4, bounds=BOX, start=x)  # noqa: E731
    if run == "search":
        how = {"settings": ecco.Settings(steps=2), "stop": "generator_conditions", "bounds": BOX, "start": x}
        call = lambda: ecco.search(model, x, Y, **how)  # noqa: E731
    with pytest.raises(ValueError, match=r"^expected finite (logits|gradients), got \d+ NaN or infinite$"):
        call()


@pytest.mark.parametrize("run", GRADIENTS)
def test_weights_that_overflow_are_refused_in_closed_form(run):
    model = copy.deepcopy(NET)
    with torch.no_grad():
        model[0].weight.mul_(1e18)
        model[2].weight.mul_(1e18)
    x = X.clone()
    x[:2], x[7] = 0.0, 1e6
    with pytest.raises(ValueError, match=r"^expected finite (logits|gradients), got \d+ NaN or infinite$"):
        GRADIENTS[run](model, x, Y, (0.0, 1e6))


TENTHS = [np.float32(0.1), np.float64(0.1), np.array(0.1), torch.tensor(0.1).double(), Fraction(1, 10), Decimal("0.1")]
THREES = [3.0, np.int64(3), np.uint8(3), np.float32(3), np.array(3), torch.tensor(3), Fraction(3), Decimal(3)]


@pytest.mark.parametrize("tenth", TENTHS, ids=lambda value: type(value).__name__)
def test_numbers_of_any_type_are_that_number(tenth):
    known = {"eps": float(tenth), "step_size": float(tenth) / 4, "steps": 3}
    given = {"eps": tenth, "step_size": tenth / 4, "steps": 3}
    for start in (X, (X + 0.01).clamp(0, 1)):
        expected, found = (attacks.pgd(NET, X, Y, **how, bounds=BOX, start=start) for how in (known, given))
        assert torch.equal(expected, found)
    assert torch.equal(*(attacks.fgsm(NET, X, Y, eps=eps, bounds=BOX) for eps in (tenth, float(tenth))))
    names = ("l1", "energy", "reg", "learning_rate", "start_noise", "threshold", "tolerance")
    settings = ecco.Settings(**dict.fromkeys(names, tenth))
    assert settings == ecco.Settings(**dict.fromkeys(names, float(tenth)))
    assert all(type(getattr(settings, name)) is float for name in names)


@pytest.mark.parametrize("three", THREES, ids=lambda value: type(value).__name__)
def test_counts_of_any_type_are_that_count(three):
    adv, steps = with_steps(NET, X, Y, eps=0.1, step_size=0.05, steps=three, bounds=BOX, start=X)
    assert torch.equal(adv, attacks.pgd(NET, X, Y, eps=0.1, step_size=0.05, steps=3, bounds=BOX, start=X))
    assert steps.tolist() == [3] * 300
    assert type(ecco.Settings(steps=three).steps) is int
    assert metrics.accuracy(NET, X, Y, chunk=three) == metrics.accuracy(NET, X, Y)
    far = {"distance": "l1", "k": three}
    assert torch.equal(metrics.nearest(X, 1, X, Y, **far), metrics.nearest(X, 1, X, Y, **far | {"k": 3}))


@pytest.mark.parametrize("huge", [1e30, 1e308, 2**70, Fraction(10) ** 300, np.float64(1e200), 10**400])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("box", [BOX, (-math.inf, math.inf), (-1e30, 1e30)])
def test_huge_numbers_reach_the_box_or_are_refused(huge, dtype, box):
    model, x = copy.deepcopy(NET).to(dtype), X[:20].to(dtype)
    for call in (
        lambda: attacks.fgsm(model, x, Y[:20], eps=huge, bounds=box),
        lambda: attacks.pgd(model, x, Y[:20], eps=huge, step_size=0.1, steps=1, bounds=box, start=x),
        lambda: attacks.pgd(model, x, Y[:20], eps=0.1, step_size=huge, steps=1, bounds=box, start=x),
        lambda: attacks.pgd(
            model, x, Y[:20], eps=huge, step_size=huge, steps=1, bounds=box, start=x, early_stop="batch"
        ),
        lambda: _search(model, x, box, energy=huge),
        lambda: _search(model, x, box, learning_rate=huge),
        lambda: _search(model, x, box, l1=huge, learning_rate=huge, proximal=True),
    ):
        found = outcome(call)
        assert found is None or bool(torch.isfinite(found).all())
    if not isinstance(huge, int) and box == BOX:
        assert set(attacks.fgsm(model, x, Y[:20], eps=huge, bounds=box).unique().tolist()) <= {0.0, 1.0}


def _search(model, x, box, **changes):
    settings = ecco.Settings(steps=3, **changes)
    return ecco.search(model, x, Y[:20], settings=settings, stop="generator_conditions", bounds=box, start=x).x


def test_tensors_with_gradients_are_refused_wherever_they_come():
    leaf, one, how = X.clone().requires_grad_(), torch.tensor(1.0, requires_grad=True), PGD | {"bounds": BOX}
    for says, call in {
        "x": lambda: attacks.fgsm(NET, leaf, Y, eps=0.1, bounds=BOX),
        "start": lambda: attacks.pgd(NET, X, Y, **how, start=leaf),
        "bounds": lambda: attacks.fgsm(NET, X, Y, eps=0.1, bounds=(0.0, one)),
        "eps": lambda: attacks.pgd(NET, X, Y, **how | {"eps": one}, start=X),
        "step_size": lambda: attacks.pgd(NET, X, Y, **how | {"step_size": one}, start=X),
        "steps": lambda: attacks.pgd(NET, X, Y, **how | {"steps": one}, start=X),
        "energy": lambda: ecco.Settings(energy=one),
        "a": lambda: metrics.ssim(leaf, X, image_shape=(2, 3)),
        "reference_x": lambda: metrics.implausibility(X, 0, leaf, Y, distance="l1"),
        "k": lambda: metrics.implausibility(X, 0, X, Y, distance="l1", k=one),
    }.items():
        with pytest.raises(
            ValueError, match=f"^expected {says} to be plain numbers, got a tensor with gradients; detac"
        ):
            call()


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"])
def test_labels_of_any_integer_type(kind):
    y = Y.to(getattr(torch, kind))
    for run in RUNS.values():
        assert torch.equal(run(NET, X, y), run(NET, X, Y))
    how = {"distance": "l1", "k": 3}
    assert torch.equal(metrics.nearest(X, y, X, y, **how), metrics.nearest(X, Y, X, Y, **how))
    with pytest.raises(ValueError, match=r"^expected labels in 0 ... 2, got values from 1 to 3$"):
        RUNS["fgsm"](NET, X, y + y.new_ones(()) if "uint" not in kind else (Y + 1).to(y.dtype))
    stop = {"settings": ecco.Settings(), "stop": "decision_threshold", "bounds": BOX, "start": X}
    with pytest.raises(
        ValueError, match=r"^expected targets that differ from the factuals' classes, got 300 that do not"
    ):
        ecco.search(NET, X, y, labels=y, **stop)


@pytest.mark.parametrize("run", RUNS)
def test_the_edge_of_the_box_is_the_same_at_every_door(run):
    """A little outside by rounding is inside, further is not; equal sides hold a feature where it is."""
    x = X.clone()
    x[3, 2], x[4, 1] = -2.98e-8, 1 + 5e-7
    assert bool(torch.isfinite(RUNS[run](NET, x)).all())
    low, high = torch.zeros(6), torch.ones(6)
    low[2] = high[2] = x[:, 2] = 0.5
    found = RUNS[run](NET, x, Y, (low, high))
    if found.ndim:
        start = found[:, 2] if run != "search" else found[(found != x).any(1)][:, 2]
        assert bool((start == 0.5).all()) or run == "search"
    x[5, 1] = 1.001
    if run != "accuracy":
        with pytest.raises(ValueError, match=r"^expected x inside the bounds, got values from"):
            RUNS[run](NET, x)


@pytest.mark.parametrize("stop", ecco.STOPS)
def test_a_feature_that_may_not_change_stays_through_a_search(stop):
    low, high, x = torch.zeros(6), torch.ones(6), X.clone()
    low[2] = high[2] = x[:, 2] = 0.5
    settings = ecco.Settings(start_noise=0.0, steps=30)
    found = ecco.search(NET, x, Y, settings=settings, stop=stop, bounds=(low, high))
    assert bool((found.x[:, 2] == 0.5).all())
    assert bool((found.x != x).any())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("eps", [1e-7, 0.001, 0.03, 0.1, 1 / 3, 0.7, 5.0])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_half_precision_stays_in_the_ball(dtype, eps, scale):
    """The perturbation, taken exactly, is at most eps; and nearly eps, where numbers are fine enough for that."""
    model, x = copy.deepcopy(NET).to(dtype), (scale * (2 * X - 1)).to(dtype)
    box = (-scale, 1.2 * scale)
    for adv in (
        attacks.fgsm(model, x, Y, eps=eps, bounds=box),
        attacks.pgd(model, x, Y, eps=eps, step_size=eps / 3, steps=9, bounds=box, start=x),
        attacks.pgd(model, x, Y, eps=eps, step_size=eps, steps=3, bounds=box, start=(x + 1).clamp(*box)),
        attacks.random_signs(model, x, Y, eps=eps, bounds=box, generator=torch.Generator().manual_seed(0)),
    ):
        assert adv.dtype == dtype
        assert float((adv.double() - x.double()).abs().max()) <= eps
        assert float(adv.min()) >= torch.tensor(-scale, dtype=dtype)
        assert float(adv.max()) <= torch.tensor(1.2 * scale, dtype=dtype)
    finest = float(x.abs().max()) * torch.finfo(dtype).eps
    if eps > 20 * finest:
        moved = (attacks.fgsm(model, x, Y, eps=eps, bounds=(-500, 500)).double() - x.double()).abs().amax(1)
        assert float(moved.max()) >= eps - 4 * finest
