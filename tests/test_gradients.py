"""The closed form agrees with autograd, and autograd with finite differences."""

from __future__ import annotations

import itertools

import pytest
import torch
from strategies import fixed_network, wave
from torch import nn

from robexpl import gradients
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
