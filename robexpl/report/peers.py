"""What `make bench` compares with: plain loops that say what is computed, and libraries, imported only when asked for.

The libraries lie in a folder of their own, filled from .ci/peers.txt; nothing else in the package knows of them.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robexpl.artifacts import build_dir
from robexpl.data import Dataset
from robexpl.ecco import Settings
from robexpl.models import mlp
from robexpl.regimes import Adversary
from robexpl.seeds import torch_generator

Attack = Callable[[Tensor, Tensor], Tensor]  # images (n, d) in [0, 1] and classes (n,) -> perturbed images
Similarity = Callable[[Tensor, Tensor], Tensor]  # images (n, d), (m, d) -> (n, m)
SHAPE = (28, 28)
BLOCK = 256  # pairs of images that a library compares at once: as fast as any other number here


def load(module: str) -> ModuleType:
    """Import a library, the environment's own packages before those of the peers' folder."""
    _look_there()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about other backends and newer names
        return importlib.import_module(module)


def installed(name: str) -> str | None:
    """Return the version of a library that `load` would find, or None."""
    _look_there()
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _look_there() -> None:
    folder = str(build_dir() / "peers")
    if folder not in sys.path:
        sys.path.append(folder)


# --- plain loops: autograd, one batch, nothing reused --------------------------------------------------------------


def plain_pgd(model: nn.Module, opponent: Adversary, x: Tensor, y: Tensor, start: Tensor | None = None) -> Tensor:
    """Attack images x (n, d) by projected signed-gradient steps from `start`, by default x itself."""
    lower, upper = (x - opponent.eps).clamp(0, 1), (x + opponent.eps).clamp(0, 1)
    adv = (x if start is None else start).clamp(lower, upper)
    for _ in range(opponent.steps):
        adv = adv.detach().requires_grad_()
        slope = torch.autograd.grad(F.cross_entropy(model(adv), y), adv)[0]
        adv = (adv.detach() + opponent.step_size * slope.sign()).clamp(lower, upper)
    return adv.detach()


def plain_training(dataset: Dataset, opponent: Adversary, *, seed: int, regime: str, batch_size: int = 32) -> nn.Module:
    """Train a perceptron for one epoch against an adversary, with the random numbers that `training.fit` draws."""
    model = mlp(dataset.x_train.shape[1], 128, dataset.n_classes, generator=torch_generator(seed, "weights"))
    order, noise = torch_generator(seed, "order"), torch_generator(seed, "attack", regime)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for rows in torch.randperm(len(dataset.x_train), generator=order).split(batch_size):
        x, y = dataset.x_train[rows], dataset.y_train[rows]
        start = (x + opponent.step_size * torch.randn(x.shape, generator=noise)).clamp(0, 1)
        adversarial = plain_pgd(model, opponent, x, y, start)
        loss = F.cross_entropy(model(adversarial), y) + F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def plain_search(model: nn.Module, x: Tensor, target: Tensor, start: Tensor, settings: Settings) -> Tensor:
    """Descend from `start` (n, d) on the objective of `ecco.search` for all of its steps, without a stop."""
    z = start
    for _ in range(settings.steps):
        z = z.detach().requires_grad_()
        logits = model(z)
        chosen = logits.gather(1, target[:, None])
        objective = F.cross_entropy(logits, target, reduction="sum") + settings.l1 * (z - x).abs().sum()
        objective = objective + settings.energy * (settings.reg * chosen**2 - chosen).sum()
        z = (z.detach() - settings.learning_rate * torch.autograd.grad(objective, z)[0]).clamp(0, 1)
    return z.detach()


# --- attacks -------------------------------------------------------------------------------------------------------


def foolbox(model: nn.Module, opponent: Adversary) -> Attack:
    """Foolbox's projected gradient descent."""
    library = load("foolbox")
    wrapped = library.PyTorchModel(model.eval(), bounds=(0, 1), device="cpu")
    attack = library.attacks.LinfPGD(abs_stepsize=opponent.step_size, steps=opponent.steps, random_start=False)
    return lambda x, y: attack.run(wrapped, x, y, epsilon=opponent.eps)


def torchattacks(model: nn.Module, opponent: Adversary) -> Attack:
    """torchattacks' projected gradient descent."""
    options = {"eps": opponent.eps, "alpha": opponent.step_size, "steps": opponent.steps, "random_start": False}
    return load("torchattacks").PGD(model.eval(), **options)


def art(model: nn.Module, opponent: Adversary) -> Attack:
    """Projected gradient descent of the Adversarial Robustness Toolbox, in blocks of 256 images."""
    inputs, outputs = model[0].in_features, model[-1].out_features
    classifier = load("art.estimators.classification").PyTorchClassifier(
        model, nn.CrossEntropyLoss(), (inputs,), outputs, clip_values=(0, 1), device_type="cpu"
    )
    options = {"eps": opponent.eps, "eps_step": opponent.step_size, "max_iter": opponent.steps, "verbose": False}
    attack = load("art.attacks.evasion").ProjectedGradientDescentPyTorch(
        classifier, norm=np.inf, batch_size=BLOCK, **options
    )
    return lambda x, y: torch.from_numpy(attack.generate(x.numpy(), F.one_hot(y, outputs).numpy()))


