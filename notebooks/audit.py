# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does our code measure what the thesis measured?
#
# The author published the eight trained networks behind Table 1 of the thesis. With them nothing is left to training:
# whatever differs from the reported figures differs in the attack, in the search or in the measure. This notebook
# attacks and searches these networks as the author's code does, compares all 24 accuracies and 16 implausibilities of
# Table 1, and asks the reported figures which value they were made with where the text of the thesis leaves a setting
# open. [table1](table1.ipynb) makes the same comparison with networks of our own.

# %% tags=["parameters"]
profile = "full"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from robexpl import attacks, metrics, models
from robexpl.pipeline import publish, style
from robexpl.study import audit, estimates, frames, grid, sizes, thesis
from robexpl.study.sizes import STOPS

study = sizes.whole(profile)
page = publish.Page("audit", study)
titles = {one.dataset: one.load().title for one in study.both}
style.use()

# %% [markdown]
# ## The answer
#
# Each statement is checked against the numbers whenever this notebook runs, and stops it where it is no longer true.

# %%
searched = {one: frames.counterfactuals(audit.cells(one)) for one in study.both}
keys = ["dataset", "factor", "stop", "regime"]
found = []
for one, rows in searched.items():
    theirs = thesis.implausibilities(one.dataset, files=True)  # as in the author's files, with more digits
    gradient = rows[rows["counted"]].groupby(keys)["gradient_max"].median()
    summary = estimates.with_thesis(estimates.summaries(rows, keys), theirs)
    found.append(summary.join(gradient, on=keys))
cells = page.table(pd.concat(found, ignore_index=True), "cells", show=False)

# %% tags=["conclusions"]
within = cells.assign(within=cells["z"].abs() <= 2).groupby("factor")["within"].sum()
page.holds(
    f"Yes, at twice the stated energy weight: all {within[2]} implausibilities of Table 1 then lie within two combined "
    f"standard deviations of ours. At the weight that the text states, {within[1]} of the 16 do.",
    within[2] == 16 and within[1] < 16,
)
order = cells[(cells["dataset"] == "california") & (cells["stop"] == "generator_conditions")]
order = order.sort_values("mean").groupby("factor")["regime"].agg(list)
page.holds(
    "The weight decides what one concludes about tabular data under the generator conditions. On California Housing "
    "the standard network has the most plausible counterfactuals at twice the stated weight, as the thesis reports. At "
    "the stated weight the strong network has, and the standard one comes second.",
    order[2][0] == "standard" and order[1][:2] == ["strong", "standard"],
)

# %% [markdown]
# ## The method on one network
#
# One of the author's networks, one step of the fast gradient sign method,
# $x' = x + \epsilon \operatorname{sgn} \nabla_x \mathcal{L}(x, y)$, and the accuracy that is left, beside the reported
# one.

# %%
data, model = study.image.load(), models.pretrained(study.image.dataset, "strong", source="author")
eps = dict(sizes.evaluation()["fgsm"].settings)["eps"]
x, y = data.x_test, data.y_test  # (n, d), (n,)
attacked = attacks.fgsm(model, x, y, eps=eps, bounds=data.bounds)
reported = thesis.accuracies(study.image.dataset).set_index(["regime", "attack"])["thesis"]
{"ours": metrics.accuracy(model, attacked, y), "reported": float(reported["strong", "fgsm"])}

# %% [markdown]
# ## Accuracy
#
# Clean accuracy and FGSM involve no chance. On MNIST the test set is the author's, and so ours must agree to the
# reported digit, up to one unit in the last place: some of the reported figures were rounded and some cut. Of
# California Housing the author and we have different samples of the same table, and so the reported figure should lie
# within our 95 % interval.

# %%
tests = pd.concat([frames.attacked(audit.attacks(one)) for one in study.both], ignore_index=True)
ours = estimates.accuracies(tests, ["dataset", "regime", "attack"])
reported = pd.concat([thesis.accuracies(one.dataset).assign(dataset=one.dataset) for one in study.both])
reported = reported.drop(columns="file")
accuracy = ours.merge(reported, on=["dataset", "regime", "attack"], how="left", validate="one_to_one")
page.table(accuracy, "accuracy", show=False)
accuracy.pivot_table(index=["dataset", "regime"], columns="attack", values=["mean", "thesis"], sort=False).round(3)

