"""The commands of the study: `python -m robexpl.pipeline COMMAND`, which `make` calls."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from robexpl.pipeline.commands import Failure, Parser, guarded, whole

COMMANDS = {
    "report": ("bring the report of a profile up to date", "--profile --seeds --jobs --cluster --force --paper --only"),
    "notebook": ("make one notebook, to build/notebooks", "name --dataset --target --profile --seeds --jobs"),
    "current": ("list what of the stored full notebooks, results and paper is not current", ""),
    "run": ("run a template as a notebook, its results beside it in generated/", "template out -p --force"),
    "golden": ("execute the small notebooks afresh and store them for the tests", "--jobs"),
    "paper": ("compile the paper of a profile", "--profile --seeds --output"),
    "readme": ("fill in the results of the README", ""),
    "site": ("make the site, to build/site", "--output"),
}
OPTIONS: dict[str, dict[str, Any]] = {  # of all commands, and what is different for one
    "template": {"type": Path},
    "out": {"type": Path},
    "-p": {"action": "append", "default": [], "metavar": "KEY=VALUE", "help": "a parameter of the template"},
    "--target": {"metavar": "COLUMN", "help": "where the dataset is a CSV file, the column of its classes"},
    "--profile": {"choices": ("demo", "full")},
    "report --profile": {"required": True},
    "paper --profile": {"default": "full"},
    "--seeds": {"metavar": "N", "help": "networks per regime, instead of what the study says"},
    "--jobs": {"metavar": "N", "help": "processes at once, instead of one per core"},
    "--cluster": {"metavar": "KIND", "help": "slurm or local, with settings such as 'slurm partition=short time=30'"},
    "--force": {"action": "store_true", "help": "take no notebook for current"},
    "--paper": {"action": "store_true", "help": "compile the paper, and fill the README of the full study"},
    "--only": {"metavar": "A,B", "help": "these notebooks alone"},
    "paper --output": {"type": Path, "metavar": "PDF"},
    "site --output": {"type": Path, "metavar": "FOLDER"},
}


def parser() -> Parser:
    """Return the parser of all commands."""
    top = Parser(prog="python -m robexpl.pipeline", description="Make notebooks, results and paper of the study.")
    subs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (text, options) in COMMANDS.items():
        sub = subs.add_parser(name, help=text, description=text, prog=f"{top.prog} {name}")
        for option in options.split():
            sub.add_argument(option, **OPTIONS.get(option, {}) | OPTIONS.get(f"{name} {option}", {}))
        sub.set_defaults(seeds=None, jobs=None)
    return top


def run(options: Namespace) -> int | None:
    """Do what a parsed command line asks for."""
    from robexpl.study import places

    if not places.in_checkout():
        raise Failure("expected a checkout of the repository, with its notebooks, got the installed package alone", 2)
    try:
        from robexpl.pipeline import cluster, execute, paper, readme, report, template, workers
    except ModuleNotFoundError as error:
        raise Failure(f"{error.name} is not installed; for the study: pip install -e '.[report]'", 2) from None
    seeds, jobs = whole("seeds", options.seeds, 0), whole("jobs", options.jobs, workers.cores())
    match options.command:
        case "report":
            where, named = report.target(options.profile, seeds), report.chosen(options.profile, options.only)
            on = cluster.wanted(options.cluster, whole("jobs", options.jobs, 0)) if options.cluster else None
            report.report(where, named, jobs=jobs, force=options.force, on=on)
            if options.paper:
                paper.write(where.profile, where.generated, where.pdf, own=not where.seeds)
            return readme.main() if options.paper and where.group == "full" else None
        case "notebook":
            return report.single(options.name, options.dataset, options.target, options.profile, seeds, jobs)
        case "current":
            return report.current()
        case "run":
            source, out = options.template.absolute(), options.out
            if not source.is_file():
                raise Failure(f"no template {options.template}", 2)
            execute.check_out(out)
            params = template.parameters(source, options.p)
            return execute.run(source, out, params, out.absolute().parent / "generated", force=options.force)
        case "golden":
            return report.golden(jobs)
        case "paper":
            where = report.target(options.profile, seeds)
            output = (options.output or where.pdf).absolute()
            return paper.write(options.profile, where.generated, output, own=not where.seeds)
        case "readme":
            return readme.main()
        case "site":
            return site_of(options.output)


def site_of(output: Path | None) -> None:
    """Make the site in a folder, by default build/site."""
    from robexpl.study import places

    try:
        from robexpl.pipeline import site
    except ModuleNotFoundError as error:
        raise Failure(f"{error.name} is not installed; for the site: pip install -e '.[site]'", 2) from None
    site.build((output or places.build_dir() / "site").absolute())


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    options = parser().parse_args(argv)
    name = options.out.stem if options.command == "run" else options.command
    if options.command == "report":
        name = f"report ({options.profile})"
    kept = "nothing was changed" if options.command in ("run", "paper") else "what was finished is kept"
    return guarded(name, lambda: run(options), kept)


if __name__ == "__main__":
    sys.exit(main())
