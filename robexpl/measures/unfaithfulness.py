"""Unfaithfulness: how far a row lies from points that the network that is explained takes for its class."""

import torch
from torch import Tensor, nn

from robexpl import checks, metrics
from robexpl.gradients import vjp
from robexpl.measures._known import Known, Score
from robexpl.progress import bar
from robexpl.seeds import torch_generator

TITLE, KINDS, COST, NETWORK = "Unfaithfulness", ("image", "tabular"), 1e-6, True
CHAINS, KEPT, STEPS, STEP, NOISE = 50, 25, 500, 2.0, 0.01  # those of the code of [Altmeyer 2024]


def prepare(known: Known) -> Score:
    """Return the mean distance of rows x (n, d) to samples of the network's own idea of their target class -> (n,).
    unfaith(x, t) = mean over x' of dist(x, x') [Altmeyer 2024, definition of faithfulness], x' the KEPT of CHAINS
    samples that have the least energy, dist by SSIM for images and Euclidean for tabular data.
    """
    classes = known.y.unique()
    target = classes.repeat_interleave(CHAINS)
    draw = torch_generator(known.seed, "measure", "unfaithfulness")
    found, energy = samples(known.model, target, known.bounds, known.x.shape[1], generator=draw)
    order = energy.view(len(classes), CHAINS).argsort(1)[:, :KEPT]
    kept = found.view(len(classes), CHAINS, -1).gather(1, order[..., None].expand(-1, -1, found.shape[1]))
    how = {"distance": "ssim", "image_shape": known.image_shape} if known.image_shape else {"distance": "euclidean"}
    reference = metrics.reference(kept.flatten(0, 1), classes.repeat_interleave(KEPT), **how)

    def score(x: Tensor, target: Tensor) -> Tensor:
        return metrics.implausibility(x, target, reference, k=KEPT)

    return score


def samples(
    model: nn.Module, target: Tensor, bounds: checks.Bounds, d: int, *, generator: torch.Generator, steps: int = STEPS,
    step: float = STEP, noise: float = NOISE,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Draw a point for each class target (n,) by stochastic gradient Langevin dynamics -> points (n, d), energies (n,).
    x <- x - step / 2 grad E(x | t) + noise N(0, I), clamped to the box, from a uniform start in it; E(x | t) = -f_t(x).
    Step and noise are chosen apart, as is common [Grathwohl 2020], so that the points crowd where the energy is low.
    >>> from torch import nn
    >>> x, energy = samples(nn.Identity(), torch.tensor([1]), (0, 1), 2, generator=torch.Generator(), noise=0)
    >>> float(energy)
    -1.0
    """
    weight = next(iter(model.parameters()), torch.zeros(0))
    x = torch.rand(len(target), d, generator=generator).to(weight)
    low, high = checks.box(bounds, x)
    x, one_hot, run = low + (high - low) * x, None, vjp(model)
    for _ in bar(range(steps), desc="samples"):
        logits, pull = run(x)
        if one_hot is None:
            one_hot = nn.functional.one_hot(target, logits.shape[1]).to(x)
        x = x + step / 2 * pull(one_hot) + noise * torch.randn(x.shape, generator=generator).to(x)
        x = torch.clamp(x, low, high)
    logits, _ = run(x)
    return x, -logits.gather(1, target[:, None])[:, 0].clone()
