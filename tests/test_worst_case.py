"""The strongest of several attacks: against closed forms, brute force, its own parts and masked gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import Opaque, linear

from robexpl import attacks, metrics, models
from robexpl.attacks.worst_case import NAMES, PARTS, details
from robexpl.seeds import torch_generator

BOX = (0.0, 1.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def best_of_linear(w: torch.Tensor, b: torch.Tensor, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """Return max over classes j != y and points of ball and box of f_j - f_y, for f(x) = w x + b, shape (n,)."""
    low, high = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
    slopes = w[None] - w[y][:, None]  # (n, classes, d)
    best = torch.where(slopes > 0, slopes * high[:, None], slopes * low[:, None]).sum(2) + b - b[y][:, None]
    return best.scatter(1, y[:, None], -torch.inf).amax(1)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("eps", [0.0, 0.02, 0.06])
def test_it_reaches_the_optimum_of_a_linear_network(classes, eps):
    draw = seeded(classes)
    w, b, x = (torch.randn(*size, generator=draw) for size in ((classes, 12), (classes,), (60, 12)))
    x = x.sigmoid()
    y = (x @ w.T + b).argmax(1)
    y[:3] = (y[:3] + 1) % classes  # these are wrong from the beginning, and stay as they are
    found, best = details(linear(w, b), x, y, eps=eps, bounds=BOX, generator=seeded()), best_of_linear(w, b, x, y, eps)
    assert torch.equal(found.x[:3], x[:3])
    assert [NAMES[i] for i in found.part[:3]] == ["clean"] * 3
    decided = best.abs() > 1e-4  # beyond what rounding decides
    assert torch.equal((found.lead > 0)[decided], (best > 0)[decided])
    held = best < 0
    assert int(held.sum()) > 0
    torch.testing.assert_close(found.lead[held], best[held], atol=1e-4, rtol=0)


def bent(d: int, classes: int, steep: float) -> tuple[torch.nn.Sequential, torch.Tensor, torch.Tensor]:
    """Return a perceptron that bends within the box [0, 1]^d, points of it and their classes, which differ."""
    model, x = models.mlp(d, 24, classes, generator=torch_generator(1, "bent")), torch.rand(40, d, generator=seeded(2))
    with torch.no_grad():
        model[0].weight.mul_(steep)
        model[0].bias.copy_(0.3 * torch.randn(24, generator=seeded(3)) - model[0].weight.sum(1) / 2)
        model[2].bias.sub_(model(x).mean(0))
        return model.requires_grad_(True), x, model(x).argmax(1)


@pytest.fixture
def case() -> tuple[torch.nn.Sequential, torch.Tensor, torch.Tensor]:
    return bent(12, 4, 1.5)


@pytest.mark.parametrize("classes", [2, 4])
def test_no_point_of_a_fine_grid_changes_a_class_that_it_leaves(classes):
    (model, x, y), eps = bent(2, classes, 6), 0.06
    steps = torch.linspace(-eps, eps, 61)
    around = (x[:, None] + torch.cartesian_prod(steps, steps)).clamp(0, 1)
    with torch.no_grad():
        broken = (model(around.flatten(0, 1)).argmax(1).view(40, -1) != y[:, None]).any(1)
    found = details(model, x, y, eps=eps, bounds=BOX, generator=seeded())
    assert 3 < int(broken.sum()) < 37
    assert bool((found.lead > 0)[broken].all())


@pytest.mark.parametrize("attack", [attacks.worst_case, attacks.square])
def test_it_never_leaves_ball_or_box(attack, case):
    model, x, y = case
    for eps, (low, high) in ((0.01, BOX), (2.0, (torch.linspace(-0.2, 0, 12), torch.linspace(1, 1.5, 12)))):
        adv = attack(model, x, y, eps=eps, bounds=(low, high), generator=seeded())
        assert float((adv - x).abs().max()) <= eps + 1e-6
        assert ((adv >= torch.as_tensor(low)) & (adv <= torch.as_tensor(high))).all()


def test_it_is_never_weaker_than_its_parts_and_other_attacks(case):
    (model, x, y), how = case, {"eps": 0.06, "bounds": BOX}
    whole = details(model, x, y, **how, generator=seeded())
    left = whole.lead <= 0
    assert 3 < int(left.sum()) < 37
    assert torch.equal(left, whole.part == 0)
    for name in set(PARTS) - {"polish"}:
        alone = details(model, x, y, **how, generator=seeded(), parts=[name])
        assert not (left & (alone.lead > 0)).any()  # row by row
        assert set(alone.part.tolist()) == {0, NAMES.index(name)}
    for adv in (
        attacks.fgsm(model, x, y, **how),
        attacks.pgd(model, x, y, **how, step_size=0.01, steps=50, generator=seeded()),
        attacks.square(model, x, y, **how, generator=seeded(), steps=300),
    ):
        assert not (left & (model(adv).argmax(1) != y)).any()


def test_any_module_gives_the_same_and_so_does_any_scale_of_the_logits(case):
    (model, x, y), how = case, {"eps": 0.06, "bounds": BOX}
    large = copy.deepcopy(model)
    with torch.no_grad():
        large[2].weight.mul_(1024)
        large[2].bias.mul_(1024)
    parts = ["margin", "targets", "square"]
    found = [details(one, x, y, **how, generator=seeded(), parts=parts) for one in (model, Opaque(model), large)]
    broken = found[0].lead > 0
    assert 3 < int(broken.sum()) < 37
    for other in found[1:]:
        torch.testing.assert_close(other.x[broken], found[0].x[broken], atol=1e-5, rtol=0)
        assert torch.equal(other.part, found[0].part)
    assert torch.equal(found[2].x, found[0].x)  # a power of two rounds nothing
    sure = details(large, x, y, **how, generator=seeded(), parts=["cross_entropy"])  # where its softmax is 0 or 1
    assert int((sure.lead > 0).sum()) >= int(broken.sum()) - 2


def test_random_numbers_come_from_the_generator_and_no_row_depends_on_another(case):
    model, x, y = case
    other = y.clone()
    other[::2] = (y[::2] + 1) % 4  # every second row is wrong from the beginning
    how = {"eps": 0.06, "bounds": BOX, "parts": ["margin", "square"]}
    again, same, another, rest = (
        details(model, x, labels, **how, generator=seeded(seed)).x
        for seed, labels in ((0, y), (0, y), (1, y), (0, other))
    )
    assert torch.equal(again, same)
    assert not torch.equal(again, another)
    torch.testing.assert_close(again[1::2], rest[1::2], atol=1e-5, rtol=0)
    assert torch.equal(rest[::2], x[::2])


class Masked(torch.nn.Module):
    """A network whose gradients have nothing to do with its answers."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.noise = inner, torch.randn(12, 4, generator=seeded(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner((x * 16).round() / 16).detach() + (x - x.detach()) @ self.noise