# %% tags=["conclusions"]
exact = accuracy[accuracy["attack"].isin(["clean", "fgsm"])]
gap, images = (exact["mean"] - exact["thesis"]).abs(), exact["dataset"] == "mnist"
inside = exact["thesis"].between(exact["low"], exact["high"])
page.holds(
    "All eight clean and FGSM accuracies on MNIST agree with the reported digits, and all eight on California Housing "
    "lie within our intervals.",
    (gap[images] <= 0.001).all() and inside[~images].all() and len(exact) == 16,
)

# %% [markdown]
# The thesis' text describes an attack that is projected back onto the ball of radius $\epsilon$ after each step. The
# author's code stops instead, for each example, as soon as any of its inputs has moved by $\epsilon$: one input that
# moves straight ahead ends the attack on all the others. `typical` is the median move among the inputs of an example,
# `over` the share of examples that end outside the ball.

# %%
columns = ["dataset", "regime", "steps", "radius", "typical", "nominal", "over"]
perturbation = page.table(tests.query("attack == 'pgd_early_stop'")[columns], "perturbation", show=False)
perturbation.round(3)

# %% tags=["conclusions"]
wide = accuracy.pivot(index=["dataset", "regime"], columns="attack", values="mean")
weaker = (wide["pgd_early_stop"] > wide["fgsm"]).groupby("dataset").sum()
page.holds(
    "The attack that stops early takes 18 to 19 of its 26 steps and leaves the ball in nearly every example, and yet "
    "it is the weaker one: it leaves more accuracy than the projected attack in each of the eight networks. On "
    "California Housing it leaves more than the single step of FGSM in all four networks.",
    perturbation["steps"].between(17.5, 19.5).all()
    and (perturbation["over"] > 0.99).all()
    and (wide["pgd_early_stop"] > wide["pgd_projected"]).all()
    and weaker["california"] == 4
    and weaker["mnist"] == 0,
)

# %% [markdown]
# ## What rounding does to the attacks
#
# Both attacks follow the sign of the gradient of the cross-entropy. With respect to the logits this gradient is
# $\operatorname{softmax}(f) - e_y = (1 - p_y)(q - e_y)$, with $q$ the softmax over the classes other than $y$. Where a
# network is so sure of the true class that $p_y$ rounds to 1, single precision loses the entry of that class, and the
# sign of what is left points elsewhere. The sign of $q - e_y$ is the exact one, whatever the scale of the logits. The
# table has the accuracy under each attack with the direction as single and as double precision leave it, and with the
# exact one; `saturated` is the share of test rows whose probability rounds to 1 in single precision.

# %%
measured = pd.concat([frames.attacked(audit.directions(one)) for one in study.both], ignore_index=True)
directions = estimates.accuracies(measured, ["dataset", "regime", "attack", "direction"])
sure = {}
for one in study.both:
    for regime in directions["regime"].unique():
        known = audit.author(one, regime).data.load()
        probability = torch.softmax(audit.author(one, regime).model()(known.x_test).detach(), 1)  # (n, classes)
        sure[one.dataset, regime] = float((probability.gather(1, known.y_test[:, None]) == 1).double().mean())
directions["saturated"] = [sure[key] for key in zip(directions["dataset"], directions["regime"], strict=True)]
page.table(directions, "directions", show=False)
directions.pivot_table(index=["dataset", "regime", "saturated"], columns=["attack", "direction"], values="mean").round(
    4
)

# %% tags=["conclusions"]
fgsm = directions[(directions["attack"] == "fgsm") & (directions["dataset"] == "mnist")]
fgsm = fgsm.pivot(index="regime", columns="direction", values="mean")
weak, strong = fgsm.loc["weak"], fgsm.loc["strong"]
page.holds(
    "The FGSM accuracies that the thesis reports for the standard and the weak network on MNIST are artefacts of "
    f"rounding: with the exact direction the weak network keeps {weak['exact']:.4f} instead of "
    f"{weak['single precision']:.4f}, and the standard one {fgsm.loc['standard', 'exact']:.4f} instead of "
    f"{fgsm.loc['standard', 'single precision']:.4f}. Those of the medium and the strong network are not.",
    weak["exact"] < 0.5 * weak["single precision"]
    and fgsm.loc["standard", "exact"] < 0.1 * fgsm.loc["standard", "single precision"]
    and (fgsm["exact"] - fgsm["single precision"]).abs()[["medium", "strong"]].max() < 0.002,
)

