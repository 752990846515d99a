"""Whatever comes in, what comes out is right or one line of ValueError.

Inputs are drawn: shapes, types, strides, devices, NaN and infinities, empty batches, one class, constant features,
boxes of any size. `outcome` is the rule that every function is held to.
"""

from __future__ import annotations

import math
from typing import Any

import compare
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import (
    BOXES,
    CLASSES,
    COUNTS,
    DEVICES,
    FEW,
    NET,
    NETS,
    SIZES,
    D,
    arrays,
    classes,
    finite,
    inside,
    outcome,
)
from torch import Tensor, nn

from robexpl import attacks, checks, data, generators, gradients, metrics, models, regimes, seeds, stats, training
from robexpl.attacks.pgd import with_steps
from robexpl.generators import ecco
from robexpl.pipeline import notebook, template
from robexpl.study import estimates, places, sizes, stacked
from robexpl.study.factuals import Draw
from robexpl.study.networks import Data

# Attacks and search


@FEW
@given(data=st.data(), x=arrays(), eps=SIZES, bounds=BOXES, model=NETS)
def test_fgsm(data: st.DataObject, x: Tensor, eps: Any, bounds: Any, model: nn.Module) -> None:
    y = data.draw(classes(len(x)))
    adv = outcome(lambda: attacks.fgsm(model, x, y, eps=eps, bounds=bounds))
    if adv is not None:
        assert adv.shape == x.shape
        assert finite(adv)
        assert inside(adv, bounds)
        assert not len(x) or float((adv - x).abs().max()) <= float(eps) * (1 + 1e-6) + 1e-6


@FEW
@given(
    data=st.data(), x=arrays(), eps=SIZES, step=SIZES, steps=COUNTS, bounds=BOXES, model=NETS,
    stop=st.sampled_from([False, False, "example", "batch", True, None, "never"]),
)  # fmt: skip
def test_pgd(data: Any, x: Tensor, eps: Any, step: Any, steps: Any, bounds: Any, model: nn.Module, stop: Any) -> None:
    y = data.draw(classes(len(x)))
    generator = torch.Generator().manual_seed(0)
    arguments = {"eps": eps, "step_size": step, "steps": steps, "bounds": bounds, "early_stop": stop}
    found = outcome(lambda: with_steps(model, x, y, **arguments, generator=generator))
    if found is not None:
        adv, taken = found
        assert adv.shape == x.shape
        assert taken.shape == (len(x),)
        assert finite(adv)
        assert inside(adv, bounds)
        assert not len(x) or 0 <= int(taken.min()) <= int(taken.max()) <= steps
        if stop is False and len(x):
            assert float((adv - x).abs().max()) <= float(eps) * (1 + 1e-6) + 1e-6


@FEW
@given(data=st.data(), x=arrays(), eps=SIZES, bounds=BOXES, model=NETS, name=st.sampled_from([*attacks.names(), "cw"]))
def test_any_attack_by_its_name(
    data: st.DataObject, x: Tensor, eps: Any, bounds: Any, model: nn.Module, name: str
) -> None:
    y = data.draw(classes(len(x)))
    more = {"step_size": 0.1, "steps": 3} if name == "pgd" else {}
    made = [torch.Generator().manual_seed(0) for _ in range(2)]
    runs = [
        outcome(lambda g=g: attacks.run(name, model, x, y, eps=eps, bounds=bounds, generator=g, **more)) for g in made
    ]
    assert (runs[0] is None) == (runs[1] is None)
    assert name != "cw" or runs[0] is None
    if runs[0] is not None:
        (adv, steps), (again, _) = runs
        assert torch.equal(adv, again)
        assert steps.tolist() == [more.get("steps", 1)] * len(x)
        assert finite(adv)
        assert inside(adv, bounds)
        assert not len(x) or float((adv - x).abs().max()) <= float(eps) * (1 + 1e-6) + 1e-6


