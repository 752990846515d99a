"""Jacobian regularisation: the loss with a penalty on the derivatives of all logits."""

import torch
from torch import Tensor, nn

from robexpl.gradients import relu_layers, tracked

TITLE, ADVERSARIAL = "Jacobian regularisation", False
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)


def loss(model: nn.Module, x: Tensor, y: Tensor, *, strength: float, **_) -> Tensor:
    """Return the mean of CE(f(x), y) + strength / 2 |J(x)|_F^2, J the Jacobian of the logits [Hoffman et al. 2019].
    >>> loss(nn.Linear(2, 2), torch.zeros(1, 2), torch.tensor([0]), strength=0.1).shape
    torch.Size([])
    """
    logits, size = size_of_jacobian(model, x)
    return nn.functional.cross_entropy(logits, y) + strength / 2 * size.mean()


def size_of_jacobian(model: nn.Module, x: Tensor, *, closed_form: bool = True) -> tuple[Tensor, Tensor]:
    """Return the logits (n, classes) and |J|_F^2 (n,) at x (n, d), both differentiable in the parameters.
    With one hidden ReLU layer, J = W2 diag(s) W1 with s = relu'(W1 x + b1), so that |J|_F^2 = s^T M s with the matrix
    M = (W2^T W2) * (W1 W1^T), by entries, which all rows share. Otherwise the sum over logits of |grad_x f_c|_2^2.
    """
    layers = relu_layers(model) if closed_form else None
    if layers and len(layers) == 2:
        first, last = layers
        hidden = first(x).relu()
        active = hidden.detach().sign()  # (n, h)
        shared = (last.weight.t() @ last.weight) * (first.weight @ first.weight.t())  # (h, h)
        return last(hidden), (active @ shared * active).sum(1)
    logits, pull = tracked(model, x, closed_form=closed_form)
    rows = torch.eye(logits.shape[1], dtype=x.dtype, device=x.device)
    return logits, sum(pull(row.expand_as(logits)).square().sum(1) for row in rows)
