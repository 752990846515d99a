# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which settings do the results depend on?
#
# The thesis (sections 5.1 and 5.2) reads differences in plausibility between the regimes as properties of the networks:
# what they have learned, and where they take their classes to be. For tabular data under the generator conditions it
# finds the standard network ahead and explains this by a region of highest likelihood that adversarial training has
# moved away from the data. Such a reading needs differences that do not depend on how one searches and measures. Here
# the settings of the search and of the measure are changed, one or two at a time, while the networks stay the same.
# The comparison itself is in `rq1` ([MNIST](rq1-mnist.ipynb), [California Housing](rq1-california.ipynb)).

# %% tags=["parameters"]
dataset = "mnist"
profile = "full"
seeds = 0  # networks per regime; 0: as many as the study has

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.patches import Patch, Rectangle

from robexpl import metrics as distances
from robexpl.generators import ecco
from robexpl.pipeline import publish, style
from robexpl.study import claims, estimates, frames, grid, networks, sizes, variations
from robexpl.study.sizes import STOPS

study = sizes.load(profile, dataset, seeds)
data, condition = study.load(), sizes.primary()
page = publish.Page("sensitivity", study)
style.use()

# %% [markdown]
# ## The answer
#
# Everything below is about one number in the condition `corrected`: the paired difference in implausibility between the
# strong and the standard network, strong minus standard. It is below zero where the strong network has the more
# plausible counterfactuals. A setting counts where both networks reach the target class in at least half of their
# searches (`reached`), as elsewhere there is little to compare. The statements rest on 95 % intervals and are checked
# against the numbers each time this notebook runs.


# %%
def compare(rows, by):
    """Compare strong and standard in each group, with the share of searches that reach the target class."""
    found = estimates.differences(rows, [("strong", "standard")], by=by)
    valid = rows[rows["counted"]].groupby([*by, "regime"])["valid"].mean().unstack("regime")
    valid = valid[["standard", "strong"]].add_prefix("validity_").reset_index()
    found = found.drop(columns=["regime", "baseline", "p_lower"]).merge(valid, on=by)
    return found.assign(reached=found[["validity_standard", "validity_strong"]].min(axis=1) >= 0.5)


# %%
planes = frames.counterfactuals(variations.weights(study)).drop(columns="l1").rename(columns={"l1_weight": "l1"})
weights, cell = compare(planes, ["stop", "energy", "l1", "own"]), ["stop", "energy", "l1"]
if variations.four_regimes(study):  # whether implausibility falls from weak over medium to strong
    steps = estimates.differences(planes, [("medium", "weak"), ("strong", "medium")], by=cell).groupby(cell)
    falls = {"falls": steps["mean"].max() < 0, "significantly_falls": steps["high"].max() < 0}
    weights = weights.merge(pd.DataFrame(falls).reset_index(), on=cell)
curves = compare(frames.counterfactuals(variations.curves(study)), ["setting", "stop", "value", "own"])
weights, curves = (page.table(frame, name, show=False) for frame, name in ((weights, "weights"), (curves, "curves")))


# %%
def sign(line):
    """Tell whether differences keep their sign over the settings at which both networks reach the target class."""
    sides = set(line[line["reached"]]["side"])
    same = len(sides) == 1 and "unclear" not in sides
    return "changes" if {"lower", "higher"} <= sides else "consistent" if same else "inconclusive"


signs = [
    {**key, "sign": sign(line), "values": int(line["reached"].sum())}
    for key, line in estimates.grouped(curves, ["setting", "stop"])
]
signs = page.table(pd.DataFrame(signs), "signs", show=False)

# %%
measured = frames.counterfactuals(variations.metrics(study))
metrics = compare(measured, ["measure", "stop"]).drop(columns=["validity_standard", "validity_strong", "reached"])
standard = measured[measured["counted"] & (measured["regime"] == "standard")]
standard = estimates.means(standard, ["measure", "stop"])["mean"]  # in the same order
for end, name in (("mean", "relative"), ("low", "relative_low"), ("high", "relative_high")):
    metrics[name] = metrics[end] / standard
