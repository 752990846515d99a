"""Small worked examples for the pictures that explain the method."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn

from robexpl import attacks, ecco
from robexpl.checks import Bounds
from robexpl.data import Dataset
from robexpl.models import mlp
from robexpl.seeds import numpy_generator, torch_generator
from robexpl.training import fit


@dataclass(frozen=True)
class Flip:
    """A test row, its FGSM neighbour and what a network makes of both: classes and their probabilities."""

    row: int
    label: int
    clean: Tensor  # (d,)
    adversarial: Tensor  # (d,)
    predictions: tuple[int, int]
    confidences: tuple[float, float]

    @property
    def flips(self) -> bool:
        """Whether the prediction changes."""
        return self.predictions[0] != self.predictions[1]


def flip(model: nn.Module, dataset: Dataset, *, eps: float) -> Flip:
    """Find the first test row that the model gets right and whose class FGSM changes; if there is none, row 0."""
    x, y = dataset.x_test, dataset.y_test
    adversarial = attacks.fgsm(model, x, y, eps=eps, bounds=dataset.bounds)
    with torch.no_grad():
        before, after = (torch.softmax(model(points), 1).max(1) for points in (x, adversarial))
    found = ((before.indices == y) & (after.indices != y)).nonzero().flatten()
    row = int(found[0]) if len(found) else 0
    predictions = int(before.indices[row]), int(after.indices[row])
    confidences = float(before.values[row]), float(after.values[row])
    return Flip(row, int(y[row]), x[row], adversarial[row], predictions, confidences)


def moons(*, seed: int = 0, n: int = 240, noise: float = 0.15) -> Dataset:
    """Draw two interleaved half circles in the plane, the same rows for training and test."""
    state = int(numpy_generator(seed, "moons").integers(2**31))
    x, y = make_moons(n, noise=noise, random_state=state)
    points, labels = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.int64))
    bounds = (float(points.min()) - 1, float(points.max()) + 1)
    return Dataset("moons", "Two moons", points, labels, points, labels, bounds, None, 2, ("x1", "x2"), ("1", "2"))


def classifier(dataset: Dataset, *, seed: int = 0, hidden: int = 32, epochs: int = 25) -> nn.Module:
    """Train a small standard perceptron."""
    generator = torch_generator(seed, "weights")
    model = mlp(dataset.x_train.shape[1], hidden, dataset.n_classes, generator=generator)
    return fit(dataset, "standard", seed=seed, epochs=epochs, learning_rate=0.01, model=model)


def path(model: nn.Module, x: Tensor, target: int, *, settings: ecco.Settings, bounds: Bounds) -> Tensor:
    """Return all points (steps + 1, d) that a search from x (d,) visits until it meets the decision threshold.

    The search itself keeps only its end, so it is asked for 0, 1, 2, ... steps; it must start without noise.
    """
    points = []
    for steps in range(int(settings.steps) + 1):
        shorter = replace(settings, steps=steps)
        wanted = torch.tensor([target])
        end = ecco.search(model, x[None], wanted, settings=shorter, stop="decision_threshold", bounds=bounds)
        points.append(end.x[0])
        if end.converged[0]:
            break
    return torch.stack(points)


@torch.no_grad()
def plane(model: nn.Module, points: Tensor, target: int, *, resolution: int = 90) -> tuple[np.ndarray, ...]:
    """Return places across, places up and the probability of the target class there, around points (n, 2)."""
    (left, low), (right, high) = (points.amin(0) - 0.3).tolist(), (points.amax(0) + 0.3).tolist()
    across, up = torch.linspace(left, right, resolution), torch.linspace(low, high, resolution)
    grid = torch.cartesian_prod(up, across).flip(1)  # (resolution^2, 2), rows run upwards
    probability = probabilities(model, grid, target).reshape(resolution, resolution)
    return across.numpy(), up.numpy(), probability.numpy()


@torch.no_grad()
def probabilities(model: nn.Module, x: Tensor, target: int) -> Tensor:
    """Return the probability (n,) that the model gives the target class at x (n, d)."""
    return torch.softmax(model(x), 1)[:, target]
