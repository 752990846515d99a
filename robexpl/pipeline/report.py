"""Bring a report up to date: prepare what is not current, execute it, and end with the paper and the README."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from robexpl import data
from robexpl.files import DataError, make_folder, sha256, write_atomic
from robexpl.pipeline import cluster, execute, notebook, paper, prepare, template
from robexpl.pipeline.commands import Failure, first_line, say
from robexpl.pipeline.workers import Job, share
from robexpl.study import places, plan, sizes
from robexpl.study.networks import Data

STRICT = False  # whether `current` fails where something is not current
AT_ONCE = 2  # notebooks: one on MNIST takes 1.6 GB
Made = tuple[plan.Notebook, str | None]


@dataclass(frozen=True)
class Target:
    """Where the notebooks, results and paper of a profile go; `seeds` is 0 for the study's own number."""

    profile: str
    seeds: int
    group: str
    notebooks: Path
    generated: Path
    pdf: Path = Path()

    def out(self, made: Made) -> Path:
        """Return the file of an executed notebook."""
        return self.notebooks / f"{name_of(made)}.ipynb"

    def params(self, made: Made) -> dict:
        """Return the parameters of a notebook, as far as its template declares them."""
        wanted = {"dataset": made[1], "profile": self.profile, "seeds": self.seeds}
        known = {"dataset", *template.declared(template.read(source(made)))}
        return template.parameters(
            source(made), [f"{key}={wanted[key]}" for key in wanted if wanted[key] and key in known]
        )

    def stale(self, wanted: Iterable[Made]) -> dict[Made, str]:
        """Return the notebooks that are not current, each with the reason."""
        reasons = {}
        for made in wanted:
            try:
                reasons[made] = notebook.staleness(self.out(made), source(made), self.params(made))
            except (OSError, SyntaxError) as error:
                reasons[made] = f"its template cannot be read ({error})"
        return {made: reason for made, reason in reasons.items() if reason}


def target(profile: str, seeds: int = 0) -> Target:
    """Return where a profile's files go: only the full study with its own seeds is stored beside the templates."""
    if seeds and all(sizes.load(profile, dataset, seeds).own for dataset in sizes.datasets(profile).values()):
        seeds = 0
    group = f"{profile}-seeds{seeds}" if seeds else profile
    home = places.build_dir() / group
    where = Target(profile, seeds, group, home / "notebooks", home / "generated", home / "paper.pdf")
    if group != "full":
        return where
    pdf = places.ROOT / "paper" / "paper.pdf"
    return replace(where, notebooks=places.ROOT / "notebooks", generated=places.generated_dir("full"), pdf=pdf)


def name_of(made: Made) -> str:
    """Return the name of an executed notebook: that of its template, and of its dataset where it has one."""
    return "-".join(filter(None, (made[0].name, sizes.slug(made[1]))))


def source(made: Made) -> Path:
    """Return the template of a notebook."""
    return places.ROOT / "notebooks" / f"{made[0].name}.py"


def chosen(profile: str, only: str | None = None) -> list[Made]:
    """Return the notebooks of a profile, or those of a list such as "rq1,models-digits"; refuse what is unknown."""
    planned = {entry.name for entry in plan.NOTEBOOKS}
    if unknown := sorted({path.stem for path in (places.ROOT / "notebooks").glob("*.py")} - planned):
        raise ValueError(f"expected every template in NOTEBOOKS of robexpl/study/plan.py, lacking {', '.join(unknown)}")
    names = {made: {made[0].name, name_of(made)} for made in plan.templates(profile)}
    for name in only.split(",") if only is not None else ():
        if not any(name in known for known in names.values()):
            raise Failure(f"unknown notebook {name!r}; known: {', '.join(map(name_of, names))}", 2)
    return [made for made, known in names.items() if only is None or known & set(only.split(","))]


def report(
    where: Target, wanted: list[Made], *, jobs: int, force: bool = False, on: cluster.Cluster | None = None
) -> None:
    """Make the notebooks that are not current: prepare what they need, on a cluster or in processes of this machine,
    then execute them in processes of their own.
    """
    reasons = where.stale(wanted)
    reasons = {made: reasons.get(made, "asked to") for made in wanted if force or made in reasons}
    if not reasons:
        return say(f"report {len(wanted)} notebooks are current")
    say(f"report {len(reasons)} of {len(wanted)} notebooks to make")
    for reason in dict.fromkeys(reasons.values()):
        say(f"       {reason}: {', '.join(name_of(made) for made, why in reasons.items() if why == reason)}")
    if needed := [made for made, reason in reasons.items() if reason != notebook.TEXT]:
        cells = plan.cells(where.profile, where.seeds, needed)
        if on:
            cluster.compute(cells, cluster=on, group=where.group)
        else:
            prepare.prepare(cells, jobs=jobs, group=where.group)
    run = partial(execute.run, generated=where.generated, group=where.group, force=force)
    calls = {made: partial(run, source(made), where.out(made), where.params(made)) for made in reasons}
    todo, log = [Job(name_of(made), calls=[call]) for made, call in calls.items()], places.build_dir() / "log"
    with closing(share(todo, jobs=min(jobs, AT_ONCE), log=log / where.group / "notebooks-*.log")) as events:
        for _ in events:
            pass
    if left := where.stale(reasons):
        listed = "; ".join(f"{name_of(made)}: {reason}" for made, reason in left.items())
        raise ValueError(f"edited while it was made? run the same command again ({listed})")


