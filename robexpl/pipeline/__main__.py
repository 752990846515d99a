"""The commands of the study: `python -m robexpl.pipeline COMMAND`, which `make` calls."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from robexpl.pipeline import commands
from robexpl.pipeline.commands import Parser, guarded, number, whole

KEPT = "what was finished is kept"
SHARE = 0.25


def parser() -> Parser:
    """Return the parser of all commands."""
    top = Parser(prog="python -m robexpl.pipeline", description="Make notebooks, results and paper of the study.")
    subs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, *options: str) -> Parser:
        sub = subs.add_parser(name, help=text, description=text, prog=f"{top.prog} {name}")
        known = {
            "--profile": {"choices": ("demo", "full")},
            "--seeds": {"metavar": "N", "help": "networks per regime, instead of what the study says"},
            "--jobs": {"metavar": "N", "help": "processes at once, instead of one per core"},
            "--tolerance": {"type": number, "default": 0.0, "help": "of numbers, absolute or relative"},
            "--share": {"type": number, "default": SHARE, "help": "of an interval's half-width, for estimates"},
        }
        for option in options:
            sub.add_argument(option, **known[option])
        return sub

    sub = command("report", "bring the report of a profile up to date", "--seeds", "--jobs")
    sub.add_argument("--profile", choices=("demo", "full"), required=True)
    sub.add_argument("--force", action="store_true", help="take no notebook for current")
    sub.add_argument("--paper", action="store_true", help="compile the paper, and fill the README of the full study")
    sub.add_argument("--only", metavar="A,B", help="these notebooks alone")
    sub = command("notebook", "make one notebook, to build/notebooks", "--profile", "--seeds", "--jobs")
    sub.add_argument("name")
    sub.add_argument("--dataset")
    command("current", "list what of the stored full notebooks, results and paper is not current")
    sub = command("run", "run a template as a notebook, its results beside it in generated/")
    sub.add_argument("template", type=Path)
    sub.add_argument("out", type=Path)
    sub.add_argument("-p", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the template")
    sub.add_argument("--force", action="store_true", help="run even if current")
    command("golden", "execute the small notebooks afresh and store them for the tests", "--jobs")
    command("verify", "compute every full result anew and compare", "--jobs", "--tolerance", "--share")
    sub = command("paper", "compile the paper of a profile", "--seeds")
    sub.add_argument("--profile", choices=("demo", "full"), default="full")
    sub.add_argument("--output", type=Path, metavar="PDF")
    command("readme", "fill in the results of the README")
    sub = command("compare", "compare two folders of notebooks or results", "--tolerance", "--share")
    sub.add_argument("stored", type=Path)
    sub.add_argument("computed", type=Path)
    return top


def run(options: Namespace) -> int | None:
    """Do what a parsed command line asks for."""
    if options.command == "compare":
        from robexpl.pipeline import compare

        return compare.folders(options.stored, options.computed, options.tolerance, options.share)
    from robexpl.pipeline import workers

    seeds = whole("seeds", getattr(options, "seeds", None), 0)
    jobs = whole("jobs", getattr(options, "jobs", None), workers.cores())
    if options.command == "readme":
        from robexpl.pipeline import readme

        return readme.main()
    if options.command == "run":
        from robexpl.pipeline import execute, template

        source = options.template.absolute()
        if not source.is_file():
            raise commands.Failure(f"no template {options.template}", 2)
        execute.check_out(options.out)
        known = template.declared(template.read(source))
        params = template.parameters(source, commands.given(options.p, known))
        folder = options.out.absolute().parent / "generated"
        return execute.run(source, options.out, params, folder, force=options.force)
    from robexpl.pipeline import report

    if options.command == "current":
        return report.current()
    if options.command == "golden":
        return report.golden(jobs)
    if options.command == "verify":
        return report.verify(jobs, options.tolerance, options.share)
    if options.command == "notebook":
        return report.single(options.name, options.dataset, options.profile, seeds, jobs)
    where = report.target(options.profile, seeds)
    if options.command == "paper":
        output = (options.output or where.pdf).absolute()
        return report.paper.write(options.profile, where.generated, output, own=not where.seeds)
    report.report(where, report.chosen(options.profile, options.only), jobs=jobs, force=options.force)
    return report.publish(where) if options.paper else None


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    options = parser().parse_args(argv)
    name = options.out.stem if options.command == "run" else options.command
    if options.command == "report":
        name = f"report ({options.profile})"
    kept = "nothing was changed" if options.command in ("run", "paper", "compare") else KEPT
    return guarded(name, lambda: run(options), kept)


if __name__ == "__main__":
    sys.exit(main())
