"""Structural similarity as in `ssim`, without the pixels near the border, whose windows reach beyond it."""

from torch import Tensor

from robexpl import checks
from robexpl.metrics import _ssim_maps as maps

TITLE, KINDS = "SSIM, cropped", ("image",)


def fits(image_shape: tuple[int, int]) -> bool:
    """Tell whether images (height, width) have pixels that are not near the border."""
    return min(image_shape) > 2 * maps.RADIUS


def prepare(points: Tensor, *, everything: Tensor, image_shape: tuple[int, int]) -> maps.Bank:
    """Compute means and variances of the images of a class (m, d) once; raise ValueError where they are too small."""
    bank = maps.prepare(points, everything=everything, image_shape=image_shape)
    line = f"expected images larger than {2 * maps.RADIUS} pixels for ssim_cropped, got {tuple(image_shape)}"
    checks.refuse_unless(fits(image_shape), line)
    return bank


def distances(x: Tensor, bank: maps.Bank) -> Tensor:
    """Return (1 - SSIM) / 2, five pixels at each border left out, for images x (n, d) and a bank's -> (n, m)."""
    return maps.distances(x, bank, margin=maps.RADIUS)
