"""The hot paths as `bench` measures them: what the package does and what its peers do for the same work.

The images are scikit-learn's digits, enlarged to the shape of MNIST's, and the networks briefly trained on them: no
speed here depends on what images show or networks know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robexpl import attacks, ecco, metrics, ssim
from robexpl.data import Dataset, load
from robexpl.models import mlp
from robexpl.regimes import ADVERSARIES, Adversary
from robexpl.report import peers
from robexpl.report.peers import SHAPE
from robexpl.seeds import torch_generator
from robexpl.training import fit

PIXELS, HIDDEN, CLASSES = 784, 128, 10
PRODUCT = 4 * HIDDEN * (PIXELS + CLASSES)  # operations of one image's logits and of their pullback to the image


@dataclass(frozen=True)
class Variant:
    """One way to do the work: `run` does `units` of it, and may return its own CPU seconds.

    `results` returns what it computes in a small case and what it should be, equal to `tolerance`.
    """

    name: str
    units: int
    run: Callable[[], Any]
    results: Callable[[], tuple[Tensor, Tensor]]
    tolerance: float = 1e-5


@dataclass(frozen=True)
class HotPath:
    """Variants of the same work, the first the baseline, one of them `ours`; `operations` (floating point) per unit."""

    title: str
    unit: str
    ours: str
    operations: float
    variants: Sequence[Variant]
    skipped: Mapping[str, str]  # peers by name, and why


def images(count: int, *, seed: int = 0) -> Dataset:
    """Make digits of MNIST's shape, (count, 784) in [0, 1] with a dark border, shifted so that no two are the same."""
    digits = load("digits")
    generator = torch_generator(seed, "images")
    rows = torch.arange(count) % len(digits.x_train)
    large = F.interpolate(digits.x_train.view(-1, 1, 8, 8), size=(20, 20), mode="bilinear")[rows, 0]
    x = torch.zeros(count, *SHAPE)
    for image, small, (i, j) in zip(x, large, torch.randint(0, 9, (count, 2), generator=generator), strict=True):
        image[i : i + 20, j : j + 20] = small
    x = x.view(count, PIXELS)
    classes = tuple(map(str, range(CLASSES)))
    return replace(
        digits, x_train=x, y_train=digits.y_train[rows], x_test=x, y_test=digits.y_train[rows], image_shape=SHAPE,
        bounds=(0.0, 1.0), feature_names=tuple(f"p{i}" for i in range(PIXELS)), class_names=classes,
    )  # fmt: skip


def shortened(data: Dataset, count: int) -> Dataset:
    """Keep the first `count` images, for training and for tests."""
    first = {name: getattr(data, name)[:count] for name in ("x_train", "y_train", "x_test", "y_test")}
    return replace(data, **first)


def _offer(variants: list[Variant], skipped: dict[str, str], name: str, make: Callable[[], Variant]) -> None:
    """Add a peer's variant, or say why there is none: not installed, or not working beside these versions."""
    try:
        variants.append(make())
    except Exception as error:
        skipped[name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]


def attack_path(data: Dataset, model: nn.Sequential, opponent: Adversary, few: int = 128) -> HotPath:
    """Return the evaluation attack: projected PGD on a whole test set, from the images themselves."""
    x, y = data.x_test, data.y_test
    options = {"eps": opponent.eps, "step_size": opponent.step_size, "steps": opponent.steps, "bounds": (0.0, 1.0)}
    opaque = nn.Sequential(nn.Identity(), *model)
    expected = peers.plain_pgd(model, opponent, x[:few], y[:few])

    def variant(name: str, attack: peers.Attack) -> Variant:
        return Variant(
            name, len(x) * opponent.steps, lambda: attack(x, y), lambda: (attack(x[:few], y[:few]), expected)
        )

    variants = [
        variant("plain loop", lambda x, y: peers.plain_pgd(model, opponent, x, y)),
        variant("robexpl", lambda x, y: attacks.pgd(model, x, y, start=x, **options)),
        variant("robexpl, any module", lambda x, y: attacks.pgd(opaque, x, y, start=x, **options)),
    ]
    skipped: dict[str, str] = {}
    for name, make in peers.ATTACKS.items():
        _offer(variants, skipped, name, lambda name=name, make=make: variant(name, make(model, opponent)))
    return HotPath("PGD attack", "step of an image", "robexpl", PRODUCT, variants, skipped)


