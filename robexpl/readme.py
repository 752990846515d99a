"""Fill the README's marked sections from the results: `python -m robexpl.readme`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from robexpl.artifacts import ROOT, generated_dir, write_atomic
from robexpl.regimes import REGIME_NAMES, REGIMES

Record = dict[str, Any]
SECTION = re.compile(r"(<!-- begin: (\w+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)
STOPS = {"decision_threshold": "DTC", "generator_conditions": "GCC"}


def read(name: str, folder: Path | None = None) -> Record:
    """Return the results of a full notebook."""
    path = (folder or generated_dir("full")) / f"{name}.json"
    if not path.is_file():
        raise ValueError(f"expected results at {path.name}, found none: run `make report` first")
    return json.loads(path.read_text(encoding="utf-8"))


def filled(text: str) -> str:
    """Return a text with its sections `<!-- begin: name -->` ... `<!-- end: name -->` made anew from the results."""
    makers = {"answer": answer, "table": table, "trust": trust}

    def section(found: re.Match[str]) -> str:
        if found[2] not in makers:
            raise ValueError(f"unknown section {found[2]!r}; known: {', '.join(makers)}")
        return f"{found[1]}{makers[found[2]]().strip()}\n{found[3]}"

    return SECTION.sub(section, text)


def answer() -> str:
    """Say in a few sentences what came out, for images and for tables, and what the audit found."""
    rq1 = {role: read(f"rq1-{name}") for role, name in read("table1")["datasets"].items()}
    sentences = []
    for results in rq1.values():
        reading = results["readings"][0]
        for stop, short in STOPS.items():
            differences = results["difference"][reading][stop]
            lower = [REGIME_NAMES[r].lower() for r, d in differences.items() if d["high"] < 0]
            higher = [REGIME_NAMES[r].lower() for r, d in differences.items() if d["low"] > 0]
            open_ = [REGIME_NAMES[r].lower() for r in differences if REGIME_NAMES[r].lower() not in lower + higher]
            parts = [
                f"{say} for {', '.join(names)}"
                for say, names in (("lower", lower), ("higher", higher), ("undecided", open_))
                if names
            ]
            verdict = "; ".join(parts)
            sentences.append(
                f"- {results['title']}, {short}: implausibility against the standard network is {verdict}."
            )
    audit = read("audit")
    best = audit["settings_profile"]["energy"]["best"]
    sentences.append(
        f"- On the author's own networks our code gives {audit['within_2']['2']} of 16 published implausibilities "
        f"within two combined standard deviations at twice the stated energy weight, and {audit['within_2']['1']} at "
        f"the stated one; the published figures ask for a weight of {best:g}."
    )
    seeds = ", ".join(f"{r['seeds']} for {r['title']}" for r in rq1.values())
    return (
        f'**The answer so far** (reading `published`; networks per regime: {seeds}; "lower" and "higher" where the '
        "95 % interval of the paired difference excludes zero):\n\n" + "\n".join(sentences) + "\n"
    )


def table() -> str:
    """Lay out Table 1: ours in the first reading, mean +- SD over runs, the thesis' figure in brackets."""
    results = read("table1")
    reading = next(iter(results["table"]))
    thesis = json.loads((ROOT / "paper" / "thesis.json").read_text(encoding="utf-8"))["table1"]
    lines = [
        f"Table 1 in the reading `{reading}`: ours, and the thesis' figure in brackets.",
        "",
        "| data | regime | clean | FGSM | PGD | DTC | GCC |",
        "|---|---|---|---|---|---|---|",
    ]
    for role, name in results["datasets"].items():
        for regime in REGIMES:
            ours, theirs = results["table"][reading][role][regime], thesis[name][regime]
            cells = [f"{ours[a]['mean']:.3f} ({theirs[a]:.3f})" for a in ("clean", "fgsm", "pgd")]
            for stop in STOPS:
                mark = "**" if results["lowest"][reading][role][stop] == regime else ""
                cells.append(
                    f"{mark}{ours[stop]['mean']:.3f} ± {ours[stop]['sd']:.3f}{mark} ({theirs[stop]['mean']:.3f})"
                )
            lines.append(f"| {results['titles'][role]} | {REGIME_NAMES[regime]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def trust() -> str:
    """Tabulate what the long tests tried, from the file that `make test-all` writes."""
    path = ROOT / "paper" / "trust.json"
    if not path.is_file():
        return "`make test-all` has not been run yet.\n"
    rows = json.loads(path.read_text(encoding="utf-8"))["tried"]
    lines = [f"| {row['what']} | {row['times']} | {row['outcome']} |" for row in rows]
    return "\n".join(["| what was tried | times | what happened, every time |", "|---|---:|---|", *lines]) + "\n"


def main() -> int:
    """Write README.md anew where results have changed."""
    path = ROOT / "README.md"
    try:
        text = path.read_text(encoding="utf-8")
        write_atomic(path, filled(text).encode())
    except (OSError, ValueError) as error:
        print(f"FAILED README.md: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