def single(name: str, dataset: str | None, column: str | None, profile: str | None, seeds: int, jobs: int) -> None:
    """Make one notebook, to build/notebooks, for any dataset, or for a CSV file and the column of its classes.
    The profile follows from the dataset where none is given.
    """
    own = bool(dataset) and dataset.endswith(".csv")
    if own != bool(column):
        raise Failure(f"expected a CSV file as dataset and its target, or neither, got {dataset!r} and {column!r}", 2)
    if own:
        dataset = f"{Path(dataset).absolute()}:{column}"
        Data(dataset, 0, "as_run").load()  # what is wrong with it is said at once
    entry = plan.notebook(name)
    if entry.each != bool(dataset):
        known = f"one of {', '.join(data.names())}, got none" if entry.each else f"none, got {dataset!r}"
        raise Failure(f"expected for {name} as dataset {known}", 2)
    if dataset and not own and dataset not in data.names():
        known = ", ".join(data.names())
        raise Failure(f"unknown dataset {dataset!r}; known: {known}, or a CSV file with its target", 2)
    profile = profile or (sizes.profile_of(dataset) if dataset else min(entry.profiles))  # demo before full
    if profile not in entry.profiles:
        raise Failure(f"unknown profile {profile!r} of {name}; known: {', '.join(entry.profiles)}", 2)
    home = places.build_dir() / "notebooks"
    where = Target(profile, seeds, "notebooks", home, home / "generated")
    report(where, [(entry, dataset)], jobs=jobs)
    say(f"made   {places.label(where.out((entry, dataset)))}")


def current() -> int:
    """List what of the stored full notebooks, results and paper is not current."""
    where, lines, known = target("full"), [], chosen("full")
    for made in known:
        try:
            reason = where.stale([made]).get(made)
        except DataError as error:  # the plan may have to look at data, which are not everywhere
            reason = f"it cannot be told without data ({error})"
        lines += [f"notebooks/{name_of(made)}.ipynb: {reason}"] if reason else []
    starts = ("bench", *(f"{name_of(made)}{mark}" for made in known for mark in "-."))
    unmade = [path for path in sorted(where.generated.glob("*.*")) if not path.name.startswith(starts)]
    lines += [f"{places.label(path)}: no notebook makes it" for path in unmade]
    try:
        pdf, _ = paper.compile_pdf("full", where.generated)
        if not where.pdf.is_file() or sha256(where.pdf.read_bytes()) != sha256(pdf):
            lines.append("paper/paper.pdf: it is not what its sources and results make")
    except (OSError, RuntimeError) as error:
        lines.append(f"paper/paper.pdf: it cannot be made ({first_line(error) or '?'})")
    print("\n".join(lines or ["everything stored is current"]))
    return 1 if STRICT and lines else 0


def anew(profile: str, jobs: int, folder: str) -> Target:
    """Make all notebooks of a profile in an empty folder, from an empty cache; return where they are."""
    os.environ |= {"ROBEXPL_BUILD": f"{folder}/build", "ROBEXPL_GENERATED": f"{folder}/generated"}
    where = replace(target(profile), notebooks=Path(folder) / "notebooks")
    report(where, chosen(profile), jobs=jobs)
    return where


def golden(jobs: int) -> None:
    """Execute the small notebooks afresh and store them for the tests."""
    with tempfile.TemporaryDirectory(prefix="robexpl-") as scratch:
        where, folder = anew("demo", jobs, scratch), make_folder(places.ROOT / "tests" / "notebooks")
        for old in folder.glob("*.ipynb"):
            old.unlink()
        for made in chosen("demo"):
            shutil.copyfile(where.out(made), folder / where.out(made).name)
        columns = ["table,column\n"]
        for path in sorted(where.generated.glob("*.csv")):
            header = path.read_text(encoding="utf-8").partition("\n")[0]
            columns += [f"{path.stem},{name}\n" for name in header.split(",")]
        write_atomic(folder / "columns.csv", "".join(columns).encode())
