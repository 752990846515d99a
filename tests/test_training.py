"""Training: shared starts, the objective, the adversaries, what must be refused."""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers import Opaque

from robexpl import attacks, data, metrics, models
from robexpl.regimes import ADVERSARIES, REGIMES, Adversary, adversary, name_of
from robexpl.seeds import torch_generator
from robexpl.study.stacked import fit_seeds
from robexpl.training import fit


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def test_training_learns_and_adversarial_training_makes_robust(digits):
    accuracy = {}
    for regime in ("standard", "strong"):
        model = fit(digits, regime, seed=0, epochs=6)
        adversarial = attacks.pgd(
            model,
            digits.x_test,
            digits.y_test,
            eps=0.2,
            step_size=0.02,
            steps=20,
            bounds=digits.bounds,
            generator=torch_generator(0, "test"),
        )
        accuracy[regime] = [metrics.accuracy(model, x, digits.y_test) for x in (digits.x_test, adversarial)]
    assert accuracy["standard"][0] > 0.85
    assert accuracy["strong"][0] > 0.8
    assert accuracy["strong"][1] > accuracy["standard"][1] + 0.15


@pytest.mark.parametrize("early_stop", [False, True])
def test_one_step_is_adam_on_the_stated_objective(digits, early_stop):
    """One batch, written out: the same weights as `fit` after one epoch of one batch."""
    few = dataclasses.replace(digits, x_train=digits.x_train[:16], y_train=digits.y_train[:16])
    history: list[dict[str, float]] = []
    fitted = fit(few, "weak", seed=3, early_stop=early_stop, epochs=1, history=history)
    model = models.mlp(64, 128, 10, generator=torch_generator(3, "weights"))
    rows = torch.randperm(16, generator=torch_generator(3, "order"))
    x, y = few.x_train[rows], few.y_train[rows]
    noise = torch.randn(x.shape, generator=torch_generator(3, "attack", "weak"))
    adversarial = attacks.pgd(
        model, x, y, **vars(ADVERSARIES["weak"]), bounds=few.bounds, early_stop="batch" if early_stop else False,
        start=x + 0.01 * noise,
    )  # fmt: skip
    loss = sum(torch.nn.functional.cross_entropy(model(z), y) for z in (adversarial, x))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss.backward()
    optimizer.step()
    for ours, expected in zip(fitted.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, expected, atol=2e-6, rtol=0)
    assert history[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert history[0]["radius"] == pytest.approx((adversarial - x).abs().amax(1).mean().item(), rel=1e-5)


def test_regimes_start_from_the_same_weights_and_seeds_do_not(digits):
    few = dataclasses.replace(digits, x_train=digits.x_train[:2], y_train=digits.y_train[:2])
    first = [fit(few, regime, seed=seed, epochs=1)[0].weight.detach() for regime in REGIMES for seed in (0, 1)]
    # one Adam step moves a weight by at most the learning rate
    for other in first[2::2]:
        assert (other - first[0]).abs().max() <= 2.1e-3
    assert (first[1] - first[0]).abs().max() > 0.1


def test_training_is_repeatable_and_leaves_the_global_generator_alone(digits):
    before = torch.get_rng_state()
    few = dataclasses.replace(digits, x_train=digits.x_train[:64], y_train=digits.y_train[:64])
    a, b = (fit(few, "medium", seed=0, epochs=2) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert torch.equal(before, torch.get_rng_state())


def test_a_network_of_ones_own_is_trained(digits):
    own = torch.nn.Sequential(torch.nn.Linear(64, 20), torch.nn.Tanh(), torch.nn.Linear(20, 10))
    with torch.no_grad():
        for p in own.parameters():
            p.normal_(std=0.2, generator=torch_generator(0, "own"))
    before = metrics.accuracy(own, digits.x_test, digits.y_test)
    trained = fit(digits, "weak", seed=0, epochs=3, model=own)
    assert trained is own
    assert metrics.accuracy(own, digits.x_test, digits.y_test) > before + 0.3


def test_early_stop_takes_fewer_steps_than_projection(digits):
    few = dataclasses.replace(digits, x_train=digits.x_train[:64], y_train=digits.y_train[:64])
    histories = {}
    for early_stop in (True, False):
        histories[early_stop] = []
        fit(few, "weak", seed=0, early_stop=early_stop, epochs=1, history=histories[early_stop])
    assert histories[False][0]["steps"] == 7
    assert 0 < histories[True][0]["steps"] < 7
    assert histories[True][0]["radius"] < histories[False][0]["radius"] <= 0.05 + 1e-6


def test_adversaries_grow_in_the_order_of_the_regimes():
    strengths = [(0, 0) if adversary(r) is None else (adversary(r).eps, adversary(r).steps) for r in REGIMES]
    assert strengths == sorted(strengths)


def test_an_adversary_of_ones_own_is_trained_against(digits):
    few = dataclasses.replace(digits, x_train=digits.x_train[:64], y_train=digits.y_train[:64])
    history: list[dict[str, float]] = []
    fit(few, Adversary(0.02, 0.02, 3), seed=0, epochs=1, history=history)
    assert history[0]["steps"] == 3
    assert 0.019 < history[0]["radius"] <= 0.02 + 1e-6
    assert name_of(Adversary(0.02, 0.02, 3)) == "own"
    for regime in REGIMES[1:]:  # the regimes' own adversaries are the regimes
        assert name_of(regime) == name_of(ADVERSARIES[regime]) == regime
    same = [fit(few, regime, seed=0, epochs=1) for regime in ("weak", ADVERSARIES["weak"])]
    assert equal(*same)


# Models of one's own


def few(digits, n=70):
    return dataclasses.replace(digits, x_train=digits.x_train[:n], y_train=digits.y_train[:n])


def own(*more):
    """A network whose state is more than weights."""
    layers = torch.nn.Linear(64, 8), torch.nn.BatchNorm1d(8), *more, torch.nn.Tanh(), torch.nn.Linear(8, 10)
    model = torch.nn.Sequential(*layers)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2, generator=torch_generator(0, "own"))
    return model


@pytest.mark.parametrize("regime", ["standard", "weak"])
def test_statistics_move_once_per_batch_and_the_network_comes_back_ready(digits, regime):
    model = fit(few(digits), regime, seed=0, epochs=2, model=own().eval())
    assert model[1].num_batches_tracked == 2 * 3
    assert not any(module.training for module in model.modules())
    assert all(weight.grad is None and weight.is_contiguous() for weight in model.parameters())
    attacks.fgsm(model, digits.x_test[:5], digits.y_test[:5], eps=0.1, bounds=digits.bounds)


def test_adversaries_are_made_against_the_network_in_eval_mode(digits):
    seen = set()

    class Spy(torch.nn.Module):
        def forward(self, x):
            seen.add((len(x), self.training))
            return x

    fit(few(digits), "weak", seed=0, epochs=1, model=torch.nn.Sequential(Spy(), own()))
    assert {(32, False), (64, True)} <= seen
    assert not {(32, True), (64, False)} & seen


@pytest.mark.parametrize("regime", ["standard", "weak"])
def test_dropout_comes_from_the_seed_and_the_global_generator_stays(digits, regime):
    trained = []
    for state, seed in ((1, 0), (2, 0), (2, 1)):
        model = own(torch.nn.Dropout(0.5))
        torch.manual_seed(state)
        before = torch.get_rng_state()
        trained.append(fit(few(digits), regime, seed=seed, epochs=2, model=model))
        assert torch.equal(before, torch.get_rng_state())
    assert equal(*trained[:2])
    assert not equal(*trained[1:])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("make", [own, lambda: None])
def test_grad_modes_change_nothing(digits, mode, make):
    model = make()
    with mode():
        got = fit(few(digits), "weak", seed=0, epochs=1, model=model)
        stacked = fit_seeds(few(digits), "weak", seeds=[0], epochs=1)
    assert equal(got, fit(few(digits), "weak", seed=0, epochs=1, model=make()))
    assert equal(stacked[0], fit_seeds(few(digits), "weak", seeds=[0], epochs=1)[0])


def test_the_network_is_trained_in_the_type_of_the_data(digits):
    double = dataclasses.replace(few(digits), x_train=digits.x_train[:70].double())
    ours, given = fit(double, "weak", seed=0, epochs=1), fit(double, "weak", seed=0, epochs=1, model=own())
    (stacked,) = fit_seeds(double, "weak", seeds=[0], epochs=1)
    for model in (ours, given, stacked):
        assert {weight.dtype for weight in model.parameters()} == {torch.float64}
    for a, b in zip(ours.parameters(), stacked.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=0)
    single = fit(few(digits), "weak", seed=0, epochs=1)
    assert all((a - b).abs().max() < 0.02 for a, b in zip(ours.parameters(), single.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: {"x_train": d.x_train[:64] * 255}, "expected x_train inside the bounds, got values from 0 to 255"),
        (lambda d: {"x_test": d.x_test - 1}, "expected x_test inside the bounds, got values from -1 to 0"),
        (lambda d: {"x_train": d.x_train[:64].half()}, "expected x_train in single or double precision, got torch.flo"),
        (lambda d: {"x_train": d.x_train[:64].bfloat16()}, "expected x_train in single or double precision, got torc"),
        (lambda d: {"x_train": d.x_train[:64].numpy()}, "expected x_train to be a torch tensor of shape (n, d), got "),
        (lambda d: {"y_train": d.y_train[:64] + 1}, "expected y_train in 0 ... 9, got values from 1 to 10"),
        (lambda d: {"x_train": d.x_train[:0], "y_train": d.y_train[:0]}, "expected rows > 0, got 0"),
        (lambda d: {"x_test": d.x_test[:, 1:]}, "expected x_test of shape (n, 64), got (360, 63)"),
        (lambda d: {"class_names": ("a",)}, "expected names of 64 features and 10 classes, and as many pixels, got "),
        (lambda d: {"image_shape": (9, 8)}, "expected names of 64 features and 10 classes, and as many pixels, got "),
    ],
)
def test_both_doors_refuse_the_same_data(digits, change, says):
    wrong = dataclasses.replace(few(digits, 64), **change(digits))
    for call in (lambda: fit(wrong, "weak", seed=0, epochs=1), lambda: fit_seeds(wrong, "weak", seeds=[0], epochs=1)):
        with pytest.raises(ValueError, match="^" + re.escape(says)) as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32])
