"""The study: networks, accuracies and counterfactuals over regimes, seeds and readings, each stage cached."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from robexpl import attacks, checks, data, ecco, metrics
from robexpl.cache import cached
from robexpl.readings import STATED_WEIGHTS, Reading, reading
from robexpl.regimes import EVALUATION, FGSM_EPS, REGIMES
from robexpl.report import profiles
from robexpl.report.networks import Subject, load_data, network, train
from robexpl.report.profiles import Profile
from robexpl.seeds import numpy_generator, torch_generator

PROFILES, profile = profiles.PROFILES, profiles.profile
STOPS = ecco.STOPS
ATTACKS = ("clean", "fgsm", "pgd_early_stop", "pgd_projected")


def trained(dataset: str, regime: str, *, seed: int, reading: Reading, profile: Profile) -> Subject:
    """Name the network of a regime, seed and reading; networks that two readings share have one name."""
    checks.one_of("regime", regime, REGIMES)
    kind = profile.kind(dataset)
    early_stop = reading.early_stop and regime != "standard"  # one standard network serves every reading
    sampling = "published" if kind == "image" else reading.sampling
    return Subject(dataset, regime, seed, early_stop, sampling, profile.epochs[kind])


@cached()
def attack(subject: Subject) -> dict[str, Tensor]:
    """Attack the whole test set; keep (n,) per attack: label still right, steps, radius, typical move."""
    dataset, model = subject.load_data(), network(subject)
    x, y, bounds = dataset.x_test, dataset.y_test, dataset.bounds
    start = attacks.start_points(x, EVALUATION.step_size, torch_generator(subject.seed, "evaluation"))
    pgd = {"eps": EVALUATION.eps, "step_size": EVALUATION.step_size, "steps": EVALUATION.steps}
    none = torch.zeros(len(x), dtype=torch.long)
    perturbed = {
        "clean": (x, none),
        "fgsm": (attacks.fgsm(model, x, y, eps=FGSM_EPS, bounds=bounds), none + 1),
        "pgd_early_stop": attacks.pgd_with_steps(model, x, y, **pgd, bounds=bounds, early_stop="example", start=start),
        "pgd_projected": attacks.pgd_with_steps(model, x, y, **pgd, bounds=bounds, start=start),
    }
    result = {}
    for name, (points, steps) in perturbed.items():
        with torch.no_grad():
            result[f"{name}.correct"] = model(points).argmax(1) == y
        result[f"{name}.steps"] = steps
        moved = (points - x).abs()
        result[f"{name}.radius"] = moved.amax(1)
        result[f"{name}.typical"] = moved.where(moved > 0, torch.nan).nanmedian(1).values.nan_to_num(0)
    return result


def draw_factuals(dataset: data.Dataset, *, seed: int, runs: int, per_run: int) -> dict[str, Tensor]:
    """Draw factuals and targets, the same for every model of a seed: run, row, label, target, each (runs per_run,).

    Test rows uniformly with replacement within each run; targets uniformly from the other classes.
    """
    rows, shifts = [], []
    for run in range(runs):
        generator = numpy_generator(seed, "factuals", run)
        rows.append(generator.integers(len(dataset.x_test), size=per_run))
        shifts.append(generator.integers(1, dataset.n_classes, size=per_run))
    row = torch.from_numpy(np.concatenate(rows))
    label = dataset.y_test[row]
    target = (label + torch.from_numpy(np.concatenate(shifts))) % dataset.n_classes
    return {"run": torch.arange(runs).repeat_interleave(per_run), "row": row, "label": label, "target": target}


@cached()
def explain(subject: Subject, stop: str, settings: ecco.Settings, runs: int, per_run: int) -> dict[str, Tensor]:
    """Search a counterfactual for every factual of a subject; keep the search's result, factual by factual."""
    dataset, model = subject.load_data(), network(subject)
    drawn = draw_factuals(dataset, seed=subject.seed, runs=runs, per_run=per_run)
    x = dataset.x_test[drawn["row"]]
    found = ecco.search(
        model,
        x,
        drawn["target"],
        settings=settings,
        stop=stop,
        bounds=dataset.bounds,
        generator=torch_generator(subject.seed, "start", stop),
        labels=drawn["label"],
    )
    with torch.no_grad():
        correct = model(x).argmax(1) == drawn["label"]
    return {**drawn, "factual": x, "correct": correct, **vars(found)}


@cached()
def score(
    subject: Subject, stop: str, settings: ecco.Settings, runs: int, per_run: int, distance: str, k: int
) -> dict[str, Tensor]:
    """Score the counterfactuals of `explain`: their implausibility (n,)."""
    found = explain(subject, stop, settings, runs, per_run)
    values = metrics.implausibility(found["x"], found["target"], neighbours(subject, distance), k=k)
    return {"implausibility": values}


@lru_cache(maxsize=2)
def _neighbours(dataset: str, seed: int, sampling: str, distance: str) -> metrics.Reference:
    loaded = load_data(dataset, seed, sampling)
    shape = loaded.image_shape or metrics.IMAGE_SHAPE
    return metrics.reference(loaded.x_train, loaded.y_train, distance=distance, image_shape=shape)


def neighbours(subject: Subject, distance: str) -> metrics.Reference:
    """Return the training points by class, prepared once for a distance and shared by all networks on the same data."""
    seed = 0 if subject.dataset == "mnist" else subject.seed
    return _neighbours(subject.dataset, seed, subject.sampling, distance)


