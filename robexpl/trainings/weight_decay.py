"""Weight decay: the loss with a penalty on the weights."""

from torch import Tensor, nn

TITLE, ADVERSARIAL = "Weight decay", False
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03)


def loss(model: nn.Module, x: Tensor, y: Tensor, *, strength: float, **_) -> Tensor:
    """Return mean CE(f(x), y) + strength / 2 sum w^2 over all weights w, biases apart [Krogh & Hertz 1992].
    >>> import torch
    >>> loss(nn.Linear(2, 2), torch.zeros(1, 2), torch.tensor([0]), strength=0.1).shape
    torch.Size([])
    """
    size = sum(part.square().sum() for part in model.parameters() if part.ndim > 1)
    return nn.functional.cross_entropy(model(x), y) + strength / 2 * size