def test_labels_of_any_integer_type_are_the_same(digits, kind):
    plain = few(digits)
    other = dataclasses.replace(plain, y_train=plain.y_train.to(kind))
    assert equal(*(fit(d, "weak", seed=0, epochs=1) for d in (plain, other)))
    assert equal(*(fit_seeds(d, "weak", seeds=[0], epochs=1)[0] for d in (plain, other)))


def test_a_last_batch_of_one_is_said_before_training(digits):
    model, history = own(), []
    with pytest.raises(ValueError, match=r"the last batch has one row, choose another batch_size than 32$") as error:
        fit(few(digits, 65), "standard", seed=0, model=model, history=history)
    assert "\n" not in str(error.value)
    assert model[1].num_batches_tracked == 0
    assert equal(model, own())
    fit(few(digits, 65), "weak", seed=0, epochs=1, model=model)  # here each row has its adversary beside it
    fit(few(digits, 65), "standard", seed=0, epochs=1, model=model, batch_size=33)
    fit(few(digits, 65), "standard", seed=0, epochs=1)  # a perceptron has no statistics


def test_features_that_may_not_change_stay(digits):
    x = torch.rand(40, 3, generator=torch_generator(0, "rows"))
    x[:, 1] = 0.5
    bounds = torch.tensor([0.0, 0.5, 0.0]), torch.tensor([1.0, 0.5, 1.0])
    rows = data.Dataset("rows", "Rows", x, torch.arange(40) % 2, x[:0], torch.arange(0), bounds, None, 2, "abc", "01")
    model = fit(rows, Adversary(0.3, 0.1, 5), seed=0, epochs=1)
    adversarial = attacks.pgd(
        model, x, rows.y_train, eps=0.3, step_size=0.1, steps=5, bounds=bounds, generator=torch_generator(0, "pgd")
    )
    assert (adversarial[:, 1] == 0.5).all()
    assert not torch.equal(adversarial, x)


