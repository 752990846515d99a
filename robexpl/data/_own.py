"""Data of one's own: what arrays, tensors, tables and CSV files hold, as numbers and labels."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from robexpl import checks
from robexpl.seeds import numpy_generator


def array(values: Any, what: str, kinds: str) -> np.ndarray:
    """Return as an array what numpy, torch, pandas or lists hold, if it is of one of numpy's kinds of types."""
    checks.refuse_hollow(what, values)
    try:
        listed = object if isinstance(values, (list, tuple)) else None  # numpy makes texts of a list of 1 and "a"
        found = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values, dtype=listed)
        if found.dtype.kind in "OT" and len({type(value) for value in found.flat}) == 1:  # pandas' texts, for one
            found = np.array(found.tolist())
    except (TypeError, ValueError) as error:  # rows of several lengths
        raise ValueError(f"expected {what} as one array, got {type(values).__name__}: {error}") from None
    right, whole = found.dtype.kind in kinds, "" if "f" in kinds else "whole "
    checks.refuse_unless(right, f"expected {whole}numbers or texts in {what}, got {found.dtype}")
    return found


def numbers(values: Any, what: str, names: Sequence[str] = ()) -> np.ndarray:
    """Return rows (n, d) or images (n, height, width) in double precision; say which column holds something else."""
    found = array(values, what, "biufOU")
    if found.ndim > 3:  # images: one channel is none
        found = found.reshape(len(found), *(side for side in found.shape[1:] if side > 1))
    line = f"expected {what} of shape (n, d) or (n, height, width), got {found.shape}"
    checks.refuse_unless(found.ndim in (2, 3) and found.size > 0, line)
    for i, column in enumerate(found.reshape(len(found), -1).T):
        try:
            right = np.isfinite(column.astype(np.float64)).all()
        except (TypeError, ValueError):
            right = False
        name = repr(names[i]) if i < len(names) else i
        checks.refuse_unless(right, f"expected finite numbers in column {name} of {what}, got text, NaN or infinite")
    return found.astype(np.float64)


def labels(values: Any, what: str, n: int) -> np.ndarray:
    """Return labels (n,), whole numbers or texts."""
    found = array(values, what, "biuU")
    checks.refuse_unless(found.shape == (n,), f"expected {what} of shape ({n},), got {found.shape}")
    return found


def split(y: np.ndarray, share: float, seed: int) -> list[np.ndarray]:
    """Draw the rows for training and for testing: a share of each class y (n,), at least one row of it in each."""
    share, seed, least = checks.positive(test_share=share), checks.non_negative(seed=seed), int(np.bincount(y).min())
    line = f"expected test_share below 1 and two rows of each class, got {share} and a class of {least}"
    checks.refuse_unless(share < 1 and least > 1, line)
    rng = numpy_generator(seed, "data", "own")
    classes = [rng.permutation(np.flatnonzero(y == label)) for label in np.unique(y)]
    parts = [np.split(rows, [min(max(round((1 - share) * len(rows)), 1), len(rows) - 1)]) for rows in classes]
    return [rng.permutation(np.concatenate(part)) for part in zip(*parts, strict=True)]


def read(path: str | Path, target: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read a CSV file with a header: texts of its columns but `target` (n, d), labels (n,), names of these columns."""
    checks.refuse_type("path", path, (str, Path))
    checks.refuse_unless(Path(path).is_file(), f"expected a CSV file, found none at {path}")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        how = {"delimiter": max(",;\t", key=text.partition("\n")[0].count), "skipinitialspace": True, "strict": True}
        names, *rows = filter(any, csv.reader(StringIO(text, newline=""), **how))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"expected a CSV file with a header, in UTF-8, got another at {path}: {error}") from None
    once = target in names and 1 < len(names) == len(set(names))
    checks.refuse_unless(once, f"expected column {target!r} and others, each once, in {path}, got {', '.join(names)!r}")
    wrong = [i for i, row in enumerate(rows, 1) if len(row) != len(names) or not all(row)][:9]
    line = f"expected {len(names)} cells in every row of {path}, none empty, got others in rows {wrong}"
    checks.refuse_unless(not wrong, line)
    at, cells = names.index(target), np.array(rows, dtype=str).reshape(-1, len(names))
    try:
        y = cells[:, at].astype(np.int64)  # so that 10 comes after 9
    except (ValueError, OverflowError):
        y = cells[:, at]
    return np.delete(cells, at, 1), y, names[:at] + names[at + 1 :]
