"""Structural similarity of all pairs of images, by a fused kernel or a general path, and the distance made of it.

Covariance A_h (x * y) A_w^T - mx my of images less their means, A the window's band matrix with symmetric borders.
In float32 within 1e-6 of float64, within 1e-5 where both images are half black, half white in wide areas.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robexpl import checks
from robexpl.gradients import plainly

SIGMA = 1.5
RADIUS = 5  # the window has 11 x 11 taps
C1, C2 = 0.01**2, 0.03**2  # for intensities in [0, 1]
NOISY = 3.0  # intensities within [-2, 3] are compared: a counterfactual may keep the noise of its start
CHUNK = 2048  # images whose float64 statistics are computed at once
LANES = 16  # images side by side in the fused kernel; numba stores it in machine code: change _kernel.py, too
QUERIES = 128  # images that `ssim` compares at once: bounds the memory whatever their number
TITLE, KINDS = "SSIM", ("image",)
TAPS = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)  # the Gaussian window, of sum 1
TAPS /= TAPS.sum()


@dataclass(frozen=True)
class Bank:
    """Images side by side in lanes, with what depends on one image alone: maps (blocks, height, width, lanes)."""

    pixels: Tensor  # less the image's centre
    mean: Tensor  # under the window
    variance: Tensor
    centre: Tensor  # (blocks, lanes), the mean intensity of each image
    count: int  # images; the last block may end in lanes of zeros
    fused: bool  # which path its layout is for

    def __len__(self) -> int:
        return self.count


def refuse_images(x: Tensor, image_shape: tuple[int, int], what: str) -> None:
    """Raise unless x holds finite images (n, height * width) of intensities about [0, 1]."""
    checks.points(x, what)
    checks.refuse_intensities(x, what)
    line = f"expected image_shape (height, width) with {x.shape[1]} pixels for {what}, got {image_shape}"
    line += "; for tabular data name another distance, such as euclidean"
    checks.refuse_unless(image_shape[0] * image_shape[1] == x.shape[1], line)


def ssim(a: Tensor, b: Tensor, *, image_shape: tuple[int, int] = (28, 28)) -> Tensor:
    """Compare every image of a (n, d) with every image of b (m, d) -> (n, m), each at most 1.
    SSIM = mean over all pixels of (2 mx my + C1)(2 cov + C2) / ((mx^2 + my^2 + C1)(vx + vy + C2)) [Wang 2004, eq. 13],
    moments under an 11 x 11 Gaussian window (sigma 1.5), population covariance, C1 = 0.01^2 and C2 = 0.03^2 for
    intensities in [0, 1], borders mirrored (b a | a b). Raises ValueError for NaN and shapes that do not fit.
    >>> ssim(torch.zeros(1, 784), torch.zeros(2, 784))
    tensor([[1., 1.]])
    """
    image_shape = checks.image_shape(image_shape)
    for images, what in ((a, "a"), (b, "b")):
        refuse_images(images, image_shape, what)
        checks.refuse_half(images, what)
    known = bank(b, image_shape)
    return torch.cat([scores(rows, known) for rows in a.split(QUERIES)])


def prepare(points: Tensor, *, everything: Tensor, image_shape: tuple[int, int]) -> Bank:
    """Compute means and variances of the images of a class (m, d) once."""
    refuse_images(everything, image_shape, "reference_x")
    return bank(points, image_shape)


def distances(x: Tensor, bank: Bank) -> Tensor:
    """Return (1 - SSIM) / 2 in [0, 1] for every image of x (n, d) and of the bank (m images) -> (n, m)."""
    return (1 - scores(x, bank)) / 2


def fold(size: int) -> np.ndarray:
    """Return which pixel stands at each place of a line extended as d c b a | a b c d | d c b a -> (size + 10,)."""
    place = np.arange(-RADIUS, size + RADIUS) % (2 * size)
    return np.minimum(place, 2 * size - 1 - place)


@lru_cache
def band(size: int) -> Tensor:
    """Return the matrix that filters a line of `size` pixels, borders folded in -> (size, size) float64."""
    matrix = np.zeros((size, size))
    for tap, weight in enumerate(TAPS):
        np.add.at(matrix, (np.arange(size), fold(size)[tap : tap + size]), weight)
    return torch.from_numpy(matrix)


def statistics(images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return pixels less centre, mean, variance (n, height, width) and centre (n,) of images, in float64."""
    exact = images.double()
    rows, columns = (band(size).to(exact.device) for size in images.shape[1:])
    centre = exact.mean((1, 2)).to(images.dtype).double()  # what single precision can hold, so that all agree on it
    pixels = exact - centre[:, None, None]
    mean = rows @ pixels @ columns.T
    variance = (rows @ pixels**2 @ columns.T - mean**2).clamp_min(0)
    return pixels, mean + centre[:, None, None], variance, centre


