# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does training against stronger attacks make networks more robust?
#
# These are the networks that all other notebooks examine: their data, their training, and their accuracy with and
# without an attacker. The thesis (section 5) says that "adversarial training worked as intended, with the robustness of
# networks directly proportional to the strength of adversary they were trained on", and (section 5.2) that the
# trade-off between clean and robust accuracy is more drastic on tabular data than on images. Notebook
# [background](background.ipynb) shows the attacks step by step; [rq2-mnist](rq2-mnist.ipynb) and
# [rq2-california](rq2-california.ipynb) ask what robustness does to explanations.

# %% tags=["parameters"]
dataset = "mnist"
profile = "full"
seeds = 0  # networks per regime; 0: as many as the study has

# %%
from dataclasses import replace
from inspect import signature

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from robexpl import attacks, metrics
from robexpl.pipeline import publish, style
from robexpl.regimes import ADVERSARIES, REGIMES, Adversary
from robexpl.study import estimates, frames, grid, proofs, security, sizes, thesis
from robexpl.training import fit

study = sizes.load(profile, dataset, seeds)
page = publish.Page("models", study)
style.use()

# %% [markdown]
# ## The answer
#
# Accuracy on the test set, clean and under three attacks with $\epsilon = 0.2$: FGSM, one step; PGD, 26 steps of 0.01,
# with an early stop (as in the thesis' code) or projected (as in its text). The intervals are 95 % intervals over
# independently trained networks and over the count of correct answers. Statements are about the condition `corrected`
# unless they say otherwise; they are checked against the numbers each time this notebook runs.

# %%
attacked = frames.attacked(grid.robustness(study))
accuracy = estimates.accuracies(attacked)
theirs = thesis.accuracies(dataset)[["regime", "attack", "thesis"]].astype({"thesis": float})
accuracy = page.table(accuracy.merge(theirs, on=["regime", "attack"], how="left"), "accuracy", show=False)

# %% tags=["conclusions"]
order, under = ["standard", "weak", "medium", "strong"], ["fgsm", "pgd_early_stop", "pgd_projected"]
rows = accuracy[accuracy["attack"].isin(under)]
low, high = (rows.pivot(index=["condition", "attack"], columns="regime", values=end)[order] for end in ("low", "high"))
page.holds(
    "Yes. Under FGSM and under PGD, with and without the early stop, accuracy rises with the adversary of the "
    "training, from standard over weak and medium to strong. The 95 % intervals of neighbouring regimes do not "
    "overlap, under any of the three attacks and in any of the three conditions.",
    bool((low.to_numpy()[:, 1:] > high.to_numpy()[:, :-1]).all()),
)

# %% tags=["conclusions", "image"]
clean = accuracy.query("condition == 'corrected' and attack == 'clean'").set_index("regime")
lost = 100 * (clean.loc["standard", "mean"] - clean.loc["strong", "mean"])
page.holds(
    f"Robustness costs little accuracy on clean images: the strong network is {lost:.1f} percentage points less "
    "accurate than the standard network, and the weak and the medium network are more accurate than it (none of these "
    "intervals overlaps that of the standard network).",
    bool(
        0 < lost < 3
        and clean.loc["strong", "high"] < clean.loc["standard", "low"]
        and (clean.loc[["weak", "medium"], "low"] > clean.loc["standard", "high"]).all()
    ),
)
early = accuracy.query("condition == 'corrected' and attack == 'pgd_early_stop'").set_index("regime")
full = accuracy.query("condition == 'corrected' and attack == 'pgd_projected'").set_index("regime")
page.holds(
    "With the early stop PGD overstates the robustness of every robust network, most that of the medium one, whose "
    f"accuracy is {early.loc['medium', 'mean']:.3f} with the early stop and {full.loc['medium', 'mean']:.3f} when the "
    "attack is projected.",
    bool(
        (early.loc[["weak", "medium", "strong"], "low"] > full.loc[["weak", "medium", "strong"], "high"]).all()
        and (early["mean"] - full["mean"]).idxmax() == "medium"
    ),
)

