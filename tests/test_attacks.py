"""Attacks against closed forms, invariances, and what must be refused."""

from __future__ import annotations

import pytest
import torch
from helpers import linear

from robexpl import attacks, metrics
from robexpl.regimes import EVALUATION

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
        adv, steps = attacks.pgd_with_steps(
            binary, x, y, **PGD | {"eps": 0.195}, bounds=BOX, early_stop=early_stop, start=x
        )
        assert steps.tolist() == [20, 20]
        torch.testing.assert_close((adv - x).abs(), torch.full((2, 3), 0.2))


def test_early_stop_looks_at_the_whole_array_or_at_each_example(binary):
    # the second example starts 0.15 away: alone it stops after 5 steps, and in a batch it stops the first one too
    x, y = torch.full((2, 3), 0.5), torch.tensor([0, 1])
    start = x.clone()
    start[1] -= 0.15 * torch.tensor([1.0, -1.0, 1.0])
    _, alone = attacks.pgd_with_steps(
        binary, x, y, **PGD | {"eps": 0.195}, bounds=BOX, early_stop="example", start=start
    )
    _, batch = attacks.pgd_with_steps(binary, x, y, **PGD | {"eps": 0.195}, bounds=BOX, early_stop="batch", start=start)
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
    adv, steps = attacks.pgd_with_steps(network, x, labels[:8], **PGD, bounds=BOX, early_stop="batch", start=start)
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
    batch, steps = attacks.pgd_with_steps(network, points, labels, **settings, start=start)
    for i in range(0, 40, 7):
        row = slice(i, i + 1)
        single, taken = attacks.pgd_with_steps(network, points[row], labels[row], **settings, start=start[row])
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
        ({"bounds": (1.0, 0.0)}, "expected low < high in bounds"),
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
    assert {"eps": EVALUATION.eps, "step_size": EVALUATION.step_size, "steps": EVALUATION.steps} == PGD
