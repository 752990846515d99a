"""What the notebooks will ask for is computed before they run: all of it, once, longest first, on many cores."""

from __future__ import annotations

import multiprocessing
import operator
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from cells import Written

from robexpl import progress
from robexpl.files import write_atomic
from robexpl.pipeline import commands, prepare, report, workers
from robexpl.study import grid, places, plan, sizes, stages
from robexpl.study.places import ROOT

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
ENDLESS = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from cells import Written
from robexpl.pipeline import commands, prepare
cells = [Written(f"net {n}", "train", seconds=1000) for n in range(3)]
sys.exit(commands.guarded("prepare", lambda: prepare.prepare(cells, jobs=int(sys.argv[1]), group="demo"), "kept"))
"""


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path))
    monkeypatch.delenv("ROBEXPL_PROGRESS")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


def done(build: Path) -> list[str]:
    return [line.rpartition(" ")[0] for line in (build / "order").read_text().splitlines()]


# Processes


def shared(*calls: tuple[Callable, tuple], jobs: int, folder: Path, waits: int = 99) -> list[workers.Event]:
    todo = [workers.Job(f"job {n}", n >= waits, [partial(call, *args)]) for n, (call, args) in enumerate(calls)]
    return list(workers.share(todo, jobs=jobs, log=folder / "*.log", tick=0.2))


def test_jobs_start_in_order_and_all_are_done(tmp_path: Path) -> None:
    made = [(os.mkdir, (str(tmp_path / str(number)),)) for number in range(5)]
    events = [event[:2] for event in shared(*made, jobs=1, folder=tmp_path) if event[0] != "tick"]
    assert events == [(kind, number) for number in range(5) for kind in ("start", "call", "done")]
    assert all((tmp_path / str(number)).is_dir() for number in range(5))
    events = shared((time.sleep, (0.5,)), (time.sleep, (0,)), (print, ("x",)), jobs=2, folder=tmp_path)
    assert sorted(index for kind, index, _ in events if kind == "done") == [0, 1, 2]
    assert any(kind == "tick" for kind, _, _ in events)
    assert multiprocessing.active_children() == []


def test_a_job_that_waits_starts_when_the_others_are_done(tmp_path: Path) -> None:
    events = shared(*[(time.sleep, (seconds,)) for seconds in (0.6, 0, 0, 0)], jobs=2, folder=tmp_path, waits=2)
    order = [event[:2] for event in events if event[0] in ("start", "done")]
    assert order.index(("start", 2)) > max(order.index(("done", number)) for number in (0, 1))
    assert order[-1][0] == "done"


def test_what_a_job_says_is_said_here_and_what_it_prints_goes_to_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared((commands.say, ("ok     it",)), (print, ("not said",)), jobs=1, folder=tmp_path)
    assert capsys.readouterr() == ("", "ok     it\n")
    assert (tmp_path / "1.log").read_text() == "not said\n"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ((operator.truediv, (1, 0)), "ZeroDivisionError: division by zero"),
        ((os.mkdir, ("/nowhere/x",)), "No such file or directory: '/nowhere/x'"),
        ((signal.raise_signal, (signal.SIGKILL,)), r"its process was killed \(SIGKILL\), perhaps for want of memory"),
        ((os._exit, (3,)), r"its process ended \(exit code 3\)"),
    ],
)
def test_a_job_that_fails_is_named_and_ends_all(call: tuple[Callable, tuple], says: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(commands.Failure, match=f"^FAILED job 1: .*{says}"):
        shared((time.sleep, (100,)), call, (time.sleep, (100,)), jobs=2, folder=tmp_path)
    assert time.monotonic() - started < 60
    assert multiprocessing.active_children() == []


# What is prepared


def test_cells_of_one_network_are_one_job_the_longest_first(build: Path) -> None:
    cells = [
        Written("a", "train", 1), Written("b", "train", 5), Written("a", "attack", 1), Written("c", "train", 100, True),
        Written(None, "score", 3), Written("a", "search", 9, True),
    ]  # fmt: skip
    jobs, cached = prepare.jobs_of(cells)
    assert [(job.name, len(job.calls), job.waits) for job in jobs] == [
        ("b", 1, False), ("score None", 1, False), ("a", 2, False), ("c", 1, True), ("a", 1, True),
    ]  # fmt: skip
    assert cached == 0
    write_atomic(cells[1].path(), b"made before")
    assert [job.name for job in prepare.jobs_of(cells)[0]] == ["score None", "a", "c", "a"]


def test_two_processes_prepare_all_that_is_asked_for(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages = [("train", 1, False), ("attack", 0, False), ("search", 0, True)]
    cells = [
        Written(f"net {n}", stage, length * (3 - n) / 10, waits) for stage, length, waits in stages for n in range(3)
    ]
    prepare.prepare(cells, jobs=2, group="demo")
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == (
        "prepare 9 results in 6 jobs on 2 cores, 0 in the cache; about 1 s  (progress: build/log/demo/prepare-*.log)"
    )
    assert [line.split()[0] for line in lines] == [f"[{number}/6]" for number in range(1, 7)]
    assert all(re.fullmatch(r"\[\d/6\] net \d  \d+ s(, about \d+ s left)?", line) for line in lines), lines
    order = done(build)
    assert sorted(order) == sorted(map(str, cells))
    assert {line.split()[0] for line in order[-3:]} == {"search"}
    for n in range(3):
        assert order.index(f"train net {n}") < order.index(f"attack net {n}")

    prepare.prepare(cells, jobs=2, group="demo")
    assert capsys.readouterr().err == "prepare 9 results, all in the cache\n"
    assert done(build) == order


def test_a_long_preparation_is_heard_of(
    build: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare.FIRST <= 30
    assert prepare.TICK + prepare.FIRST / 5 <= 60
    monkeypatch.setattr(prepare, "FIRST", 0.5)
    monkeypatch.setattr(prepare, "TICK", 0.5)
    prepare.prepare([Written("a", "train", 4), Written("a", "attack")], jobs=1, group="demo")
    heard = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[0/1] at a (0/2), about ")]
    assert len(heard) >= 3
    assert all(line.endswith(" s left") for line in heard)


def test_a_job_that_fails_is_one_line_and_its_warnings_are_repeated(
    build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [Written("a", "train", 0.5), Written("b", "train", fails="some reason"), Written("b", "attack")]
    assert commands.guarded("prepare", lambda: prepare.prepare(cells, jobs=1, group="demo")) == 1
    first, *lines = capsys.readouterr().err.splitlines()
    assert first.startswith("prepare 3 results in 2 jobs on 1 core, 0 in the cache; about 1 s")
    assert lines[0].startswith("[1/2] a  ")
    assert lines[1:] == ["warning: about train b", "FAILED prepare, b: some reason"]
    assert done(build) == ["train a"]


def test_a_warning_of_many_logs_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ROBEXPL_PROGRESS", raising=False)
    monkeypatch.setattr(progress, "SAID", set())
    progress.warn("here")
    logs = [write_atomic(tmp_path / f"{n}.log", b"warning: here\nwarning: there\nwarning: there\n") for n in range(3)]
    for log in logs:
        commands.repeat_warnings(log)
    commands.say("anything else")
    commands.say("anything else")
    assert capsys.readouterr().err.splitlines() == ["warning: here", "warning: there", *["anything else"] * 2]


def test_the_time_left_is_measured() -> None:
    assert prepare.remaining([], 2, 100, 50, 2) == 0
    assert prepare.remaining([60, 60, 60, 60], 2, 100, 50, 2) == 240  # 480 s of work, 2 processes
    assert prepare.remaining([60, 60, 60, 60], 2, 100, 110, 2) == 180  # 120 s of it are done
    assert prepare.remaining([30], 2, 100, 50, 8) == 10  # one process alone can go on
    assert prepare.shown(89) == "89 s"
    assert prepare.shown(240) == "4 min"
    assert prepare.shown(9000) == "2.5 h"


@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_a_stopped_run_leaves_no_process_and_nothing_half_written(
    number: signal.Signals, jobs: int, tmp_path: Path
) -> None:
    environment = {**os.environ, "ROBEXPL_BUILD": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(jobs)], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    logs = [tmp_path / "log" / "demo" / f"prepare-{n}.log" for n in range(1, jobs + 1)]
    try:
        wait_for(lambda: all(log.exists() and log.stat().st_size for log in logs))
        os.killpg(process.pid, number) if number == signal.SIGINT else process.terminate()  # Ctrl-C reaches all of them
        first, *lines = process.communicate(timeout=60)[1].splitlines()
        assert first.startswith("prepare 3 results in 3 jobs")
        assert lines == ["STOPPED prepare: kept"]
        assert process.returncode == 128 + number
        wait_for(lambda: not alive(process.pid))
    finally:  # where this fails, nothing endless stays behind
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    kept = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in kept if path.parts[0] not in ("log", "locks")] == []


def wait_for(condition: Callable[[], bool], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# What is asked for


def test_every_template_is_planned_and_every_planned_notebook_has_one() -> None:
    assert {path.stem for path in (ROOT / "notebooks").glob("*.py")} == {entry.name for entry in plan.NOTEBOOKS}


def test_what_the_plan_lists_can_be_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path))  # where nothing is cached
    cells = plan.cells("demo", 1, plan.templates("demo")[:2])
    assert len(set(cells)) == len(cells)
    jobs, cached = prepare.jobs_of(cells)
    assert sum(len(job.calls) for job in jobs) + cached == len(cells)
    assert [job.waits for job in jobs] == sorted(job.waits for job in jobs)
    trained = {str(cell.owner) for cell in cells if cell.stage == "train"}
    assert {job.name for job in jobs if not job.waits} >= trained


@pytest.mark.parametrize(
    ("profile", "only", "names"),
    [
        ("demo", "rq1", ["rq1-digits", "rq1-breast_cancer"]),
        ("demo", "rq1-digits,table1", ["rq1-digits", "table1"]),
        ("full", "verdicts,models-mnist", ["models-mnist", "verdicts"]),
    ],
)
def test_some_notebooks_can_be_asked_for(profile: str, only: str, names: list[str]) -> None:
    assert [report.name_of(made) for made in report.chosen(profile, only)] == names


@pytest.mark.parametrize(
    ("profile", "seeds", "notebooks", "generated"),
    [
        ("full", 0, "notebooks", "paper/generated"),
        ("demo", 0, "build/demo/notebooks", "build/demo/generated"),
        ("full", 1, "build/full-seeds1/notebooks", "build/full-seeds1/generated"),
        ("demo", 3, "build/demo-seeds3/notebooks", "build/demo-seeds3/generated"),
    ],
)
def test_only_the_full_study_with_its_own_seeds_is_published(
    profile: str, seeds: int, notebooks: str, generated: str
) -> None:
    where = report.target(profile, seeds)
    assert places.label(where.notebooks) == notebooks
    assert places.label(where.generated) == generated
    assert (
        places.label(where.pdf)
        == ("paper" if (profile, seeds) == ("full", 0) else f"build/{where.group}") + "/paper.pdf"
    )


# Networks trained in one pass


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_GPU)])
def test_networks_trained_in_one_pass_are_those_trained_one_by_one(build: Path, device: str, capsys) -> None:
    study = replace(sizes.load("demo", "breast_cancer", 2), epochs=2)
    cells = [plan.Cell("train", (one.what,)) for one in grid.networks(study, ("as_run", "corrected"))]
    prepare.train_stacked(cells, device)
    assert capsys.readouterr().err.count("train 2 networks in one pass") == 8  # four regimes in two conditions
    kept = {cell: stages.train(*cell.arguments) for cell in cells}
    for cell, values in kept.items():
        cell.path().unlink()
        alone = stages.train(*cell.arguments)
        assert values.keys() == alone.keys()
        for name, value in values.items():
            torch.testing.assert_close(value, alone[name], atol=1e-4, rtol=0)
