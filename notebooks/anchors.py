# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What does an implausibility score mean?
#
# The thesis (sections 4.3 and 5) measures plausibility by a distance: the mean distance of a counterfactual to the
# nearest training points of its target class. Table 1 reports it to three decimals and reads differences between
# networks as differences in explainability. Such a score has no unit. This notebook scores *reference points*, whose
# plausibility is known beforehand, puts the counterfactuals on a scale between them, and asks what else the scores
# depend on: the noise at the start of a search, the kind of robustness, and the draw of networks and factuals. The
# comparison of the networks is in `rq1` ([MNIST](rq1-mnist.ipynb), [California Housing](rq1-california.ipynb)).

# %% tags=["parameters"]
dataset = "mnist"
profile = "full"
seeds = 0  # networks per regime; 0: as many as the study has

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch

from robexpl import metrics, stats
from robexpl.pipeline import publish, style
from robexpl.regimes import REGIMES
from robexpl.study import estimates, frames, grid, sizes
from robexpl.study.sizes import STOPS

study = sizes.load(profile, dataset, seeds)
data = study.load()
page = publish.Page("anchors", study)
style.use()

# %% [markdown]
# ## The answer
#
# All statements are about the condition `corrected` unless they name another, and rest on 95 % intervals over
# independently trained networks. They are checked against the numbers each time this notebook runs.

# %%
blank = "blank image" if study.kind == "image" else "median row"
titles = {"real": "real points", "mean": "class mean", "blank": blank, "factual": "factuals"}
titles |= {"noisy": "factuals + noise", "real_noisy": "real points + noise", "uniform": "uniform noise"}
scored = frames.reference(grid.reference(study))
reference = estimates.means(scored, ["condition", "point"])
reference.insert(2, "title", reference["point"].map(titles))
page.table(reference, "reference", show=False)
page.table(estimates.margins(reference), "margin", show=False)

rows = frames.beside(frames.counterfactuals(grid.main(study)), scored)  # reference points beside counterfactuals
against = page.table(estimates.against(rows).drop(columns="p_lower"), "against", show=False)
normalised = page.table(estimates.normalised(rows), "normalised", show=False)

# %% tags=["conclusions"]
corrected = against[against["condition"] == "corrected"]
point = reference[reference["condition"] == "corrected"].set_index("point")
start = corrected[corrected["point"] == "factual"].set_index(["stop", "regime"])["side"]

# %% tags=["conclusions", "image"]
page.holds(
    "A low score need not mean that the target class can be seen. A blank image scores "
    f"{point.loc['blank', 'mean']:.3f} and counts as more plausible than the factuals "
    f"({point.loc['factual', 'mean']:.3f}); real images of the target class score {point.loc['real', 'mean']:.3f}. "
    "For both stopping criteria and all four networks the counterfactuals are significantly less plausible than a "
    "blank image.",
    point.loc["blank", "high"] < point.loc["factual", "low"]
    and (corrected[corrected["point"] == "blank"]["side"] == "higher").all(),
)
page.holds(
    "At the decision threshold the counterfactuals of all four networks are significantly less plausible than the "
    "factuals that they started from. Under the generator conditions those of the medium and the strong network are "
    "significantly more plausible than their factuals, those of the standard and the weak network less.",
    (start["decision_threshold"] == "higher").all()
    and start["generator_conditions"].to_dict()
    == {"standard": "higher", "weak": "higher", "medium": "lower", "strong": "lower"},
)

# %% tags=["conclusions", "tabular"]
page.holds(
    f"A low score need not mean that a row is typical of the target class. The median of all training rows, which "
    f"belongs to no class, scores {point.loc['blank', 'mean']:.3f} and counts as more plausible than real rows of the "
    f"target class ({point.loc['real', 'mean']:.3f}). For both stopping criteria and all four networks the "
    "counterfactuals are significantly less plausible than the median row.",
    point.loc["blank", "high"] < point.loc["real", "low"]
    and (corrected[corrected["point"] == "blank"]["side"] == "higher").all(),
)
page.holds(
    "At the decision threshold the counterfactuals of all four networks are significantly more plausible than the "
    "factuals that they started from. Under the generator conditions they are significantly less plausible.",
    (start["decision_threshold"] == "lower").all() and (start["generator_conditions"] == "higher").all(),
)

