"""The hot paths that the benchmark measures: what the package does and what its peers do for the same work.

The images are scikit-learn's digits, enlarged to the shape of MNIST's, and the networks are trained on them briefly:
no speed here depends on what the images show or what the networks have learnt.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import peers
import torch
import torch.nn.functional as F
from peers import SHAPE
from torch import Tensor, nn

from robexpl import attacks, data, metrics, models
from robexpl.data import Dataset
from robexpl.generators import ecco
from robexpl.regimes import ADVERSARIES, Adversary
from robexpl.seeds import torch_generator
from robexpl.training import fit

PIXELS, HIDDEN, CLASSES = 784, 128, 10
SSIM = metrics.module("ssim")
PRODUCT = 4 * HIDDEN * (PIXELS + CLASSES)  # operations of one image's logits and of their pullback to the image


@dataclass(frozen=True)
class Variant:
    """One way to do the work; `results` returns what it computes in a small case and what that should be."""

    name: str
    units: int  # of work that `run` does
    run: Callable[[], Any]  # may return its own CPU seconds
    results: Callable[[], tuple[Tensor, Tensor]]
    tolerance: float = 1e-5


@dataclass(frozen=True)
class HotPath:
    """Variants of the same work, and libraries that may be missing; `operations` (floating point) of one unit."""

    name: str
    title: str
    unit: str
    operations: float
    variants: Sequence[Variant]
    libraries: Mapping[str, Callable[[], Variant]]


def images(count: int, *, seed: int = 0) -> Dataset:
    """Make digits of MNIST's shape, (count, 784) in [0, 1] with a dark border, shifted so that no two are the same."""
    digits = data.load("digits")
    generator = torch_generator(seed, "images")
    rows = torch.arange(count) % len(digits.x_train)
    large = F.interpolate(digits.x_train.view(-1, 1, 8, 8), size=(20, 20), mode="bilinear")[rows, 0]
    x = torch.zeros(count, *SHAPE)
    for image, small, (i, j) in zip(x, large, torch.randint(0, 9, (count, 2), generator=generator), strict=True):
        image[i : i + 20, j : j + 20] = small
    x, y, names = x.view(count, PIXELS), digits.y_train[rows], tuple(f"p{i}" for i in range(PIXELS))
    images = {"x_train": x, "y_train": y, "x_test": x, "y_test": y, "image_shape": SHAPE, "feature_names": names}
    return replace(digits, **images, bounds=(0.0, 1.0), class_names=tuple(map(str, range(CLASSES))))


def shortened(dataset: Dataset, count: int) -> Dataset:
    """Keep the first `count` images, for training and for tests."""
    first = {name: getattr(dataset, name)[:count] for name in ("x_train", "y_train", "x_test", "y_test")}
    return replace(dataset, **first)


def attack_path(dataset: Dataset, model: nn.Sequential, adversary: Adversary, few: int = 128) -> HotPath:
    """Return the evaluation attack: projected PGD on a whole test set, starting from the images themselves."""
    x, y = dataset.x_test, dataset.y_test
    options = {**asdict(adversary), "bounds": (0.0, 1.0)}
    opaque = nn.Sequential(nn.Identity(), *model)
    expected = peers.plain_pgd(model, adversary, x[:few], y[:few])

    def variant(name: str, attack: peers.Attack) -> Variant:
        work = len(x) * adversary.steps
        return Variant(name, work, lambda: attack(x, y), lambda: (attack(x[:few], y[:few]), expected))

    variants = [
        variant("plain loop", lambda x, y: peers.plain_pgd(model, adversary, x, y)),
        variant("robexpl", lambda x, y: attacks.pgd(model, x, y, start=x, **options)),
        variant("robexpl, any module", lambda x, y: attacks.pgd(opaque, x, y, start=x, **options)),
    ]
    libraries = {n: lambda n=n, make=make: variant(n, make(model, adversary)) for n, make in peers.ATTACKS.items()}
    return HotPath("attack", "PGD attack", "step of an image", PRODUCT, variants, libraries)


