"""Compute what notebooks will ask for in the jobs of a cluster: Slurm's, or those of this machine, `local`.

A task is what is computed in one go: a training, a network's attacks, a search and its scores. It starts when the
networks that it needs are trained. Small tasks share a job, so that a job lasts minutes; keys, cache and locks are
those of one machine, and a job finds in the cache what another one has finished.
"""

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from typing import Any

from robexpl import checks
from robexpl.pipeline import prepare, workers
from robexpl.pipeline.commands import Failure, say
from robexpl.pipeline.jobs import Done, Queue
from robexpl.pipeline.prepare import shown
from robexpl.study import places, sizes

KINDS = ("slurm", "local")
SHORTEST = 15.0  # seconds of work that are worth a job, which takes some to start
PAUSES = (0.5, 10.0)  # seconds between two looks at the jobs: at first, at most
NAMED = 6  # of what is missing
LEAST = 5  # minutes of a job: Slurm tells it up to a minute too early that its time is nearly over


@dataclass(frozen=True)
class Cluster:
    """What is asked of a cluster; study.yaml says what each field means."""

    kind: str
    partition: str
    account: str
    time: float
    memory: float
    minutes: float
    array: int
    retries: int


@dataclass
class Task:
    """Cells to compute one after the other, and the networks to be trained before; `tries` counts lost jobs."""

    name: str
    cells: list[Any] = field(default_factory=list)
    needs: set[Any] = field(default_factory=set)
    cost: float = 0.0
    tries: int = 0


def wanted(text: str, jobs: int = 0) -> Cluster:
    """Return what a command line asks for, such as "slurm partition=short time=30"; `jobs` at once, 0 where not said.
    >>> wanted("slurm time=30", jobs=8).array
    8
    """
    kind, *settings = text.split() or [""]
    stated, types = dict(sizes.settings()["cluster"]), {each.name: each.type for each in fields(Cluster)[1:]}
    if kind not in KINDS:
        raise Failure(f"expected as cluster one of {', '.join(KINDS)}, got {kind!r}", 2)
    for setting in settings:
        key, _, value = setting.partition("=")
        try:
            stated[key] = types[key](value)
        except (KeyError, ValueError):
            raise Failure(f"expected settings of the cluster as {'=, '.join(types)}=, got {setting!r}", 2) from None
    found = Cluster(kind, **stated)
    if kind == "slurm" and found.time < LEAST:
        raise Failure(f"expected as time of a job at least {LEAST} minutes, got {found.time:g}", 2)
    checks.positive(time=found.time, memory=found.memory, minutes=found.minutes, array=found.array)
    return replace(found, array=jobs or (workers.cores() if kind == "local" else found.array))


def tasks_of(cells: Iterable[Any]) -> tuple[list[Task], int]:
    """Return what is missing as tasks, the most urgent first, and how many cells are in the cache."""
    cells = list(cells)
    missing = [cell for cell in cells if not cell.path().is_file()]
    training = {cell.arguments[0] for cell in missing if cell.stage == "train"}
    tasks: dict[Any, Task] = {}
    for cell in missing:
        together = cell.arguments[0] if cell.stage in ("train", "search", "score") else (cell.stage, cell.owner)
        task = tasks.setdefault(together, Task(str(cell)))
        task.cells.append(cell)
        task.cost += cell.cost() + prepare.OVERHEAD
        task.needs |= cell.networks & training - {together}
    after = dict.fromkeys(training, 0.0)  # the longest task that waits for a network
    for task in tasks.values():
        after |= {network: max(after[network], task.cost) for network in task.needs}
    urgency = {id(task): task.cost + after.get(about, 0.0) for about, task in tasks.items()}
    return sorted(tasks.values(), key=lambda task: -urgency[id(task)]), len(cells) - len(missing)


def packed(tasks: Iterable[Task], seconds: float, alone: int) -> list[list[Task]]:
    """Share tasks out to jobs of about so many seconds, in their order; one on its last of `alone` tries has its own.
    >>> [[task.name for task in job] for job in packed([Task("a", cost=9), Task("b", cost=4), Task("c", cost=5)], 9, 2)]
    [['a'], ['b', 'c']]
    """
    jobs: list[list[Task]] = []
    room = 0.0
    for task in tasks:
        own = 0 < alone <= task.tries
        if own or not jobs or task.cost > room:
            jobs.append([])
            room = 0.0 if own else seconds
        jobs[-1].append(task)
        room -= task.cost
    return jobs


def aim(tasks: Iterable[Task], cluster: Cluster) -> float:
    """Return about how many seconds of work a job should have: `minutes`, or less where that leaves places empty."""
    return max(SHORTEST, min(60 * cluster.minutes, sum(task.cost for task in tasks) / (2 * cluster.array)))