@pytest.mark.parametrize("number", [Fraction(1, 10), np.float32(0.1), np.array(0.1), torch.tensor(0.1)])
def test_an_adversary_may_be_given_in_any_numbers(digits, number):
    ours = [
        fit(few(digits), Adversary(n, n, steps), seed=0, epochs=1) for n, steps in ((number, 3.0), (float(number), 3))
    ]
    assert equal(*ours)


# Checkpoints


def equal(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class Stop(Exception):
    """Ends a training in the middle of an epoch."""


@pytest.fixture
def interrupt(monkeypatch):
    """Make training stop before the optimiser's step of that number, counted from now."""

    def after(steps):
        step, left = torch.optim.Adam.step, [steps]

        def counted(self, *args, **kwargs):
            if not left[0]:
                raise Stop
            left[0] -= 1
            return step(self, *args, **kwargs)

        patch.setattr(torch.optim.Adam, "step", counted)

    with monkeypatch.context() as patch:
        yield after, patch.undo


@pytest.mark.parametrize("network", ["mlp", "own", "dropout"])
@pytest.mark.parametrize(("regime", "early_stop"), [("standard", False), ("weak", True), ("medium", False)])
def test_interrupted_training_goes_on_to_the_same_bits(digits, tmp_path, interrupt, regime, early_stop, network):
    few = dataclasses.replace(digits, x_train=digits.x_train[:70], y_train=digits.y_train[:70])
    make = {"mlp": lambda: None, "own": own, "dropout": lambda: own(torch.nn.Dropout(0.5))}[network]
    arguments = {"seed": 2, "early_stop": early_stop, "epochs": 5}
    path, rows = tmp_path / "made" / "part", ([], [])
    whole = fit(few, regime, **arguments, model=make(), history=rows[0])
    stop_after, go_on = interrupt
    # three batches an epoch: stopped within the first epoch, at the end of the second, within the fourth
    for steps, epochs in ((1, 0), (6, 2), (4, 3)):
        stop_after(steps)
        seen: list[dict[str, float]] = []
        with pytest.raises(Stop):
            fit(few, regime, **arguments, model=make(), history=seen, checkpoint=path)
        assert seen == rows[0][:epochs]
        assert path.exists() == (epochs > 0)
        go_on()
    resumed = fit(few, regime, **arguments, model=make(), history=rows[1], checkpoint=str(path))
    assert equal(whole, resumed)
    assert rows[0] == rows[1]
    assert [row["epoch"] for row in rows[1]] == [1, 2, 3, 4, 5]
    assert list(path.parent.iterdir()) == []


def test_a_checkpoint_changes_nothing_in_training_that_is_not_interrupted(digits, tmp_path):
    few = dataclasses.replace(digits, x_train=digits.x_train[:70], y_train=digits.y_train[:70])
    plain, kept = (fit(few, "weak", seed=0, epochs=3, checkpoint=path) for path in (None, tmp_path / "part"))
    assert equal(plain, kept)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"epochs": 4}, {"early_stop": True}, {"batch_size": 16}, {"learning_rate": 0.01},
               {"regime": "medium"}, {"rows": 69}, {"model": own}]
)  # fmt: skip
def test_the_checkpoint_of_another_training_is_refused(digits, tmp_path, interrupt, change):
    few = dataclasses.replace(digits, x_train=digits.x_train[:70], y_train=digits.y_train[:70])
    arguments = {"regime": "weak", "seed": 0, "epochs": 3, "checkpoint": tmp_path / "part"}
    interrupt[0](4)
    with pytest.raises(Stop):
        fit(few, **arguments)
    interrupt[1]()
    kept = (tmp_path / "part").read_bytes()
    if "rows" in change:
        few = dataclasses.replace(few, x_train=few.x_train[: change.pop("rows")], y_train=few.y_train[:69])
    if "model" in change:
        change = {"model": change["model"]()}
    with pytest.raises(ValueError, match=r"^expected the checkpoint of this very training, got another's at .*part"):
        fit(few, **arguments | change)
    assert (tmp_path / "part").read_bytes() == kept


