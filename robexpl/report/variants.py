"""Searches and scores beside those of the study: scaled networks, other numbers of neighbours, other rulers."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from robexpl import checks, ecco, metrics
from robexpl.cache import cached
from robexpl.gradients import relu_layers
from robexpl.readings import Reading
from robexpl.report import study
from robexpl.report.networks import Subject, network
from robexpl.seeds import torch_generator

NEIGHBOURS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
MAPPED = ("robust", "mahalanobis")
RULERS = {"image": ("ssim", "ssim_cropped", "euclidean", "l1"), "tabular": ("euclidean", "l1", *MAPPED)}


def scaled(model: nn.Module, scale: float) -> nn.Module:
    """Return a copy of a perceptron f with logits scale f(x): another network, the same classifier."""
    checks.positive(scale=scale)
    if relu_layers(model) is None:
        raise ValueError(f"expected a perceptron, got {type(model).__name__}")
    result = copy.deepcopy(model)
    with torch.no_grad():
        result[-1].weight.mul_(scale)
        result[-1].bias.mul_(scale)
    return result


@cached()
def explain_scaled(
    subject: Subject, scale: float, stop: str, settings: ecco.Settings, runs: int, per_run: int, distance: str, k: int
) -> dict[str, Tensor]:
    """Search and score as `study.explain` and `study.score` do, on the scaled network; one value per factual (n,)."""
    dataset, model = subject.load_data(), scaled(network(subject), scale)
    drawn = study.draw_factuals(dataset, seed=subject.seed, runs=runs, per_run=per_run)
    x, generator = dataset.x_test[drawn["row"]], torch_generator(subject.seed, "start", stop)
    found = ecco.search(
        model, x, drawn["target"], settings=settings, stop=stop, bounds=dataset.bounds, generator=generator
    )
    scores = metrics.implausibility(found.x, drawn["target"], study.neighbours(subject, distance), k=k)
    ends = {"target_logit": found.target_logit, "target_prob": found.target_prob, "l1": (found.x - x).abs().sum(1)}
    return {**ends, "implausibility": scores}


@cached()
def by_neighbours(subject: Subject, stop: str, settings: ecco.Settings, runs: int, per_run: int) -> dict[str, Tensor]:
    """Score the counterfactuals of `study.explain` for each k of NEIGHBOURS that every class allows: {k: (n,)}."""
    found, dataset = study.explain(subject, stop, settings, runs, per_run), subject.load_data()
    known = study.neighbours(subject, study.default_distance("image" if dataset.image_shape else "tabular"))
    ks = allowed(dataset.y_train)
    sums = metrics.nearest(found["x"], found["target"], known, k=ks[-1]).double().cumsum(1)  # (n, k)
    return {str(k): sums[:, k - 1] / k for k in ks}


def allowed(labels: Tensor) -> list[int]:
    """Return the k of NEIGHBOURS that every class has points for."""
    return [k for k in NEIGHBOURS if k <= int(labels.bincount().min())]


def linear_map(x: Tensor, ruler: str) -> Tensor:
    """Return A (d, d) such that |A (a - b)| is the distance by that ruler, from the training points x (n, d).

    robust: A = diag(1 / interquartile range); mahalanobis: A = L^-1, L L^T the covariance (Cholesky), so that
    |A u|^2 = u^T cov^-1 u.
    """
    x = x.double()
    if checks.one_of("ruler", ruler, MAPPED) == "robust":
        low, high = x.quantile(torch.tensor([0.25, 0.75], dtype=x.dtype), dim=0)
        if flat := int((high == low).sum()):
            raise ValueError(f"expected features that differ between their quartiles, got {flat} that do not")
        return torch.diag(1 / (high - low))
    factor, failed = torch.linalg.cholesky_ex(torch.cov(x.T))
    if failed:
        raise ValueError(f"expected a covariance of full rank {x.shape[1]}, got a singular one")
    return torch.linalg.inv(factor)


@cached()
def score_mapped(
    subject: Subject, stop: str, settings: ecco.Settings, runs: int, per_run: int, ruler: str, k: int
) -> dict[str, Tensor]:
    """Score the counterfactuals of `study.explain` by Euclidean distance after `linear_map`."""
    found, dataset = study.explain(subject, stop, settings, runs, per_run), subject.load_data()
    by = linear_map(dataset.x_train, ruler).T  # (d, d)
    x, points = found["x"].double() @ by, dataset.x_train.double() @ by
    scores = metrics.implausibility(x, found["target"], points, dataset.y_train, distance="euclidean", k=k)
    return {"implausibility": scores}


def rows(subject: Subject, stop: str, how: Reading, profile: study.Profile, **changes: Any) -> pd.DataFrame:
    """Tabulate as `study.frame` does; besides settings of the search, scale, k, ruler and steps may change."""
    special = {name: changes.pop(name, None) for name in ("scale", "k", "ruler", "steps")}
    profile, kind = replace(profile, steps=special["steps"] or profile.steps), profile.kind(subject.dataset)
    settings = how.settings(kind, steps=profile.steps, **changes)
    arguments = (subject, stop, settings, profile.runs, profile.factuals)
    if special["scale"] not in (None, 1):
        scored = (study.default_distance(kind), profile.k)
        found = explain_scaled(subject, special["scale"], *arguments[1:], *scored)
        names = {"reading": how.name, "seed": subject.seed, "regime": subject.regime, "stop": stop}
        columns = {name: values.double().numpy() for name, values in found.items()}
        return pd.DataFrame({**names, **columns, "valid": columns["target_prob"] >= settings.threshold})
    frame = study.frame(subject, stop, how, profile, **changes)
    if special["k"]:
        return frame.assign(implausibility=by_neighbours(*arguments)[str(special["k"])].numpy())
    if ruler := special["ruler"]:
        score = score_mapped if ruler in MAPPED else study.score
        return frame.assign(implausibility=score(*arguments, ruler, profile.k)["implausibility"].double().numpy())
    return frame
