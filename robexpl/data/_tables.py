"""Tabular data: the two ways of drawing training and test rows from a table."""

import numpy as np
import torch

from robexpl.data._dataset import Dataset
from robexpl.seeds import numpy_generator

Names = tuple[str, ...]


def dataset(
    name: str, title: str, x: np.ndarray, y: np.ndarray, features: Names, classes: Names, *,
    per_class: int, seed: int, sampling: str,
) -> Dataset:  # fmt: skip
    """Draw `per_class` rows of each class y (n,) from x (n, d), split and scaled as "as_run" or "corrected" says."""
    draw, rng = {"as_run": as_run, "corrected": corrected}[sampling], numpy_generator(seed, "data", name)
    *parts, bounds, scaler = draw(x, y.astype(np.int64), per_class, rng)
    known = None, len(classes), features, classes, tuple(map(torch.from_numpy, scaler))
    return Dataset(name, title, *map(torch.from_numpy, parts), bounds, *known)


def as_run(x: np.ndarray, y: np.ndarray, per_class: int, rng: np.random.Generator) -> tuple:
    """Draw as the thesis' experiment did: equally many rows of each class WITH replacement, shuffled, then split 80/20.
    Mean and (n-1) standard deviation are those of all rows, and the box is one interval for every feature: from the
    least to the greatest value in the whole scaled table. Because the split comes last, a row can be in both parts.
    """
    scaler = x.mean(0), x.std(0, ddof=1)
    x = ((x - scaler[0]) / scaler[1]).astype(np.float32)
    rows = np.concatenate([rng.choice(np.flatnonzero(y == c), per_class) for c in np.unique(y)])
    train, test = np.split(rng.permutation(rows), [round(0.8 * len(rows))])
    return x[train], y[train], x[test], y[test], (float(x.min()), float(x.max())), scaler


def corrected(x: np.ndarray, y: np.ndarray, per_class: int, rng: np.random.Generator) -> tuple:
    """Draw distinct rows without replacement, 80 % of `per_class` for training and 20 % for testing from each class.
    Scaler and box know the training rows alone. The box is per feature, from the least to the greatest training value.
    A row outside it is no candidate for the test: attack and search clamp to the box, so they would start by moving it.
    """
    first = np.sort(np.unique(x, axis=0, return_index=True)[1])  # one of each set of equal rows
    x, y = x[first], y[first]
    n_train, n_test = round(0.8 * per_class), round(0.2 * per_class)
    classes = [rng.permutation(np.flatnonzero(y == c)) for c in np.unique(y)]
    train = rng.permutation(np.concatenate([rows[:n_train] for rows in classes]))
    scaler = x[train].mean(0), x[train].std(0, ddof=1)
    x = ((x - scaler[0]) / scaler[1]).astype(np.float32)
    low, high = x[train].min(0), x[train].max(0)
    inside = ((x >= low) & (x <= high)).all(1)
    rest = [rows[n_train:][inside[rows[n_train:]]] for rows in classes]
    if min(map(len, rest)) < n_test:
        raise ValueError(f"expected {n_test} test rows of each class inside the box, got {[len(r) for r in rest]}")
    test = rng.permutation(np.concatenate([rows[:n_test] for rows in rest]))
    return x[train], y[train], x[test], y[test], (torch.from_numpy(low), torch.from_numpy(high)), scaler