# %% [markdown]
# The same direction is followed in adversarial training, where rows of which the network is sure then meet an
# adversary that points elsewhere. Networks of the condition `corrected` and the same networks trained with the
# direction as single precision leaves it, attacked with the exact one:

# %%
retrained = pd.concat([frames.attacked(audit.trained_attacks(one)) for one in study.both], ignore_index=True)
training_directions = estimates.accuracies(retrained, ["dataset", "regime", "trained", "attack"])
page.table(training_directions, "training_directions", show=False)
again = pd.concat([frames.counterfactuals(audit.trained_searches(one)) for one in study.both], ignore_index=True)
scores = again[again["counted"]].rename(columns={"trained": "way"})
training_scores = estimates.means(scores, ["dataset", "regime", "way", "stop"]).rename(columns={"way": "trained"})
page.table(training_scores, "training_scores", show=False)
wide = training_directions.pivot_table(index=["dataset", "regime", "trained"], columns="attack", values="mean")
wide.join(training_scores.pivot_table(index=["dataset", "regime", "trained"], columns="stop", values="mean")).round(3)

# %% [markdown]
# ## Implausibility at two energy weights
#
# The search minimises
# $\mathrm{CE}(f(z), t) + \lambda_1 \|z - x\|_1 + \lambda_2 \bigl(-f_t(z) + \rho f_t(z)^2\bigr)$ (thesis, equation 4,
# without its conformal term). We run it with the energy weight $\lambda_2 = 0.5$ that the text states and with twice
# that weight, all else as in the author's code: five runs of 100 factuals per network and criterion. One row per
# counterfactual:

# %%
columns = ["dataset", "factor", "stop", "regime", "run", "row", "target", "counted", "converged", "implausibility"]
searched[study.image][columns].head(3).round(3)

# %% [markdown]
# The difference to the reported mean is measured in standard deviations over runs, ours and the reported one together:
# $z = (m - m_\text{thesis}) / \sqrt{s^2 + s_\text{thesis}^2}$.

# %%
fig, axes = plt.subplots(1, 2, figsize=(style.PAGE, 2.5), sharex=True, sharey=True, layout="constrained")
short = {"decision_threshold": "DTC", "generator_conditions": "GCC"}
for ax, (name, rows) in zip(axes, cells.groupby("dataset", sort=False), strict=True):
    names = [f"{short[stop]}, {style.title(regime)}" for stop, regime in zip(rows["stop"], rows["regime"], strict=True)]
    ax.axvspan(-2, 2, color="#EEF2F5", zorder=0)
    for factor, face, label in ((1, "white", "stated energy weight"), (2, style.INK, "twice that weight")):
        here = rows["factor"] == factor
        labels = pd.Series(names, index=rows.index)[here]
        ax.plot(rows["z"][here], labels, "o", color=style.INK, markerfacecolor=face, label=label)
    style.panel(ax, titles[name], xlabel="z of our mean against the thesis")
axes[0].invert_yaxis()
style.legend(fig)
page.figure(fig, "scores", alt="Implausibility in the author's networks against the thesis at two energy weights")

# %% tags=["conclusions"]
worst = cells.loc[cells[cells["factor"] == 1]["z"].abs().idxmax()]
most = cells[cells["factor"] == 2]["z"].abs().max()
page.holds(
    "At the stated weight the farthest is the standard network on MNIST under the generator conditions: we find "
    f"{worst['mean']:.3f}, where the thesis reports {worst['thesis_mean']:.3f} (z = {worst['z']:.1f}). "
    f"At twice that weight the largest z is {most:.1f} in size.",
    tuple(worst[["dataset", "stop", "regime"]]) == ("mnist", "generator_conditions", "standard") and most < 2,
)

# %% [markdown]
# ## Do independent classifiers recognise the target class?
#
# A short distance to training points does not say that a counterfactual shows its class. So we ask classifiers that
# were trained with noise and are never explained (the oracle of notebook [measures](measures.py)): `mean` is one
# minus the probability that they give the target class, at twice the stated energy weight. Real points of the class
# would score near 0.