class Run:
    """What is done, what is to come and what is lost of the tasks of one run."""

    def __init__(self, tasks: list[Task], cluster: Cluster) -> None:
        self.coming, self.total, self.cluster, self.seconds = tasks, len(tasks), cluster, aim(tasks, cluster)
        self.untrained = {cell.arguments[0] for task in tasks for cell in task.cells if cell.stage == "train"}
        self.lost: list[str] = []  # tasks, and why
        self.work = self.left = sum(task.cost for task in tasks)
        self.done = self.jobs = self.failed = 0
        self.spent, self.started = 0.0, time.monotonic()

    def next(self, free: int) -> list[list[Task]]:
        """Take the tasks that can start out of those to come, shared out to at most `free` jobs."""
        ready = [task for task in self.coming if task.needs.isdisjoint(self.untrained)]
        jobs = packed(ready, self.seconds, self.cluster.retries)[: max(free, 0)]
        self.jobs += len(jobs)
        taken = {id(task) for job in jobs for task in job}
        self.coming = [task for task in self.coming if id(task) not in taken]
        return jobs

    def end(self, number: str, tasks: list[Task], result: Done | None, why: str) -> None:
        """Take in what became of a job's tasks; those that a job lost come again, up to a number of times."""
        if result is None:  # what it finished is in the cache
            found = [all(cell.path().is_file() for cell in task.cells) for task in tasks]
            result = [(0.0, "" if there else f"again its job {why}") for task, there in zip(tasks, found, strict=True)]
        elif rest := tasks[len(result) :]:
            result, why = [*result, (0.0, "again its job ran out of time")], "ran out of time"
            self.coming = rest[1:] + self.coming
        again = []
        for task, (seconds, failed) in zip(tasks, result, strict=False):
            self.spent += seconds
            reason, passing = failed.removeprefix("again "), failed.startswith("again ")
            if passing and task.tries < self.cluster.retries:
                again.append(replace(task, tries=task.tries + 1))
            else:
                self.left -= task.cost
                self.done += not failed
                if failed:
                    tries = f" ({task.tries + 1} tr{'ies' if task.tries else 'y'})" * passing
                    self.lost.append(f"{task.name}: {reason}{tries}")
                else:
                    self.untrained -= {cell.arguments[0] for cell in task.cells if cell.stage == "train"}
        self.coming = again + self.coming
        if why:
            self.failed += 1
            say(f"lost   job {number} {why}{f': {again[0].name} and what it had left come again' if again else ''}")

    def give_up(self) -> None:
        """Count as lost what waits for networks that are."""
        for task in self.coming:
            self.lost.append(f"{task.name}: needs {', '.join(sorted(map(str, task.needs & self.untrained)))}")
        self.coming = []

    def line(self, states: Iterable[str]) -> str:
        """Return what is done, running, waiting and failed, and about how long the rest will take."""
        states = list(states)
        running = sum(state in ("RUNNING", "COMPLETING") for state in states)
        rate = (self.spent + prepare.PRIOR) / (self.work - self.left + prepare.PRIOR)
        left = max(self.left * rate / max(running, 1), 1.0)
        jobs = f"jobs: {running} running, {len(states) - running} waiting, {self.failed} failed"
        return f"[{self.done}/{self.total}] {jobs}; about {shown(left)} left"


def compute(cells: Iterable[Any], *, cluster: Cluster, group: str) -> Run:
    """Compute what is missing of some cells; raise Failure with what is missing in the end."""
    tasks, cached = tasks_of(cells)
    run = Run(tasks, cluster)
    if not tasks:
        say(f"prepare {cached} results, all in the cache")
        return run
    queue = Queue(cluster, group)
    count = sum(len(task.cells) for task in tasks)
    said = f"prepare {count} results in {run.total} tasks on {cluster.kind}, {cached} in the cache"
    say(f"{said}; {shown(run.work)} of work on one core  (logs: {places.label(queue.folder)})")
    pause, due = PAUSES[0], time.monotonic() + prepare.FIRST
    with closing(queue):
        while run.coming or queue.sent:
            if jobs := run.next(cluster.array - len(queue.sent)):
                queue.submit([(job, [[cell.run for cell in task.cells] for task in job]) for job in jobs])
            elif not queue.sent:
                run.give_up()
            time.sleep(pause)
            pause = min(1.05 * pause, PAUSES[1])
            for number, sent, result, why in queue.ended():
                run.end(number, sent.about, result, why)
            if time.monotonic() > due and queue.sent:
                say(run.line(queue.seen.get(number, "") for number in queue.sent))
                due = time.monotonic() + prepare.TICK
    if run.lost:
        more = f"; and {len(run.lost) - NAMED} more" if len(run.lost) > NAMED else ""
        raise Failure(
            f"FAILED prepare: {len(run.lost)} of {run.total} tasks are missing: {'; '.join(run.lost[:NAMED])}{more}"
        )
    say(f"[{run.total}/{run.total}] {run.jobs} jobs done in {shown(time.monotonic() - run.started)}")
    return run
