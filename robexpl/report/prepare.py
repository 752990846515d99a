"""Compute what the notebooks of a profile will ask for, on all cores, network by network.

    python -m robexpl.report.prepare --profile demo|full [--seeds N] [--jobs N]

One job is one network: train it, attack it, search and score the counterfactuals of every reading that uses it. The
longest start first. Every stage goes to the cache as it ends; what is there already is not computed again.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

from robexpl import artifacts, attacks, ecco
from robexpl.data import Dataset
from robexpl.files import DataError
from robexpl.readings import READINGS
from robexpl.regimes import EVALUATION, REGIMES, adversary
from robexpl.report import study
from robexpl.report.commands import Failure, Parser, Stopped, heed_signals, whole
from robexpl.report.networks import Subject
from robexpl.report.workers import Broken, cores, share
from robexpl.training import HIDDEN

Stage = tuple[str, tuple[Any, ...]]  # the name of a cached function of `study`, and its arguments

# Seconds on one core, about: per step of an adversary and of a search, whatever its size; per row and weight of a step;
# per pair of rows and input of a distance. Their proportions order the jobs; the time left is measured.
ADVERSARY_STEP, SEARCH_STEP, ROW_WEIGHT = 1.2e-4, 4e-4, 1.5e-10
PAIR_INPUT = {"ssim": 3.4e-9, "euclidean": 3e-9}
BATCH = 32
EARLY = 0.1  # share of the allowed steps that a search for the decision threshold takes, about


@dataclass
class Job:
    """One network: the readings that use it, its stages in order, those not in the cache, their estimated seconds."""

    subject: Subject
    readings: list[str] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    missing: list[Stage] = field(default_factory=list)
    cost: float = 0.0

    def __str__(self) -> str:
        return f"{self.subject.dataset} {self.subject.regime} seed {self.subject.seed} ({', '.join(self.readings)})"


def plan(profile: study.Profile, wanted: dict[str, bool], seeds: int) -> list[Job]:
    """Return one job per network of the wanted datasets, with its counterfactuals where the dataset's entry is True."""
    jobs: dict[Subject, Job] = {}
    for dataset, searched in wanted.items():
        kind, networks, readings = profile.kind(dataset), profile.networks(dataset, seeds), READINGS.values()
        uses = [(how, seed) for how in readings for seed in profile.seeds_of(dataset, how.name, networks)]
        for (how, seed), regime in product(uses, REGIMES):
            subject = study.trained(dataset, regime, seed=seed, reading=how, profile=profile)
            job = jobs.setdefault(subject, Job(subject, stages=[("train", (subject,)), ("attack", (subject,))]))
            job.readings.append(how.name)
            settings = how.settings(kind, steps=profile.steps)
            for stop in study.STOPS if searched else ():
                arguments = (subject, stop, settings, profile.runs, profile.factuals)  # as in `study.frame`
                job.stages.append(("explain", arguments))
                job.stages.append(("score", (*arguments, study.default_distance(kind), profile.k)))
    for job in jobs.values():
        job.missing = [(name, given) for name, given in job.stages if not getattr(study, name).path(*given).is_file()]
    return list(jobs.values())


def estimate(stage: Stage, data: Dataset) -> float:
    """Return about how many seconds a stage takes on one core, from what is known before it runs."""
    name, (subject, *rest) = stage
    rows, inputs = data.x_train.shape
    row = inputs * HIDDEN["image" if data.image_shape else "tabular"] * ROW_WEIGHT
    if name == "train":
        opponent = adversary(subject.regime)
        steps = opponent.steps if opponent else 0
        if opponent and subject.early_stop:  # the noise at the start is already a few steps away from the row
            steps = min(steps, max(opponent.eps / opponent.step_size - 3, 1))
        step = (steps + 7) * ADVERSARY_STEP + (steps + 4) * BATCH * row  # the update counts as some steps more
        return subject.epochs * ceil(rows / BATCH) * step
    if name == "attack":
        passes = 2 * EVALUATION.steps + 1
        return passes * (ceil(len(data.x_test) / attacks.BLOCK) * ADVERSARY_STEP + len(data.x_test) * row)
    stop, settings, runs, per_run, *scored = rest
    found = runs * per_run
    if name == "explain":
        steps = settings.steps * (1 if stop == "generator_conditions" else EARLY)
        return steps * (ceil(found / ecco.BLOCK) * SEARCH_STEP + found * row)
    return found * rows / data.n_classes * inputs * PAIR_INPUT[scored[0]]


