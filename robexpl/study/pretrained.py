"""Write the networks that come with the package, and their card: `python -m robexpl.study.pretrained`.

They are those of seed 0 in the primary condition, and for each dataset the best control that sees no adversary,
trained and measured by the stages of the study: 20 minutes of one core from an empty cache, seconds afterwards.
"""

import inspect
from dataclasses import asdict
from typing import Any

import torch
import yaml

from robexpl import checks, models, regimes, trainings
from robexpl.files import sha256, write_atomic
from robexpl.models._pretrained import FOLDER
from robexpl.progress import bar
from robexpl.study import controlled, grid, sizes, stages
from robexpl.study.networks import Network
from robexpl.study.sizes import Study
from robexpl.training import fit

SEED = 0
HEAD = "# Written by `python -m robexpl.study.pretrained`, as are the networks beside it; change neither by hand.\n"


def write() -> None:
    """Write the networks of each dataset of the full study to safetensors files, then the card."""
    primary, known, datasets = sizes.primary(), inspect.signature(fit).parameters, {}
    for name in sizes.datasets("full").values():
        networks = {}
        for training, made in bar(chosen(sizes.load("full", name)).items(), desc=name):
            networks[training] = described(made)
        datasets[name] = {"n": len(made.data.load().x_test), "inputs": inputs(made), "networks": networks}
    attacks = {how.name: dict(how.settings) for how in sizes.evaluation().values() if how.attack}
    usual = {key: known[key].default for key in ("batch_size", "learning_rate")}
    shared = {"condition": primary.name, "seed": SEED, **usual, "torch": torch.__version__.split("+")[0]}
    card = {"all": {**shared, "attacks": attacks}, "datasets": datasets}
    text = yaml.safe_dump(card, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
    write_atomic(FOLDER / "card.yaml", (HEAD + text).encode())


def chosen(study: Study) -> dict[str, Network]:
    """Return the networks by training: the regimes, and of the controls with a dose curve, which are those that scored
    best on validation rows, the one that sees no adversary, at the strength of the study.
    """
    known, how = grid.of_seed(study, sizes.primary(), SEED), controlled.settings(study)
    name = next(name for name in how["curves"] if not trainings.module(name).ADVERSARIAL)
    return {**known, name: controlled.controlled(known["standard"], name, how["chosen"][name])}


def described(made: Network) -> dict[str, Any]:
    """Write a network and return its entry of the card: how it was trained, accuracies, checksum."""
    path = models.save(made.model(), FOLDER / f"{made.data.dataset}-{made.regime}.safetensors")
    opponent = regimes.ADVERSARIES.get(made.regime)
    measured = {
        name: float(stages.attack(stages.Attacked(made, how))["correct"].double().mean())
        for name, how in sizes.evaluation().items()
    }
    trained = {key: getattr(made, key) for key in ("architecture", "epochs", "early_stop", "rounded")}
    trained |= {"strength": made.strength} if isinstance(made, controlled.Controlled) else {}
    trained |= {"adversary": opponent and asdict(opponent), "accuracy": measured}
    return {**trained, "sha256": sha256(path.read_bytes())}


def inputs(made: Network) -> dict[str, Any]:
    """Return what rows are before they come to a network: features, classes, scale and bounds."""
    dataset = made.data.load()
    names = {"features": list(dataset.feature_names)} if dataset.image_shape is None else {}
    (mean, sd), (low, high) = dataset.scaler, checks.box(dataset.bounds, dataset.x_train)
    numbers = {"mean": mean, "sd": sd, "low": low, "high": high}
    return {**names, "classes": list(dataset.class_names), **{key: value.tolist() for key, value in numbers.items()}}


if __name__ == "__main__":
    write()