@torch.no_grad()
@plainly
def bank(images: Tensor, image_shape: tuple[int, int], *, fused: bool | None = None) -> Bank:
    """Prepare images (m, d) as the second side of `scores`, for the fused kernel or the general path.
    By default the kernel serves float32 images on a processor where numba is installed.
    """
    if fused is None:
        fused = images.device.type == "cpu" and images.dtype == torch.float32 and find_spec("numba") is not None
    lanes = LANES if fused else 192 if images.device.type == "cpu" else 1024
    filled = F.pad(images, (0, 0, 0, -len(images) % lanes)).reshape(-1, *image_shape)
    parts = filled.split(max(1, CHUNK // lanes) * lanes)
    columns = zip(*([kept.to(images) for kept in statistics(part)] for part in parts), strict=True)
    *maps, centre = (torch.cat(column).unflatten(0, (len(filled) // lanes, lanes)) for column in columns)
    return Bank(*(kept.permute(0, 2, 3, 1).contiguous() for kept in maps), centre, len(images), fused)


@torch.no_grad()
@plainly
def scores(x: Tensor, bank: Bank, *, margin: int = 0) -> Tensor:
    """Compare images x (n, d) with those of a bank -> (n, m), the mean over the map without `margin` border pixels."""
    checks.refuse_intensities(x, most=NOISY)
    blocks, height, width, lanes = bank.pixels.shape
    images = x.reshape(-1, height, width).to(bank.pixels)
    result = images.new_empty(len(images), blocks * lanes)
    # the general path holds the maps of all images at once: a processor's cache has room for those of one
    together = len(images) or 1 if bank.fused else 1 if images.device.type == "cpu" else 16
    for start in range(0, len(images), together):
        rows = slice(start, start + together)
        (_fused if bank.fused else _general)(images[rows], bank, margin, result[rows])
    return result[:, : len(bank)].clamp_(max=1)


def _fused(images: Tensor, bank: Bank, margin: int, result: Tensor) -> None:
    """Fill result (n, blocks * lanes) by the fused kernel."""
    from robexpl.metrics import _kernel  # late: numba takes longer to import than all the rest of the package

    pixels, mean, variance, centre = statistics(images)
    query = (pixels, mean - centre[:, None, None], mean, variance)
    _, height, width, lanes = bank.pixels.shape
    scratch = [(height, width * lanes), (width + 2 * RADIUS, lanes), (width, lanes), (width, lanes)]
    _kernel.fill(
        tuple(part.float().contiguous().numpy() for part in query),
        tuple(part.numpy() for part in (bank.pixels, bank.mean, bank.variance, bank.centre)),
        fold(height), fold(width), margin,
        tuple(TAPS.astype(np.float32)[: RADIUS + 1]), np.float32(C1), np.float32(C2),
        tuple(images.new_zeros(shape).numpy() for shape in scratch),  # torch aligns them to the cache's lines
        result.numpy(),
    )  # fmt: skip


def _general(images: Tensor, bank: Bank, margin: int, result: Tensor) -> None:
    """Fill result (n, blocks * lanes): x folded into the band matrix, then one batched product for each block."""
    n = len(images)
    blocks, height, width, lanes = bank.pixels.shape
    inner = slice(margin, height - margin), slice(margin, width - margin)
    rows, columns = band(height).to(images)[inner[0]], band(width).to(images)[inner[1]]
    h, w = len(rows), len(columns)
    pixels, mean, variance, centre = statistics(images)
    folded = torch.einsum("nrc,wc->rnwc", pixels.to(images), columns).reshape(height, n * w, width)
    inside = (mean - centre[:, None, None], mean, variance)
    shifted, mean, variance = (kept[:, *inner].permute(1, 0, 2)[..., None].to(images) for kept in inside)
    for block in range(blocks):
        other_mean, other_variance = (kept[block][inner][:, None] for kept in (bank.mean, bank.variance))
        filtered = torch.bmm(folded, bank.pixels[block])  # (height, n w, lanes)
        covariance = (rows @ filtered.view(height, -1)).view(h, n, w, lanes)
        covariance.sub_(shifted * (other_mean - bank.centre[block]))
        top = covariance.mul_(2).add_(C2).mul_((2 * mean * other_mean).add_(C1))
        bottom = (mean**2 + (other_mean**2 + C1)).mul_((variance + C2) + other_variance)
        result[:, block * lanes : (block + 1) * lanes] = top.div_(bottom).mean((0, 2))
