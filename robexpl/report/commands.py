"""Command lines whose every mistake is one line and a non-zero exit."""

from __future__ import annotations

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line, without its usage."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"FAILED {self.prog}: {message}; --help lists what is possible\n")