def training_path(data: Dataset, regime: str = "strong", few: int = 96) -> HotPath:
    """Return adversarial training: batches of 32, PGD against the network of the moment, Adam."""
    opponent = ADVERSARIES[regime]

    def ours(data: Dataset, model: nn.Module | None = None) -> nn.Module:
        return fit(data, regime, seed=0, epochs=1, model=model)

    def any_module(data: Dataset) -> nn.Module:
        start = mlp(PIXELS, HIDDEN, CLASSES, generator=torch_generator(0, "weights"))
        return ours(data, nn.Sequential(nn.Identity(), *start))

    def plain(data: Dataset) -> nn.Module:
        return peers.plain_training(data, opponent, seed=0, regime=regime)

    def variant(name: str, train: Callable[[Dataset], nn.Module]) -> Variant:
        small = shortened(data, few)

        def weights(model: nn.Module) -> Tensor:
            return torch.cat([values.detach().flatten() for values in model.parameters()])

        return Variant(
            name,
            -(-len(data.x_train) // 32),
            lambda: train(data),
            lambda: tuple(weights(t(small)) for t in (train, plain)),
        )

    variants = [
        variant("plain loop", plain), variant("robexpl", ours), variant("robexpl, any module", any_module)
    ]  # fmt: skip
    weights = 4 * HIDDEN * PIXELS + 6 * HIDDEN * CLASSES  # of one row of the step itself; inputs need no gradient there
    operations = 32 * opponent.steps * PRODUCT + 64 * weights
    return HotPath(
        "Adversarial training", f"batch of 32 with {opponent.steps} PGD steps", "robexpl", operations, variants, {}
    )


def search_path(data: Dataset, model: nn.Sequential, *, factuals: int = 100, steps: int = 200) -> HotPath:
    """Return the search for counterfactuals, with a tolerance that no row meets, so that all make every step."""
    settings = ecco.Settings(steps=steps, tolerance=1e-30)
    few = replace(settings, steps=min(steps, 20))
    x = data.x_test[:factuals]
    target = (data.y_test[:factuals] + 1) % CLASSES
    start = attacks.start_points(x, settings.start_noise, torch_generator(0, "start"))
    opaque = nn.Sequential(nn.Identity(), *model)
    expected = peers.plain_search(model, x, target, start, few)

    def plain(how: ecco.Settings, rows: slice) -> Tensor:
        return peers.plain_search(model, x[rows], target[rows], start[rows], how)

    def ours(network: nn.Module) -> Callable[[ecco.Settings, slice], Tensor]:
        options = {"stop": "generator_conditions", "bounds": data.bounds}
        return lambda how, rows: (
            ecco.search(network, x[rows], target[rows], settings=how, start=start[rows], **options).x
        )

    def variant(name: str, run: Callable[[ecco.Settings, slice], Tensor], single: int = 0) -> Variant:
        """Search for all factuals at once, or for the first few one at a time."""
        blocks = [slice(i, i + 1) for i in range(single)] or [slice(factuals)]
        return Variant(
            name,
            (single or factuals) * steps,
            lambda: [run(settings, rows) for rows in blocks],
            lambda: (torch.cat([run(few, rows) for rows in blocks]), expected[: single or factuals]),
        )

    variants = [
        variant("plain loop", plain),
        variant("robexpl", ours(model)),
        variant("robexpl, any module", ours(opaque)),
        variant("plain loop, one at a time", plain, single=2),
        variant("robexpl, one at a time", ours(model), single=2),
    ]

    def dice() -> Variant:
        search, t = peers.Dice(model, int(target[0]), PIXELS), int(target[0])
        probability = torch.softmax(model(x), 1)[:, t : t + 1].detach()
        return Variant(
            "dice-ml", 10, lambda: search.seconds(x[0], 10), lambda: (search.probability(x).detach(), probability)
        )

    skipped: dict[str, str] = {}
    _offer(variants, skipped, "dice-ml", dice)
    return HotPath("ECCo counterfactuals", "step of a counterfactual", "robexpl", PRODUCT, variants, skipped)


def similarity_path(data: Dataset, *, queries: int = 100, few: int = 10) -> HotPath:
    """Return the search for the nearest of a class of images in structural similarity (the peers only compare)."""
    a, b = data.x_test[:queries], data.x_test[queries:]
    small = a[:few].double(), b[: 4 * few].double()
    whole, cropped = peers.scikit_image(*small), peers.scikit_image(*small, cropped=True)

    def ours(name: str, fused: bool, *, kept: bool = True, rows: int = queries) -> Variant:
        def known() -> metrics.Reference:
            return metrics.Reference("ssim", SHAPE, PIXELS, {0: ssim.bank(b, SHAPE, fused=fused)})

        x, before, k = a[:rows], known(), min(100, len(b))
        return Variant(
            name,
            len(x) * len(b),
            lambda: metrics.nearest(x, 0, before if kept else known(), k=k),
            lambda: (ssim.scores(a[:few], before.groups[0])[:, : 4 * few].double(), whole),
        )

    def peer(name: str, compare: peers.Similarity, rows: int, columns: int, expected: Tensor) -> Variant:
        x, y = a[:rows], b[:columns]
        small = a[:few], b[: 4 * few]
        return Variant(
            name, len(x) * len(y), lambda: compare(x, y), lambda: (compare(*small).double(), expected), tolerance=1e-4
        )

    variants = [
        peer("scikit-image", peers.scikit_image, 1, 300, whole),
        ours("robexpl", True),
        ours("robexpl, class not prepared", True, kept=False),
        ours("robexpl, torch", False, rows=queries // 8),
    ]
    skipped: dict[str, str] = {}
    for name, make in peers.SIMILARITIES.items():
        _offer(variants, skipped, name, lambda name=name, make=make: peer(name, make(), 1, 512, cropped))
    # per pixel: the product, two symmetric filters of eleven taps (10 + 6), the score
    return HotPath("SSIM nearest neighbours", "pair of images", "robexpl", PIXELS * 44.0, variants, skipped)
