"""What plausibility goes with: trainings on an equal footing, their properties, rank correlations, matched pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from robexpl import smoothness, stats, trainings
from robexpl.progress import bar
from robexpl.regimes import REGIME_NAMES, REGIMES
from robexpl.seeds import numpy_generator
from robexpl.study import controlled, estimates, frames, stages
from robexpl.study.sizes import Study
from robexpl.study.stages import Measure

PROPERTIES = ("robust", "gradient", "curvature", "clean")
CLOSE, NEAR = 0.01, 0.1  # clean accuracies of a matched pair differ by at most CLOSE, gradient norms by this share
LEAST = 0.5  # a training that reaches a level less often is not compared at it


def footing(searched: pd.DataFrame) -> pd.DataFrame:
    """Mark as `counted` the factuals that every training that is compared gets right and reaches a level from.
    Adds `validity`, the share of a training's correctly classified factuals, over all seeds, from which it reaches the
    level, and `compared`, whether that is at least a half: other trainings count no factual and hinder none.
    """
    keys = ["level", "measure", "training"]
    place = searched.groupby(["seed", *keys], sort=False).cumcount()
    share = searched[searched["correct"]].groupby(keys)["valid"].mean().rename("validity")
    frame = searched.assign(place=place).merge(share, on=keys, how="left", validate="many_to_one")
    frame["compared"] = frame["validity"] >= LEAST
    right = (frame["correct"] & frame["valid"]) | ~frame["compared"]
    every = right.groupby([frame[name] for name in ("level", "measure", "seed", "place")]).transform("all")
    return frame.assign(counted=every & frame["compared"])


def judged(study: Study) -> pd.DataFrame:
    """Ask the oracle about every counterfactual of the comparison: classifiers that are never explained.
    A row each, by the keys of `footing`. oracle: 1 - p(target), lower where they see more of the target class; agreed:
    1 where they give it more than half of the probability, so that it is their answer, else 0.
    """
    found = []
    for point in bar(controlled.searches(study), desc="oracle"):
        if (named := dict(point.labels))["measure"] == "primary":
            rows, by = stages.search(point.search), Measure("oracle", study.k)
            scored = stages.scorer(point.search.subject.data.shared(), by)(rows["x"], rows["target"]).numpy()
            columns = {"place": range(len(scored)), "oracle": scored, "agreed": (scored < 0.5) * 1.0}
            found.append(pd.DataFrame({name: named[name] for name in ("seed", "level", "training")} | columns))
    return pd.concat(found, ignore_index=True)


def properties(study: Study) -> pd.DataFrame:
    """Tabulate the networks that are compared, one row each, by seed and training.
    clean: accuracy on test rows; robust: on the first of them in the worst case over attacks; gradient: mean
    |grad_x f_y|_2; curvature: of the loss, within the attacks' radius (see `robexpl.smoothness`).
    """
    how, found = controlled.settings(study), []
    for entry in bar(controlled.clean(study), desc="smoothness"):
        network = entry.what.subject
        dataset, model = network.data.load(), network.model()
        x, y = dataset.x_test[: how["rows"]], dataset.y_test[: how["rows"]]
        slope = smoothness.gradient_norm(model, x, y, bounds=dataset.bounds)
        bend = smoothness.curvature(model, x, y, eps=how["worst"]["radii"][-1], bounds=dataset.bounds)
        means = (float(values.double().mean()) for values in (slope, bend))
        found.append({**dict(entry.labels), **dict(zip(("gradient", "curvature"), means, strict=True))})
    keys, table = ["seed", "training"], pd.DataFrame(found)
    accuracy = {"clean": frames.attacked(controlled.clean(study))}
    accuracy["robust"] = frames.worst_cases(controlled.robustness(study))
    for name, rows in accuracy.items():
        table = table.merge(rows[[*keys, "value"]].rename(columns={"value": name}), on=keys, validate="one_to_one")
    return table


def networks(searched: pd.DataFrame, described: pd.DataFrame, level: float, measure: str = "primary") -> pd.DataFrame:
    """Set beside each network's properties its mean implausibility at a level, over the factuals that count."""
    rows = searched[searched["counted"] & (searched["level"] == f"{level:g}") & (searched["measure"] == measure)]
    means = rows.groupby(["seed", "training"])["implausibility"].mean().reset_index()
    return described.merge(means, on=["seed", "training"], validate="one_to_one")


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Correlate the plausibility of trainings with each property: plainly, and given the other three.
    From means over seeds, a row per property and kind ("rank", "partial"): mean, the correlation; low, high: over
    resampled seeds; least, most: the smallest and largest with one training left out; n trainings; predicts: whether
    the interval excludes zero and all values with one left out have the same sign.
    """
    columns, seeds = ["plausibility", *PROPERTIES], table["seed"].unique()
    table = table.assign(plausibility=-table["implausibility"])
    known = table.groupby("training", sort=False)["plausibility"].count()
    complete = list(known[known == len(seeds)].index)  # the others have no factual that counts in some seed
    wide = [table.pivot(index="seed", columns="training", values=name) for name in columns]
    values = np.stack([one.reindex(columns=complete).to_numpy(float) for one in wide], 2)  # (seeds, trainings, 5)

    def statistic(chosen: np.ndarray, kept: np.ndarray | slice = slice(None)) -> np.ndarray:
        means = values[chosen].mean(0)[kept] if len(seeds) else np.empty((0, len(columns)))
        few = len(means) < 3
        return np.full(8, np.nan) if few else np.concatenate(stats.rank_correlations(means[:, 0], means[:, 1:]))

    whole, low, high = stats.resampled(statistic, len(seeds), rng=numpy_generator(0, "bootstrap"))
    every = np.arange(len(complete))
    without = np.stack([whole, *(statistic(np.arange(len(seeds)), every != one) for one in every)])
    found = pd.DataFrame(
        {
            "kind": np.repeat(["rank", "partial"], len(PROPERTIES)),
            "property": PROPERTIES * 2,
            "mean": whole,
            "low": np.maximum(low, -1),
            "high": np.minimum(high, 1),
            "least": without[1:].min(0, initial=np.inf),
            "most": without[1:].max(0, initial=-np.inf),
            "n": len(complete),
            "n_seeds": len(seeds),
        }
    )
    same = (found["low"] > 0) & (found["least"] > 0) | (found["high"] < 0) & (found["most"] < 0)
    return found.assign(predicts=same)


def doses(searched: pd.DataFrame, held: pd.DataFrame) -> pd.DataFrame:
    """Set beside each network's mean implausibility, over the factuals that count, how robust it is: `area`.
    That is the area under its security curve, from the radii of `frames.held`. A row per criterion, seed and regime,
    for the seeds that both tables have.
    """
    keys = ["seed", "regime"]
    area = held.groupby(keys)["radius"].mean().rename("area").reset_index()
    means = searched[searched["counted"]].groupby(["stop", *keys], sort=False)["implausibility"].mean().reset_index()
    return means.merge(area, on=keys, validate="many_to_one")


def responses(table: pd.DataFrame) -> pd.DataFrame:
    """Correlate the implausibility of networks with the area under their security curves: Spearman's rho over `doses`.
    A row per criterion and group of regimes ("all", or the "robust" three): mean, the correlation over all networks;
    low, high: over resampled seeds, with all of a seed's networks; n networks; side.
    """
    found = []
    for key, rows in bar(list(estimates.grouped(table, ["stop"])), desc="correlations"):
        for group, names in {"all": REGIMES, "robust": REGIMES[1:]}.items():
            wide = [rows.pivot(index="seed", columns="regime", values=name) for name in ("implausibility", "area")]
            values = np.stack([one[list(names)].to_numpy(float) for one in wide], 2)  # (seeds, regimes, 2)

            def statistic(chosen: np.ndarray, values: np.ndarray = values) -> np.ndarray:
                outcome, area = values[chosen].reshape(-1, 2).T
                return stats.rank_correlations(outcome, area[:, None])[0]

            whole, low, high = stats.resampled(statistic, len(values), rng=numpy_generator(0, "bootstrap"))
            ends = {"mean": float(whole[0]), "low": max(float(low[0]), -1.0), "high": min(float(high[0]), 1.0)}
            ends = ends if len(values) > 1 else ends | {"low": np.nan, "high": np.nan}
            about = {"n": values.shape[0] * values.shape[1], "n_seeds": len(values)}
            found.append({**key, "group": group, **ends, **about, "side": estimates.side(ends["low"], ends["high"])})
    return pd.DataFrame(found)


def against(searched: pd.DataFrame, baselines: Sequence[str] = ("standard", "strong")) -> pd.DataFrame:
    """Compare each chosen control with regimes: paired differences in implausibility by level and measure."""
    rows = searched[searched["chosen"]]
    names = [name for name in rows["training"].unique() if name not in REGIMES]
    return compared(rows, [(name, one) for name in names for one in baselines], ("measure", "level"))


def compared(searched: pd.DataFrame, wanted: Sequence[tuple[str, str]], by: Sequence[str]) -> pd.DataFrame:
    """Compare pairs of trainings on the factuals that count: a row per group and pair with two or more."""
    found = []
    for key, rows in estimates.grouped(searched[searched["counted"]], by):
        several = rows["training"].value_counts().loc[lambda count: count > 1].index
        pairs = [pair for pair in wanted if set(several).issuperset(pair)]
        found.append(estimates.differences(rows, pairs, by=(), regime="training").assign(**key))
    names = ["training", "baseline", *estimates.ESTIMATE, "p_lower", "side", *by]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=names)


def _pairs(means: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Yield what is equal, a control that sees no adversary, and an adversarial regime."""
    for row in means.itertuples():
        if row.family in REGIMES or trainings.module(row.family).ADVERSARIAL:
            continue
        for other in means[means["family"].isin(REGIMES[1:])].itertuples():
            if abs(row.clean - other.clean) <= CLOSE:
                yield "clean", row.training, other.training
            if abs(row.gradient - other.gradient) <= NEAR * max(row.gradient, other.gradient):
                yield "gradient", row.training, other.training


