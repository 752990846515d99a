"""Anchors for implausibility: points whose plausibility everybody can judge, and the scale they give.

A distance has no zero and no unit. With real points of the target class at 0 and the factual at 1 it has both:

    v = (impl(counterfactual) - impl(real)) / (impl(factual) - impl(real)),

every mean over the same factuals and target classes, every score against the training points of the target class.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from robexpl import stats
from robexpl.attacks import start_points
from robexpl.cache import cached
from robexpl.data import Dataset
from robexpl.ecco import Settings
from robexpl.metrics import implausibility
from robexpl.readings import reading
from robexpl.regimes import REGIMES
from robexpl.report.networks import Subject
from robexpl.report.study import Profile, counterfactuals, default_distance, draw_factuals, frame, neighbours, trained
from robexpl.seeds import numpy_generator, torch_generator

Record = dict[str, Any]
ANCHORS = ("real", "mean", "blank", "factual", "noisy", "real_noisy", "uniform")
ROUGH = ("real", "blank", "factual", "noisy")  # those that a short ladder shows
COMPARED = ("blank", "factual", "noisy")  # those that a counterfactual should beat
MARGIN = 1 / 20  # of the way from real points to factuals: what counts as no noticeable difference
QUIET_RUNS = 1  # runs that are searched again without noise


def names(dataset: Dataset) -> dict[str, str]:
    """Return what tables and figures call the anchors."""
    blank = "blank image" if dataset.image_shape else "median row"
    return {
        "real": "real points",
        "mean": "class mean",
        "blank": blank,
        "factual": "factuals",
        "noisy": "factuals + noise",
        "real_noisy": "real points + noise",
        "uniform": "uniform noise",
    }


def points(dataset: Dataset, factual: Tensor, target: Tensor, *, seed: int) -> dict[str, Tensor]:
    """Return the anchors of each factual (n, d) and target class (n,): {name: (n, d)}.

    real: a test point of the target class, drawn at random; mean: of the training points of that class; blank: an image
    without ink, for tables the median of all training rows; noisy: the factual with the noise a search starts from;
    uniform: noise over the whole box.
    """
    scale, low_high = Settings().start_noise, [torch.as_tensor(bound) for bound in dataset.bounds]
    rng = numpy_generator(seed, "anchors", "real")
    of_class = [np.flatnonzero(dataset.y_test.numpy() == label) for label in range(dataset.n_classes)]
    real = dataset.x_test[torch.as_tensor([int(rng.choice(of_class[label])) for label in target.tolist()])]
    means = torch.stack([dataset.x_train[dataset.y_train == label].mean(0) for label in range(dataset.n_classes)])
    blank = torch.zeros_like(factual[0]) if dataset.image_shape else dataset.x_train.median(0).values
    box = torch.rand(factual.shape, generator=torch_generator(seed, "anchors", "uniform"))
    return {
        "real": real,
        "mean": means[target],
        "blank": blank.expand_as(factual).contiguous(),
        "factual": factual,
        "noisy": start_points(factual, scale, torch_generator(seed, "anchors", "factual")),
        "real_noisy": start_points(real, scale, torch_generator(seed, "anchors", "target")),
        "uniform": low_high[0] + (low_high[1] - low_high[0]) * box,
    }


@cached()
def scores(subject: Subject, runs: int, per_run: int, distance: str, k: int) -> dict[str, Tensor]:
    """Score the anchors of the factuals of a subject's seed: {name: (n,)}, with row and target of the factuals."""
    dataset, reference = subject.load_data(), neighbours(subject, distance)
    drawn = draw_factuals(dataset, seed=subject.seed, runs=runs, per_run=per_run)
    result = {name: drawn[name] for name in ("row", "target")}
    for name, x in points(dataset, dataset.x_test[drawn["row"]], drawn["target"], seed=subject.seed).items():
        if name in ("mean", "blank"):  # one point for each class: score it once
            classes, which = drawn["target"].unique(return_inverse=True)
            first = torch.stack([(which == i).nonzero()[0, 0] for i in range(len(classes))])
            result[name] = implausibility(x[first], classes, reference, k=k)[which]
        else:
            some = per_run if name in ("real_noisy", "uniform") else len(x)  # nothing is paired with these two
            result[name] = implausibility(x[:some], drawn["target"][:some], reference, k=k)
    return result