metrics.insert(1, "title", [distances.module(name).TITLE for name in metrics["measure"]])
metrics = page.table(metrics, "metrics", show=False)

points = variations.equal_gradients(study)
matched = frames.counterfactuals(points)
scale = page.table(claims.scale(matched), "scale", show=False)

# %% tags=["conclusions", "image"]
reached = weights[weights["reached"]]
page.holds(
    "On MNIST the sign of the difference does not depend on the settings. The counterfactuals of the strong network "
    f"are significantly more plausible than those of the standard one at all {len(reached)} pairs of weights (of "
    f"{len(weights)}) at which both networks reach the target class. The same is true along every single setting and "
    "by every distance metric, for both stopping criteria.",
    (reached["side"] == "lower").all() and (signs["sign"] == "consistent").all() and (metrics["side"] == "lower").all(),
)
page.holds(
    "The size of the difference does depend on the distance metric: relative to the standard network's implausibility "
    f"it lies between {-metrics['relative'].max():.0%} and {-metrics['relative'].min():.0%}.",
    (metrics["relative"] < 0).all() and metrics["relative"].min() < 3 * metrics["relative"].max(),
)

# %% tags=["conclusions", "tabular"]
of = signs.set_index(["stop", "setting"])["sign"]
gcc, dtc = of["generator_conditions"], of["decision_threshold"]
factor = curves.query("setting == 'scale' and stop == 'generator_conditions'").set_index("value")["side"]
page.holds(
    "On California Housing the sign of the difference under the generator conditions depends on the settings. A mere "
    "factor of the logits changes it: with logits half as large the strong network is significantly more plausible, "
    "with logits twice as large the standard network. Along every other setting it is not significant everywhere.",
    gcc["scale"] == "changes"
    and (gcc.drop("scale") == "inconclusive").all()
    and (factor[0.5], factor[2]) == ("lower", "higher"),
)
page.holds(
    "At the decision threshold the sign never changes: the strong network is significantly more plausible along the "
    "factor of the logits, the initialisation noise and the number of neighbours. Along the target probability the "
    "difference is not significant everywhere.",
    dtc.to_dict()
    == {"scale": "consistent", "start_noise": "consistent", "threshold": "inconclusive", "k": "consistent"}
    and (curves[curves["reached"] & (curves["stop"] == "decision_threshold")]["side"] != "higher").all(),
)

# %% [markdown]
# ## The method on five factuals
#
# One of the settings is a factor of the logits. It multiplies the last layer of a network and changes no prediction.
# The search, however, asks for a target logit of $1/(2\rho) = 5$ (see `rq1`), and a network with smaller logits has to
# move further to reach it.

# %%
network = grid.of_seed(study, condition)["strong"]
known, small = network.data.load(), variations.small(study)
x, target = known.x_test[:5], (known.y_test[:5] + 1) % known.n_classes  # (5, d), (5,)
how = {"settings": small.search(condition.name), "stop": STOPS[1], "bounds": known.bounds}
shape = known.image_shape or distances.IMAGE_SHAPE
bank = distances.reference(known.x_train, known.y_train, distance=study.distance, image_shape=shape)
found = []
for factor in (1.0, 0.5, 2.0):
    model = networks.scaled(network.model(), factor)
    same = (model(x).argmax(1) == network.model()(x).argmax(1)).all().item()
    z = ecco.search(model, x, target, generator=torch.Generator().manual_seed(0), **how)
    score, moved = distances.implausibility(z.x, target, bank, k=study.k), (z.x - x).abs().sum(1)
    means = {"target_logit": z.target_logit.mean(), "l1": moved.mean(), "implausibility": score.mean()}
    found.append({"factor": factor, "same predictions": same, **{key: float(value) for key, value in means.items()}})
