# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Is it robustness that makes counterfactuals plausible?
#
# The thesis compares networks that differ in the adversary of their training, and explains the plausibility of their
# counterfactuals by their robustness. But adversarial training changes other things as well: input gradients become
# small, the loss becomes less curved, clean accuracy falls. Here the four regimes stand beside eight *controls*,
# trainings that share some of these effects; six of them never see an adversary. Which property predicts plausibility
# when the others are held equal? The comparisons, the measures and the rule that chooses each control's strength were
# written down before ([plan](../paper/plan.md)), together with what would count as a null result.

# %% tags=["parameters"]
dataset = "mnist"
profile = "full"
seeds = 0  # networks per training; 0: as many as the comparison has

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import torch

from robexpl import metrics, trainings
from robexpl.gradients import tracked
from robexpl.pipeline import publish, style
from robexpl.regimes import REGIMES, Control
from robexpl.study import associations, controlled, estimates, frames, grid, sizes
from robexpl.training import fit

study = sizes.load(profile, dataset, seeds)
page, how = publish.Page("controls", study), controlled.settings(study)
level = f"{how['level']:g}"
style.use()

# %% [markdown]
# ## The answer
#
# Every search is for the same target probability and ends on it, and a factual counts only where every training that is
# compared gets it right and reaches that probability (see below). The primary level is 0.9, the primary measure the
# implausibility of the thesis. In the table, `rank` is the rank correlation of plausibility with a property over all
# trainings, `partial` the same given the other three properties. A property *predicts* plausibility where the 95 %
# interval over seeds excludes zero and the sign stays whichever training is left out.

# %%
searched = associations.footing(frames.counterfactuals(controlled.searches(study)))
described = associations.properties(study)
table = associations.networks(searched, described, how["level"])
correlations = page.table(associations.correlations(table), "correlations")

# %% [markdown]
# ## The method: what a control adds
#
# A control changes the loss of a batch or its inputs, and nothing else: first weights, order of batches, optimiser and
# epochs are those of the regimes. Double backpropagation (Drucker & LeCun, 1992), for example, adds the squared norm of
# the loss's own input gradient,
#
# $$ \mathrm{CE}(f(x), y) + \lambda \, \| \nabla_x \mathrm{CE}(f(x), y) \|_2^2 . $$
#
# The inner gradient of a ReLU perceptron is a product of matrices, $(p - e_y)^\top W_2 \,\mathrm{diag}(s)\, W_1$ with
# $s$ the active units, so that only first derivatives have to be taken by autograd. Here is the loss on a batch, and
# what it is made of:

# %% tags=["tol-0.1"]
network = grid.of_seed(controlled.small(study), sizes.primary(), study.first)["standard"]
data, model = network.data.load(), network.model()
x, y = data.x_train[:32], data.y_train[:32]  # (n, d), (n,)

logits, pull = tracked(model, x)
one_hot = torch.nn.functional.one_hot(y, data.n_classes)
slope = pull(torch.softmax(logits, 1) - one_hot)  # (n, d), the gradient of each row's loss
loss = torch.nn.functional.cross_entropy(logits, y)
penalty = slope.square().sum(1).mean()
both = trainings.module("double_backprop").loss(model, x, y, strength=1.0)
{"loss": round(loss.item(), 4), "penalty": round(penalty.item(), 4), "both": round(both.item(), 4)}

# %% [markdown]
# The other penalty is on the Jacobian of all logits, $\frac{\lambda}{2} \|J(x)\|_F^2$ (Hoffman et al., 2019). With one
# hidden layer $\|J\|_F^2 = s^\top M s$ with $M = (W_2^\top W_2) \circ (W_1 W_1^\top)$, one matrix for all rows. Any
# training is called in the same way as a regime:

# %% tags=["tol-0.1"]
few, some = {"seed": 0, "epochs": 1}, replace(data, x_train=data.x_train[:1000], y_train=data.y_train[:1000])
size = trainings.module("jacobian").size_of_jacobian
for control in ("standard", Control("jacobian", 0.1), Control("jacobian", 1.0)):
    print(control, round(size(fit(some, control, **few), x)[1].mean().item(), 2))

# %% [markdown]
# | control | what it changes | sees an adversary |
# |---|---|---|
# | double backpropagation | penalty on the input gradient of the loss | no |
# | Jacobian regularisation | penalty on the derivatives of all logits | no |
# | weight decay | penalty on the weights | no |
# | label smoothing | labels leave every class some probability | no |
# | Gaussian noise | inputs with noise, beside the clean ones | no |
# | random-sign noise | inputs moved as far as FGSM moves them, in random directions | no |
# | FGSM, random start | adversarial training with one step (Wong et al., 2020) | yes |
# | TRADES | penalty on what an adversary changes in the answer (Zhang et al., 2019) | yes |

