"""Does the scale of the logits set standard and strong networks apart?

Logits s f(x) make the same predictions as f(x), yet the search asks for a target logit, so a network with small
gradients is sent further. Here the standard network's logits are shrunk until its gradients are as large as the strong
network's, seed by seed, and the search is repeated: what remains of the difference is not the scale's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from torch import nn

from robexpl import stats
from robexpl.gradients import vjp
from robexpl.readings import reading
from robexpl.regimes import REGIMES
from robexpl.report import study, tables
from robexpl.report.networks import Subject, network
from robexpl.report.sensitivity import GCC, SIZES, counted
from robexpl.report.variants import rows
from robexpl.seeds import numpy_generator

Record = dict[str, Any]
CELLS = ("standard", "strong", "shrunk", "grown")  # shrunk: standard with strong's gradients; grown: strong, standard's
PAIRS = {"before": ("strong", "standard"), "after": ("strong", "shrunk"), "other_way": ("grown", "standard")}
ENDS = ("l1", "target_logit", "valid")
WIDEST = 1024.0  # shares beyond it are as good as unbounded


def gradient_size(subject: Subject, profile: study.Profile) -> float:
    """Return the mean over a seed's factuals x, with targets t, of |grad_x f_t(x)|_2."""
    dataset = subject.load_data()
    drawn = study.draw_factuals(dataset, seed=subject.seed, runs=profile.runs, per_run=profile.factuals)
    logits, pull = vjp(network(subject))(dataset.x_test[drawn["row"]])
    one_hot = nn.functional.one_hot(drawn["target"], logits.shape[1]).to(logits.dtype)
    return float(pull(one_hot).norm(dim=1).double().mean())


def gradients(dataset: str, *, seeds: Iterable[int], name: str, profile: study.Profile) -> pd.DataFrame:
    """Tabulate `gradient_size`, a row per seed and a column per regime."""
    how = reading(name)
    return pd.DataFrame(
        {
            seed: {
                regime: gradient_size(study.trained(dataset, regime, seed=seed, reading=how, profile=profile), profile)
                for regime in REGIMES
            }
            for seed in seeds
        }
    ).T


def matched(dataset: str, seed: int, name: str, profile: study.Profile, scale: float) -> pd.DataFrame:
    """Tabulate the searches of one seed under generator conditions, with CELLS in the place of regimes."""
    how = reading(name)
    named = {r: study.trained(dataset, r, seed=seed, reading=how, profile=profile) for r in REGIMES}
    right = counted([named[r] for r in (REGIMES if how.common_factuals else PAIRS["before"])], profile)
    whose = {"standard": ("standard", 1.0), "strong": ("strong", 1.0), "shrunk": ("standard", scale)}
    whose["grown"] = ("strong", four_digits(1 / scale))
    made = [
        rows(named[regime], GCC, how, profile, scale=factor).assign(regime=cell, counted=right)
        for cell, (regime, factor) in whose.items()
    ]
    return pd.concat(made, ignore_index=True)


def four_digits(value: float) -> float:
    """Round to four significant digits, so that no last bit of a machine decides what is cached."""
    return float(f"{value:.4g}")


def mechanism(dataset: str, *, seeds: int, readings: tuple[str, ...], profile: study.Profile) -> Record:
    """Return {reading: record} of `summary`, with gradients, scales and the same for even and odd seeds (`halves`)."""
    sized = replace(profile, runs=1, factuals=SIZES[profile.name, profile.kind(dataset)].matched)
    result: Record = {}
    for name in readings:
        used = profile.seeds_of(dataset, name, seeds)
        sizes = gradients(dataset, seeds=used, name=name, profile=sized)
        scales = (sizes["strong"] / sizes["standard"]).map(four_digits)
        frame = pd.concat([matched(dataset, seed, name, sized, scales[seed]) for seed in used], ignore_index=True)
        halves = {key: frame[frame["seed"] % 2 == odd] for odd, key in enumerate(("even", "odd"))}
        result[name] = {
            **summary(frame),
            "scale": {"mean": float(scales.mean()), "low": float(scales.min()), "high": float(scales.max())},
            "gradient": sizes.mean().to_dict(),
            "halves": {key: summary(half) if len(half) else None for key, half in halves.items()},
        }
    return result


def summary(frame: pd.DataFrame) -> Record:
    """Summarise rows of `matched`: before, after, other_way; half_margin; kept, kept_low, kept_high; ends of searches.

    before: strong - standard; after: strong - standard shrunk; other_way: strong grown - standard; half_margin: after -
    before / 2; kept: after / before with the set of shares r that the interval of after - r before does not exclude
    [Fieller 1954], None where the interval of before holds zero.
    """
    (by_stop,) = tables.differences(frame, PAIRS).values()
    found = by_stop[GCC]
    cells = {cell: part.reset_index(drop=True) for cell, part in frame.groupby("regime", sort=False)}
    common = cells["standard"]["counted"].to_numpy()
    score = {cell: part["implausibility"].to_numpy()[common] for cell, part in cells.items()}
    labels = cells["standard"]["seed"].to_numpy()[common]
    before, after = score["strong"] - score["standard"], score["strong"] - score["shrunk"]
    half = stats.paired_difference(after, before / 2, labels, rng=numpy_generator(0, "half"))
    record = {**found, "half_margin": {key: getattr(half, key) for key in ("mean", "low", "high", "p_lower", "n")}}
    clear = found["before"]["low"] > 0 or found["before"]["high"] < 0
    record |= kept(before, after, labels) if clear else dict.fromkeys(("kept", "kept_low", "kept_high"))
    ends = {cell: part.loc[common, list(ENDS)].mean().to_dict() for cell, part in cells.items()}
    return {**record, "ends": ends, "n_seeds": len(np.unique(labels))}


def kept(before: np.ndarray, after: np.ndarray, seeds: np.ndarray) -> Record:
    """Return the share after / before of the means over seeds, with its interval; before, after, seeds (n,).

    An end of the interval is None where the share is not bounded on that side.
    """
    whole, rest = (np.mean([v[seeds == seed].mean() for seed in np.unique(seeds)]) for v in (before, after))
    if not whole:
        raise ValueError("expected a difference before the change, got none")
    share, sign = float(rest / whole), np.sign(whole)

    def excess(at: float, end: str) -> float:  # falls as `at` grows
        difference = stats.paired_difference(sign * after, at * sign * before, seeds, rng=numpy_generator(0, "kept"))
        return getattr(difference, end)

    ends: dict[str, float | None] = {}
    for end, way in (("low", -1.0), ("high", 1.0)):
        width = 1.0
        while way * excess(share + way * width, end) >= 0 and width < WIDEST:
            width *= 2
        if width >= WIDEST:
            ends[end] = None
        elif way * excess(share, end) <= 0:  # every draw gives the same share
            ends[end] = share
        else:
            ends[end] = float(brentq(excess, share, share + way * width, args=(end,), xtol=1e-6))
    return {"kept": share, "kept_low": ends["low"], "kept_high": ends["high"]}
