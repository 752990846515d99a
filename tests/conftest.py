"""Small networks and data that every test can have."""

from __future__ import annotations

import pytest
import torch
from helpers import Opaque, linear

from robexpl import models
from robexpl.seeds import torch_generator


@pytest.fixture
def generator() -> torch.Generator:
    return torch_generator(0, "test")


@pytest.fixture
def network() -> torch.nn.Sequential:
    """A perceptron 12-16-4 with random weights and biases."""
    model = models.mlp(12, 16, 4, generator=torch_generator(1, "network"))
    biases = torch_generator(2, "biases")
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.bias.normal_(generator=biases)
    return model


@pytest.fixture
def points(generator: torch.Generator) -> torch.Tensor:
    """Forty points in [0, 1]^12."""
    return torch.rand(40, 12, generator=generator)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.arange(40) % 4


@pytest.fixture
def opaque(network: torch.nn.Module) -> torch.nn.Module:
    return Opaque(network)


@pytest.fixture
def binary() -> torch.nn.Module:
    """A linear two-class network whose adversarial optimum is known: f_1 - f_0 = 2 w x."""
    w = torch.tensor([[1.0, -2.0, 0.5]])
    return linear(torch.cat([-w, w]))
