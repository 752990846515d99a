"""Work shared out to processes of one thread each: whoever is free takes the next job."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from robexpl.files import write_atomic
from robexpl.pipeline import commands
from robexpl.study.places import build_dir

LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMBA", "NUMEXPR", "VECLIB_MAXIMUM")
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in LIBRARIES}
PATIENCE = 5  # seconds that a process is given to end by itself
Event = tuple[str, int, float]  # "start" or "done" of a job, "call" where one of its calls ended; its place, seconds


@dataclass
class Job:
    """Calls to make one after the other, and what they cost; `waits`: when all jobs that do not wait are done."""

    name: str
    waits: bool = False
    calls: list[Callable[[], object]] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(todo: Sequence[Job], *, jobs: int, log: Path, what: str = "", tick: float = 60.0) -> Iterator[Event]:
    """Do the jobs in at most `jobs` processes and yield what happens, "tick" after so many seconds without anything.
    They start in the given order, those that wait last. What a process prints goes to the file `log`, its number in
    place of the `*`; what it says is said here, and in the end the warnings of the logs. The first job that fails, or
    whose process dies, raises Failure with `what` before its name. However this ends, no process is left.
    """
    context = multiprocessing.get_context("spawn")  # a forked copy of a process with threads may lock up
    os.environ |= ONE_THREAD
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(build_dir() / "torch"))  # torch makes this folder unasked
    logs = [log.with_name(log.name.replace("*", str(number + 1))) for number in range(min(jobs, len(todo)))]
    coming, processes = deque(enumerate(todo)), {}
    at: dict[Connection, int] = {}  # the jobs that are worked on
    heeded = signal.signal(signal.SIGINT, signal.SIG_IGN)  # in the processes, too: Ctrl-C is left to this one
    try:
        for each in logs:
            here, there = context.Pipe()
            processes[here] = context.Process(target=_serve, args=(there, write_atomic(each, b"")), daemon=True)
            processes[here].start()
            there.close()  # or the end of the process would not be noticed here
        signal.signal(signal.SIGINT, heeded)
        while coming or at:
            for connection in processes:
                first = any(not todo[index].waits for index in at.values())
                if connection not in at and coming and not (coming[0][1].waits and first):
                    at[connection], job = coming.popleft()
                    connection.send(job.calls)
                    yield "start", at[connection], 0.0
            ready = wait(list(at), timeout=tick)
            if not ready:
                yield "tick", -1, 0.0
            for connection in ready:
                index, (kind, value) = at[connection], _heard(connection, processes[connection])
                if kind == "failed":
                    known = value.startswith("FAILED ")
                    raise commands.Failure(value if known else f"FAILED {what}{todo[index].name}: {value}")
                if kind == "done":
                    del at[connection]
                if kind == "say":
                    commands.say(value)
                else:
                    yield kind, index, value
    finally:
        signal.signal(signal.SIGINT, heeded)
        deadline, started = time.monotonic() + PATIENCE, [each for each in processes.values() if each.pid]
        for process in started:
            process.terminate()
        for process in started:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        for each in filter(Path.is_file, logs):
            commands.repeat_warnings(each)


def _heard(connection: Connection, process: Any) -> tuple[str, Any]:
    """Return what a process reports of its job, "failed" and why where it is gone."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        process.join(PATIENCE)
    code = process.exitcode
    if code == -signal.SIGKILL:
        return "failed", "its process was killed (SIGKILL), perhaps for want of memory; fewer jobs need less"
    ended = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
    return "failed", f"its process ended ({ended})"


def _serve(connection: Connection, log: Path) -> None:
    """Do jobs until the pipe closes; report every call and job with its seconds, and what failed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exception, so that files half written are removed
    threading.Thread(target=_end_with_parent, daemon=True).start()
    commands.OUTLET.append(lambda line: connection.send(("say", line)))
    os.environ["ROBEXPL_PROGRESS"] = str(log)
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    while True:
        try:
            calls = connection.recv()
        except EOFError:
            return
        begun = time.monotonic()
        try:
            for call in calls:
                started = time.monotonic()
                call()
                connection.send(("call", time.monotonic() - started))
            connection.send(("done", time.monotonic() - begun))
        except Exception as error:
            text = str(error) if isinstance(error, commands.Failure) else commands.first_line(error)
            plain = text and isinstance(error, (commands.Failure, OSError, ValueError, RuntimeError))
            connection.send(("failed", text if plain else f"{type(error).__name__}: {text}"))


def _end_with_parent() -> None:
    """End where the parent is gone: as after SIGTERM, or at once where that is not heeded."""
    wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)