def training_path(dataset: Dataset, regime: str = "strong", few: int = 96) -> HotPath:
    """Return adversarial training: batches of 32, PGD against the current network, Adam."""
    adversary, small = ADVERSARIES[regime], shortened(dataset, few)

    ours = partial(fit, regime=regime, seed=0, epochs=1)
    plain = partial(peers.plain_training, adversary=adversary, seed=0, regime=regime)

    def any_module(dataset: Dataset) -> nn.Module:
        start = models.mlp(PIXELS, HIDDEN, CLASSES, generator=torch_generator(0, "weights"))
        return ours(dataset, model=nn.Sequential(nn.Identity(), *start))

    def weights(train: Callable[[Dataset], nn.Module]) -> Tensor:
        return torch.cat([values.detach().flatten() for values in train(small).parameters()])

    batches = -(-len(dataset.x_train) // 32)
    variants = [
        Variant(name, batches, lambda train=train: train(dataset), lambda train=train: (weights(train), weights(plain)))
        for name, train in {"plain loop": plain, "robexpl": ours, "robexpl, any module": any_module}.items()
    ]
    step = 4 * HIDDEN * PIXELS + 6 * HIDDEN * CLASSES  # of one row of the optimiser's step, without input gradients
    operations = 32 * adversary.steps * PRODUCT + 64 * step
    unit = f"batch of 32 with {adversary.steps} PGD steps"
    return HotPath("training", "Adversarial training", unit, operations, variants, {})


def search_path(dataset: Dataset, model: nn.Sequential, *, factuals: int = 100, steps: int = 200) -> HotPath:
    """Return the search for counterfactuals, with a tolerance that no row meets: all variants make every step."""
    settings = ecco.Settings(steps=steps, tolerance=1e-30)
    short = replace(settings, steps=min(steps, 20))
    x = dataset.x_test[:factuals]
    target = (dataset.y_test[:factuals] + 1) % CLASSES
    start = attacks.start_points(x, settings.start_noise, torch_generator(0, "start"))
    expected = peers.plain_search(model, x, target, start, short)

    def plain(how: ecco.Settings, rows: slice) -> Tensor:
        return peers.plain_search(model, x[rows], target[rows], start[rows], how)

    def ours(network: nn.Module, how: ecco.Settings, rows: slice) -> Tensor:
        options = {"settings": how, "stop": "generator_conditions", "bounds": dataset.bounds, "start": start[rows]}
        return ecco.search(network, x[rows], target[rows], **options).x

    def variant(name: str, run: Callable[[ecco.Settings, slice], Tensor], single: int = 0) -> Variant:
        count = single or factuals  # all factuals at once, or the first few one at a time
        blocks = [slice(i, i + 1) for i in range(single)] or [slice(factuals)]
        results = lambda: (torch.cat([run(short, rows) for rows in blocks]), expected[:count])  # noqa: E731
        return Variant(name, count * steps, lambda: [run(settings, rows) for rows in blocks], results)

    def dice() -> Variant:
        search, t = peers.Dice(model, int(target[0]), PIXELS), int(target[0])
        probability = torch.softmax(model(x), 1)[:, t : t + 1].detach()
        results = search.model.get_output(x, out_tensor=True).detach(), probability  # what dice-ml takes for it
        return Variant("dice-ml", 10, lambda: search.seconds(x[0], 10), lambda: results)

    variants = [
        variant("plain loop", plain),
        variant("robexpl", partial(ours, model)),
        variant("robexpl, any module", partial(ours, nn.Sequential(nn.Identity(), *model))),
        variant("plain loop, one at a time", plain, single=2),
        variant("robexpl, one at a time", partial(ours, model), single=2),
    ]
    return HotPath("search", "ECCo counterfactuals", "step of a counterfactual", PRODUCT, variants, {"dice-ml": dice})


def similarity_path(dataset: Dataset, *, queries: int = 100, few: int = 10) -> HotPath:
    """Return the search for the nearest images of a class in structural similarity (the peers only compare)."""
    a, b = dataset.x_test[:queries], dataset.x_test[queries:]
    small = a[:few].double(), b[: 4 * few].double()
    whole, cropped = peers.scikit_image(*small), peers.scikit_image(*small, cropped=True)

    def ours(name: str, fused: bool, *, kept: bool = True, rows: int = queries) -> Variant:
        known = lambda: metrics.Reference("ssim", SHAPE, PIXELS, {0: SSIM.bank(b, SHAPE, fused=fused)})  # noqa: E731
        x, before, k = a[:rows], known(), min(100, len(b))
        results = lambda: (SSIM.scores(a[:few], before.groups[0])[:, : 4 * few].double(), whole)  # noqa: E731
        return Variant(name, len(x) * len(b), lambda: metrics.nearest(x, 0, before if kept else known(), k=k), results)

    def peer(name: str, compare: peers.Similarity, columns: int, expected: Tensor) -> Variant:
        x, y = a[:1], b[:columns]
        small = a[:few], b[: 4 * few]
        return Variant(name, len(y), lambda: compare(x, y), lambda: (compare(*small).double(), expected), 1e-4)

    variants = [
        peer("scikit-image", peers.scikit_image, 300, whole),
        ours("robexpl", True),
        ours("robexpl, class not prepared", True, kept=False),
        ours("robexpl, torch", False, rows=queries // 8),
    ]
    libraries = {n: lambda n=n, make=make: peer(n, make(), 512, cropped) for n, make in peers.SIMILARITIES.items()}
    operations = PIXELS * 44.0  # per pixel: the product, two symmetric filters of eleven taps (10 + 6), the score
    return HotPath("similarity", "SSIM nearest neighbours", "pair of images", operations, variants, libraries)