# %% [markdown]
# ## The method by hand
#
# The implausibility of a point $x$ for a target class $t$ is the mean distance to its $k$ nearest training points of
# that class (thesis, section 4.3). Here three points are scored for one target class: a real test point of the class,
# a point without content, and a factual, which is a real point of another class. The last column is what
# `metrics.implausibility` returns.

# %%
factual, target = data.x_test[:1], int(data.y_test[0] + 1) % data.n_classes
real = data.x_test[data.y_test == target][:1]
empty = torch.zeros_like(factual) if study.kind == "image" else data.x_train.median(0).values[None]
x = torch.cat([real, empty, factual])  # (3, d)

measure, shape = metrics.module(study.distance), data.image_shape or metrics.IMAGE_SHAPE
of_class = data.x_train[data.y_train == target]  # (m, d)
bank = measure.prepare(of_class, everything=data.x_train, image_shape=shape)
nearest = measure.distances(x, bank).topk(study.k, largest=False).values  # (3, k)
how = {"distance": study.distance, "k": study.k, "image_shape": shape}
library = metrics.implausibility(x, target, data.x_train, data.y_train, **how)
pd.DataFrame({"point": ["real point", blank, "factual"], "by hand": nearest.mean(1), "library": library})

# %% [markdown]
# ## Reference points
#
# The study scores seven reference points for every factual and target class, against the same training points as the
# counterfactuals. A *real* point is a test point of the target class drawn at random. The *class mean* is the mean of
# the training points of the class. The blank image or, for tabular data, the median of all training rows has no content
# of any class. The *noise* is that at the start of a search in the conditions `as_run` and `as_written`: normal, with
# standard deviation 0.1. *Uniform noise* fills the input bounds.

# %%
reference[reference["condition"] == "corrected"].sort_values("mean").set_index("title")[
    ["mean", "low", "high", "n", "n_seeds"]
].round(4)

# %% tags=["conclusions", "image"]
point = reference[reference["condition"] == "corrected"].set_index("point")
real, factual, noisy, real_noisy = point.loc[["real", "factual", "noisy", "real_noisy"], "mean"]
page.holds(
    f"Initialisation noise raises the score of a factual from {factual:.3f} to {noisy:.3f}. That is "
    f"{(noisy - factual) / (factual - real):.1f} times the difference between real images and factuals. A real image "
    f"of the target class with this noise scores {real_noisy:.3f}, worse than an image of another class without it.",
    noisy - factual > factual - real > 0 and point.loc["real_noisy", "low"] > point.loc["factual", "high"],
)

# %% [markdown]
# ## A scale between real points and factuals
#
# With real points at 0 and factuals at 1 a score has a unit:
#
# $$ v = \frac{\operatorname{impl}(\text{counterfactual}) - \operatorname{impl}(\text{real})}
#             {\operatorname{impl}(\text{factual}) - \operatorname{impl}(\text{real})}. $$
#
# A counterfactual at $v = 0$ is as plausible as a real point of the target class, one at $v = 1$ as little as the
# factual that it started from. All means are over the same factuals; the interval is that of a ratio of two means, so
# the uncertainty of the scale is part of it.

# %%
ends = reference[reference["condition"] == "corrected"].set_index("point")
lines = ends.loc[["real", "blank", "factual", "noisy"]]
unit = ends.loc["factual", "mean"] - ends.loc["real", "mean"]
lines = lines.assign(mean=(lines["mean"] - ends.loc["real", "mean"]) / unit)

fig, axes = plt.subplots(1, 2, figsize=(style.PAGE, 2.9), sharey=True, layout="constrained")
for ax, stop in zip(axes, STOPS, strict=True):
    style.points(ax, normalised[normalised["stop"] == stop], x="mean", y="regime", hue="condition")
    style.panel(ax, data.title, stop, xlabel="normalised implausibility v")
    style.reference_lines(ax, lines)
style.legend(fig)
page.figure(
    fig, "scale",
    alt="Implausibility of the counterfactuals by network, condition and stopping criterion, on a scale with real "
    "points at 0 and factuals at 1; dotted lines mark the reference points of the condition corrected",
)  # fmt: skip

