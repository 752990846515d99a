"""Measure what a worker adds and simulate how the full study scales: `python tests/bench/scaling.py`.

Three files go to paper/generated. bench-cluster.csv: a small report prepared by one and by two workers, local jobs of
submitit, each with an empty cache; overhead is what the workers' seconds on the clock hold beside the cells' work, for
each cell. bench-costs.csv: CPU seconds of a cell of each kind over those of the plan, measured on one cell each,
trainings for one epoch, and CPU seconds that a job takes to start. bench-scaling.csv: the full study with these costs
on 8 to 512 workers, by the scheduling that `make report CLUSTER=...` uses itself. `--simulate` makes the last one
alone, from the costs that are stored.
"""

import heapq
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pandas as pd
import torch

from robexpl.files import write_atomic
from robexpl.pipeline import cluster, commands, jobs, report
from robexpl.pipeline.cluster import Run, Task
from robexpl.pipeline.publish import to_csv
from robexpl.study import plan, sizes, stages
from robexpl.study.networks import Network
from robexpl.study.places import generated_dir
from robexpl.study.stages import Search

WORKERS = (8, 16, 32, 64, 128, 256, 512)
MEASURED = (1, 2)
SMALL = "rq1"  # the notebook whose cells, on both small datasets, are timed on the cluster
KEYS = ("dataset", "stage", "regime", "stop", "early", "measure")


def kind(cell: plan.Cell) -> tuple[str, ...]:
    """Return what the cost of a cell depends on beside its size: dataset, stage, regime, criterion, measure."""
    first, owner = cell.arguments[0], cell.owner
    early = "early stop" * getattr(first, "early_stop", False)
    regime = owner.regime if owner and cell.stage in ("train", "search") else ""
    stop, measure = getattr(first, "stop", "") * (cell.stage == "search"), getattr(cell.arguments[-1], "distance", "")
    return cell.about.data.dataset, cell.stage, regime, stop, early, measure


def shortened(cell: plan.Cell) -> plan.Cell:
    """Return the cell with networks of one epoch in place of its own."""

    def short(value: Any) -> Any:
        if isinstance(value, Network):
            return replace(value, epochs=1)
        names = [
            name for name in ("subject", "network") if hasattr(value, "__dataclass_fields__") and name in vars(value)
        ]
        return replace(value, **{name: short(vars(value)[name]) for name in names}) if names else value

    return plan.Cell(cell.stage, tuple(map(short, cell.arguments)))


def factors(cells: Iterable[plan.Cell]) -> pd.DataFrame:
    """Return by kind the CPU seconds that the longest of some cells takes, over those of the plan."""
    longest: dict[tuple[str, ...], plan.Cell] = {}
    for cell in cells:
        first = sizes.load("full", cell.about.data.dataset).first
        if cell.about.data.seed in (0, first) and isinstance(cell.owner, (Network, type(None))) and not cell.waits:
            known = longest.get(kind(cell))
            longest[kind(cell)] = cell if known is None or cell.cost() > known.cost() else known
    rows = []
    for of, cell in longest.items():
        small = shortened(cell)
        small.about.data.load()
        if small.stage == "score":
            subject, measure = getattr(small.arguments[0], "subject", None), small.arguments[1]
            stages.scorer(small.about.data.shared(), measure, subject if measure.marked("NETWORK") else None)
            if isinstance(small.arguments[0], Search):
                stages.search(small.arguments[0])
        elif small.owner and small.stage != "train":
            small.owner.model()
        started = time.process_time()
        small.run()
        rows.append((*of, (time.process_time() - started) / small.cost()))
        commands.say(f"scaling {' '.join(filter(None, of))}: {rows[-1][-1]:.2f} of the plan's seconds")
    return pd.DataFrame(rows, columns=[*KEYS, "factor"])