def default_distance(kind: str) -> str:
    """Return the thesis' distance for a kind of data: SSIM for images, Euclidean for tables."""
    return {"image": "ssim", "tabular": "euclidean"}[checks.one_of("kind of data", kind, STATED_WEIGHTS)]


def accuracies(dataset: str, *, seeds: int, readings: tuple[str, ...], profile: Profile) -> pd.DataFrame:
    """Tabulate accuracies, one row per reading, seed, regime and attack, as `accuracy_row` describes them."""
    rows = [
        accuracy_row(trained(dataset, regime, seed=seed, reading=reading(name), profile=profile), name, kind)
        for name, seed, regime in _grid(dataset, readings, seeds, profile)
        for kind in ATTACKS
    ]
    return pd.DataFrame(rows)


def accuracy_row(subject: Subject, name: str, kind: str) -> dict[str, float | int | str]:
    """Return one row of `accuracies`: a network, the reading's name, an attack.

    radius: mean over examples of the largest perturbation of an input; typical: mean over examples of the median
    perturbation of the inputs that moved; over: share of examples that left the ball of radius `nominal`.
    """
    result = attack(subject)
    correct, radius = result[f"{kind}.correct"], result[f"{kind}.radius"]
    return {
        "dataset": subject.dataset,
        "reading": name,
        "seed": subject.seed,
        "regime": subject.regime,
        "attack": kind,
        "correct": int(correct.sum()),
        "n": len(correct),
        "value": float(correct.double().mean()),
        "steps": float(result[f"{kind}.steps"].double().mean()),
        "radius": float(radius.double().mean()),
        "typical": float(result[f"{kind}.typical"].double().mean()),
        "nominal": {"clean": 0.0, "fgsm": FGSM_EPS}.get(kind, EVALUATION.eps),
        "over": float((radius > EVALUATION.eps + 1e-6).double().mean()),
    }


def histories(dataset: str, *, seeds: int, readings: tuple[str, ...], profile: Profile) -> pd.DataFrame:
    """Tabulate training, one row per reading, seed, regime, epoch: loss, mean PGD steps, mean largest perturbation."""
    frames = []
    for name, seed, regime in _grid(dataset, readings, seeds, profile):
        history = train(trained(dataset, regime, seed=seed, reading=reading(name), profile=profile))["history"]
        frame = pd.DataFrame(history.numpy(), columns=["loss", "steps", "radius"])
        frame.insert(0, "epoch", range(1, len(frame) + 1))
        frames.append(frame.assign(dataset=dataset, reading=name, seed=seed, regime=regime))
    return pd.concat(frames, ignore_index=True)


def counterfactuals(
    dataset: str, *, seeds: int, readings: tuple[str, ...], profile: Profile, stops: tuple[str, ...] = STOPS
) -> pd.DataFrame:
    """Tabulate counterfactuals, one row per reading, seed, regime, stop and factual.

    Columns: run, row (of the test set), label, target, correct (the model's own verdict on the factual), counted
    (whether the reading counts the row), valid (target probability of at least the threshold), steps, converged,
    target_prob, target_logit, gradient_max, l1 and l2 (distance from the factual), implausibility.
    """
    frames = []
    for name in readings:
        how = reading(name)
        for seed in profile.seeds_of(dataset, name, seeds):
            for stop in stops:
                cells = [
                    frame(trained(dataset, regime, seed=seed, reading=how, profile=profile), stop, how, profile)
                    for regime in REGIMES
                ]
                common = np.logical_and.reduce([cell["correct"] for cell in cells])
                frames += [cell.assign(counted=common if how.common_factuals else cell["correct"]) for cell in cells]
    return pd.concat(frames, ignore_index=True)


def frame(subject: Subject, stop: str, how: Reading, profile: Profile, **changes: float) -> pd.DataFrame:
    """Tabulate the counterfactuals of one network and stop; `changes` replace settings of the reading's search."""
    kind = profile.kind(subject.dataset)
    settings = how.settings(kind, steps=profile.steps, **changes)
    arguments = (subject, stop, settings, profile.runs, profile.factuals)
    found = explain(*arguments)
    scored = score(*arguments, default_distance(kind), profile.k)["implausibility"]
    travel = found["x"] - found["factual"]
    columns = {name: found[name].numpy() for name in ("run", "row", "label", "target", "correct", "steps", "converged")}
    columns |= {name: found[name].double().numpy() for name in ("target_prob", "target_logit", "gradient_max")}
    columns |= {"valid": (found["target_prob"] >= settings.threshold).numpy()}
    columns |= {"l1": travel.abs().sum(1).double().numpy(), "l2": travel.norm(dim=1).double().numpy()}
    columns |= {"implausibility": scored.double().numpy()}
    names = {"dataset": subject.dataset, "reading": how.name, "seed": subject.seed}
    return pd.DataFrame({**names, "regime": subject.regime, "stop": stop, **columns})


def _grid(dataset: str, readings: tuple[str, ...], seeds: int, profile: Profile) -> list[tuple[str, int, str]]:
    return [
        (name, seed, regime)
        for name in readings
        for seed in profile.seeds_of(dataset, name, seeds)
        for regime in REGIMES
    ]