# %%
judged = pd.concat([frames.counterfactuals(audit.judged(one)) for one in study.both], ignore_index=True)
oracle = estimates.means(judged[judged["counted"]], ["dataset", "stop", "regime"])
page.table(oracle, "oracle", show=False)
oracle.pivot_table(index=["dataset", "regime"], columns="stop", values="mean", sort=False).round(3)

# %% tags=["conclusions"]
beyond = oracle[oracle["stop"] == "generator_conditions"].set_index(["dataset", "regime"])
image, tabular = beyond.loc["mnist"], beyond.loc["california"]
page.holds(
    "Under the generator conditions they find the target class most often in the counterfactuals of the strong "
    f"network, on MNIST ({image.loc['strong', 'mean']:.2f}, in the standard network "
    f"{image.loc['standard', 'mean']:.2f}) and on California Housing ({tabular.loc['strong', 'mean']:.2f} and "
    f"{tabular.loc['standard', 'mean']:.2f}), where the thesis finds the standard network the most plausible one.",
    all(one.loc["strong", "high"] < one.drop("strong")["low"].min() for one in (image, tabular))
    and tabular["mean"].idxmax() == "standard",
)
page.holds(
    "At the decision threshold they find it most often in those of the standard network, on both datasets.",
    all(
        rows.set_index("regime")["mean"].idxmin() == "standard"
        for _, rows in oracle[oracle["stop"] == "decision_threshold"].groupby("dataset")
    ),
)

# %% [markdown]
# ## Which settings produced the reported figures?
#
# If the cells were independent and normal, $\sum z^2$ would be minus twice the log-likelihood, up to a constant. We
# vary one setting at a time and let the sixteen reported means choose: the energy weight $\lambda_2$, and at
# $\lambda_2 = 1.0$ the factor $\rho$ of the quadratic logit penalty (`reg`) and the standard deviation of the
# initialisation noise, which the text does not mention. There is one run of $n$ factuals per cell, hence
# $z = (m - m_\text{thesis}) / \sqrt{s^2 / n + s_\text{thesis}^2 / 5}$ with $s$ over factuals. `compatible` are values
# within 3.84 of the least sum, the 95 % quantile of $\chi^2$ with one degree of freedom.

# %%
sums = []
for one in study.both:
    rows = frames.counterfactuals(audit.profile(one)).query("counted")
    own = rows.groupby(["setting", "value", "stop", "regime"], sort=False)["implausibility"]
    own = own.agg(["mean", "std", "size"])
    theirs = thesis.implausibilities(one.dataset, files=True).set_index(["stop", "regime"])
    both = own.join(theirs.rename(columns={"mean": "reported"}))
    spread = np.hypot(both["std"] / np.sqrt(both["size"]), both["sd"] / np.sqrt(5))
    z = (both["mean"] - both["reported"]) / spread
    sums.append((z**2).groupby(["setting", "value"], sort=False).sum())

# %%
wide = pd.DataFrame({"all": sums[0] + sums[1], "image": sums[0], "tabular": sums[1]}).reindex(sums[0].index)
tall = wide.rename_axis(columns="cells").stack().rename("sum_z2").reset_index()
least = tall.groupby(["setting", "cells"])["sum_z2"].transform("min")
tall = tall.assign(best=tall["sum_z2"] == least, compatible=tall["sum_z2"] <= least + 3.84)
tall = tall[["setting", "value", "cells", "sum_z2", "best", "compatible"]]
profile = page.table(tall, "profile", show=False)  # from here on the profile of the likelihood

# %%
fig, axes = plt.subplots(1, 3, figsize=(style.PAGE, 2.3), sharey=True, layout="constrained")
names = {"energy": "energy weight", "reg": "quadratic logit penalty", "start_noise": "initialisation noise (SD)"}
called = {"all": "both datasets, 16 cells", **{one.kind: f"{titles[one.dataset]}, 8 cells" for one in study.both}}
for ax, (setting, rows) in zip(axes, profile.groupby("setting", sort=False), strict=True):
    for (kind, label), marker, colour in zip(called.items(), "osD", (style.INK, *style.OTHERS[:2]), strict=True):
        here = rows[rows["cells"] == kind]
        ax.plot(here["value"], here["sum_z2"], marker=marker, color=colour, label=label)
        fitting = here[here["compatible"]]
        ax.plot(fitting["value"], fitting["sum_z2"], marker, color=colour, markersize=8, fillstyle="none")
    ax.set(xlabel=names[setting], yscale="log")
    ax.locator_params(axis="x", nbins=5)
