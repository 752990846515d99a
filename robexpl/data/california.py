"""California Housing: 20,640 districts [Pace & Barry 1997]; is the median value above that of all districts?"""

import io
import tempfile
import warnings
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from sklearn import datasets as sk

from robexpl import files
from robexpl.data import _tables
from robexpl.data._dataset import Dataset
from robexpl.files import DataError

IMAGE_SHAPE = None
FILE = "scikit_learn/cal_housing_py3.pkz"
SHA256 = "740b911884b5405599c461cf5c9a620aad36c63a0d32494567de2ebee803a42f"
CONTENT = "f8ce03213e1c375e51c57d02cb41558c30b643325347f1cc0b26ce713ce3a0b7"  # the numbers, however stored
FEATURES = ("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude")
CLASSES = ("below the median", "above the median")


def load(*, seed: int, sampling: str) -> Dataset:
    """Load 2,500 rows of each class."""
    how = {"per_class": 2500, "seed": seed, "sampling": sampling}
    return _tables.dataset("california", "California Housing", *read(), FEATURES, CLASSES, **how)


@lru_cache(maxsize=1)
def read() -> tuple[np.ndarray, np.ndarray]:
    """Read all rows (20630, 8) that the thesis' experiment drew from, and their classes (20630,), 1 above the median.
    The 8 rows that tie at it belong to neither class; 10,317 rows lie above it, 10,315 below. The two nearest above (in
    file order) are left out too, which leaves 10,315 rows per class. Which ten rows the thesis' copy lacked is unknown.
    """
    x, value = _arrays()
    middle = np.median(value)
    above, below = np.flatnonzero(value > middle), np.flatnonzero(value < middle)
    above = above[np.argsort(value[above], kind="stable")][len(above) - len(below) :]
    kept = np.sort(np.concatenate([above, below]))
    return x[kept], value[kept] > middle


def _arrays() -> tuple[np.ndarray, np.ndarray]:
    """Read features (20640, 8) and values (20640,): scikit-learn's file, else our cache, else its download."""
    if stored := files.find(FILE, SHA256):  # a pickle: the only one ever read, and only once its checksum is right
        arrays = sk.fetch_california_housing(data_home=stored.parent, download_if_missing=False, return_X_y=True)
        return _checked(stored, *arrays)
    ours = files.cache_folder() / "california.npz"
    if ours.is_file():
        try:
            with ours.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                return _checked(ours, file["x"], file["value"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{ours} is truncated or altered ({type(error).__name__}); remove it") from None
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():  # no pickle of unknown bytes is kept
        warnings.simplefilter("ignore", UserWarning)  # of each retry; what counts is the error after the last
        try:
            arrays = files.in_time(sk.fetch_california_housing, data_home=folder, return_X_y=True)
        except (OSError, ValueError) as error:
            raise files.missing(FILE, [f"scikit-learn's download ({files.reason(error)})"]) from None
    x, value = _checked("scikit-learn's download", *arrays)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=x, value=value)
    files.write_atomic(ours, buffer.getvalue())
    return x, value


def _checked(where: Path | str, x: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if (got := files.sha256(x.astype("<f8").tobytes() + value.astype("<f8").tobytes())) != CONTENT:
        raise DataError(f"{where} holds other numbers: expected California Housing, {CONTENT[:12]}, got {got[:12]}")
    return x, value