# %% tags=["conclusions", "tabular"]
clean = accuracy.query("condition == 'corrected' and attack == 'clean'").set_index("regime")
lost = 100 * (clean.loc["standard", "mean"] - clean.loc["strong", "mean"])
page.holds(
    "Robustness has its price on these data: clean accuracy falls from standard over weak and medium to strong, by "
    f"{lost:.1f} percentage points in all. The intervals of the standard and the strong network do not overlap.",
    bool(
        clean.loc[["standard", "weak", "medium", "strong"], "mean"].is_monotonic_decreasing
        and clean.loc["strong", "high"] < clean.loc["standard", "low"]
    ),
)
mean = accuracy.query("condition == 'corrected'").pivot(index="regime", columns="attack", values="mean")
more = 100 * (mean["pgd_early_stop"] - mean["fgsm"])
page.holds(
    "With the early stop PGD is a weaker attack than the single step of FGSM: accuracy under it, averaged over "
    f"networks, is higher in each of the four regimes, by up to {more.max():.1f} percentage points. Under projected "
    "PGD it is lower than under FGSM in each of them.",
    bool((more > 0).all() and (mean["pgd_projected"] < mean["fgsm"]).all()),
)

# %% [markdown]
# An attack only shows what accuracy is *at most*. Hence one more column beside those of the thesis: the worst case, in
# which every row meets the strongest of several attacks with the same radius (`attacks.worst_case`). It is measured on
# the first rows of the test set; how many, and in how many networks, stands in the last row of the table.

# %%
condition = sizes.primary()
curves = estimates.accuracies(frames.worst_cases(security.curves(study)), ["regime", "eps"])
bounds = [curves[curves["eps"] == security.radius()].drop(columns="eps").assign(judged="at most")]
if distances := proofs.distances(study):
    exactly = proofs.exact_counts(distances, security.radius()).query("condition == @condition.name")
    bounds.append(estimates.accuracies(exactly, ["regime"]).assign(judged="exact"))
bounds = page.table(pd.concat(bounds, ignore_index=True), "bounds", show=False)

# %%
own = accuracy[accuracy["condition"] == condition.name]
rows = pd.concat([own, bounds.rename(columns={"judged": "attack"})], ignore_index=True)
rows["text"] = rows.apply(lambda row: f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]", axis=1)
shown = rows.pivot(index="regime", columns="attack", values="text").loc[list(REGIMES)]
first = rows.groupby("attack").first()
shown.loc["rows x networks"] = first["n"].astype(str) + " x " + first["n_seeds"].astype(str)
names = {"at most": "Worst case, at most", "exact": "Exact"}
columns = [name for name in (*sizes.evaluation(), *names) if name in shown]
shown[columns].rename(index=style.title, columns=lambda name: names.get(name) or style.title(name))

# %% [markdown] tags=["tabular"]
# `exact` is the share of rows that are classified correctly and whose smallest perturbation in the maximum norm that
# changes the class, computed by mixed-integer programming, is larger than the radius. It is computed on fewer rows than
# the worst case, and may therefore lie on either side of it.

# %%
data, names = study.load(condition.sampling), list(sizes.evaluation())
fig, axes = plt.subplots(1, 2, figsize=(style.PAGE, 2.5), sharey=True, layout="constrained")
for ax, name in zip(axes, ("as_run", condition.name), strict=True):
    style.points(ax, accuracy[accuracy["condition"] == name], x="attack", y="mean")
    style.panel(ax, data.title, name, ylim=(-0.03, 1.03))
    ax.set_xticks(range(len(names)), [style.title(attack).replace(", ", ",\n") for attack in names])
axes[0].set_ylabel("test accuracy")
for row in accuracy.query("condition == 'as_run'").dropna(subset="thesis").itertuples():
    x = names.index(row.attack) + 0.16 * (REGIMES.index(row.regime) - 1.5) + 0.08
    axes[0].plot(x, row.thesis, "D", color="black", markersize=3, markerfacecolor="none", label="thesis")
