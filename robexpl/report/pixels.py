"""Does adversarial training on images do more than threshold pixels? A control that thresholds and nothing else.

Two controls share one network, trained in the standard way on black and white images (1 where x > 1/2, else 0):
`binarised` shows it grey images as they are; `thresholded` puts a soft threshold before it,

    T(x) = (s(x) - s(0)) / (s(1) - s(0)),    s(x) = 1 / (1 + exp(-(x - 1/2) / tau)),

steep enough to shrink changes near black and white, smooth enough for attacks and searches to follow its gradient.
Neither has seen an adversary.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from robexpl import attacks, ecco, metrics, stats
from robexpl.cache import cached
from robexpl.data import Dataset
from robexpl.models import from_weights
from robexpl.readings import reading
from robexpl.regimes import EVALUATION, FGSM_EPS, REGIME_NAMES, REGIMES
from robexpl.report.networks import Subject, network
from robexpl.report.study import STOPS, Profile, default_distance, draw_factuals, neighbours, trained
from robexpl.seeds import numpy_generator, torch_generator
from robexpl.training import fit

Record = dict[str, Any]
CONTROLS = ("binarised", "thresholded")
TITLES = {**REGIME_NAMES, "binarised": "Binarised", "thresholded": "Thresholded"}
ATTACKS = ("clean", "fgsm", "pgd")
INPUTS = ("grey", "binary")
SEEDS, RUNS, ROWS = 4, 1, 2000  # seeds and runs of the control, test rows attacked; two seeds would tell nothing
TAU = 0.1


def binary(x: Tensor) -> Tensor:
    """Return images in black and white: 1 where x > 1/2, else 0."""
    return (x > 0.5).to(x.dtype)


class Threshold(nn.Module):
    """Threshold intensities softly, with 0 and 1 in their places."""

    def __init__(self, tau: float = TAU) -> None:
        super().__init__()
        self.tau = tau
        self.low = 1 / (1 + float(np.exp(0.5 / tau)))

    def forward(self, x: Tensor) -> Tensor:
        """Return T(x), of the shape of x."""
        return (torch.sigmoid((x - 0.5) / self.tau) - self.low) / (1 - 2 * self.low)


@cached()
def train_binarised(subject: Subject) -> dict[str, Tensor]:
    """Train the network of a subject on black and white images, all else the same; keep its weights."""
    dataset = subject.load_data()
    pictures = replace(dataset, x_train=binary(dataset.x_train), x_test=binary(dataset.x_test))
    return dict(fit(pictures, subject.regime, seed=subject.seed, epochs=subject.epochs).state_dict())


def model(subject: Subject, how: str) -> nn.Module:
    """Return the network of a subject as it is ("own") or one of the two controls in its place."""
    if how == "own":
        return network(subject)
    inner = from_weights(train_binarised(subject))
    return inner if how == "binarised" else nn.Sequential(Threshold(), inner)


@cached()
def attacked(subject: Subject, how: str, rows: int) -> dict[str, Tensor]:
    """Attack the first test rows, grey and binarised: {inputs.attack: (rows,) whether the label is still right}."""
    dataset, own, result = subject.load_data(), model(subject, how), {}
    y, bounds = dataset.y_test[:rows], dataset.bounds
    for inputs in INPUTS:
        x = dataset.x_test[:rows] if inputs == "grey" else binary(dataset.x_test[:rows])
        generator = torch_generator(subject.seed, "pixels", inputs)
        perturbed = {
            "clean": x,
            "fgsm": attacks.fgsm(own, x, y, eps=FGSM_EPS, bounds=bounds),
            "pgd": attacks.pgd(own, x, y, **vars(EVALUATION), bounds=bounds, generator=generator),
        }
        for name, points in perturbed.items():
            with torch.no_grad():
                result[f"{inputs}.{name}"] = own(points).argmax(1) == y
    return result


@cached()
def searched(
    subject: Subject, how: str, stop: str, settings: ecco.Settings, runs: int, per_run: int, distance: str, k: int
) -> dict[str, Tensor]:
    """Search and score counterfactuals of a control as `study.explain` does: same factuals, targets and start."""
    dataset, own = subject.load_data(), model(subject, how)
    drawn = draw_factuals(dataset, seed=subject.seed, runs=runs, per_run=per_run)
    x, generator = dataset.x_test[drawn["row"]], torch_generator(subject.seed, "start", stop)
    found = ecco.search(
        own, x, drawn["target"], settings=settings, stop=stop, bounds=dataset.bounds, generator=generator
    )
    values = metrics.implausibility(found.x, drawn["target"], neighbours(subject, distance), k=k)
    with torch.no_grad():
        correct = own(x).argmax(1) == drawn["label"]
    return {"row": drawn["row"], "correct": correct, "target_prob": found.target_prob, "implausibility": values}


def accuracies(dataset: str, *, seeds: int, name: str, profile: Profile) -> Record:
    """Measure accuracies on grey and on binarised images: {network: {inputs: {attack: record}}}."""
    result: Record = {}
    for title in (*REGIMES, *CONTROLS):
        regime, how = ("standard", title) if title in CONTROLS else (title, "own")
        found = [
            attacked(trained(dataset, regime, seed=seed, reading=reading(name), profile=profile), how, ROWS)
            for seed in range(seeds)
        ]
        for inputs in INPUTS:
            for attack in ATTACKS:
                right = np.array([int(one[f"{inputs}.{attack}"].sum()) for one in found])
                n = np.array([len(one[f"{inputs}.{attack}"]) for one in found])
                rng = numpy_generator(0, "pixels", title, inputs, attack)
                estimate = stats.accuracy_interval(right, n, rng=rng)
                record = {key: getattr(estimate, key) for key in ("mean", "low", "high", "n", "n_seeds")}
                result.setdefault(title, {}).setdefault(inputs, {})[attack] = record
    return result


def control(rows: pd.DataFrame, dataset: Dataset, *, seeds: int, name: str, profile: Profile) -> Record | None:
    """Compare controls and robust networks with the standard one on the same factuals, in one reading; None for tables.

    accuracy: as `accuracies`; cells: {stop: {network: mean}} over the factuals that standard network and the other
    both classify correctly (its own for standard); difference: {stop: {network: paired difference to standard}};
    valid: {stop: {control: share}}; share: {stop: {control: its difference as a share of the strong network's}}.
    """
    if dataset.image_shape is None:
        return None
    seeds, runs, how = min(SEEDS, seeds), min(RUNS, profile.runs), reading(name)
    settings = how.settings(profile.kind(dataset.name), steps=profile.steps)
    result: Record = {key: {stop: {} for stop in STOPS} for key in ("cells", "difference", "valid", "share")}
    few = rows[(rows["reading"] == name) & (rows["seed"] < seeds) & (rows["run"] < runs)]
    for stop in STOPS:
        own = dict(list(few[few["stop"] == stop].groupby("regime", sort=False)))
        base = own["standard"]
        for title in (*REGIMES, *CONTROLS):
            frame = own.get(title)
            if frame is None:
                frame = _frame(title, stop, settings, seeds, runs, dataset, how, profile)
            if (frame["row"].to_numpy() != base["row"].to_numpy()).any():
                raise ValueError(f"expected the same factuals as the standard network's, got others for {title}")
            both = frame["correct"].to_numpy() & base["correct"].to_numpy()
            values, standard = (part["implausibility"].to_numpy()[both] for part in (frame, base))
            owners, rng = base["seed"].to_numpy()[both], numpy_generator(0, "pixels", stop, title)
            result["cells"][stop][title] = _record(stats.mean_interval(values, owners, rng=rng))
            if title != "standard":
                result["difference"][stop][title] = _record(stats.paired_difference(values, standard, owners, rng=rng))
            result["valid"][stop][title] = float((frame["target_prob"].to_numpy()[both] >= settings.threshold).mean())
        full = result["difference"][stop]["strong"]["mean"]
        for title in CONTROLS:
            result["share"][stop][title] = result["difference"][stop][title]["mean"] / full if full else None
    accuracy = accuracies(dataset.name, seeds=seeds, name=name, profile=profile)
    return {"reading": name, "seeds": seeds, "accuracy": accuracy, **result}


def _frame(title, stop, settings, seeds: int, runs: int, dataset: Dataset, how, profile: Profile) -> pd.DataFrame:
    distance, parts = default_distance(profile.kind(dataset.name)), []
    for seed in range(seeds):
        subject = trained(dataset.name, "standard", seed=seed, reading=how, profile=profile)
        found = searched(subject, title, stop, settings, runs, profile.factuals, distance, profile.k)
        columns = {key: found[key].numpy() for key in ("row", "correct")}
        columns |= {key: found[key].double().numpy() for key in ("target_prob", "implausibility")}
        parts.append(pd.DataFrame({"seed": seed, **columns}))
    return pd.concat(parts, ignore_index=True)


def _record(estimate: stats.Estimate) -> Record:
    return {key: getattr(estimate, key) for key in ("mean", "low", "high", "n", "n_seeds")}
