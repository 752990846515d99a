"""Compute what notebooks will ask for, on all cores, network by network, the longest first.

A job is what the plan knows of one network; what needs other networks besides starts when these are done. Where
`device` in study.yaml names a GPU, networks that differ in their seed alone are trained there before, in one pass.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from math import ceil
from typing import Any

import torch

from robexpl.pipeline.commands import say
from robexpl.pipeline.workers import Event, Job, share
from robexpl.study import places, sizes, stages
from robexpl.study.networks import Network
from robexpl.study.stacked import fit_seeds

FIRST, TICK = 25.0, 55.0  # seconds until the first report, and between two
OVERHEAD, PRIOR = 0.1, 20.0  # seconds: of every cell beside its work; what the estimates count as against the clock


def jobs_of(cells: Iterable[Any]) -> tuple[list[Job], int]:
    """Return the jobs of what is missing, in the order in which to start them, and how many cells are in the cache."""
    jobs: dict[Any, Job] = {}
    cached = 0
    for cell in cells:
        if cell.path().is_file():
            cached += 1
            continue
        owner = cell.owner or cell
        job = jobs.setdefault((cell.waits, owner), Job(str(owner), cell.waits))
        job.calls.append(cell.run)
        job.costs.append(cell.cost() + OVERHEAD)
    return sorted(jobs.values(), key=lambda job: (job.waits, -sum(job.costs))), cached


def prepare(cells: Iterable[Any], *, jobs: int, group: str) -> None:
    """Compute what is missing of some cells in `jobs` processes; raise Failure with the job that failed."""
    cells, device = list(cells), sizes.settings()["device"]
    if device != "cpu":
        train_stacked(cells, device)
    todo, cached = jobs_of(cells)
    if not todo:
        return say(f"prepare {cached} results, all in the cache")
    total, count, jobs = sum(len(job.calls) for job in todo), len(todo), min(jobs, len(todo))
    work, log = sum(sum(job.costs) for job in todo), places.build_dir() / "log" / group / "prepare-*.log"
    say(
        f"prepare {total} results in {count} job{'s' * (count > 1)} on {jobs} core{'s' * (jobs > 1)}, {cached} in the "
        f"cache; about {shown(work / jobs)}  (progress: {places.label(log)})"
    )
    with closing(share(todo, jobs=jobs, log=log, what="prepare, ", tick=FIRST / 5)) as events:
        _follow(events, todo, jobs)


def train_stacked(cells: Iterable[Any], device: str) -> None:
    """Train on a device the perceptrons of some cells that are not in the cache, all seeds of a kind in one pass."""
    kinds: dict[Network, list[Network]] = {}
    for cell in cells:
        one = cell.arguments[0]
        fits = cell.stage == "train" and type(one) is Network and one.architecture == "mlp" and not one.binary
        if fits and not cell.path().is_file():
            kinds.setdefault(replace(one, data=replace(one.data, seed=0)), []).append(one)
    for number, (kind, networks) in enumerate(kinds.items(), start=1):
        say(f"train {len(networks)} networks in one pass on {device} [{number}/{len(kinds)}]: {kind}")
        shared, histories = {one.data.shared(): one.data.load() for one in networks}, []
        trained = fit_seeds(
            list(shared.values()), kind.regime, seeds=[one.data.seed for one in networks], epochs=kind.epochs,
            early_stop=kind.early_stop, rounded=kind.rounded, device=device, histories=histories,
        )  # fmt: skip
        for one, model, rows in zip(networks, trained, histories, strict=True):
            told = [[row[name] for name in ("loss", "steps", "radius")] for row in rows]
            stages.train.keep({**model.state_dict(), "history": torch.tensor(told, dtype=torch.float64)}, one)


def _follow(events: Iterator[Event], todo: list[Job], jobs: int) -> None:
    """Say what is done and how long the rest will take: at every job's end, and otherwise about once a minute."""
    left = {index: list(job.costs) for index, job in enumerate(todo)}
    total, working, spent, started = sum(map(sum, left.values())), [], 0.0, time.monotonic()
    due = started + FIRST
    for kind, index, seconds in events:
        if kind == "start":
            working.append(index)
        elif kind == "call":
            spent += seconds
            left[index].pop(0)
        elif kind == "done":
            working.remove(index)
            del left[index]
        rest = [sum(costs) for costs in left.values()]
        rate = (spent + PRIOR) / (total - sum(rest) + PRIOR)
        time_left = remaining(rest, rate, spent, time.monotonic() - started, jobs)
        if kind == "done":
            line = f"{todo[index].name}  {seconds:.0f} s"
        elif time.monotonic() > due and working:
            sizes = {i: len(todo[i].calls) for i in working}
            line = "at " + ", ".join(f"{todo[i].name} ({n - len(left[i])}/{n})" for i, n in sizes.items())
        else:
            continue
        say(f"[{len(todo) - len(left)}/{len(todo)}] {line}{f', about {shown(time_left)} left' if rest else ''}")
        due = time.monotonic() + TICK


def remaining(rest: list[float], rate: float, spent: float, passed: float, jobs: int) -> float:
    """Return about how many seconds jobs of these costs will take at `rate` seconds each unit.
    `spent` is the seconds of what is done, `passed` those on the clock: what the processes have worked beyond the
    former is work on what is not done.
    """
    if not rest:
        return 0.0
    shared = (sum(rest) * rate - (passed * jobs - spent)) / min(jobs, len(rest))
    return max(shared, max(rest) * rate - passed, 1.0)


def shown(seconds: float) -> str:
    """Write a time in words, such as 30 s, 4 min or 2.5 h."""
    if seconds < 90:
        return f"{ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
