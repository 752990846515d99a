"""Compare computed results with stored ones: numbers within a tolerance, integers and words exactly.

    python -m robexpl.report.compare STORED COMPUTED [--tolerance T]

compares two folders of executed notebooks or of results, file by file.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robexpl.report.commands import Parser
from robexpl.report.notebook import scrub

RTOL = 1e-6
TIMES = {"bench.json", "bench.svg"}  # measured on one machine, never computed again by `make verify`
IMAGE_RMS = 5.0  # of 255 levels: fonts may be drawn a little differently, curves may not move
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?!\w|\.\d)")


def tolerance(tags: Iterable[str], default: float = 0.0) -> float:
    """Return the absolute tolerance that a cell's tag such as `tol-0.02` states."""
    return next((float(tag.removeprefix("tol-")) for tag in tags if tag.startswith("tol-")), default)


def same_text(stored: str, computed: str, atol: float = 0.0, rtol: float = RTOL) -> bool:
    """Tell whether two texts agree in words and integers exactly, in other numbers within the tolerance."""
    stored, computed = scrub(stored, {}), scrub(computed, {})
    if stored == computed:
        return True
    if " ".join(NUMBER.sub(" # ", stored).split()) != " ".join(NUMBER.sub(" # ", computed).split()):
        return False
    pairs = zip(NUMBER.findall(stored), NUMBER.findall(computed), strict=True)
    return all(
        a == b or (_real(a + b) and math.isclose(float(a), float(b), abs_tol=atol, rel_tol=rtol)) for a, b in pairs
    )


def _real(digits: str) -> bool:
    return any(mark in digits for mark in ".eE")


def image_rms(stored: str, computed: str) -> float:
    """Return the root mean square difference of two PNGs in base64, infinite where their sizes differ."""
    import numpy as np
    from PIL import Image

    a, b = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"), dtype=float)
        for text in (stored, computed)
    )
    return float(np.sqrt(((a - b) ** 2).mean())) if a.shape == b.shape else math.inf


def shown(outputs: Iterable[Any]) -> list[tuple[str, str]]:
    """Return what a cell shows as (kind, content), each stream in one piece."""
    streams: dict[str, str] = {}
    parts: list[tuple[str, str]] = []
    for output in outputs:
        if output["output_type"] == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + "".join(output["text"])
        elif output["output_type"] == "error":
            parts.append(("error", f"{output['ename']}: {output['evalue']}"))
        else:
            parts += [(kind, "".join(data)) for kind, data in sorted(output.get("data", {}).items())]
    return [*sorted(streams.items()), *parts]


def output_differences(
    stored: Iterable[Any], computed: Iterable[Any], tags: Iterable[str], atol: float = 0.0
) -> list[str]:
    """Return how the outputs of a cell differ, one line each, by the tolerance its tags state (`atol` without one)."""
    tags = list(tags)
    before, after = shown(stored), shown(computed)
    kinds = [kind for kind, _ in before], [kind for kind, _ in after]
    if kinds[0] != kinds[1]:
        return [f"expected outputs {kinds[0]}, got {kinds[1]}"]
    atol = tolerance(tags, atol)
    found = []
    for (kind, a), (_, b) in zip(before, after, strict=True):
        if kind == "image/png":
            if "check-image" in tags and (rms := image_rms(a, b)) > IMAGE_RMS:
                found.append(f"image differs: RMS {rms:.1f} of 255, at most {IMAGE_RMS:g}")
        elif not same_text(a, b, atol):
            found.append(f"{kind} beyond tolerance {atol or RTOL:g}:\n--- stored\n{a}\n--- computed\n{b}")
    return found


def value_differences(stored: Any, computed: Any, atol: float = 0.0, where: str = "") -> list[str]:
    """Return how two JSON values differ, one line each."""
    if isinstance(stored, dict) and isinstance(computed, dict) and stored.keys() == computed.keys():
        return [
            line for key in stored for line in value_differences(stored[key], computed[key], atol, f"{where}.{key}")
        ]
    if isinstance(stored, list) and isinstance(computed, list) and len(stored) == len(computed):
        pairs = enumerate(zip(stored, computed, strict=True))
        return [line for i, (a, b) in pairs for line in value_differences(a, b, atol, f"{where}[{i}]")]
    if isinstance(stored, float) and isinstance(computed, (float, int)):
        return (
            [] if math.isclose(stored, computed, abs_tol=atol, rel_tol=RTOL) else [f"{where}: {stored} -> {computed}"]
        )
    if isinstance(stored, str) and isinstance(computed, str):
        return [] if same_text(stored, computed, atol) else [f"{where}: {stored!r} -> {computed!r}"]
    return [] if stored == computed else [f"{where}: {str(stored)[:80]} -> {str(computed)[:80]}"]


def file_differences(stored: Path, computed: Path, atol: float = 0.0) -> list[str]:
    """Return how two notebooks or JSON files differ beyond the tolerance; other files are not looked into."""
    if stored.read_bytes() == computed.read_bytes() or stored.suffix not in (".ipynb", ".json"):
        return []
    a, b = (_json(path) for path in (stored, computed))
    if stored.suffix == ".json":
        return value_differences(a, b, atol)
    cells = [[cell for cell in notebook["cells"] if cell["cell_type"] == "code"] for notebook in (a, b)]
    if len(cells[0]) != len(cells[1]):
        return [f"expected {len(cells[0])} code cells, got {len(cells[1])}"]
    return [
        f"cell [{old['execution_count']}]: {line}"
        for old, new in zip(*cells, strict=True)
        for line in output_differences(old["outputs"], new["outputs"], old["metadata"].get("tags", []), atol)
    ]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None


def main(argv: list[str] | None = None) -> int:
    """Compare two folders; return 1 where a file is missing or differs beyond the tolerance."""
    parser = Parser(prog="python -m robexpl.report.compare", description="Compare stored and computed results.")
    parser.add_argument("stored", type=Path)
    parser.add_argument("computed", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.0, help="absolute, where a cell states none")
    arguments = parser.parse_args(argv)
    try:
        return _compare(arguments.stored, arguments.computed, arguments.tolerance)
    except (OSError, ValueError) as error:
        print(f"FAILED compare: {error}", file=sys.stderr)
        return 2


def _compare(first: Path, second: Path, atol: float) -> int:
    if not 0 <= atol < math.inf:
        raise ValueError(f"expected a tolerance of at least 0, got {atol}")
    for folder in (first, second):
        if not folder.is_dir():
            raise ValueError(f"expected a folder of results, got {folder}")
    stored, computed = (
        {
            path.name: path
            for path in folder.glob("*.*")
            if path.suffix in (".ipynb", ".json", ".svg") and path.name not in TIMES
        }
        for folder in (first, second)
    )
    lines = [f"{name}: not computed" for name in sorted(stored.keys() - computed.keys())]
    lines += [f"{name}: not stored" for name in sorted(computed.keys() - stored.keys())]
    both = sorted(stored.keys() & computed.keys())
    for name in both:
        lines += [f"{name}: {line}" for line in file_differences(stored[name], computed[name], atol)]
    identical = sum(stored[name].read_bytes() == computed[name].read_bytes() for name in both)
    print("\n".join([*lines, f"{first}: {identical} of {len(stored)} files identical, {len(lines)} differences"]))
    return 1 if lines or not stored else 0


if __name__ == "__main__":
    sys.exit(main())
