"""Compute what notebooks will ask for, on all cores, network by network, the longest first.

One job is what the plan knows of one network: its training, attacks, searches and scores; what needs other networks
besides starts when these are done. Every cell goes to the cache as it ends, and what is there is not computed again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from robexpl.files import write_atomic
from robexpl.pipeline.commands import Failure, repeat_warnings, say
from robexpl.pipeline.workers import Broken, Piece, share
from robexpl.study import places

FIRST, TICK = 25.0, 55.0  # seconds until the first report, and between two
OVERHEAD, PRIOR = 0.1, 20.0  # seconds: of every cell beside its work; what the estimates count as against the clock


@dataclass
class Job:
    """Cells to compute one after the other, and the seconds that they are estimated to take."""

    name: str
    waits: bool
    cells: list[Any] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)


def jobs_of(cells: Iterable[Any]) -> tuple[list[Job], int]:
    """Return the jobs of what is missing, in the order in which to start them, and how many cells are in the cache."""
    jobs: dict[Any, Job] = {}
    cached = 0
    for cell in cells:
        if cell.path().is_file():
            cached += 1
            continue
        owner, waits = cell.owner, getattr(cell, "waits", False)
        job = jobs.setdefault((waits, owner or cell), Job(str(owner or cell), waits))
        job.cells.append(cell)
        job.costs.append(cell.cost() + OVERHEAD)
    return sorted(jobs.values(), key=lambda job: (job.waits, -sum(job.costs))), cached


def prepare(cells: Iterable[Any], *, jobs: int, group: str) -> None:
    """Compute what is missing of some cells in `jobs` processes; raise Failure with the job that failed."""
    todo, cached = jobs_of(cells)
    if not todo:
        return say(f"prepare {cached} results, all in the cache")
    total, count, jobs = sum(len(job.cells) for job in todo), len(todo), min(jobs, len(todo))
    work, own_log = sum(sum(job.costs) for job in todo), partial(log, group)
    say(
        f"prepare {total} results in {count} job{'s' * (count > 1)} on {jobs} core{'s' * (jobs > 1)}, {cached} in the "
        f"cache; about {shown(work / jobs)}  (progress: {places.label(own_log(1).with_name('prepare-*.log'))})"
    )
    pieces = [Piece([(cell.run, ()) for cell in job.cells], job.waits) for job in todo]
    logs = [write_atomic(own_log(number), b"") for number in range(1, jobs + 1)]
    try:
        with closing(share(pieces, jobs=jobs, log=own_log, tick=FIRST / 5)) as events:
            _follow(events, todo, jobs)
    except Broken as broken:
        raise Failure(f"FAILED prepare, {todo[broken.index].name}: {broken}") from None
    finally:
        for each in logs:
            repeat_warnings(each)


def _follow(events: Iterator[Any], todo: list[Job], jobs: int) -> None:
    """Say what is done and how long the rest will take: at every job's end, and otherwise about once a minute."""
    left = {index: list(job.costs) for index, job in enumerate(todo)}
    total = sum(map(sum, left.values()))
    working, spent, done, started = {}, 0.0, 0, time.monotonic()
    due = started + FIRST
    for event in events:
        if event.kind == "start":
            working[event.index] = None
        elif event.kind == "call":
            spent += event.seconds
            left[event.index].pop(0)
        elif event.kind == "done":
            del left[event.index], working[event.index]
            done += 1
        rest = [sum(costs) for costs in left.values()]
        rate = (spent + PRIOR) / (total - sum(rest) + PRIOR)
        time_left = remaining(rest, rate, spent, time.monotonic() - started, jobs)
        ending = f", about {shown(time_left)} left" if rest else ""
        if event.kind == "done":
            say(f"[{done}/{len(todo)}] {todo[event.index].name}  {event.seconds:.0f} s{ending}")
        elif time.monotonic() > due and working:
            now = [f"{todo[i].name} ({len(todo[i].cells) - len(left[i])}/{len(todo[i].cells)})" for i in working]
            say(f"[{done}/{len(todo)}] at {', '.join(now)}{ending}")
        else:
            continue
        due = time.monotonic() + TICK


def remaining(rest: list[float], rate: float, spent: float, passed: float, jobs: int) -> float:
    """Return about how many seconds jobs of these costs will take at `rate` seconds each unit.

    `spent` is the seconds of what is done, `passed` those on the clock: what the processes have worked beyond the
    former is work on what is not done.

    >>> remaining([60, 60, 60, 60], 2, 100, 50, 2)
    240.0
    """
    if not rest:
        return 0.0
    shared = (sum(rest) * rate - (passed * jobs - spent)) / min(jobs, len(rest))
    return max(shared, max(rest) * rate - passed, 1.0)


def shown(seconds: float) -> str:
    """Write a time in words.

    >>> shown(30), shown(240), shown(9000)
    ('30 s', '4 min', '2.5 h')
    """
    if seconds < 90:
        return f"{ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def log(group: str, number: int) -> Path:
    """Return the file that shows the progress of a process."""
    return places.build_dir() / "log" / group / f"prepare-{number}.log"
