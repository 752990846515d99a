"""Structural similarity as in `ssim`, without the pixels near the border, whose windows reach beyond it."""

from torch import Tensor

from robexpl import checks
from robexpl.metrics.ssim import RADIUS, Bank, scores
from robexpl.metrics.ssim import prepare as prepare_images

TITLE, KINDS = "SSIM, cropped", ("image",)


def fits(image_shape: tuple[int, int]) -> bool:
    """Tell whether images (height, width) have pixels that are not near the border."""
    return min(image_shape) > 2 * RADIUS


def prepare(points: Tensor, *, everything: Tensor, image_shape: tuple[int, int]) -> Bank:
    """Compute means and variances of the images of a class (m, d) once; raise ValueError where they are too small."""
    bank = prepare_images(points, everything=everything, image_shape=image_shape)
    line = f"expected images larger than {2 * RADIUS} pixels for ssim_cropped, got {tuple(image_shape)}"
    checks.refuse_unless(fits(image_shape), line)
    return bank


def distances(x: Tensor, bank: Bank) -> Tensor:
    """Return (1 - SSIM) / 2, five pixels at each border left out, for images x (n, d) and a bank's -> (n, m)."""
    return (1 - scores(x, bank, margin=RADIUS)) / 2
