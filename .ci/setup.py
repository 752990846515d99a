"""Set up a virtual environment from environment.yml and constraints.txt; needs nothing but Python itself.

    python3 .ci/setup.py FOLDER

torch goes first and alone, with the index of CPU builds beside the usual ones: on Linux the plain package index would
bring the CUDA build, several gigabytes that nothing here uses. If that is what pip would do, this stops and says so.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA = ("nvidia-", "cuda-", "triton", "pytorch-triton")
VERSIONS = ((3, 11), (3, 13))


def requirements() -> list[str]:
    """Return the packages in the pip part of environment.yml."""
    lines = (ROOT / "environment.yml").read_text(encoding="utf-8").partition("- pip:\n")[2].splitlines()
    entries = [line.partition("#")[0].strip().removeprefix("- ") for line in lines]
    return [entry for entry in entries if entry and not entry.startswith("--")]


def stop(message: str) -> None:
    """End with one line."""
    sys.exit(f"set-up: {message}")


def pip(python: Path, *arguments: str) -> None:
    """Run pip in the environment and stop where it fails."""
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *arguments]
    if subprocess.run(command, cwd=ROOT).returncode:
        stop("pip failed, see above; run the same command again to go on from here")


def check_torch(python: Path, options: list[str]) -> None:
    """Stop unless what pip would install for torch is a CPU build."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        pip(python, "--dry-run", "--report", str(report), *options)
        planned = [entry["metadata"]["name"].lower() for entry in json.loads(report.read_text())["install"]]
    cuda = [name for name in planned if name.startswith(CUDA)]
    if cuda and not os.environ.get("ALLOW_CUDA"):
        stop(
            f"pip would bring torch's CUDA build ({cuda[0]} and {len(cuda) - 1} more), as {CPU_INDEX} did not answer; "
            "set PIP_FIND_LINKS to a folder with the CPU wheel, or ALLOW_CUDA=1 to take it"
        )


def main(folder: Path) -> None:
    """Create or complete the environment."""
    low, high = VERSIONS
    if not low <= sys.version_info[:2] <= high:
        known = f"{low[0]}.{low[1]} to {high[0]}.{high[1]}"
        stop(f"expected Python {known}, got {sys.version.split()[0]}; name another with make PYTHON=...")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:  # two makes at once: the second finds everything installed
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(f"set-up {folder.name}: once, some minutes", file=sys.stderr, flush=True)
        python = folder / "bin" / "python"
        if subprocess.run([sys.executable, "-m", "venv", str(folder)]).returncode:
            stop("python3 -m venv failed, see above; on Debian: apt install python3-venv")
        torch = [*(entry for entry in requirements() if entry.startswith("torch")), "--constraint", "constraints.txt"]
        torch += ["--extra-index-url", CPU_INDEX, "--retries", "0", "--timeout", "20"]
        check_torch(python, torch)
        pip(python, *torch)
        pip(python, *requirements(), "--constraint", "constraints.txt")
        pip(python, "--no-deps", "--no-build-isolation", "--editable", ".")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
