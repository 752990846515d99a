"""MNIST: 70,000 handwritten digits, 28x28 [LeCun 1998]."""

import gzip
from functools import lru_cache

import numpy as np

from robexpl.data import _dataset
from robexpl.files import fetch

IMAGE_SHAPE = (28, 28)
FIXED_SPLIT = True  # the same rows and split for every seed
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
FILES = {  # file: sha256, shape
    "train-images-idx3-ubyte.gz": ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", (60000, 28, 28)),
    "train-labels-idx1-ubyte.gz": ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", (60000,)),
    "t10k-images-idx3-ubyte.gz": ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", (10000, 28, 28)),
    "t10k-labels-idx1-ubyte.gz": ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", (10000,)),
}


def load(*, seed: int, sampling: str) -> _dataset.Dataset:
    """Load MNIST with its canonical split; every call makes new tensors from the bytes that are kept."""
    return _dataset.digits("mnist", "MNIST", 255, _bytes())


@lru_cache(maxsize=1)
def _bytes() -> list[np.ndarray]:
    """Read the four idx files, as read-only arrays; checksums vouch for what stands before the bytes of a shape."""
    parts = []
    for file, (sha256, shape) in FILES.items():
        raw = gzip.decompress(fetch(f"mnist/{file}", sha256, [mirror + file for mirror in MIRRORS]).read_bytes())
        parts.append(np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape))
    return parts
