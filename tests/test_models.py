"""Architectures: initialisation, sizes, saving, refusing what is none of them."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from helpers import Opaque
from safetensors import safe_open
from safetensors.torch import save_file

from robexpl import models
from robexpl.seeds import numpy_generator, torch_generator


def test_glorot_normal():
    model = models.mlp(784, 128, 10, generator=torch_generator(0, "weights"))
    assert float(model[0].weight.detach().std()) == pytest.approx((2 / (784 + 128)) ** 0.5, rel=0.01)
    assert float(model[2].weight.detach().std()) == pytest.approx((2 / (128 + 10)) ** 0.5, rel=0.05)
    assert not model[0].bias.any()
    assert not model[2].bias.any()


def test_initialisation_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    models.mlp(5, 4, 3, generator=torch_generator(0, "weights"))
    assert torch.equal(before, torch.get_rng_state())


def test_same_seed_same_weights():
    a, b, c = (models.mlp(5, 4, 3, generator=torch_generator(seed, "weights")) for seed in (0, 0, 1))
    assert torch.equal(a[0].weight, b[0].weight)
    assert not torch.equal(a[0].weight, c[0].weight)


def test_streams_differ_by_name_and_seed():
    draws = {
        float(torch.rand(1, generator=torch_generator(*key))) for key in [(0, "a"), (0, "b"), (1, "a"), (0, "a", 1)]
    }
    assert len(draws) == 4
    assert numpy_generator(3, "x").random() == numpy_generator(3, "x").random()
    with pytest.raises(ValueError, match="expected seed >= 0, got -1"):
        torch_generator(-1, "a")


def test_save_and_load(network, points, tmp_path):
    path = models.save(network, tmp_path / "network.safetensors")
    torch.testing.assert_close(models.load(path)(points), network(points), rtol=0, atol=0)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["robexpl"])
    assert about == {"model": "mlp", "sizes": {"inputs": 12, "hidden": 16, "outputs": 4}}


def test_perceptrons_of_several_layers_are_kept_with_their_precision(tmp_path):
    model = models.mlp(5, (4, 6), 3, generator=torch_generator(0, "weights")).double()
    assert [type(layer).__name__ for layer in model] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert models.module("mlp").sizes(model) == {"inputs": 5, "hidden": [4, 6], "outputs": 3}
    again = models.load(models.save(model.train(), tmp_path / "x"))
    assert not again.training
    for weight, other in zip(model.parameters(), again.parameters(), strict=True):
        assert other.dtype == torch.float64
        assert torch.equal(weight, other)
    one = models.mlp(5, 4, 3, generator=torch_generator(0, "weights")).double()
    assert models.from_weights(dict(one.state_dict()))[0].weight.dtype == torch.float64
    with pytest.raises(ValueError, match="expected hidden > 0, got 0"):
        models.mlp(5, (4, 0), 3)


def test_the_type_of_torch_decides_no_weights():
    usual = models.mlp(5, 4, 3, generator=torch_generator(0, "weights"))
    torch.set_default_dtype(torch.float64)
    try:
        other = models.mlp(5, 4, 3, generator=torch_generator(0, "weights"))
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(usual[0].weight, other[0].weight)


@pytest.mark.parametrize("metadata", [None, {"robexpl": '{"model": "mlp"}'}])
def test_files_without_sizes_are_perceptrons(network, points, tmp_path, metadata):
    save_file(dict(network.state_dict()), tmp_path / "old.safetensors", metadata)
    assert torch.equal(models.load(tmp_path / "old.safetensors")(points), network(points))


def test_the_study_builds_128_hidden_units_for_images_and_10_for_tabular_data():
    for shape, hidden in (((28, 28), 128), (None, 10)):
        model = models.build("mlp", 20, 3, shape, generator=torch_generator(0, "weights"))
        assert models.module("mlp").sizes(model) == {"inputs": 20, "hidden": hidden, "outputs": 3}
        again = models.mlp(20, hidden, 3, generator=torch_generator(0, "weights"))
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    with pytest.raises(ValueError, match="unknown architecture 'lenet5'; known: decision_tree, deep_mlp, lenet"):
        models.build("lenet5", 20, 3)


@pytest.mark.parametrize(
    "model",
    [
        torch.nn.Linear(3, 2),
        torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)),
        torch.nn.Sequential(torch.nn.Linear(3, 4, bias=False), torch.nn.ReLU(), torch.nn.Linear(4, 2)),
        Opaque(models.mlp(3, 4, 2)),
    ],
)
def test_networks_of_other_architectures_are_not_saved(model, tmp_path):
    assert models.module("mlp").sizes(model) is None
    known = r"\(decision_tree, deep_mlp, lenet, mlp\)"
    says = rf"^expected a network of a known architecture {known}, got [A-Z]\w+; to register one, add robexpl/models/"
    with pytest.raises(ValueError, match=says) as error:
        models.save(model, tmp_path / "x")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "x").exists()


def test_weights_that_are_not_finite_are_not_saved(network, tmp_path):
    network[0].weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"^expected finite numbers in 0\.weight, got 1 NaN or infinite"):
        models.save(network, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"model": "conv", "sizes": {}}, "unknown architecture 'conv'; known: decision_tree, deep_mlp, lenet, mlp"),
        ({"sizes": {}}, "'model'"),
        ({"model": "mlp", "sizes": {"inputs": 5}}, "missing 2 required positional arguments"),
        ({"model": "mlp", "sizes": {"inputs": 5, "hidden": 3, "outputs": 3}}, "size mismatch for 0.weight"),
        ({"model": "mlp", "sizes": 3}, "argument after"),
        ([], "other"),
        (3, "int"),
    ],
)
def test_files_that_name_another_architecture_are_refused(tmp_path, about, says):
    path = tmp_path / "other.safetensors"
    weights = {"other": torch.zeros(1)} if about == [] else models.mlp(5, 4, 3).state_dict()
    save_file(dict(weights), path, {"robexpl": json.dumps(about)})
    with pytest.raises(ValueError, match=rf"other\.safetensors holds another model's weights: .*{says}") as error:
        models.load(path)
    assert "\n" not in str(error.value)


def test_other_weights_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(ValueError, match=r"other\.safetensors holds another model's weights: expected weights"):
        models.load(path)
    weights = models.mlp(5, 4, 3).state_dict() | {"2.weight": torch.zeros(3, 7)}
    save_file(weights, path)
    with pytest.raises(ValueError, match=r"expected 2.weight of shape \(3, 4\), got \(3, 7\)"):
        models.load(path)


def test_damaged_and_missing_files_are_refused(network, tmp_path):
    path = models.save(network, tmp_path / "network.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="expected a safetensors file at"):
        models.load(path)
    with pytest.raises(ValueError, match="expected a file with weights, found none at"):
        models.load(tmp_path / "none")


@pytest.mark.parametrize("sizes", [(0, 4, 3), (5, 0, 3), (5, 4, -1)])
def test_sizes_are_positive(sizes):
    with pytest.raises(ValueError, match=r"expected .* > 0"):
        models.mlp(*sizes)


# Other architectures


OTHERS = {"lenet": (784, 10, (28, 28)), "decision_tree": (8, 2, None), "deep_mlp": (8, 2, None)}


@pytest.mark.parametrize("name", OTHERS)
def test_an_architecture_is_built_from_its_generator_and_kept_in_a_file(name, tmp_path):
    inputs, outputs, _ = OTHERS[name]
    before = torch.get_rng_state()
    a, b, zero = (
        models.build(name, *OTHERS[name], generator=generator)
        for generator in (torch_generator(0, "weights"), torch_generator(0, "weights"), None)
    )
    assert torch.equal(before, torch.get_rng_state())
    x = torch.rand(5, inputs, generator=torch_generator(0, "x"))
    assert a(x).shape == (5, outputs)
    assert torch.equal(a(x), b(x))
    assert not torch.equal(a(x), zero(x))
    again = models.load(models.save(a, tmp_path / "a.safetensors"))
    assert type(again) is type(a)
    assert torch.equal(again(x), a(x))
    torch.testing.assert_close(
        models.load(tmp_path / "a.safetensors").double()(x.double()).float(), a(x), atol=1e-4, rtol=0
    )
    if name == "lenet":
        assert sum(part.numel() for part in a.parameters()) == 61_706  # as published, with 6 -> 16 maps all connected
        assert models.build(name, 64, 10, (8, 8))(torch.zeros(2, 64)).shape == (2, 10)
        with pytest.raises(ValueError, match="expected images for lenet, got tabular data"):
            models.build(name, 8, 2)


def test_a_tree_of_one_feature_is_its_leaf_scores_far_from_the_cuts():
    """Cuts -1 and 1: bins below, between and above them, softer the higher the temperature."""
    tree = models.module("decision_tree").decision_tree(1, 2, cuts=2, temperature=0.1)
    with torch.no_grad():
        tree.cuts.copy_(torch.tensor([[1.0, -1.0]]))  # in any order
        tree.leaves.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 5.0]]))
    found = tree(torch.tensor([[-3.0], [0.0], [3.0]]))
    torch.testing.assert_close(found, tree.leaves.detach(), atol=1e-3, rtol=0)
    halfway = tree.bins(torch.tensor([[-1.0], [1.0]]))[:, 0]
    torch.testing.assert_close(halfway, torch.tensor([[0.5, 0.5, 0], [0, 0.5, 0.5]]), atol=1e-3, rtol=0)


def test_leaves_are_the_cells_of_the_grid_of_bins():
    """By brute force: a sum over all combinations of bins of the products of memberships and the leaf's score."""
    tree = models.module("decision_tree").decision_tree(
        3, 2, cuts=2, temperature=0.5, generator=torch_generator(0, "t")
    )
    x = torch.randn(4, 3, generator=torch_generator(0, "x"))
    bins, total = tree.bins(x), torch.zeros(4, 2)
    torch.testing.assert_close(bins.sum(2), torch.ones(4, 3))
    for number, (i, j, k) in enumerate(itertools.product(range(3), repeat=3)):
        total += (bins[:, 0, i] * bins[:, 1, j] * bins[:, 2, k])[:, None] * tree.leaves[number]
    torch.testing.assert_close(tree(x), total)


def test_a_tree_of_many_features_draws_ten_of_them():
    tree = models.build("decision_tree", 30, 2, generator=torch_generator(0, "weights"))
    assert tree.leaves.shape == (1024, 2)
    assert len(set(tree.features.tolist())) == 10
    x = torch.zeros(1, 30).requires_grad_()
    tree(x)[:, 0].sum().backward()
    assert set(x.grad[0].nonzero()[:, 0].tolist()) <= set(tree.features.tolist())
