"""The sentences of the thesis as hashes: `python tests/quotations.py thesis.txt` writes paper/thesis-sentences.csv.

The thesis' text is not ours to ship. A hash tells whether a quoted sentence stands in a section, and nothing else.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from pathlib import Path

STORED = Path(__file__).parents[1] / "paper" / "thesis-sentences.csv"
HEADING = re.compile(r"^(Abstract|References|\d(?:\.\d)?(?= [A-Z]))")
LEFT_OUT = re.compile(r"^(Figure \d|Dataset\t|MNIST\t|California Housing\t|\t|[¹²³⁴]|\$\$)")  # captions, cells, notes
TABLE = re.compile(r"^Table 1: .*?in bold\.", re.DOTALL | re.MULTILINE)
BREAK = re.compile(r"(?<!et al\.)(?<!e\.g\.)(?<!i\.e\.)(?<=[.!?])\)?\s+(?=[A-Z•(])")


def normalised(sentence: str) -> str:
    """Return the words of a sentence in small letters, without punctuation, emphasis and numbers of references.

    >>> normalised("Even *weak* training [5, 4] helps.")
    'even weak training helps'
    """
    text = re.sub(r"\[\d+(, \d+)*\]", " ", sentence)
    return " ".join(re.findall(r"\w+", text.casefold()))


def key(section: str, sentence: str) -> str:
    """Return the hash of a sentence in its section."""
    return hashlib.sha256(f"{section}: {normalised(sentence)}".encode()).hexdigest()[:16]


def sections(text: str) -> dict[str, str]:
    """Return the running text by section, without captions, tables, equations and notes, words put together again."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in TABLE.sub("", text).splitlines():
        if heading := HEADING.match(line):
            section = heading[1]
            if len(line) < 90:  # a heading stands alone on its line
                continue
        if section and section != "References" and line.strip() and not LEFT_OUT.match(line):
            found.setdefault(section, []).append(re.sub(r"^- ", "• ", re.sub(r"[*`]", "", line).strip()))
    joined = {name: " ".join(lines) for name, lines in found.items()}
    return {name: re.sub(r"(?<=[a-z])- (?!and\b)(?=[a-z])", "", text) for name, text in joined.items()}


def sentences(text: str) -> list[tuple[str, str]]:
    """Return the sentences of the thesis, each with its section."""
    return [
        (section, sentence)
        for section, running in sections(text).items()
        for part in running.split("• ")
        for sentence in BREAK.split(part)
        if normalised(sentence)
    ]


def stored() -> set[str]:
    """Return the hashes of paper/thesis-sentences.csv."""
    with STORED.open(encoding="utf-8", newline="") as lines:
        return {row["sentence"] for row in csv.DictReader(lines)}


if __name__ == "__main__":
    every = sentences(Path(sys.argv[1]).read_text(encoding="utf-8"))
    rows = sorted({(section, key(section, sentence)) for section, sentence in every})
    STORED.write_text("section,sentence\n" + "".join(f"{a},{b}\n" for a, b in rows), encoding="utf-8")
    print(f"{len(rows)} sentences of {len(sections(Path(sys.argv[1]).read_text(encoding='utf-8')))} sections")