@pytest.mark.parametrize("content", [b"", b"damaged", None])
def test_a_damaged_checkpoint_is_named_and_training_starts_anew(
    digits, tmp_path, interrupt, capsys, monkeypatch, content
):
    monkeypatch.delenv("ROBEXPL_PROGRESS", raising=False)
    few = dataclasses.replace(digits, x_train=digits.x_train[:70], y_train=digits.y_train[:70])
    path, whole = tmp_path / "part", fit(few, "weak", seed=0, epochs=3)
    interrupt[0](4)
    with pytest.raises(Stop):
        fit(few, "weak", seed=0, epochs=3, checkpoint=path)
    interrupt[1]()
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    assert equal(whole, fit(few, "weak", seed=0, epochs=3, checkpoint=path))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {path} is no checkpoint that can be read (")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: fit(d, "tough", seed=0), "unknown regime 'tough'; known: standard, weak, medium, strong"),
        (lambda d: fit(d, "weak", seed=-1), "expected seed >= 0, got -1"),
        (lambda d: fit(d, "weak", seed=None), "expected seed as one number, got None"),
        (lambda d: fit(d, "weak", seed=0, early_stop="batch"), "expected early_stop as bool, got 'batch'"),
        (lambda d: fit(d, "weak", seed=0, history={}), "expected history as list or NoneType"),
        (lambda d: fit_seeds(d, "weak", seeds=[None]), "expected seed as one number, got None"),
        (lambda d: fit_seeds(d, "weak", seeds=[0], device="gpu"), "expected a device that torch has here, got 'gpu'"),
        (lambda d: fit_seeds(None, "weak", seeds=[0]), "expected datasets as Dataset or Sequence, got None"),
        (lambda d: fit(d, "weak", seed=0, epochs=0), "expected epochs > 0, got 0"),
        (lambda d: fit(d, "weak", seed=0, batch_size=-3), "expected batch_size > 0, got -3"),
        (lambda d: fit(d, Adversary(-0.1, 0.01, 3), seed=0), "expected eps >= 0, got -0.1"),
        (lambda d: fit(d, Adversary(0.1, 0, 3), seed=0), "expected step_size > 0, got 0"),
        (lambda d: fit(d, Adversary(0.1, 0.01, 1.5), seed=0), "expected steps as a whole number, got 1.5"),
        (lambda d: fit(d, None, seed=0), "unknown regime None; known: standard, weak, medium, strong"),
        (lambda d: fit(d, "weak", seed=0, architecture="lenet5"), "unknown architecture 'lenet5'; known: decision"),
        (lambda d: fit(d, "weak", seed=0, checkpoint=3), "expected checkpoint as str or Path or NoneType, got 3"),
    ],
)
def test_mistakes_are_refused(digits, call, message):
    with pytest.raises(ValueError, match=message):
        call(digits)


