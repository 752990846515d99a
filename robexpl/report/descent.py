"""Does the search settle? The fixed step of the descent against the curvature of the energy.

Where a network is linear, one step of size eta changes the distance of the target logit from its rest 1 / (2 reg) by
the factor 1 - c, with c = 2 eta energy reg |grad f_t|^2. Beyond c = 2 that distance grows from step to step: the search
overshoots, and goes on overshooting, however many steps it may take.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import nn

from robexpl.ecco import Settings
from robexpl.gradients import vjp
from robexpl.readings import Reading, reading
from robexpl.regimes import REGIME_NAMES, REGIMES
from robexpl.report import tables, words
from robexpl.report.networks import Subject, network
from robexpl.report.study import Profile, default_distance, explain, frame, score, trained

Record = dict[str, Any]
LIMIT = 2.0
FINER = 10  # the check: steps a tenth as long, ten times as many, so that the way is as long
CHECKED = 5  # seeds of the check
STOP = "generator_conditions"
COMPARED = {"fixed": "impl., one run", "finer": "impl., finer steps"}


def factors(model: nn.Module, x: torch.Tensor, target: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Return c = 2 eta energy reg |grad f_t(x)|^2 for each row, shape (n,)."""
    logits, pull = vjp(model)(x)
    gradient = pull(nn.functional.one_hot(target, logits.shape[1]).to(logits.dtype))
    return 2 * settings.learning_rate * settings.energy * settings.reg * gradient.square().sum(1)


def rows(subject: Subject, how: Reading, profile: Profile, **changes: float) -> pd.DataFrame:
    """Tabulate the searches of one network under generator conditions: factor (at the factual), valid, implausibility.

    Only factuals that the network classifies correctly.
    """
    kind = profile.kind(subject.dataset)
    settings = how.settings(kind, steps=profile.steps, **changes)
    arguments = (subject, STOP, settings, profile.runs, profile.factuals)
    found = explain(*arguments)
    frame = pd.DataFrame(
        {
            "seed": subject.seed,
            "run": found["run"].numpy(),
            "factor": factors(network(subject), found["factual"], found["target"], settings).double().numpy(),
            "valid": (found["target_prob"] >= settings.threshold).numpy(),
            "implausibility": score(*arguments, default_distance(kind), profile.k)["implausibility"].double().numpy(),
        }
    )
    return frame[found["correct"].numpy()]


def record(frame: pd.DataFrame) -> Record:
    """Summarise `rows`: median factor, share beyond the limit, validity, mean implausibility."""
    return {
        "factor": float(frame["factor"].median()),
        "beyond": float((frame["factor"] > LIMIT).mean()),
        "validity": float(frame["valid"].mean()),
        "mean": float(frame["implausibility"].mean()),
        "n": len(frame),
    }


def stability(dataset: str, *, seeds: int, readings: tuple[str, ...], profile: Profile) -> Record:
    """Return {reading: {regime: record}} for the networks of the study."""
    result: Record = {}
    for name in readings:
        for regime in REGIMES:
            how = reading(name)
            made = [
                rows(trained(dataset, regime, seed=seed, reading=how, profile=profile), how, profile)
                for seed in profile.seeds_of(dataset, name, seeds)
            ]
            result.setdefault(name, {})[regime] = record(pd.concat(made, ignore_index=True))
    return result


def finer(dataset: str, *, seeds: int, readings: tuple[str, ...], profile: Profile) -> pd.DataFrame:
    """Search one run again with shorter steps, up to `CHECKED` seeds: the rows of `study.frame`, each twice.

    Column `way`: "fixed", the step of the study, or "finer", steps a tenth as long and ten times as many.
    """
    one = replace(profile, runs=1)
    longer, frames = replace(one, steps=FINER * profile.steps), []
    for name in readings:
        how = reading(name)
        rate = how.settings(profile.kind(dataset)).learning_rate / FINER
        for seed in profile.seeds_of(dataset, name, seeds)[:CHECKED]:
            for regime in REGIMES:
                subject = trained(dataset, regime, seed=seed, reading=how, profile=profile)
                found = {
                    "fixed": frame(subject, STOP, how, one),
                    "finer": frame(subject, STOP, how, longer, learning_rate=rate),
                }
                frames += [rows.assign(way=way, counted=rows["correct"]) for way, rows in found.items()]
    return pd.concat(frames, ignore_index=True)


def compared(again: pd.DataFrame, steps: int) -> Record:
    """Summarise `finer`: {reading: {regime: {fixed, finer, n, n_seeds, steps}}}, means over seeds of their means."""
    result: Record = {}
    for (name, regime), rows in again[again["counted"]].groupby(["reading", "regime"], sort=False):
        by_seed = rows.groupby(["way", "seed"])["implausibility"].mean().unstack("seed")  # (ways, seeds)
        means = {way: float(by_seed.loc[way].mean()) for way in COMPARED}
        n, n_seeds = int((rows["way"] == "finer").sum()), by_seed.shape[1]
        result.setdefault(name, {})[regime] = {**means, "n": n, "n_seeds": n_seeds, "steps": FINER * steps}
    return result


def gaps(again: pd.DataFrame) -> Record:
    """Compare strong - standard by way, paired: {reading: {way: difference}}."""
    found = {way: tables.differences(rows, {"strong": ("strong", "standard")}) for way, rows in again.groupby("way")}
    return {
        name: {way: by_reading[name][STOP]["strong"] for way, by_reading in found.items()}
        for name in again["reading"].unique()
    }


def table(records: Record, again: Record) -> pd.DataFrame:
    """Tabulate the records of `stability` and of `compared`."""
    columns = {"factor": "c (median)", "beyond": "share with c > 2", "validity": "valid"}
    shown = {
        (name, REGIME_NAMES[regime]): {
            **{title: r[key] for key, title in columns.items()},
            **{title: again[name][regime][key] if name in again else None for key, title in COMPARED.items()},
        }
        for name, of_regime in records.items()
        for regime, r in of_regime.items()
    }
    return pd.DataFrame(shown).T.rename_axis(["reading", "regime"]).round(3)


def sentence(records: Record, again: Record, between: Record) -> str:
    """Say whose searches overshoot most and what finer steps make of the gap between standard and strong."""
    lines = []
    for name in again:
        of_regime = records[name]
        worst = max(REGIMES, key=lambda regime: of_regime[regime]["beyond"])
        r, checked, gap = of_regime[worst], again[name], between[name]
        overshoot = (
            "no search starts beyond the limit"
            if r["beyond"] == 0
            else f"the {REGIME_NAMES[worst].lower()} network overshoots most: {r['beyond']:.2f} of its searches start "
            f"beyond the limit, and {r['validity']:.2f} of them all end valid"
        )
        n_seeds = checked["strong"]["n_seeds"]
        lines.append(
            f'- **Reading "{name}"**: {overshoot}. With steps a tenth as long the mean implausibility of the '
            f"standard network goes from {checked['standard']['fixed']:.3f} to {checked['standard']['finer']:.3f}, "
            f"that of the strong one from {checked['strong']['fixed']:.3f} to {checked['strong']['finer']:.3f}; "
            "strong - standard goes from "
            f"{words.delta(gap['fixed'])} to {words.delta(gap['finer'])} ({gap['finer']['n']} pairs from "
            f"{words.number(n_seeds)} seed{'s' * (n_seeds > 1)})."
        )
    return "\n".join(lines)
