"""The jobs of a cluster, through submitit: what is done in one, submitting them, looking at them, cancelling them.

What Slurm says of a job is asked of `squeue`, once for all jobs: it answers on clusters without accounting, too.
"""

import contextlib
import io
import logging
import os
import pickle
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from robexpl.files import host
from robexpl.pipeline import commands, workers
from robexpl.pipeline.commands import Failure
from robexpl.study import places

NOTICE = 60  # seconds before its time is over in which a job is told
GRACE = 10.0  # seconds in which the result of a job that has ended may become visible on a shared folder
ENDED = {
    "OUT_OF_MEMORY": "ran out of memory", "TIMEOUT": "ran out of time", "DEADLINE": "ran out of time",
    "PREEMPTED": "was preempted", "NODE_FAIL": "lost its node", "BOOT_FAIL": "lost its node", "FAILED": "died",
    "CANCELLED": "was cancelled", "REVOKED": "was cancelled", "COMPLETED": "died", "": "is gone",
}  # fmt: skip
Calls = list[list[Callable[[], object]]]  # those of each task
Done = list[tuple[float, str]]  # of each task its seconds, and why it failed


@dataclass
class Sent:
    """A job that was submitted: what it is about, and when it was first seen to have ended without a result."""

    job: Any
    about: Any
    log: Path
    ended: float = 0.0


class OutOfTime(BaseException):
    """The time of the job is nearly over; no handler of errors takes it for the error of a cell."""


