"""Networks of the study: each named by what it is trained on and how, trained once and kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from robexpl import data
from robexpl.author import load_author_network
from robexpl.cache import cached
from robexpl.models import from_weights
from robexpl.training import fit


@dataclass(frozen=True)
class Subject:
    """One network of the study: what it is trained on, how and from which seed; or the author's own."""

    dataset: str
    regime: str
    seed: int
    early_stop: bool
    sampling: str
    epochs: int
    author: bool = False

    def load_data(self) -> data.Dataset:
        """Return the dataset it is trained and tested on."""
        return load_data(self.dataset, self.seed, self.sampling)


@lru_cache(maxsize=2)
def load_data(dataset: str, seed: int, sampling: str) -> data.Dataset:
    """Load a dataset once per process; no dataset of images depends on the sampling, mnist not on the seed either."""
    return data.load(dataset, seed=seed, sampling=sampling)


@cached()
def train(subject: Subject) -> dict[str, Tensor]:
    """Train a network; keep its weights and its history (epochs, 3): loss, steps and radius of the adversary."""
    history: list[dict[str, float]] = []
    model = fit(
        subject.load_data(),
        subject.regime,
        seed=subject.seed,
        early_stop=subject.early_stop,
        epochs=subject.epochs,
        history=history,
    )
    rows = torch.tensor([[row["loss"], row["steps"], row["radius"]] for row in history], dtype=torch.float64)
    return {**model.state_dict(), "history": rows}


def network(subject: Subject) -> nn.Module:
    """Return the trained network of a subject, training it at the first call."""
    if subject.author:
        return load_author_network(subject.dataset, subject.regime)
    weights = train(subject)
    return from_weights({name: value for name, value in weights.items() if name != "history"})
