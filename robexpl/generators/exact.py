"""The closest counterfactual: nearest in the L1 norm where the target class has the probability of the threshold."""

import torch
from torch import Tensor, nn

from robexpl import checks, exact
from robexpl.attacks._loops import prepare
from robexpl.checks import Bounds
from robexpl.generators.ecco import STOPS, Counterfactuals, Settings, gradient

MARGIN = 1e-4  # of logits, beyond the threshold: single precision still finds the probability reached


def search(
    model: nn.Module, x: Tensor, target: Tensor, *, settings: Settings, stop: str, bounds: Bounds,
    generator: torch.Generator | None = None, start: Tensor | None = None, labels: Tensor | None = None,
) -> Counterfactuals:  # fmt: skip
    """Find z in the box with p_t(z) >= `settings.threshold` and the least ||z - x||_1, by `exact.closest`.
    x (n, d), target (n,), of a perceptron of ReLUs. The only stop is "decision_threshold"; no step is made, and other
    settings, generator and start play no part. `converged` tells where z is optimal and reaches the threshold; where no
    point of the box does, z is x. Raises ValueError for other stops and models, and as ECCo does.
    >>> from robexpl import models
    >>> model = models.mlp(2, 3, 2, generator=torch.Generator().manual_seed(0))
    >>> how = {"settings": Settings(), "stop": "decision_threshold", "bounds": (-1, 1)}
    >>> search(model, torch.zeros(1, 2), torch.tensor([1]), **how).converged
    tensor([True])
    """
    checks.one_of("stop of exact counterfactuals", stop, STOPS[:1])
    checks.refuse_type("settings", settings, Settings)
    run, one_hot, box = prepare(model, x, target, bounds, "target")
    same = 0 if labels is None else int((checks.labels(labels, len(x)) == one_hot.argmax(1)).sum())
    checks.refuse_unless(not same, f"expected targets that differ from the factuals' classes, got {same} that do not")
    found = exact.closest(model, x, target, bounds=bounds, probability=settings.threshold, margin=MARGIN)
    z = torch.clamp(found.x.to(x), *box)
    slope, prob, logit = gradient(run, z, one_hot, settings)
    slope = slope.add_((z - x).sign_(), alpha=settings.l1).abs().amax(1)
    reached = found.optimal.to(x.device) & (prob >= settings.threshold)
    return Counterfactuals(z, torch.zeros_like(reached, dtype=torch.long), reached, prob, logit, slope)
