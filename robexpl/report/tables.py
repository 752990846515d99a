"""From the rows of the study to the records that notebooks show and the paper reads.

A record is a plain dictionary. Accuracy: mean, low, high, n, n_seeds. Cell: a mean implausibility with its interval,
its spread over runs and seeds, and what the counterfactuals behind it look like. Difference: mean, low, high, p_lower.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from robexpl import stats
from robexpl.artifacts import ROOT
from robexpl.regimes import REGIME_NAMES, REGIMES
from robexpl.seeds import numpy_generator

Record = dict[str, Any]
ROBUST = tuple(regime for regime in REGIMES if regime != "standard")
MEANS = {"converged": "converged", "steps": "steps", "target_prob": "target_prob", "target_logit": "target_logit"}


@lru_cache(maxsize=1)
def thesis() -> Record:
    """Return the figures and claims of the thesis, as typed once in paper/thesis.json."""
    return json.loads((ROOT / "paper" / "thesis.json").read_text(encoding="utf-8"))


def accuracy_records(frame: pd.DataFrame) -> dict[str, dict[str, dict[str, Record]]]:
    """Summarise rows of `study.accuracies` over seeds: {reading: {regime: {attack: accuracy record}}}."""
    result: dict[str, dict[str, dict[str, Record]]] = {}
    for (name, regime, attack), rows in frame.groupby(["reading", "regime", "attack"], sort=False):
        estimate = stats.accuracy_interval(
            rows["correct"].to_numpy(), rows["n"].to_numpy(), rng=numpy_generator(0, "accuracy", name, regime, attack)
        )
        record = {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}
        record |= {"n": int(rows["n"].iloc[0]), "n_seeds": len(rows)}
        result.setdefault(name, {}).setdefault(regime, {})[attack] = record
    return result


def cells(frame: pd.DataFrame, dataset: str, comparable: bool) -> dict[str, dict[str, dict[str, Record]]]:
    """Summarise rows of `study.counterfactuals`: {reading: {stop: {regime: cell}}}.

    mean: over the counted factuals of a run, then over runs and seeds; all: the same over all factuals; low, high: 95 %
    bootstrap interval; sd: n - 1 standard deviation over the runs of a seed, root mean square over seeds;
    z = (mean - thesis) / sqrt(sd^2 + sd_thesis^2) where `comparable`.
    """
    result: dict[str, dict[str, dict[str, Record]]] = {}
    for (name, stop, regime), rows in frame.groupby(["reading", "stop", "regime"], sort=False):
        record = cell(rows)
        record["z"] = z_score(record, thesis()["table1"][dataset][regime][stop]) if comparable else None
        result.setdefault(name, {}).setdefault(stop, {})[regime] = record
    return result


def cell(rows: pd.DataFrame) -> Record:
    """Summarise the counterfactuals of one regime, stop and reading."""
    counted = rows[rows["counted"]]
    if counted.empty:
        raise ValueError(f"expected counted factuals, got none of {len(rows)} for {rows['regime'].iloc[0]}")
    runs = counted.groupby(["seed", "run"])["implausibility"].mean().unstack("run")  # (seeds, runs)
    seeds = runs.mean(axis=1)
    estimate = stats.mean_interval(
        counted["implausibility"].to_numpy(), counted["seed"].to_numpy(), rng=numpy_generator(0, "cell")
    )
    mean = float(seeds.mean())
    return {
        "mean": mean,
        "all": float(rows.groupby(["seed", "run"])["implausibility"].mean().groupby("seed").mean().mean()),
        "low": mean + estimate.low - estimate.mean,
        "high": mean + estimate.high - estimate.mean,
        "sd": float(np.sqrt(np.mean(runs.std(axis=1, ddof=1) ** 2))) if runs.shape[1] > 1 else None,
        "sd_seeds": float(seeds.std(ddof=1)) if len(seeds) > 1 else None,
        "n": len(counted),
        "n_seeds": len(seeds),
        "runs": runs.shape[1],
        "factuals": len(rows),
        "skipped": len(rows) - len(counted),
        "validity": float(counted["valid"].mean()),
        "distance": float(counted["l1"].mean()),
        **{name: float(counted[column].mean()) for name, column in MEANS.items()},
    }


def z_score(record: Record, other: Record) -> float:
    """Return the difference of two means in combined standard deviations over runs."""
    return (record["mean"] - other["mean"]) / float(np.hypot(record["sd"], other["sd"]))


def differences(frame: pd.DataFrame, pairs: dict[str, tuple[str, str]]) -> dict[str, dict[str, dict[str, Record]]]:
    """Compare regimes on common factuals: {reading: {stop: {name: difference record}}} for {name: (regime, baseline)}.

    Differences are regime - baseline, paired over the factuals that count for both; p_lower is the share of bootstrap
    draws in which the regime's implausibility is the lower one.
    """
    result: dict[str, dict[str, dict[str, Record]]] = {}
    for (name, stop), rows in frame.groupby(["reading", "stop"], sort=False):
        by_regime = {regime: part.reset_index(drop=True) for regime, part in rows.groupby("regime", sort=False)}
        for pair, (regime, baseline) in pairs.items():
            a, b = by_regime[regime], by_regime[baseline]
            # rescaled networks are searched from the same factuals and carry no run, row or target of their own
            keys = [k for k in ("seed", "run", "row", "target") if k in a and a[k].notna().all() and b[k].notna().all()]
            if not a[keys].equals(b[keys]):
                raise ValueError(
                    f"expected the same factuals in the same order for {regime} and {baseline}, got others"
                )
            common = (a["counted"] & b["counted"]).to_numpy()
            estimate = stats.paired_difference(
                a["implausibility"].to_numpy()[common],
                b["implausibility"].to_numpy()[common],
                a["seed"].to_numpy()[common],
                rng=numpy_generator(0, "difference", name, stop, pair),
            )
            record = {"mean": estimate.mean, "low": estimate.low, "high": estimate.high, "p_lower": estimate.p_lower}
            result.setdefault(name, {}).setdefault(stop, {})[pair] = {**record, "n": int(common.sum())}
    return result


def to_standard() -> dict[str, tuple[str, str]]:
    """Return the pairs that compare each robust regime with the standard one."""
    return {regime: (regime, "standard") for regime in ROBUST}


def to_weaker() -> dict[str, tuple[str, str]]:
    """Return the pairs that compare a stronger robust regime with a weaker one."""
    return {
        "weak_to_medium": ("medium", "weak"),
        "medium_to_strong": ("strong", "medium"),
        "weak_to_strong": ("strong", "weak"),
    }


def order(records: dict[str, Record], regimes: tuple[str, ...] = ROBUST) -> list[str]:
    """Return the regimes by mean, lowest first."""
    return sorted(regimes, key=lambda regime: records[regime]["mean"])


def lowest(records: dict[str, Record]) -> str:
    """Return the regime with the lowest mean."""
    return order(records, REGIMES)[0]


def monotone_share(frame: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the share of runs whose means fall from weak over medium to strong: {reading: {stop: share}}."""
    counted = frame[frame["counted"]]
    result: dict[str, dict[str, float]] = {}
    for (name, stop), rows in counted.groupby(["reading", "stop"], sort=False):
        means = rows.groupby(["seed", "run", "regime"])["implausibility"].mean().unstack("regime")
        falls = (means["weak"] > means["medium"]) & (means["medium"] > means["strong"])
        result.setdefault(name, {})[stop] = float(falls.mean())
    return result


def show_accuracies(records: dict[str, dict[str, Record]], attacks: tuple[str, ...]) -> pd.DataFrame:
    """Show the accuracies of one reading, regimes by attacks, with 95 % intervals."""
    rows = {
        REGIME_NAMES[regime]: {attack: interval(records[regime][attack]) for attack in attacks} for regime in REGIMES
    }
    return pd.DataFrame(rows).T.rename_axis("regime")


def interval(record: Record, digits: int = 3) -> str:
    """Format a mean with its interval."""
    return f"{record['mean']:.{digits}f} [{record['low']:.{digits}f}, {record['high']:.{digits}f}]"


def spread(record: Record, digits: int = 3) -> str:
    """Format a mean with its standard deviation over runs."""
    return f"{record['mean']:.{digits}f} ± {record['sd']:.{digits}f}"