def test_the_attack_by_answers_alone_finds_what_masked_gradients_hide(case):
    (model, x, _), how = case, {"eps": 0.15, "bounds": BOX}
    hidden = Masked(model)
    y = hidden(x).argmax(1)
    found = details(hidden, x, y, **how, generator=seeded(), parts=["cross_entropy", "square"])
    fgsm = metrics.accuracy(hidden, attacks.fgsm(hidden, x, y, **how), y)
    assert metrics.accuracy(hidden, found.x, y) < fgsm - 0.3
    assert int((found.part == NAMES.index("square")).sum()) >= 3


class Counting(torch.nn.Module):
    """Answers without gradients, and counts how often it is asked for several rows."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.asked = inner, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked += len(x) > 2
        assert not torch.is_grad_enabled() or len(x) <= 2  # the check of the model tries two rows
        return self.inner(x.detach()).detach()


@pytest.mark.parametrize(("side", "shape"), [(9, None), (6, (2, 3)), (6, None)])
def test_square_asks_as_often_as_it_may_and_moves_inputs_by_all_of_eps(side, shape):
    w = torch.randn(3, side, generator=seeded(3))
    x, model = torch.full((30, side), 0.5), Counting(linear(w, torch.tensor([9.0, 0, 0])))  # class 0 in reach of all
    y = torch.zeros(30, dtype=torch.long)
    adv = attacks.square(model, x, y, eps=0.1, bounds=BOX, generator=seeded(), steps=200, image_shape=shape)
    assert model.asked == 201  # once before it begins
    torch.testing.assert_close((adv - x).abs(), torch.full_like(x, 0.1))
    ends = x + 0.1 * (w[1:] - w[:1]).sign()[:, None]  # the optimum of each other class
    reached = torch.stack([(adv - end).abs().amax(1) < 1e-6 for end in ends]).any(0)
    assert float(reached.double().mean()) > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": -1}, "^expected eps >= 0, got -1$"),
        ({"generator": None}, "^expected generator as Generator, got None$"),
        ({"image_shape": (5, 5)}, r"^expected image_shape of 12 pixels, got \(5, 5\)$"),
        ({"steps": -1}, "^expected steps >= 0, got -1$"),
        ({"parts": ["fab"]}, "^unknown part 'fab'; known: cross_entropy, margin, targets, shrinking, polish, square$"),
    ],
)
def test_bad_settings_are_refused(network, points, labels, change, message):
    attack = attacks.square if {"image_shape", "steps"} & set(change) else details
    with pytest.raises(ValueError, match=message):
        attack(network, points, labels, **{"eps": 0.1, "bounds": BOX, "generator": seeded(), **change})
