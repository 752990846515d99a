"""Bring a report up to date: prepare what is not current, execute it, and end with the paper and the README."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from robexpl import data
from robexpl.files import DataError, make_folder, sha256
from robexpl.pipeline import compare, execute, notebook, paper, prepare, template, workers
from robexpl.pipeline.commands import Failure, say
from robexpl.study import places, plan, sizes

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
    pdf: Path

    def out(self, made: Made) -> Path:
        """Return the file of an executed notebook."""
        return self.notebooks / f"{name_of(made)}.ipynb"

    def params(self, made: Made) -> dict:
        """Return the parameters of a notebook, as far as its template declares them."""
        wanted = {"dataset": made[1], "profile": self.profile, "seeds": self.seeds}
        known = template.declared(template.read(source(made)))
        given = {name: value for name, value in wanted.items() if value and (name in known or name == "dataset")}
        return template.parameters(source(made), given)


def target(profile: str, seeds: int = 0) -> Target:
    """Return where a profile's files go: only the full study with its own seeds is stored beside the templates."""
    if seeds and all(sizes.load(profile, dataset, seeds).own for dataset in sizes.datasets(profile).values()):
        seeds = 0
    if profile == "full" and not seeds:
        pdf = places.ROOT / "paper" / "paper.pdf"
        return Target(profile, 0, profile, places.ROOT / "notebooks", places.generated_dir(profile), pdf)
    group = f"{profile}-seeds{seeds}" if seeds else profile
    home = places.build_dir() / group
    return Target(profile, seeds, group, home / "notebooks", home / "generated", home / "paper.pdf")


def name_of(made: Made) -> str:
    """Return the name of an executed notebook: that of its template, and of its dataset where it has one."""
    entry, dataset = made
    return f"{entry.name}-{dataset}" if dataset else entry.name


def source(made: Made) -> Path:
    """Return the template of a notebook."""
    return places.ROOT / "notebooks" / f"{made[0].name}.py"


def chosen(profile: str, only: str | None = None) -> list[Made]:
    """Return the notebooks of a profile, or those of a list such as "rq1,models-digits"; refuse what is unknown."""
    planned = {entry.name for entry in plan.NOTEBOOKS}
    if unknown := sorted({path.stem for path in (places.ROOT / "notebooks").glob("*.py")} - planned):
        raise ValueError(f"expected every template in NOTEBOOKS of robexpl/study/plan.py, lacking {', '.join(unknown)}")
    known = plan.templates(profile)
    if only is None:
        return known
    asked = only.split(",")
    for name in asked:
        if not any(name in (made[0].name, name_of(made)) for made in known):
            raise Failure(f"unknown notebook {name!r}; known: {', '.join(map(name_of, known))}", 2)
    return [made for made in known if made[0].name in asked or name_of(made) in asked]


def stale(where: Target, wanted: Iterable[Made]) -> dict[Made, str]:
    """Return the notebooks that are not current, each with the reason."""
    reasons = {}
    for made in wanted:
        try:
            reason = notebook.staleness(where.out(made), source(made), where.params(made))
        except (OSError, SyntaxError) as error:
            reason = f"its template cannot be read ({error})"
        if reason:
            reasons[made] = reason
    return reasons


def report(where: Target, wanted: list[Made], *, jobs: int, force: bool = False) -> None:
    """Make the notebooks that are not current: prepare what they need, then execute them in processes of their own."""
    reasons = stale(where, wanted)
    if force:
        reasons = {made: reasons.get(made, "asked to") for made in wanted}
    if not reasons:
        return say(f"report {len(wanted)} notebooks are current")
    say(f"report {len(reasons)} of {len(wanted)} notebooks to make")
    for reason in dict.fromkeys(reasons.values()):
        say(f"       {_said(reason)}: {', '.join(name_of(made) for made, why in reasons.items() if why == reason)}")
    needed = [made for made, reason in reasons.items() if reason != "text"]
    if needed:
        prepare.prepare(plan.cells(where.profile, where.seeds, needed), jobs=jobs, group=where.group)
    same = (where.generated, where.group, force)
    options = [(source(made), where.out(made), where.params(made), *same) for made in reasons]
    log = lambda number: make_folder(places.build_dir() / "log" / where.group) / f"notebooks-{number}.log"  # noqa: E731
    pieces = [workers.Piece([(execute.run, each)]) for each in options]
    try:
        with closing(workers.share(pieces, jobs=min(jobs, AT_ONCE), log=log)) as events:
            for _ in events:
                pass
    except workers.Broken as broken:
        text = str(broken)
        name = name_of(list(reasons)[broken.index])
        raise Failure(text if text.startswith("FAILED ") else f"FAILED {name}: {text}") from None
    if left := stale(where, reasons):
        listed = "; ".join(f"{name_of(made)}: {reason}" for made, reason in left.items())
        raise ValueError(f"edited while it was made? run the same command again ({listed})")


