"""What intervals and rules do where the truth is known: `python tests/bench/simulations.py` writes bench-coverage.csv.

Studies are simulated with the components of variance that the notebook `anchors` measured in the condition `corrected`:
networks, factuals, and the rest (factuals crossed with networks, and repeated searches). The effect of a factual is
correlated between regimes. On images all networks draw their factuals from one test set, on tabular data each from its
own. Effects are normal or, with heavy tails, Student's with 3 degrees of freedom.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from robexpl import stats
from robexpl.progress import bar
from robexpl.regimes import REGIMES
from robexpl.study import rules
from robexpl.study.places import ROOT

GENERATED = ROOT / "paper" / "generated"
NAMES, POOL = {"image": "mnist", "tabular": "california"}, {"image": 10_000, "tabular": 1_000}
FACTUALS, CORRELATION = 500, 0.8
STEPS = (("weak", "standard"), ("medium", "weak"), ("strong", "medium"))
STUDIES, SIZES = 400, (5, 10, 20)


@dataclass(frozen=True)
class Design:
    """Components of variance by regime, each (4,), the size of the test set, and whether networks share it."""

    seed: np.ndarray
    factual: np.ndarray
    rest: np.ndarray
    pool: int
    shared: bool
    heavy: bool = False


def measured(kind: str, stop: str, *, heavy: bool = False) -> Design:
    """Read the components of a dataset and a criterion."""
    parts = pd.read_csv(GENERATED / f"anchors-{NAMES[kind]}-components.csv")
    parts = parts[(parts["condition"] == "corrected") & (parts["stop"] == stop)]
    wide = parts.pivot(index="regime", columns="part", values="variance").reindex(REGIMES).fillna(0)
    known = {name: wide[name].to_numpy() if name in wide else np.zeros(4) for name in ("seed", "factual")}
    rest = wide.drop(columns=["seed", "factual"]).sum(axis=1).to_numpy()
    return Design(**known, rest=rest, pool=POOL[kind], shared=kind == "image", heavy=heavy)


def simulate(design: Design, seeds: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores (4 regimes, seeds x factuals) whose true means are 0, the seed of each column, and its test row."""

    def noise(*shape: int) -> np.ndarray:
        return rng.standard_t(3, shape) / np.sqrt(3) if design.heavy else rng.normal(size=shape)

    rows = rng.integers(design.pool, size=(seeds, FACTUALS))
    rows = rows if design.shared else rows + design.pool * np.arange(seeds)[:, None]
    of_row = np.sqrt(CORRELATION) * noise(1, rows.max() + 1) + np.sqrt(1 - CORRELATION) * noise(4, rows.max() + 1)
    scores = np.sqrt(design.factual)[:, None] * of_row[:, rows.ravel()]
    scores += np.sqrt(design.seed)[:, None] * np.repeat(noise(4, seeds), FACTUALS, axis=1)
    scores += np.sqrt(design.rest)[:, None] * noise(4, rows.size)
    return scores, np.repeat(np.arange(seeds), FACTUALS), rows.ravel()


def study(design: Design, seeds: int, rng: np.random.Generator) -> tuple[stats.Estimate, pd.DataFrame]:
    """Return the mean of the strong regime, and the differences between neighbouring regimes, stronger - weaker."""
    scores, owner, rows = simulate(design, seeds, rng)
    of = dict(zip(REGIMES, scores, strict=True))
    found = [(f"{a} - {b}", stats.paired_difference(of[a], of[b], owner, rows)) for a, b in STEPS]
    return stats.mean_interval(of["strong"], owner, rows), pd.DataFrame({"what": w, **vars(e)} for w, e in found)


def said(rows: pd.DataFrame, shift: float, smallest: float) -> dict[str, str]:
    """Return what each rule says where every step is `shift`: intervals of a mean move with it."""
    moved = rows.assign(**{name: rows[name] + shift for name in ("mean", "low", "high")})
    kinds = (rules.lower, rules.equal, rules.unordered)
    return {rule.__name__: rule(moved, smallest, len(moved))[0] for rule in kinds}


def rates(design: Design, seeds: int, smallest: float, studies: int, rng: np.random.Generator) -> dict[str, float]:
    """Return shares of simulated studies: intervals that hold the truth, rules that are wrong, effects that are found.

    wrong: with no effect, `lower` supported, contradicted or reversed, `equal` and `unordered` contradicted; at_edge:
    with steps of exactly the smallest effect, `lower` or `equal` supported; power: with steps of twice the smallest
    effect `lower` supported, without any effect `equal` supported. detectable: the step, in multiples of the smallest
    effect, at which `lower` is supported in 80 % of the studies.
    """
    found: dict[str, list[bool]] = {}
    needed = []
    for _ in bar(range(studies), desc=f"{seeds} networks"):
        mean, rows = study(design, seeds, rng)
        null, edge, real = (said(rows, -factor * smallest, smallest) for factor in (0, 1, 2))
        together = rules.simultaneous(rows, len(rows))
        now = {
            "coverage_mean": mean.low <= 0 <= mean.high,
            "coverage_difference": bool((rows["low"].iloc[-1] <= 0) & (rows["high"].iloc[-1] >= 0)),
            "coverage_simultaneous": bool(((together["low"] <= 0) & (together["high"] >= 0)).all()),
            "wrong_lower": null["lower"] in ("supported", "contradicted", "reversed"),
            "wrong_equal": null["equal"] == "contradicted",
            "wrong_unordered": null["unordered"] == "contradicted",
            "at_edge_lower": edge["lower"] == "supported",
            "at_edge_equal": edge["equal"] == "supported",
            "power_lower": real["lower"] == "supported",
            "power_equal": null["equal"] == "supported",
        }
        needed.append(together["high"].max() / smallest + 1)
        for name, holds in now.items():
            found.setdefault(name, []).append(bool(holds))
    return {**{name: float(np.mean(holds)) for name, holds in found.items()}, "detectable": np.quantile(needed, 0.8)}


def cells(studies: int) -> Iterator[dict[str, object]]:
    """Yield the rates of every design and number of networks."""
    for kind, name in NAMES.items():
        smallest = pd.read_csv(GENERATED / f"anchors-{name}-margin.csv").set_index("condition")["margin"]["corrected"]
        for stop in ("decision_threshold", "generator_conditions"):
            for heavy in (False, True):
                for seeds in SIZES:
                    rng = np.random.default_rng([seeds, heavy, stop == "decision_threshold", kind == "image"])
                    key = {"kind": kind, "stop": stop, "tails": "heavy" if heavy else "normal", "n_seeds": seeds}
                    found = rates(measured(kind, stop, heavy=heavy), seeds, float(smallest), studies, rng)
                    yield from ({**key, "finding": f, "value": share, "n": studies} for f, share in found.items())


if __name__ == "__main__":
    table = pd.DataFrame(cells(int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES))
    table.to_csv(GENERATED / "bench-coverage.csv", index=False, lineterminator="\n", float_format="%.6g")