def of_seed(dataset: str, name: str, seed: int, profile: Profile) -> dict[str, np.ndarray]:
    """Return `scores` as arrays, for the data and factuals of a reading and seed."""
    subject = trained(dataset, "standard", seed=seed, reading=reading(name), profile=profile)
    found = scores(subject, profile.runs, profile.factuals, default_distance(profile.kind(dataset)), profile.k)
    return {key: value.double().numpy() if value.is_floating_point() else value.numpy() for key, value in found.items()}


def records(dataset: str, *, seeds: int, readings: tuple[str, ...], profile: Profile) -> Record:
    """Summarise the anchors over seeds and all factuals drawn: {reading: {anchor: mean with its interval}}."""
    result: Record = {}
    for name in readings:
        found = {seed: of_seed(dataset, name, seed, profile) for seed in profile.seeds_of(dataset, name, seeds)}
        for key in ANCHORS:
            values = np.concatenate([scored[key] for scored in found.values()])
            groups = np.concatenate([np.full(len(scored[key]), seed) for seed, scored in found.items()])
            estimate = stats.mean_interval(values, groups, rng=numpy_generator(0, "anchor", name, key))
            result.setdefault(name, {})[key] = summary(estimate)
    return result


def summary(estimate: stats.Estimate) -> Record:
    """Return an estimate as a record."""
    return {key: getattr(estimate, key) for key in ("mean", "low", "high", "n", "n_seeds")}


def margins(anchors: Record) -> Record:
    """Return, by reading, the difference that counts as none: a twentieth of the way from real points to factuals."""
    return {name: MARGIN * (found["factual"]["mean"] - found["real"]["mean"]) for name, found in anchors.items()}


def beside(searched: pd.DataFrame, dataset: str, profile: Profile) -> pd.DataFrame:
    """Set beside each row of `study.counterfactuals` the scores of its own anchors: columns real, blank, and so on."""
    parts = []
    for (name, seed), rows in searched.groupby(["reading", "seed"], sort=False):
        found = of_seed(dataset, name, seed, profile)
        place = rows.groupby(["stop", "regime"], sort=False).cumcount().to_numpy()  # order of drawing
        for key in ("row", "target"):
            if (found[key][place] != rows[key].to_numpy()).any():
                raise ValueError(f"expected the factuals of seed {seed} in the order they were drawn, got another")
        parts.append(rows.assign(**{key: found[key][place] for key in ROUGH}))
    return pd.concat(parts, ignore_index=True)


def ratio(above: np.ndarray, below: np.ndarray, seeds: np.ndarray, *, rng: np.random.Generator) -> stats.Estimate:
    """Estimate r = mean(above) / mean(below), means over seeds of the means of their rows, with a 95 % interval.

    The interval is that of the mean of r + (above_i - r below_i) / mean(below), the ratio's linear part [Davison &
    Hinkley 1997, section 2.7], resampled as `stats.mean_interval` does: the scale's own uncertainty is in it, and rows
    and seeds stay paired. Raises ValueError where mean(below) is zero.
    """
    frame = pd.DataFrame({"above": above, "below": below, "seed": seeds})
    over, under = frame.groupby("seed")[["above", "below"]].mean().mean()
    if under == 0:
        raise ValueError("expected a scale of some length, got mean 0")
    linear = over / under + (frame["above"] - over / under * frame["below"]) / under
    return stats.mean_interval(linear.to_numpy(), frame["seed"].to_numpy(), rng=rng)


def normalised(rows: pd.DataFrame) -> Record:
    """Put the counted rows of `beside` on the scale of the anchors: {reading: {stop: {regime: record}}}.

    mean, low, high: v, 0 at real points and 1 at factuals; raw: the plain mean; against: paired differences of the
    plain scores to anchors, of the same rows.
    """
    result: Record = {}
    for (name, stop, regime), cell in rows[rows["counted"]].groupby(["reading", "stop", "regime"], sort=False):
        value, seeds = cell["implausibility"].to_numpy(), cell["seed"].to_numpy()
        rng = numpy_generator(0, "normalised", name, stop, regime)
        record = summary(ratio(value - cell["real"], cell["factual"] - cell["real"], seeds, rng=rng))
        record["raw"] = summary(stats.mean_interval(value, seeds, rng=rng))
        pairs = {key: stats.paired_difference(value, cell[key].to_numpy(), seeds, rng=rng) for key in COMPARED}
        record["against"] = {key: summary(estimate) for key, estimate in pairs.items()}
        result.setdefault(name, {}).setdefault(stop, {})[regime] = record
    return result