style.legend(fig)
page.figure(fig, "accuracy", alt=f"Test accuracy on {data.title} by attack and regime, with 95 % intervals")

# %% [markdown] tags=["full"]
# Hollow diamonds, slightly to the right of our marks: the accuracies that the thesis reports. They are comparable with
# the condition `as_run`, whose training and early-stopped PGD are those of the thesis' code.

# %% [markdown]
# The security curve has the worst case over growing radii, with 95 % intervals as above.

# %%
fig, ax = plt.subplots(figsize=(style.COLUMN, 2.0), layout="constrained")
style.points(ax, curves, x="eps", y="mean", line=True)
ax.locator_params(axis="x", nbins=5)
style.panel(ax, data.title, xlabel="radius (maximum norm)", ylabel="accuracy, at most", ylim=(-0.03, 1.03))
style.legend(fig)
page.figure(fig, "curves", alt=f"Accuracy under the worst case by radius and regime on {data.title}")

# %% [markdown]
# ## The method on a small network
#
# Adversarial training (thesis, equation 1) replaces each row by the worst one in its neighbourhood,
#
# $$ \min_\theta \sum_i \max_{\|\delta\|_\infty \le \epsilon} \mathcal{L}(\theta, x_i + \delta, y_i), $$
#
# and approximates the inner maximum by PGD against the network of the moment. The thesis' code adds the clean loss with
# equal weight, and so does `training.fit`. Here two small networks are trained on a few rows, one of them against an
# adversary of our own, and then attacked by that adversary.

# %%
opponent = Adversary(eps=0.1, step_size=0.02, steps=8)
few = replace(data, x_train=data.x_train[:2000], y_train=data.y_train[:2000])
x, y = data.x_test[:500], data.y_test[:500]  # (n, d), (n,)
found = {}
for name, regime in {"standard": "standard", "adversarial": opponent}.items():
    small = fit(few, regime, seed=0, epochs=10, learning_rate=0.01)
    generator = torch.Generator().manual_seed(0)
    perturbed = attacks.pgd(small, x, y, **vars(opponent), bounds=data.bounds, generator=generator)
    scores = {"clean": metrics.accuracy(small, x, y), "under PGD": metrics.accuracy(small, perturbed, y)}
    scores["largest change"] = float((perturbed - x).abs().max())
    found[name] = {key: round(value, 3) for key, value in scores.items()}
found

# %% [markdown]
# ## The data and the networks
#
# All inputs are kept between a lowest and a highest value (`low`, `high`), by attacks and by the search for
# counterfactuals. A network that always gave the most frequent class would be right on the share `majority` of the test
# rows. The networks are perceptrons with one hidden layer, $f(x) = W_2 \max(0, W_1 x + b_1) + b_2$, with weights drawn
# from Glorot's normal distribution, trained with Adam. The four regimes of one seed start from the same weights and see
# the batches in the same order: they differ in nothing but the adversary.

# %%
as_run = study.load("as_run")
low, high = (torch.as_tensor(bound) for bound in as_run.bounds)
height, width = as_run.image_shape or (None, None)
about = {"dataset": dataset, "title": as_run.title, "kind": study.kind}
about |= {"rows_train": len(as_run.x_train), "rows_test": len(as_run.x_test), "inputs": as_run.x_train.shape[1]}
about |= {"classes": as_run.n_classes, "low": float(low.min()), "high": float(high.max())}
majority = int(as_run.y_test.bincount().max()) / len(as_run.y_test)
about |= {"majority": round(majority, 6), "height": height, "width": width}
page.table(pd.DataFrame([about]), "data", show=False)
about

