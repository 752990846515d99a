"""Command lines whose every mistake is one line and a non-zero exit, and which a signal ends in one line."""

import argparse
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from robexpl import progress

OUTLET: list[Callable[[str], object]] = []  # where a process that has no terminal of its own passes on what is said


class Failure(Exception):
    """A run that ends with a message for the user and an exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM, the number of which it carries."""


class Parser(argparse.ArgumentParser):
    """An argument parser that knows no abbreviations and says what is wrong in one line, without its usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"FAILED {self.prog}: {message}; --help lists what is possible\n")


def say(line: str) -> None:
    """Say a line to the user: on the terminal, or where OUTLET leads; a warning once, however many logs hold it."""
    if line.startswith("warning: "):
        if line in progress.SAID:
            return
        progress.SAID.add(line)
    OUTLET[-1](line) if OUTLET else print(line, file=sys.stderr, flush=True)


def repeat_warnings(log: Path) -> None:
    """Say again the warnings that went to a log while nobody looked."""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("warning: "):
            say(line)


def first_line(text: object) -> str:
    """Return the first line of what an error says, nothing where it says nothing."""
    return next(iter(str(text).strip().splitlines()), "")


def whole(name: str, text: str | None, otherwise: int) -> int:
    """Return an option as a whole number from 1 to 9999, or `otherwise` where it was not given."""
    if text is None:
        return otherwise
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise Failure(f"expected {name} as a whole number of at least 1, such as 10, got {text!r}", 2)
    return int(text)


def heed_signals() -> None:
    """Let SIGINT and SIGTERM raise Stopped."""

    def stop(number: int, _frame: Any) -> None:
        raise Stopped(number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def guarded(name: str, call: Callable[[], int | None], kept: str = "nothing was changed") -> int:
    """Call something and return its exit code; what goes wrong is said in one line that names it."""
    heed_signals()
    try:
        return call() or 0
    except Failure as failure:
        line, code = str(failure), failure.code
    except (OSError, ValueError, SyntaxError, RuntimeError) as error:  # a DataError is a RuntimeError
        line, code = first_line(error) or type(error).__name__, 1
    except Stopped as stopped:
        say(f"STOPPED {name}: {kept}")
        return 128 + stopped.args[0]
    say(line if line.startswith("FAILED ") else f"FAILED {name}: {line}")
    return code