def _said(reason: str) -> str:
    return "only its text changed" if reason == "text" else reason


def publish(where: Target) -> None:
    """Compile the paper of a report, and for the full study fill in the README."""
    paper.write(where.profile, where.generated, where.pdf, own=not where.seeds)
    if where.profile == "full" and not where.seeds:
        from robexpl.pipeline import readme

        readme.main()


def single(name: str, dataset: str | None, profile: str | None, seeds: int, jobs: int) -> None:
    """Make one notebook, to build/notebooks, for any dataset; the profile follows from it where none is given."""
    entry = plan.notebook(name)
    if entry.each != bool(dataset):
        known = f"one of {', '.join(data.names())}, got none" if entry.each else f"none, got {dataset!r}"
        raise Failure(f"expected for {name} as dataset {known}", 2)
    if dataset and dataset not in data.names():
        raise Failure(f"unknown dataset {dataset!r}; known: {', '.join(data.names())}", 2)
    own = sizes.profile_of(dataset) if dataset else "demo" if "demo" in entry.profiles else entry.profiles[0]
    if (profile or own) not in entry.profiles:
        raise Failure(f"unknown profile {profile!r} of {name}; known: {', '.join(entry.profiles)}", 2)
    home = places.build_dir() / "notebooks"
    where = Target(profile or own, seeds, "notebooks", home, home / "generated", home / "none.pdf")
    report(where, [(entry, dataset)], jobs=jobs)
    say(f"made   {places.label(where.out((entry, dataset)))}")


def current() -> int:
    """List what of the stored full notebooks, results and paper is not current."""
    where = target("full")
    lines, known = [], [name_of(made) for made in chosen("full")]
    for made in chosen("full"):
        try:
            reason = stale(where, [made]).get(made)
        except DataError as error:  # the plan may have to look at data, which are not everywhere
            reason = f"it cannot be told without data ({error})"
        lines += [f"notebooks/{name_of(made)}.ipynb: {_said(reason)}"] if reason else []
    for path in sorted(where.generated.glob("*.*")):
        if not any(path.name.startswith((f"{name}-", f"{name}.", "bench")) for name in known):
            lines.append(f"{places.label(path)}: no notebook makes it")
    try:
        pdf, _ = paper.compile_pdf("full", where.generated)
        if not where.pdf.is_file() or sha256(where.pdf.read_bytes()) != sha256(pdf):
            lines.append("paper/paper.pdf: it is not what its sources and results make")
    except (OSError, RuntimeError) as error:
        lines.append(f"paper/paper.pdf: it cannot be made ({(str(error).strip().splitlines() or ['?'])[0]})")
    print("\n".join(lines or ["everything stored is current"]))
    return 1 if STRICT and lines else 0


@contextmanager
def _elsewhere() -> Iterator[Path]:
    """Let results and cache go to an empty folder, which is removed in the end."""
    before = {name: os.environ.get(name) for name in ("ROBEXPL_BUILD", "ROBEXPL_GENERATED")}
    with tempfile.TemporaryDirectory(prefix="robexpl-") as folder:
        os.environ |= {"ROBEXPL_BUILD": f"{folder}/build", "ROBEXPL_GENERATED": f"{folder}/generated"}
        try:
            yield Path(folder)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def golden(jobs: int) -> None:
    """Execute the small notebooks afresh and store them for the tests."""
    with _elsewhere():
        where = target("demo")
        report(where, chosen("demo"), jobs=jobs)
        folder = make_folder(places.ROOT / "tests" / "notebooks")
        for old in folder.glob("*.ipynb"):
            old.unlink()
        for made in chosen("demo"):
            shutil.copyfile(where.out(made), folder / where.out(made).name)


def verify(jobs: int, tolerance: float, share: float) -> int:
    """Compute every full result anew from an empty cache and compare with what is stored."""
    stored = target("full")
    with _elsewhere() as folder:
        where = Target("full", 0, "full", folder / "notebooks", folder / "generated", folder / "paper.pdf")
        report(where, chosen("full"), jobs=jobs)
        codes = [
            compare.folders(before, after, tolerance, share)
            for before, after in ((stored.notebooks, where.notebooks), (stored.generated, where.generated))
        ]
    return max(codes)
