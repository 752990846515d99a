"""Compare `attacks.worst_case` with the attacks of other libraries: `python tests/bench/strength.py`.

The author's networks, 1,000 test rows each. Inputs are scaled to [0, 1] for the libraries and clamped to the box in
front of the network, so that every attack has the same ball and box; what it returns is judged by the network itself.
AutoAttack's parts attack, as published, only rows that no part before has changed. The table goes to
paper/generated/bench-strength.csv: accuracy under each attack and its CPU time. A library that is not installed or
that fails is a row with the reason in `skipped`.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import peers
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robexpl import attacks, data
from robexpl.data import Dataset
from robexpl.files import write_atomic
from robexpl.models._author import FOLDERS, load_author_network
from robexpl.pipeline.publish import to_csv
from robexpl.regimes import REGIMES
from robexpl.seeds import torch_generator
from robexpl.study.places import generated_dir

ROWS, EPS = 1000, 0.2
OURS = "robexpl, worst case"
WEAKER = 0.002  # above the best library by more than this, ours would be too weak
COLUMNS = ["eps", "attack", "accuracy", "n", "cpu_s", "skipped"]
Attack = Callable[[Tensor, Tensor], Tensor]


class Scaled(nn.Module):
    """A network of images (n, 1, h, w) in [0, 1], behind the scale and the box of its own inputs."""

    def __init__(self, model: nn.Module, bounds: tuple) -> None:
        super().__init__()
        self.model, self.box = model, tuple(torch.as_tensor(side, dtype=torch.float32) for side in bounds)
        self.low, self.high = (float(side) for side in (self.box[0].min(), self.box[1].max()))

    def into(self, x: Tensor) -> Tensor:
        """Return inputs x (n, d) as images."""
        side = int(x.shape[1] ** 0.5)
        shape = (side, side) if side * side == x.shape[1] else (1, x.shape[1])
        return ((x - self.low) / (self.high - self.low)).clamp(0, 1).reshape(-1, 1, *shape)

    def back(self, images: Tensor) -> Tensor:
        """Return images as inputs (n, d), in the box."""
        return torch.clamp(self.low + images.flatten(1) * (self.high - self.low), *self.box)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes)."""
        return self.model(self.back(images))


def _torchattacks(name: str, **settings) -> Callable[[Scaled, float, int], Attack]:
    def make(model: Scaled, eps: float, classes: int) -> Attack:
        more = {"n_classes": classes} if name in ("APGDT", "FAB") else {}
        return getattr(peers.load("torchattacks"), name)(model, eps=eps, seed=0, **settings, **more)

    return make


def _foolbox(model: Scaled, eps: float, classes: int) -> Attack:
    library = peers.load("foolbox")
    wrapped = library.PyTorchModel(model, bounds=(0, 1), device="cpu")
    attack = library.attacks.LinfPGD(steps=100, rel_stepsize=0.05, random_start=True).repeat(5)
    return lambda x, y: attack(wrapped, x, y, epsilons=eps)[1]


def _art(loss: str) -> Callable[[Scaled, float, int], Attack]:
    def make(model: Scaled, eps: float, classes: int) -> Attack:
        wrap = peers.load("art.estimators.classification").PyTorchClassifier
        attack = peers.load("art.attacks.evasion").AutoProjectedGradientDescent

        def run(x: Tensor, y: Tensor) -> Tensor:
            options = {"clip_values": (0, 1), "device_type": "cpu"}
            classifier = wrap(model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), classes, **options)
            how = {"eps": eps, "eps_step": eps, "max_iter": 100, "nb_random_init": 1, "batch_size": 1000}
            made = attack(classifier, norm=np.inf, loss_type=loss, verbose=False, **how)
            return torch.from_numpy(made.generate(x.numpy(), F.one_hot(y, classes).numpy()))

        return run

    return make


