"""Bring the report of a profile up to date: say what is not current, prepare it, and end with paper and README.

    python -m robexpl.report.report --profile demo|full [--seeds N] [--jobs N] [--force|--made] [--paper] FOLDER NAME...

NAME is an executed notebook in FOLDER: its template, and its dataset where it has one, such as `models-mnist`. Where
all are current, `--paper` compiles the paper and, for the full profile, fills the README. Where not, what they will
ask for is computed on all cores, and the exit code 4 says that the runner's turn has come: make calls it, then this
program again with `--made`.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from robexpl import artifacts
from robexpl.report import notebook, paper
from robexpl.report.arguments import parameters
from robexpl.report.commands import Failure, Parser, Stopped, heed_signals, whole

STALE = 4
# What templates ask of the study: networks and attacks, or counterfactuals besides. The others see to it themselves.
NETWORKS = ("models",)
SEARCHES = ("rq1", "rq2", "anchors", "sensitivity", "table1", "verdicts")
ALONE = ("background", "audit")


def stale(folder: Path, names: list[str], options: dict[str, Any]) -> dict[str, str]:
    """Return the notebooks that are not current, each with the reason."""
    reasons = {}
    for name in names:
        role, _, dataset = name.partition("-")
        template, given = artifacts.ROOT / "notebooks" / f"{role}.py", {"dataset": dataset} if dataset else {}
        try:
            params = parameters(name, template, given, options)
            reason = notebook.staleness(folder / f"{name}.ipynb", template, params)
        except (OSError, SyntaxError):
            reason = "its template cannot be read"  # the runner says why
        if reason:
            reasons[name] = reason
    return reasons


def wanted(reasons: dict[str, str], profile: str) -> dict[str, bool]:
    """Return the datasets whose networks will be asked for, True where their counterfactuals will be."""
    found: dict[str, bool] = {}
    for name, reason in reasons.items():
        role, _, dataset = name.partition("-")
        if reason != "text" and role in (*NETWORKS, *SEARCHES):
            for each in [dataset] if dataset else paper.DATASETS[profile].values():
                found[each] = found.get(each, False) or role in SEARCHES
    return found


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = Parser(prog="python -m robexpl.report.report", description="Bring a report up to date.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--profile", choices=artifacts.PROFILES, required=True)
    parser.add_argument("--seeds", metavar="N", help="networks per regime, instead of what the profile says")
    parser.add_argument("--jobs", metavar="N", help="processes at once, instead of one per core")
    parser.add_argument("--force", action="store_true", help="take no notebook for current")
    parser.add_argument("--made", action="store_true", help="fail where one is not current")
    parser.add_argument("--paper", action="store_true", help="compile the paper where all are current")
    arguments = parser.parse_args(argv)
    heed_signals()
    try:
        return _report(arguments)
    except (Failure, ValueError) as error:
        text = str(error)
        _say(text if text.startswith("FAILED") else f"FAILED report ({arguments.profile}): {text}")
        return 2
    except Stopped as stopped:
        _say("STOPPED report: nothing was changed")
        return 128 + stopped.args[0]


def _report(arguments: Namespace) -> int:
    profile, names, seeds = arguments.profile, arguments.names, whole("seeds", arguments.seeds, 0)
    whole("jobs", arguments.jobs, 1)
    reasons = stale(arguments.folder.absolute(), names, {"profile": profile, **({"seeds": seeds} if seeds else {})})
    if arguments.force:
        reasons = {name: reasons.get(name, "asked to") for name in names}
    if not reasons:
        _say(f"report {len(names)} notebooks are current")
        return _paper(profile) if arguments.paper else 0
    if arguments.made:
        shown = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise ValueError(f"edited while it was made? run the same command again ({shown})")
    _say(f"report {len(reasons)} of {len(names)} notebooks to make: {', '.join(reasons)}")
    if needed := wanted(reasons, profile):
        from robexpl.report import prepare

        if code := prepare.guarded(profile, needed, arguments.seeds, arguments.jobs):
            return code
    return STALE


def _paper(profile: str) -> int:
    code = paper.main(["--profile", profile])
    if code or profile == "demo":
        return code
    from robexpl.report import readme

    return readme.main()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