# %% [markdown]
# ## How strong is a control?
#
# On a seed that occurs nowhere else, networks are trained on four fifths of the training rows. The rule takes the
# largest strength that is as accurate on the remaining fifth as the strong regime: each control may cost as much clean
# accuracy as the thesis' strongest adversary does. It looks neither at plausibility nor at robustness.

# %%
strengths = page.table(associations.chosen(study), "strengths", show=False)
strengths[strengths["own"]].round(4)

# %% tags=["conclusions"]
page.holds(
    "The strengths of the study are those that the rule gives.", bool((strengths["ruled"] == strengths["own"]).all())
)
own = strengths[strengths["own"]].set_index("control")
page.holds(
    "The two controls that are run at all strengths are those with the lowest implausibility on the validation rows.",
    set(own["implausibility"].nsmallest(2).index) == set(own.index[own["curve"]]),
)

# %% [markdown]
# ## Equal footing
#
# A search that stops early, overshoots or fails makes a network look better or worse than it is. So each search runs
# until the target probability is first reached, and then goes back on the straight line towards the factual to the
# point at which the probability is 0.5 (the boundary itself), 0.9 or 0.99. `validity` is the share of correctly
# classified factuals from which a level is reached; trainings below one half are not compared at that level. The figure
# shows the chosen strengths.

# %%
by = ["level", "measure", "training", "family"]
counted = searched[searched["counted"]]
means = estimates.means(counted, by).merge(searched[[*by, "validity"]].drop_duplicates(), on=by)
means = page.table(means, "means", show=False)
validity = searched[searched["chosen"] & (searched["measure"] == "primary")]
validity.pivot_table(index="training", columns="level", values="validity", sort=False).round(2).head(12)

# %%
names = [name for name in means["training"].unique() if name in set(searched[searched["chosen"]]["training"])]
levels = list(searched["level"].unique())
fig, axes = plt.subplots(
    1, len(levels), figsize=(style.PAGE, 0.8 + 0.2 * len(names)), sharey=True, layout="constrained"
)
for ax, one in zip(axes, levels, strict=True):
    rows = means[(means["level"] == one) & (means["measure"] == "primary")].set_index("training").reindex(names)
    for i, row in enumerate(rows.itertuples()):
        looks = style.mark(row.family) if row.family in REGIMES else {"color": style.FADED, "marker": "x"}
        ax.errorbar(row.mean, i, xerr=[[max(row.mean - row.low, 0)], [max(row.high - row.mean, 0)]], **looks)
    ax.set_yticks(range(len(names)), [associations.title(name) for name in names])
    ax.set(ylim=(len(names) - 0.5, -0.5), xlabel="implausibility")
    ax.set_title(f"{data.title}\n{one if 'gen' in one else f'target probability {one}'}")
page.figure(fig, "levels", alt="Implausibility of each training at equal target probabilities, with 95 % intervals")

# %%
differences = page.table(associations.against(searched), "differences", show=False)
primary = differences.query("measure == 'primary' and level == @level")
primary[["training", "baseline", "mean", "low", "high", "n", "n_seeds", "side"]].round(3).head(12)

# %% [markdown]
# ## Do independent classifiers see the target class?
#
# A low distance to training points is no proof that a counterfactual shows the target class. So classifiers that are
# never explained are asked, the oracle of [measures](measures.py), about the same counterfactuals. `oracle` is one
# minus their probability of the target class, and `agreed` the share of counterfactuals that they take for it, with a
# probability above one half; both are means over the factuals that count, as `implausibility` is. The table has the
# chosen strengths at the primary level, the most plausible training first. It describes, and decides nothing.

# %%
one = searched[searched["measure"] == "primary"]
asked = one.merge(associations.judged(study), on=["seed", "level", "training", "place"], validate="one_to_one")
asked = asked[asked["counted"] & asked["chosen"]]
quantities = ["implausibility", "oracle", "agreed"]
found = [estimates.means(asked, ["level", "training"], name).assign(quantity=name) for name in quantities]
oracle = page.table(pd.concat(found, ignore_index=True), "oracle", show=False)
shown = oracle[oracle["level"] == level].pivot(index="training", columns="quantity", values="mean")
shown[quantities].sort_values("implausibility").round(3)

# %% [markdown]
# ## Robustness against plausibility
#
# Every training at the primary level: the accuracy that is left in the worst case over attacks of radius 0.1 (see
# `robustness`) against implausibility, whose axis is turned so that the more plausible lies higher. The line joins the
# four regimes. If robustness were what counts, all trainings would lie along it.

