"""Structural similarity of images, and the distance made of it."""

import torch
from torch import Tensor

from robexpl import checks
from robexpl.metrics import _ssim_maps as maps

TITLE, KINDS, prepare, distances = "SSIM", ("image",), maps.prepare, maps.distances
QUERIES = 128  # rows of a compared at once: bounds the memory whatever their number


def ssim(a: Tensor, b: Tensor, *, image_shape: tuple[int, int] = (28, 28)) -> Tensor:
    """Compare every image of a (n, d) with every image of b (m, d) -> (n, m), each at most 1.
    SSIM = mean over all pixels of (2 mx my + C1)(2 cov + C2) / ((mx^2 + my^2 + C1)(vx + vy + C2)) (Wang et al., IEEE
    TIP 2004, equation 13), moments under an 11 x 11 Gaussian window (sigma 1.5), population covariance, C1 = 0.01^2,
    C2 = 0.03^2 for intensities in [0, 1], borders extended symmetrically (d c b a | a b c d | d c b a). Raises
    ValueError for NaN and shapes that do not fit.
    >>> ssim(torch.zeros(1, 784), torch.zeros(2, 784))
    tensor([[1., 1.]])
    """
    for images, what in ((a, "a"), (b, "b")):
        maps.refuse_images(images, image_shape, what)
        checks.refuse_half(images, what)
    bank = maps.bank(b, image_shape)
    return torch.cat([maps.scores(rows, bank) for rows in a.split(QUERIES)])
