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
from pathlib import Path

import pooch
import pytest

from robexpl import artifacts, data, progress
from robexpl.artifacts import ROOT
from robexpl.report import prepare, profiles, report, study, workers

TINY = replace(
    profiles.PROFILES["demo"], epochs={"image": 1, "tabular": 1}, seeds={"image": 1, "tabular": 1}, runs=1, factuals=8,
    steps=20, k=5,
)  # fmt: skip
NETWORKS = 11  # of one seed on a table: 4 published, of which stated shares the standard one; 4 repaired
ENDLESS = """
import sys
from dataclasses import replace
from robexpl.report import prepare, profiles
profiles.PROFILES["demo"] = replace(profiles.PROFILES["demo"], epochs={"image": 10**6, "tabular": 10**6})
sys.exit(prepare.main(["--profile", "demo", "--jobs", sys.argv[1]]))
"""


def entries(build: Path) -> dict[str, bytes]:
    return {str(path.relative_to(build)): path.read_bytes() for path in sorted((build / "cache").glob("*/*"))}


def no_process(*_: object, **__: object) -> None:
    raise AssertionError("nothing is missing, so no process is needed")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path / "two"))
    monkeypatch.delenv("ROBEXPL_PROGRESS")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setitem(profiles.PROFILES, "demo", TINY)
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


# Processes


def shared(*pieces: workers.Piece, jobs: int, folder: Path) -> list[int]:
    log = lambda number: folder / f"{number}.log"  # noqa: E731
    return [index for index, _ in workers.share(pieces, jobs=jobs, log=log)]


