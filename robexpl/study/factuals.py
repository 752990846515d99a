"""Which test rows a search starts from, and towards which class: drawn by seed, the same for all its networks."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robexpl import checks
from robexpl.data import Dataset
from robexpl.seeds import numpy_generator
from robexpl.study.networks import Data, Network

Factuals = dict[str, Tensor]  # run, row (of the test set), label, target, each (n,)


@dataclass(frozen=True)
class Draw:
    """Test rows drawn uniformly with replacement in each run; targets uniformly from the other classes."""

    runs: int
    per_run: int

    def take(self, data: Data) -> Factuals:
        """Return the factuals of a seed: run, row, label, target, each (runs per_run,)."""
        dataset, rows, shifts = data.load(), [], []
        for run in range(self.runs):
            generator = numpy_generator(data.seed, "factuals", run)
            rows.append(generator.integers(len(dataset.x_test), size=self.per_run))
            shifts.append(generator.integers(1, dataset.n_classes, size=self.per_run))
        row = torch.from_numpy(np.concatenate(rows))
        label = dataset.y_test[row]
        target = (label + torch.from_numpy(np.concatenate(shifts))) % dataset.n_classes
        run = torch.arange(self.runs).repeat_interleave(self.per_run)
        return {"run": run, "row": row, "label": label, "target": target}


@dataclass(frozen=True)
class Agreed:
    """The first `most` factuals of a draw that all of some networks classify correctly."""

    draw: Draw
    data: Data  # whose factuals are drawn
    networks: tuple[Network, ...]
    most: int

    def take(self, data: Data) -> Factuals:
        """Return run, row, label, target; test rows of `data` must be those of the draw."""
        drawn = self.draw.take(self.data)
        kept = _all_right(self.networks, self.data.load(), drawn["row"]).nonzero()[: self.most, 0]
        return {name: values[kept] for name, values in drawn.items()}


@dataclass(frozen=True)
class Pairs:
    """One test row for each pair of class names (from, to), drawn among those that all networks classify correctly.
    No pairs: one from the first class to the second.
    """

    pairs: tuple[tuple[str, str], ...]
    networks: tuple[Network, ...]
    seed: int = 0

    def take(self, data: Data) -> Factuals:
        """Return run, row, label, target, each (pairs,)."""
        dataset = data.load()
        right = _all_right(self.networks, dataset, slice(None))
        pairs = self.pairs or (dataset.class_names[:2],)
        label, target = (torch.tensor([dataset.class_names.index(p[i]) for p in pairs]) for i in (0, 1))
        rows = []
        for one in label.tolist():
            allowed = (right & (dataset.y_test == one)).nonzero()[:, 0]
            line = f"expected a test row of class {one} that all networks classify correctly, got none"
            checks.refuse_unless(len(allowed) > 0, line)
            rows.append(int(allowed[numpy_generator(self.seed, "gallery", f"{one}").integers(len(allowed))]))
        return {"run": torch.zeros_like(label), "row": torch.tensor(rows), "label": label, "target": target}


def _all_right(networks: tuple[Network, ...], dataset: Dataset, rows: Tensor | slice) -> Tensor:
    x, label = dataset.x_test[rows], dataset.y_test[rows]
    return torch.stack([correct(network, x, label) for network in networks]).all(0)


@torch.no_grad()
def correct(network: Network, x: Tensor, label: Tensor) -> Tensor:
    """Tell which rows x (n, d) a network gives their label (n,) -> (n,) bool."""
    return network.model()(x).argmax(1) == label