# %% [markdown]
# Is a counterfactual more plausible than a point without content, than its own factual, or than its factual with noise?
# The differences below are paired; they are below zero where the counterfactual is the more plausible one.

# %%
fig, axes = plt.subplots(1, 2, figsize=(style.PAGE, 2.3), sharey=True, layout="constrained")
for ax, stop in zip(axes, STOPS, strict=True):
    chosen = against[(against["stop"] == stop) & (against["condition"] == "corrected")]
    style.points(ax, chosen.assign(point=chosen["point"].map(titles)), x="mean", y="regime", hue="point")
    ax.axvline(0, color=style.FADED, linewidth=0.8)
    style.panel(ax, data.title, stop, xlabel="counterfactual \N{MINUS SIGN} reference point, implausibility")
style.legend(fig)
page.figure(
    fig, "against",
    alt="Paired differences in implausibility between counterfactuals and three reference points, by network and "
    "stopping criterion, condition corrected",
)  # fmt: skip

# %% [markdown]
# ## Initialisation noise
#
# In the conditions `as_run` and `as_written` a search starts from the factual plus normal noise of standard deviation
# 0.1 in every input. At the decision threshold it may end after a few steps, and the counterfactual still holds most
# of this noise. The first run of factuals is searched again from the factuals themselves, all else equal. `added` is
# the paired difference between the two scores, `gap` what the noise does to a factual that is not searched at all.

# %%
silent = frames.counterfactuals(grid.without_noise(study))
loud = rows[(rows["stop"] == STOPS[0]) & (rows["run"] == 0) & rows["condition"].isin(silent["condition"])]
loud, keys = loud.reset_index(drop=True), ["condition", "seed", "regime", "run", "row", "target"]
assert loud[keys].equals(silent[keys]), "expected the same factuals with and without noise, got others"

pairs = pd.concat([loud.assign(noise="with"), silent.assign(noise="without")], ignore_index=True)
noise_differences = estimates.differences(pairs, estimates.TO_STANDARD, by=("condition", "noise"))
noise_differences = noise_differences.drop(columns=["baseline", "p_lower"]).sort_values("condition", kind="stable")
noise_differences = page.table(noise_differences, "noise_differences", show=False)

# %% tags=["tol-0.5"]
both = loud.rename(columns={"implausibility": "with"}).assign(without=silent["implausibility"])[loud["counted"]]
both = both.assign(added=both["with"] - both["without"], gap=both["noisy"] - both["factual"])
group, four = ["condition", "regime"], ["with", "without", "added", "gap"]
means = pd.concat([estimates.means(both, group, value=name).assign(quantity=name) for name in four])
gap = means[means["quantity"] == "gap"].set_index(group)
shares = []
for key, cell in estimates.grouped(both, group):
    for name, whole in (("of_score", "with"), ("of_gap", "gap")):
        if whole == "with" or estimates.side(*gap.loc[tuple(key.values()), ["low", "high"]]) != "unclear":
            shares.append({**key, "quantity": name, **estimates.ratio(cell["added"], cell[whole], cell["seed"])})
noise = pd.concat([means, pd.DataFrame(shares)]).sort_values(["condition", "quantity"], kind="stable")
noise = noise[[*group, "quantity", *estimates.ESTIMATE]].reset_index(drop=True)
page.table(noise, "noise", show=False)
noise.pivot_table(index=group, columns="quantity", values="mean", sort=False).round(3)

# %%
fig, axes = plt.subplots(1, 2, figsize=(style.PAGE, 2.1), sharex=True, sharey=True, layout="constrained")
for ax, name in zip(axes, noise_differences["condition"].unique(), strict=True):
    shown = noise_differences[noise_differences["condition"] == name]
    style.points(ax, shown.assign(noise=shown["noise"] + " noise"), x="mean", y="regime", hue="noise")
    ax.axvline(0, color=style.FADED, linewidth=0.8)
    ax.locator_params(axis="x", nbins=5)
    style.panel(ax, data.title, name, xlabel="robust \N{MINUS SIGN} standard, implausibility (DTC)")
style.legend(fig)
page.figure(
    fig, "noise",
    alt="Paired differences in implausibility between robust networks and the standard one at the decision threshold, "
    "with and without noise at the start of the search",
)  # fmt: skip

