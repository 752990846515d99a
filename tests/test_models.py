"""Perceptrons: initialisation, saving, refusing what is not one."""

from __future__ import annotations

import pytest
import torch

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
    with pytest.raises(ValueError, match="expected seed to be an integer >= 0, got -1"):
        torch_generator(-1, "a")


def test_save_and_load(network, points, tmp_path):
    path = models.save(network, tmp_path / "network.safetensors")
    torch.testing.assert_close(models.load(path)(points), network(points), rtol=0, atol=0)


def test_other_weights_are_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(ValueError, match=r"other\.safetensors holds another model's weights: expected weights"):
        models.load(path)
    weights = models.mlp(5, 4, 3).state_dict() | {"2.weight": torch.zeros(3, 7)}
    save_file(weights, path)
    with pytest.raises(ValueError, match=r"expected 2.weight of shape \(3, 4\), got \(3, 7\)"):
        models.load(path)
    with pytest.raises(ValueError, match="expected weights"):
        models.save(torch.nn.Linear(3, 2), tmp_path / "x")
    assert not (tmp_path / "x").exists()


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
