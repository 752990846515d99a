"""Work shared out to processes of one thread each: whoever is free takes the next piece."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from robexpl.pipeline import commands

LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMBA", "NUMEXPR", "VECLIB_MAXIMUM")
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in LIBRARIES}
PATIENCE = 5  # seconds that a process is given to end by itself


@dataclass(frozen=True)
class Piece:
    """Calls (function, arguments) to make one after the other; `waits`: when all pieces that do not wait are done."""

    calls: Sequence[tuple[Callable[..., object], tuple[Any, ...]]]
    waits: bool = False


class Event(NamedTuple):
    """What happened: "start" or "done" of a piece, "call" where one of its calls ended, "tick" where time passed."""

    kind: str
    index: int = -1
    seconds: float = 0.0


class Broken(Exception):
    """A piece that failed: its place among the pieces, and why."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


@dataclass
class Worker:
    """A process, this end of the pipe to it, and the piece it works on (-1: none)."""

    process: Any
    connection: Connection
    index: int = -1


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(pieces: Sequence[Piece], *, jobs: int, log: Callable[[int], Path], tick: float = 60.0) -> Iterator[Event]:
    """Do the pieces in at most `jobs` processes and yield what happens, "tick" after so many seconds without anything.

    They start in the given order, those that wait last. What a process prints goes to the file `log(number)`; what it
    says is said here. The first piece that fails, or whose process dies, raises Broken. However this ends, no process
    is left.
    """
    context = multiprocessing.get_context("spawn")  # a forked copy of a process with threads may lock up
    os.environ |= ONE_THREAD
    coming, workers = deque(enumerate(pieces)), []
    try:
        with _without_interrupts():
            for number in range(1, min(jobs, len(pieces)) + 1):
                here, there = context.Pipe()
                process = context.Process(target=_serve, args=(there, str(log(number))), daemon=True)
                workers.append(Worker(process, here))
                process.start()
                there.close()  # or the end of the process would not be noticed here
        while True:
            for worker in workers:
                first = any(other.index >= 0 and not pieces[other.index].waits for other in workers)
                if worker.index < 0 and coming and not (coming[0][1].waits and first):
                    worker.index, piece = coming.popleft()
                    worker.connection.send(piece.calls)
                    yield Event("start", worker.index)
            busy = {worker.connection: worker for worker in workers if worker.index >= 0}
            if not busy:
                return
            ready = wait(list(busy), timeout=tick)
            if not ready:
                yield Event("tick")
            for connection in ready:
                yield from _heard(busy[connection])
    finally:
        _end([worker.process for worker in workers])


def _heard(worker: Worker) -> Iterator[Event]:
    """Yield what a worker reports of its piece; raise Broken where the piece failed or the process is gone."""
    index = worker.index
    try:
        kind, value = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join(PATIENCE)
        code = worker.process.exitcode
        if code == -signal.SIGKILL:
            kind, value = "failed", "its process was killed (SIGKILL), perhaps for want of memory; fewer jobs need less"
        else:
            ended = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
            kind, value = "failed", f"its process ended ({ended})"
    if kind == "failed":
        raise Broken(index, value)
    if kind == "say":
        commands.say(value)
    else:
        if kind == "done":
            worker.index = -1
        yield Event(kind, index, value)


def _end(processes: list[Any]) -> None:
    started = [process for process in processes if process.pid]
    for process in started:
        process.terminate()
    deadline = time.monotonic() + PATIENCE
    for process in started:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes so that Ctrl-C, which reaches all of them, is left to this one."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is ignored stays so in processes started meanwhile
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Connection, log: str) -> None:
    """Do pieces until the pipe closes; report every call and piece with its seconds, and what failed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exception, so that files half written are removed
    threading.Thread(target=_end_with_parent, daemon=True).start()
    commands.redirect(lambda line: connection.send(("say", line)))
    os.environ["ROBEXPL_PROGRESS"] = log
    with Path(log).open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    while True:
        try:
            calls = connection.recv()
        except EOFError:
            return
        begun = time.monotonic()
        try:
            for function, arguments in calls:
                started = time.monotonic()
                function(*arguments)
                connection.send(("call", time.monotonic() - started))
        except Exception as error:
            connection.send(("failed", _reason(error)))
        else:
            connection.send(("done", time.monotonic() - begun))


def _reason(error: Exception) -> str:
    if isinstance(error, commands.Failure):
        return str(error)
    line = (str(error).strip().splitlines() or [""])[0]
    plain = isinstance(error, (OSError, ValueError, RuntimeError)) and line
    return line if plain else f"{type(error).__name__}: {line}"


def _end_with_parent() -> None:
    """End where the parent is gone: as after SIGTERM, or at once where that is not heeded."""
    wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)
