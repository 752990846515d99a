# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # Which claims of the thesis stand?
#
# *Every claim, what it was tested on, and the verdict. Expected time: one to two minutes, once the notebooks `models`,
# `rq1`, `anchors`, `sensitivity` and `audit` have run; else as long as those.*
#
# **The claims examined.** All of them: what the thesis says about its networks (section 5, and the summary of it in
# section 1), about its method (sections 3, 4 and 6) and about what its numbers mean. They are listed, in our words and
# with their places, in `paper/thesis.json`.
#
# The rules by which an outcome and a verdict are reached were written down before the runs they judge, in
# `paper/rules.md`. Nothing in this notebook decides anything by hand.

# %% tags=["parameters"]
profile = "full"
seeds = 0  # networks per regime; 0: as many as the profile says

# %%
from IPython.display import Markdown

from robexpl.artifacts import Output
from robexpl.readings import READINGS
from robexpl.report import anchors, audit, claims, mechanism, plots, study, tables, verdictplots

readings = tuple(READINGS)
sizes = study.profile(profile)
datasets = {"image": sizes.image, "tabular": sizes.tabular}
networks = {role: sizes.networks(dataset, seeds) for role, dataset in datasets.items()}
output = Output("verdicts", profile)
plots.use_style()

# %% [markdown]
# ## The evidence
#
# The unit of replication is the seed of a network. A difference between two regimes is the mean over seeds of the
# paired difference of implausibility,
#
# $$ d = \frac{1}{S} \sum_{s=1}^{S} \frac{1}{|C_s|} \sum_{i \in C_s}
#    \bigl( \operatorname{impl}(z^{a}_{s,i}) - \operatorname{impl}(z^{b}_{s,i}) \bigr), $$
#
# over the factuals $C_s$ that count for both regimes $a$ and $b$; its interval is a bootstrap over seeds and, within
# them, factuals. Everything is gathered three times: from all seeds, from the even ones and from the odd ones (but for
# the margin within which two means count as equal, which comes from all).

# %%
evidence, halves = {}, ({}, {})
for role, dataset in datasets.items():
    common = {"seeds": networks[role], "readings": readings, "profile": sizes}
    searched, attacked = study.counterfactuals(dataset, **common), study.accuracies(dataset, **common)
    basis = {
        "dataset": dataset,
        "margin": anchors.margins(anchors.records(dataset, **common)),
        "scale": mechanism.mechanism(dataset, **common) if role == "tabular" else {},
    }
    evidence[role] = claims.gather(searched, attacked, **basis)
    for half, parts in enumerate(halves):
        parts[role] = claims.gather(searched, attacked, **basis, half=half)
within = audit.within(audit.cell_records(sizes, 1.0)) if profile == "full" else None

# %% [markdown]
# ## The verdicts

# %%
judged = claims.judge(tables.thesis()["claims"], readings, evidence, halves, within)
counted = claims.tally(judged)
smallest = min(len(sizes.seeds_of(datasets[role], name, n)) // 2 for role, n in networks.items() for name in readings)
Markdown(verdictplots.sentence(judged, counted, smallest))

# %% tags=["check-image"]
_ = output.figure(verdictplots.matrix(judged, readings), "matrix")

# %% [markdown]
# *Outcomes by reading, and the verdict over the readings. A star marks a verdict that at least one half of the
# seeds, taken alone, does not reach.*

# %%
verdictplots.table(judged, readings)

# %% [markdown]
# What each of the claims says:

# %%
Markdown("\n".join(f"- `{row['id']}` (thesis, {row['section']}): {row['claim']}" for row in judged))

# %% [markdown]
# ## What decided them
#
# For every claim and reading, the estimate that decided: the clearest one where one is enough, else the one that speaks
# for the claim least. For implausibilities on both datasets, whose units differ, it is that of the first that decides.

# %% tags=["tol-0.05"]
verdictplots.evidence_table(judged)

# %% [markdown]
# ## In short

# %%
_ = output.json(
    notebook="verdicts",
    profile=profile,
    datasets=datasets,
    seeds=networks,
    readings=list(readings),
    claims=judged,
    tally=counted,
    margins={role: of.margin for role, of in evidence.items()},
)

# %%
Markdown("\n".join(f"- **{name}**: {n}" for name, n in counted.items()))
