# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # Do we measure what the thesis measured? Our code on the author's own networks
#
# *Expected time: 5 to 8 minutes on two cores, by machine. Needs the author's eight networks (fetched with checksums).*
#
# **The claim examined** (thesis, Table 1 and sections 4.2, 4.3). All of it, in a way that a reproduction with networks
# of its own cannot: the author published the eight trained networks behind Table 1, so nothing is left to training.
# Whatever differs now differs in the attack, in the search or in the measure. And where the text leaves a setting
# open, the figures themselves can be asked which value made them.

# %% tags=["parameters"]
profile = "full"

# %%
import pandas as pd
from IPython.display import Markdown

from robexpl.artifacts import Output
from robexpl.ecco import Settings
from robexpl.regimes import EVALUATION, REGIME_NAMES, REGIMES
from robexpl.report import audit, auditplots, plots, study, tables, words

sizes = study.profile(profile)
output = Output("audit", profile)
plots.use_style()
datasets = audit.kinds(sizes)
titles = {kind: audit.subject(dataset, "standard").load_data().title for kind, dataset in datasets.items()}

# %% [markdown]
# ## Robustness: twenty-four accuracies
#
# Clean and FGSM accuracies are deterministic. MNIST's test set is the author's, so ours must agree to the printed
# digit. California Housing is another draw of rows from the same table: there the thesis' figure should lie within our
# interval for a sample of that size. The author's PGD starts from noise and stops early; the projected one, the attack
# that the text describes, is the honest column beside it.

# %% tags=["tol-0.004"]
accuracies = audit.accuracy_records(sizes)
shown = {
    (titles[kind], REGIME_NAMES[regime]): {
        **{name: tables.interval(record[name]) for name in study.ATTACKS},
        **{f"thesis {name}": f"{value:.3f}" for name, value in record["thesis"].items()},
    }
    for kind, by_regime in accuracies.items()
    for regime, record in by_regime.items()
}
pd.DataFrame(shown).T

# %%
exact = audit.agreement(accuracies)
above = audit.pgd_above_fgsm(accuracies)
Markdown(
    f"On {titles['image']} **{exact['image']['equal']} of {exact['image']['of']}** deterministic accuracies agree with "
    f"the printed digits (up to one unit in the last place: some figures were rounded or cut before printing). "
    f"On {titles['tabular']} {exact['tabular']['within']} of {exact['tabular']['of']} of the thesis' figures lie "
    "within the 95 % interval of our sample."
)

# %% tags=["check-image"]
_ = output.figure(auditplots.accuracy(accuracies, titles), "accuracy")

# %% [markdown]
# *Accuracies of the author's networks (95 % intervals) and the thesis' figures (diamonds).*
#
# An iterative attack should do at least what one step does: one that loses to its own single step does not measure
# robustness. On the author's networks:

# %%
Markdown(
    f"Under the early-stopped PGD the accuracy is **above** the one under FGSM for {above['tabular']} of "
    f"{len(REGIMES)} networks on {titles['tabular']} and for {above['image']} of {len(REGIMES)} on {titles['image']}. "
    "With projection the accuracy is lower in "
    f"{sum(r['pgd_projected']['mean'] < r['pgd_early_stop']['mean'] for k in accuracies.values() for r in k.values())} "
    f"of {len(REGIMES) * len(datasets)} cases."
)

# %% [markdown]
# ### What the attack really does
#
# The loop ends when the *largest* move of any input reaches $\epsilon$. One input that moves straight ahead ends the
# attack for all the others of that example (in training: of the whole batch).

# %% tags=["tol-0.1"]
perturbation = audit.perturbation(sizes)
pd.DataFrame(
    {
        (titles[kind], REGIME_NAMES[regime]): {
            f"steps taken of {EVALUATION.steps}": record["steps"],
            "largest move": record["radius"],
            "typical move (median)": record["typical"],
            "nominal": record["nominal"],
            "share outside the ball": record["over"],
        }
        for kind, by_regime in perturbation.items()
        for regime, record in by_regime.items()
    }
).T.round(3)