@FEW
@given(
    data=st.data(), x=arrays(), bounds=BOXES, model=NETS, stop=st.sampled_from(ecco.STOPS), proximal=st.booleans(),
    l1=SIZES, energy=SIZES, rate=SIZES, steps=COUNTS, noise=st.sampled_from([0, 0.1, -1]),
)  # fmt: skip
def test_search(data: Any, x: Tensor, bounds: Any, model: nn.Module, stop: str, proximal: bool, **changes: Any) -> None:
    target = data.draw(classes(len(x)))
    names = {"rate": "learning_rate", "noise": "start_noise"}
    chosen = {names.get(key, key): value for key, value in changes.items()}
    generator = torch.Generator().manual_seed(0)
    made = outcome(lambda: ecco.Settings(**chosen, proximal=proximal))
    if made is not None:
        call = {"settings": made, "stop": stop, "bounds": bounds, "generator": generator}
        found = outcome(lambda: ecco.search(model, x, target, **call))
        if found is not None:
            assert found.x.shape == x.shape
            assert finite(found.x, found.target_prob, found.target_logit)
            assert inside(found.x[found.steps > 0], bounds)  # who met the stop at once stays at its noisy start
            assert bool(((found.steps >= 0) & (found.steps <= made.steps)).all())
            assert bool(((found.target_prob >= 0) & (found.target_prob <= 1)).all())
            assert bool((found.target_prob[found.converged] >= made.threshold).all())


