"""TRADES: robustness as a penalty on what an adversary changes in the network's own answer."""

import torch
from torch import Tensor, nn

from robexpl.attacks import start_points
from robexpl.attacks._loops import ascend
from robexpl.gradients import vjp
from robexpl.regimes import Adversary

TITLE, ADVERSARIAL = "TRADES", True
STRENGTHS = (1.0, 3.0, 6.0, 12.0)
OPPONENT = Adversary(0.1, 0.025, 7)  # the radius of the medium regime, in fewer and longer steps
NOISE = 0.001  # of the start, where the divergence is flat


def loss(
    model: nn.Module, x: Tensor, y: Tensor, *, strength: float, box: tuple[Tensor, Tensor], generator: torch.Generator
) -> Tensor:
    """Return the mean of CE(f(x), y) + strength KL(p(x) || p(x')), p the softmax of f [Zhang et al. 2019].
    x' is made by PGD on the divergence, whose gradient with respect to the logits f(x') is p(x') - p(x).
    >>> how = {"box": (torch.tensor(0.0), torch.tensor(1.0)), "generator": torch.Generator()}
    >>> loss(nn.Linear(2, 2), torch.zeros(1, 2), torch.tensor([0]), strength=1.0, **how).shape
    torch.Size([])
    """
    with torch.no_grad():
        run = vjp(model.eval())
        own = torch.softmax(run(x)[0].clone(), 1)  # (n, classes), in the place of labels
        start = torch.clamp(start_points(x, NOISE, generator), *box)
        moved, _ = ascend(run, x, own, start, OPPONENT, box, rounded=True)  # softmax(f) - p(x), as it is
    clean, other = model.train()(torch.cat([x, moved])).chunk(2)
    divergence = nn.functional.kl_div(
        torch.log_softmax(other, 1), torch.log_softmax(clean, 1), log_target=True, reduction="batchmean"
    )
    return nn.functional.cross_entropy(clean, y) + strength * divergence
