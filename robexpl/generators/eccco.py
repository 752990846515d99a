"""ECCCo: ECCo's objective and a penalty of the size of the conformal prediction set [Altmeyer 2024, equation 4 whole]:
... + size max(0, sum_y sigma((p_y(z) - quantile) / temperature) - kappa), p = softmax(f).
"""

from dataclasses import dataclass, fields, replace
from math import floor
from typing import Any

import torch
from torch import Tensor, nn

from robexpl import checks
from robexpl.data import Dataset
from robexpl.generators import ecco
from robexpl.generators.ecco import Counterfactuals


@dataclass(frozen=True)
class Settings(ecco.Settings):
    """Settings of a search with the penalty; the others are ECCo's.
    >>> Settings(size=0.1).kappa
    1
    """

    size: float = 0.5  # weight of the penalty
    kappa: float = 1  # size of a set that costs nothing
    temperature: float = 0.1  # of the smooth membership
    miss: float = 0.1  # share of the sets that may lack the true class
    quantile: float = 0.5  # least probability of a class in the set; `fitted` finds it

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive(temperature=self.temperature)
        checks.refuse_unless(0 < self.miss < 1, f"expected miss between 0 and 1, got {self.miss}")


def search(model: nn.Module, x: Tensor, target: Tensor, *, settings: Settings, **options: Any) -> Counterfactuals:
    """Search a counterfactual of class target (n,) for each factual x (n, d), as `ecco.search` does, with the penalty.
    >>> how = {"settings": Settings(start_noise=0), "stop": "decision_threshold", "bounds": (0, 1)}
    >>> search(nn.Identity(), torch.tensor([[0.6, 0.4]]), torch.tensor([1]), **how).steps
    tensor([2])
    """
    checks.refuse_type("settings", settings, Settings)

    def penalty(logits: Tensor) -> Tensor:
        p = torch.softmax(logits, 1)
        member = torch.sigmoid((p - settings.quantile) / settings.temperature)  # (n, classes)
        slope = member * (1 - member) / settings.temperature
        slope = settings.size * slope * (member.sum(1, keepdim=True) > settings.kappa)
        return p * (slope - (slope * p).sum(1, keepdim=True))

    return ecco.search(model, x, target, settings=settings, penalty=penalty, **options)


def fitted(settings: ecco.Settings, model: nn.Module, dataset: Dataset) -> Settings:
    """Return settings with the quantile of a network, from every second test row, on which it was not trained."""
    known = {field.name: getattr(settings, field.name) for field in fields(settings)}
    settings = Settings(**known)
    x, y = dataset.x_test[::2], dataset.y_test[::2]
    return replace(settings, quantile=quantile(model, x, y, miss=settings.miss))


@torch.no_grad()
def quantile(model: nn.Module, x: Tensor, y: Tensor, *, miss: float = 0.1) -> float:
    """Return the probability q so that {y: p_y(x) >= q} has the true class with probability of at least 1 - miss.
    Split conformal prediction [Angelopoulos & Bates 2021]: the k-th smallest p_y(x) of n rows x (n, d) that the network
    was not trained on, with their labels y (n,), k = floor(miss (n + 1)); 0, the set of all classes, where k = 0.
    >>> quantile(nn.Identity(), torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([0, 1]), miss=0.5)
    0.5
    """
    checks.positive(rows=len(checks.points(x)))
    y = checks.labels(y, len(x), what="y")
    p = torch.softmax(model(x), 1).gather(1, y[:, None])[:, 0]
    k = floor(miss * (len(x) + 1) + 1e-9)
    return float(p.sort().values[k - 1]) if k else 0.0


@torch.no_grad()
def sets(model: nn.Module, x: Tensor, settings: Settings) -> Tensor:
    """Tell which classes are in the prediction sets of rows x (n, d) -> (n, classes) bool.
    >>> sets(nn.Identity(), torch.tensor([[3.0, 0.0]]), Settings(quantile=0.1))
    tensor([[ True, False]])
    """
    return torch.softmax(model(x), 1) >= settings.quantile