def quiet(dataset: str, name: str, *, seeds: int, profile: Profile) -> pd.DataFrame:
    """Search the first factuals again at the decision threshold as a reading does, but from the factual itself."""
    few, how = replace(profile, runs=QUIET_RUNS), reading(name)
    return pd.concat(
        [
            frame(
                trained(dataset, regime, seed=seed, reading=how, profile=few),
                *("decision_threshold", how, few),
                start_noise=0.0,
            )
            for seed in profile.seeds_of(dataset, name, seeds)
            for regime in REGIMES
        ],
        ignore_index=True,
    )


def noise_share(rows: pd.DataFrame, silent: pd.DataFrame) -> Record:
    """Say what the start noise adds to scores at the decision threshold: {regime: record}, rows of one reading.

    with, without: mean scores on the same factuals, searched with noise and from the factual itself; added: their
    paired difference; of_score: added / with; of_gap: added / (noisy - factual), what is left of all that the noise
    does to a factual, None where the noise does nothing clear; against_standard: the paired differences to the standard
    network {"with", "without"}, on the factuals that both classify correctly, None for itself.
    """
    keys, result = ["seed", "run", "row", "target"], {}
    loud = rows[(rows["stop"] == "decision_threshold") & (rows["run"] < QUIET_RUNS)]
    found = {r: [part[part["regime"] == r].reset_index(drop=True) for part in (loud, silent)] for r in REGIMES}
    standard = found["standard"]
    for regime, (a, b) in found.items():
        if not (a[keys].equals(b[keys]) and a[keys].equals(standard[0][keys])):
            raise ValueError(f"expected the same factuals with and without noise, got others for {regime}")
        against = {}
        both = (a["correct"] & standard[0]["correct"]).to_numpy()
        for key, part, other in zip(("with", "without"), (a, b), standard, strict=True):
            pair, rng = [p["implausibility"].to_numpy()[both] for p in (part, other)], numpy_generator(0, key, regime)
            against[key] = summary(stats.paired_difference(*pair, a["seed"].to_numpy()[both], rng=rng))
        right = a["correct"].to_numpy()
        a, b = a[right], b[right]
        seeds, rng = a["seed"].to_numpy(), numpy_generator(0, "noise", regime)
        pair = [part["implausibility"].to_numpy() for part in (a, b)]
        gap = stats.paired_difference(a["noisy"].to_numpy(), a["factual"].to_numpy(), seeds, rng=rng)
        clear = gap.low > 0 or gap.high < 0
        result[regime] = {
            "with": summary(stats.mean_interval(pair[0], seeds, rng=rng)),
            "without": summary(stats.mean_interval(pair[1], seeds, rng=rng)),
            "added": summary(stats.paired_difference(*pair, seeds, rng=rng)),
            "gap": summary(gap),
            "against_standard": against if regime != "standard" else None,
            "of_score": summary(ratio(pair[0] - pair[1], pair[0], seeds, rng=rng)),
            "of_gap": summary(ratio(pair[0] - pair[1], a["noisy"] - a["factual"], seeds, rng=rng)) if clear else None,
        }
    return result


def noise(rows: pd.DataFrame, dataset: str, *, seeds: int, profile: Profile) -> Record:
    """Return `noise_share` for every reading that starts with noise: {reading: {regime: record}}."""
    noisy = [name for name in rows["reading"].unique() if reading(name).start_noise]
    return {
        name: noise_share(rows[rows["reading"] == name], quiet(dataset, name, seeds=seeds, profile=profile))
        for name in noisy
    }


def ladders(dataset: str, *, seeds: int, readings: tuple[str, ...], profile: Profile) -> Record:
    """Return the means of the roughest anchors, for figures that show few: {reading: {anchor: mean}}."""
    found = records(dataset, seeds=seeds, readings=readings, profile=profile)
    return {name: {key: found[name][key]["mean"] for key in ROUGH} for name in readings}


def everything(dataset: str, *, seeds: int, readings: tuple[str, ...], profile: Profile) -> pd.DataFrame:
    """Tabulate all counterfactuals of the study with the scores of their anchors beside them."""
    return beside(counterfactuals(dataset, seeds=seeds, readings=readings, profile=profile), dataset, profile)
