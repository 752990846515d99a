"""What a benchmark runs on, and how much memory a run takes there."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robexpl.report import peers


def memory(run: Callable[[], Any]) -> float | None:
    """Return by how many MiB a run raises the peak of the process' memory, or None where Linux does not tell."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what is free but kept would hide what a run takes
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = _status("VmRSS")
        run()
        return (_status("VmHWM") - before) / 1024
    except (OSError, AttributeError, StopIteration):
        return None


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def machine() -> dict[str, Any]:
    """Name what the times were measured on."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = {name: peers.installed(name) for name in ("torch", "numpy", "numba", *peers.LIBRARIES)}
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}
