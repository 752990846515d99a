"""Facts about data, networks, training and attacks, as records: what stands around the results."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from robexpl.data import Dataset
from robexpl.gradients import vjp
from robexpl.readings import reading
from robexpl.regimes import ADVERSARIES, EVALUATION, FGSM_EPS, REGIME_NAMES, REGIMES
from robexpl.report import study
from robexpl.report.networks import Subject, network
from robexpl.report.words import listed
from robexpl.training import fit

Record = dict[str, Any]


def data_record(dataset: Dataset) -> Record:
    """Describe a dataset: rows, inputs, classes, box, share of the largest class among test rows."""
    low, high = (torch.as_tensor(bound) for bound in dataset.bounds)
    return {
        "rows_train": len(dataset.x_train),
        "rows_test": len(dataset.x_test),
        "inputs": dataset.x_train.shape[1],
        "classes": dataset.n_classes,
        "low": float(low.min()),
        "high": float(high.max()),
        "image_shape": dataset.image_shape,
        "majority": float(dataset.y_test.bincount().max() / len(dataset.y_test)),
    }


def feature_table(dataset: Dataset, *, rows: int = 10) -> pd.DataFrame:
    """Tabulate the first features of the training rows: quantiles, and the share of rows within eps of the median.

    Where a feature has heavy tails a step of 0.2 standard deviations crosses most of its values; elsewhere hardly any.
    """
    x = dataset.x_train
    quantiles = x.double().quantile(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64), dim=0)  # (5, d)
    table = pd.DataFrame(quantiles.T.numpy(), columns=["least", "quarter", "median", "three quarters", "greatest"])
    near = (x - quantiles[2]).abs() <= EVALUATION.eps
    table["within 0.2 of median"] = near.double().mean(0).numpy()
    table.index = pd.Index(dataset.feature_names, name="feature")
    return table.head(rows).round(2)


def network_record(model: nn.Module) -> Record:
    """Describe a perceptron with one hidden layer."""
    shape = model[0].weight.shape
    parameters = sum(weight.numel() for weight in model.parameters())
    return {"inputs": shape[1], "hidden": shape[0], "outputs": len(model[2].bias), "parameters": parameters}


def training_record(network: Subject) -> Record:
    """Describe how a network is trained: epochs, and the defaults of `training.fit`."""
    defaults = inspect.signature(fit).parameters
    return {"epochs": network.epochs, **{key: defaults[key].default for key in ("batch_size", "learning_rate")}}


def adversary_records() -> Record:
    """Return the adversaries of training, None for standard."""
    return {regime: vars(opponent) if opponent else None for regime, opponent in ADVERSARIES.items()}


def attack_records() -> Record:
    """Return the attacks that robustness is measured with."""
    return {"fgsm": {"eps": FGSM_EPS}, "pgd": vars(EVALUATION)}


def adversary_table() -> pd.DataFrame:
    """Tabulate the adversaries of training and of the evaluation."""
    every = {**{REGIME_NAMES[key]: value for key, value in ADVERSARIES.items()}, "evaluation": EVALUATION}
    none = {"eps": "-", "step_size": "-", "steps": "-"}
    rows = {key: vars(value) if value else none for key, value in every.items()}
    return pd.DataFrame(list(rows.values()), index=pd.Index(rows, name="regime"), dtype=object)


def loss_records(history: pd.DataFrame) -> Record:
    """Return the mean training loss of the first and the last epoch: {reading: {regime: {"first", "last"}}}."""
    result: Record = {}
    for (name, regime), rows in history.groupby(["reading", "regime"], sort=False):
        by_epoch = rows.groupby("epoch")["loss"].mean()
        result.setdefault(name, {})[regime] = {"first": float(by_epoch.iloc[0]), "last": float(by_epoch.iloc[-1])}
    return result


def training_attacks(history: pd.DataFrame) -> Record:
    """Return what the adversary did in the last epoch: {reading: {robust regime: {"steps", "radius"}}}, means."""
    last = history[(history["epoch"] == history["epoch"].max()) & (history["regime"] != "standard")]
    result: Record = {}
    for (name, regime), rows in last.groupby(["reading", "regime"], sort=False):
        result.setdefault(name, {})[regime] = {key: float(rows[key].mean()) for key in ("steps", "radius")}
    return result


def training_attack_table(records: Record) -> pd.DataFrame:
    """Tabulate the steps and the radius that the adversary was allowed beside what it did on average."""
    rows = []
    for name, of_regime in records.items():
        for regime, done in of_regime.items():
            allowed = ADVERSARIES[regime]
            share = f"{done['radius'] / allowed.eps:.0%}"
            row = [name, REGIME_NAMES[regime], allowed.steps, round(done["steps"], 1), allowed.eps]
            rows.append([*row, round(done["radius"], 3), share])
    columns = ["reading", "regime", "steps allowed", "steps taken", "radius allowed", "radius reached", "share"]
    return pd.DataFrame(rows, columns=columns).set_index(["reading", "regime"])


def training_attack_sentence(records: Record) -> str:
    """Say how much of their nominal radius the adversaries of each reading used, and which fell shortest."""
    parts = []
    for name, of_regime in records.items():
        share = {regime: done["radius"] / ADVERSARIES[regime].eps for regime, done in of_regime.items()}
        least = min(share, key=share.get)
        parts.append(
            f'In the reading "{name}" the adversaries reach '
            f"{listed([f'{100 * value:.1f}% ({REGIME_NAMES[regime].lower()})' for regime, value in share.items()])} of "
            f"their nominal radius"
            + (
                f"; the {REGIME_NAMES[least].lower()} one trains at {of_regime[least]['radius']:.3f} where the text "
                f"says {ADVERSARIES[least].eps:g}."
                if share[least] < 0.99
                else "."
            )
        )
    return " ".join(parts)


def over_networks(
    measure: Callable[[nn.Module, Dataset], Any],
    dataset: str,
    *,
    readings: tuple[str, ...],
    profile: study.Profile,
    seed: int = 0,
) -> Record:
    """Apply measure(model, dataset) to the networks of one seed: {reading: {regime: value}}."""
    result: Record = {}
    for name in readings:
        for regime in REGIMES:
            named = study.trained(dataset, regime, seed=seed, reading=reading(name), profile=profile)
            result.setdefault(name, {})[regime] = measure(network(named), named.load_data())
    return result


def gradient_size(model: nn.Module, dataset: Dataset) -> float:
    """Return the mean over test rows of max_i |d f_y / d x_i|, f_y the logit of the row's class."""
    return float(_largest_gradients(model, dataset).mean())


def without_gradient(model: nn.Module, dataset: Dataset) -> float:
    """Return the share of test rows at which that gradient is exactly zero: no hidden unit responds."""
    return float((_largest_gradients(model, dataset) == 0).double().mean())


def _largest_gradients(model: nn.Module, dataset: Dataset) -> Tensor:
    one_hot = nn.functional.one_hot(dataset.y_test, dataset.n_classes).to(dataset.x_test.dtype)
    _, pull = vjp(model)(dataset.x_test)
    return pull(one_hot).abs().amax(1)  # (n,)


def header(notebook: str, profile: study.Profile, seeds: int, readings: tuple[str, ...], dataset: Dataset) -> Record:
    """Return what the file of every notebook on one dataset begins with."""
    about = {"dataset": dataset.name, "title": dataset.title, "role": profile.kind(dataset.name)}
    return {"notebook": notebook, "profile": profile.name, **about, "seeds": seeds, "readings": list(readings)}
