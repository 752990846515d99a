"""The search against its fixed points, invariances, and what must be refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from helpers import linear
from strategies import fixed_network, wave

from robexpl import attacks, generators, metrics
from robexpl.generators import ecco
from robexpl.generators.ecco import Settings
from robexpl.gradients import vjp

BOX = (-100.0, 100.0)
FREE = Settings(l1=0.0, energy=1.0, reg=0.1, start_noise=0.0, steps=4000)


def search(model, x, target, **changes):
    arguments = {"settings": Settings(steps=20), "stop": "generator_conditions", "bounds": (0.0, 1.0)} | changes
    return ecco.search(model, x, target, **arguments)


@pytest.mark.parametrize("reg", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("proximal", [False, True])
def test_the_energy_is_least_at_one_over_two_reg(reg, proximal):
    # f_0 = -1000 whatever x: the cross-entropy is flat and the energy rules, so f_1 = x ends at 1 / (2 reg)
    model = linear(torch.tensor([[0.0], [1.0]]), torch.tensor([-1000.0, 0.0]))
    settings = dataclasses.replace(FREE, reg=reg, proximal=proximal, tolerance=1e-5)
    found = search(model, torch.zeros(1, 1), torch.tensor([1]), settings=settings, bounds=BOX)
    assert found.target_logit.item() == pytest.approx(1 / (2 * reg), abs=1e-3)
    assert found.converged.all()


def test_the_fixed_point_balances_distance_and_energy():
    # smooth part energy (x^2 reg - x), plus l1 |x|: the minimum is at x = (energy - l1) / (2 reg energy)
    model = linear(torch.tensor([[0.0], [1.0]]), torch.tensor([-1000.0, 0.0]))
    settings = dataclasses.replace(FREE, l1=0.2, proximal=True, tolerance=1e-5)
    found = search(model, torch.zeros(1, 1), torch.tensor([1]), settings=settings, bounds=BOX)
    assert found.x.item() == pytest.approx((1 - 0.2) / 0.2, abs=1e-3)
    assert found.converged.all()


def test_proximal_steps_meet_the_stop_where_subgradients_cannot():
    # the second feature has no influence: its optimum is the factual's value, where the subgradient is +-l1 or the
    # iterate chatters; soft-thresholding lands on it exactly
    model = linear(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([-1000.0, 0.0]))
    x, start, target = torch.zeros(1, 2), torch.tensor([[0.0, 0.437]]), torch.tensor([1])
    results = []
    for proximal in (False, True):
        settings = Settings(l1=0.1, energy=1.0, steps=1000, proximal=proximal)
        results.append(search(model, x, target, settings=settings, bounds=BOX, start=start))
    subgradient, proximal = results
    assert not subgradient.converged.any()
    assert subgradient.steps.item() == 1000
    assert subgradient.gradient_max.item() >= 0.1 - 1e-6
    assert proximal.converged.all()
    assert proximal.x[0, 1].item() == 0


def test_the_gradient_is_that_of_the_objective(network, points):
    model, settings = network.double(), Settings(energy=0.7, reg=0.2)
    z, target = points[:6].double(), torch.arange(6) % 4
    one_hot = torch.nn.functional.one_hot(target, 4).double()
    slope, probability, logit = ecco.gradient(vjp(model), z, one_hot, settings)
    leaf = z.clone().requires_grad_()
    logits = model(leaf)
    chosen = logits.gather(1, target[:, None])[:, 0]
    loss = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
    (loss + 0.7 * (-chosen + 0.2 * chosen**2).sum()).backward()
    torch.testing.assert_close(slope, leaf.grad)
    torch.testing.assert_close(probability, logits.softmax(1).gather(1, target[:, None])[:, 0].detach())
    torch.testing.assert_close(logit, chosen.detach())


def test_descent_is_plain_gradient_descent_with_a_clamp(network, points):
    """Twenty steps written out with autograd, one example at a time, agree with the batched search."""
    target, settings = torch.arange(8) % 4, Settings(steps=20)
    start = attacks.start_points(points[:8], 0.1, torch.Generator().manual_seed(0))
    found = search(network, points[:8], target, settings=settings, start=start)
    for i in range(8):
        x, z = points[i], start[i].clone()
        for _ in range(20):
            z.requires_grad_()
            f = network(z)
            loss = torch.nn.functional.cross_entropy(f, target[i]) + 0.01 * (z - x).abs().sum()
            loss = loss + 0.5 * (-f[target[i]] + 0.1 * f[target[i]] ** 2)
            z = (z - 0.1 * torch.autograd.grad(loss, z)[0]).clamp(0, 1).detach()
        torch.testing.assert_close(found.x[i], z, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stop", ecco.STOPS)
@pytest.mark.parametrize("proximal", [False, True])
def test_a_batch_equals_its_members(network, points, stop, proximal):
    target, settings = torch.arange(40) % 4, Settings(steps=20, proximal=proximal)
    start = attacks.start_points(points, 0.1, torch.Generator().manual_seed(0))
    batch = search(network, points, target, settings=settings, stop=stop, start=start)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    shuffled = search(network, points[order], target[order], settings=settings, stop=stop, start=start[order])
    torch.testing.assert_close(shuffled.x, batch.x[order], atol=1e-5, rtol=0)
    for i in range(0, 40, 9):
        row = slice(i, i + 1)
        single = search(network, points[row], target[row], settings=settings, stop=stop, start=start[row])
        torch.testing.assert_close(single.x, batch.x[row], atol=1e-5, rtol=0)
        assert single.steps == batch.steps[i]
        assert single.converged == batch.converged[i]


def test_blocks_do_not_matter(network, points, monkeypatch):
    target = torch.arange(40) % 4
    whole = search(network, points, target, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(ecco, "BLOCK", 7)
    parts = search(network, points, target, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(parts.x, whole.x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stop", ecco.STOPS)
def test_any_module_gives_the_same(network, opaque, points, stop):
    target = torch.arange(40) % 4
    start = attacks.start_points(points, 0.1, torch.Generator().manual_seed(0))
    a, b = (search(model, points, target, stop=stop, start=start) for model in (network, opaque))
    torch.testing.assert_close(a.x, b.x, atol=1e-5, rtol=0)
    torch.testing.assert_close(a.steps, b.steps)


def test_decision_threshold_stops_at_the_first_crossing(binary):
    x, target = torch.zeros(1, 3), torch.tensor([1])
    settings = Settings(l1=0.0, energy=0.0, start_noise=0.0, threshold=0.9)
    found = search(binary, x, target, settings=settings, stop="decision_threshold", bounds=BOX)
    before = dataclasses.replace(settings, steps=found.steps.item() - 1)
    short = search(binary, x, target, settings=before, stop="decision_threshold", bounds=BOX)
    assert found.converged.all()
    assert found.target_prob.item() >= 0.9 > short.target_prob.item()
    assert not short.converged.any()


def test_a_factual_already_beyond_the_threshold_stays(binary):
    x = torch.tensor([[3.0, 0.0, 0.0]])
    settings = Settings(start_noise=0.0)
    found = search(binary, x, torch.tensor([1]), settings=settings, stop="decision_threshold", bounds=BOX)
    assert found.steps.item() == 0
    assert torch.equal(found.x, x)


def test_results_are_what_the_network_says(network, points):
    target = torch.arange(40) % 4
    found = search(network, points, target, generator=torch.Generator().manual_seed(0))
    probabilities = network(found.x).softmax(1).detach()
    torch.testing.assert_close(found.target_prob, probabilities.gather(1, target[:, None])[:, 0])
    assert ((found.x >= 0) & (found.x <= 1)).all()
    assert found.steps.max() <= 20


def test_a_box_per_feature_holds(network, points):
    low, high = torch.linspace(0, 0.3, 12), torch.linspace(0.6, 1, 12)
    found = search(
        network, points.clamp(low, high), torch.arange(40) % 4, bounds=(low, high),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert ((found.x >= low) & (found.x <= high)).all()


def test_factuals_outside_the_box_are_refused(network, points):
    with pytest.raises(ValueError, match="expected x inside the bounds, got values from 100"):
        search(network, points + 100, torch.arange(40) % 4, bounds=(0.0, 1.0), generator=torch.Generator())


def test_search_finds_the_target(network, points):
    target = (network(points).argmax(1) + 1) % 4
    settings = Settings(steps=2000, start_noise=0.0, l1=0.0)
    found = search(network, points, target, settings=settings, stop="decision_threshold", bounds=BOX)
    assert found.converged.all()
    assert metrics.accuracy(network, found.x, target) >= 0.5


def test_nothing_to_search(network):
    found = search(network, torch.empty(0, 12), torch.empty(0, dtype=torch.long), start=torch.empty(0, 12))
    assert found.x.shape == (0, 12)
    assert found.steps.shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stop": "soon"}, "unknown stop 'soon'; known: decision_threshold, generator_conditions"),
        ({"bounds": (1.0, 0.0)}, "expected low <= high in bounds"),
        (
            {"labels": torch.arange(40) % 4},
            "expected targets that differ from the factuals' classes, got 40 that do not",
        ),
        ({"start": torch.zeros(3, 12)}, r"expected start of shape \(40, 12\), got \(3, 12\)"),
        ({}, "expected a torch.Generator or explicit starting points"),
    ],
)
def test_bad_arguments_are_refused(network, points, change, message):
    with pytest.raises(ValueError, match=message):
        search(network, points, torch.arange(40) % 4, **change)


@pytest.mark.parametrize("target", [torch.arange(40), torch.zeros(40, 1, dtype=torch.long), torch.zeros(3).long()])
def test_bad_targets_are_refused(network, points, target):
    with pytest.raises(ValueError, match=r"expected target (in 0 ... 3|of shape \(40,\))"):
        search(network, points, target, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("l1", -1.0, "expected l1 >= 0, got -1.0"),
        ("energy", float("nan"), "expected energy >= 0, got nan"),
        ("steps", -5, "expected steps >= 0, got -5"),
        ("learning_rate", 0.0, "expected learning_rate > 0, got 0.0"),
        ("tolerance", 0.0, "expected tolerance > 0, got 0.0"),
        ("threshold", 1.0, "expected threshold between 0 and 1, got 1.0"),
    ],
)
def test_bad_settings_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{field: value})


def test_default_settings_are_those_of_the_study():
    assert dataclasses.asdict(Settings()) == {
        "l1": 0.01, "energy": 0.5, "reg": 0.1, "learning_rate": 0.1, "steps": 1000, "start_noise": 0.1,
        "threshold": 0.5, "tolerance": 0.01, "proximal": False,
    }  # fmt: skip
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().l1 = 1.0


def test_generators_are_found_by_the_names_of_their_files():
    assert "ecco" in generators.names()
    assert generators.module("ecco") is ecco
    for name in generators.names():
        assert callable(generators.module(name).search)
    for name in ("wachter?", "_common", None):
        with pytest.raises(ValueError, match=r"unknown generator .*; known: .*ecco"):
            generators.module(name)


def test_the_noise_of_the_start_comes_from_the_generator_alone(network, points):
    target = torch.arange(40) % 4
    settings = Settings(steps=3, start_noise=0.2)
    drawn = search(network, points, target, settings=settings, generator=torch.Generator().manual_seed(5))
    start = attacks.start_points(points, 0.2, torch.Generator().manual_seed(5))
    assert torch.equal(drawn.x, search(network, points, target, settings=settings, start=start).x)
    quiet = dataclasses.replace(settings, start_noise=0.0)
    assert torch.equal(
        search(network, points, target, settings=quiet).x,
        search(network, points, target, settings=quiet, start=points).x,
    )


@pytest.mark.parametrize("name", ["x", "start", "target"])
def test_inputs_stay_as_they_are(network, points, name):
    given = {"x": points, "target": torch.arange(40) % 4, "start": points.clone()}
    before = given[name].clone()
    search(network, **given)
    assert torch.equal(given[name], before)


GOLDEN = {
    ("decision_threshold", False): {
        "x": [
            [0.9, 0.05, 0.56831035721, 0.82009429216],
            [0.9, 0.05, 0.42387835801, 0.88442479563],
            [0.50586271168, 0.131090665, 0.86255916609, 0.29776511838],
            [0.13859859184, 0.1100634134, 0.9, 0.44539576858],
        ],
        "steps": [3, 1, 0, 4],
        "converged": [True, True, True, True],
        "target_prob": [0.44932681968, 0.48856917767, 0.46433957552, 0.41543020743],
        "target_logit": [-0.019749359858, -0.00089753545662, 0.52534960028, 0.48413310938],
        "gradient_max": [1.0503056276, 1.6484945198, 0.76991481532, 0.22210473409],
    },
    ("decision_threshold", True): {
        "x": [
            [0.9, 0.05, 0.54899535021, 0.81954001455],
            [0.9, 0.05, 0.42387835801, 0.88442479563],
            [0.50586271168, 0.131090665, 0.86255916609, 0.29776511838],
            [0.15251377596, 0.1146052351, 0.9, 0.45884367357],
        ],
        "steps": [3, 1, 0, 4],
        "converged": [True, True, True, True],
        "target_prob": [0.45110243372, 0.48856917767, 0.46433957552, 0.41453247149],
        "target_logit": [-0.022292937935, -0.00089753545662, 0.52534960028, 0.46978155369],
        "gradient_max": [0.40229992727, 0.61086717913, 0.76991481532, 0.34703988602],
    },
    ("generator_conditions", False): {
        "x": [
            [0.9, 0.076436825882, 0.39582590544, 0.9],
            [0.9, 0.076679010832, 0.42667434441, 0.9],
            [0.44040187047, 0.70101921444, 0.79566385454, 0.05],
            [0.13859859184, 0.1100634134, 0.9, 0.44539576858],
        ],
        "steps": [5, 5, 5, 4],
        "converged": [False, False, False, True],
        "target_prob": [0.47168555813, 0.47708492277, 0.6759257945, 0.41543020743],
        "target_logit": [-0.079711430734, -0.047120720802, 1.2911887604, 0.48413310938],
        "gradient_max": [1.7473490535, 1.706576824, 0.41252252432, 0.22210473409],
    },
    ("generator_conditions", True): {
        "x": [
            [0.9, 0.076294888102, 0.37774292645, 0.9],
            [0.9, 0.076679010832, 0.42667434441, 0.9],
            [0.44040187047, 0.70101921444, 0.79566385454, 0.05],
            [0.083105798752, 0.058915641486, 0.9, 0.43660117335],
        ],
        "steps": [5, 5, 5, 5],
        "converged": [False, False, False, True],
        "target_prob": [0.46839543256, 0.47708492277, 0.6759257945, 0.41933663127],
        "target_logit": [-0.098815758526, -0.047120720802, 1.2911887604, 0.49255587435],
        "gradient_max": [0.68761737143, 0.64435415754, 0.41252252432, 0.20905749138],
    },
}


@pytest.mark.parametrize(("stop", "proximal"), GOLDEN)
def test_golden_values(stop, proximal):
    """Five steps from four points that no random generator made, in float64; every term, clamp and stop takes part."""
    x, target = 0.05 + 0.85 * wave(4, 4), torch.tensor([1, 1, 0, 2])
    start = (x + 0.05 * (2 * wave(4, 4, phase=2.0) - 1)).clamp(0.05, 0.9)
    settings = Settings(
        l1=0.05, energy=0.3, reg=0.2, learning_rate=0.2, steps=5, threshold=0.4, tolerance=0.3, proximal=proximal
    )
    arguments = {"settings": settings, "stop": stop, "bounds": (0.05, 0.9), "start": start}
    found = ecco.search(fixed_network(), x, target, **arguments)
    for name, values in GOLDEN[stop, proximal].items():
        value = getattr(found, name)
        torch.testing.assert_close(value, torch.tensor(values, dtype=value.dtype), atol=1e-9, rtol=0)
