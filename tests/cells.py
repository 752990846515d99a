"""A cell of the plan that only writes a file, apart from the tests: every process that computes one imports this."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from robexpl import progress
from robexpl.files import write_atomic
from robexpl.study import places


@dataclass(frozen=True)
class Written:
    """A cell that writes a file: a stage of a network, which takes some seconds and may fail."""

    owner: str | None
    stage: str
    seconds: float = 0.0
    waits: bool = False
    fails: str = ""

    def __str__(self) -> str:
        return f"{self.stage} {self.owner}"

    def path(self) -> Path:
        return places.build_dir() / "cache" / self.stage / str(self.owner)

    def cost(self) -> float:
        return self.seconds

    def run(self) -> None:
        for _ in progress.bar(range(int(self.seconds * 10)), desc=str(self)):
            time.sleep(0.1)
        if self.fails:
            progress.warn(f"about {self}")
            raise ValueError(self.fails)
        write_atomic(self.path(), b"")
        with (places.build_dir() / "order").open("a") as file:
            file.write(f"{self} {os.getpid()}\n")
