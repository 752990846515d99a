"""The plan's cells as jobs of a cluster: in order, shared out, tried again, and named where they are missing."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from robexpl.files import write_atomic
from robexpl.pipeline import cluster, commands, jobs, notebook
from robexpl.pipeline.cluster import Run
from robexpl.study import places, plan, sizes
from robexpl.study.places import ROOT


@dataclass(frozen=True)
class Net:
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Made:
    """A cell that leaves a file: a stage of a network; `how` says what else happens."""

    stage: str
    owner: Net
    how: str = ""
    seconds: float = 1.0

    def __str__(self) -> str:
        return f"{self.stage} {self.owner}"

    @property
    def arguments(self) -> tuple:
        return (self.owner if self.stage == "train" else self,)

    @property
    def networks(self) -> set[Net]:
        return {self.owner}

    def path(self) -> Path:
        return places.build_dir() / "cache" / self.stage / f"{self.owner}{self.how}"

    def cost(self) -> float:
        return self.seconds

    def run(self) -> None:
        if self.path().exists():
            return
        with (places.build_dir() / "order").open("a") as file:
            file.write(f"{self}\n")
        if self.how == "raises":
            raise ValueError("some reason")
        if self.how.startswith("dies") and not (flag := self.path().with_suffix(".died")).exists():
            if self.how == "dies once":
                write_atomic(flag, b"")
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "stays":
            time.sleep(600)
        write_atomic(self.path(), b"made")


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path))
    monkeypatch.delenv("ROBEXPL_PROGRESS")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests'}:{ROOT}")
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
    handlers = {number: signal.getsignal(number) for number in handled}
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


# What is asked for


def test_what_is_not_said_comes_from_the_study() -> None:
    stated = sizes.settings()["cluster"]
    found = cluster.wanted("slurm")
    assert {key: getattr(found, key) for key in stated} == stated
    assert cluster.wanted("slurm partition=short account=lab time=30 memory=2.5 retries=0", 64) == cluster.Cluster(
        "slurm", "short", "lab", 30, 2.5, stated["minutes"], 64, 0
    )
    assert cluster.wanted("local").array == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pbs", "expected as cluster one of slurm, local, got 'pbs'"),
        ("slurm queue=short", "expected settings of the cluster as partition=, account=, .*, got 'queue=short'"),
        ("slurm array=many", "got 'array=many'"),
        ("slurm array=2.5", "got 'array=2.5'"),
        ("slurm time=1", "expected as time of a job at least 5 minutes, got 1"),
        ("local minutes=nan", "minutes"),
    ],
)
def test_a_wrong_word_is_named(text: str, says: str) -> None:
    with pytest.raises((commands.Failure, ValueError), match=says):
        cluster.wanted(text)


def test_no_key_rests_on_the_machines(tmp_path: Path) -> None:
    with_them = sizes.FILE.read_bytes()
    without = notebook.MACHINES.sub(b"\n", with_them)
    assert b"retries" in with_them
    assert b"cluster" not in without
    assert b"sensitivity" in without
    assert notebook.MACHINES.sub(b"\n", with_them.replace(b"time: 60", b"time: 90  # more")) == without
    assert notebook.MACHINES.sub(b"\n", with_them.replace(b"margin: 0.05", b"margin: 0.06")) != without


def test_submitit_is_needed_for_a_cluster_only() -> None:
    code = "import sys; from robexpl.pipeline import report, cluster; assert 'submitit' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# What becomes of the plan


def test_every_cell_is_in_one_task_and_every_training_comes_before_what_needs_it(build: Path) -> None:
    cells = plan.cells("demo", 1, plan.templates("demo")[:4])
    tasks, cached = cluster.tasks_of(cells)
    assert cached == 0
    assert sorted(map(id, itertools.chain(*(task.cells for task in tasks)))) == sorted(map(id, cells))
    run, order = Run(tasks, cluster.wanted("slurm", 5)), []
    while made := run.next(5):
        for job in made:
            order += [cell for task in job for cell in task.cells]
            run.end("", job, [(0.0, "")] * len(job), "")
    assert (run.done, run.lost, run.coming) == (len(tasks), [], [])
    place = {cell: number for number, cell in enumerate(order)}
    trained = {cell.arguments[0]: place[cell] for cell in cells if cell.stage == "train"}
    for cell in cells:
        assert all(trained[network] <= place[cell] for network in cell.networks)
        if cell.stage == "score" and (search := plan.Cell("search", cell.arguments[:1])) in place:
            assert place[search] < place[cell]


def test_what_is_in_the_cache_is_no_task_and_is_waited_for_by_nobody(build: Path) -> None:
    cells = [Made("train", Net("a")), Made("search", Net("a"))]
    assert [task.needs for task in cluster.tasks_of(cells)[0]] == [set(), {Net("a")}]
    write_atomic(cells[0].path(), b"")
    ((task,), cached) = cluster.tasks_of(cells)
    assert (task.cells, task.needs, cached) == ([cells[1]], set(), 1)


def test_small_tasks_share_a_job_and_the_most_urgent_come_first(build: Path) -> None:
    long, short, alone = Net("long"), Net("short"), Net("alone")
    cells = [
        Made("train", short, seconds=10), Made("search", short, seconds=100), Made("train", long, seconds=90),
        Made("train", alone, seconds=1), Made("search", long, seconds=1),
    ]  # fmt: skip
    tasks = cluster.tasks_of(cells)[0]
    assert [task.name for task in tasks] == [
        "train short", "search short", "train long", "train alone", "search long",
    ]  # fmt: skip
    packed = cluster.packed(tasks, 100.5, 2)
    assert [[task.name for task in job] for job in packed] == [
        ["train short"], ["search short"], ["train long", "train alone", "search long"],
    ]  # fmt: skip
    assert cluster.aim(tasks, cluster.wanted("slurm minutes=1", 2)) == pytest.approx((202 + 0.5) / 4)
    assert cluster.aim(tasks, cluster.wanted("slurm minutes=0.5", 2)) == 30
    assert cluster.aim(tasks, cluster.wanted("slurm", 200)) == cluster.SHORTEST


# What becomes of a job


def run_of(*cells: Made, **changes: int) -> Run:
    return Run(cluster.tasks_of(cells)[0], cluster.wanted("slurm " + " ".join(f"{k}={v}" for k, v in changes.items())))


def test_what_a_lost_job_had_left_comes_again_up_to_a_number_of_times(
    build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = Made("train", Net("a"), seconds=2), Made("train", Net("b"))
    run = run_of(a, b, retries=2)
    (job,) = run.next(9)
    assert [task.name for task in job] == ["train a", "train b"]
    write_atomic(a.path(), b"")  # it got so far
    run.end("7", job, None, "was preempted")
    assert (run.done, run.failed, run.lost) == (1, 1, [])
    assert capsys.readouterr().err == "lost   job 7 was preempted: train b and what it had left come again\n"
    for tries in (1, 2):
        (job,) = run.next(9)
        assert [(task.name, task.tries) for task in job] == [("train b", tries)]
        run.end("8", job, None, "died")
    assert run.next(9) == []
    assert run.lost == ["train b: its job died (3 tries)"]


def test_what_has_run_out_of_time_counts_a_try_of_one_task_alone(build: Path) -> None:
    run = run_of(*[Made("train", Net(name), seconds=3 - place) for place, name in enumerate("abc")], retries=0)
    (job,) = run.next(9)
    run.end("7", job, [(2.0, "")], "")
    assert run.lost == ["train b: its job ran out of time (1 try)"]
    assert [task.name for task in run.coming] == ["train c"]
    assert run.spent == 2.0


def test_what_needs_a_lost_network_is_lost_and_errors_of_a_cell_are_not_tried_again(build: Path) -> None:
    run = run_of(Made("train", Net("a")), Made("search", Net("a")), Made("train", Net("b")), Made("search", Net("b")))
    (job,) = run.next(9)
    results = {"train a": (1.0, "ValueError: bad"), "train b": (1.0, "")}
    run.end("7", job, [results[task.name] for task in job], "")
    (job,) = run.next(9)
    assert [task.name for task in job] == ["search b"]
    run.end("8", job, [(1.0, "again no space left")], "")
    (job,) = run.next(9)
    run.end("9", job, [(1.0, "")], "")
    run.give_up()
    assert run.lost == ["train a: ValueError: bad", "search a: needs a"]


def test_the_line_of_progress_says_what_is_done_and_what_is_left(build: Path) -> None:
    run = run_of(*[Made("train", Net(f"{number}"), seconds=100) for number in range(4)])
    first, *_ = run.next(9)
    run.end("1", first, [(200.0, "")], "")
    line = run.line(["RUNNING", "RUNNING", "PENDING"])
    assert line == "[1/4] jobs: 2 running, 1 waiting, 0 failed; about 5 min left"  # 300 s, at 220 / 120, on two


def test_a_job_ends_before_its_time_is_over_and_keeps_what_it_has(build: Path, tmp_path: Path) -> None:
    def over() -> None:
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(60)

    log, later = tmp_path / "1.log", []
    done = jobs.work([[lambda: None], [lambda: 1 / 0], [(tmp_path / "no").unlink], [over], [later.append]], str(log))
    assert [failed for _, failed in done] == [
        "", "ZeroDivisionError: division by zero", f"again [Errno 2] No such file or directory: '{tmp_path / 'no'}'",
    ]  # fmt: skip
    assert later == []
    os.environ["ROBEXPL_PROGRESS"] = os.devnull


@pytest.mark.slow
def test_jobs_that_die_or_fail_are_named_and_the_rest_is_made(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    once, raises, fine = Net("once"), Net("raises"), Net("fine")
    cells = [
        Made("train", once, "dies once"), Made("search", once), Made("train", raises, "raises"),
        Made("search", raises), Made("train", fine), Made("search", fine), Made("attack", Net("dies"), "dies always"),
    ]  # fmt: skip
    asked = cluster.wanted("local retries=1", 2)
    assert commands.guarded("prepare", lambda: cluster.compute(cells, cluster=asked, group="demo") and 0) == 1
    *lines, last = capsys.readouterr().err.splitlines()
    assert last.startswith("FAILED prepare: 3 of 7 tasks are missing: ")
    named = last.partition("missing: ")[2].split("; ")
    assert sorted(named) == [
        "attack dies: its job died (2 tries)", "search raises: needs raises", "train raises: some reason",
    ]  # fmt: skip
    assert sum(line.startswith("lost   job ") for line in lines) >= 2
    assert all(cell.path().exists() for cell in cells if cell.owner in (once, fine))
    order = (build / "order").read_text().splitlines()
    assert order.count("train once") == 2
    assert order.count("train fine") == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_no_job(number: signal.Signals, build: Path) -> None:
    code = """
        import sys
        from test_cluster import Made, Net
        from robexpl.pipeline import cluster, commands
        cells = [Made("train", Net(name), "stays") for name in "ab"]
        asked = cluster.wanted("local", 2)
        sys.exit(commands.guarded("prepare", lambda: cluster.compute(cells, cluster=asked, group="demo") and 0, "kept"))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 100
        while not (build / "order").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(process.pid, number) if number == signal.SIGINT else process.terminate()  # Ctrl-C reaches all of them
        lines = process.communicate(timeout=60)[1].splitlines()
        assert re.match(r"prepare 2 results in 2 tasks on local, 0 in the cache; 3 s of work on one core", lines[0])
        assert lines[1:] == ["STOPPED prepare: kept"]
        assert process.returncode == 128 + number
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