# %% tags=["conclusions", "image"]
by = noise_differences.set_index(["condition", "noise", "regime"])
clean, noisy = by.xs("without", level="noise"), by.xs("with", level="noise")
medium = ("as_written", "medium")
page.holds(
    "The noise hides most of the difference between the networks at the decision threshold. In the condition "
    f"`as_written`, medium - standard is {noisy.loc[medium, 'mean']:+.3f} [{noisy.loc[medium, 'low']:.3f}, "
    f"{noisy.loc[medium, 'high']:.3f}] with noise and {clean.loc[medium, 'mean']:+.3f} "
    f"[{clean.loc[medium, 'low']:.3f}, {clean.loc[medium, 'high']:.3f}] without it. In both conditions the difference "
    "to the standard network is more than twice as large without noise for every robust network.",
    (by["side"] == "lower").all()
    and (clean["high"] < noisy["low"]).all()
    and (clean["mean"].abs() > 2 * noisy["mean"].abs()).all(),
)

# %% tags=["conclusions", "tabular"]
by = noise_differences.set_index(["condition", "noise", "regime"])
clean, noisy = by.xs("without", level="noise"), by.xs("with", level="noise")
change = (1 - noisy["mean"] / clean["mean"]).abs()
page.holds(
    "On tabular data the noise matters little. With and without it the counterfactuals of every robust network are "
    "significantly more plausible than those of the standard network at the decision threshold, and it changes none of "
    f"these differences by more than {change.max():.0%}.",
    (by["side"] == "lower").all() and (change < 0.15).all(),
)

# %% [markdown] tags=["image"]
# ## Does it take an adversary?
#
# An image of dark ink on a light ground can be protected against small changes by thresholding: a pixel at 0.1 and one
# at 0.3 then look the same. Two control networks never saw an adversary. Both are one network, trained in the standard
# way on images in black and white. The *binarised* one is shown grey images as they are; the *thresholded* one sees
# them through a soft threshold, which is smooth, so that attacks and searches can follow its gradient. Data, initial
# weights, factuals and settings of the search are those of the standard network. A factual counts where the standard
# network and the other one both classify it correctly.
#
# The accuracies show which of the networks are robust. Attacks by gradients find fewer adversarial examples where
# gradients are small, so the accuracy of the thresholded network under attack is an upper bound.

# %% tags=["image"]
tested = frames.attacked(grid.control_attacks(study))
control_accuracy = estimates.accuracies(tested, ["network", "inputs", "attack"])
page.table(control_accuracy, "control_accuracy", show=False)

searched = frames.counterfactuals(grid.control(study))
own = (rows["condition"] == "corrected") & (rows["run"] == 0) & rows["seed"].isin(searched["seed"])
compared = pd.concat([rows[own], searched], ignore_index=True)
compared["place"] = compared.groupby(["seed", "stop", "regime"]).cumcount()
right = compared.pivot(index=["seed", "stop", "place"], columns="regime", values="correct")["standard"]
right = compared[["seed", "stop", "place"]].join(right, on=["seed", "stop", "place"])["standard"]
compared["counted"] = compared["correct"] & right.astype(bool)

# %% tags=["image"]
networks = [*REGIMES, "binarised", "thresholded"]
counted = compared[compared["counted"]]
control = estimates.means(counted, ["stop", "regime"]).set_index(["stop", "regime"])
found = estimates.differences(compared, [(name, "standard") for name in networks[1:]], by=["stop"])
found = found.set_index(["stop", "regime"]).rename(columns={"mean": "difference", "low": "difference_low"})
found = found.rename(columns={"high": "difference_high"})[["difference", "difference_low", "difference_high", "side"]]
control = control.join(found).assign(validity=counted.groupby(["stop", "regime"])["valid"].mean())
share = control["difference"] / control["difference"].xs("strong", level="regime")
control["share"] = share.where(share.index.get_level_values("regime").isin(networks[4:]))
control = control.reindex([(stop, name) for stop in STOPS for name in networks]).reset_index()
control = control.rename(columns={"regime": "network"})
columns = ["stop", "network", "mean", "low", "high", *found, "validity", "share", "n", "n_seeds"]
control = page.table(control[columns], "control", show=False)

