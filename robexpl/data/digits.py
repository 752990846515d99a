"""Digits: scikit-learn's 1,797 images of 8x8 pixels, in the place of MNIST."""

from sklearn import datasets as sk
from sklearn.model_selection import train_test_split

from robexpl.data import _dataset
from robexpl.seeds import numpy_generator

IMAGE_SHAPE = (8, 8)


def load(*, seed: int, sampling: str) -> _dataset.Dataset:
    """Load the digits, split 80/20 by class."""
    digits, state = sk.load_digits(), int(numpy_generator(seed, "data", "digits").integers(2**31))
    x, y = digits.images, digits.target
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=state)
    return _dataset.digits("digits", "Digits", 16, [x_train, y_train, x_test, y_test])