def work(calls: Calls, log: str) -> Done:
    """Make the calls of every task, in a job; return the seconds of each, and what failed, up to where time was over.
    An error of the system, as of a file, is one that another try may not meet: it starts with "again".
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exception, so that files half written are removed
    signal.signal(signal.SIGUSR2, _time_is_over)
    os.environ["ROBEXPL_PROGRESS"] = log
    done: Done = []
    for task in calls:
        started, failed = time.monotonic(), ""
        try:
            for call in task:
                call()
        except OutOfTime:
            return done
        except Exception as error:
            text = commands.first_line(error)
            plain = text and isinstance(error, (OSError, ValueError, RuntimeError))
            failed = "again " * isinstance(error, OSError) + (text if plain else f"{type(error).__name__}: {text}")
        done.append((time.monotonic() - started, failed))
    return done


def _time_is_over(*_: object) -> NoReturn:
    raise OutOfTime


class Queue:
    """The jobs of one run: submitting them, looking at them, cancelling them."""

    def __init__(self, cluster: Any, group: str) -> None:
        try:
            import submitit
        except ModuleNotFoundError:
            raise Failure("submitit is not installed; for CLUSTER: pip install -e '.[cluster]'", 2) from None
        logging.getLogger("submitit").setLevel(logging.ERROR)
        self.cluster, self.count = cluster, 0
        self.sent: dict[str, Sent] = {}
        self.seen: dict[str, str] = {}  # their states
        self.name = f"robexpl-{host()}-{os.getpid()}"  # of all jobs of this run and of no others
        self.folder = places.build_dir() / "log" / group / "cluster"
        shutil.rmtree(self.folder, ignore_errors=True)
        os.environ |= workers.ONE_THREAD
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(places.build_dir() / "torch"))
        notice = round(min(NOTICE, 12 * cluster.time))
        if cluster.kind == "local":
            self.executor = submitit.LocalExecutor(self.folder)
            return self.executor.update_parameters(timeout_min=cluster.time, signal_delay_s=notice)
        if not shutil.which("sbatch"):
            raise Failure("expected the commands of Slurm, as sbatch, where CLUSTER=slurm is said, got none", 2)
        kept = {key: value for key, value in os.environ.items() if key in workers.ONE_THREAD or key[:8] == "ROBEXPL_"}
        chosen = {key: getattr(cluster, key) for key in ("partition", "account") if getattr(cluster, key)}
        # one process on one core needs no srun: the batch script becomes it, and is told when its time is nearly over
        self.executor = submitit.SlurmExecutor(self.folder, python=f"exec {shlex.quote(sys.executable)}")
        self.executor.update_parameters(
            job_name=self.name, time=round(cluster.time), mem=f"{round(1024 * cluster.memory)}M",
            cpus_per_task=1, array_parallelism=cluster.array, use_srun=False, **chosen,
            setup=[f"export {key}={shlex.quote(value)}" for key, value in sorted(kept.items())],
            additional_parameters={"signal": f"B:USR2@{notice}", "chdir": str(places.ROOT)},
        )  # fmt: skip

    def submit(self, jobs: list[tuple[Any, Calls]]) -> None:
        """Submit jobs as one array, each what it is about and its calls; raise Failure where the cluster refuses."""
        self.folder.mkdir(parents=True, exist_ok=True)
        logs = [self.folder / f"{self.count + place + 1}.log" for place in range(len(jobs))]
        for log in logs:
            log.touch()
        self.count += len(jobs)
        heeded = signal.signal(signal.SIGINT, signal.SIG_IGN)  # in local jobs, too: Ctrl-C is left to this process
        try:
            with contextlib.redirect_stderr(io.StringIO()) as said:
                made = self.executor.map_array(work, [calls for _, calls in jobs], list(map(str, logs)))
        except Exception as error:
            text = commands.first_line(said.getvalue()) or commands.first_line(error)
            raise Failure(f"FAILED prepare: the cluster takes no job: {text}") from None
        finally:
            signal.signal(signal.SIGINT, heeded)
        for job, (about, _), log in zip(made, jobs, logs, strict=True):
            self.sent[job.job_id] = Sent(job, about, log)

    def ended(self) -> Iterator[tuple[str, Sent, Done | None, str]]:
        """Yield the jobs that have ended since the last look: number, job, result or None, why there is none."""
        with contextlib.suppress(OSError):  # so that a client of NFS looks at the folder anew
            self.folder.chmod(self.folder.stat().st_mode)
        self.seen = self.states() or self.seen
        for number, sent in list(self.sent.items()):
            result, why = None, ENDED.get(self.seen.get(number, "PENDING"), "")
            if sent.job.paths.result_pickle.exists() and (why or self.cluster.kind == "slurm"):
                outcome, value = pickle.loads(sent.job.paths.result_pickle.read_bytes())
                if outcome == "success":
                    result, why = value, ""
                else:  # the trace of an error before the first call, or after the last one
                    why = f"failed ({value.strip().splitlines()[-1]})"
            elif why:
                sent.ended = sent.ended or time.monotonic()
                if self.cluster.kind == "slurm" and time.monotonic() - sent.ended < GRACE:
                    continue
            else:
                sent.ended = 0.0
                continue
            del self.sent[number]
            commands.repeat_warnings(sent.log)
            yield number, sent, result, why

    def states(self) -> dict[str, str]:
        """Return the state of every job that is known; nothing where Slurm does not answer."""
        if self.cluster.kind == "local":
            return {number: "COMPLETED" if sent.job.done() else "RUNNING" for number, sent in self.sent.items()}
        asked = ("squeue", "--noheader", "--array", "--states=all", f"--name={self.name}", "--format=%i %T")
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            told = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
            if not told.returncode:
                known = dict(line.split(maxsplit=1) for line in told.stdout.splitlines())
                return {number: known.get(number, "").strip() for number in self.sent}
        return {}

    def close(self) -> None:
        """Cancel what has not ended, and wait for local jobs to be gone."""
        if self.cluster.kind == "slurm":
            subprocess.run(["scancel", "--quiet", f"--name={self.name}"], capture_output=True, check=False)
        deadline = time.monotonic() + 2 * workers.PATIENCE
        while self.cluster.kind == "local" and (left := [n for n, sent in self.sent.items() if not sent.job.done()]):
            for number in left:
                os.kill(int(number), signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
            time.sleep(0.2)
