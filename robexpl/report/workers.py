"""Work shared out to processes of one thread each: whoever is free takes the next piece."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMBA", "NUMEXPR", "VECLIB_MAXIMUM")
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in LIBRARIES}
PATIENCE = 5  # seconds that a process is given to end by itself

Piece = tuple[Callable[..., object], tuple[Any, ...]]


class Broken(Exception):
    """A piece that failed: its place among the pieces, and why in one line."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


@dataclass
class Worker:
    """A process, this end of the pipe to it, and the piece it works on."""

    process: Any
    connection: Connection
    index: int = -1

    def give(self, index: int, piece: Piece) -> None:
        self.index = index
        self.connection.send(piece)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(pieces: Sequence[Piece], *, jobs: int, log: Callable[[int], Path]) -> Iterator[tuple[int, float]]:
    """Call the pieces, (function, arguments) each, in at most `jobs` processes; yield (index, seconds) as they end.

    They start in the given order. What a process prints goes to the file `log(number)`. The first piece that fails, or
    whose process dies, raises Broken. However this ends, at once or after the last piece, no process is left.
    """
    context = multiprocessing.get_context("spawn")  # a forked copy of a process with threads may lock up
    os.environ |= ONE_THREAD
    coming, workers = enumerate(pieces), []
    try:
        with _without_interrupts():
            for number in range(1, min(jobs, len(pieces)) + 1):
                here, there = context.Pipe()
                process = context.Process(target=_serve, args=(there, str(log(number))), daemon=True)
                workers.append(Worker(process, here))
                process.start()
                there.close()  # or the end of the process would not be noticed here
        busy = {worker.connection: worker for worker in workers}
        for worker in workers:
            worker.give(*next(coming))
        while busy:
            for connection in wait(list(busy)):
                worker = busy[connection]
                index, (seconds, reason) = worker.index, _answer(worker)
                if reason:
                    raise Broken(index, reason)
                if piece := next(coming, None):
                    worker.give(*piece)
                else:
                    del busy[connection]
                yield index, seconds
    finally:
        _end([worker.process for worker in workers])


def _answer(worker: Worker) -> tuple[float, str]:
    """Return what a worker says of its piece: the seconds it took, and what went wrong."""
    try:
        return worker.connection.recv()
    except (EOFError, OSError):  # it is gone
        worker.process.join(PATIENCE)
        code = worker.process.exitcode
    if code == -signal.SIGKILL:
        return 0.0, "its process was killed (SIGKILL), perhaps for want of memory; fewer jobs need less"
    return 0.0, f"its process ended ({signal.Signals(-code).name if code and code < 0 else f'exit code {code}'})"


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
    """Call pieces until the pipe closes; answer each with its seconds and, if it failed, one line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exception, so that files half written are removed
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["ROBEXPL_PROGRESS"] = log
    with Path(log).open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        started, reason = time.monotonic(), ""
        try:
            function(*arguments)
        except Exception as error:
            line = (str(error).strip().splitlines() or [""])[0]
            plain = isinstance(error, (OSError, ValueError, RuntimeError)) and line
            reason = line if plain else f"{type(error).__name__}: {line}"
        connection.send((time.monotonic() - started, reason))


def _end_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
