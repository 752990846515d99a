"""Command lines whose every mistake is one line and a non-zero exit, and which a signal ends in one line."""

from __future__ import annotations

import argparse
import signal
from typing import Any, NoReturn


class Failure(Exception):
    """A run that ends with a message for the user and an exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM, the number of which it carries."""


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line, without its usage."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"FAILED {self.prog}: {message}; --help lists what is possible\n")


def whole(name: str, text: str | None, otherwise: int) -> int:
    """Return an option as a whole number of at least 1, or `otherwise` where it was not given."""
    if text is None:
        return otherwise
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise Failure(f"expected {name} as a whole number of at least 1, got {text!r}", 2)
    return int(text)


def heed_signals() -> None:
    """Let SIGINT and SIGTERM raise Stopped."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, _frame: Any) -> None:
    raise Stopped(number)