pd.DataFrame(found).round(3)

# %% [markdown]
# The study does this for more factuals and several seeds. To keep the time within bounds they are fewer than in `rq1`,
# and the steps of a search may be fewer, too. So the differences at the settings of the condition can differ from those
# of `rq1`.

# %%
tried = {"seeds": len(variations.seeds(study)), "factuals": small.factuals, "steps": small.steps, "k": small.k}
most = variations.most_neighbours(study)
if left := [k for k in sizes.sensitivity(study)["k"] if k > most]:
    print(f"The smallest class has {most} training rows: the numbers of neighbours {left} are left out.")
tried = page.table(pd.DataFrame([tried]), "sizes")

# %% [markdown]
# ## The weights of the search
#
# The thesis gives one pair of weights for each kind of data: $\lambda_1$ for the distance to the factual and
# $\lambda_2$ for the energy. The figures it reports correspond to twice that energy weight ([audit](audit.ipynb)). The
# map shows strong minus standard over both weights under the generator conditions. A dot marks an interval that
# excludes zero. Hatched cells are not reached. A frame marks the weights of the condition. The colours are symmetric
# about zero and not clipped.


# %%
def outline(ax, row, i, j):
    """Hatch the cell of weights that are not reached, and frame that of the condition."""
    if not row.reached:
        ax.add_patch(Rectangle((i - 0.5, j - 0.5), 1, 1, fill=False, hatch="////", ec="#555555", linewidth=0))
    if row.own:
        ax.add_patch(Rectangle((i - 0.48, j - 0.48), 0.96, 0.96, fill=False, ec="black", linewidth=1.6))


