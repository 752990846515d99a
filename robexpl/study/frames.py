"""From the lists of the grid to tidy tables: one row per factual, test of a network, reference point or epoch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from robexpl import attacks
from robexpl.gradients import vjp
from robexpl.progress import bar
from robexpl.study import stages, worst
from robexpl.study.factuals import correct
from robexpl.study.grid import Measured, Point
from robexpl.study.networks import Network
from robexpl.study.stages import Attacked


def counterfactuals(points: Iterable[Point]) -> pd.DataFrame:
    """Tabulate scored searches, one row per factual, with the labels of the point as columns.

    Columns: pool (the seed whose test set it is), run, row (of the test set), label, target, correct (the network's own
    answer to the factual), counted (whether the condition counts the row), valid (target probability of at least the
    threshold), steps, converged, target_prob, target_logit, gradient_max, l1 and l2 (distance from the factual),
    implausibility.
    """
    return pd.concat([_searched(point) for point in bar(list(points), desc="table")], ignore_index=True)


def _searched(point: Point) -> pd.DataFrame:
    wanted = point.search
    found = stages.search(wanted)
    scored = stages.score(wanted, point.measure)["implausibility"]
    travel = found["x"] - found["factual"]
    columns = {name: found[name].numpy() for name in ("run", "row", "label", "target", "correct", "steps", "converged")}
    columns |= {name: found[name].double().numpy() for name in ("target_prob", "target_logit", "gradient_max")}
    columns |= {"pool": wanted.subject.data.shared().seed}
    columns |= {"valid": (found["target_prob"] >= wanted.settings.threshold).numpy()}
    columns |= {"l1": travel.abs().sum(1).double().numpy(), "l2": travel.norm(dim=1).double().numpy()}
    columns |= {"implausibility": scored.double().numpy()}
    own = point.counting == (wanted.subject.network,)
    right = found["correct"].numpy() if own else _counted(point.counting, wanted.factuals)
    return pd.DataFrame({**dict(point.labels), **columns, "counted": right})


@lru_cache(maxsize=256)
def _counted(networks: tuple[Network, ...], factuals: Any) -> np.ndarray:
    """Tell which factuals all of these networks classify correctly (n,)."""
    return np.logical_and.reduce([_right(network, factuals) for network in networks])


@lru_cache(maxsize=512)
def _right(network: Network, factuals: Any) -> np.ndarray:
    drawn = factuals.take(network.data)
    return correct(network, network.data.load().x_test[drawn["row"]], drawn["label"]).numpy()


def attacked(entries: Iterable[Measured], rows: int | None = None) -> pd.DataFrame:
    """Tabulate attacks, one row per network and attack, over all test rows that were attacked or the first `rows`.

    correct: test rows still classified correctly, of n; value: their share; steps: mean number of steps; radius: mean
    over rows of the largest perturbation of an input; typical: mean over rows of the median perturbation of the inputs
    that moved; nominal: the radius asked for; over: share of rows that left the ball of that radius.
    """
    found = []
    for entry in bar(list(entries), desc="table"):
        wanted: Attacked = entry.what
        result = {name: values[:rows] for name, values in stages.attack(wanted).items()}
        nominal = float(dict(wanted.attack.settings).get("eps", 0.0))
        right, radius = result["correct"], result["radius"]
        found.append(
            {
                **dict(entry.labels),
                "correct": int(right.sum()),
                "n": len(right),
                "value": float(right.double().mean()),
                "steps": float(result["steps"].double().mean()),
                "radius": float(radius.double().mean()),
                "typical": float(result["typical"].double().mean()),
                "nominal": nominal,
                "over": float((radius > nominal + 1e-6).double().mean()),
                "moved": float((radius > 0).double().mean()),
            }
        )
    return pd.DataFrame(found)


def worst_cases(entries: Iterable[Measured], rows: int | None = None) -> pd.DataFrame:
    """Tabulate worst cases, one row per network and radius: test rows still classified correctly, of n; value: their
    share; then of each of `worst_case.NAMES` how many rows it changed, at this radius or at a smaller one. Of all rows
    that were attacked, or of the first `rows` of them.
    """
    found = []
    for entry in bar(list(entries), desc="table"):
        result = {name: values[:rows] for name, values in worst.worst_case(entry.what).items()}
        right, names = result["correct"], attacks.module("worst_case").NAMES
        counts = {name: int((result["part"] == place).sum()) for place, name in enumerate(names)}
        found.append({**dict(entry.labels), "correct": int(right.sum()), "n": len(right), **counts})
    return pd.DataFrame(found).pipe(lambda frame: frame.assign(value=frame["correct"] / frame["n"]))


def held(entries: Iterable[Measured]) -> pd.DataFrame:
    """Tabulate up to which radius each test row holds out in each network, a row of the table for each; from the worst
    case of rising radii, by the trapezoidal rule, and none beyond the largest. Their mean is the area under the curve.
    """
    entries, found = list(entries), []
    for key in dict.fromkeys(tuple(pair for pair in entry.labels if pair[0] != "eps") for entry in entries):
        own = [entry for entry in entries if set(key) < set(entry.labels)]
        right = torch.stack([worst.worst_case(entry.what)["correct"] for entry in own]).double()  # (radii, n)
        radii = torch.tensor([dict(entry.labels)["eps"] for entry in own], dtype=torch.float64)
        radius = torch.trapezoid(right, radii, dim=0)
        found.append(pd.DataFrame({**dict(key), "row": range(len(radius)), "radius": radius.numpy()}))
    return pd.concat(found, ignore_index=True)


def alone(entries: Iterable[Measured]) -> pd.DataFrame:
    """Tabulate attacks and transferred examples, one row each: test rows classified correctly, of n; value: share."""
    rows = []
    for entry in bar(list(entries), desc="table"):
        stage = stages.attack if isinstance(entry.what, Attacked) else worst.transfer
        right = stage(entry.what)["correct"]
        rows.append({**dict(entry.labels), "correct": int(right.sum()), "n": len(right)})
    return pd.DataFrame(rows).pipe(lambda frame: frame.assign(value=frame["correct"] / frame["n"]))


def histories(entries: Iterable[Measured]) -> pd.DataFrame:
    """Tabulate training, one row per network and epoch: loss, mean PGD steps, mean largest perturbation."""
    frames = []
    for entry in entries:
        frame = pd.DataFrame(stages.train(entry.what)["history"].numpy(), columns=["loss", "steps", "radius"])
        frame.insert(0, "epoch", range(1, len(frame) + 1))
        frames.append(frame.assign(**dict(entry.labels)))
    return pd.concat(frames, ignore_index=True)


def reference(entries: Iterable[Measured]) -> pd.DataFrame:
    """Tabulate the scores of reference points, one row per factual; `place` is its place in the draw."""
    frames = []
    for entry in bar(list(entries), desc="table"):
        scored = stages.score(entry.what, entry.measure)["implausibility"].double().numpy()
        drawn = entry.what.factuals.take(entry.what.data)
        columns = {name: drawn[name].numpy()[: len(scored)] for name in ("run", "row", "target")}
        columns |= {"pool": entry.what.data.shared().seed}
        labels = dict(entry.labels)
        frames.append(pd.DataFrame({**labels, "place": range(len(scored)), **columns, "implausibility": scored}))
    return pd.concat(frames, ignore_index=True)


def beside(searched: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """Set beside each counterfactual the scores of the reference points of its own factual, a column per point."""
    wide = points.pivot_table(
        index=["condition", "seed", "place", "row", "target"], columns="point", values="implausibility"
    ).reset_index()
    place = searched.groupby(["condition", "seed", "stop", "regime"], sort=False).cumcount()
    joined = searched.assign(place=place).merge(
        wide, on=["condition", "seed", "place", "row", "target"], how="left", validate="many_to_one"
    )
    if len(joined) != len(searched) or joined["factual"].isna().any():
        raise ValueError("expected the factuals of the reference points in the order they were drawn, got others")
    return joined


def convergence(points: Iterable[Point]) -> pd.DataFrame:
    """Tabulate searches with the factor c = 2 eta energy reg |grad f_t(x)|^2 at their factuals, one row per factual.

    Where a network is linear, one step of size eta multiplies the distance of the target logit from 1 / (2 reg) by
    1 - c: beyond c = 2 the search diverges.
    """
    frames = []
    for point in points:
        wanted, frame = point.search, _searched(point)
        found, s = stages.search(wanted), wanted.settings
        logits, pull = vjp(wanted.subject.model())(found["factual"])
        one_hot = nn.functional.one_hot(found["target"], logits.shape[1]).to(logits.dtype)
        size = pull(one_hot).square().sum(1)  # (n,)
        frames.append(frame.assign(factor=(2 * s.learning_rate * s.energy * s.reg * size).double().numpy()))
    return pd.concat(frames, ignore_index=True)


def gradients(entries: Iterable[Measured]) -> pd.DataFrame:
    """Tabulate networks with max_i |d f_y / d x_i| of the logit of each test row's own class.

    size: its mean over test rows; zero_share: the share of rows where it is exactly zero, as no hidden unit responds.
    """
    rows = []
    for entry in entries:
        dataset = entry.what.data.load()
        one_hot = nn.functional.one_hot(dataset.y_test, dataset.n_classes).to(dataset.x_test.dtype)
        _, pull = vjp(entry.what.model())(dataset.x_test)
        largest = pull(one_hot).abs().amax(1)  # (n,)
        silent = float((largest == 0).double().mean())
        rows.append({**dict(entry.labels), "size": float(largest.mean()), "zero_share": silent})
    return pd.DataFrame(rows)


def images(points: Iterable[Point]) -> tuple[pd.DataFrame, torch.Tensor, dict[tuple[str, str], torch.Tensor]]:
    """Return searches to look at: their table, the factuals (n, d), and the counterfactuals by criterion and regime."""
    points = list(points)
    found = {(dict(p.labels)["stop"], dict(p.labels)["regime"]): stages.search(p.search) for p in points}
    return counterfactuals(points), next(iter(found.values()))["factual"], {key: f["x"] for key, f in found.items()}
