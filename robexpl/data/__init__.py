"""The datasets, as tensors: one file each, found by name, that defines `load(*, seed: int, sampling: str) -> Dataset`.

`names()` lists them, and `module(name)` returns the module of one or raises ValueError.
"""

from functools import partial

from robexpl import checks, registry
from robexpl.data._dataset import Dataset
from robexpl.files import DataError

__all__ = ["SAMPLINGS", "DataError", "Dataset", "load", "module", "names"]
SAMPLINGS = ("as_run", "corrected")
names = partial(registry.names, __name__)
module = partial(registry.module, __name__, what="dataset")


def load(name: str, *, seed: int = 0, sampling: str = "as_run") -> Dataset:
    """Load a dataset by name, with its rows drawn and split by `seed`.
    mnist          60,000 and 10,000 images, 784 pixels in [0, 1]; always the canonical split
    california     8 features; is the median house value of the district above the median of all districts?
    digits         scikit-learn's 8x8 digits in the place of mnist, pixels in [0, 1]; stratified split 80/20
    breast_cancer  scikit-learn's 30 features in the place of california, sampled in the same way
    `sampling` matters for tabular data only, see `_tables.as_run` and `_tables.corrected`. Raises ValueError for
    unknown names and DataError for missing or damaged files.
    >>> load("breast_cancer", sampling="corrected").x_test.shape
    torch.Size([72, 30])
    """
    dataset = module(name)
    checks.non_negative(seed=seed)
    return dataset.load(seed=int(seed), sampling=checks.one_of("sampling", sampling, SAMPLINGS))
