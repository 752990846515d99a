"""Breast Cancer: scikit-learn's 569 rows of 30 features, in the place of California Housing."""

from sklearn import datasets as sk

from robexpl.data import _tables
from robexpl.data._dataset import Dataset

IMAGE_SHAPE = None


def load(*, seed: int, sampling: str) -> Dataset:
    """Load 180 rows of each class."""
    raw = sk.load_breast_cancer()
    names = [tuple(map(str, names)) for names in (raw.feature_names, raw.target_names)]
    how = {"per_class": 180, "seed": seed, "sampling": sampling}
    return _tables.dataset("breast_cancer", "Breast Cancer", raw.data, raw.target, *names, **how)
