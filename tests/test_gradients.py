"""The closed form agrees with autograd, and autograd with finite differences."""

from __future__ import annotations

import itertools

import pytest
import torch
from strategies import CLASSES, NET, WAYS, D, Wrapped, changed, fixed_network, wave
from torch import nn

from robexpl import attacks, gradients
from robexpl.generators import ecco
from robexpl.gradients import backward, relu_layers, transpose_storage, vjp

LOSS = 2.8731928092
SIZES = [
    1.8473628415,
    1.4490696764,
    1.7670990107,
    0.91312883498,
]  # of the gradients of weights and biases, layer by layer
LOGITS = [0.39807895383, -0.38898495214, 0.31275017519]
PULLED = [-0.15523554191, -0.8928445069, 0.59111452251, 0.12040849407]


def both(model: nn.Module, x: torch.Tensor, v: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    results = []
    for closed_form in (True, False):
        logits, pull = vjp(model, closed_form=closed_form)(x)
        logits = logits.clone()
        results.append((logits, pull(v.clone()).clone()))
    return results


@pytest.mark.parametrize("n", [1, 3, 40])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_closed_form_equals_autograd(points, generator, n, depth):
    widths = [12, *([9] * (depth - 1)), 4]
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    model = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=generator)
    assert relu_layers(model) is not None
    v = torch.randn(n, 4, generator=generator)
    (logits, gradient), (logits_too, gradient_too) = both(model, points[:n], v)
    torch.testing.assert_close(logits, logits_too, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, gradient_too, atol=1e-5, rtol=1e-5)


def test_gradient_equals_finite_differences(network, points):
    model, x, step = network.double(), points[:1].double(), 1e-6
    v = torch.tensor([[0.3, -1.0, 2.0, 0.5]], dtype=torch.double)
    _, pull = vjp(model)(x)
    gradient = pull(v.clone()).clone()
    for j in range(12):
        shift = torch.zeros_like(x)
        shift[0, j] = step
        with torch.no_grad():
            slope = float(((model(x + shift) - model(x - shift)) * v).sum()) / (2 * step)
        assert float(gradient[0, j]) == pytest.approx(slope, abs=1e-6)


def test_weights_are_those_of_the_moment(network, points):
    before = vjp(network)(points)[0].clone()
    with torch.no_grad():
        network[2].bias.add_(1)
    torch.testing.assert_close(vjp(network)(points)[0], before + 1)


def test_other_modules_go_through_autograd(network, points, opaque):
    assert relu_layers(opaque) is None
    assert relu_layers(nn.Sequential(nn.Linear(12, 4, bias=False))) is None
    assert relu_layers(nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 4))) is None
    hooked = nn.Sequential(nn.Linear(12, 4))
    hooked.register_forward_hook(lambda module, args, output: output * 2)
    assert relu_layers(hooked) is None
    torch.testing.assert_close(vjp(opaque)(points)[0], network(points).detach())


def test_parameters_get_no_gradient(opaque, points):
    _, pull = vjp(opaque)(points)
    pull(torch.ones(40, 4))
    assert all(parameter.grad is None for parameter in opaque.parameters())


def test_a_model_with_other_output_is_refused(points):
    with pytest.raises(ValueError, match=r"expected the model to map \(n, d\) to logits"):
        vjp(nn.Flatten(0))(points)


def test_gradients_of_a_linear_network_are_its_weights(binary):
    _, pull = vjp(binary)(torch.zeros(2, 3))
    assert pull(torch.eye(2)).tolist() == [[-1.0, 2.0, -0.5], [1.0, -2.0, 0.5]]
    _, pull = vjp(nn.Sequential(binary))(torch.zeros(2, 3))  # in closed form
    assert pull(torch.eye(2)).abs().amax(1).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("large", [False, True])
def test_large_layers_are_kept_once_and_give_the_same(generator, large, monkeypatch):
    monkeypatch.setattr(gradients, "SMALL", 10 if large else 10_000)
    model = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 4))
    (logits, gradient), (logits_too, gradient_too) = both(
        model, torch.rand(7, 12, generator=generator), torch.randn(7, 4, generator=generator)
    )
    torch.testing.assert_close(logits, logits_too, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradient, gradient_too, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("laid_out", [False, True])
def test_closed_form_parameter_gradients_equal_autograd(network, points, labels, laid_out):
    gradients = []
    for closed_form in (True, False):
        if laid_out and closed_form:
            transpose_storage(network)
        loss = backward(network, points, labels, scale=2.0, closed_form=closed_form)
        gradients.append([loss, *(parameter.grad.clone() for parameter in network.parameters())])
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)
    expected = 2 * torch.nn.functional.cross_entropy(network(points), labels).detach()
    torch.testing.assert_close(gradients[0][0], expected)


def test_laying_out_weights_changes_no_value(network, points):
    before, weight = network(points).detach(), network[0].weight.detach().clone()
    transpose_storage(network)
    assert torch.equal(network[0].weight, weight)
    torch.testing.assert_close(network(points).detach(), before)


