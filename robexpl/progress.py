"""Progress that is seen while work runs and leaves no trace in stored results."""

import atexit
import os
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm


@lru_cache(maxsize=1)
def _log(path: str | None) -> IO[str] | None:
    if not path:
        return None
    try:
        file = Path(path).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 (open for the life of the kernel)
    except (OSError, ValueError) as error:  # ValueError: a null byte
        print(f"warning: ROBEXPL_PROGRESS cannot be written: {path!r} ({error})", file=sys.stderr, flush=True)
        return None
    atexit.register(file.close)
    return file


def bar(iterable: Iterable[Any], *, desc: str = "") -> tqdm:
    """Return a progress bar: in the file that `ROBEXPL_PROGRESS` names, else on the terminal, else nowhere.
    >>> sum(bar(range(3), desc="adding"))
    3
    """
    if file := _log(os.environ.get("ROBEXPL_PROGRESS")):
        return tqdm(iterable, desc=desc, file=file, ascii=True, ncols=100, mininterval=1)
    return tqdm(iterable, desc=desc, file=sys.stderr, leave=False, disable=not sys.stderr.isatty())


SAID: set[str] = set()  # the warnings of this process, so that none is repeated that stood in its own output


def warn(line: str) -> None:
    """Say one line that starts with `warning:`; in a notebook's run it goes to the log, and the runner repeats it."""
    SAID.add(f"warning: {line}")
    print(f"warning: {line}", file=_log(os.environ.get("ROBEXPL_PROGRESS")) or sys.stderr, flush=True)
