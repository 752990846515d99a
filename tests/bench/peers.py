"""What the benchmark compares with: plain loops that state what is computed, and libraries.

The libraries are installed into a folder of their own, as .ci/peers.txt lists them, and imported only when needed.
"""

import contextlib
import importlib
import io
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robexpl import models
from robexpl.data import Dataset
from robexpl.generators import ecco
from robexpl.regimes import Adversary
from robexpl.seeds import torch_generator
from robexpl.study.places import ROOT, build_dir

Attack = Callable[[Tensor, Tensor], Tensor]  # images (n, d) in [0, 1] and classes (n,) -> perturbed images (n, d)
Similarity = Callable[[Tensor, Tensor], Tensor]  # images (n, d) and (m, d) -> (n, m)
LIST = ROOT / ".ci" / "peers.txt"
SHAPE = (28, 28)
BLOCK = 256  # pairs of images that a library compares at once; other numbers are not faster
FOLDER = build_dir() / "peers"
sys.path.append(str(FOLDER))  # comes last: the environment's own packages win


def install() -> bool:
    """Install the listed libraries where the list is newer than what is there; return whether all are there."""
    ready = FOLDER / ".ready"
    if ready.is_file() and ready.stat().st_mtime > LIST.stat().st_mtime:
        return True
    shutil.rmtree(FOLDER, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
    if subprocess.run([*pip, "--target", str(FOLDER), "-r", str(LIST)], check=False).returncode:
        return False
    ready.touch()
    importlib.invalidate_caches()
    return True


def load(module: str) -> ModuleType:
    """Import a library."""
    with warnings.catch_warnings(action="ignore"):  # about other backends and newer names
        return importlib.import_module(module)


def installed(name: str) -> str | None:
    """Return the version of a library that `load` would find, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def plain_pgd(model: nn.Module, adversary: Adversary, x: Tensor, y: Tensor, start: Tensor | None = None) -> Tensor:
    """Attack images x (n, d) by projected signed-gradient steps from `start`, by default x itself."""
    lower, upper = (x - adversary.eps).clamp(0, 1), (x + adversary.eps).clamp(0, 1)
    adv = (x if start is None else start).clamp(lower, upper)
    for _ in range(adversary.steps):
        adv = adv.detach().requires_grad_()
        slope = torch.autograd.grad(F.cross_entropy(model(adv), y), adv)[0]
        adv = (adv.detach() + adversary.step_size * slope.sign()).clamp(lower, upper)
    return adv.detach()


def plain_training(data: Dataset, adversary: Adversary, *, seed: int, regime: str, batch_size: int = 32) -> nn.Module:
    """Train a perceptron for one epoch against an adversary, with the random numbers that `training.fit` draws."""
    model = models.mlp(data.x_train.shape[1], 128, data.n_classes, generator=torch_generator(seed, "weights"))
    order, noise = torch_generator(seed, "order"), torch_generator(seed, "attack", regime)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for rows in torch.randperm(len(data.x_train), generator=order).split(batch_size):
        x, y = data.x_train[rows], data.y_train[rows]
        start = (x + adversary.step_size * torch.randn(x.shape, generator=noise)).clamp(0, 1)
        adversarial = plain_pgd(model, adversary, x, y, start)
        loss = F.cross_entropy(model(adversarial), y) + F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def plain_search(model: nn.Module, x: Tensor, target: Tensor, start: Tensor, settings: ecco.Settings) -> Tensor:
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


def _foolbox(model: nn.Module, adversary: Adversary) -> Attack:
    library = load("foolbox")
    wrapped = library.PyTorchModel(model.eval(), bounds=(0, 1), device="cpu")
    attack = library.attacks.LinfPGD(abs_stepsize=adversary.step_size, steps=adversary.steps, random_start=False)
    return lambda x, y: attack.run(wrapped, x, y, epsilon=adversary.eps)


def _torchattacks(model: nn.Module, adversary: Adversary) -> Attack:
    options = {"eps": adversary.eps, "alpha": adversary.step_size, "steps": adversary.steps, "random_start": False}
    return load("torchattacks").PGD(model.eval(), **options)


def _art(model: nn.Module, adversary: Adversary) -> Attack:
    inputs, outputs = model[0].in_features, model[-1].out_features
    wrap, attack = load("art.estimators.classification"), load("art.attacks.evasion").ProjectedGradientDescentPyTorch
    options = {"clip_values": (0, 1), "device_type": "cpu"}
    classifier = wrap.PyTorchClassifier(model, nn.CrossEntropyLoss(), (inputs,), outputs, **options)
    options = {"eps": adversary.eps, "eps_step": adversary.step_size, "max_iter": adversary.steps, "verbose": False}
    attack = attack(classifier, norm=np.inf, batch_size=BLOCK, **options)
    return lambda x, y: torch.from_numpy(attack.generate(x.numpy(), F.one_hot(y, outputs).numpy()))


ATTACKS = {"foolbox": _foolbox, "torchattacks": _torchattacks, "adversarial-robustness-toolbox": _art}


class Dice:
    """Search by dice-ml's gradient method for one image; its clock runs from the first descent step to the last."""

    def __init__(self, model: nn.Module, target: int, inputs: int) -> None:
        library, self.names, self.stamps = load("dice_ml"), [f"p{i}" for i in range(inputs)], []
        frame = pd.DataFrame(np.repeat([[0.0], [1.0]], inputs, axis=1).astype(np.float32), columns=self.names)
        frame = frame.assign(outcome=[0, 1])  # dice-ml takes only the range of every pixel from here
        features = {"continuous_features": self.names, "continuous_features_precision": dict.fromkeys(self.names, 3)}
        self.model = library.Model(model=_Probability(model, target), backend="PYT")
        with silence():
            data = library.Data(dataframe=frame, outcome_name="outcome", **features)
            self.search = library.Dice(data, self.model, method="gradient")
        ask = self.search.stop_loop
        self.search.stop_loop = lambda step, change: self.stamps.append(time.process_time()) or ask(step, change)

    def seconds(self, x: Tensor, steps: int) -> float:
        """Search for an image x (d,) and return the CPU time of so many descent steps, without the set-up."""
        self.stamps.clear()
        row = pd.DataFrame([x.tolist()], columns=self.names)
        options = {"total_CFs": 1, "desired_class": 1, "posthoc_sparsity_param": 0}
        with silence(), contextlib.suppress(load("raiutils.exceptions").UserConfigValidationException):  # none found
            self.search.generate_counterfactuals(row, min_iter=steps, max_iter=steps, **options)
        return self.stamps[steps] - self.stamps[0]


class _Probability(nn.Module):
    def __init__(self, model: nn.Module, target: int) -> None:
        super().__init__()
        self.model, self.target = model, target

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.model(x), -1)[..., self.target : self.target + 1]


