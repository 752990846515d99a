# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Are robust networks more explainable than a standard one?
#
# Research question 1. The thesis (sections 1, 5.1 and 5.2) says yes for images, at the decision boundary and under the
# generator conditions. For tabular data it says yes at the boundary only: under the generator conditions the standard
# network comes out best. Here every network of the study is searched for counterfactuals, and their plausibility is
# compared in pairs. Notebook [models](models.py) shows the networks, [anchors](anchors.py) what a score is worth and
# [sensitivity](sensitivity.py) what the differences depend on.

# %% tags=["parameters"]
dataset = "mnist"
profile = "full"
seeds = 0  # networks per regime; 0: as many as the study has

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch

from robexpl import metrics
from robexpl.generators import ecco
from robexpl.pipeline import publish, style
from robexpl.study import estimates, frames, grid, sizes, thesis
from robexpl.study.sizes import STOPS

study = sizes.load(profile, dataset, seeds)
page = publish.Page("rq1", study)
style.use()

# %% [markdown]
# ## The answer
#
# All statements are about the condition `corrected` (see below) and rest on 95 % intervals over independently trained
# networks. They are checked against the numbers each time this notebook runs: one that is no longer true stops it.

# %%
searched = frames.counterfactuals(grid.main(study))
means = estimates.with_thesis(estimates.summaries(searched), thesis.implausibilities(dataset))
differences = page.table(estimates.differences(searched, estimates.TO_STANDARD), "differences")

# %% tags=["conclusions", "image"]
corrected = differences[differences["condition"] == "corrected"]
dtc, gcc = (corrected[corrected["stop"] == f"{stop}"] for stop in ("decision_threshold", "generator_conditions"))
page.holds(
    "Yes. At the decision boundary and under the generator conditions the counterfactuals of every robust network are "
    "significantly more plausible than those of the standard network.",
    (dtc["side"] == "lower").all() and (gcc["side"] == "lower").all(),
)

# %% tags=["conclusions", "tabular"]
corrected = differences[differences["condition"] == "corrected"]
dtc, gcc = (corrected[corrected["stop"] == f"{stop}"] for stop in ("decision_threshold", "generator_conditions"))
page.holds(
    "It depends on where one looks. At the decision boundary the counterfactuals of every robust network are "
    "significantly more plausible than those of the standard network.",
    (dtc["side"] == "lower").all(),
)
page.holds(
    "Under the generator conditions it is the other way round: the counterfactuals of the medium and the strong "
    "network are significantly less plausible than those of the standard network. Those of the weak network do not "
    "differ significantly.",
    gcc.set_index("regime")["side"].to_dict() == {"weak": "unclear", "medium": "higher", "strong": "higher"},
)

# %% [markdown]
# ## The method on five factuals
#
# A *faithful* counterfactual shows what the network itself takes for the target class. ECCo (Altmeyer et al., 2024;
# thesis, equation 4, without its conformal term) finds it by gradient descent on
#
# $$ \mathrm{CE}(f(z), t) + \lambda_1 \|z - x\|_1 + \lambda_2 \bigl(-f_t(z) + \rho f_t(z)^2\bigr), $$
#
# with $x$ the factual, $z$ the counterfactual, $f$ the logits and $t$ the target class. The last term is least at
# $f_t = 1 / (2\rho) = 5$. The search stops at the first point whose target probability is at least 0.5 (*decision
# threshold*, DTC), or when besides no component of the gradient exceeds 0.01 (*generator conditions*, GCC).
# Implausibility is the mean distance to the $k$ nearest training points of the target class: lower is more plausible.

# %% tags=["tol-1"]
condition = sizes.primary()
network = grid.of_seed(study, condition)["strong"]
data, model = network.data.load(), network.model()
x, target = data.x_test[:5], (data.y_test[:5] + 1) % data.n_classes  # (5, d), (5,)

generator = torch.Generator().manual_seed(0)
settings = study.search(condition.name)
found = ecco.search(model, x, target, settings=settings, stop=STOPS[0], bounds=data.bounds, generator=generator)
scores = metrics.implausibility(
    found.x, target, data.x_train, data.y_train, distance=study.distance, k=study.k, image_shape=data.image_shape
)
pd.DataFrame({"target": target, "probability": found.target_prob, "steps": found.steps, "implausibility": scores})

# %% [markdown]
# The study does this for every network, condition and stopping criterion. The conditions differ in the networks, in the
# weight $\lambda_2$ (`energy`) and in the descent: `as_run` is the author's code, `as_written` the text of the thesis,
# `corrected` good practice.