def test_pieces_start_in_order_and_all_are_done(tmp_path: Path) -> None:
    made = [(os.mkdir, (str(tmp_path / str(number)),)) for number in range(5)]
    assert shared(*made, jobs=1, folder=tmp_path) == [0, 1, 2, 3, 4]
    assert all((tmp_path / str(number)).is_dir() for number in range(5))
    assert sorted(shared((time.sleep, (0.5,)), (time.sleep, (0,)), (print, ("x",)), jobs=2, folder=tmp_path)) == [
        0,
        1,
        2,
    ]
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("piece", "says"),
    [
        ((operator.truediv, (1, 0)), "ZeroDivisionError: division by zero"),
        ((os.mkdir, ("/nowhere/x",)), "No such file or directory: '/nowhere/x'"),
        ((signal.raise_signal, (signal.SIGKILL,)), r"its process was killed \(SIGKILL\), perhaps for want of memory"),
        ((os._exit, (3,)), r"its process ended \(exit code 3\)"),
    ],
)
def test_a_piece_that_fails_is_named_and_ends_all(piece: workers.Piece, says: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(workers.Broken, match=says) as broken:
        shared((time.sleep, (100,)), piece, (time.sleep, (100,)), jobs=2, folder=tmp_path)
    assert broken.value.index == 1
    assert time.monotonic() - started < 60
    assert multiprocessing.active_children() == []


# What is prepared


def test_networks_that_readings_share_are_one_job() -> None:
    jobs = prepare.plan(study.profile("full"), {"mnist": True, "california": True}, 4)
    images = [job for job in jobs if job.subject.dataset == "mnist"]
    assert len(images) == 4 + 3 * 4 + 3 * 2
    assert len(jobs) - len(images) == 4 * (4 + 3 + 4)
    assert str(images[0]) == "mnist standard seed 0 (published, stated, repaired)"
    assert len(set(map(str, jobs))) == len(jobs)


def test_what_takes_longer_costs_more() -> None:
    loaded = data.load("digits")
    cost = {
        (job.subject.regime, job.subject.early_stop): sum(prepare.estimate(stage, loaded) for stage in job.missing)
        for job in prepare.plan(replace(TINY, epochs={"image": 20, "tabular": 20}), {"digits": False}, 1)
    }
    order = [cost[regime, False] for regime in ("standard", "weak", "medium", "strong")]
    assert order == sorted(order)
    assert cost["strong", True] < cost["strong", False]


def test_the_time_left_is_measured() -> None:
    assert prepare.time_left([], 2, 100, 50, 2) == ""
    assert prepare.time_left([60, 60, 60, 60], 2, 100, 50, 2) == "4 min"  # 480 s of work, 2 processes
    assert prepare.time_left([60, 60, 60, 60], 2, 100, 110, 2) == "3 min"  # 120 s of it are done
    assert prepare.time_left([30], 2, 100, 50, 8) == "10 s"  # one process alone can go on
    assert prepare.time_left([9000, 9000], 1, 100, 50, 2) == "2.5 h"


def test_two_processes_prepare_all_that_is_asked_for(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted, costs = {"breast_cancer": True}, []

    def noted(pieces: list, **options: object) -> object:
        costs.extend(sum(prepare.estimate(stage, data.load("breast_cancer")) for stage in p[1][0]) for p in pieces)
        return workers.share(pieces, **options)

    monkeypatch.setattr(prepare, "share", noted)
    assert prepare.guarded("demo", wanted, None, "2") == 0
    assert costs == sorted(costs, reverse=True)
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == f"prepare {NETWORKS} networks on 2 cores, 0 in the cache  (progress: build/log/demo/prepare-*.log)"
    assert [line.split()[0] for line in lines] == [f"[{number}/{NETWORKS}]" for number in range(1, NETWORKS + 1)]
    line = r"\[\d+/11\] breast_cancer \w+ seed 0 \([a-z, ]+\)  \d+ s(, about [\d.]+ (s|min|h) left)?"
    assert all(re.fullmatch(line, text) for text in lines)

    monkeypatch.setattr(prepare, "share", no_process)  # here, none is needed
    assert prepare.guarded("demo", wanted, None, None) == 0
    assert capsys.readouterr().err == f"prepare {NETWORKS} networks, all in the cache\n"

    with monkeypatch.context() as patch:  # now nothing may be missing
        patch.setattr(artifacts, "write_atomic", no_process)
        asked = {"seeds": 1, "readings": tuple(prepare.READINGS), "profile": TINY}
        study.histories("breast_cancer", **asked)
        study.accuracies("breast_cancer", **asked)
        study.counterfactuals("breast_cancer", **asked)

    made = entries(tiny / "two")
    monkeypatch.setattr(prepare, "share", workers.share)
    monkeypatch.setenv("ROBEXPL_BUILD", str(tiny / "one"))
    prepare.prepare(TINY, {"breast_cancer": False}, seeds=1, jobs=1)
    alone = entries(tiny / "one")
    assert len(alone) == 2 * NETWORKS
    assert alone.items() <= made.items()


def test_a_job_that_fails_is_one_line_and_what_is_cached_is_left_out(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for job in prepare.plan(TINY, {"breast_cancer": False}, 1)[1:]:
        for name, arguments in job.stages:
            artifacts.write_atomic(getattr(study, name).path(*arguments), b"made before")
    given = []

    def broken(pieces: list, **_: object) -> Iterator[tuple[int, float]]:
        given.extend(pieces)
        progress.warn("a warning of a worker")
        yield 0, 2.0
        raise workers.Broken(0, "some reason")

    monkeypatch.setenv("ROBEXPL_PROGRESS", str(prepare.log("demo", 1)))
    monkeypatch.setattr(prepare, "share", broken)
    assert prepare.guarded("demo", {"breast_cancer": False}, None, "2") == 1
    assert [len(stages) for _, (stages,) in given] == [2]
    assert capsys.readouterr().err.splitlines() == [
        "prepare 1 network on 1 core, 10 in the cache  (progress: build/log/demo/prepare-*.log)",
        "[11/11] breast_cancer standard seed 0 (published, stated)  2 s",
        "warning: a warning of a worker",
        "FAILED prepare, breast_cancer standard seed 0 (published, stated): some reason",
    ]


def test_missing_data_are_one_line(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROBEXPL_DATA", str(tiny))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tiny / "cache")
    monkeypatch.setattr(data, "MIRRORS", ("http://127.0.0.1:9/",))
    monkeypatch.setattr(prepare, "share", no_process)
    data._mnist_tensors.cache_clear()
    study.load_data.cache_clear()
    assert prepare.main(["--profile", "full", "--seeds", "1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("FAILED prepare: no mnist/train-images-idx3-ubyte.gz: tried ")


@pytest.mark.slow
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
        assert first.startswith("prepare ")
        assert lines == ["STOPPED prepare: what was finished is kept"]
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


def test_every_template_is_known() -> None:
    templates = {path.stem for path in (ROOT / "notebooks").glob("*.py")}
    assert templates <= {*report.NETWORKS, *report.SEARCHES, *report.ALONE}


@pytest.mark.parametrize(
    ("reasons", "wanted"),
    [
        ({"rq1-mnist": "text", "audit": "its code changed", "background": "it does not exist"}, {}),
        ({"models-mnist": "it does not exist"}, {"mnist": False}),
        ({"models-mnist": "it does not exist", "rq2-mnist": "it does not exist"}, {"mnist": True}),
        ({"table1": "its code changed", "models-mnist": "it does not exist"}, {"mnist": True, "california": True}),
    ],
)
def test_only_what_is_not_current_is_prepared(reasons: dict[str, str], wanted: dict[str, bool]) -> None:
    assert report.wanted(reasons, "full") == wanted