# %% [markdown]
# ## Plausibility: sixteen cells, two energy weights
#
# The search minimises (thesis, Eq. 4 without the conformal term)
#
# $$ \mathrm{CE}(f(z), t) + \lambda_1 \|z - x\|_1 + \lambda_2 \bigl(-f_t(z) + \rho f_t(z)^2\bigr). $$
#
# We run it at the stated $\lambda_2$ and at twice that weight; everything else is as in the author's experiment. Each
# cell is compared as $z = (\text{ours} - \text{thesis}) / \sqrt{s^2 + s_\text{thesis}^2}$, both standard deviations
# over five runs of 100 factuals.

# %% tags=["tol-0.3"]
cells = {f"{factor:g}": audit.cell_records(sizes, factor) for factor in audit.FACTORS}
pd.DataFrame(
    {
        (titles[kind], plots.STOP_SHORT[stop], REGIME_NAMES[regime]): {
            column: value
            for factor, by_kind in cells.items()
            for record in [by_kind[kind][stop][regime]]
            for column, value in (
                (f"{factor} x stated", tables.spread(record)),
                (f"z at {factor} x", f"{record['z']:+.1f}"),
            )
        }
        for kind, stop, regime, _ in audit.flat(cells["1"])
    }
).T

# %%
agree = {factor: audit.within(by_kind) for factor, by_kind in cells.items()}
extreme = {factor: audit.worst(by_kind) for factor, by_kind in cells.items()}
Markdown(
    " ".join(
        f"At {factor} x the stated weight **{agree[factor]} of 16** cells lie within 2 combined SD; the farthest is "
        f"{titles[worst['role']]} {REGIME_NAMES[worst['regime']]} under {plots.STOP_SHORT[worst['stop']]} "
        f"(z = {worst['z']:+.1f})."
        for factor, worst in extreme.items()
    )
)

# %%
_ = output.figure(auditplots.scores(cells, titles), "scores")

# %% [markdown]
# *Every cell of Table 1 at the stated energy weight (hollow) and at twice that weight (filled). Shaded: within two
# combined standard deviations.*
#
# ## Which settings made the figures? A likelihood profile
#
# If cells were independent and normal, $\sum z^2$ would be, up to a constant, minus twice the log-likelihood. We vary
# one setting at a time, with one run of 100 factuals, and let the sixteen published cells choose. The first panel asks
# for the energy weight; the others, at the weight twice the stated one, for the ridge $\rho$ of the energy and for
# the noise on the starting point, which the text does not mention at all.

# %% tags=["tol-3"]
profiles = audit.profiles(sizes)
pd.DataFrame(
    [
        {"setting": name, "value": value, "sum of z squared": total, "best": value == found["best"]}
        for name, found in profiles.items()
        for value, total in zip(found["values"], found["sum_z2"], strict=True)
    ]
).round({"sum of z squared": 1})

# %%
stated = audit.energy(sizes.tabular, sizes, 1)
marks = {
    "energy": {stated: "stated", 2 * stated: "twice the stated"},
    "reg": {0.1: "library default"},
    "start_noise": {0.1: "library default"},
}
_ = output.figure(auditplots.profile(profiles, marks, 16, titles), "profile")

# %% [markdown]
# *Agreement with the sixteen published cells as one setting varies (circle: best; dotted: one per cell, what chance
# would give).*

# %%
best = {name: found["best"] for name, found in profiles.items()}
at_stated = profiles["energy"]["sum_z2"][profiles["energy"]["values"].index(stated)]
spans = {name: words.span(found["compatible"]) for name, found in profiles.items()}
alone = profiles["energy"]["of"]
Markdown(
    f"Of the energy weights tried, the published figures fit best at **{best['energy']:g}** (sum of squared z "
    f"{min(profiles['energy']['sum_z2']):.1f}, against {at_stated:.1f} at the stated {stated:g}); compatible, "
    f"within 3.84 of the least sum, are {spans['energy']}. Twice the stated weight is {2 * stated:g}. The ridge "
    f"fits best at {best['reg']:g} (compatible: {spans['reg']}) and the start noise at {best['start_noise']:g} "
    f"(compatible: {spans['start_noise']}).\n\n"
    f"{titles['image']} alone, where data and networks are exactly the author's, asks for an energy weight of "
    f"{alone['image']['best']:g} (compatible: {words.span(alone['image']['compatible'])}); {titles['tabular']}, where "
    f"we have another sample of rows whose offset all its cells share, for {alone['tabular']['best']:g} (compatible: "
    f"{words.span(alone['tabular']['compatible'])}).\n\nWhy the effective weight differs "
    "from the stated one we do not know, and we assert no cause."
)

