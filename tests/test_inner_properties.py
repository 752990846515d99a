"""The parts beneath what a user calls: right for any layout, size and bytes, by a second way of saying the same.

What checks nothing is given good points in any layout and held to a plain restatement; what reads files or environment
is given anything, and either reads it or refuses it in one line.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import math
import os
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any
from unittest.mock import patch

import bson
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import BOXES, CLASSES, DEEP, FEW, NET, NETS, D, arrays, classes, finite, inside, outcome
from torch import Tensor, nn

from robexpl import attacks, checks, files, gradients, metrics, models, progress
from robexpl.attacks import _loops
from robexpl.generators import ecco
from robexpl.metrics import _neighbours
from robexpl.models import _author as author
from robexpl.regimes import Adversary
from robexpl.study import cache, places

LAYOUT = settings(FEW, max_examples=25)
BYTES = st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(gzip.compress))
LABELS = st.integers(0, CLASSES - 1)
RADII = st.sampled_from([0.0, 0.03, 0.3, 5.0])
maps = metrics.module("ssim")


def labels_for(x: Tensor, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, CLASSES, len(x)))


def one_hot(y: Tensor, x: Tensor) -> Tensor:
    return nn.functional.one_hot(y, CLASSES).to(x.dtype)


# Attacks, gradients, search


@LAYOUT
@given(x=arrays(clean=True), scale=RADII, seed=st.integers(0, 9))
def test_starting_points_are_the_rows_and_their_noise(x: Tensor, scale: float, seed: int) -> None:
    start, again = (attacks.start_points(x, scale, torch.Generator().manual_seed(seed)) for _ in range(2))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(start, again)
    torch.testing.assert_close(start, x + scale * noise)


@LAYOUT
@given(x=arrays(clean=True), eps=RADII, size=RADII, steps=st.integers(0, 6), model=NETS, seed=st.integers(0, 9))
def test_the_projected_loop_is_one_row_at_a_time(
    x: Tensor, eps: float, size: float, steps: int, model: nn.Module, seed: int
) -> None:
    y, box = labels_for(x, seed), (torch.tensor(0.0), torch.tensor(1.0))
    start = attacks.start_points(x, 0.1, torch.Generator().manual_seed(seed)).clamp(0, 1)
    adv, _ = _loops.ascend(gradients.vjp(model), x, one_hot(y, x), start, Adversary(eps, size, steps), box)
    assert inside(adv, (0, 1))
    assert not len(x) or float((adv - x).abs().max()) <= eps + 1e-6
    row = gradients.vjp(model, closed_form=False)
    for i in range(len(x)):
        alone = start[i : i + 1].clamp(x[i] - eps, x[i] + eps).clamp(0, 1)
        for _ in range(steps):
            logits, pull = row(alone)
            ascent = pull(torch.softmax(logits, 1) - one_hot(y, x)[i : i + 1])
            # a gradient that is zero but for rounding may go either way: such rows say nothing
            if float(ascent.abs().min()) < 1e-6:
                break
            alone = (alone + size * ascent.sign()).clamp(x[i] - eps, x[i] + eps).clamp(0, 1)
        else:
            torch.testing.assert_close(adv[i : i + 1], alone, atol=1e-5, rtol=0)


@LAYOUT
@given(x=arrays(clean=True), eps=RADII, size=st.sampled_from([0.01, 0.1, 1.0]), steps=st.integers(0, 9), model=NETS)
def test_the_early_stop_ends_with_the_first_entry_at_the_radius(
    x: Tensor, eps: float, size: float, steps: int, model: nn.Module
) -> None:
    box = torch.tensor(-math.inf), torch.tensor(math.inf)  # no wall: every step moves entries by the whole size

    def ascend(n: int) -> tuple[Tensor, Tensor]:
        run, labels = gradients.vjp(model), one_hot(labels_for(x, 0), x)
        return _loops.ascend(run, x, labels, x.clone(), Adversary(eps, size, n), box, "batch")

    adv, taken = ascend(steps)
    assert taken.shape == (len(x),)
    if not len(x):
        return
    assert len(set(taken.tolist())) == 1  # one decision for the whole array
    made, moved = int(taken[0]), float((adv - x).abs().max())
    assert made <= steps
    assert moved <= made * size + 1e-5
    if made < steps:
        assert moved >= eps - 1e-4
    if made:
        before, _ = ascend(made - 1)
        assert float((before - x).abs().max()) < eps


@LAYOUT
@given(
    x=arrays(clean=True), eps=RADII, size=st.sampled_from([0.01, 0.1, 1.0]), steps=st.integers(0, 9), model=NETS,
    seed=st.integers(0, 9),
)  # fmt: skip
def test_the_early_stop_of_each_row_is_that_of_an_array_of_one(
    x: Tensor, eps: float, size: float, steps: int, model: nn.Module, seed: int
) -> None:
    labels, box = one_hot(labels_for(x, seed), x), (torch.tensor(0.0), torch.tensor(1.0))
    start, adversary = x.clone(), Adversary(eps, size, steps)
    out, taken = _loops.ascend(gradients.vjp(model), x, labels, start, adversary, box, "example")
    assert torch.equal(start, x)
    assert inside(out, (0, 1))
    for i in range(len(x)):
        row = slice(i, i + 1)
        only = x[row], labels[row], start[row]
        alone, made = _loops.ascend(gradients.vjp(model), *only, adversary, box, "batch")
        # a gradient that is zero but for rounding may go either way: such rows say nothing
        if float((alone - out[row]).abs().max()) < 1e-5:
            assert abs(int(made) - int(taken[i])) <= (eps % size < 1e-5)


@LAYOUT
@given(
    x=arrays(clean=True), seed=st.integers(0, 9), scale=st.sampled_from([1.0, 2.0, 1e-3, 1e3]),
    sizes=st.lists(st.integers(1, 4), min_size=0, max_size=3),
)  # fmt: skip
def test_both_ways_to_the_gradients_of_weights_agree(x: Tensor, seed: int, scale: float, sizes: list[int]) -> None:
    if not len(x):
        return
    widths, generator = [D, *sizes, CLASSES], torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(generator=generator)
    assert gradients.relu_layers(model) == [layer for layer in model if isinstance(layer, nn.Linear)]
    y, found = labels_for(x, seed), []
    outputs = model(x).detach()
    for closed_form in (True, False):
        loss = gradients.backward(model, x, y, scale=scale, closed_form=closed_form)
        found.append([loss, *(weight.grad.clone() for weight in model.parameters())])
        gradients.transpose_storage(model)  # another layout of the same weights
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * scale)
    torch.testing.assert_close(model(x).detach(), outputs)


@pytest.mark.parametrize(
    "model",
    [
        DEEP,
        nn.Linear(D, CLASSES),
        nn.Sequential(nn.Linear(D, 4), nn.ReLU()),
        nn.Sequential(nn.Linear(D, 4, bias=False), nn.ReLU(), nn.Linear(4, CLASSES)),
        nn.Sequential(nn.Linear(D, 4), nn.Linear(4, CLASSES), nn.ReLU()),
        nn.Sequential(),
    ],
)
def test_what_is_no_chain_of_linear_and_relu_has_no_closed_form(model: nn.Module) -> None:
    assert gradients.relu_layers(model) is None


@LAYOUT
@given(
    x=arrays(clean=True), seed=st.integers(0, 9), energy=st.sampled_from([0.0, 0.5, 3.0]),
    reg=st.sampled_from([0.0, 0.1, 2.0]), model=NETS,
)  # fmt: skip
def test_the_gradient_of_the_search_is_that_of_its_objective(
    x: Tensor, seed: int, energy: float, reg: float, model: nn.Module
) -> None:
    y = labels_for(x, seed)
    found, prob, logit = ecco.gradient(
        gradients.vjp(model), x, one_hot(y, x), ecco.Settings(l1=0.1, energy=energy, reg=reg)
    )
    z = x.detach().clone().requires_grad_()
    logits = model(z)
    target = logits[torch.arange(len(x)), y]
    objective = nn.functional.cross_entropy(logits, y, reduction="sum") + energy * (reg * target**2 - target).sum()
    (expected,) = torch.autograd.grad(objective, z)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logit, target.detach())
    torch.testing.assert_close(prob, torch.softmax(logits, 1)[torch.arange(len(x)), y].detach())


# Structural similarity and neighbours


@LAYOUT
@given(size=st.integers(1, 40), seed=st.integers(0, 9))
@example(size=1, seed=0)
def test_a_band_filters_lines_with_mirrored_ends(size: int, seed: int) -> None:
    line = np.random.default_rng(seed).random(size)
    place = maps.fold(size)
    np.testing.assert_array_equal(line[place], np.pad(line, maps.RADIUS, mode="symmetric"))
    expected = np.convolve(np.pad(line, maps.RADIUS, mode="symmetric"), maps.TAPS, mode="valid")
    np.testing.assert_allclose(maps.band(size).numpy() @ line, expected, atol=1e-12)
    assert maps.TAPS.sum() == pytest.approx(1)
    np.testing.assert_array_equal(maps.TAPS, maps.TAPS[::-1])


@LAYOUT
@given(
    a=arrays(d=24, clean=True), b=arrays(d=24, clean=True), shape=st.sampled_from([(4, 6), (24, 1), (1, 24), (3, 8)]),
)  # fmt: skip
def test_both_ways_to_similarity_agree(a: Tensor, b: Tensor, shape: tuple[int, int]) -> None:
    exact = maps.scores(a.double(), maps.bank(b.double(), shape, fused=False))
    for fused in (True, False):
        kept = maps.bank(b, shape, fused=fused)
        assert len(kept) == len(b)
        scores = maps.scores(a, kept)
        assert scores.shape == (len(a), len(b))
        torch.testing.assert_close(scores.double(), exact, atol=1e-5, rtol=0)
    pixels, mean, variance, centre = maps.statistics(a.reshape(-1, *shape))
    assert finite(pixels, mean, variance, centre)
    assert not len(a) or float(variance.min()) >= 0
    torch.testing.assert_close((pixels + centre[:, None, None]).flatten(1), a.double())


@LAYOUT
@given(margin=st.integers(0, 2), n=st.integers(0, 20), seed=st.integers(0, 9))
def test_both_ways_leave_out_the_same_border(margin: int, n: int, seed: int) -> None:
    images = torch.rand(n, 42, generator=torch.Generator().manual_seed(seed))
    fused, general = (maps.scores(images, maps.bank(images, (6, 7), fused=way), margin=margin) for way in (True, False))
    torch.testing.assert_close(fused, general, atol=1e-5, rtol=0)


@LAYOUT
@given(
    data=st.data(), x=arrays(clean=True), distance=st.sampled_from([*metrics.names("tabular"), "ssim"]),
    points=st.integers(16, 40),
)  # fmt: skip
def test_neighbours_are_the_first_of_all_distances_in_order(
    data: st.DataObject, x: Tensor, distance: str, points: int
) -> None:
    known = torch.rand(points, D, generator=torch.Generator().manual_seed(points))
    y = torch.arange(points) % 2
    target = torch.from_numpy(np.array(data.draw(st.lists(LABELS, min_size=len(x), max_size=len(x))), np.int64)) % 2
    k = data.draw(st.integers(1, points // 2))
    found = metrics.nearest(x, target, known, y, distance=distance, k=k, image_shape=(2, 3))
    assert found.shape == (len(x), k)
    prepared = metrics.reference(known, y, distance=distance, image_shape=(2, 3))
    assert [len(prepared.groups.get(label, ())) for label in range(3)] == [
        int((y == label).sum()) for label in range(3)
    ]
    for row, label, values in zip(x, target, found, strict=True):
        group = known[y == label]
        fitted = known.double()
        quartiles = torch.from_numpy(np.quantile(fitted.numpy(), [0.25, 0.75], axis=0))
        inverse = torch.from_numpy(np.linalg.inv(np.cov(fitted.numpy().T)))
        apart = (row - group).double()
        pairs = {
            "ssim": lambda row=row, group=group: (1 - metrics.ssim(row[None], group, image_shape=(2, 3))[0]) / 2,
            "euclidean": lambda row=row, group=group: (row - group).square().sum(1).sqrt(),
            "l1": lambda row=row, group=group: (row - group).abs().sum(1),
            "robust": lambda u=apart, iqr=quartiles: (u / (iqr[1] - iqr[0])).square().sum(1).sqrt(),
            "mahalanobis": lambda u=apart, c=inverse: torch.einsum("mi,ij,mj->m", u, c, u).sqrt(),
        }
        torch.testing.assert_close(values, pairs[distance]().sort().values[:k], atol=1e-5, rtol=1e-5)


@LAYOUT
@given(x=arrays(clean=True), points=arrays(clean=True), p=st.sampled_from([1.0, 2.0]), seed=st.integers(0, 9))
def test_distances_after_a_map_are_those_of_mapped_vectors(x: Tensor, points: Tensor, p: float, seed: int) -> None:
    matrix = torch.randn(4, D, generator=torch.Generator().manual_seed(seed)).double()
    bank = _neighbours.mapped(points, matrix)
    assert len(bank) == len(points)
    found = _neighbours.pairs(x, bank)
    assert found.dtype == torch.float64
    u = (x[:, None].double() - points[None].double()) @ matrix.T
    torch.testing.assert_close(found, u.square().sum(2).sqrt(), atol=1e-9, rtol=1e-9)
    gaps = (x[:, None] - points[None]).abs().pow(p).sum(2).pow(1 / p)
    torch.testing.assert_close(_neighbours.pairs(x, points, p), gaps, atol=1e-5, rtol=1e-5)


# Files


@LAYOUT
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(2, 5)), seed=st.integers(0, 9),
    damage=st.sampled_from(["", "cut", "flip", "empty"]), at=st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_weights_are_read_back_or_refused(
    tmp_path: Path, sizes: tuple[int, int, int], seed: int, damage: str, at: float
) -> None:
    path = tmp_path / f"{sizes}{seed}.safetensors"
    model = models.mlp(*sizes, generator=torch.Generator().manual_seed(seed))
    assert models.save(model, path) == path
    whole = path.read_bytes()
    place = int(at * len(whole))
    flipped = bytes([*whole[:place], whole[place] ^ 1, *whole[place + 1 :]])
    path.write_bytes({"": whole, "cut": whole[:place], "flip": flipped, "empty": b""}[damage])
    again = outcome(lambda: models.load(path))
    if not damage:
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    if damage in ("cut", "empty"):
        assert again is None


LEAVES = st.one_of(st.none(), st.integers(-5, 5), st.text("aDense", max_size=5), st.binary(max_size=8), st.floats())
NODES = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3),
        st.dictionaries(st.sampled_from(["tag", "type", "name", "data", "ref", "size", "model"]), parts, max_size=4),
    ),
    max_leaves=10,
)


@LAYOUT
@given(document=st.dictionaries(st.sampled_from(["_backrefs", "model", "other"]), NODES, max_size=3), raw=BYTES)
@example(document={"model": {"tag": "backref", "ref": 1}, "_backrefs": []}, raw=b"")
def test_any_document_is_a_network_of_julia_or_refused(tmp_path: Path, document: dict, raw: bytes) -> None:
    path = tmp_path / "network.bson"
    for content in (bson.encode(document), raw):
        path.write_bytes(content)
        assert outcome(lambda: author.read_network(path, (2, 2, 2)), files.DataError) is None


@LAYOUT
@given(named=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9))
@example(named="~nobody-of-this-name")
@example(named="x" * 300)
@example(named=".")
def test_any_data_folder_is_searched_or_refused(named: str) -> None:
    with patch.dict(os.environ, {"ROBEXPL_DATA": named}):
        found = outcome(files.folders, files.DataError)
        if found is not None:
            assert found[-1] == files.cache_folder()
            assert len(found) == 1 + bool(named)
            assert all(isinstance(line, str) and "ROBEXPL_DATA" in line for line in [str(files.missing("a", []))])


@LAYOUT
@given(content=st.binary(max_size=50), other=st.binary(max_size=50))
def test_a_file_is_found_by_its_bytes_or_refused(tmp_path: Path, content: bytes, other: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with patch.dict(os.environ, {"ROBEXPL_DATA": str(tmp_path)}):
        for call in (files.find, lambda file, sha256: files.fetch(file, sha256, [])):
            found = outcome(lambda call=call: call("f", files.sha256(other)), files.DataError)
            assert (found == tmp_path / "f") == (content == other)
        assert files.find("g", files.sha256(content)) is None
    with patch.dict(os.environ, {"ROBEXPL_DATA": str(tmp_path)}):
        line = str(files.missing("g", [files.reason(error) for error in (ValueError(other), OSError())]))
    assert "ValueError, OSError; remedies" in line
    assert "\n" not in line


@cache.cached
def echo(value: Any, double: bool = False) -> dict[str, Any]:
    return {"seen": np.array([1.0 + double]), "value": torch.tensor([len(str(value))])}


ARGUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.just(echo)),
    lambda parts: st.one_of(st.lists(parts, max_size=2), st.dictionaries(st.text("ab", max_size=2), parts, max_size=2)),
    max_leaves=4,
)


@LAYOUT
@given(value=ARGUMENTS, damage=st.one_of(st.none(), st.binary(max_size=90)))
def test_a_stage_gives_the_same_again_whatever_lies_in_the_cache(
    tmp_path: Path, value: Any, damage: bytes | None
) -> None:
    with patch.dict(os.environ, {"ROBEXPL_BUILD": str(tmp_path)}), redirect_stderr(io.StringIO()) as said:
        os.environ.pop("ROBEXPL_PROGRESS", None)
        first = outcome(lambda: echo(value))
        if first is None:
            return
        assert echo.path(value).name == echo.key(value) != echo.key(value, double=True)
        made = cache.describe(echo.path(value).read_bytes().partition(b"\n")[2])
        assert (made["stage"], made["key"]) == ("echo", echo.key(value))
        if damage is not None:
            echo.path(value).write_bytes(damage)
        again = echo(value)
        assert sorted(again) == sorted(first) == ["seen", "value"]
        assert isinstance(again["seen"], np.ndarray)
        assert torch.equal(again["value"], first["value"])
    assert said.getvalue().count("is damaged") == (damage is not None)


@LAYOUT
@given(content=st.binary(max_size=50), then=st.binary(max_size=50), name=st.text("aé .-_", min_size=1, max_size=9))
def test_files_are_written_whole(tmp_path: Path, content: bytes, then: bytes, name: str) -> None:
    folder = files.make_folder(tmp_path / "made" / "here")
    path = folder / f"x{name}"
    for written in (content, then, then):
        assert files.write_atomic(path, written).read_bytes() == written
        assert [entry.name for entry in folder.iterdir()] == [path.name]
    with patch.dict(os.environ, {"ROBEXPL_BUILD": str(tmp_path)}):
        assert places.label(path) == f"build/made/here/{path.name}"
        assert places.located(places.label(path)) == path
        with places.locked("one"):
            assert [lock.name for lock in (places.build_dir() / "locks").iterdir()] == ["one.lock"]
    path.unlink()


# Checks, progress

ANYTHING = st.sampled_from(
    [
        None, 0, -1, 2.5, math.nan, math.inf, "x", b"x", (), (0, 1), [1.0], {}, object(), np.ones(3), torch.ones(3),
        torch.ones(2, D), torch.ones(0, D), torch.ones(2, D, dtype=torch.long), torch.full((2, D), math.nan),
        torch.ones(2, D).to_sparse(), torch.ones(2, D, device="meta"), torch.ones(2, D, dtype=torch.complex64),
        torch.zeros(2, dtype=torch.long), torch.ones(2, D, dtype=torch.float16), NET, DEEP, nn.Linear(1, 1), 10**400,
        nn.Sequential(nn.Flatten(0)), True, {"0.weight": torch.ones(2)}, {"a": 1}, torch.tensor(1.0), (28, 28),
    ]
)  # fmt: skip


@settings(FEW, max_examples=150)
@given(a=ANYTHING, b=ANYTHING, c=ANYTHING)
def test_checks_pass_or_refuse_anything(a: Any, b: Any, c: Any) -> None:
    x, y = torch.rand(2, D), torch.zeros(2, dtype=torch.long)
    for call in (
        lambda: checks.positive(value=a),
        lambda: checks.non_negative(steps=a),
        lambda: checks.points(a),
        lambda: checks.labels(a, 2),
        lambda: checks.box(a, x),
        lambda: checks.box((a, b), x),
        lambda: checks.refuse_type("it", a, (Tensor, nn.Module)),
        lambda: checks.refuse_numbers("it", a, b),
        lambda: checks.image_shape(a),
        lambda: checks.refuse_model(a, x),
        lambda: checks.refuse_model(NET, a),
        lambda: checks.refuse_intensities(x, most=1e6),
        lambda: checks.refuse_half(x),
        lambda: checks.refuse_outside("it", x, *checks.box(a, x)),
        lambda: checks.refuse_hollow("it", a, b),
        lambda: models.from_weights(a),
        lambda: models.load(c),
        lambda: attacks.fgsm(NET, a, b, eps=0.1, bounds=c if isinstance(c, tuple) else (0.0, 1.0)),
        lambda: metrics.accuracy(NET, a, b),
        lambda: metrics.implausibility(x, y, a, b),
    ):
        outcome(call)
    outcome(lambda: models.save(a, "/dev/null/none"), (ValueError, OSError))


@pytest.mark.parametrize("most", [0.5, 1.0])
def test_intensities_beyond_a_bound_are_refused(most: float) -> None:
    refused = outcome(lambda: checks.refuse_intensities(torch.ones(2, D), most=most) or "passed")
    assert (refused is None) == (most < 1)
    assert outcome(lambda: checks.refuse_half(torch.ones(2, D).half()) or "passed") is None


@FEW
@given(x=arrays(), bounds=BOXES, data=st.data())
def test_what_passes_the_checks_is_what_was_asked_for(x: Tensor, bounds: Any, data: st.DataObject) -> None:
    if outcome(lambda: checks.points(x)) is None:
        return
    assert checks.points(x) is x
    assert x.ndim == 2
    assert finite(x)
    pair = outcome(lambda: checks.box(bounds, x))
    if pair is not None:
        low, high = pair
        assert bool((low <= high).all())
        assert finite(low, high)
        assert low.dtype == high.dtype == x.dtype
        assert all(
            torch.equal(got, torch.as_tensor(side, dtype=x.dtype).nan_to_num())  # infinities as the largest numbers
            for got, side in zip(pair, bounds, strict=True)
        )
        assert torch.broadcast_shapes(low.shape, high.shape, x.shape) == x.shape
    y = data.draw(classes(len(x)))
    if outcome(lambda: checks.labels(y, len(x), CLASSES)) is not None:
        assert torch.equal(checks.labels(y, len(x), CLASSES), y.long())
        assert not len(y) or 0 <= int(y.long().min()) <= int(y.long().max()) < CLASSES


@FEW
@given(n=st.integers(0, 5), text=st.text("ab ", max_size=9))
def test_progress_changes_nothing(n: int, text: str) -> None:
    with redirect_stderr(io.StringIO()) as said, patch.dict(os.environ):
        os.environ.pop("ROBEXPL_PROGRESS", None)
        assert list(progress.bar(range(n), desc=text)) == list(range(n))
        assert not said.getvalue()  # nobody is looking
        progress.warn(text)
    assert said.getvalue() == f"warning: {text}\n"


@FEW
@given(
    raw=st.binary(max_size=60),
    header=st.dictionaries(st.text("a_", max_size=3), LEAVES.filter(lambda v: not isinstance(v, bytes)), max_size=2),
)
def test_any_payload_says_what_made_it_or_is_no_entry(raw: bytes, header: dict) -> None:
    text = json.dumps(header).encode()
    for payload in (raw, len(text).to_bytes(8, "little") + text):
        try:
            cache.describe(payload)
        except (ValueError, KeyError, TypeError):  # what a reader of the cache takes for a damaged entry
            pass