# %% tags=["image"]
grey = control_accuracy[control_accuracy["inputs"] == "grey"]
accuracy = grey.pivot(index="network", columns="attack", values="mean")
gained = control.pivot(index="network", columns="stop", values="difference")[list(STOPS)]
accuracy.join(gained).loc[networks, ["clean", "fgsm", "pgd", *STOPS]].round(3)

# %% tags=["image"]
fig, axes = plt.subplots(1, 2, figsize=(style.PAGE, 2.5), sharex=True, sharey=True, layout="constrained")
for ax, stop in zip(axes, STOPS, strict=True):
    sizes_of = control[control["stop"] == stop].set_index("network")[list(found)[:3]].fillna(0)  # standard: none
    for i, (name, (size, low, high)) in enumerate(sizes_of.astype(float).iterrows()):
        looks = {**style.mark(name, i - 2), "linestyle": "none", "label": style.title(name).capitalize()}
        looks |= {"marker": "P"} if name == "thresholded" else {}
        ax.errorbar(accuracy.loc[name, "pgd"], size, yerr=[[size - low], [high - size]], **looks)
    style.panel(ax, data.title, stop, xlabel="accuracy under PGD, grey images")
axes[0].set_ylabel("implausibility, network \N{MINUS SIGN} standard")
style.legend(fig)
page.figure(
    fig, "control",
    alt="Difference in implausibility to the standard network against accuracy under PGD, for the robust networks and "
    "the two control networks that never saw an adversary",
)  # fmt: skip

# %% tags=["conclusions", "image"]
grey = control_accuracy[(control_accuracy["inputs"] == "grey") & (control_accuracy["attack"] == "pgd")]
robust = grey.set_index("network")["mean"]
size = control.set_index(["network", "stop"])["difference"]
sides = control.set_index(["network", "stop"])["side"]
dtc, gcc = "decision_threshold", "generator_conditions"
page.holds(
    "Neither control shows that plausibility can be had without robustness. The binarised network is not robust "
    f"({robust['binarised']:.1%} of the grey images correct under PGD), and its counterfactuals are hardly more "
    f"plausible than those of the standard network: by {-size['binarised', dtc]:.3f} at the decision threshold and by "
    f"{-size['binarised', gcc]:.3f} under the generator conditions. The thresholded network is robust without an "
    f"adversary ({robust['thresholded']:.0%} correct, the medium network {robust['medium']:.0%}), and its "
    f"counterfactuals are more plausible by {-size['thresholded', dtc]:.3f} and {-size['thresholded', gcc]:.3f}.",
    (sides["thresholded"] == "lower").all()
    and (size["binarised"].abs() < 0.2 * size["thresholded"].abs()).all()
    and robust["binarised"] < 0.01
    and 0.1 < robust["thresholded"] < robust["medium"],
)
page.holds(
    "But accuracy under PGD does not tell how much is gained. The weak network, of which only "
    f"{robust['weak']:.0%} of the answers are correct, gains {-size['weak', dtc]:.3f} and {-size['weak', gcc]:.3f}, "
    f"more than the thresholded one; the medium network gains {-size['medium', dtc]:.3f} and "
    f"{-size['medium', gcc]:.3f}.",
    (size["weak"] < size["thresholded"]).all()
    and (size["medium"] < size["weak"]).all()
    and robust["weak"] < 0.5 * robust["thresholded"],
)

# %% [markdown]
# ## What the scores vary with
#
# The variance of single scores is divided into parts (random effects; Searle et al., 1992). Where all seeds share their
# data, the networks of all seeds are searched from the same factuals, and the parts are *seed*, *factual*, their
# *interaction* and, where searches start with noise, *noise* (the pooled variance over three draws). Elsewhere every
# seed has its own sample, split and factuals: *seed* then stands for all of these, and the interaction is part of
# *factual*. `of_mean` is the share of the variance of a mean that only more seeds can reduce. With a single network per
# regime the variance cannot be divided, and the table is empty.