# %%
model = grid.of_seed(study, condition)["standard"].model()
defaults = {name: signature(fit).parameters[name].default for name in ("batch_size", "learning_rate")}
(hidden, inputs), outputs = model[0].weight.shape, len(model[2].bias)
parameters = sum(weight.numel() for weight in model.parameters())
network = {"inputs": inputs, "hidden": hidden, "outputs": outputs, "parameters": parameters}
network |= {"epochs": study.epochs, **defaults}
page.table(pd.DataFrame([network]), "network", show=False)
{**network, "seeds": study.seeds}

# %% [markdown] tags=["image"]
# The first two training images of each class:

# %% tags=["image"]
firsts = [(data.y_train == label).nonzero().flatten()[:2] for label in range(data.n_classes)]
rows = torch.stack(firsts, 1).flatten()  # one of each class, then another of each
pictures = data.x_train[rows].reshape(-1, *data.image_shape)
fig = style.images(pictures, [f"class {name}" for name in data.class_names], columns=data.n_classes)
fig.suptitle(f"{data.title}, training images", x=0.01, ha="left", fontsize=8)
page.figure(fig, "samples", alt=f"Two training images of each class of {data.title}")

# %% [markdown] tags=["tabular"]
# Tabular data are standardised: every feature has mean 0 and standard deviation 1, so that one radius serves features
# with different units. What a radius of 0.2 means still differs between features. Where most rows lie within 0.2 of the
# median, a step of 0.2 takes a row past most others; where few do, it hardly matters.

# %% tags=["tabular"]
near = (data.x_train - data.x_train.median(0).values).abs() <= 0.2  # (n, d)
share = pd.Series(near.double().mean(0).numpy(), index=data.feature_names)[:12]
fig, ax = plt.subplots(figsize=(style.COLUMN, 0.5 + 0.16 * len(share)), layout="constrained")
ax.barh(share.index[::-1], share[::-1], color=style.COLOURS["medium"], height=0.6)
style.panel(ax, data.title, xlabel="share of rows within 0.2 of the median", xlim=(0, 1))
ax.grid(visible=False, axis="y")
page.figure(fig, "features", alt=f"For features of {data.title}: share of training rows within 0.2 of the median")

# %% [markdown]
# ## The training
#
# The text of the thesis says that PGD is projected. Its code does not project, and ends the attack as soon as *any*
# input of *any* row of the batch has moved by $\epsilon$. Therefore every robust network is trained more than once:
#
# - condition `as_run`: the attack stops early, as in the thesis' code;
# - condition `as_written`: the attack is projected, as in the text;
# - condition `corrected`: projected too. Tabular data are moreover sampled so that no row is in both the training and
#   the test set, and scaler and range of inputs come from the training rows. On images it shares its networks with
#   `as_written`.
#
# In `as_run` and `as_written` the rows of tabular data are drawn with replacement *before* they are split, as in the
# thesis' experiment, so that equal rows occur on both sides. On images `as_run` has fewer seeds.

# %%
history = frames.histories(grid.networks(study))
epochs = history.groupby(["condition", "regime", "epoch"], sort=False)["loss"].agg(["mean", "min", "max"]).reset_index()