ATTACKS: dict[str, Callable[[nn.Module, Adversary], Attack]] = {
    "foolbox": foolbox,
    "torchattacks": torchattacks,
    "adversarial-robustness-toolbox": art,
}


# --- counterfactuals -----------------------------------------------------------------------------------------------


class Dice:
    """dice-ml's gradient search for one image; its clock runs from the first descent step to the last."""

    def __init__(self, model: nn.Module, target: int, inputs: int) -> None:
        library = load("dice_ml")
        self.names = [f"p{i}" for i in range(inputs)]
        frame = pd.DataFrame(np.repeat([[0.0], [1.0]], inputs, axis=1).astype(np.float32), columns=self.names)
        data = library.Data(
            dataframe=frame.assign(outcome=[0, 1]),  # the range of every pixel is all that it takes from here
            continuous_features=self.names,
            continuous_features_precision=dict.fromkeys(self.names, 3),
            outcome_name="outcome",
        )
        self.wrapped = library.Model(model=_Probability(model, target), backend="PYT")
        with _silence():
            self.search = library.Dice(data, self.wrapped, method="gradient")
        self.stamps: list[float] = []
        ask = self.search.stop_loop
        self.search.stop_loop = lambda step, change: self.stamps.append(time.process_time()) or ask(step, change)

    def probability(self, x: Tensor) -> Tensor:
        """Return what dice-ml takes for the probability of the target class, images (n, d) -> (n, 1)."""
        return self.wrapped.get_output(x, out_tensor=True)

    def seconds(self, x: Tensor, steps: int) -> float:
        """Search for an image x (d,) and return the CPU time of so many descent steps, set-up left out."""
        self.stamps.clear()
        row = pd.DataFrame([x.tolist()], columns=self.names)
        with _silence(), contextlib.suppress(load("raiutils.exceptions").UserConfigValidationException):
            self.search.generate_counterfactuals(  # so few steps may find nothing, which it then raises
                row, total_CFs=1, desired_class=1, min_iter=steps, max_iter=steps, posthoc_sparsity_param=0
            )
        return self.stamps[steps] - self.stamps[0]


class _Probability(nn.Module):
    def __init__(self, model: nn.Module, target: int) -> None:
        super().__init__()
        self.model, self.target = model, target

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.model(x), -1)[..., self.target : self.target + 1]


@contextlib.contextmanager
def _silence():
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


# --- structural similarity -----------------------------------------------------------------------------------------


def scikit_image(a: Tensor, b: Tensor, *, cropped: bool = False) -> Tensor:
    """Compare pair after pair, the mean over the whole symmetrically extended map or without its border pixels."""
    compare = load("skimage.metrics").structural_similarity
    options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    one, other = (images.reshape(-1, *SHAPE).numpy() for images in (a, b))
    inner = slice(5, -5) if cropped else slice(None)
    maps = ([compare(x, y, full=True, **options)[1][inner, inner].mean() for y in other] for x in one)
    return torch.tensor([list(row) for row in maps], dtype=a.dtype)


def pytorch_msssim() -> Similarity:
    """Similarity by pytorch-msssim, border pixels left out."""
    compare = load("pytorch_msssim").ssim
    return _blocks(lambda x, y: compare(x, y, data_range=1.0, size_average=False))


def torchmetrics() -> Similarity:
    """Similarity by torchmetrics, border pixels left out."""
    compare = load("torchmetrics.functional.image").structural_similarity_index_measure
    options = {"data_range": 1.0, "reduction": "none", "return_full_image": True}
    return _blocks(lambda x, y: compare(x, y, **options)[1][..., 5:-5, 5:-5].mean((1, 2, 3)))


def kornia() -> Similarity:
    """Similarity by kornia, border pixels left out."""
    compare = load("kornia.metrics").ssim
    return _blocks(lambda x, y: compare(x, y, 11, padding="valid").mean((1, 2, 3)))


def _blocks(compare: Callable[[Tensor, Tensor], Tensor]) -> Similarity:
    def similarity(a: Tensor, b: Tensor) -> Tensor:
        images = b.view(-1, 1, *SHAPE).split(BLOCK)
        return torch.stack([torch.cat([compare(x.view(1, 1, *SHAPE).expand_as(y), y) for y in images]) for x in a])

    return similarity


SIMILARITIES = {"pytorch-msssim": pytorch_msssim, "torchmetrics": torchmetrics, "kornia": kornia}
LIBRARIES = (*ATTACKS, "dice-ml", "scikit-image", *SIMILARITIES)