@contextlib.contextmanager
def silence():
    out, err = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with out, err, warnings.catch_warnings(action="ignore"):
        yield


def scikit_image(a: Tensor, b: Tensor, *, cropped: bool = False) -> Tensor:
    """Compare pair after pair, the mean over the whole symmetrically extended map or without its border pixels."""
    compare = load("skimage.metrics").structural_similarity
    options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    one, other = (images.reshape(-1, *SHAPE).numpy() for images in (a, b))
    inner = slice(5, -5) if cropped else slice(None)
    maps = ([compare(x, y, full=True, **options)[1][inner, inner].mean() for y in other] for x in one)
    return torch.tensor([list(row) for row in maps], dtype=a.dtype)


def _blocks(compare: Callable[[Tensor, Tensor], Tensor]) -> Similarity:
    """Compare all pairs by a function for pairs that lie side by side, (m, 1, h, w) -> (m,)."""

    def one(x: Tensor, b: Tensor) -> Tensor:
        return torch.cat([compare(x.view(1, 1, *SHAPE).expand_as(y), y) for y in b.view(-1, 1, *SHAPE).split(BLOCK)])

    return lambda a, b: torch.stack([one(x, b) for x in a])


def _torchmetrics(x: Tensor, y: Tensor) -> Tensor:
    compare = load("torchmetrics.functional.image").structural_similarity_index_measure
    maps = compare(x, y, data_range=1.0, reduction="none", return_full_image=True)[1]
    return maps[..., 5:-5, 5:-5].mean((1, 2, 3))


SIMILARITIES = {  # all leave out the border pixels
    "pytorch-msssim": lambda: _blocks(partial(load("pytorch_msssim").ssim, data_range=1.0, size_average=False)),
    "torchmetrics": lambda: _blocks(_torchmetrics),
    "kornia": lambda: _blocks(lambda x, y: load("kornia.metrics").ssim(x, y, 11, padding="valid").mean((1, 2, 3))),
}
