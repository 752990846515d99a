"""Trainings to compare adversarial training with: what each adds to the loss, and that two ways to it agree."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from helpers import Opaque
from torch.nn.functional import cross_entropy, one_hot

from robexpl import data, gradients, metrics, models, trainings
from robexpl.regimes import Control, name_of
from robexpl.seeds import torch_generator
from robexpl.training import fit

NAMES = trainings.names()
BOX = torch.tensor(0.0), torch.tensor(1.0)


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


@pytest.fixture
def batch(digits) -> tuple[torch.Tensor, torch.Tensor]:
    return digits.x_train[:12], digits.y_train[:12]


def network(*hidden: int, kind: torch.dtype = torch.float32) -> torch.nn.Sequential:
    return models.mlp(64, list(hidden) or [16], 10, generator=torch_generator(1, "weights")).to(kind)


def gradients_of(name: str, model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, strength: float) -> list:
    box = tuple(side.to(x) for side in BOX)
    trainings.backward(Control(name, strength), model, x, y, box, torch_generator(0, "noise"))
    return [part.grad.clone() for part in model.parameters()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hidden", [(16,), (16, 8)])
def test_closed_forms_are_those_of_any_module(batch, name, hidden):
    """In double precision, so that no ReLU or sign is decided by rounding."""
    x, y = batch[0].double(), batch[1]
    model = network(*hidden, kind=torch.float64)
    own, other = gradients_of(name, model, x, y, 0.3), gradients_of(name, Opaque(model), x, y, 0.3)
    for a, b in zip(own, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_tracked_gradients_are_those_of_autograd(batch):
    x, y = batch[0].double(), batch[1]
    model = network(16, 8, kind=torch.float64)
    (logits, pull), (others, slow) = (gradients.tracked(model, x, closed_form=closed) for closed in (True, False))
    v = torch.softmax(logits, 1) - one_hot(y, 10)
    torch.testing.assert_close(logits, others)
    torch.testing.assert_close(pull(v), slow(v))
    wanted = x.clone().requires_grad_()
    torch.testing.assert_close(
        torch.autograd.grad(cross_entropy(model(wanted), y, reduction="sum"), wanted)[0], pull(v).detach()
    )


def test_double_backpropagation_is_what_it_says(batch):
    """Against the penalty written out with autograd, and against finite differences of it."""
    x, y = batch[0].double(), batch[1]
    model = network(16, kind=torch.float64)

    def written() -> torch.Tensor:
        inputs = x.clone().requires_grad_()
        losses = cross_entropy(model(inputs), y, reduction="none")
        (slope,) = torch.autograd.grad(losses.sum(), inputs, create_graph=True)
        return losses.mean() + 0.3 * slope.square().sum(1).mean()

    own = gradients_of("double_backprop", model, x, y, 0.3)
    expected = torch.autograd.grad(written(), list(model.parameters()))
    for a, b in zip(own, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    weight, small = model[2].weight, 1e-6
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[3, 5] += sign * small
        ends.append(written().item())
        with torch.no_grad():
            weight[3, 5] -= sign * small
    assert (ends[0] - ends[1]) / (2 * small) == pytest.approx(own[2][3, 5].item(), rel=1e-5)


def test_the_jacobian_is_that_of_autograd(batch):
    x = batch[0].double()
    model = network(16, kind=torch.float64)
    full = torch.autograd.functional.jacobian(lambda z: model(z).sum(0), x)  # (classes, n, d)
    expected = full.square().sum((0, 2))
    for closed in (True, False):
        _, size = trainings.module("jacobian").size_of_jacobian(model, x, closed_form=closed)
        torch.testing.assert_close(size, expected)


def test_a_linear_network_has_the_penalties_of_its_weights():
    """|J|_F^2 is |W|_F^2 whatever the inputs, so that the Jacobian penalty is weight decay."""
    x, y = torch.rand(5, 4, generator=torch_generator(0, "x")), torch.tensor([0, 1, 2, 0, 1])
    model = torch.nn.Linear(4, 3)
    a, b = (trainings.module(name).loss(model, x, y, strength=0.7) for name in ("jacobian", "weight_decay"))
    expected = cross_entropy(model(x), y) + 0.35 * model.weight.square().sum()
    torch.testing.assert_close(a, expected)
    torch.testing.assert_close(b, expected)


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(trainings.module(name), "loss")])
def test_without_strength_only_the_cross_entropy_is_left(batch, name):
    model = network()
    loss = trainings.module(name).loss(model, *batch, strength=0.0, box=BOX, generator=torch_generator(0, "noise"))
    torch.testing.assert_close(loss, cross_entropy(model(batch[0]), batch[1]))


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(trainings.module(name), "perturb")])
def test_perturbed_inputs_stay_in_the_box_and_ask_for_adversarial_trainings_loss(batch, name):
    (x, y), model, made = batch, network(), trainings.module(name)
    how = {"strength": 0.2, "box": BOX}
    moved = made.perturb(model, x, y, **how, generator=torch_generator(0, "noise"))
    assert moved.min() >= 0
    assert moved.max() <= 1
    loss, radius = trainings.backward(Control(name, 0.2), model, x, y, BOX, torch_generator(0, "noise"))
    assert radius == pytest.approx((moved - x).abs().amax(1).mean().item(), rel=1e-6)
    torch.testing.assert_close(loss, cross_entropy(model(moved), y) + cross_entropy(model(x), y))
    if name != "gaussian_noise":
        assert (moved - x).abs().max() <= 0.2 + 1e-6
        inside = (x > 0.2) & (x < 0.8)
        if name == "sign_noise":
            torch.testing.assert_close((moved - x).abs()[inside], torch.full_like(x[inside], 0.2))


def test_single_step_adversaries_do_more_harm_than_random_signs(batch, digits):
    model = fit(digits, "standard", seed=0, epochs=4)
    x, y = digits.x_test, digits.y_test
    how = {"strength": 0.2, "box": BOX}
    harmed = [
        metrics.accuracy(
            model, trainings.module(name).perturb(model, x, y, **how, generator=torch_generator(0, "a")), y
        )
        for name in ("fgsm_start", "sign_noise")
    ]
    assert harmed[0] < harmed[1] - 0.1


def test_the_adversary_of_trades_parts_the_answers(batch):
    """The loss is that of its definition at the perturbed points, which lie further apart than noise of that radius."""
    (x, y), model, made = batch, network(), trainings.module("trades")
    own = torch.log_softmax(model(x), 1)
    loss = made.loss(model, x, y, strength=2.0, box=BOX, generator=torch_generator(0, "noise"))
    divergence = (loss - cross_entropy(model(x), y)) / 2
    signs = torch.randint(2, x.shape, generator=torch_generator(0, "signs")) * 2.0 - 1
    other = torch.log_softmax(model(torch.clamp(x + made.OPPONENT.eps * signs, *BOX)), 1)
    noise = (own.exp() * (own - other)).sum(1).mean()
    assert divergence.item() > 3 * noise.item() > 0


@pytest.mark.parametrize("name", NAMES)
def test_every_control_trains_any_network(digits, name):
    made = trainings.module(name)
    assert len(made.STRENGTHS) >= 3
    assert list(made.STRENGTHS) == sorted(made.STRENGTHS)
    few = dataclasses.replace(digits, x_train=digits.x_train[:320], y_train=digits.y_train[:320])
    conv = models.build("lenet", 64, 10, (8, 8), generator=torch_generator(0, "weights"))
    for model in (None, conv):
        history: list[dict[str, float]] = []
        trained = fit(few, Control(name, made.STRENGTHS[0]), seed=0, epochs=2, model=model, history=history)
        assert history[1]["loss"] < history[0]["loss"]
        assert not trained.training


def test_controls_share_first_weights_and_batches_with_the_regimes(digits):
    few = dataclasses.replace(digits, x_train=digits.x_train[:32], y_train=digits.y_train[:32])
    standard = fit(few, "standard", seed=0, epochs=1)
    same = fit(few, Control("weight_decay", 0.0), seed=0, epochs=1)
    for a, b in zip(standard.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_a_checkpoint_of_another_strength_is_refused(digits, tmp_path):
    few = dataclasses.replace(digits, x_train=digits.x_train[:64], y_train=digits.y_train[:64])

    class Halt(list):
        def append(self, row):
            super().append(row)
            if len(self) == 2:
                raise KeyboardInterrupt

    how = {"seed": 0, "epochs": 3, "checkpoint": tmp_path / "a.part"}
    with pytest.raises(KeyboardInterrupt):
        fit(few, Control("gaussian_noise", 0.1), history=Halt(), **how)
    with pytest.raises(ValueError, match="expected the checkpoint of this very training"):
        fit(few, Control("gaussian_noise", 0.2), **how)
    resumed, whole = (
        fit(few, Control("gaussian_noise", 0.1), **how),
        fit(few, Control("gaussian_noise", 0.1), seed=0, epochs=3),
    )
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


@pytest.mark.parametrize(
    ("control", "says"),
    [
        (Control("dropout", 0.1), "unknown training 'dropout'; known: double_backprop, fgsm_start"),
        (Control("jacobian", -1.0), "expected strength >= 0, got -1.0"),
        (Control("jacobian", float("nan")), "expected strength >= 0, got nan"),
        (Control("jacobian", "much"), "expected strength as one number, got 'much'"),
    ],
)
def test_other_controls_are_refused(digits, control, says):
    with pytest.raises(ValueError, match=says):
        fit(digits, control, seed=0, epochs=1)
    assert name_of(Control("jacobian", 0.1)) == "jacobian"