# %%
settings = {c.name: vars(study.search(c.name)) for c in sizes.conditions()}
settings = pd.DataFrame(settings).rename_axis("setting").reset_index()
page.table(settings.melt("setting", var_name="condition"), "settings", show=False)
settings

# %% [markdown]
# ## The data
#
# One row per counterfactual. A factual counts where the network classifies it correctly (`corrected`: where all four
# networks of a seed do).

# %%
columns = ["condition", "regime", "stop", "label", "target", "counted", "target_prob", "steps", "l1", "implausibility"]
searched.groupby("condition", sort=False).head(2)[columns].round(3)

# %%
page.table(means, "means", show=False)
chosen = means["condition"] == condition.name
means[chosen][["stop", "regime", "mean", "low", "high", "sd", "validity", "converged", "steps", "n", "n_seeds"]].round(
    3
)

# %% [markdown]
# ## Robust against standard
#
# The same factuals, so differences are paired: robust minus standard, below zero where the robust network has the more
# plausible counterfactuals.

# %%
fig, axes = plt.subplots(1, 2, figsize=(style.PAGE, 2.4), sharey=True, layout="constrained")
for ax, stop in zip(axes, STOPS, strict=True):
    rows = differences[differences["stop"] == stop]
    style.points(ax, rows, x="mean", y="regime", hue="condition")
    ax.axvline(0, color=style.FADED, linewidth=0.8)
    ax.set(title=f"{data.title}, {style.STOP_TITLES[stop]}", xlabel="robust \N{MINUS SIGN} standard, implausibility")
page.figure(fig, "differences", alt="Paired differences in implausibility between robust and standard networks")

# %% [markdown]
# ## Plausibility and its scale
#
# The means behind the differences. A distance needs points to compare with: the dotted lines are the scores of real
# test points of the target class, of the factuals themselves, of a point without content (a blank image, or the median
# of the training rows) and of factuals with the initialisation noise of the search. Notebook `anchors` is about them.

# %%
points = frames.reference(grid.reference(study))
known = estimates.means(points, ["condition", "point"]).query("condition == @condition.name")
called = {"real": "real points", "blank": "no content", "factual": "factuals", "noisy": "factuals + noise"}
known = known[known["point"].isin(called)].assign(title=known["point"].map(called))
fig, axes = plt.subplots(1, 2, figsize=(style.PAGE, 3.0), sharey=True, layout="constrained")
for ax, stop in zip(axes, STOPS, strict=True):
    style.points(ax, means[chosen & (means["stop"] == stop)], x="mean", y="regime")
    style.reference_lines(ax, known)
    style.panel(ax, data.title, stop, xlabel="implausibility (lower is more plausible)")
page.figure(fig, "means", alt="Mean implausibility by training regime and stopping criterion, with reference points")

# %% [markdown]
# ## Does the search converge?
#
# The descent has a fixed step $\eta$. Where a network is linear, one step multiplies the distance of the target logit
# from $1 / (2\rho)$ by $1 - c$, with $c = 2 \eta \lambda_2 \rho \|\nabla f_t\|^2$: beyond $c = 2$ the search diverges.
# Standard networks have large input gradients. So we measure $c$ at the factuals, and repeat one run of the conditions
# with the default step at the same step budget: ten times as many steps, a tenth as long.

# %%
steps = frames.convergence(grid.main(study, stops=STOPS[1:]))
own = steps[steps["correct"]].assign(beyond=steps["factor"] > 2).groupby(["condition", "regime"], sort=False)
convergence = own.agg(
    factor=("factor", "median"),
    beyond=("beyond", "mean"),
    validity=("valid", "mean"),
    mean=("implausibility", "mean"),
    n=("valid", "size"),
)
page.table(convergence.reset_index(), "convergence", show=False)
convergence.round(3)

# %%
again = frames.counterfactuals(grid.step_budget(study)).drop(columns="steps").rename(columns={"steps_are": "steps"})
step_budget = estimates.means(again[again["counted"]], ["condition", "regime", "steps"])
page.table(step_budget, "step_budget", show=False)
pair = [("strong", "standard")]
step_budget_differences = estimates.differences(again, pair, ["condition", "steps"])
page.table(step_budget_differences, "step_budget_differences", show=False)
step_budget_differences[["condition", "steps", "mean", "low", "high", "n", "n_seeds", "side"]].round(3)