# %%
fig, ax = plt.subplots(figsize=(style.PAGE, 3.2), layout="constrained")
every = table.groupby(["training", "family"], sort=False)[["robust", "gradient", "implausibility"]].mean().reset_index()
every = every.dropna()
line = every[every["family"].isin(REGIMES)]
ax.plot(line["robust"], line["implausibility"], color=style.INK, linewidth=0.8, zorder=1)
for row in line.itertuples():
    looks = {**style.mark(row.family), "markeredgecolor": style.INK, "markersize": 7}
    ax.plot(row.robust, row.implausibility, **looks, linestyle="none", label=style.title(row.family), zorder=3)
for sees in (False, True):
    found = [name for name in sorted(how["chosen"]) if sees == trainings.module(name).ADVERSARIAL]
    for number, name in enumerate(found):
        rows = every[every["family"] == name]  # the weakest strength first
        looks = {**style.mark(name, number), "linewidth": 0.6, "markersize": 4}
        looks |= {"markerfacecolor": "white"} if sees else {}
        if len(rows):  # else it reaches the level too seldom to be compared
            ax.plot(rows["robust"], rows["implausibility"], **looks, label=trainings.module(name).TITLE, zorder=2)
ax.invert_yaxis()
fig.legend(loc="outside upper center", ncols=5, columnspacing=1)
style.panel(ax, data.title, xlabel="accuracy in the worst case", ylabel=f"implausibility at probability {level}")
page.figure(fig, "robustness", alt="Worst-case accuracy against implausibility, one mark per training and strength")

# %% [markdown]
# *Large marks: the four regimes. Small ones: controls, hollow where they see an adversary; a line joins the strengths
# of one control.*
#
# ## Which property predicts plausibility?
#
# The correlations of the first table as a figure, for both distance metrics. Thick: partial correlations; faded: plain
# ones. With few trainings that differ in everything at once, a wide interval is an answer, too: it says that these
# trainings do not tell the properties apart.

# %%
second = associations.correlations(associations.networks(searched, described, how["level"], "second"))
correlated = pd.concat([correlations.assign(measure="primary"), second.assign(measure="second")], ignore_index=True)
page.table(correlated, "correlations_by_measure", show=False)
fig, axes = plt.subplots(1, 2, figsize=(style.PAGE, 1.9), sharey=True, layout="constrained")
for ax, (measure, rows) in zip(axes, correlated.groupby("measure", sort=False), strict=True):
    for i, row in enumerate(rows.itertuples()):
        at, partial = i % 4 + (0.15 if i < 4 else -0.15), row.kind == "partial"
        looks = {"color": style.INK if partial else style.FADED, "linewidth": 2.0 if partial else 1.0}
        ax.plot([row.low, row.high], [at, at], **looks)
        ax.plot(row.mean, at, "o", color=looks["color"])
    ax.set_yticks(range(4), ["robustness", "gradient norm", "curvature", "clean accuracy"])
    ax.axvline(0, color=style.FADED, linewidth=0.8)
    name = controlled.measures(study)[measure].distance
    ax.set(title=f"{data.title}, {name}", xlabel="rank correlation with plausibility", xlim=(-1.05, 1.05))
axes[0].invert_yaxis()
page.figure(fig, "correlations", alt="Rank and partial rank correlations of plausibility with four properties")

# %% [markdown]
# ## Pairs that are equal in one property
#
# Controls that see no adversary against adversarial regimes of the same clean accuracy (within 0.01), or of the same
# gradient norm (within a tenth). `robustness` is the difference in worst-case accuracy, control minus regime, and
# `mean` the one in implausibility; `more_plausible` says which of the two is significantly more plausible.

# %%
matched = page.table(associations.matched(searched, table, how["level"]), "matched", show=False)
columns = ["equal", "control", "regime", "robustness", "mean", "low", "high", "n", "more_plausible"]
matched[columns].round(3).head(12)

# %%
counts = matched.groupby(["equal", "more_plausible"]).size().unstack(fill_value=0)
counts

# %% [markdown]
# ## A look at the counterfactuals
#
# For images: the same test digits, which all networks shown classify correctly, changed by searches in the standard and
# the strong network and in the control without an adversary whose counterfactuals are the most plausible on average.
# Left of them the digit as it is, right a real test digit of the target class. The numbers are implausibilities with
# respect to the target class, so that the first column says what no change scores, and the last what reality scores.

