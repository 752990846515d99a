"""Measure the hot paths against their peers: `make bench`, which installs them, or `python -m robexpl.report.bench`.

All variants of a path take turns in one process, on one thread, and are judged by CPU time: ratios within a round are
hardly touched by what else a machine is doing. Before any turn, a variant has to give the same result as the others.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robexpl import ecco, metrics
from robexpl.artifacts import Output
from robexpl.data import Dataset
from robexpl.models import from_weights
from robexpl.regimes import Adversary
from robexpl.report import peers
from robexpl.report.benchplots import speeds
from robexpl.report.commands import Parser, Stopped, heed_signals
from robexpl.report.hotpaths import (
    CLASSES,
    HotPath,
    attack_path,
    images,
    search_path,
    shortened,
    similarity_path,
    training_path,
)
from robexpl.report.machine import machine, memory
from robexpl.seeds import torch_generator
from robexpl.training import fit

ROUNDS = (4, 25)  # at least, at most
SHARE = 0.99  # of the entries of two results that have to agree: where a slope is rounding error its sign is free


def agreement(result: Tensor, expected: Tensor, tolerance: float) -> dict[str, float]:
    """Return the share of entries that agree to `tolerance` and the largest difference."""
    if result.shape != expected.shape:
        raise ValueError(f"expected a result of shape {tuple(expected.shape)}, got {tuple(result.shape)}")
    difference = (result.double() - expected.double()).abs()
    share = float((difference <= tolerance).double().mean())  # NaN agrees with nothing
    return {"share": share, "largest": float(difference.max()), "tolerance": tolerance}


def slope(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Fit log t = s log n + c by least squares and return s: 1 where time grows in proportion to size."""
    if len(sizes) != len(times) or len(sizes) < 2 or min(*sizes, *times) <= 0:
        raise ValueError(f"expected as many positive sizes as times, at least two, got {sizes} and {times}")
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def turns(runs: Mapping[str, Callable[[], Any]], *, seconds: float, rounds: tuple[int, int] = ROUNDS) -> dict:
    """Let functions take turns, back and forth, for about so many seconds -> CPU seconds of each turn by name."""
    times: dict[str, list[float]] = {name: [] for name in runs}
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