# %%
fig, axes = plt.subplots(1, 2, figsize=(style.PAGE, 2.3), sharey=True, layout="constrained")
for ax, name in zip(axes, ("as_run", condition.name), strict=True):
    for i, regime in enumerate(REGIMES):
        rows = epochs[(epochs["condition"] == name) & (epochs["regime"] == regime)]
        every = (i, max(len(rows) // 5, 1))
        ax.plot(rows["epoch"], rows["mean"], **style.mark(regime), markevery=every, label=style.title(regime))
        ax.fill_between(rows["epoch"], rows["min"], rows["max"], color=style.COLOURS[regime], alpha=0.2, linewidth=0)
    style.panel(ax, data.title, name, xlabel="epoch", yscale="log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
axes[0].set_ylabel("training loss")
axes[0].yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_locator=NullLocator())
style.legend(fig)
page.figure(fig, "loss", alt=f"Mean training loss by epoch and regime on {data.title}; band: range over seeds")

# %% [markdown]
# The losses of adversarial training are sums of two cross-entropies, with and without attack. What did the early stop
# do to the training? For every robust network, the steps and the radius that its adversary was allowed, and what it
# used in the last epoch: the number of steps, and the largest change of an input, on average over rows and seeds.

# %%
evaluation = sizes.settings()["attacks"]["pgd_projected"]
rows = [{"regime": regime, **(vars(one) if one else {})} for regime, one in ADVERSARIES.items()]
adversaries = pd.DataFrame([*rows, {"regime": "evaluation", **evaluation}])[["regime", "eps", "step_size", "steps"]]
adversaries = page.table(adversaries, "adversaries", show=False)

# %%
over = history.groupby(["condition", "regime", "epoch"], sort=False)[["loss", "steps", "radius"]].mean().reset_index()
first, last = (over[over["epoch"] == epoch].drop(columns="epoch") for epoch in (1, study.epochs))
training = first[["condition", "regime", "loss"]].merge(last, on=["condition", "regime"], suffixes=("_first", "_last"))
allowed = adversaries[["regime", "steps", "eps"]].rename(columns={"steps": "steps_allowed"})
training = training.merge(allowed, on="regime", how="left")
training.loc[training["eps"].isna(), ["steps", "radius"]] = np.nan  # no adversary, no steps
training = page.table(training, "training")

# %% tags=["conclusions"]
early = training[training["condition"] == "as_run"].set_index("regime").loc[["weak", "medium", "strong"]]
rest = training[(training["condition"] != "as_run") & training["eps"].notna()]
page.holds(
    "The early stop weakens the adversaries of the condition as_run. The weak one makes "
    f"{early.loc['weak', 'steps']:.1f} of its {early.loc['weak', 'steps_allowed']:.0f} steps and reaches "
    f"{100 * early.loc['weak', 'radius'] / early.loc['weak', 'eps']:.0f} % of its radius, the strong one "
    f"{early.loc['strong', 'steps']:.1f} of {early.loc['strong', 'steps_allowed']:.0f} steps and "
    f"{100 * early.loc['strong', 'radius'] / early.loc['strong', 'eps']:.0f} %. The projected adversaries make all "
    "their steps and reach at least 99 % of their radius.",
    bool(
        (early["steps"] < 0.75 * early["steps_allowed"]).all()
        and (early["radius"] < 0.99 * early["eps"]).all()
        and (rest["steps"] == rest["steps_allowed"]).all()
        and (rest["radius"] >= 0.99 * rest["eps"]).all()
    ),
)

# %% [markdown]
# ## Can the measurement be trusted?
#
# A weak attack makes a weak network look robust (Carlini et al., 2019). Some signs of that can be checked, here with a
# tolerance of one percentage point: many small steps should do at least the harm of one large one; a larger radius at
# least that of a smaller one; an attack at least that of random signs of the same size; and at least 99 % of the rows
# need a gradient that an attack can follow. A check that fails does not say that the network is bad but that the number
# should not be believed. Random signs, radii and gradients are tried on the networks of the first seed.

# %%
pairs = ["condition", "regime"]
tried = frames.attacked(grid.checks(study))
harmed = tried.pivot(index=pairs, columns="attack", values="value")
moved = tried[tried["attack"] == "FGSM 0.2"].set_index(pairs)["moved"]
mean = accuracy.pivot(index=pairs, columns="attack", values="mean")
ladder = harmed[[f"FGSM {radius:g}" for radius in sizes.settings()["ladder"]]]
passed = {
    "early-stop PGD <= FGSM": mean["pgd_early_stop"] <= mean["fgsm"] + 0.01,
    "projected PGD <= FGSM": mean["pgd_projected"] <= mean["fgsm"] + 0.01,
    "falls with the radius": (ladder.diff(axis=1).iloc[:, 1:] <= 0.01).all(axis=1),
    "FGSM <= random signs": mean["fgsm"] <= harmed["random signs"] + 0.01,
    "rows have a gradient": moved >= 0.99,
}

# %%
wide = pd.DataFrame(passed).reindex(pd.MultiIndex.from_frame(training[pairs])).reset_index()
checks = wide.melt(pairs, var_name="check", value_name="passed")
checks = page.table(checks.sort_values("check", key=lambda names: names.map(list(passed).index)), "checks", show=False)
wide

# %% tags=["conclusions", "image"]
page.holds(f"All {len(checks)} checks pass.", bool(checks["passed"].all()))

# %% tags=["conclusions", "tabular"]
failed = checks[~checks["passed"]]
count = (checks["check"] == "early-stop PGD <= FGSM").sum()
page.holds(
    f"Only one kind of check fails: in {len(failed)} of {count} cases PGD with the early stop does less harm than the "
    "single step of FGSM, by more than one percentage point. PGD with the early stop is no fair measure of robustness "
    "on these data. All other checks pass, those of projected PGD among them.",
    bool(len(failed) and (failed["check"] == "early-stop PGD <= FGSM").all()),
)

# %% [markdown]
# ## What training does to gradients
#
# Attack and counterfactual follow the gradient with respect to the input. `size` is the mean over test rows of
# $\max_i |\partial f_y / \partial x_i|$ for the logit $f_y$ of the row's own class: the smaller it is, the further a
# search has to travel for the same change of the logit. `zero_share` is the share of rows at which the gradient is
# exactly zero, because no hidden unit responds; neither an attack nor a search can start there. The networks are those
# of the first seed.

# %%
gradient = frames.gradients(grid.networks(study, seeds=1)).drop(columns="seed")
gradient = page.table(gradient, "gradient", show=False)
{name: rows.set_index("regime")["size"].round(2).to_dict() for name, rows in gradient.groupby("condition", sort=False)}

# %% tags=["conclusions"]
size = gradient[gradient["condition"] == "corrected"].set_index("regime")["size"]
page.holds(
    f"Gradients shrink with the strength of the adversary, from {size['standard']:.2f} in the standard network to "
    f"{size['strong']:.2f} in the strong one.",
    bool(size[["standard", "weak", "medium", "strong"]].is_monotonic_decreasing),
)

# %% [markdown]
# ## In one paragraph

# %% tags=["conclusions"]
own = accuracy[accuracy["condition"] == "corrected"].set_index(["attack", "regime"])
robust, clean = (own.loc[name].loc[["standard", "weak", "medium", "strong"]] for name in ("pgd_projected", "clean"))

# %% tags=["conclusions", "image"]
page.holds(
    "On MNIST adversarial training works as the thesis says. Under projected PGD with radius 0.2 the accuracy is "
    f"{robust.loc['standard', 'mean']:.3f} for the standard network and {robust.loc['weak', 'mean']:.3f}, "
    f"{robust.loc['medium', 'mean']:.3f} and {robust.loc['strong', 'mean']:.3f} for the weak, medium and strong one; "
    f"on clean images it is {clean.loc['standard', 'mean']:.3f} for the standard and "
    f"{clean.loc['strong', 'mean']:.3f} for the strong network.",
    bool((robust["low"].iloc[1:].to_numpy() > robust["high"].iloc[:-1].to_numpy()).all()),
)

# %% tags=["conclusions", "tabular"]
page.holds(
    "On California Housing adversarial training works as the thesis says. Under projected PGD with radius 0.2 the "
    f"accuracy is {robust.loc['standard', 'mean']:.3f} for the standard network and {robust.loc['weak', 'mean']:.3f}, "
    f"{robust.loc['medium', 'mean']:.3f} and {robust.loc['strong', 'mean']:.3f} for the weak, medium and strong one; "
    f"on clean data it is {clean.loc['standard', 'mean']:.3f} for the standard and "
    f"{clean.loc['strong', 'mean']:.3f} for the strong network.",
    bool((robust["low"].iloc[1:].to_numpy() > robust["high"].iloc[:-1].to_numpy()).all()),
)