# %%
def divide(cell):
    """Divide the variance of repeated scores into its parts."""
    wide = cell.pivot(index="seed", columns=["place", "draw"], values="implausibility")
    wide = wide.sort_index(axis="columns").dropna(axis="columns")  # the factuals that every seed has
    values = wide.to_numpy().reshape(len(wide), -1, cell["draw"].nunique())  # (seeds, factuals, draws)
    draws, means = values.shape[2], values.mean(2)
    noise = values.var(axis=2, ddof=1).mean() if draws > 1 else 0.0
    if cell.groupby("seed")["row"].agg(tuple).nunique() == 1:  # the same factuals in every seed
        parts = stats.crossed_components(means)
        parts["interaction"] = max(0.0, parts.pop("residual") - noise / draws)
    else:
        parts = stats.variance_components(means.ravel(), wide.index.repeat(means.shape[1]))
        parts["factual"] = max(0.0, parts.pop("within") - noise / draws)
    return pd.Series({**parts, "noise": noise} if draws > 1 else parts)


# %% tags=["tol-0.5"]
components, keys = [], ["condition", "stop", "regime"]
if repeats := grid.components(study):
    repeated = frames.counterfactuals(repeats)
    repeated["place"] = repeated.groupby([*keys, "seed", "draw"]).cumcount()
    for key, cell in estimates.grouped(repeated, keys):
        parts = divide(cell)
        rest = parts.drop("seed").sum() / (study.runs * study.factuals)  # in a mean over the factuals of a seed
        found = {"part": parts.index, "variance": parts.to_numpy(), "share": (parts / parts.sum()).to_numpy()}
        components.append(pd.DataFrame({**key, **found, "of_mean": parts["seed"] / (parts["seed"] + rest)}))
columns = [*keys, "part", "variance", "share", "of_mean"]
components = pd.concat([pd.DataFrame(columns=columns), *components], ignore_index=True)
page.table(components, "components", show=False)
shown = components[components["condition"] == "corrected"]
shown.pivot(index=["stop", "regime", "of_mean"], columns="part", values="share").astype(float).round(3)

# %% tags=["conclusions", "image"]
corrected = components[components["condition"] == "corrected"]
factual, seed = (corrected[corrected["part"] == part]["share"] for part in ("factual", "seed"))
page.holds(
    f"Most of the variance of a single score lies between factuals ({factual.min():.0%} to {factual.max():.0%}), and "
    f"at most {seed.max():.1%} of it between networks. So differences between networks show only in paired comparisons "
    "over many factuals.",
    factual.min() > 0.75 and seed.max() < 0.01,
)

# %% tags=["conclusions", "tabular"]
corrected = components[(components["condition"] == "corrected") & (components["part"] == "seed")]
seed = corrected[corrected["stop"] == "generator_conditions"]
page.holds(
    f"Under the generator conditions {seed['share'].min():.0%} to {seed['share'].max():.0%} of the variance of a "
    f"single score lies between seeds, but {seed['of_mean'].min():.0%} to {seed['of_mean'].max():.0%} of the variance "
    "of a regime's mean. More factuals would not narrow these intervals; more networks would.",
    seed["share"].max() < 0.25 and seed["of_mean"].min() > 0.9,
)

# %% [markdown]
# ## In short

# %% tags=["conclusions", "image"]
corrected = against[(against["condition"] == "corrected") & (against["point"] == "blank")]
point = reference[reference["condition"] == "corrected"].set_index("point")["mean"]
page.holds(
    "A difference in implausibility can be read only beside reference points. On MNIST no network has counterfactuals "
    "that are on average more plausible than a blank image, and the initialisation noise of the original search moves "
    "the score of a factual further than the whole difference between real images of the target class and images of "
    "another class.",
    (corrected["side"] == "higher").all() and point["noisy"] - point["factual"] > point["factual"] - point["real"] > 0,
)

# %% tags=["conclusions", "tabular"]
v = normalised[normalised["condition"] == "corrected"].set_index("stop")["mean"]
point = reference[reference["condition"] == "corrected"].set_index("point")
page.holds(
    "A difference in implausibility can be read only beside reference points. On California Housing the median row, "
    "which belongs to no class, scores better than real rows of the target class. Counterfactuals at the decision "
    "threshold score between real rows and their factuals; those under the generator conditions score beyond their "
    f"factuals, with v between {v['generator_conditions'].min():.1f} and {v['generator_conditions'].max():.1f}.",
    point.loc["blank", "high"] < point.loc["real", "low"]
    and v["decision_threshold"].between(0, 1).all()
    and (v["generator_conditions"] > 1).all(),
)
