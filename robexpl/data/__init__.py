"""The datasets, as tensors: one file each, found by name, that defines `load(*, seed: int, sampling: str) -> Dataset`.

`names()` lists them, and `module(name)` returns the module of one or raises ValueError.
"""

import re
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

from robexpl import checks, registry
from robexpl.data._dataset import Dataset
from robexpl.files import DataError

__all__ = ["SAMPLINGS", "DataError", "Dataset", "load", "module", "names"]
SAMPLINGS = ("as_run", "corrected")
names = partial(registry.names, __name__)


def module(name: str) -> ModuleType | SimpleNamespace:
    """Return the module of a dataset, or what stands for one where the name is "a.csv:column", a table of one's own.
    >>> module("digits").IMAGE_SHAPE
    (8, 8)
    """
    if isinstance(name, str) and (own := re.fullmatch(r"(.+?\.csv):(.+)", name)):
        return SimpleNamespace(IMAGE_SHAPE=None, TABLE=Path(own[1]), load=partial(_table, *own.groups()))
    return registry.module(__name__, name, "dataset")


def _table(path: str, target: str, *, seed: int, sampling: str) -> Dataset:
    """Load a table of one's own, which is sampled in one way alone."""
    return Dataset.from_csv(path, target=target, seed=seed)


def load(name: str, *, seed: int = 0, sampling: str = "as_run") -> Dataset:
    """Load a dataset by name, with its rows drawn and split by `seed`.
    mnist          60,000 and 10,000 images, 784 pixels in [0, 1]; always the canonical split
    california     8 features; is the median house value of the district above the median of all districts?
    digits         scikit-learn's 8x8 digits in the place of mnist, pixels in [0, 1]; stratified split 80/20
    breast_cancer  scikit-learn's 30 features in the place of california, sampled in the same way
    a.csv:column   a table of one's own, as `Dataset.from_csv` reads it
    `sampling` matters for tabular data only, see `_tables.as_run` and `_tables.corrected`. Raises ValueError for
    unknown names and DataError for missing or damaged files.
    >>> load("breast_cancer", sampling="corrected").x_test.shape
    torch.Size([72, 30])
    """
    dataset, seed = module(name), checks.non_negative(seed=seed)
    return dataset.load(seed=seed, sampling=checks.one_of("sampling", sampling, SAMPLINGS)).checked()
