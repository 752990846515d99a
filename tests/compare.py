"""Compare computed results with stored ones: words, labels and integers exactly, other numbers within a tolerance.

`python tests/compare.py STORED COMPUTED` compares two folders of notebooks and tables, `python tests/compare.py
--anew`, which `make verify` runs, what is stored of the full study with what the present code makes.
A tolerance t allows two numbers a difference of t, or of t times the larger one. In a table, an estimate with an
interval may differ by a share of the interval's half-width besides: chaotic searches agree as closely as that.
"""

import csv
import json
import math
import re
import struct
import sys
import tempfile
from argparse import ArgumentTypeError
from base64 import b64decode
from collections.abc import Iterable
from html.parser import HTMLParser
from itertools import repeat
from pathlib import Path
from typing import Any

from robexpl.pipeline.commands import Failure, Parser, guarded, whole

RTOL = 1e-6
GOLDEN = 0.1  # tolerance for the small notebooks, where a cell has no tag such as `tol-0.5`; see test_tables
# `make test` executes each template for one dataset, that with more cells of its own; for the other `make test-slow`.
LATER = {
    "anchors-breast_cancer", "controls-breast_cancer", "measures-digits", "models-digits", "robustness-digits",
    "rq1-breast_cancer", "rq2-breast_cancer", "sensitivity-digits",
}  # fmt: skip
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?!\w|\.\d)(\s?%)?")


def close(a: float, b: float, tolerance: float, absolute: float = 0.0) -> bool:
    """Tell whether two numbers agree."""
    return math.isclose(a, b, abs_tol=max(tolerance, absolute), rel_tol=max(tolerance, RTOL))


def same_text(stored: str, computed: str, tolerance: float = 0.0) -> bool:
    """Tell whether two texts agree in words exactly and in numbers within the tolerance; 45 % is 0.45."""
    stored, computed = (re.sub(r" at 0x[0-9a-fA-F]{6,}", "", text) for text in (stored, computed))
    if " ".join(NUMBER.sub(" # ", stored).split()) != " ".join(NUMBER.sub(" # ", computed).split()):
        return False
    pairs = zip(NUMBER.finditer(stored), NUMBER.finditer(computed), strict=True)
    return all(a[0] == b[0] or close(_value(a), _value(b), tolerance) for a, b in pairs)


def _value(found: re.Match[str]) -> float:
    return float(found[0].rstrip("% \u00a0")) / (100 if found[1] else 1)


class Html(HTMLParser):
    """What a piece of HTML shows: `labels` at the heads of rows and columns, other `words`, the `sizes` of pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.head, self.labels, self.words, self.sizes = False, [], [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        """Note where a head starts, and a picture with the words that stand for it."""
        self.head = tag == "th"
        if tag == "img":
            values = dict(attrs)
            self.words.append(values.get("alt") or "")
            self.sizes.append(png_size(values.get("src", "").partition("base64,")[2]))

    def handle_endtag(self, tag: str) -> None:
        """Note where a head ends."""
        self.head = False

    def handle_data(self, data: str) -> None:
        """Keep the words."""
        (self.labels if self.head else self.words).append(data)


def png_size(text: str) -> tuple[int, int]:
    """Return the width and height of a PNG in base64; (0, 0) where it is none."""
    head = b64decode(text[:32])
    return struct.unpack(">II", head[16:24]) if len(head) == 24 else (0, 0)


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
            kinds = {kind: "".join(content) for kind, content in sorted(output.get("data", {}).items())}
            if len(kinds) > 1:  # what stands beside a table or a picture says the same, or nothing
                kinds.pop("text/plain", None)
            parts += kinds.items()
    return [*sorted(streams.items()), *parts]


def output_differences(
    stored: Iterable[Any], computed: Iterable[Any], tags: Iterable[str] = (), tolerance: float = GOLDEN
) -> list[str]:
    """Return how the outputs of a cell differ, one line each, by the tolerance its tags state (else the given one).

    Of pictures only the kind and roughly the size count: the tables that they draw are compared. A cell tagged `loose`
    shows rows in an order that rounding can change: of it the kinds of outputs count.
    """
    tags = list(tags)
    tolerance = next((float(tag.removeprefix("tol-")) for tag in tags if tag.startswith("tol-")), tolerance)
    before, after = shown(stored), shown(computed)
    kinds = [kind for kind, _ in before], [kind for kind, _ in after]
    if kinds[0] != kinds[1]:
        return [f"expected outputs {kinds[0]}, got {kinds[1]}"]
    found = []
    for (kind, a), (_, b) in () if "loose" in tags else zip(before, after, strict=True):
        sizes = [[png_size(text)] if kind == "image/png" else [] for text in (a, b)]
        if kind == "text/html":
            old, new = Html(a), Html(b)
            a, b, sizes = " ".join(old.words), " ".join(new.words), [old.sizes, new.sizes]
            if len(old.labels) != len(new.labels) or not all(
                map(_same_label, old.labels, new.labels, repeat(tolerance))
            ):
                found.append(f"expected rows and columns {old.labels}, got {new.labels}")
        if len(sizes[0]) != len(sizes[1]) or not all(map(_alike, *sizes)):
            found.append(f"expected pictures of {sizes[0]}, got {sizes[1]}")
        if kind != "image/png" and not same_text(a, b, tolerance):
            found.append(f"{kind} beyond tolerance {tolerance:g}:\n--- stored\n{a}\n--- computed\n{b}")
    return found


def _same_label(stored: str, computed: str, tolerance: float) -> bool:
    """Tell whether two labels agree: words and whole numbers exactly, other numbers within the tolerance."""
    both = "." in stored and "." in computed
    return stored == computed or (both and same_text(stored, computed, tolerance))


def _alike(stored: tuple[int, int], computed: tuple[int, int]) -> bool:
    """Tell whether two pictures have about the same size: the words at an axis may take a little more room."""
    return all(math.isclose(a, b, rel_tol=0.1) for a, b in zip(stored, computed, strict=True))


def table_differences(stored: str, computed: str, tolerance: float = 0.0, share: float = 0.25) -> list[str]:
    """Return how two CSV tables differ, one line each; columns are compared by their names."""
    tables = [list(csv.DictReader(text.splitlines())) for text in (stored, computed)]
    columns = [list(csv.DictReader(text.splitlines()).fieldnames or []) for text in (stored, computed)]
    if sorted(columns[0]) != sorted(columns[1]):
        return [f"expected columns {','.join(columns[0])}, got {','.join(columns[1])}"]
    if len(tables[0]) != len(tables[1]):
        return [f"expected {len(tables[0])} rows, got {len(tables[1])}"]
    real = {c for c in columns[0] if any(_real(row[c]) for table in tables for row in table)}
    found = []
    for line, (old, new) in enumerate(zip(*tables, strict=True), 2):
        for column in columns[0]:
            a, b = old[column], new[column]
            if a != b and not (
                column in real and _number(a) and _number(b)
                and close(float(a), float(b), tolerance, share * _half_width(old, column))
            ):  # fmt: skip
                found.append(f"line {line}, {column}: {a or 'nothing'} -> {b or 'nothing'}")
    return found


def _half_width(row: dict[str, str], column: str) -> float:
    """Return half the width of a column's interval: that of `mean`, `low`, `high`, or of `x`, `x_low`, `x_high`."""
    stem = re.sub(r"(^|_)(low|high)$", "", column)
    low, high = (row.get(f"{stem}_{end}", row.get(end, "") if stem in ("", "mean") else "") for end in ("low", "high"))
    return (float(high) - float(low)) / 2 if _number(low) and _number(high) else 0.0


