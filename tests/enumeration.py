"""Small perceptrons by brute force: every pattern of responding units, each with its linear program."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from scipy.optimize import linprog

from robexpl import models
from robexpl.gradients import relu_layers
from robexpl.seeds import torch_generator

Affine = tuple[np.ndarray, np.ndarray]


def perceptron(inputs: int, hidden: int | list[int], outputs: int, seed: int) -> torch.nn.Sequential:
    """Return a perceptron in double precision with random weights, whose logits are 0 on average over [0, 1]^inputs."""
    model = models.mlp(inputs, hidden, outputs, generator=torch_generator(seed, "enumeration")).double()
    with torch.no_grad():
        for layer in relu_layers(model):
            layer.bias.normal_(std=0.5, generator=torch_generator(seed, "biases", len(layer.bias)))
        cube = torch.rand(200, inputs, generator=torch_generator(seed, "cube")).double()
        layer.bias.sub_(model(cube).mean(0))
    return model.requires_grad_(False)


def regions(model: torch.nn.Sequential, low: np.ndarray, high: np.ndarray) -> Iterator[tuple[Affine, Affine]]:
    """Yield (A, b) of the condition A x <= b under which a pattern responds, and (M, m) of its logits M x + m.
    Patterns of which a single unit shows that no point of the box has them are left out.
    """
    layers = [(layer.weight.double().numpy(), layer.bias.double().numpy()) for layer in relu_layers(model)]
    for pattern in itertools.product(*(itertools.product((0, 1), repeat=len(bias)) for _, bias in layers[:-1])):
        slope, shift, rows, ends = np.eye(layers[0][0].shape[1]), np.zeros(layers[0][0].shape[1]), [], []
        for (weight, bias), on in zip(layers, (*pattern, None), strict=True):
            slope, shift = weight @ slope, weight @ shift + bias
            if on is not None:
                sign = 1 - 2 * np.array(on)  # a unit that responds: -h <= 0
                rows.append(sign[:, None] * slope)
                ends.append(-sign * shift)
                slope, shift = np.array(on)[:, None] * slope, np.array(on) * shift
        a, b = np.concatenate(rows), np.concatenate(ends)
        if (np.where(a > 0, a * low, a * high).sum(1) <= b).all():
            yield (a, b), (slope, shift)


def least_margin(model: torch.nn.Sequential, y: int, low: np.ndarray, high: np.ndarray) -> float:
    """Return the least margin of class y over the others in a box."""
    found = np.inf
    for (a, b), (slope, shift) in regions(model, low, high):
        for j in (j for j in range(len(shift)) if j != y):
            done = linprog(slope[y] - slope[j], a, b, bounds=np.stack([low, high], 1))
            if done.status == 0:
                found = min(found, done.fun + shift[y] - shift[j])
    return found


def distance(model, x, goals: list[list[tuple[int, int, float]]], norm: str, low, high) -> float:
    """Return the distance to the nearest point in a box that meets one of some lists of conditions f_t - f_j >= c."""
    d = len(x)
    wide = 1 if norm == "linf" else d
    unit, one, found = np.eye(d), -(np.ones((d, 1)) if wide == 1 else np.eye(d)), np.inf
    box = [*zip(low, high, strict=True), *[(0, None)] * wide]
    for (a, b), (slope, shift) in regions(model, low, high):
        for goal in goals:
            better = np.array([slope[j] - slope[t] for t, j, _ in goal])
            ends = [shift[t] - shift[j] - c for t, j, c in goal]
            rows = [np.hstack([m, np.zeros((len(m), wide))]) for m in (a, better)]
            rows += [np.hstack([unit, one]), np.hstack([-unit, one])]
            right = np.concatenate([b, ends, x, -x])
            done = linprog(np.r_[np.zeros(d), np.ones(wide)], np.concatenate(rows), right, bounds=box)
            if done.status == 0:
                found = min(found, done.fun)
    return found