# %% [markdown]
# ### The runs that were not printed
#
# The author's repository holds California runs at an energy weight of 0.1 that the thesis does not report. If the
# effective weight is twice the nominal one, ours should match them at 0.2 and not at 0.1.

# %% tags=["tol-0.05"]
unprinted = audit.unprinted(sizes)
pd.DataFrame(
    {
        f"ours at {weight}": {REGIME_NAMES[r]: tables.spread(record) for r, record in by_regime.items()}
        for weight, by_regime in unprinted.items()
    }
    | {"author, unprinted": {REGIME_NAMES[r]: f"{v['thesis']:.3f}" for r, v in unprinted["0.1"].items()}}
)

# %%
theirs = {r: record["thesis"] for r, record in unprinted["0.1"].items()}
lower = [REGIME_NAMES[r] for r in REGIMES if theirs[r] < theirs["standard"]]
nearer = sum(abs(unprinted["0.2"][r]["mean"] - v) < abs(unprinted["0.1"][r]["mean"] - v) for r, v in theirs.items())
Markdown(
    f"Lower than the standard network in those runs: {words.listed(lower) or 'none'}. Of the {len(theirs)} networks "
    f"ours are nearer to the author's at 0.2 in {nearer}."
)

# %% [markdown]
# ## "Maximum likelihood"
#
# GCC asks that every component of the gradient falls below 0.01. The distance term alone contributes
# $\pm\lambda_1$ wherever $z \ne x$, so with $\lambda_1 = 0.01$ or $0.1$ the criterion is hard
# to meet by steps of a fixed length. What ends the search, and where?

# %% tags=["tol-0.1"]
gcc = {kind: by_stop["generator_conditions"] for kind, by_stop in cells["2"].items()}
pd.DataFrame(
    {
        (titles[kind], REGIME_NAMES[regime]): {
            "converged": record["stopped_by"]["gradient"],
            "step limit": record["stopped_by"]["limit"],
            "largest gradient (median)": record["gradient_max"],
            "target logit": record["target_logit"],
        }
        for kind, by_regime in gcc.items()
        for regime, record in by_regime.items()
    }
).T.round(2)

# %%
met = sum(record["stopped_by"]["gradient"] * record["n"] for k in gcc.values() for record in k.values())
total = sum(record["n"] for k in gcc.values() for record in k.values())
logits = [record["target_logit"] for k in gcc.values() for record in k.values()]
Markdown(
    f"Of {total:,} searches {met:.0f} met the criterion; the others ended at the step limit. The target logit ends "
    f"between {min(logits):.1f} and {max(logits):.1f}, and the energy term is least at "
    f"$1/(2\\rho) = {1 / (2 * Settings.reg):g}$: to this term the *region of maximum likelihood* is the set of points "
    "with about that target logit."
)

# %% [markdown]
# ## California: which order of the regimes at which weight?

# %%
order = {factor: tables.order(by_kind["tabular"]["generator_conditions"], REGIMES) for factor, by_kind in cells.items()}
wins = {factor: names.index("strong") < names.index("standard") for factor, names in order.items()}
first = {factor: names[0] == "standard" for factor, names in order.items()}  # what the thesis found on tables
Markdown(
    "\n".join(
        f"- at {factor} x the stated weight, lowest first: {words.listed([REGIME_NAMES[r] for r in names])}; the "
        f"strong network scores {'lower' if wins[factor] else 'higher'} than the standard one"
        for factor, names in order.items()
    )
    + (
        "\n\nThe thesis' negative finding for tabular data holds at the effective weight and not at the stated one."
        if first["2"] and not first["1"]
        else "\n\nWhether the standard network comes first, as in the thesis, does not depend on the weight."
        if first["1"] == first["2"]
        else ""
    )
)

# %%
_ = output.json(
    notebook="audit",
    profile=profile,
    datasets=datasets,
    titles=titles,
    seeds=1,
    readings=["published"],
    networks=len(REGIMES) * len(datasets),
    accuracy=accuracies,
    exact=exact,
    weights=list(cells),
    cells=cells,
    within_2=agree,
    worst=extreme,
    unprinted=unprinted,
    order=order,
    settings_profile=profiles,
    perturbation=perturbation,
    pgd_above_fgsm=above,
    gcc={"searches": total, "converged": met, "logit_low": min(logits), "logit_high": max(logits)},
)