def matched(searched: pd.DataFrame, table: pd.DataFrame, level: float, measure: str = "primary") -> pd.DataFrame:
    """Compare controls that see no adversary with adversarial regimes that equal them in accuracy or gradient norm.
    A row per pair: what is equal; control, regime; robustness: difference in worst-case accuracy, control - regime;
    mean, low, high, side: of implausibility, control - regime, over the factuals that count; more_plausible: the "less
    robust" of the two, the "more robust", or "neither" where the interval holds zero.
    """
    rows = searched[(searched["level"] == f"{level:g}") & (searched["measure"] == measure) & searched["compared"]]
    means = table.groupby(["training", "family"], sort=False)[list(PROPERTIES)].mean().reset_index()
    robust, found = means.set_index("training")["robust"], []
    for equal, control, regime in _pairs(means):
        difference = estimates.differences(rows, [(control, regime)], by=(), regime="training").iloc[0].to_dict()
        gap = float(robust[control] - robust[regime])
        less = "lower" if gap < 0 else "higher"  # the side on which the less robust one is the more plausible
        more = "less robust" if difference["side"] == less else "more robust"
        kept = {name: difference[name] for name in (*estimates.ESTIMATE, "side")}
        kept["more_plausible"] = "neither" if kept["side"] == "unclear" else more
        found.append({"equal": equal, "control": control, "regime": regime, "robustness": gap, **kept})
    names = ["equal", "control", "regime", "robustness", *estimates.ESTIMATE, "side", "more_plausible"]
    return pd.DataFrame(found, columns=names)


