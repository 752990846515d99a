"""Wachter and ECCCo beside ECCo; split conformal prediction."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from helpers import linear

from robexpl import data, generators, training
from robexpl.generators import eccco, ecco, wachter

STOPS = ecco.STOPS


def test_wachter_is_ecco_without_energy(network, points):
    target = torch.arange(40) % 4
    how = {"bounds": (0.0, 1.0), "start": points, "stop": STOPS[1]}
    found = wachter.search(network, points, target, settings=ecco.Settings(steps=30), **how)
    same = ecco.search(network, points, target, settings=ecco.Settings(steps=30, energy=0.0), **how)
    assert all(torch.equal(a, b) for a, b in zip(vars(found).values(), vars(same).values(), strict=True))
    energetic = ecco.search(network, points, target, settings=ecco.Settings(steps=30), **how)
    assert not torch.equal(found.x, energetic.x)


def gradient_of_size(logits: torch.Tensor, s: eccco.Settings) -> torch.Tensor:
    leaf = logits.clone().requires_grad_()
    member = torch.sigmoid((leaf.softmax(1) - s.quantile) / s.temperature)
    (s.size * (member.sum(1) - s.kappa).clamp(min=0)).sum().backward()
    return leaf.grad


@pytest.mark.parametrize("kappa", [0, 1])
def test_the_first_step_follows_the_gradient_of_the_whole_objective(network, points, kappa):
    model, x, target = network.double(), points[:10].double(), torch.arange(10) % 4
    s = eccco.Settings(size=0.7, kappa=kappa, temperature=0.3, quantile=0.2, steps=1, l1=0.0, start_noise=0.0)
    how = {"bounds": (-9.0, 9.0), "stop": STOPS[1], "start": x}
    found = eccco.search(model, x, target, settings=s, **how)
    plain = ecco.search(model, x, target, settings=ecco.Settings(steps=1, l1=0.0, start_noise=0.0), **how)
    leaf = x.clone().requires_grad_()
    logits = model(leaf)
    logits.backward(gradient_of_size(logits.detach(), s))
    torch.testing.assert_close(plain.x - found.x, s.learning_rate * leaf.grad)


def test_without_weight_or_for_large_sets_allowed_it_is_ecco(network, points):
    target, how = torch.arange(40) % 4, {"bounds": (0.0, 1.0), "start": points, "stop": STOPS[0]}
    plain = ecco.search(network, points, target, settings=ecco.Settings(steps=30), **how)
    for changes in ({"size": 0.0}, {"kappa": 4}):
        found = eccco.search(network, points, target, settings=eccco.Settings(steps=30, **changes), **how)
        assert torch.equal(found.x, plain.x)
        assert torch.equal(found.steps, plain.steps)


def test_any_module_gives_the_same_with_the_penalty(network, opaque, points):
    target, how = torch.arange(40) % 4, {"bounds": (0.0, 1.0), "start": points, "stop": STOPS[1]}
    s = eccco.Settings(steps=15, quantile=0.1)
    found, same = (eccco.search(model, points, target, settings=s, **how).x for model in (network, opaque))
    torch.testing.assert_close(found, same, atol=1e-5, rtol=0)


def test_the_penalty_makes_sets_smaller():
    # two classes with logits +-x: without the penalty the search stops where p_t = 1 / 2, in a set of both classes
    model = linear(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.0, 0.0]))
    x, target = torch.full((1, 1), -1.0), torch.tensor([1])
    how = {"bounds": (-9.0, 9.0), "stop": STOPS[1]}
    same = {"energy": 0.0, "l1": 0.6, "start_noise": 0.0, "steps": 400, "proximal": True}
    plain = ecco.search(model, x, target, settings=ecco.Settings(**same), **how)
    found = eccco.search(model, x, target, settings=eccco.Settings(size=2.0, quantile=0.3, **same), **how)
    sizes = [float(torch.sigmoid((model(z).softmax(1) - 0.3) / 0.1).sum().detach()) for z in (found.x, plain.x)]
    assert sizes[0] < sizes[1] - 0.05


@pytest.mark.parametrize(("n", "miss"), [(19, 0.1), (40, 0.25), (4, 0.1)])
def test_split_conformal_sets_cover_as_often_as_they_say(n, miss):
    """Of n + 1 exchangeable rows the last is covered with probability 1 - floor(miss (n + 1)) / (n + 1)."""
    rng, hits, times = np.random.default_rng(0), 0, 1000
    identity = torch.nn.Identity()
    for _ in range(times):
        logits = torch.from_numpy(rng.normal(size=(n + 1, 3)))
        y = torch.zeros(n + 1, dtype=torch.long)
        q = eccco.quantile(identity, logits[:n], y[:n], miss=miss)
        hits += bool(eccco.sets(identity, logits[n:], eccco.Settings(quantile=q))[0, 0])
    expected = 1 - np.floor(miss * (n + 1) + 1e-9) / (n + 1)
    assert hits / times == pytest.approx(expected, abs=4 * np.sqrt(0.25 * 0.75 / times))
    assert hits / times >= 1 - miss - 4 * np.sqrt(0.25 * 0.75 / times)


def test_the_sets_of_a_trained_network_cover_rows_that_it_did_not_see():
    digits = data.load("digits")
    model = training.fit(digits, "standard", seed=0, epochs=4)
    settings = eccco.fitted(replace(ecco.Settings(), energy=0.3), model, digits)
    assert isinstance(settings, eccco.Settings)
    assert settings.energy == 0.3
    rest, y = digits.x_test[1::2], digits.y_test[1::2]
    covered = eccco.sets(model, rest, settings).gather(1, y[:, None]).double().mean()
    assert abs(float(covered) - 0.9) < 4 * np.sqrt(0.1 * 0.9 / len(rest) + 0.1 * 0.9 / len(digits.x_test[::2]))


@pytest.mark.parametrize("change", [{"temperature": 0}, {"miss": 0.0}, {"miss": 1.0}, {"size": -1}, {"quantile": "a"}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match=f"expected {next(iter(change))}"):
        eccco.Settings(**change)


def test_eccco_wants_its_own_settings(network, points):
    with pytest.raises(ValueError, match="expected settings as Settings"):
        eccco.search(
            network, points, torch.zeros(40, dtype=torch.long), settings=ecco.Settings(), stop=STOPS[0], bounds=(0, 1)
        )


def test_every_generator_has_settings_and_a_search():
    for name in ("ecco", "eccco", "wachter"):
        assert name in generators.names()
        module = generators.module(name)
        assert {field.name for field in fields(ecco.Settings)} <= {field.name for field in fields(module.Settings)}
        assert callable(module.search)
