"""Trained networks to load: those that come with the package, and those of the thesis' author."""

from pathlib import Path
from typing import Any

import yaml
from torch import nn

from robexpl import checks, files, models

FOLDER = Path(__file__).with_name("pretrained")  # written by `python -m robexpl.study.pretrained`
SOURCES = ("study", "author")


def pretrained(dataset: str, regime: str, *, source: str = "study") -> nn.Module:
    """Load a trained network of "mnist" or "california" in eval mode, in single precision; its `card` says what it is.
    It maps rows (n, 784) or (n, 8), in the order and the scale of `data.load`, to logits. source: "study" for those of
    seed 0 in the condition `corrected`, which come with the package, as does a control ("double_backprop" on images,
    "weight_decay" on tabular data); "author" for those of the thesis, whose files are
    found or downloaded as data are. Raises ValueError for unknown names and DataError for missing or damaged files.
    >>> pretrained("california", "strong")[2].weight.shape
    torch.Size([2, 10])
    """
    if checks.one_of("source", source, SOURCES) == "author":
        from robexpl.models._author import load_author_network  # late: its reader is seldom needed

        return load_author_network(dataset, regime).eval()
    path = FOLDER / f"{dataset}-{regime}.safetensors"
    files.verified(path, card(dataset, regime)["sha256"])
    return models.load(path)


def card(dataset: str, regime: str) -> dict[str, Any]:
    """Return what is known of a network that comes with the package: how it was trained, its accuracies on `n` test
    rows, clean and under `attacks`, and its `inputs`: rows in units of the source (grey levels from 0 to 255) become
    (rows - mean) / sd, and (low, high) are the bounds of attacks and searches, for tabular data one for each feature.
    >>> card("california", "strong")["inputs"]["features"][:2]
    ['MedInc', 'HouseAge']
    """
    whole = yaml.safe_load((FOLDER / "card.yaml").read_text(encoding="utf-8"))
    of = whole["datasets"][checks.one_of("dataset with trained networks", dataset, whole["datasets"])]
    own = of["networks"][checks.one_of("regime", regime, of["networks"])]
    return {"dataset": dataset, "regime": regime, **whole["all"], **own, "n": of["n"], "inputs": of["inputs"]}