def start() -> float:
    """Return the CPU seconds that a job takes to start and to load the largest data."""
    before, study = resource.getrusage(resource.RUSAGE_CHILDREN), sizes.load("full", "mnist")
    with empty_cache(), closing(jobs.Queue(cluster.wanted("local", 1), "scaling")) as queue:
        queue.submit([("start", [[study.load]])])
        while queue.sent:
            for _, _, result, why in queue.ended():
                if why or result[0][1]:
                    raise RuntimeError(f"expected a job to start and load its data, got {why or result[0][1]}")
            time.sleep(0.2)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def simulate(tasks: list[Task], workers: int, seconds: Callable[[Task], float], overhead: float) -> float:
    """Return when the last of `workers` is done; a job takes the seconds of its tasks and an overhead.
    Tasks are chosen and shared out to jobs as on a cluster; jobs start in the order in which they were submitted.
    """
    asked = cluster.wanted("slurm", jobs=max(2 * workers, 200))
    run, waiting, busy, now, turn = Run([replace(task) for task in tasks], asked), [], [], 0.0, count()
    while run.coming or waiting or busy:
        waiting += run.next(asked.array - len(waiting) - len(busy))
        while waiting and len(busy) < workers:
            job = waiting.pop(0)
            heapq.heappush(busy, (now + overhead + sum(map(seconds, job)), next(turn), job))
        now, _, job = heapq.heappop(busy)
        run.end("", job, [(seconds(task), "") for task in job], "")
    return now


def path(tasks: list[Task], seconds: Callable[[Task], float]) -> float:
    """Return the longest chain of tasks of which each waits for the one before: no number of workers is faster."""
    trained = {task.cells[0].arguments[0]: seconds(task) for task in tasks if task.cells[0].stage == "train"}
    return max(seconds(task) + max((trained[one] for one in task.needs), default=0.0) for task in tasks)


def simulation(tasks: list[Task], seconds: Callable[[Task], float], overhead: float) -> pd.DataFrame:
    """Return how the full study scales: workers, hours of work, makespan, longest task and chain, efficiency."""
    total = sum(map(seconds, tasks))
    longest, chain = max(map(seconds, tasks)), path(tasks, seconds)
    rows = []
    for workers in WORKERS:
        makespan = simulate(tasks, workers, seconds, overhead)
        rows.append((workers, len(tasks), total, makespan, longest, chain, total / workers / makespan))
    columns = ["workers", "tasks", "work_seconds", "makespan_seconds", "longest_task", "longest_chain", "efficiency"]
    return pd.DataFrame(rows, columns=columns)


@contextmanager
def empty_cache() -> Iterator[None]:
    """Let everything be computed anew, in a folder that is removed."""
    kept = os.environ.get("ROBEXPL_BUILD")
    with tempfile.TemporaryDirectory(prefix="robexpl-") as folder:
        os.environ["ROBEXPL_BUILD"] = folder
        yield
    os.environ.pop("ROBEXPL_BUILD")
    os.environ |= {"ROBEXPL_BUILD": kept} if kept else {}


def measured() -> pd.DataFrame:
    """Return what one and two workers took for a small report: cells, jobs, seconds, overhead of each cell."""
    rows = []
    for workers in MEASURED:
        with empty_cache():
            cells = plan.cells("demo", 1, report.chosen("demo", SMALL))
            started = time.monotonic()
            run = cluster.compute(cells, cluster=cluster.wanted("local", workers), group="scaling")
            passed = time.monotonic() - started
        overhead = (workers * passed - run.spent) / len(cells)
        rows.append((workers, len(cells), run.jobs, passed, run.spent, overhead))
    return pd.DataFrame(rows, columns=["workers", "cells", "jobs", "seconds", "cell_seconds", "overhead_per_cell"])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, simulate and write the tables; return the exit code."""
    parser = commands.Parser(prog="scaling", description="Measure and simulate how the study scales.")
    parser.add_argument("--simulate", action="store_true", help="from the costs that are stored")
    stored = parser.parse_args(argv).simulate

    def write(name: str, frame: pd.DataFrame) -> None:
        write_atomic(generated_dir("full") / f"bench-{name}.csv", to_csv(frame))
        commands.say(frame.to_string(index=False))

    def run() -> None:
        torch.set_num_threads(1)
        if not stored:
            write("cluster", measured())
            with empty_cache():
                table = factors(plan.cells("full"))
            write("costs", pd.concat([table, pd.DataFrame([("", "start", *[""] * 4, start())], columns=table.columns)]))
        known = pd.read_csv(generated_dir("full") / "bench-costs.csv", keep_default_na=False)
        known = {tuple(row[:-1]): row[-1] for row in known.itertuples(index=False)}
        with empty_cache():
            tasks = cluster.tasks_of(plan.cells("full"))[0]
        # by their cells, as a task is copied
        costs = {id(task.cells): sum(cell.cost() * known.get(kind(cell), 1.0) for cell in task.cells) for task in tasks}
        write("scaling", simulation(tasks, lambda task: costs[id(task.cells)], known["", "start", *[""] * 4]))

    return commands.guarded("scaling", run)


if __name__ == "__main__":
    sys.exit(main())