def prepare(profile: study.Profile, wanted: dict[str, bool], *, seeds: int, jobs: int) -> None:
    """Compute what is missing of a plan in `jobs` processes; raise Failure with the job that failed."""
    planned = plan(profile, wanted, seeds)
    todo = [job for job in planned if job.missing]
    cached = len(planned) - len(todo)
    if not todo:
        return _say(f"prepare {len(planned)} networks, all in the cache")
    for job in todo:  # the data are loaded here first: what is missing is said once, what is fetched is fetched once
        data = study.load_data(job.subject.dataset, 0, "published")
        job.cost = sum(estimate(stage, data) for stage in job.missing)
    todo.sort(key=lambda job: -job.cost)
    jobs, own_log = min(jobs, len(todo)), partial(log, profile.name)
    _say(
        f"prepare {len(todo)} network{'s' * (len(todo) > 1)} on {jobs} core{'s' * (jobs > 1)}, {cached} in the cache  "
        f"(progress: {artifacts.label(own_log(1).with_name('prepare-*.log'))})"
    )
    logs = [artifacts.write_atomic(own_log(number), b"") for number in range(1, jobs + 1)]
    costs = {index: job.cost for index, job in enumerate(todo)}
    total, spent, started = sum(costs.values()), 0.0, 0.0
    try:
        with closing(share([(compute, (job.missing,)) for job in todo], jobs=jobs, log=own_log)) as finished:
            for done, (index, seconds) in enumerate(finished, cached + 1):
                if not spent:
                    started = time.monotonic() - seconds  # until then the processes were starting
                spent += seconds
                del costs[index]
                rate = spent / (total - sum(costs.values()))
                left = time_left([*costs.values()], rate, spent, time.monotonic() - started, jobs)
                _say(f"[{done}/{len(planned)}] {todo[index]}  {seconds:.0f} s{left and f', about {left} left'}")
    except Broken as broken:
        raise Failure(f"FAILED prepare, {todo[broken.index]}: {broken}") from None
    finally:
        for line in [line for file in logs for line in file.read_text(errors="replace").splitlines()]:
            if line.startswith("warning: "):
                _say(line)


def compute(stages: list[Stage]) -> None:
    """Compute stages of the study into the cache."""
    for name, arguments in stages:
        getattr(study, name)(*arguments)


def time_left(costs: list[float], rate: float, spent: float, passed: float, jobs: int) -> str:
    """Say how long the jobs of these costs will take at `rate` seconds each unit; nothing where there are none.

    `spent` is the seconds of the jobs that are done, `passed` those on the clock: what the processes have worked beyond
    the former is work on jobs that are not done.
    """
    if not costs:
        return ""
    shared = (sum(costs) * rate - (passed * jobs - spent)) / min(jobs, len(costs))
    seconds = max(shared, max(costs) * rate - passed, 1)
    if seconds < 90:
        return f"{ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def log(profile: str, number: int) -> Path:
    """Return the file that shows the progress of a process."""
    return artifacts.build_dir() / "log" / profile / f"prepare-{number}.log"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Prepare a whole profile from the command line; return the exit code."""
    parser = Parser(prog="python -m robexpl.report.prepare", description="Compute what the notebooks will ask for.")
    parser.add_argument("--profile", choices=artifacts.PROFILES, default="full")
    parser.add_argument("--seeds", metavar="N", help="networks per regime, instead of what the profile says")
    parser.add_argument("--jobs", metavar="N", help="processes at once, instead of one per core")
    arguments = parser.parse_args(argv)
    return guarded(arguments.profile, None, arguments.seeds, arguments.jobs)


def guarded(profile: str, wanted: dict[str, bool] | None, seeds: str | None, jobs: str | None) -> int:
    """Prepare what is wanted, by default everything; say in one line what went wrong and return the exit code."""
    heed_signals()
    try:
        sizes = study.profile(profile)
        wanted = dict.fromkeys(sizes.datasets, True) if wanted is None else wanted
        prepare(sizes, wanted, seeds=whole("seeds", seeds, 0), jobs=whole("jobs", jobs, cores()))
    except Failure as failure:
        text = str(failure)
        _say(text if text.startswith("FAILED") else f"FAILED prepare: {text}")
        return failure.code
    except (DataError, OSError, ValueError) as error:
        _say(f"FAILED prepare: {error}")
        return 1
    except Stopped as stopped:
        _say("STOPPED prepare: what was finished is kept")
        return 128 + stopped.args[0]
    return 0


if __name__ == "__main__":
    sys.exit(main())
