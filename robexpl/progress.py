"""Progress that is seen while work runs and leaves no trace in stored results."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm


@lru_cache(maxsize=1)
def _log(path: str) -> IO[str]:
    file = Path(path).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 (open for the life of the kernel)
    atexit.register(file.close)
    return file


def bar(iterable: Iterable[Any] | None = None, *, total: int | None = None, desc: str = "") -> tqdm:
    """Return a progress bar: in the file that `ROBEXPL_PROGRESS` names, else on the terminal, else nowhere."""
    if path := os.environ.get("ROBEXPL_PROGRESS"):
        return tqdm(iterable, total=total, desc=desc, file=_log(path), ascii=True, ncols=100, mininterval=1)
    return tqdm(iterable, total=total, desc=desc, file=sys.stderr, leave=False, disable=not sys.stderr.isatty())


def warn(line: str) -> None:
    """Say one line that starts with `warning:`; in a notebook's run it goes to the log, and the runner repeats it."""
    path = os.environ.get("ROBEXPL_PROGRESS")
    print(f"warning: {line}", file=_log(path) if path else sys.stderr, flush=True)
