"""ECCo up to a target probability, and by bisection onto it: counterfactuals of networks on an equal footing."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from robexpl.attacks._loops import prepare
from robexpl.checks import Bounds
from robexpl.generators import ecco
from robexpl.generators.ecco import Counterfactuals, Settings

HALVINGS = 24  # of the segment: as many as single precision has digits


def search(
    model: nn.Module, x: Tensor, target: Tensor, *, settings: Settings, stop: str, bounds: Bounds,
    generator: torch.Generator | None = None, start: Tensor | None = None, labels: Tensor | None = None,
) -> Counterfactuals:  # fmt: skip
    """Search as `ecco.search` does, then go back towards the factual x to the target probability `settings.threshold`.
    Of the end z of the search, the point x + a (z - x) with 0 <= a <= 1 is taken at which the probability passes the
    threshold, found by bisection: between x, below the threshold, and z, at or above it. A search that ends below the
    threshold keeps its end; a factual above it is its own counterfactual. Steps, `converged` and `gradient_max` are
    those of the search. Arguments and errors are those of `ecco.search`.
    >>> how = {"settings": Settings(start_noise=0), "stop": "decision_threshold", "bounds": (0, 1)}
    >>> search(nn.Identity(), torch.tensor([[0.6, 0.4]]), torch.tensor([1]), **how).target_prob
    tensor([0.5000])
    """
    how = {"settings": settings, "stop": stop, "bounds": bounds, "start": start, "labels": labels}
    found = ecco.search(model, x, target, generator=generator, **how)
    run, one_hot, box = prepare(model, x, target, bounds, "target")

    def at(share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = torch.clamp(torch.lerp(x, found.x, share[:, None]), *box)
        logits = run(z)[0]
        return z, (torch.softmax(logits, 1) * one_hot).sum(1), (logits * one_hot).sum(1)

    below, above = torch.zeros_like(found.target_prob), torch.ones_like(found.target_prob)
    reached = found.target_prob >= settings.threshold
    for _ in range(HALVINGS):
        middle = (below + above) / 2
        passed = at(middle)[1] >= settings.threshold
        below, above = torch.where(passed, below, middle), torch.where(passed, middle, above)
    z, prob, logit = at(torch.where(reached, above, torch.ones_like(above)))
    return replace(found, x=z, target_prob=prob, target_logit=logit)
