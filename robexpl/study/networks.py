"""Networks of the study: each named by what it is trained on and how, and what a search may do to one first."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from robexpl import checks, data, models
from robexpl.files import sha256
from robexpl.gradients import relu_layers, vjp
from robexpl.models._author import load_author_network
from robexpl.regimes import REGIMES, Control, adversary
from robexpl.study.sizes import Condition, Study
from robexpl.training import fit


@dataclass(frozen=True)
class Data:
    """A dataset as one seed and condition sample and split it; `content` is the digest of a table of one's own."""

    dataset: str
    seed: int
    sampling: str
    content: str = field(init=False)

    def __post_init__(self) -> None:
        table = data.module(self.dataset).TABLE if ".csv:" in self.dataset else None
        object.__setattr__(self, "content", sha256(table.read_bytes()) if table else "")

    def load(self) -> data.Dataset:
        """Load it; once per process where it does not depend on the seed."""
        return _load(self.shared())

    def shared(self) -> Data:
        """Return itself, or the data of seed 0 where every seed has the same rows and split."""
        fixed = getattr(data.module(self.dataset), "FIXED_SPLIT", False)
        return replace(self, seed=0) if fixed else self

    def code(self) -> tuple:
        """Return the functions whose code the data rest on."""
        return (data.module(self.dataset).load,)


@lru_cache(maxsize=2)
def _load(rows: Data) -> data.Dataset:
    return data.load(rows.dataset, seed=rows.seed, sampling=rows.sampling)


@dataclass(frozen=True)
class Itself:
    """A network that is searched as it is."""

    data: Data
    regime: str

    @property
    def network(self) -> Itself:
        """What is trained, whatever a search does to it."""
        return self


@dataclass(frozen=True)
class Network(Itself):
    """One network of the study: what it is trained on, how and from which seed.
    binary: trained on images in black and white (1 where x > 1/2, else 0), all else the same.
    """

    early_stop: bool = False
    rounded: bool = False
    epochs: int = 20
    architecture: str = "mlp"
    binary: bool = False

    def __str__(self) -> str:
        named = {"binary": self.binary, "early stop": self.early_stop, "rounded": self.rounded}
        how = ", ".join([*([self.data.sampling] * (self.data.sampling != "as_run")), *(n for n in named if named[n])])
        return f"{self.data.dataset} {self.regime} seed {self.data.seed}{how and f' ({how})'}"

    def training(self) -> str | Control:
        """Return what `fit` takes: the regime, or the control where it is no regime."""
        return self.regime

    def code(self) -> tuple:
        """Return the functions whose code the trained network rests on."""
        return fit, models.module(self.architecture).build, adversary

    def model(self) -> nn.Module:
        """Return the trained network, training it at the first call."""
        from robexpl.study import stages  # late: stages need networks

        weights = {name: value for name, value in stages.train(self).items() if name != "history"}
        known = self.data.load()
        model = models.build(self.architecture, known.x_train.shape[1], known.n_classes, known.image_shape)
        model.load_state_dict(weights)
        return model.eval()


def network(study: Study, regime: str, seed: int, condition: Condition) -> Network:
    """Name the network of a regime, seed and condition; networks that two conditions share have one name."""
    checks.one_of("regime", regime, REGIMES)
    how = [given and regime != "standard" for given in (condition.early_stop, condition.rounded)]  # standard: shared
    one_way = study.kind == "image" or ".csv:" in study.dataset  # of drawing rows: as a table of one's own has
    sampling = "as_run" if one_way else condition.sampling
    return Network(Data(study.dataset, seed, sampling), regime, *how, study.epochs, study.architecture)


@dataclass(frozen=True)
class Author(Itself):
    """The author's own network of a regime."""

    def __str__(self) -> str:
        return f"{self.data.dataset} {self.regime} of the author"

    def model(self) -> nn.Module:
        """Return the network as published."""
        return load_author_network(self.data.dataset, self.regime)


@dataclass(frozen=True)
class Changed:
    """A network to which something is done before it is searched."""

    network: Network

    @property
    def data(self) -> Data:
        """What the network is trained on."""
        return self.network.data


@dataclass(frozen=True)
class Scaled(Changed):
    """A network f with logits factor * f(x): another function, the same classifier."""

    factor: float

    def model(self) -> nn.Module:
        """Return a copy with its last layer multiplied."""
        return scaled(self.network.model(), self.factor)


@dataclass(frozen=True)
class Matched(Changed):
    """A network with its logits scaled until its gradients at the factuals are as large as another network's.
    The factor is the ratio of the means of |grad_x f_t(x)|_2, rounded to four digits; `inverse` takes the reciprocal of
    the factor of the opposite comparison, so that both directions use one number.
    """

    to: Network
    factuals: Any
    inverse: bool = False

    def factor(self) -> float:
        """Return the factor that multiplies the logits, rounded so that no last bit of a machine decides a key."""
        own, other = (gradient_size(one, self.factuals) for one in (self.network, self.to))
        ratio = float(f"{own / other if self.inverse else other / own:.4g}")
        return float(f"{1 / ratio:.4g}") if self.inverse else ratio

    def model(self) -> nn.Module:
        """Return a copy with its last layer multiplied."""
        return scaled(self.network.model(), self.factor())


@dataclass(frozen=True)
class Thresholded(Changed):
    """A network behind a soft threshold of its inputs: T(x) = (s(x) - s(0)) / (s(1) - s(0)).
    s(x) = 1 / (1 + exp(-(x - 1/2) / tau)): steep enough to shrink changes near black and white, smooth enough for
    attacks and searches to follow its gradient.
    """

    tau: float = 0.1

    def model(self) -> nn.Module:
        """Return the threshold and the network in one module."""
        return nn.Sequential(Threshold(self.tau), self.network.model())


Subject = Itself | Changed


class Threshold(nn.Module):
    """Threshold intensities softly, with 0 and 1 in their places."""

    def __init__(self, tau: float) -> None:
        super().__init__()
        self.tau = tau
        self.low = 1 / (1 + float(torch.tensor(0.5 / tau, dtype=torch.float64).exp()))

    def forward(self, x: Tensor) -> Tensor:
        """Return T(x), of the shape of x."""
        return (torch.sigmoid((x - 0.5) / self.tau) - self.low) / (1 - 2 * self.low)


def binary(x: Tensor) -> Tensor:
    """Return images in black and white: 1 where x > 1/2, else 0."""
    return (x > 0.5).to(x.dtype)


def scaled(model: nn.Module, factor: float) -> nn.Module:
    """Return a network with logits factor * f(x): of a perceptron a copy, which keeps its closed form."""
    checks.positive(factor=factor)
    if relu_layers(model) is None:
        return Times(model, factor)
    result = copy.deepcopy(model)
    with torch.no_grad():
        result[-1].weight.mul_(factor)
        result[-1].bias.mul_(factor)
    return result


class Times(nn.Module):
    """A network whose logits are multiplied."""

    def __init__(self, inner: nn.Module, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, x: Tensor) -> Tensor:
        """Return factor * f(x)."""
        return self.factor * self.inner(x)


def gradient_size(network: Network, factuals: Any) -> float:
    """Return the mean over factuals x, with targets t, of |grad_x f_t(x)|_2."""
    drawn = factuals.take(network.data)
    logits, pull = vjp(network.model())(network.data.load().x_test[drawn["row"]])
    one_hot = nn.functional.one_hot(drawn["target"], logits.shape[1]).to(logits.dtype)
    return float(pull(one_hot).norm(dim=1).double().mean())