def measure(path: HotPath, *, seconds: float) -> dict[str, Any]:
    """Check that all variants of a path agree, let them take turns and record ratios, spreads and medians."""
    agreed, skipped = {}, dict(path.skipped)
    for variant in path.variants:
        try:
            agreed[variant.name] = agreement(*variant.results(), variant.tolerance)
            if agreed[variant.name]["share"] < SHARE:
                raise ValueError(f"expected the results of {variant.name} to agree, got {agreed.pop(variant.name)}")
        except Exception as error:
            if variant in path.variants[:1] or variant.name.startswith("robexpl"):
                raise
            skipped[variant.name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    variants = {variant.name: variant for variant in path.variants if variant.name in agreed}
    for variant in variants.values():
        variant.run()  # warm: compiled, allocated
    times = turns({name: variant.run for name, variant in variants.items()}, seconds=seconds)
    each = {name: [t / variants[name].units for t in found] for name, found in times.items()}
    baseline = path.variants[0].name

    def row(name: str) -> dict[str, Any]:
        ratios = [t / b for t, b in zip(each[name], each[baseline], strict=True)]
        against = [t / o for t, o in zip(each[name], each[path.ours], strict=True)]
        return {
            "name": name,
            "ratio": median(ratios),
            "against_ours": {"median": median(against), "low": min(against), "high": max(against)},
            "median_ms": 1e3 * median(each[name]),
            "agreement": agreed[name],
        }

    return {
        "title": path.title,
        "unit": path.unit,
        "baseline": baseline,
        "ours": row(path.ours),
        "peers": [row(name) for name in variants if name != path.ours],
        "operations_per_second": path.operations / median(each[path.ours]),
        "rounds": len(times[baseline]),
        "skipped": skipped,
    }


def growth(data: Dataset, model: torch.nn.Module, *, seconds: float, scale: int = 128) -> dict[str, Any]:
    """Time the same work in several sizes -> sizes, median CPU seconds and the slope of their logarithms, by name."""
    x, y = data.x_test, data.y_test
    little = shortened(data, 4 * scale)

    def train(seeds: int) -> None:
        for seed in range(seeds):
            fit(little, "weak", seed=seed, epochs=1)

    def search(factuals: int, steps: int) -> None:
        settings = ecco.Settings(steps=steps, tolerance=1e-30)
        target, generator = (y[:factuals] + 1) % CLASSES, torch_generator(0, "start")
        stop = "generator_conditions"
        ecco.search(model, x[:factuals], target, settings=settings, stop=stop, bounds=data.bounds, generator=generator)

    def nearest(queries: int, size: int) -> Callable[[], Tensor]:
        known = metrics.reference(x[:size], torch.zeros(size, dtype=torch.long), image_shape=data.image_shape)
        return lambda: metrics.nearest(x[:queries], 0, known, k=10)

    work = {
        "training by seeds": {n: lambda n=n: train(n) for n in (1, 2, 4)},
        "search by factuals": {n * scale: lambda n=n: search(n * scale, 40) for n in (1, 2, 4, 8)},
        "search by steps": {n: lambda n=n: search(scale, n) for n in (50, 100, 200, 400)},
        "neighbours by factuals": {n * scale: nearest(n * scale, 4 * scale) for n in (1, 2, 4, 8)},
        "neighbours by class size": {n * scale: nearest(scale, n * scale) for n in (4, 8, 16, 32)},
    }
    found = {}
    for name, runs in work.items():
        next(iter(runs.values()))()  # warm
        times = turns(runs, seconds=seconds / len(work))
        medians = [median(times[size]) for size in runs]
        found[name] = {"sizes": list(runs), "seconds": medians, "slope": slope(list(runs), medians)}
    return found


def targets(paths: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Hold what was measured against what was aimed at: how many times as fast as ours a peer should at most be."""

    def times(path: str, *names: str) -> float | None:
        found = [row["against_ours"]["median"] for row in paths[path]["peers"] if row["name"] in names]
        return min(found) if found else None

    aims = [
        ("PGD against the fastest library", times("attack", *peers.ATTACKS), 1.0),
        ("adversarial training step against the plain loop", times("training", "plain loop"), 1 / 0.6),
        ("ECCo against one at a time", times("search", "plain loop, one at a time"), 60.0),
        ("ECCo against dice-ml, per step", times("search", "dice-ml"), 1000.0),
        ("SSIM against the scikit-image loop", times("similarity", "scikit-image"), 250.0),
    ]
    return [{"name": n, "times": t, "aim": aim, "met": t is not None and t >= aim} for n, t, aim in aims]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure everything from the command line; return the exit code."""
    parser = Parser(prog="python -m robexpl.report.bench", description="Measure the hot paths.")
    parser.add_argument("--seconds", type=float, default=50.0, help="for each of four paths and for growth")
    seconds = parser.parse_args(argv).seconds
    if not 0 < seconds < float("inf"):
        parser.error(f"expected --seconds > 0, got {seconds:g}")
    heed_signals()
    try:
        measure_all(seconds)
    except Stopped as stopped:
        print("STOPPED bench: nothing was changed", file=sys.stderr)
        return 128 + stopped.args[0]
    return 0


def measure_all(seconds: float) -> None:
    """Measure every path, its growth and its memory, and write `bench.json` and `bench.svg` among the full results."""
    torch.set_num_threads(1)
    data = images(10_000)
    model = from_weights(fit(shortened(data, 2000), "standard", seed=0, epochs=1).state_dict())  # in torch's own layout
    makers = {
        "attack": lambda: attack_path(data, model, Adversary(0.3, 0.01, 10)),
        "training": lambda: training_path(shortened(data, 512)),
        "search": lambda: search_path(data, model),
        "similarity": lambda: similarity_path(shortened(data, 6100)),
    }
    paths, peak = {}, matrix_peak()
    for name, make in makers.items():
        paths[name] = measure(make(), seconds=seconds)
        peak = max(peak, matrix_peak())
        for row in paths[name]["peers"]:
            print(f"bench  {name:10} {row['against_ours']['median']:8.2f} x ours  {row['name']}", file=sys.stderr)
        for peer, why in paths[name]["skipped"].items():
            print(f"bench  {name:10}  skipped  {peer}: {why}", file=sys.stderr)
    for path in paths.values():
        path["share_of_peak"] = path.pop("operations_per_second") / peak
    known = metrics.reference(data.x_train[:2000], torch.zeros(2000, dtype=torch.long), image_shape=data.image_shape)
    held = {str(n): memory(lambda n=n: metrics.nearest(data.x_test[:n], 0, known, k=10)) for n in (64, 256, 1024)}
    out = Output("bench", "full")
    out.json(
        machine=machine(),
        peak_gflops=peak / 1e9,
        paths=paths,
        targets=targets(paths),
        growth=growth(data, model, seconds=seconds),
        memory_mib={"neighbours by factuals": held},
    )
    out.figure(speeds(paths))


if __name__ == "__main__":
    sys.exit(main())