def chosen(study: Study) -> pd.DataFrame:
    """Apply the rule that chooses strengths: for each control the largest as accurate as the strong regime.
    On validation rows of the extra seed; the smallest strength where none is. A row per control and strength: accuracy,
    the strong regime's (`strong`), implausibility, whether the rule chooses it (`ruled`) and the study has it (`own`),
    and whether the study has the control at all its strengths (`curve`).
    """
    accuracy = frames.attacked(controlled.selection(study)).set_index("training")["value"]
    scored = frames.counterfactuals(controlled.ranking(study))
    scored = scored[scored["correct"] & scored["valid"]].groupby("training")["implausibility"].mean()
    rows, how = [], controlled.settings(study)
    for name, own in how["chosen"].items():
        strengths = trainings.module(name).STRENGTHS
        allowed = [one for one in strengths if accuracy[f"{name} {one:g}"] >= accuracy["strong"]]
        ruled = max(allowed, default=min(strengths))
        for one in strengths:
            row = {"control": name, "strength": one, "accuracy": accuracy[f"{name} {one:g}"]}
            row |= {"strong": accuracy["strong"], "implausibility": scored.get(f"{name} {one:g}", np.nan)}
            rows.append({**row, "ruled": one == ruled, "own": one == own, "curve": name in how["curves"]})
    return pd.DataFrame(rows)


def title(training: str) -> str:
    """Return what figures call a training, with its strength."""
    name, _, strength = training.partition(" ")
    return REGIME_NAMES.get(name) or f"{trainings.module(name).TITLE} {strength}"