def _number(text: str) -> bool:
    return bool(text and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text))


def _real(text: str) -> bool:
    return _number(text) and any(mark in text for mark in ".eE")


def file_differences(stored: Path, computed: Path, tolerance: float, share: float) -> list[str]:
    """Return how two notebooks or tables differ beyond the tolerance; other files are not looked into."""
    if stored.read_bytes() == computed.read_bytes() or stored.suffix not in (".ipynb", ".csv"):
        return []
    texts = [path.read_text(encoding="utf-8") for path in (stored, computed)]
    if stored.suffix == ".csv":
        return table_differences(*texts, tolerance, share)
    try:
        code = [[cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"] for text in texts]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"expected two notebooks, got {stored} and {computed}") from None
    if len(code[0]) != len(code[1]):
        return [f"expected {len(code[0])} code cells, got {len(code[1])}"]
    return [
        f"cell [{old['execution_count']}]: {line}"
        for old, new in zip(*code, strict=True)
        for line in output_differences(old["outputs"], new["outputs"], old["metadata"].get("tags", []), tolerance)
    ]


def folders(first: Path, second: Path, tolerance: float = 0.0, share: float = 0.25) -> int:
    """Compare two folders, file by file; return 1 where a file is missing or differs beyond the tolerance."""
    for folder in (first, second):
        if not folder.is_dir():
            raise Failure(f"expected a folder of results, got {folder}", 2)
    stored, computed = (
        {
            path.name: path
            for path in folder.glob("*.*")
            if path.suffix in (".ipynb", ".csv", ".svg") and not path.name.startswith("bench")  # measured, not computed
        }
        for folder in (first, second)
    )
    lines = [f"{name}: not computed" for name in sorted(stored.keys() - computed.keys())]
    lines += [f"{name}: not stored" for name in sorted(computed.keys() - stored.keys())]
    both = sorted(stored.keys() & computed.keys())
    for name in both:
        lines += [f"{name}: {line}" for line in file_differences(stored[name], computed[name], tolerance, share)]
    identical = sum(stored[name].read_bytes() == computed[name].read_bytes() for name in both)
    print("\n".join([*lines, f"{first}: {identical} of {len(stored)} files identical, {len(lines)} differences"]))
    return 1 if lines or not stored else 0


def number(text: str) -> float:
    """Return an option as a finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return value


def verify(jobs: str | None, tolerance: float, share: float) -> int:
    """Compute every full result anew from an empty cache and compare with what is stored."""
    from robexpl.pipeline import report, workers

    processes, stored = whole("jobs", jobs, workers.cores()), report.target("full")
    with tempfile.TemporaryDirectory(prefix="robexpl-") as folder:
        where = report.anew("full", processes, folder)
        pairs = (stored.notebooks, where.notebooks), (stored.generated, where.generated)
        return max([folders(*pair, tolerance, share) for pair in pairs])


def main(argv: list[str] | None = None) -> int:
    """Compare from the command line; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    name = "verify" if "--anew" in argv else "compare"
    parser = Parser(prog=name, description="Compare two folders of notebooks or results.")
    if name == "verify":
        parser.add_argument("--anew", action="store_true", help="compute every full result, from an empty cache")
        parser.add_argument("--jobs", metavar="N", help="processes at once, instead of one per core")
    else:
        parser.add_argument("stored", type=Path)
        parser.add_argument("computed", type=Path)
    parser.add_argument("--tolerance", type=number, default=0.0, help="of numbers, absolute or relative")
    parser.add_argument("--share", type=number, default=0.25, help="of an interval's half-width, for estimates")
    options = parser.parse_args(argv)
    limits = options.tolerance, options.share
    if name == "verify":
        return guarded(name, lambda: verify(options.jobs, *limits))
    return guarded(name, lambda: folders(options.stored, options.computed, *limits))


if __name__ == "__main__":
    sys.exit(main())
