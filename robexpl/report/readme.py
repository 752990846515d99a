"""Fill the README's marked sections from the results: `python -m robexpl.report.readme`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from robexpl.artifacts import ROOT, generated_dir, write_atomic
from robexpl.readings import READINGS
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
    makers = {"answer": answer, "table": table, "trust": trust, "speed": speed}

    def section(found: re.Match[str]) -> str:
        if found[2] not in makers:
            raise ValueError(f"unknown section {found[2]!r}; known: {', '.join(makers)}")
        return f"{found[1]}{makers[found[2]]().strip()}\n{found[3]}"

    return SECTION.sub(section, text)


def answer() -> str:
    """Say what became of the claims of the thesis, and what the audit and the check of the search found."""
    verdicts, table1, audit = read("verdicts"), read("table1"), read("audit")
    images = read(f"rq1-{table1['datasets']['image']}")
    tested = [claim for claim in verdicts["claims"] if claim["verdict"] != "not tested"]
    seeds = ", ".join(
        f"{networks(read(f'rq1-{name}'))} for {table1['titles'][role]}" for role, name in table1["datasets"].items()
    )
    split = [f"`{claim['id']}`" for claim in tested if claim["agree"] is False]
    low, high = audit["settings_profile"]["energy"]["of"]["image"]["compatible"]
    weights = f"{low:g} alone is" if low == high else f"{low:g} to {high:g} are"
    first = images["readings"][0]
    before, after = ({r: f[key] for r, f in images["finer"][first].items()} for key in ("fixed", "finer"))
    checked = images["finer"][first]["standard"]["n_seeds"]
    cells = len(audit["cells"]["1"]) * len(STOPS) * len(REGIMES)
    beyond, steps = images["stability"][first]["standard"]["beyond"], images["settings"][first]["steps"]
    of = {name: settings["steps"] for name, settings in images["settings"].items()}
    more = "".join(f" ({n:g} shorter ones in `{name}`)" for name, n in of.items() if n > steps)
    rows = [f"| {claim['claim']} `{claim['id']}` | {claim['section']} | {verdict_of(claim)} |" for claim in tested]
    lines = [
        f"**The answer**, by [rules](paper/rules.md) written down before all but a first small study: of {len(tested)} "
        f"claims of the thesis that can be tested, {counted(verdicts['tally'])}. Networks per regime: {seeds}.",
        "",
        "A counterfactual is taken where the target class first reaches a probability of one half (*DTC*, decision "
        f"threshold: at the boundary) or after up to {steps:g} steps{more}, as soon as the objective's gradient is "
        "small (*GCC*, generator conditions: beyond the boundary, the second stop). The reading `published` reproduces "
        "the printed figures, `stated` follows the text, `repaired` is what a careful study would do.",
        "",
        "| claim, in our words | section | verdict |",
        "|---|---|---|",
        *rows,
        "",
        "A claim stands if it is supported in the readings `stated` and `repaired`. "
        + (f"At least one half of the seeds, taken alone, does not reach: {', '.join(split)}. " if split else "")
        + "Lower implausibility is more plausible; claims about differences rest on 95 % intervals over networks.",
        "",
        f"- On the author's own networks our code gives {audit['within_2']['2']} of {cells} published "
        f"implausibilities within two combined standard deviations at twice the stated energy weight, and "
        f"{audit['within_2']['1']} at the stated one. Of the weights tried, {weights} compatible with the figures for "
        "images.",
        f"- New: under GCC {beyond:.0%} of the searches in standard {images['title']} networks start where a step "
        f"overshoots by ever more. With steps a tenth as long their implausibility is {after['standard']:.3f} instead "
        f"of {before['standard']:.3f}, that of the strong networks {after['strong']:.3f} instead of "
        f"{before['strong']:.3f} (reading `{first}`, {checked} networks).",
    ]
    return "\n".join(lines) + "\n"


def networks(results: Record) -> str:
    """Say how many networks each regime has, and which readings have fewer."""
    of = {name: cells["decision_threshold"]["standard"]["n_seeds"] for name, cells in results["cells"].items()}
    fewer = [f"{n} in `{name}`" for name, n in of.items() if n < max(of.values())]
    return f"{max(of.values())}" + (f" ({', '.join(fewer)})" if fewer else "")


def verdict_of(claim: Record) -> str:
    """Write a verdict with its outcomes by reading."""
    outcomes = ", ".join(f"{r}: {claim['found'][r]['outcome']}" for r in READINGS if r in claim["found"])
    return f"**{claim['verdict']}**" + (f" ({outcomes})" if outcomes else "")


def counted(tally: Record) -> str:
    """Write how many claims met which verdict."""
    plural = {  # in the order of the rules
        "stands": "stand",
        "stands only as published": "stand only as published",
        "undecided": "are undecided",
        "does not stand": "do not stand",
        "reversed": "are reversed",
    }
    singular = {"undecided": "is undecided", "reversed": "is reversed"}
    found = {name: tally[name] for name in plural if name in tally}
    return ", ".join(f"{n} {singular.get(name, name) if n == 1 else plural[name]}" for name, n in found.items())


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
    """Tabulate what the long tests tried, from the file that `make test-slow` writes."""
    path = ROOT / "paper" / "trust.json"
    if not path.is_file():
        return "`make test-slow` has not been run yet.\n"
    rows = json.loads(path.read_text(encoding="utf-8"))["tried"]
    lines = [f"| {row['what']} | {row['times']} | {row['outcome']} |" for row in rows]
    return "\n".join(["| what was tried | times | what happened, every time |", "|---|---:|---|", *lines]) + "\n"


def speed() -> str:
    """Tabulate the hot paths against their peers, from the file that `make bench` writes."""
    if not (generated_dir("full") / "bench.json").is_file():
        return "`make bench` has not been run yet.\n"
    results = read("bench")
    machine, paths = results["machine"], results["paths"]
    lines = [
        "| hot path | the same work elsewhere, in units of our CPU time | share of peak |",
        "|---|---|---:|",
    ]
    for path in sorted(paths.values(), key=lambda path: path["title"]):
        others = sorted(path["peers"], key=lambda row: row["against_ours"]["median"])
        times = "; ".join(f"{row['name']} {shown(row['against_ours']['median'])}" for row in others)
        lines.append(f"| {path['title']} | {times} | {path['share_of_peak']:.0%} |")
    slopes = ", ".join(f"{name} {found['slope']:.2f}" for name, found in results["growth"].items())
    missed = [f"{row['name']} ({shown(row['times'])}, aim {row['aim']:.3g})" for row in unmet(results["targets"])]
    return "\n".join(
        [
            f"On one core of {machine['cpu']} (medians; shares of its best {results['peak_gflops']:.0f} GFLOP/s):",
            "",
            *lines,
            "",
            f"Growth of CPU time, as the slope of logarithms (1: in proportion): {slopes}.",
            *([f"Short of its aim: {'; '.join(missed)}."] if missed else []),
        ]
    )


def shown(times: float) -> str:
    """Write a ratio with three significant digits and no exponent."""
    return f"{times:.3g}" if times < 1000 else f"{float(f'{times:.3g}'):,.0f}"


def unmet(targets: list[Record]) -> list[Record]:
    """Return the targets that were measured and missed."""
    return [row for row in targets if row["times"] is not None and not row["met"]]


def main() -> int:
    """Write README.md anew where results have changed."""
    path = ROOT / "README.md"
    try:
        text = path.read_text(encoding="utf-8")
        write_atomic(path, filled(text).encode())
    except (OSError, ValueError) as error:
        print(f"FAILED README.md: {error}", file=sys.stderr)
        return 1
    except (KeyError, TypeError) as error:
        print(f"FAILED README.md: results are older than the code, without {error}: run `make report`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