# %% tags=["image"]
seen, factuals, found = frames.images(controlled.look(study))
data, target = grid.of_seed(study, sizes.primary())["standard"].data.load(), seen["target"].head(len(factuals))
ranked = means.query("measure == 'primary' and level == @level").set_index("training")["mean"].sort_values()
calm = [name for (_, name) in found if name not in REGIMES and not trainings.module(name.split()[0]).ADVERSARIAL]
best = next(name for name in ranked.index if name in calm)
real = data.x_test[[int((data.y_test == t).nonzero()[0]) for t in target]]  # (n, d)
columns = {name: x for (_, name), x in found.items() if name in ("standard", "strong", best)}
columns = {"factual": factuals, **columns, "real": real}

# %% tags=["image"]
of = {"k": study.k, "distance": study.distance, "image_shape": data.image_shape}
target, train = torch.tensor(target.to_numpy()), (data.x_train, data.y_train)
scores = {name: metrics.implausibility(x, target, *train, **of).tolist() for name, x in columns.items()}
rows = pd.DataFrame(scores).assign(target=target).melt("target", var_name="training", value_name="implausibility")
page.table(rows, "look", show=False)
names = [n if n in ("factual", "real") else style.title(n) if n in REGIMES else "control" for n in columns]
texts = [f"{scores[c][i]:.2f}" for i in range(len(real)) for c in columns]
texts[:: len(names)] = [f"to {data.class_names[t]}: {s}" for t, s in zip(target, texts[:: len(names)], strict=True)]
titles = [f"{n}\n{t}" for n, t in zip(names, texts, strict=False)] + texts[len(names) :]
pictures = [x[i].view(data.image_shape) for i in range(len(real)) for x in columns.values()]
fig = style.images(pictures, titles, columns=len(columns), width=style.COLUMN)
fig.suptitle(f"{data.title}, target probability {level}\ncontrol: {associations.title(best)}", fontsize=8)
page.figure(fig, "look", alt="The same digits changed by the standard, the strong and the best control network")

# %% [markdown]
# ## Other architectures
#
# A few networks of other architectures, trained briefly, the study's own perceptron among them: regimes standard and
# medium, and Jacobian regularisation. On images a deeper perceptron and LeNet-5; on tabular data a deeper perceptron
# and a deep neural decision tree (Yang et al., 2018), the kind of model for tables that the thesis suggests. Each row
# is a difference to standard training; these are few networks, and no more than a check of the sign.

# %%
tried = frames.counterfactuals(controlled.architectures(study))
tried = associations.footing(tried.assign(training=tried["architecture"] + " " + tried["training"]))
names = tried["architecture"].unique()
pairs = [(f"{one} {name}", f"{one} standard") for one in names for name in ("medium", "jacobian")]
architectures = associations.compared(tried, pairs, ["measure"])
architectures = page.table(architectures, "architectures", show=False)
architectures.query("measure == 'primary'").round(3)

# %% [markdown]
# ## In short
#
# What predicts plausibility by the condition above, plainly or given the other properties; where there is no row with
# `partial`, these trainings do not tell which property it is.

# %%
found = correlated[correlated["predicts"]][["measure", "kind", "property", "mean", "low", "high", "least", "most"]]
found.round(2)

# %% tags=["conclusions", "tabular"]
of = correlations.set_index(["kind", "property"])
plain, held = of.loc[("rank", "robust")], of.loc[("partial", "robust")]
page.holds(
    "On California Housing the more robust trainings have the less plausible counterfactuals (rank correlation "
    f"{plain['mean']:+.2f} [{plain['low']:.2f}, {plain['high']:.2f}]), and so have those with small gradients. With "
    "gradient norm, curvature and clean accuracy held equal the sign turns: robustness goes with plausibility "
    f"({held['mean']:+.2f} [{held['low']:.2f}, {held['high']:.2f}]), and it is the only one of the four properties "
    "that predicts plausibility given the others.",
    plain["predicts"] and plain["mean"] < 0 and of.loc[("rank", "gradient"), "mean"] > 0
    and held["predicts"] and held["mean"] > 0 and of.loc["partial"]["predicts"].sum() == 1,
)  # fmt: skip
won = matched["more_plausible"].value_counts()
page.holds(
    f"The pairs agree: in {won.get('more robust', 0)} of {len(matched)} the more robust network is significantly more "
    "plausible, and in none the less robust one.",
    won.get("more robust", 0) > len(matched) / 2 and "less robust" not in won,
)

# %% [markdown]
# What the comparison cannot say is in the [plan](../paper/plan.md): the trainings are a choice, the intervals cover
# networks and not that choice, and the measure of plausibility is that of the thesis.
