"""What makes implausibilities vary: seeds, factuals, their interplay, start noise.

Where all seeds share their data, as on MNIST, the same factuals are searched in the networks of all seeds: seed and
factual are crossed. Elsewhere a seed carries its own sample and split: factuals are nested in seeds, and "seed" means
network, sample and split together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robexpl import ecco, metrics, stats
from robexpl.cache import cached
from robexpl.readings import reading
from robexpl.regimes import REGIMES
from robexpl.report.networks import Subject, load_data, network
from robexpl.report.study import STOPS, Profile, default_distance, draw_factuals, neighbours, trained
from robexpl.seeds import torch_generator

Record = dict[str, Any]
FACTUALS, DRAWS = 40, 3
PARTS = {"seed": "seed", "factual": "factual", "interaction": "seed x factual", "noise": "start noise"}


@cached()
def repeats(
    subject: Subject, stop: str, settings: ecco.Settings, chosen: tuple, draws: int, distance: str, k: int
) -> dict[str, Tensor]:
    """Score searches from the test rows chosen = ((row, target), ...), repeated with `draws` draws of start noise.

    Returns implausibility (n, draws). Seeds draw their own noise; the networks of a seed share it.
    """
    dataset, model, reference = subject.load_data(), network(subject), neighbours(subject, distance)
    row, target = torch.tensor(chosen).T
    columns = []
    for draw in range(draws):
        found = ecco.search(
            *(model, dataset.x_test[row], target),
            settings=settings,
            stop=stop,
            bounds=dataset.bounds,
            generator=torch_generator(subject.seed, "components", stop, draw),
            labels=dataset.y_test[row],
        )
        columns.append(metrics.implausibility(found.x, target, reference, k=k))
    return {"implausibility": torch.stack(columns, 1)}


def agreed(subjects: list[Subject], seed: int, profile: Profile, *, most: int = FACTUALS) -> tuple:
    """Return the first factuals of a seed that all these networks classify correctly: ((row, target), ...)."""
    dataset = subjects[0].load_data()
    drawn = draw_factuals(dataset, seed=seed, runs=profile.runs, per_run=profile.factuals)
    right = torch.ones(len(drawn["row"]), dtype=torch.bool)
    with torch.no_grad():
        for subject in subjects:
            right &= network(subject)(dataset.x_test[drawn["row"]]).argmax(1) == drawn["label"]
    kept = right.nonzero().flatten()[:most]
    return tuple(zip(drawn["row"][kept].tolist(), drawn["target"][kept].tolist(), strict=True))


def crossed(values: np.ndarray) -> Record:
    """Decompose values (seeds, factuals, draws), the same factuals for every seed, into components of variance.

    v_sfd = mean + a_s + b_f + c_sf + e_sfd. Noise is the pooled variance over draws; seed and factual come from
    `stats.crossed_components` of the means over draws, whose residual is interaction + noise / draws. With one draw
    the interaction holds whatever noise there is, and "noise" is missing.
    """
    draws = values.shape[2]
    parts = stats.crossed_components(values.mean(2))
    residual = parts.pop("residual")
    if draws == 1:
        return {**parts, "interaction": residual}
    noise = float(values.var(axis=2, ddof=1).mean())
    return {**parts, "interaction": max(0.0, residual - noise / draws), "noise": noise}


def nested(values: np.ndarray) -> Record:
    """Decompose values (seeds, factuals, draws), every seed with factuals of its own, into components of variance.

    v_sfd = mean + a_s + b_sf + e_sfd. Noise is the pooled variance over draws, factual that over factuals within a
    seed, less noise / draws, seed that between seeds (`stats.variance_components` of the means over draws).
    """
    seeds, factuals, draws = values.shape
    parts = stats.variance_components(values.mean(2).ravel(), np.repeat(np.arange(seeds), factuals))
    if draws == 1:
        return {"seed": parts["seed"], "factual": parts["within"]}
    noise = float(values.var(axis=2, ddof=1).mean())
    return {"seed": parts["seed"], "factual": max(0.0, parts["within"] - noise / draws), "noise": noise}


def record(values: np.ndarray, *, same_factuals: bool, per_seed: int) -> Record:
    """Describe components of variance: each, its share of their sum, and what of a study's mean is due to seeds.

    of_mean: seed / (seed + the rest / per_seed), the share of the variance of the mean over any number of seeds with
    `per_seed` factuals each that would stay if factuals were without number.
    """
    parts = crossed(values) if same_factuals else nested(values)
    total = sum(parts.values())
    rest = (total - parts["seed"]) / per_seed
    return {
        "crossed": same_factuals,
        "parts": parts,
        "shares": {key: value / total if total else 0.0 for key, value in parts.items()},
        "sd": float(np.sqrt(total)),
        "of_mean": parts["seed"] / (parts["seed"] + rest) if total else 0.0,
        **dict(zip(("seeds", "factuals", "draws"), values.shape, strict=True)),
    }


def study(dataset: str, *, seeds: int, readings: tuple[str, ...], profile: Profile) -> Record:
    """Decompose the variance of implausibility: {reading: {stop: {regime: record}}}; empty with a single seed.

    The networks of a reading search from the same factuals, those of seed 0, where all seeds share their data, else
    from those of their own seed. Readings that start with noise are searched with several draws of it.
    """
    if seeds < 2:
        return {}
    kind, result = profile.kind(dataset), {}
    first, second = (load_data(dataset, seed, "published").x_test for seed in (0, 1))
    same = torch.equal(first, second)
    for name in readings:
        how = reading(name)
        networks = {
            regime: [trained(dataset, regime, seed=seed, reading=how, profile=profile) for seed in range(seeds)]
            for regime in REGIMES
        }
        if same:
            chosen = [agreed([subject for row in networks.values() for subject in row], 0, profile)] * seeds
        else:
            chosen = [agreed([row[seed] for row in networks.values()], seed, profile) for seed in range(seeds)]
        size = min(map(len, chosen))  # a balanced design
        settings, draws = how.settings(kind, steps=profile.steps), DRAWS if how.start_noise else 1
        scores = {(stop, regime): [] for stop in STOPS for regime in REGIMES}
        for seed, rows in enumerate(chosen):  # seeds outside: the data of one at a time
            for stop, regime in scores:
                arguments = (networks[regime][seed], stop, settings, rows[:size], draws, default_distance(kind))
                scores[stop, regime].append(repeats(*arguments, profile.k)["implausibility"].double().numpy())
        for (stop, regime), values in scores.items():  # (seeds, factuals, draws) once stacked
            one = record(np.stack(values), same_factuals=same, per_seed=profile.runs * profile.factuals)
            result.setdefault(name, {}).setdefault(stop, {})[regime] = one
    return result
