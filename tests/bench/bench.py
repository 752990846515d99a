"""Measure the hot paths against their peers: `make bench`, or `python tests/bench/bench.py` from the repository's root.

All variants of a path take turns in one process, on one thread, and are judged by CPU time: other work on the machine
hardly changes the ratios within a round. A variant is timed only if its results agree with those of the others.

The results go to paper/generated: bench-machine.csv, bench-paths.csv (median, low and high: a peer's CPU time divided
by ours), bench-targets.csv, bench-growth.csv (slopes of log CPU time against log size) and the figure bench.svg.
"""

import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import hotpaths
import numpy as np
import pandas as pd
import peers
import torch
from hotpaths import CLASSES, HotPath, images, shortened
from plots import shown, speeds
from torch import Tensor

from robexpl import metrics
from robexpl.data import Dataset
from robexpl.files import write_atomic
from robexpl.generators import ecco
from robexpl.models import from_weights
from robexpl.pipeline import commands
from robexpl.pipeline.publish import to_csv
from robexpl.regimes import Adversary
from robexpl.seeds import torch_generator
from robexpl.study.places import generated_dir
from robexpl.training import fit

ROUNDS = (4, 25)  # at least, at most
SHARE = 0.99  # of the entries of two results have to agree: where a slope is only rounding error its sign is arbitrary
OURS = "robexpl"
COLUMNS = ["path", "title", "unit", "peer", "kind", "version", "median", "low", "high", "cpu_ms", "rounds"]
COLUMNS += ["agree", "difference", "tolerance", "share_of_peak", "skipped"]


def agreement(result: Tensor, expected: Tensor, tolerance: float) -> dict[str, float]:
    """Return the share of entries that agree to within `tolerance`, and the largest difference."""
    if result.shape != expected.shape:
        raise ValueError(f"expected a result of shape {tuple(expected.shape)}, got {tuple(result.shape)}")
    difference = (result.double() - expected.double()).abs()
    share = float((difference <= tolerance).double().mean())  # NaN agrees with nothing
    return {"agree": share, "difference": float(difference.max()), "tolerance": tolerance}


