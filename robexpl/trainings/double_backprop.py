"""Double backpropagation: the loss with a penalty on its own input gradient."""

import torch
from torch import Tensor, nn

from robexpl.gradients import tracked

TITLE, ADVERSARIAL = "Double backpropagation", False
STRENGTHS = (0.1, 0.3, 1.0, 3.0)


def loss(model: nn.Module, x: Tensor, y: Tensor, *, strength: float, **_) -> Tensor:
    """Return the mean of CE(f(x), y) + strength |grad_x CE(f(x), y)|_2^2 [Drucker & LeCun 1992].
    With respect to the logits the inner gradient is softmax(f) - e_y.
    >>> loss(nn.Linear(2, 2), torch.zeros(1, 2), torch.tensor([0]), strength=0.1).shape
    torch.Size([])
    """
    logits, pull = tracked(model, x)
    slope = pull(torch.softmax(logits, 1) - nn.functional.one_hot(y, logits.shape[1]))  # (n, d)
    return nn.functional.cross_entropy(logits, y) + strength * slope.square().sum(1).mean()
