"""Counterfactuals to look at: a few fixed factuals, searched with every network of a reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from robexpl import ecco
from robexpl.data import Dataset
from robexpl.metrics import implausibility
from robexpl.readings import Reading
from robexpl.regimes import REGIME_NAMES, REGIMES
from robexpl.report import study
from robexpl.report.networks import network
from robexpl.seeds import numpy_generator, torch_generator

PAIRS = (("3", "8"), ("4", "9"), ("7", "1"), ("0", "6"), ("5", "2"))  # from, to; the first is the thesis' Figure 3


@dataclass(frozen=True)
class Gallery:
    """Factuals (n, d) by class name from and to, and counterfactuals {stop: {regime: (x (n, d), scores (n,))}}."""

    rows: tuple[int, ...]
    pairs: tuple[tuple[str, str], ...]
    factuals: Tensor
    found: dict[str, dict[str, tuple[Tensor, Tensor]]]
    blank: Tensor  # (n,): score of an image without ink, or of the median training row


def gallery(dataset: Dataset, how: Reading, profile: study.Profile, *, seed: int = 0) -> Gallery:
    """Draw by `seed` one test row per pair of classes that all four networks classify correctly, and search from it."""
    pairs = PAIRS if dataset.image_shape else ((dataset.class_names[0], dataset.class_names[1]),)
    named = {regime: study.trained(dataset.name, regime, seed=0, reading=how, profile=profile) for regime in REGIMES}
    models = {regime: network(subject) for regime, subject in named.items()}
    with torch.no_grad():
        right = torch.stack([model(dataset.x_test).argmax(1) == dataset.y_test for model in models.values()]).all(0)
    label, target = ([dataset.class_names.index(pair[i]) for pair in pairs] for i in (0, 1))
    rows = [_draw(right & (dataset.y_test == one), seed, f"{one}") for one in label]
    x, wanted = dataset.x_test[rows], torch.tensor(target)
    kind = profile.kind(dataset.name)
    settings = how.settings(kind, steps=profile.steps)
    reference = study.neighbours(named["standard"], study.default_distance(kind))
    found: dict[str, dict[str, tuple[Tensor, Tensor]]] = {stop: {} for stop in ecco.STOPS}
    for stop, of_regime in found.items():
        for regime, model in models.items():
            noise = torch_generator(seed, "gallery", stop)
            common = {"settings": settings, "stop": stop, "bounds": dataset.bounds, "generator": noise}
            end = ecco.search(model, x, wanted, **common).x
            of_regime[regime] = end, implausibility(end, wanted, reference, k=profile.k)
    empty = torch.zeros_like(x[:1]) if dataset.image_shape else dataset.x_train.median(0).values[None]
    blank = implausibility(empty.expand_as(x).contiguous(), wanted, reference, k=profile.k)
    return Gallery(tuple(rows), pairs, x, found, blank)


def _draw(allowed: Tensor, seed: int, name: str) -> int:
    rows = allowed.nonzero().flatten()
    if not len(rows):
        raise ValueError(f"expected a test row of class {name} that all networks classify correctly, got none")
    return int(rows[numpy_generator(seed, "gallery", name).integers(len(rows))])


def pair_record(shown: Gallery, reading: str, stop: str = "generator_conditions") -> dict[str, Any]:
    """Return the classes and the scores of the first pair, by the standard and by the strong network."""
    scores = {regime: float(shown.found[stop][regime][1][0]) for regime in ("standard", "strong")}
    ends = {"from": shown.pairs[0][0], "to": shown.pairs[0][1]}
    return {**ends, "reading": reading, "stop": stop, **scores, "blank": float(shown.blank[0])}


def table(shown: Gallery, dataset: Dataset, stop: str, *, features: int = 10) -> pd.DataFrame:
    """Tabulate the first factual and its counterfactuals, the features that change most first."""
    ends = {REGIME_NAMES[regime]: x[0] for regime, (x, _) in shown.found[stop].items()}
    columns = {"factual": shown.factuals[0], **ends}
    frame = pd.DataFrame({name: x.double().numpy() for name, x in columns.items()}, index=list(dataset.feature_names))
    change = frame.sub(frame["factual"], axis=0).abs().max(axis=1)
    frame = frame.loc[change.sort_values(ascending=False, kind="stable").index[:features]]
    score = {REGIME_NAMES[regime]: float(s[0]) for regime, (_, s) in shown.found[stop].items()}
    frame.loc["implausibility"] = {"factual": float("nan"), **score}
    return frame.rename_axis("feature").round(2).astype(object).where(frame.notna(), "")