AUTOATTACK = {  # settings as published: Croce & Hein (2020)
    "APGD-CE": _torchattacks("APGD", norm="Linf", steps=100, loss="ce", n_restarts=1),
    "APGD-T": _torchattacks("APGDT", norm="Linf", steps=100, n_restarts=1),
    "FAB-T": _torchattacks("FAB", norm="Linf", steps=100, n_restarts=1, multi_targeted=True),
    "Square": _torchattacks("Square", norm="Linf", n_queries=5000, n_restarts=1),
}
OTHERS = {
    "foolbox, PGD 100 x 5": _foolbox,
    "ART, APGD-CE": _art("cross_entropy"),
    "ART, APGD-DLR": _art("difference_logits_ratio"),
}


def right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Tell which rows a network classifies correctly (n,)."""
    with torch.no_grad():
        return model(x).argmax(1) == y


def compared(known: Dataset, model: nn.Module, rows: int = ROWS, eps: float = EPS) -> pd.DataFrame:
    """Attack a network by everything, one row per attack; AutoAttack's parts are each after those before."""
    x, y = known.x_test[:rows], known.y_test[:rows]
    scaled, found = Scaled(model, known.bounds).eval(), []
    radius = eps / (scaled.high - scaled.low)
    left = right(model, x, y)

    def add(name: str, attack: Attack, among: Tensor) -> Tensor:
        """Attack some rows, add a row to the table, and return which of them are left."""
        rest, began, skipped = among.clone(), time.process_time(), None
        try:
            with peers.silence():
                points = attack(x[among], y[among])
            points = points.clamp(x[among] - eps, x[among] + eps)
            rest[among.nonzero().flatten()] = right(model, points, y[among])
        except Exception as error:  # not installed, not made for two classes, not working beside these versions
            skipped = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        accuracy = None if skipped else float(rest.double().mean())
        row = [eps, name, accuracy, len(x), time.process_time() - began, skipped]
        found.append(dict(zip(COLUMNS, row, strict=True)))
        return rest

    def peer(make: Callable) -> Attack:
        return lambda a, b: _run(make, scaled, radius, known.n_classes, a, b)

    how = {"eps": eps, "bounds": known.bounds, "generator": torch_generator(0, "bench")}
    add(OURS, lambda a, b: attacks.worst_case(model, a, b, **how), torch.ones_like(left))
    for name, make in OTHERS.items():
        add(name, peer(make), left)
    for name, make in AUTOATTACK.items():
        left = add(f"AutoAttack, {name}", peer(make), left)
    return pd.DataFrame(found)


def _run(make: Callable, scaled: Scaled, eps: float, classes: int, x: Tensor, y: Tensor) -> Tensor:
    return scaled.back(make(scaled, eps, classes)(scaled.into(x), y).detach())


def weaker(table: pd.DataFrame) -> pd.DataFrame:
    """Return the networks on which ours leaves more accuracy than the best library, by more than WEAKER."""
    best = table[table["attack"] != OURS].groupby(["dataset", "regime"])["accuracy"].min().rename("best")
    both = table[table["attack"] == OURS].join(best, on=["dataset", "regime"])
    return both[both["accuracy"] > both["best"] + WEAKER]


def main() -> int:
    """Compare on all eight networks, write the table, and fail where ours is too weak."""
    torch.set_num_threads(1)
    if not peers.install():
        print("peers could not be installed: see .ci/peers.txt", file=sys.stderr)
    tables = []
    for dataset in FOLDERS:
        for regime in REGIMES:
            found = compared(data.load(dataset), load_author_network(dataset, regime))
            found.insert(0, "dataset", dataset)
            found.insert(1, "regime", regime)
            tables.append(found)
            print(tables[-1].to_string(index=False, na_rep=""), flush=True)
    table = pd.concat(tables, ignore_index=True)
    write_atomic(generated_dir() / "bench-strength.csv", to_csv(table))
    return len(weaker(table))


if __name__ == "__main__":
    sys.exit(main())