# %% tags=["conclusions", "image"]
gap = step_budget_differences.set_index(["condition", "steps"])
fixed, finer = gap.loc[("as_run", "fixed")], gap.loc[("as_run", "finer")]
page.holds(
    "In the condition `as_run` most searches in the standard network start where the fixed step diverges, and the step "
    "size makes part of the gap: with the same step budget in finer steps the difference between the strong and the "
    f"standard network goes from {fixed['mean']:+.3f} [{fixed['low']:.3f}, {fixed['high']:.3f}] to "
    f"{finer['mean']:+.3f} [{finer['low']:.3f}, {finer['high']:.3f}].",
    convergence.query("condition == 'as_run' and regime == 'standard'")["beyond"].item() > 0.5
    and fixed["high"] < finer["low"]
    and finer["side"] == "lower",
)

# %% [markdown]
# ## A look at the counterfactuals
#
# Test rows drawn by seed among those that all four networks of the first seed classify correctly, in the condition
# `corrected`.

# %%
seen, factuals, found = frames.images(grid.gallery(study))
gallery = seen[["row", "label", "target", "stop", "regime", "implausibility", "target_prob", "valid"]]
_ = page.table(gallery, "gallery", show=False)

# %% tags=["image"]
order = [(stop, regime) for stop in STOPS for regime in style.ordered(seen["regime"])]
score = seen.set_index(["stop", "regime", "row"])
rows = seen["row"].unique()
pictures = [p[i].view(data.image_shape) for i in range(len(rows)) for p in (factuals, *(found[key] for key in order))]
cells = [score.loc[(*key, row)] for row in rows for key in order]
texts = [f"{c['implausibility']:.2f}" + ("" if c["valid"] else " failed") for c in cells]
names = [style.title(regime) for _, regime in order]
titles = ["factual", *(f"{n}\n{t}" for n, t in zip(names, texts, strict=False))]
for i in range(1, len(rows)):
    titles += [f"to {data.class_names[cells[i * 8]['target']]}", *texts[i * 8 : i * 8 + 8]]
fig = style.images(pictures, titles, columns=9)
fig.suptitle(f"{data.title}: factuals, then DTC (4 columns) and GCC (4 columns), with implausibility", fontsize=8)
page.figure(fig, "gallery", alt="Counterfactual digits by factual, stopping criterion and training regime")

# %% tags=["tabular"]
known = {(stop, regime): found[stop, regime][:1] for stop in STOPS for regime in ("standard", "strong")}
known = {("", "factual"): factuals[:1], **known}
house = pd.DataFrame({key: data.original(x)[0].numpy() for key, x in known.items()}, index=list(data.feature_names))
scaled = pd.DataFrame({key: x[0].numpy() for key, x in known.items()}, index=house.index)
change = scaled.sub(scaled["", "factual"], axis=0)
tall = house.rename_axis("feature").melt(ignore_index=False, var_name=["stop", "regime"]).reset_index()
tall["change"] = change.melt()["value"]  # in standard deviations
_ = page.table(tall, "example", show=False)
house.loc[change.abs().max(axis=1).nlargest(8).index].round(2)

# %% [markdown] tags=["tabular"]
# *One factual and its counterfactuals by stopping criterion and network, in the units that the data were measured in:
# the eight features that change most, in standard deviations, under any of them.*

# %% [markdown]
# ## In short

# %% tags=["conclusions", "image"]
row = corrected.set_index(["stop", "regime"]).loc[("generator_conditions", "strong")]
page.holds(
    "On MNIST adversarial training makes counterfactuals more plausible at the boundary and under the generator "
    "conditions, in every condition; under the latter the strongest adversary lowers implausibility by "
    f"{-row['mean']:.3f} [{-row['high']:.3f}, {-row['low']:.3f}].",
    (differences["side"] == "lower").all(),
)

# %% tags=["conclusions", "tabular"]
rows = corrected.set_index(["stop", "regime"])
near, far = rows.loc[("decision_threshold", "strong")], rows.loc[("generator_conditions", "strong")]
page.holds(
    "On California Housing the strong network's counterfactuals are more plausible than the standard network's at the "
    f"boundary ({near['mean']:+.2f} [{near['low']:.2f}, {near['high']:.2f}]) and less plausible under the generator "
    f"conditions ({far['mean']:+.2f} [{far['low']:.2f}, {far['high']:.2f}]).",
    near["side"] == "lower" and far["side"] == "higher",
)