@FEW
@given(
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float64]), double=st.booleans(),
    start=st.sampled_from([None, "nan", "double", "list", "long"]), generator=st.sampled_from([None, 0, "torch"]),
)  # fmt: skip
def test_types_that_do_not_fit_are_refused(dtype: torch.dtype, double: bool, start: Any, generator: Any) -> None:
    x, y = torch.rand(4, D, generator=torch.Generator().manual_seed(0)), torch.zeros(4, dtype=torch.long)
    model = models.mlp(D, 5, CLASSES).double() if double else NET
    starts = {"nan": x * math.nan, "double": x.double(), "list": x.tolist(), "long": x.long()}
    made = torch.Generator().manual_seed(0) if generator == "torch" else generator
    arguments = {"bounds": (0.0, 1.0), "start": starts.get(start), "generator": made}
    for points in (x.to(dtype), x):
        kind = torch.float64 if double else torch.float32
        fits = points.dtype == kind
        given = starts.get(start)
        starts_fit = given is None or (isinstance(given, Tensor) and given.dtype == points.dtype and start != "nan")
        drawn = isinstance(made, torch.Generator) or (made is None and given is not None)
        adv = outcome(lambda p=points: attacks.pgd(model, p, y, eps=0.1, step_size=0.1, steps=1, **arguments))
        assert (adv is not None) == (fits and starts_fit and drawn)
        how = {"settings": ecco.Settings(steps=1), "stop": "decision_threshold", **arguments}
        found = outcome(lambda p=points, how=how: ecco.search(model, p, y, **how))
        assert (found is not None) == (fits and starts_fit and drawn)
        assert (outcome(lambda p=points: metrics.accuracy(model, p, y)) is not None) == fits


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_gives_the_same(device: str) -> None:
    x, y = torch.rand(8, D, generator=torch.Generator().manual_seed(0)), torch.arange(8) % CLASSES
    model = models.mlp(D, 5, CLASSES, generator=torch.Generator().manual_seed(0)).to(device)
    here = attacks.pgd(
        NET, x, y, eps=0.1, step_size=0.02, steps=5, bounds=(0.0, 1.0), generator=torch.Generator().manual_seed(0)
    )
    there = attacks.pgd(
        model, x.to(device), y.to(device), eps=0.1, step_size=0.02, steps=5, bounds=(0.0, 1.0),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    torch.testing.assert_close(there.cpu(), here, atol=1e-4, rtol=0)
    assert metrics.accuracy(model, x.to(device), y.to(device)) == metrics.accuracy(NET, x, y)


# Gradients, networks, training


@FEW
@given(x=arrays(clean=True), model=NETS)
def test_both_ways_to_a_gradient_agree(x: Tensor, model: nn.Module) -> None:
    v = torch.ones(len(x), CLASSES)
    (logits, pull), (other, pull_other) = (gradients.vjp(model, closed_form=form)(x) for form in (True, False))
    torch.testing.assert_close(logits, other)
    torch.testing.assert_close(pull(v), pull_other(v))


@FEW
@given(sizes=st.tuples(*[st.sampled_from([1, 2, 5, 0, -1, 1.5, "3", None, math.inf])] * 3), seed=st.integers(0, 9))
def test_perceptrons(sizes: tuple, seed: int) -> None:
    model = outcome(lambda: models.mlp(*sizes, generator=torch.Generator().manual_seed(seed)))
    if model is not None:
        assert [tuple(layer.weight.shape) for layer in (model[0], model[2])] == [sizes[1::-1], sizes[:0:-1]]
        again = models.from_weights(dict(model.state_dict()))
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@settings(FEW, max_examples=15)
@given(
    x=arrays(), regime=st.sampled_from([*regimes.REGIMES, "huge"]), early=st.booleans(), bounds=BOXES,
    epochs=st.sampled_from([1, 0, 1.5, "1"]), batch=st.sampled_from([4, 1, 0, None]), rate=SIZES,
)  # fmt: skip
def test_training(x: Tensor, regime: str, early: bool, bounds: Any, epochs: Any, batch: Any, rate: Any) -> None:
    y = torch.arange(len(x)) % CLASSES
    named = tuple(map(str, range(D)))
    small = data.Dataset("small", "Small", x, y, x, y, bounds, None, CLASSES, named, ("a", "b", "c"))
    arguments = {"seed": 0, "early_stop": early, "epochs": epochs, "batch_size": batch, "learning_rate": rate}
    model = outcome(lambda: training.fit(small, regime, **arguments))
    if model is not None and isinstance(rate, float) and rate < 1:
        assert finite(*(weight.detach() for weight in model.parameters()))
    del arguments["seed"]
    pair = outcome(lambda: stacked.fit_seeds(small, regime, seeds=[0, 1], **arguments))
    assert (pair is None) == (model is None)
    assert outcome(lambda: stacked.fit_seeds(small, regime, seeds=0, **arguments)) is None


# Measures


@FEW
@given(
    data=st.data(), x=arrays(), points=arrays(clean=True), k=st.sampled_from([1, 2, 0, -1, 1.0, 99, None]),
    distance=st.sampled_from([*metrics.names(), "cosine"]), shape=st.sampled_from([(2, 3), (6, 1), (3, 3), (1, 6)]),
)  # fmt: skip
def test_implausibility(data: Any, x: Tensor, points: Tensor, k: Any, distance: str, shape: tuple[int, int]) -> None:
    target, y = data.draw(classes(len(x))), data.draw(classes(len(points)))
    arguments = {"distance": distance, "k": k, "image_shape": shape}
    values = outcome(lambda: metrics.implausibility(x, target, points, y, **arguments))
    assert distance != "cosine" or values is None
    if values is not None:
        assert values.shape == (len(x),)
        assert finite(values)
        assert not len(x) or float(values.min()) >= -1e-6
        known = metrics.reference(points, y, distance=distance, image_shape=shape)
        torch.testing.assert_close(metrics.implausibility(x, target, known, k=k), values)


@FEW
@given(a=arrays(), b=arrays(), shape=st.sampled_from([(2, 3), (6, 1), (3, 3), (0, 6), (2, 3, 1)]))
def test_ssim(a: Tensor, b: Tensor, shape: tuple) -> None:
    scores = outcome(lambda: metrics.ssim(a, b, image_shape=shape))
    if scores is not None:
        assert scores.shape == (len(a), len(b))
        assert not scores.numel() or -1 - 1e-5 <= float(scores.min()) <= float(scores.max()) <= 1 + 1e-5
        torch.testing.assert_close(metrics.ssim(b, a, image_shape=shape), scores.T, atol=2e-5, rtol=0)
        if len(a):
            torch.testing.assert_close(metrics.ssim(a, a, image_shape=shape).diagonal(), torch.ones(len(a)))


@FEW
@given(data=st.data(), x=arrays(), chunk=COUNTS, model=NETS)
def test_accuracy(data: Any, x: Tensor, chunk: Any, model: nn.Module) -> None:
    y = data.draw(classes(len(x)))
    share = outcome(lambda: metrics.accuracy(model, x, y, chunk=chunk))
    if share is not None:
        assert share == pytest.approx(float((model(x).argmax(1) == y.long()).double().mean()))


# Estimates

VALUES = st.lists(st.sampled_from([0.0, 0.5, 1.0, -3.0, 1e9, math.nan, math.inf]), max_size=8)


@FEW
@given(values=VALUES, groups=st.integers(1, 4), other=VALUES)
def test_estimates(values: list[float], groups: int, other: list[float]) -> None:
    seeds_of = np.arange(len(values)) % groups
    for call in (
        lambda: stats.mean_interval(np.array(values), seeds_of),
        lambda: stats.mean_interval(np.array(values), seeds_of, np.arange(len(values)) % 3),
        lambda: stats.paired_difference(np.array(values), np.array(other), seeds_of),
    ):
        estimate = outcome(call)
        if estimate is not None:
            assert estimate.low <= estimate.mean + 1e-6 * abs(estimate.mean)
            assert estimate.high >= estimate.mean - 1e-6 * abs(estimate.mean)
            assert estimate.p_lower is None or 0 <= estimate.p_lower <= 1
    parts = outcome(lambda: stats.variance_components(np.array(values), seeds_of))
    assert parts is None or min(parts.values()) >= 0
    assert outcome(lambda: stats.mean_interval(np.arange(4.0), np.arange(4), np.arange(3))) is None
    both = outcome(lambda: stats.crossed_components(np.array(values).reshape(groups, -1)))
    assert both is None or min(both.values()) >= 0


@FEW
@given(correct=st.lists(st.integers(-1, 9), max_size=4), n=st.lists(st.integers(0, 9), max_size=4))
def test_intervals_of_accuracies(correct: list[int], n: list[int]) -> None:
    estimate = outcome(lambda: stats.accuracy_interval(correct, n))
    if estimate is not None:
        assert 0 <= estimate.low <= estimate.mean + 1e-9
        assert estimate.mean - 1e-9 <= estimate.high <= 1


# Data, names, seeds


@settings(FEW, max_examples=15)
@given(
    name=st.sampled_from(["digits", "breast_cancer", "cifar", None, 3]), seed=COUNTS,
    sampling=st.sampled_from([*data.SAMPLINGS, "fair"]),
)  # fmt: skip
def test_data(name: Any, seed: Any, sampling: str) -> None:
    loaded = outcome(lambda: data.load(name, seed=seed, sampling=sampling))
    if loaded is not None:
        assert loaded.x_train.dtype == torch.float32
        assert finite(loaded.x_train, loaded.x_test)
        assert inside(loaded.x_train, loaded.bounds)
        drawn = Draw(2, 3).take(Data(name, int(seed), sampling))
        assert bool((drawn["label"] != drawn["target"]).all())


@FEW
@given(
    seed=st.one_of(st.integers(-2, 2**70), st.floats(), st.sampled_from(["", "a", "7"])),
    names=st.lists(st.sampled_from("ab")),
)
@example(seed=0, names=[])
def test_streams(seed: Any, names: list[str]) -> None:
    for make in (seeds.torch_generator, seeds.numpy_generator):
        first = outcome(lambda make=make: make(seed, *names))
        if first is not None:
            second = make(seed, *names)
            if make is seeds.torch_generator:
                assert torch.equal(torch.rand(2, generator=first), torch.rand(2, generator=second))
            else:
                assert first.random() == second.random()


NAMES = st.one_of(
    st.sampled_from([*regimes.REGIMES, "corrected", "as_run", "demo", "digits", "mlp", "ecco", "l1", "pgd", "image"]),
    st.text(max_size=9),
    st.none(),
)


@FEW
@given(name=NAMES)
def test_names(name: Any) -> None:
    for call in (
        lambda: regimes.adversary(name),
        lambda: sizes.condition(name),
        lambda: sizes.datasets(name),
        lambda: sizes.condition("as_written").search(name),
        lambda: places.generated_dir(name),
        lambda: attacks.module(name),
        lambda: generators.module(name),
        lambda: metrics.module(name),
        lambda: metrics.names(name),
        lambda: models.module(name),
        lambda: data.module(name),
        lambda: checks.one_of("word", name, ("a", "b")),
    ):
        outcome(call)
    for package in (attacks, generators, metrics, models, data):
        assert (outcome(lambda package=package: package.module(name)) is not None) == (name in package.names())


# Texts


@FEW
@given(a=st.text(max_size=40), b=st.text(max_size=40), tolerance=st.floats(0, 1))
@example(a="1.0 x", b="1.5 x", tolerance=0.5)
@example(a="1e999", b="2e999", tolerance=0.5)
def test_texts_are_compared_alike_both_ways(a: str, b: str, tolerance: float) -> None:
    assert compare.same_text(a, a)
    assert compare.same_text(a, b, tolerance) == compare.same_text(b, a, tolerance)
    assert notebook.scrub(notebook.scrub(a, {}), {}) == notebook.scrub(a, {})


@FEW
@given(source=st.text(max_size=60))
def test_any_text_is_a_template_or_none(source: str) -> None:
    found = outcome(lambda: template.cells(source))
    assert found is None or all(isinstance(cell.text, str) for cell in found)


@FEW
@given(low=st.floats(-1, 1), wide=st.floats(0, 1))
def test_the_side_of_an_interval(low: float, wide: float) -> None:
    side = estimates.side(low, low + wide)
    assert (side == "lower") == (low + wide < 0)
    assert (side == "higher") == (low > 0)
    assert side in ("lower", "higher", "unclear")
