"""Command lines whose every mistake is one line and a non-zero exit, and which a signal ends in one line."""

from __future__ import annotations

import argparse
import json
import math
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

_OUTLET: list[Callable[[str], object]] = []


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
    """Say a line to the user: on the terminal, or where `redirect` leads."""
    _OUTLET[-1](line) if _OUTLET else print(line, file=sys.stderr, flush=True)


def redirect(outlet: Callable[[str], object]) -> None:
    """Pass on what is said from now on, as a process does that has no terminal of its own."""
    _OUTLET.append(outlet)


def repeat_warnings(log: Path) -> None:
    """Say again the warnings that went to a log while nobody looked."""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("warning: "):
            say(line)


def whole(name: str, text: str | None, otherwise: int) -> int:
    """Return an option as a whole number from 1 to 9999, or `otherwise` where it was not given.

    >>> whole("seeds", "10", 0)
    10
    """
    if text is None:
        return otherwise
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise Failure(f"expected {name} as a whole number of at least 1, such as 10, got {text!r}", 2)
    return int(text)


def given(texts: list[str], known: dict[str, Any]) -> dict[str, Any]:
    """Return KEY=VALUE texts as names and values, each of the type of the value that is known of that name.

    Whole numbers have digits only; a name that is not known, or known without a value, takes JSON, else the text.

    >>> given(["dataset=digits", "seeds=3"], {"dataset": "mnist", "seeds": 0})
    {'dataset': 'digits', 'seeds': 3}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise Failure(f"expected a parameter as KEY=VALUE, got {text!r}", 2)
        if name in found:
            raise Failure(f"expected each parameter once, got {name!r} twice", 2)
        found[name] = value if isinstance(known.get(name), str) else _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)  # no 010, no 1_0, no 0x10: these stay text, which no number takes
    except ValueError:
        return text


def fitting(name: str, value: Any, default: Any) -> Any:
    """Return a parameter's value; raise ValueError where it is not of its default's type or not finite.

    >>> fitting("seeds", 3, 0)
    3
    """
    if isinstance(default, int) and not isinstance(default, bool) and type(value) is not int:
        raise ValueError(f"expected {name} as a whole number, got {value!r}")
    if isinstance(default, float) and type(value) in (int, float):
        value = float(value)
    elif default is not None and type(value) is not type(default):
        raise ValueError(f"expected {name} as {type(default).__name__}, such as {default!r}, got {value!r}")
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError):
        raise ValueError(f"expected {name} as finite numbers or text, got {value!r}") from None
    return value


def heed_signals() -> None:
    """Let SIGINT and SIGTERM raise Stopped."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, _frame: Any) -> None:
    raise Stopped(number)


def guarded(name: str, call: Callable[[], int | None], kept: str = "nothing was changed") -> int:
    """Call something and return its exit code; what goes wrong is said in one line that names it."""
    heed_signals()
    try:
        return call() or 0
    except Failure as failure:
        text = str(failure)
        say(text if text.startswith("FAILED ") else f"FAILED {name}: {text}")
        return failure.code
    except (OSError, ValueError, SyntaxError, RuntimeError) as error:  # a DataError is a RuntimeError
        lines = str(error).strip().splitlines() or [type(error).__name__]
        say(f"FAILED {name}: {lines[0]}")
        return 1
    except Stopped as stopped:
        say(f"STOPPED {name}: {kept}")
        return 128 + stopped.args[0]


def number(text: str) -> float:
    """Return an option as a finite number of at least 0.

    >>> number("0.02")
    0.02
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return value
