"""Certificates against the enumeration of all patterns, exact arithmetic and attacks."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from enumeration import least_margin, perceptron
from helpers import Opaque

from robexpl import attacks, certify, data, models, training
from robexpl.certify import ACTIVE, INACTIVE
from robexpl.seeds import torch_generator


def rows(n: int, d: int) -> torch.Tensor:
    return torch.rand(n, d, generator=torch_generator(0, "rows")).double()


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.3])
def test_the_bracket_holds_the_least_margin_of_the_enumeration(eps) -> None:
    model, x = perceptron(4, 6, 3, seed=1), rows(4, 4)
    y = model(x).argmax(1)
    found = certify.certify(model, x, y, eps=eps, bounds=(0, 1))
    for i, own in enumerate(y.tolist()):
        low, high = (x[i] - eps).clamp(min=0).numpy(), (x[i] + eps).clamp(max=1).numpy()
        least = least_margin(model, own, low, high)
        assert found.proven[i].item() == (least > 0)
        assert found.broken[i].item() == (least < 0)
        assert found.bound[i] <= least + 1e-9
        assert found.margin[i] >= least - 1e-6  # the program's tolerance
    assert (model(found.x).argmax(1) != y)[found.broken].all()
    assert ((found.x - x).abs() <= eps + 1e-15).all()


def test_both_outcomes_are_met_above() -> None:
    model, x = perceptron(4, 6, 3, seed=1), rows(4, 4)
    found = [certify.certify(model, x, model(x).argmax(1), eps=eps, bounds=(0, 1)) for eps in (0.02, 0.1, 0.3)]
    assert any(f.proven.any() for f in found)
    assert any(f.broken.any() for f in found)


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_bounds_hold_in_exact_arithmetic(scale) -> None:
    """The bound of a node is at most the value, in fractions, of the linear function that it stands for."""
    model, generator = perceptron(5, 8, 3, seed=2), torch_generator(0, "nodes")
    with torch.no_grad():  # terms that cancel: the first unit and its copy count against each other
        model[0].weight[1] = model[0].weight[0]
        model[0].bias[1] = model[0].bias[0]
        model[2].weight[:, 0], model[2].weight[:, 1] = scale * model[2].weight[:, 2], -scale * model[2].weight[:, 2]
    network = [part.detach() for layer in (model[0], model[2]) for part in (layer.weight, layer.bias)]
    ball = certify._Ball(*network, 0, torch.rand(5, generator=generator).double(), torch.full((5,), 0.37).double())
    known = ball.known.expand(40, -1).clone()
    split = torch.randint(3, known.shape, generator=generator)
    known = torch.where((known == 0) & (split > 0), torch.where(split == 1, ACTIVE, INACTIVE), known)
    which = torch.arange(40) % 2
    value, slopes, _, _ = ball.bound((which, known, torch.randn(40, 8, generator=generator)))
    for row in range(40):
        least, most, _, _ = ball.limits(which[row : row + 1], known[row : row + 1])
        assert ((slopes[row] >= least[0]) & (slopes[row] <= most[0])).all()
        s = [Fraction(v) for v in slopes[row].tolist()]
        exact = Fraction(float(network[3][0])) - Fraction(float(network[3][which[row] + 1]))
        for i in range(8):
            a = Fraction(float(network[2][0, i])) - Fraction(float(network[2][which[row] + 1, i]))
            if known[row, i] == 0 and a < 0:
                exact += a * Fraction(float(ball.offset[i]))
            exact += s[i] * Fraction(float(network[1][i]))
        for j in range(5):
            through = sum(s[i] * Fraction(float(network[0][i, j])) for i in range(8))
            exact += through * Fraction(float(ball.middle[j])) - abs(through) * Fraction(float(ball.radius[j]))
        assert Fraction(float(value[row])) <= exact


@pytest.mark.parametrize("scale", [1.0, 1e8])
def test_chords_lie_above_relu_in_exact_arithmetic(scale) -> None:
    """Also where two large terms of h cancel, whose rounding is then far above that of the rest."""
    network = [part.detach().clone() for part in perceptron(5, 200, 2, seed=7).parameters()]
    network[0][:, 0] *= scale
    network[0][:, 1] = -network[0][:, 0]
    middle, radius = torch.full((5,), 0.3).double(), torch.full((5,), 0.3).double()
    middle[1], radius[:2] = 0.1 * 3, 0.3 / scale**2
    ball = certify._Ball(*network, 0, middle, radius)
    unstable = (ball.known == 0).nonzero()[:, 0].tolist()
    assert len(unstable) > 20
    for i in unstable:
        w, b = [Fraction(v) for v in network[0][i].tolist()], Fraction(float(network[1][i]))
        middle, radius = ([Fraction(v) for v in side.tolist()] for side in (ball.middle, ball.radius))
        centre = b + sum(p * q for p, q in zip(w, middle, strict=True))
        reach = sum(abs(p) * q for p, q in zip(w, radius, strict=True))
        for h in (centre - reach, centre + reach):
            assert Fraction(float(ball.slope[i])) * h + Fraction(float(ball.offset[i])) >= max(h, 0)


def test_no_attack_breaks_what_is_proven() -> None:
    digits = data.load("digits")
    model = training.fit(digits, "standard", seed=0, epochs=2)
    x, y, attacked = digits.x_test[:30], digits.y_test[:30], {}
    for eps in (0.02, 0.1):
        how = {"eps": eps, "step_size": eps / 8, "steps": 30, "bounds": digits.bounds}
        adv = attacks.pgd(model, x, y, generator=torch_generator(0, "start"), **how)
        with torch.no_grad():
            fell = model(adv).argmax(1) != y  # in single precision, as attacks are counted
        alone = certify.certify(model, x, y, eps=eps, bounds=digits.bounds, nodes=100)
        helped = certify.certify(model, x, y, eps=eps, bounds=digits.bounds, nodes=100, tried=adv)
        assert not (alone.proven & fell).any()
        assert not (alone.proven & alone.broken).any()
        assert (helped.broken >= alone.broken).all()
        assert helped.broken[fell].all()
        attacked[eps] = alone
    assert attacked[0.02].proven.sum() > attacked[0.1].proven.sum() > 0


def test_a_budget_counts_nodes_and_each_image_has_its_own() -> None:
    model, x = perceptron(40, 200, 3, seed=1), rows(20, 40)
    y = model(x).argmax(1)
    few, many = (certify.certify(model, x, y, eps=0.03, bounds=(0, 1), nodes=n) for n in (20, 600))
    assert (few.nodes <= 20).all()
    assert (~(few.proven | few.broken)).any()
    assert (many.proven | many.broken).sum() > (few.proven | few.broken).sum()
    assert (few.proven <= many.proven).all()
    opened = ~(few.proven | few.broken)
    assert (few.bound <= few.margin)[opened].all()
    turned = certify.certify(model, x.flip(0), y.flip(0), eps=0.03, bounds=(0, 1), nodes=20)
    assert torch.equal(turned.proven.flip(0), few.proven)
    assert torch.equal(turned.nodes.flip(0), few.nodes)


def test_an_image_of_another_class_is_broken_by_itself() -> None:
    model, x = perceptron(4, 6, 3, seed=1), rows(4, 4)
    y = (model(x).argmax(1) + 1) % 3
    found = certify.certify(model, x, y, eps=0.0, bounds=(0, 1))
    assert found.broken.all()
    assert torch.equal(found.x, x)
    assert (found.nodes == 0).all()
    none = certify.certify(model, x[:0], y[:0], eps=0.1, bounds=(0, 1))
    assert [len(part) for part in vars(none).values()] == [0] * 6


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: Opaque(perceptron(4, 6, 3, seed=1)),
            r"^expected a perceptron with one hidden layer of ReLUs, got Opa",
        ),
        (lambda: models.mlp(4, [3, 3], 3, generator=torch.Generator()).double(), r"with 3 layers$"),
    ],
)
def test_other_models_are_refused(make, line) -> None:
    with pytest.raises(ValueError, match=line):
        certify.certify(make(), rows(2, 4), torch.tensor([0, 1]), eps=0.1, bounds=(0, 1))


def test_points_of_another_shape_are_refused() -> None:
    model, x = perceptron(4, 6, 3, seed=1), rows(2, 4)
    with pytest.raises(ValueError, match=r"^expected tried of shape \(2, 4\), got \(1, 4\)$"):
        certify.certify(model, x, torch.tensor([0, 1]), eps=0.1, bounds=(0, 1), tried=x[:1])