# %%
def heat_map(ax, plane):
    """Draw strong - standard over the energy weight (rows) and the distance weight (columns)."""
    table = plane.pivot(index="energy", columns="l1", values="mean")
    most = table.abs().max(axis=None)
    digits = 2 if most > 0.1 else 3
    image = ax.imshow(table, cmap="RdBu_r", vmin=-most, vmax=most, origin="lower", aspect="auto")
    for row in plane.itertuples():
        i, j = table.columns.get_loc(row.l1), table.index.get_loc(row.energy)
        looks = {"color": "white" if abs(row.mean) > 0.6 * most and row.reached else style.INK}
        looks |= {} if row.reached else {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
        dot = "" if row.side == "unclear" else "\n•"
        ax.text(i, j, f"{row.mean:+.{digits}f}{dot}".replace("-", "\N{MINUS SIGN}"), ha="center", va="center", **looks)
        outline(ax, row, i, j)
    ax.set_xticks(range(table.shape[1]), [f"{value:g}" for value in table.columns])
    ax.set_yticks(range(table.shape[0]), [f"{value:g}" for value in table.index])
    return image


# %%
fig, ax = plt.subplots(figsize=(0.7 * style.PAGE, 2.9), layout="constrained")
image = heat_map(ax, weights)
ax.grid(visible=False)
style.panel(ax, data.title, STOPS[1], xlabel="distance weight λ₁", ylabel="energy weight λ₂")
fig.colorbar(image, ax=ax, pad=0.02).set_label("strong \N{MINUS SIGN} standard, implausibility")
marks = [plt.Line2D([], [], linestyle="none", marker="o", markersize=3, color=style.INK, label="interval excludes 0")]
marks += [Patch(facecolor="white", edgecolor="#555555", hatch="////", linewidth=0, label="not reached")]
marks += [Patch(fill=False, edgecolor="black", linewidth=1.6, label="weights of the condition")]
fig.legend(handles=marks, loc="outside upper center", ncols=3)
page.figure(
    fig, "weights",
    alt="Strong minus standard, implausibility under the generator conditions, for each pair of energy weight and "
    "distance weight",
)  # fmt: skip

# %%
shares = []
for key, plane in estimates.grouped(weights, ["stop"]):
    for name, cells in (("all", plane), ("reached", plane[plane["reached"]])):
        side = {f"significantly_{side}": (cells["side"] == side).mean() for side in ("lower", "higher")}
        order = {name: cells[name].mean() for name in ("falls", "significantly_falls") if name in cells}
        shares.append({**key, "cells": name, "count": len(cells), "lower": (cells["mean"] < 0).mean(), **side, **order})
weights_shares = page.table(pd.DataFrame(shares), "weights_shares")

# %% tags=["conclusions", "tabular"]
row = weights_shares.set_index("cells").loc["reached"]
strongest = weights[weights["energy"] == weights["energy"].max()].sort_values("l1")
page.holds(
    f"At the {row['count']} pairs of weights at which both networks reach the target class, the counterfactuals of the "
    f"strong network are significantly more plausible in {row['significantly_lower']:.0%} and significantly less "
    f"plausible in {row['significantly_higher']:.0%} of the cases. The distance weight alone can turn the sign: at the "
    f"largest energy weight the difference is {strongest['mean'].iloc[0]:+.2f} without a distance term and "
    f"{strongest['mean'].iloc[-1]:+.2f} at the largest distance weight.",
    0 < row["significantly_lower"] < row["significantly_higher"]
    and strongest["side"].iloc[0] == "higher"
    and strongest["side"].iloc[-1] == "lower"
    and strongest["reached"].all(),
)

# %% [markdown]
# ## One setting at a time
#
# All other settings are those of the condition. The *factor of the logits* is that of the method above. The *quadratic
# logit penalty* is the $\rho$ of the energy; with $\rho = 0$ nothing stops the target logit. The *step size* is changed
# at the same step budget, the product of step size and number of steps. The *target probability* is what the decision
# threshold asks for. The *neighbours* are those of the measure. Hollow marks are settings that are not reached, and a
# vertical line marks the value of the condition. The vertical axis is linear near zero and compressed beyond (asinh).

# %%
titles = {
    "scale": "factor of the logits", "reg": "quadratic logit penalty ρ", "steps": "steps of the default size",
    "learning_rate": "step size, same step budget", "start_noise": "initialisation noise, SD",
    "threshold": "target probability", "k": "neighbours",
}  # fmt: skip
logarithmic = ("scale", "steps", "learning_rate", "k")
width = float(f"{curves['mean'].abs().median():.0e}")  # of the part of the vertical axis that is about linear
limits = 1.1 * min(0, curves["low"].min()), max(0.2 * width, 1.1 * curves["high"].max())
ticks = [0.5, 1, 2] if max(-limits[0], limits[1]) < 4 * width else [1, 3, 10, 30, 100]
ticks = [0, *(end * tick * width for tick in ticks for end in (-1, 1))]


# %%
def draw(ax, line, number, label):
    """Draw differences along a setting with their intervals, hollow where a network seldom reaches the target class."""
    looks = {**style.mark("", number), "markersize": 3.5}
    ends = [line["mean"] - line["low"], line["high"] - line["mean"]]
    ax.errorbar(line["value"], line["mean"], ends, **looks, elinewidth=0.9, label=label, zorder=3)
    hollow, left = {**looks, "markerfacecolor": "white"}, line[~line["reached"]]
    ax.plot(left["value"], left["mean"], **hollow, linestyle="none", zorder=4)


# %%
def scales(ax, values):
    """Set the vertical axis of all panels, and a logarithmic horizontal one with the values of the setting."""
    if ax.get_xlabel() in map(titles.get, logarithmic):
        some = sorted(values.unique())[:: -(-values.nunique() // 5)]
        ax.set_xscale("log")
        ax.set_xticks(some, [f"{value:g}" for value in some])
    else:
        ax.locator_params(axis="x", nbins=4)
    ax.set_yscale("asinh", linear_width=width)
    ax.set_yticks(ticks, [f"{tick:g}".replace("-", "\N{MINUS SIGN}") for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(limits)


# %%
fig, axes = plt.subplots(2, 4, figsize=(style.PAGE, 3.9), sharey=True, layout="constrained")
for ax, (setting, title) in zip(axes.flat, titles.items(), strict=False):
    rows = curves[curves["setting"] == setting]
    for i, stop in enumerate(STOPS):
        draw(ax, rows[rows["stop"] == stop].sort_values("value"), i, style.title(stop))
    ax.axvline(rows[rows["own"]]["value"].iloc[0], color=style.FADED, linewidth=0.8, linestyle=":")
    ax.axhline(0, color=style.FADED, linewidth=0.8)
    style.panel(ax, data.title, xlabel=title)
    scales(ax, rows["value"])
axes.flat[-1].set_axis_off()
fig.supylabel("strong \N{MINUS SIGN} standard, implausibility", fontsize=7.5)
style.legend(fig)
page.figure(
    fig, "curves",
    alt="Strong minus standard, implausibility, along seven settings, by stopping criterion; hollow: not reached",
)  # fmt: skip

# %% [markdown]
# How far does each setting move the difference? The table lists, for each setting and stopping criterion, the value of
# the condition (`own`) and the reached value at which the difference is furthest from the one there. The sign is
# *consistent* where all intervals at reached values lie on the same side of zero, it *changes* where some lie below and
# others above, and it is *inconclusive* otherwise.

# %% tags=["loose"]
ranking, own = [], weights[weights["own"]].iloc[0]
energy = weights[weights["l1"] == own["l1"]].assign(setting="energy", value=weights["energy"])
l1 = weights[weights["energy"] == own["energy"]].assign(setting="l1", value=weights["l1"])
for key, line in estimates.grouped(pd.concat([curves, energy, l1]), ["setting", "stop"]):
    own, tried = line[line["own"]].iloc[0], line[line["reached"] | line["own"]].reset_index(drop=True)
    far = tried.loc[(tried["mean"] - own["mean"]).abs().idxmax()]
    ends = {"own": own["value"], "own_mean": own["mean"], "value": far["value"], "mean": far["mean"]}
    ranking.append({**key, **ends, "moved": abs(far["mean"] - own["mean"]), "sign": sign(line)})
ranking = pd.DataFrame(ranking).sort_values("moved", ascending=False, kind="stable")
ranking = page.table(ranking, "ranking")

# %% tags=["conclusions", "image"]
most = ranking.iloc[0]
noise = ranking[(ranking["setting"] == "start_noise") & (ranking["stop"] == "decision_threshold")].iloc[0]
page.holds(
    f"The quadratic logit penalty moves the difference most: without it, strong - standard is {most['mean']:+.3f} "
    f"instead of {most['own_mean']:+.3f} under the generator conditions. At the decision threshold, initialisation "
    f"noise of standard deviation {noise['value']:g} reduces the difference from {noise['own_mean']:+.3f} to "
    f"{noise['mean']:+.3f}.",
    most["setting"] == "reg" and most["value"] == 0 and abs(noise["mean"]) < 0.5 * abs(noise["own_mean"]),
)

# %% tags=["conclusions", "tabular"]
first, second = ranking.iloc[0], ranking.iloc[1]
page.holds(
    "Under the generator conditions the quadratic logit penalty and the energy weight move the difference most: "
    f"without the penalty strong - standard is {first['mean']:+.2f} instead of {first['own_mean']:+.2f}, and at an "
    f"energy weight of {second['value']:g} it is {second['mean']:+.2f}.",
    first["setting"] == "reg" and first["value"] == 0 and second["setting"] == "energy" and first["mean"] < 0
    and second["mean"] > 0 and (ranking.iloc[:2]["stop"] == "generator_conditions").all(),
)  # fmt: skip

# %% [markdown]
# ## Distance metrics
#
# The same counterfactuals, scored by other distances: for images SSIM with and without the pixels near the border
# (where images are large enough), and the Euclidean and L1 distances; for tabular data the Euclidean and L1 distances,
# the Euclidean distance with every feature divided by its interquartile range, and the Mahalanobis distance. The
# differences are relative to the mean of the standard network under the same metric.

# %%
shown = metrics.drop(columns=["mean", "low", "high"])
shown = shown.rename(columns={"relative": "mean", "relative_low": "low", "relative_high": "high"})
shown = shown.assign(stop=shown["stop"].map(style.title), **(100 * shown[["mean", "low", "high"]]))
fig, ax = plt.subplots(figsize=(0.8 * style.PAGE, 2.2), layout="constrained")
style.points(ax, shown, x="mean", y="title", hue="stop")
ax.axvline(0, color=style.FADED, linewidth=0.8)
style.panel(ax, data.title, xlabel="strong \N{MINUS SIGN} standard, % of standard")
style.legend(fig)
page.figure(
    fig, "metrics",
    alt="Relative difference in implausibility between the strong and the standard network by distance metric and "
    "stopping criterion",
)  # fmt: skip

# %% tags=["conclusions", "tabular"]
by = metrics.set_index(["stop", "measure"])["side"]
page.holds(
    "At the decision threshold the counterfactuals of the strong network are significantly more plausible by the L1 "
    "and the Euclidean distance, and not significantly different by the Mahalanobis distance and by the Euclidean "
    "distance that is scaled by interquartile ranges. Under the generator conditions no metric finds a significant "
    "difference at the number of steps used here.",
    by["decision_threshold"].to_dict()
    == {"euclidean": "lower", "l1": "lower", "robust": "unclear", "mahalanobis": "unclear"}
    and (by["generator_conditions"] == "unclear").all(),
)

# %% [markdown]
# ## The scale of the logits
#
# Under the generator conditions every search climbs towards the same target logit, and a network with small gradients
# has to move further to reach it. That alone could raise the implausibility of its counterfactuals, wherever the region
# lies that it takes to be likely. So the searches are repeated with equally large gradients. The standard network's
# logits are multiplied by
#
# $$ s = \frac{\text{mean of } \|\nabla f_t\|_2 \text{ of the strong network}}
#             {\text{mean of } \|\nabla f_t\|_2 \text{ of the standard network}} $$
#
# seed by seed (*standard shrunk*), or the strong network's by $1/s$ (*strong grown*). No prediction changes. These
# searches use all seeds and the full number of steps, in all three conditions.

# %%
names = {"before": "as trained", "after": "standard shrunk", "other_way": "strong grown"}
shown = scale[scale["comparison"].isin(names)].assign(comparison=scale["comparison"].map(names))
fig, ax = plt.subplots(figsize=(0.7 * style.PAGE, 2.1), layout="constrained")
style.points(ax, shown, x="mean", y="condition", hue="comparison")
ax.axvline(0, color=style.FADED, linewidth=0.8)
style.panel(ax, data.title, STOPS[1], xlabel="strong \N{MINUS SIGN} standard, implausibility")
style.legend(fig)
page.figure(
    fig, "scale",
    alt="Strong minus standard, implausibility under the generator conditions, with the networks as trained and with "
    "equally large gradients, by condition",
)  # fmt: skip

# %%
found = []
for entry in points:
    subject, labels = entry.search.subject, dict(entry.labels)
    factor = subject.factor() if isinstance(subject, networks.Matched) else 1.0
    gradient = factor * networks.gradient_size(subject.network, entry.search.factuals)
    found.append({"condition": labels["condition"], "network": labels["regime"], "scale": factor, "gradient": gradient})
sizes_of = pd.DataFrame(found)

factor = sizes_of[sizes_of["network"] == "shrunk"].groupby("condition")["scale"].agg(["mean", "min", "max"])
factor = factor.set_axis(["scale", "scale_low", "scale_high"], axis="columns").reset_index()
scale_kept = page.table(claims.scale_kept(matched).merge(factor, on="condition"), "scale_kept")

# %%
counted = matched[matched["counted"]].rename(columns={"regime": "network", "valid": "validity"})
ends = counted.groupby(["condition", "network"], sort=False)[["l1", "target_logit", "validity"]].mean()
gradient = sizes_of.groupby(["condition", "network"])["gradient"].mean()
scale_ends = page.table(ends.join(gradient).reset_index(), "scale_ends", show=False)

# %% [markdown]
# `kept` is the share of the difference that remains when the standard network is shrunk, with the interval of Fieller
# (1954); it is empty where the difference as trained is not significant. `scale` is the mean factor $s$ over seeds with
# the least and the greatest.

# %% tags=["conclusions", "image"]
row = scale_kept.set_index("condition").loc["corrected"]
here = scale[scale["condition"] == "corrected"].set_index("comparison")
page.holds(
    "On images the size of the gradients does not explain the difference. With equally large gradients "
    f"{row['kept']:.2f} [{row['kept_low']:.2f}, {row['kept_high']:.2f}] of it remains, and with the strong network's "
    f"logits enlarged instead it is {here.loc['other_way', 'mean']:+.3f} [{here.loc['other_way', 'low']:.3f}, "
    f"{here.loc['other_way', 'high']:.3f}].",
    row["kept_low"] > 0.5 and (here.loc[["before", "after", "other_way"], "side"] == "lower").all(),
)

# %% tags=["conclusions", "tabular"]
here = scale[scale["condition"] == "corrected"].set_index("comparison")
before, after, other = (here.loc[name] for name in ("before", "after", "other_way"))
page.holds(
    "On tabular data equally large gradients make the strong network the more plausible one. As trained, strong - "
    f"standard is {before['mean']:+.3f} [{before['low']:.3f}, {before['high']:.3f}], which is not significant on these "
    "factuals; with the standard network's logits shrunk it "
    f"is {after['mean']:+.3f} [{after['low']:.3f}, {after['high']:.3f}], with the strong network's logits enlarged "
    f"{other['mean']:+.3f} [{other['low']:.3f}, {other['high']:.3f}]. As the predictions are the same, the order as "
    "trained cannot show where a network takes its classes to be. Where that is has not been measured.",
    before["side"] == "unclear" and after["side"] == "lower" and other["side"] == "lower",
)

# %% [markdown]
# ## In short

# %% tags=["conclusions", "image"]
page.holds(
    "On MNIST the strong network has the more plausible counterfactuals whatever the weights of the search, its other "
    "settings, the distance metric or the scale of the logits; how much more depends on all of them.",
    (weights[weights["reached"]]["side"] == "lower").all()
    and (signs["sign"] == "consistent").all()
    and (metrics["side"] == "lower").all()
    and (scale[scale["comparison"] != "half_margin"]["side"] == "lower").all(),
)

# %% tags=["conclusions", "tabular"]
here = scale[scale["condition"] == "corrected"].set_index("comparison")["side"]
of = signs.set_index(["stop", "setting"])["sign"]
page.holds(
    "On California Housing the order of the networks under the generator conditions is a matter of the settings: the "
    "weights of the search or the scale of the logits alone can reverse it, and with equally large gradients the "
    "strong network is the more plausible one. At the decision threshold no setting at which both networks reach the "
    "target class makes the standard network significantly more plausible.",
    {"lower", "higher"} <= set(weights[weights["reached"]]["side"])
    and of["generator_conditions", "scale"] == "changes"
    and (here[["after", "other_way"]] == "lower").all()
    and (curves[curves["reached"] & (curves["stop"] == "decision_threshold")]["side"] != "higher").all(),
)