def test_golden_values():
    """Logits, gradients and the loss of a fixed network on fixed points, in float64, whose numbers were typed once."""
    x, y, close = wave(3, 4), torch.tensor([0, 2, 1]), {"atol": 1e-9, "rtol": 0}
    for closed_form in (True, False):
        model = fixed_network()
        loss = backward(model, x, y, scale=2.0, closed_form=closed_form)
        assert loss.item() == pytest.approx(LOSS, abs=1e-9)
        sizes = torch.stack([weight.grad.norm() for weight in model.parameters()])
        torch.testing.assert_close(sizes, torch.tensor(SIZES, dtype=torch.double), **close)
        logits, pull = vjp(model, closed_form=closed_form)(x)
        torch.testing.assert_close(logits[2], torch.tensor(LOGITS, dtype=torch.double), **close)
        torch.testing.assert_close(pull(wave(3, 3))[2], torch.tensor(PULLED, dtype=torch.double), **close)


# The closed form is for networks that do what their layers say

Q, Y = torch.rand(9, D, generator=torch.Generator().manual_seed(1)), torch.arange(9) % CLASSES


def uses(model: nn.Module) -> list[torch.Tensor]:
    """Attack and search by a network."""
    how = {"bounds": (0.0, 1.0), "start": Q}
    settings = ecco.Settings(steps=5)
    return [
        attacks.fgsm(model, Q, Y, eps=0.1, bounds=(0.0, 1.0)),
        attacks.pgd(model, Q, Y, eps=0.1, step_size=0.03, steps=5, **how),
        ecco.search(model, Q, Y, settings=settings, stop="generator_conditions", **how).x,
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_network_altered_in_any_way_is_taken_as_it_is(way):
    """As behind a module, where there is no closed form; whatever was replaced, hooked or parametrised."""
    altered = changed(way)
    assert relu_layers(altered) is None
    for found, expected in zip(uses(altered), uses(Wrapped(altered)), strict=True):
        assert torch.equal(found, expected)
    if way != "normalised weights":  # which says the same in other words
        assert not torch.equal(uses(altered)[2], uses(NET)[2])
    if not way.startswith("backward"):
        loss = backward(altered, Q, Y)
        torch.testing.assert_close(loss, nn.functional.cross_entropy(altered(Q), Y).detach())


@pytest.mark.parametrize("alter", ["logits", "pullback", "width", "nothing"])
def test_what_no_look_at_a_network_shows_is_found_by_trying(alter, monkeypatch):
    """A patch of the class itself: it is seen where the two ways are compared, and nowhere else."""

    class Negated(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, slope):
            return -slope

    old, model = nn.Linear.forward, NET
    patches = {
        "logits": lambda self, x: old(self, 1 - x),
        "pullback": lambda self, x: Negated.apply(old(self, x)) if self is NET[2] else old(self, x),
        "width": lambda self, x: torch.cat([old(self, x), x[:, :1]], 1) if self is NET[2] else old(self, x),
        "nothing": lambda self, x: old(self, x),
    }
    plain, calls = uses(NET), []
    monkeypatch.setattr(nn.Linear, "forward", patches[alter])
    expected = uses(Wrapped(model))
    monkeypatch.setattr(
        gradients, "_perceptron", lambda layers, make=gradients._perceptron: calls.append(1) or make(layers)
    )
    found = uses(model)
    assert len(calls) == 3  # it was tried, and left
    assert relu_layers(model) is not None
    for one, other in zip(found, expected if alter != "nothing" else plain, strict=True):
        assert torch.equal(one, other)


def test_the_closed_form_is_kept_where_it_is_right(monkeypatch):
    """On any points and in any precision: rounding is no difference."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for scale in (1e-3, 1.0, 30.0):
            model, x = nn.Sequential(nn.Linear(D, 40), nn.ReLU(), nn.Linear(40, 3)).to(dtype), (scale * Q).to(dtype)
            run = vjp(model, tried=x[:2])
            assert run.__qualname__.startswith("_perceptron"), (dtype, scale)
    assert vjp(NET, tried=Q[:0]).__qualname__.startswith("_perceptron")
    assert not vjp(NET, closed_form=False, tried=Q).__qualname__.startswith("_perceptron")


def test_gradients_of_weights_in_any_mode(network, opaque, points, labels):
    """Gradients are on where they are needed, whatever the caller's mode, and in the precision of the points."""
    for model in (network, opaque):
        expected = [backward(model, points, labels), *[w.grad.clone() for w in model.parameters()]]
        for around in (torch.no_grad(), torch.autocast("cpu", torch.bfloat16), torch.device("meta")):
            with around:
                found = [backward(model, points, labels), *[w.grad.clone() for w in model.parameters()]]
            assert all(map(torch.equal, found, expected))
        with torch.autocast("cpu", torch.bfloat16):
            logits, pull = vjp(model)(points)
            slope = pull(torch.ones(40, 4))
        assert logits.dtype == slope.dtype == torch.float32
        torch.testing.assert_close(logits, network(points).detach())


def test_logits_that_lose_the_input_in_a_later_block_are_refused(points):
    class Cut(nn.Module):
        def forward(self, x):
            return x[:, :3] if x.sum() > 0 else torch.ones(len(x), 3)

    with pytest.raises(
        ValueError, match=r"^expected logits that follow the input, got some without gradients for \(40, 12"
    ):
        vjp(Cut())(-points)