def frozen(model):
    model[0].weight.requires_grad_(False)
    return model


def shared(model):
    model[2] = model[0]
    return model


def hooked(model):
    model[0].weight.register_hook(lambda gradient: 0 * gradient)
    return model


@pytest.mark.parametrize("change", [frozen, shared, hooked])
def test_weights_that_the_closed_form_would_pass_over_are_refused(change):
    x, y = torch.rand(40, 3, generator=torch_generator(0, "rows")), torch.arange(40) % 3
    rows = data.Dataset("rows", "Rows", x, y, x, y, (0.0, 1.0), None, 3, tuple("abc"), tuple("012"))
    model = change(models.mlp(3, 3, 3, generator=torch_generator(0, "own")))
    with pytest.raises(ValueError, match=r"^expected free weights, got frozen, shared or hooked ones"):
        fit(rows, "standard", seed=0, epochs=1, model=model)
    before = model[0].weight.clone()
    fit(rows, "standard", seed=0, epochs=1, model=Opaque(model))  # autograd knows what to do with them
    assert torch.equal(model[0].weight, before) == (change is not shared)


class Halved(torch.autograd.Function):
    """Itself, with half its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, slope):
        return slope / 2


linear = torch.nn.functional.linear
FORWARDS = {  # of every linear layer, as a patch of the class replaces it
    "other logits": lambda layer, x: linear(1 - x, layer.weight, layer.bias),
    "another gradient of inputs": lambda layer, x: linear(Halved.apply(x), layer.weight, layer.bias),
    "weights without gradients": lambda layer, x: linear(x, layer.weight.detach(), layer.bias),
    "another gradient of weights": lambda layer, x: linear(x, Halved.apply(layer.weight), layer.bias),
}


def apart(a: torch.nn.Module, b: torch.nn.Module) -> float:
    """Return the largest difference between the weights of two networks."""
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return max(float((p - q).abs().max()) for p, q in pairs)


@pytest.mark.parametrize("regime", ["standard", "weak"])
@pytest.mark.parametrize("forward", FORWARDS)
def test_a_patch_of_the_layers_class_is_seen_in_training(digits, monkeypatch, forward, regime):
    """The closed form is tried once, rows and weights alike, and left where autograd says something else."""
    rows = few(digits)
    plain = fit(rows, regime, seed=0, epochs=1)
    monkeypatch.setattr(torch.nn.Linear, "forward", FORWARDS[forward])
    found = fit(rows, regime, seed=0, epochs=1)
    own = models.build("mlp", 64, 10, (8, 8), generator=torch_generator(0, "weights"))
    expected = fit(rows, regime, seed=0, epochs=1, model=Opaque(own))
    assert apart(found, expected.inner) < 0.1 * apart(found, plain)  # equal but for the rounding of some processors


def test_a_loss_that_is_not_finite_is_refused(digits):
    broken = dataclasses.replace(
        digits, x_train=digits.x_train[:4] * 3e38, y_train=digits.y_train[:4], bounds=(0.0, 3.1e38)
    )
    with pytest.raises(ValueError, match="expected a finite training loss, got nan"):
        fit(broken, "standard", seed=0, epochs=1)


@pytest.mark.parametrize(("regime", "early_stop"), [("standard", False), ("weak", True), ("medium", False)])
def test_stacked_seeds_are_those_trained_one_by_one(digits, regime, early_stop):
    few = dataclasses.replace(digits, x_train=digits.x_train[:75], y_train=digits.y_train[:75])
    stacked = fit_seeds(few, regime, seeds=[4, 0], early_stop=early_stop, epochs=2)
    for model, seed in zip(stacked, (4, 0), strict=True):
        single = fit(few, regime, seed=seed, early_stop=early_stop, epochs=2)
        for ours, expected in zip(model.parameters(), single.parameters(), strict=True):
            torch.testing.assert_close(ours, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("early_stop", [False, True])
def test_stacked_seeds_may_have_data_and_boxes_of_their_own(early_stop):
    tables = [data.load("breast_cancer", seed=seed, sampling="corrected") for seed in (0, 1)]
    stacked = fit_seeds(tables, "weak", seeds=[0, 1], early_stop=early_stop, epochs=1)
    for model, dataset, seed in zip(stacked, tables, (0, 1), strict=True):
        single = fit(dataset, "weak", seed=seed, early_stop=early_stop, epochs=1)
        for ours, expected in zip(model.parameters(), single.parameters(), strict=True):
            torch.testing.assert_close(ours, expected, atol=2e-5, rtol=0)


def test_stacked_seeds_of_other_shapes_are_refused(digits):
    table = data.load("breast_cancer")
    for datasets, seeds, said in (
        ([digits, table], [0, 1], r"expected datasets of one shape, got \["),
        ([table, table], [0], "expected seeds, and one dataset or one per seed, got 1 seeds, 2 datasets"),
        (digits, [], "expected seeds, and one dataset or one per seed, got 0 seeds, 1 datasets"),
        ([digits, 3], [0, 1], "expected datasets"),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            fit_seeds(datasets, "weak", seeds=seeds)


@pytest.mark.parametrize(("regime", "early_stop", "rounded"), [("standard", False, False), ("weak", True, True)])
def test_stacked_seeds_tell_of_their_epochs_what_those_trained_one_by_one_tell(digits, regime, early_stop, rounded):
    few, histories, how = (
        dataclasses.replace(digits, x_train=digits.x_train[:75], y_train=digits.y_train[:75]),
        [],
        {"early_stop": early_stop, "rounded": rounded, "epochs": 2},
    )
    fit_seeds(few, regime, seeds=[4, 0], histories=histories, **how)
    for seed, rows in zip((4, 0), histories, strict=True):
        history = []
        fit(few, regime, seed=seed, history=history, **how)
        for ours, expected in zip(rows, history, strict=True):
            assert ours == pytest.approx(expected, abs=1e-5)
