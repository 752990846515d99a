"""Accuracy, and implausibility by distance metrics, one file each: TITLE (for tables), KINDS (of data that it suits),
`distances(x, bank)` -> (n, m), and `prepare(points, *, everything, image_shape)`, which makes the bank of m points of
one class, a thing with a length, and raises ValueError where all the reference points `everything` do not suit.
"""

from functools import partial

import torch
from torch import Tensor, nn

from robexpl import checks, registry
from robexpl.gradients import plainly, refuse_infinite, telling
from robexpl.metrics._neighbours import IMAGE_SHAPE, Reference, implausibility, nearest, reference
from robexpl.metrics.ssim import ssim

__all__ = ["IMAGE_SHAPE", "Reference", "accuracy", "implausibility", "module", "names", "nearest", "reference", "ssim"]

module = partial(registry.module, __name__, what="distance")


def names(kind: str | None = None) -> list[str]:
    """List the distance metrics, all or those for a kind of data, "image" or "tabular".
    >>> "ssim" in names("image"), "ssim" in names("tabular")
    (True, False)
    """
    if kind is not None:
        checks.one_of("kind of data", kind, ("image", "tabular"))
    return [name for name in registry.names(__name__) if kind is None or kind in module(name).KINDS]


@torch.no_grad()
@plainly
def accuracy(model: nn.Module, x: Tensor, y: Tensor, *, chunk: int = 4096) -> float:
    """Measure the share of rows of x (n, d) whose largest logit is that of their label y (n,).
    Raises ValueError for no rows, NaN, or labels that are not classes of the model.
    >>> accuracy(nn.Identity(), torch.eye(2), torch.tensor([0, 0]))
    0.5
    """
    checks.points(x)
    _, chunk = checks.positive(rows=len(x), chunk=chunk)
    y = checks.labels(y, len(x), what="y")
    checks.refuse_model(model, telling(x), gradients=False)
    logits = torch.cat([model(rows) for rows in x.split(chunk)])  # (n, n_classes)
    fits = logits.ndim == 2 and len(logits) == len(x)
    checks.refuse_unless(fits, f"expected logits of shape ({len(x)}, n_classes), got {tuple(logits.shape)}")
    refuse_infinite("logits", logits)
    checks.labels(y, len(x), logits.shape[1], what="y")
    return int((logits.argmax(1) == y).sum()) / len(x)