def slope(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Fit log t = s log n + c by least squares and return s, which is 1 where time grows in proportion to size."""
    if len(sizes) != len(times) or len(sizes) < 2 or min(*sizes, *times) <= 0:
        raise ValueError(f"expected as many positive sizes as times, at least two, got {sizes} and {times}")
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def turns(runs: Mapping[Any, Callable[[], Any]], *, seconds: float, rounds: tuple[int, int] = ROUNDS) -> dict:
    """Let functions take turns, back and forth, for about so many seconds -> CPU seconds of each turn by name."""
    times: dict[Any, list[float]] = {name: [] for name in runs}
    began, order = time.monotonic(), list(runs)
    for done in range(rounds[1]):
        if done >= rounds[0] and (time.monotonic() - began) * (done + 1) / done > seconds:
            break
        for name in order:
            start = time.process_time()
            own = runs[name]()
            times[name].append(own if isinstance(own, float) else time.process_time() - start)
        order.reverse()
    return times


def matrix_peak(repeats: int = 3, size: int = 2048) -> float:
    """Return the operations per CPU second of the best float32 matrix product."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    return 2 * size**3 / min(turns({"product": lambda: a @ b}, seconds=0, rounds=(repeats, repeats))["product"])


def kind(name: str) -> str:
    """Say whether a variant is ours, a plain loop or a library."""
    return "ours" if name.startswith(OURS) else "loop" if name.startswith("plain loop") else "library"


def measure(path: HotPath, *, seconds: float) -> pd.DataFrame:
    """Check that all variants of a path agree, let them take turns and tabulate ratios to ours, one row per variant.

    A library that fails or disagrees becomes a row with the reason in `skipped`; our paths and plain loops must agree.
    """
    makers = {variant.name: lambda variant=variant: variant for variant in path.variants} | dict(path.libraries)
    variants, found = {}, {}
    for name, make in makers.items():
        try:
            variant = make()
            found[name] = agreement(*variant.results(), variant.tolerance)
            if not found[name]["agree"] >= SHARE:
                raise ValueError(f"expected the results of {name} to agree, got {found[name]}")
            variants[name] = variant
        except Exception as error:  # not installed, not working beside these versions, or another result
            if kind(name) != "library":
                raise
            found[name] = {"skipped": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
    runs = {name: variant.run for name, variant in variants.items()}
    turns(runs, seconds=0, rounds=(1, 1))  # compiles and allocates what later runs find ready
    times = pd.DataFrame(turns(runs, seconds=seconds))  # a row per round
    each = times / {name: variant.units for name, variant in variants.items()}
    ratios = each.div(each[OURS], axis=0)
    rows = pd.DataFrame.from_dict(found, orient="index").rename_axis("peer")
    rows = rows.assign(median=ratios.median(), low=ratios.min(), high=ratios.max(), cpu_ms=1e3 * each.median())
    rows["rounds"] = ratios.count().reindex(rows.index, fill_value=0)
    rows.loc[OURS, "operations"] = path.operations
    rows = rows.reset_index().assign(path=path.name, title=path.title, unit=path.unit, kind=[*map(kind, found)])
    rows["version"] = [peers.installed(name) if kind(name) == "library" else None for name in found]
    return rows.reindex(columns=[*COLUMNS, "operations"])


def targets(paths: pd.DataFrame) -> pd.DataFrame:
    """Compare what was measured with what was aimed at: how many times our CPU time a peer should take at least."""

    def times(path: str, *names: str) -> float:
        return paths.loc[(paths["path"] == path) & paths["peer"].isin(names), "median"].min()

    aims = [
        ("PGD against the fastest library", 1.0, times("attack", *peers.ATTACKS)),
        ("adversarial training step against the plain loop", 1 / 0.6, times("training", "plain loop")),
        ("ECCo against one at a time", 60.0, times("search", "plain loop, one at a time")),
        ("ECCo against dice-ml, per step", 1000.0, times("search", "dice-ml")),
        ("SSIM against the scikit-image loop", 250.0, times("similarity", "scikit-image")),
    ]
    return pd.DataFrame(aims, columns=["name", "aim", "times"]).assign(met=lambda rows: rows["times"] >= rows["aim"])


def growth(dataset: Dataset, model: torch.nn.Module, *, seconds: float, scale: int = 128) -> pd.DataFrame:
    """Time the same work in several sizes -> slope of log CPU time against log size, and CPU seconds of the largest."""
    x, y = dataset.x_test, dataset.y_test
    train = partial(fit, shortened(dataset, 4 * scale), "weak", epochs=1)

    def search(factuals: int, steps: int) -> None:
        target, generator = (y[:factuals] + 1) % CLASSES, torch_generator(0, "start")
        options = {"settings": ecco.Settings(steps=steps, tolerance=1e-30), "stop": "generator_conditions"}
        ecco.search(model, x[:factuals], target, bounds=dataset.bounds, generator=generator, **options)

    def nearest(queries: int, size: int) -> Callable[[], Tensor]:
        known = metrics.reference(x[:size], torch.zeros(size, dtype=torch.long), image_shape=dataset.image_shape)
        return lambda: metrics.nearest(x[:queries], 0, known, k=10)

    work = {
        "neighbours by class size": {n * scale: nearest(scale, n * scale) for n in (4, 8, 16, 32)},
        "neighbours by factuals": {n * scale: nearest(n * scale, 4 * scale) for n in (1, 2, 4, 8)},
        "search by factuals": {n * scale: lambda n=n: search(n * scale, 40) for n in (1, 2, 4, 8)},
        "search by steps": {n: lambda n=n: search(scale, n) for n in (50, 100, 200, 400)},
        "training by seeds": {n: lambda n=n: [train(seed=seed) for seed in range(n)] for n in (1, 2, 4)},
    }
    rows = []
    for what, runs in work.items():
        next(iter(runs.values()))()  # compiles and allocates what later runs find ready
        times = [median(found) for found in turns(runs, seconds=seconds / len(work)).values()]
        rows.append((what, slope(list(runs), times), min(runs), max(runs), times[-1]))
    return pd.DataFrame(rows, columns=["what", "slope", "smallest", "largest", "seconds"])


def machine() -> dict[str, Any]:
    """Name the processor and the versions that the times were measured with."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)", info.read_text(), re.MULTILINE) if info.is_file() else None
    cpu = model[1] if model else platform.processor() or platform.machine()
    versions = {name: peers.installed(name) for name in ("torch", "numpy", "numba")}
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version(), **versions}


def measure_all(seconds: float) -> dict[str, bytes]:
    """Measure every path and its growth -> the files by name."""
    torch.set_num_threads(1)
    dataset = images(10_000)
    trained = fit(shortened(dataset, 2000), "standard", seed=0, epochs=1)
    model = from_weights(trained.state_dict())  # laid out as torch does by itself
    paths = {
        hotpaths.attack_path: (dataset, model, Adversary(0.3, 0.01, 10)),
        hotpaths.training_path: (shortened(dataset, 512),),
        hotpaths.search_path: (dataset, model),
        hotpaths.similarity_path: (shortened(dataset, 6100),),
    }
    found, peak = [], matrix_peak()
    for make, arguments in paths.items():
        found.append(measure(make(*arguments), seconds=seconds))
        peak = max(peak, matrix_peak())
        commands.say(progress(found[-1]))
    slopes = growth(dataset, model, seconds=seconds)
    commands.say("bench  slopes: " + ", ".join(f"{row.what} {row.slope:.2f}" for row in slopes.itertuples()))
    return files(machine(), pd.concat(found), slopes, peak)


def progress(rows: pd.DataFrame) -> str:
    """Write in one line how much longer than ours the peers of a path take."""
    others = rows[rows["peer"] != OURS].sort_values("median")
    times = [f"{o.peer} {shown(o.median) if o.rounds > 0 else f'skipped ({o.skipped})'}" for o in others.itertuples()]
    return f"bench  {rows['path'].iloc[0]}, times our CPU time: {', '.join(times)}"


def files(about: dict[str, Any], paths: pd.DataFrame, slopes: pd.DataFrame, peak: float) -> dict[str, bytes]:
    """Return all that is published, as file names and contents; `peak` in operations per second."""
    paths = paths.assign(share_of_peak=paths["operations"] / (paths["cpu_ms"] / 1e3) / peak)[COLUMNS]
    tables = {"machine": pd.DataFrame([about | {"peak_gflops": peak / 1e9}]), "paths": paths}
    tables |= {"targets": targets(paths), "growth": slopes}
    return {f"bench-{name}.csv": to_csv(frame) for name, frame in tables.items()} | {"bench.svg": speeds(paths)}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure everything from the command line and write it; return the exit code."""
    parser = commands.Parser(prog="bench", description="Measure the hot paths against their peers.")
    parser.add_argument("--seconds", type=float, default=50.0, help="for each of four paths and for growth")
    seconds = parser.parse_args(argv).seconds

    def run() -> None:
        if not peers.install():
            commands.say("bench  some peers cannot be installed, see above; they are skipped")
        for name, content in measure_all(seconds).items():
            write_atomic(generated_dir("full") / name, content)

    return commands.guarded("bench", run)


if __name__ == "__main__":
    sys.exit(main())