axes[0].set_ylabel("sum of z squared")
style.legend(fig)
page.figure(fig, "profile", alt="Agreement with the reported figures as one setting of the search varies")

# %% [markdown]
# Larger hollow marks around a value say that it is compatible with the figures.

# %% tags=["conclusions"]
energy = profile[profile["setting"] == "energy"].set_index(["cells", "value"])
fits = {name: energy[energy["compatible"]].loc[name].index.tolist() for name in ("all", "image", "tabular")}
page.holds(
    "The reported figures fit an energy weight of about twice the stated 0.5. All sixteen together are compatible with "
    f"1.1 and 1.2 (sum of squared z {energy.loc[('all', 1.1), 'sum_z2']:.0f}, against "
    f"{energy.loc[('all', 0.5), 'sum_z2']:.0f} at 0.5); those of MNIST, where networks and data are the author's, with "
    "1.0 and 1.1; those of California Housing, where we have another sample of the data, with 1.2 and 1.5. Why the "
    "weight in effect differs from the stated one we do not know.",
    fits == {"all": [1.1, 1.2], "image": [1.0, 1.1], "tabular": [1.2, 1.5]},
)
others = profile[(profile["setting"] != "energy") & profile["best"] & (profile["cells"] == "image")]
page.holds(
    "The defaults of the author's library, a quadratic logit penalty of 0.1 and initialisation noise of 0.1, fit best "
    "of the values tried. The figures of California Housing alone are compatible with every noise that was tried.",
    others["value"].tolist() == [0.1, 0.1]
    and profile[(profile["setting"] == "start_noise") & (profile["cells"] == "tabular")]["compatible"].all(),
)

# %% [markdown]
# ## Runs that the thesis does not report
#
# The author's repository holds further runs on California Housing, at an energy weight of 0.1. If the weight in effect
# is about twice the stated one, our results at 0.2 should be nearer to them than those at 0.1.

# %%
rows = frames.counterfactuals(audit.unreported(study.tabular)).query("stop == 'generator_conditions'")
keys = ["dataset", "energy", "stop", "regime"]
theirs = thesis.unreported().rename(columns={"mean": "thesis_mean"}).drop(columns="energy")
ours = estimates.summaries(rows, keys)[[*keys, "mean", "sd"]]
unreported = page.table(ours.merge(theirs, on=["dataset", "stop", "regime"], how="left"), "unreported", show=False)
unreported.pivot_table(index=["regime", "thesis_mean"], columns="energy", values="mean", sort=False).round(3)

# %% tags=["conclusions"]
gap = (unreported["mean"] - unreported["thesis_mean"]).abs().groupby(unreported["energy"]).agg(list)
lowest = unreported.sort_values("thesis_mean")["regime"].iloc[0]
page.holds(
    "Ours at 0.2 are the nearer ones for all four networks. In these runs of the author the strong network has the "
    "most plausible counterfactuals: at this weight the tabular finding of the thesis does not hold in its own data.",
    all(near < far for near, far in zip(gap[0.2], gap[0.1], strict=True)) and lowest == "strong",
)

# %% [markdown]
# ## How the searches under the generator conditions end
#
# The generator conditions ask that every component of the gradient is at most 0.01 in size. The distance term alone
# contributes $\pm\lambda_1$ wherever $z \ne x$, so that with $\lambda_1 = 0.01$ (MNIST) or $0.1$ (California Housing)
# steps of a fixed length can hardly meet them.

# %% tags=["conclusions"]
rows = cells[(cells["factor"] == 2) & (cells["stop"] == "generator_conditions")]
low, high = rows["target_logit"].min(), rows["target_logit"].max()
page.holds(
    f"None of {rows['n'].sum():,} searches met them: all ended at the limit of 1,000 steps. The mean target logit of a "
    f"network is then between {low:.1f} and {high:.1f}, near the 5 at which the energy term is least. To this term the "
    "region of maximum likelihood is the set of points with about that target logit.",
    (rows["converged"] == 0).all() and (rows["steps"] == 1000).all() and low > 3.5 and high < 5.5,
)

# %% [markdown]
# ## Does the search diverge in the author's networks, too?
#
# Where a network is linear, one step multiplies the distance of the target logit from the 5 of the energy term by
# $1 - c$, and the search diverges where $c = 2 \eta \lambda_2 \rho \|\nabla f_t\|^2$ is above 2 (notebook
# [rq1](rq1.py)). `factor` is the median of $c$ over the factuals, `beyond` the share of them above 2, `validity` and
# `target_logit` how the searches end. Networks of the first seed, trained anew as the author's code does, stand beside.

# %%
found = []
for one in study.both:
    anew = [entry for entry in grid.main(one, ("as_run",), STOPS[1:]) if dict(entry.labels)["seed"] == one.first]
    theirs = [
        entry for entry in audit.cells(one) if entry.search.stop == STOPS[1] and dict(entry.labels)["factor"] == 2
    ]
    for origin, entries in (("author", theirs), ("trained anew", anew)):
        steps = frames.convergence(entries).query("correct")
        steps = steps.assign(dataset=one.dataset, origin=origin, beyond=steps["factor"] > 2)
        ends = {"factor": ("factor", "median"), "beyond": ("beyond", "mean"), "validity": ("valid", "mean")}
        ends |= {"target_logit": ("target_logit", "mean"), "n": ("valid", "size")}
        found.append(steps.groupby(["dataset", "origin", "regime"], sort=False).agg(**ends).reset_index())
convergence = page.table(pd.concat(found, ignore_index=True), "convergence", show=False)
convergence.set_index(["dataset", "regime", "origin"]).sort_index(level=[0, 1], sort_remaining=False).round(2)

# %% [markdown]
# The counts that other parts of the study use:

# %%
exact = accuracy[accuracy["attack"].isin(["clean", "fgsm"])]
gap, images = (exact["mean"] - exact["thesis"]).abs(), exact["dataset"] == study.image.dataset
inside = exact["thesis"].between(exact["low"], exact["high"])
wide = accuracy.pivot(index=["dataset", "regime"], columns="attack", values="mean")
above = wide["pgd_early_stop"] > wide["fgsm"]
gcc = cells.query("factor == 2 and stop == 'generator_conditions'").assign(met=lambda f: f["converged"] * f["n"])
ended = {"searches": gcc["n"].sum(), "converged": round(gcc["met"].sum())}
ended |= {"logit_low": gcc["target_logit"].min(), "logit_high": gcc["target_logit"].max()}
within = (cells["z"].abs() <= 2).groupby(cells["factor"]).sum()
farthest = cells.loc[cells["z"].abs().groupby(cells["factor"]).idxmax()].rename(columns={"z": "value"})

# %%
image, tabular, place = study.image.dataset, study.tabular.dataset, ["dataset", "factor", "stop", "regime", "value"]
counts = [
    {"finding": "accuracies_equal", "dataset": image, "value": (gap[images] <= 0.001).sum(), "of": images.sum()},
    {"finding": "accuracies_within", "dataset": tabular, "value": inside[~images].sum(), "of": (~images).sum()},
    *({"finding": "pgd_above_fgsm", "dataset": name, "value": above[name].sum(), "of": 4} for name in titles),
    *({"finding": "within_2", "factor": factor, "value": n, "of": 16} for factor, n in within.items()),
    *({"finding": "worst_z", **row} for row in farthest[place].to_dict("records")),
    *({"finding": f"gcc_{k}", "factor": 2, "stop": "generator_conditions", "value": v} for k, v in ended.items()),
]
findings = pd.DataFrame(counts)[["finding", *place, "of"]]
_ = page.table(findings, "findings", show=False)

# %% [markdown]
# ## In short

# %% tags=["conclusions"]
found = findings.set_index(["finding", "factor"])["value"]
page.holds(
    "Our attacks, search and measure give what the author's gave: on the author's networks "
    f"{found['within_2', 2]:.0f} of the 16 reported implausibilities are reproduced within two standard deviations at "
    f"twice the stated energy weight, and {found['within_2', 1]:.0f} of 16 at the stated one. The settings in the text "
    "are thus not those of the figures.",
    found["within_2", 2] == 16 and found["within_2", 1] < 15,
)
