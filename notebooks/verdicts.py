# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which claims of the thesis hold?
#
# The thesis says things about its networks (section 5, summed up in section 1), about its method (sections 3, 4 and 6)
# and about what its numbers mean. `paper/claims.yaml` quotes them and gives each a reading of one line and a test;
# `paper/rules.md` has the rules that lead from estimates to a conclusion. Version 2 of the rules was written when the
# results of other networks were known, and before those that it judges here (`paper/plan-confirmation.md`). This
# notebook applies them; nothing in it is decided by hand.

# %% tags=["parameters"]
profile = "full"
seeds = 0  # networks per regime; 0: as many as the study has

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.colors import ListedColormap

from robexpl.pipeline import publish, style
from robexpl.study import audit, estimates, frames, grid, places, rules, security, sizes, thesis, variations
from robexpl.study import claims as claimed
from robexpl.study import evidence as gathered

study = sizes.whole(profile, seeds)
page = publish.Page("verdicts", study)
style.use()

# %% [markdown]
# ## The answer
#
# The evidence is gathered three times for each dataset: from all networks, and for a split-half replication from those
# with even and those with odd seeds. Only the smallest effect of interest, a twentieth of the way from real points of
# the target class to factuals, always comes from all.
#
# Whether FGSM and PGD show how robust a network is can only be asked where a stronger attack was tried. That is the
# worst case over several attacks ([robustness](robustness.py)), on some networks of the condition `corrected` and on
# their first test rows. All three are compared on the same rows of the same networks.

# %%
known, evidence, halves = {}, {}, ({}, {})
for one in study.both:
    searched, attacked = frames.counterfactuals(grid.main(one)), frames.attacked(grid.robustness(one))
    points = frames.reference(grid.reference(one, ("real", "factual")))
    margin = estimates.margins(estimates.means(points, ["condition", "point"]))
    rows = security.settings(one)["rows"]
    worst = frames.worst_cases(security.worst(one)).assign(condition=sizes.primary().name, attack="worst_case")
    strongest = pd.concat([frames.attacked(security.reported(one), rows), worst], ignore_index=True)
    known[one.kind] = searched, attacked, strongest, margin, one.load().class_names
    evidence[one.kind] = gathered.gather(*known[one.kind])
    for parity, half in enumerate(halves):
        half[one.kind] = gathered.gather(*known[one.kind], [seed for seed in one.every if seed % 2 == parity])

# %% [markdown]
# One claim is about figures that only the author's networks can repeat: the number of the 16 implausibilities of Table
# 1 that they give within two combined standard deviations at the energy weight that the text states. Only the full
# study has these networks ([audit](audit.ipynb)).

# %%
within = None

# %% tags=["full"]
within = 0
for one in study.both:
    cells = frames.counterfactuals(audit.cells(one)).query("factor == 1")
    theirs = thesis.implausibilities(one.dataset, files=True)
    within += int((estimates.with_thesis(estimates.summaries(cells, ["stop", "regime"]), theirs)["z"].abs() <= 2).sum())

# %% tags=["loose"]
listed = claimed.load()
claims, outcomes = claimed.judge(listed, evidence, halves, within)
page.table(claims, "claims", show=False)
page.table(outcomes, "outcomes", show=False)
claims["conclusion"].value_counts().reindex(rules.CONCLUSIONS, fill_value=0).rename("claims").to_frame()

# %% tags=["conclusions"]
reached = claims.set_index("id")["conclusion"]
page.holds(
    "On research question 1 three claims are supported: every robust network has more plausible counterfactuals than "
    "the standard one at the decision boundary, on MNIST and on California Housing, and under the generator conditions "
    "on MNIST.",
    (reached[["boundary-image", "boundary-tabular", "interior-image"]] == "supported").all(),
)
page.holds(
    "Not supported are two claims about the method: that the standard deviation over draws of factuals tells which "
    "networks differ, and that the settings in the text suffice to repeat the experiment.",
    (reached[["spread-is-uncertainty", "settings-complete"]] == "not supported").all(),
)

# %% [markdown]
# ## The method on one claim
#
# The unit of replication is the seed of a network. A difference between two regimes is the mean over seeds of the
# paired difference in implausibility over the factuals that count for both, with Student's 95 % interval on the means
# of the seeds. A kind of test turns such rows into an outcome, with intervals that are simultaneous over them, and with
# a smallest effect of interest. Take the claim that counterfactuals under the generator conditions become more
# plausible with every stronger adversary:

# %%
claim = next(entry for entry in listed if entry["id"] == "interior-order")
Markdown("\n\n".join(f"> {quote['text']} (section {quote['section']})" for quote in claim["thesis"]))

# %% [markdown]
# Its test, `lower`, asks that every interval lies below minus the smallest effect. One that lies above the effect
# contradicts the claim, and one within it shows that there is no noticeable difference.

# %%
effects = evidence["image"].margin.set_index("condition")["margin"]
found = []
for condition in effects.index:
    rows = gathered.compared(claim, condition, evidence["image"])
    outcome, _ = rules.lower(rows, effects[condition], of=len(rows))
    rows = rules.simultaneous(rows, of=len(rows))
    found.append(rows.assign(condition=condition, smallest=effects[condition], outcome=outcome))
pd.concat(found)[["condition", "what", "mean", "low", "high", "smallest", "outcome"]].round(4)

# %% [markdown]
# The condition `corrected`, good practice, decides. `as_run` is the experiment as the author ran it and `as_written`
# the text taken at its word; they say whether the thesis' own way agrees. What holds as run and is refuted with the
# corrected settings is reproducible but not robust.

# %% [markdown]
# ## Outcomes and conclusions
#
# All claims that have a test, in the order of their conclusions. A star marks a conclusion that at least one half of
# the networks, taken alone, does not reach, and a dagger one that changes where intervals are simultaneous over all
# tested claims. Claims in brackets follow from others and do not count again. A claim that no condition changes has one
# outcome, and so has one whose evidence was measured in the condition `corrected` alone.

# %%
wide = outcomes.pivot(index="id", columns="condition", values="outcome")
names = [condition.name for condition in sizes.conditions()]
wide = wide[names].T.fillna(wide.get("any")).T if "any" in wide else wide[names]
tested = claims[claims["id"].isin(wide.index)]
tested = tested.sort_values("conclusion", key=lambda column: column.map(rules.CONCLUSIONS.index), kind="stable")
wide = wide.loc[tested["id"]].fillna("not measured")
star, dagger = (
    np.where(tested[name].astype(str) == "False", mark, "") for name, mark in (("agree", " *"), ("survives", " †"))
)
conclusions = tested["conclusion"] + star + dagger
labels = tested["id"].where(tested["implied"] == "", "(" + tested["id"] + ")")
looks = ["#9ECAE9", "#CFE0C3", "#F6C667", "#EE9A6B", "#E6E6E6"]  # in the order of rules.OUTCOMES

# %%
fig, ax = plt.subplots(figsize=(style.PAGE, 0.5 + 0.19 * len(wide)), layout="constrained")
shades = wide.map(dict(zip(rules.OUTCOMES, range(len(looks)), strict=True)).get).astype(float)
ax.pcolormesh(shades, cmap=ListedColormap(looks), vmin=-0.5, vmax=4.5, edgecolors="white", linewidth=1.5)
for (y, x), name in np.ndenumerate(wide.to_numpy()):
    ax.text(
        x + 0.5,
        y + 0.5,
        name.replace("no noticeable difference", "no difference"),
        ha="center",
        va="center",
        fontsize=7,
    )
ax.set(ylim=(len(wide), 0), xlim=(0, 3))
ax.set_xticks(np.arange(3) + 0.5, [style.title(name) for name in names])
ax.set_yticks(np.arange(len(wide)) + 0.5, labels)
ax.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
ax.grid(False)
ax.secondary_yaxis("right").set_yticks(np.arange(len(wide)) + 0.5, conclusions)
ax.text(3.04, -0.25, "Conclusion", va="bottom", fontsize=7)
for part in (ax, *ax.child_axes):
    part.spines[:].set_visible(False)
    part.tick_params(length=0)
page.figure(fig, "matrix", alt="Outcomes of the tested claims by condition, with the conclusion of each claim")

# %% [markdown]
# What the claims say in our words, and where in the thesis:

# %%
Markdown("\n".join(f"- `{row.id}` (section {row.section}): {row.claim}" for row in claims.itertuples()))

# %% [markdown]
# ## What became of the conclusions first published
#
# `version1` are the conclusions first published, `version2_old_seeds` what version 2 of the rules says of the same
# networks, and `version2_new_seeds` what it says of the networks of this notebook. The old networks decide nothing.

# %% tags=["loose"]
versions = pd.read_csv(places.ROOT / "paper" / "conclusions.csv")
versions = versions.merge(claims[["id", "conclusion"]].rename(columns={"conclusion": "version2_new_seeds"}), on="id")
versions = page.table(versions, "versions", show=False)
versions[versions[["version1", "version2_old_seeds"]].ne("not tested").any(axis=1)].set_index("id")

# %% [markdown]
# ## What decided them, and how firmly
#
# `outcomes` holds for every claim and condition the estimate that decided, with its simultaneous interval: one that is
# enough to refute a claim, else the one that speaks for it least. `kind` is the dataset that it comes from, where it is
# from one. `sensitivity` counts how often a conclusion of the condition `corrected` stays: where each network in turn
# is left out, `same` are the outcomes that stay. Along a setting of the search, of the logits or of the measure, for
# claims about the strong and the standard network, `same` are the values at which their difference is significant with
# the sign that the claim asks for, and `turned` those at which it has the other one. Notebook
# [sensitivity](sensitivity.py) has these differences.

# %%
varied = []
for one in study.both:
    for points, choice in ((variations.curves(one), "setting"), (variations.metrics(one), "measure")):
        found = frames.counterfactuals(points)
        named = [] if choice == "measure" else ["setting"]
        found = estimates.differences(
            found, [("strong", "standard")], by=[*named, "stop", "measure" if not named else "value"]
        )
        varied.append(found.assign(kind=one.kind, choice=found["setting"] if named else "measure"))
left = claimed.leave_one_out(listed, known, evidence)
over = claimed.over_settings(listed, pd.concat(varied, ignore_index=True))
sensitivity = page.table(pd.concat([left, over], ignore_index=True), "sensitivity", show=False)
counts = sensitivity["same"].astype(str) + " of " + sensitivity["tried"].astype(str)
sensitivity.assign(counts=counts).pivot(index="id", columns="choice", values="counts").fillna("")

# %% tags=["conclusions"]
tried = claims[claims["agree"].notna()]
kept = (tried["agree"].astype(str) == "True").sum()
page.holds(
    f"The split-half replication can be tried on {len(tried)} conclusions, and {kept} of them are reached on both "
    "halves of the networks.",
    len(tried) >= 10 and kept > len(tried) / 2,
)

# %% [markdown]
# ## In short

# %% tags=["conclusions"]
count = dict.fromkeys(["supported", "reproducible but not robust", "not supported", "inconclusive", "not tested"], 0)
count |= claims["conclusion"].value_counts()
page.holds(
    f"Of the {len(claims)} claims {count['supported']} are supported, {count['reproducible but not robust']} are "
    f"reproducible but not robust, {count['not supported']} are not supported and {count['inconclusive']} are "
    f"inconclusive; {count['not tested']} were not tested. What the thesis says about the decision boundary holds, "
    "except for the order of the robust networks; what it says about its own measurement mostly does not.",
    sum(count.values()) == len(claims)
    and (reached[["boundary-image", "boundary-tabular", "boundary-weak-suffices"]] == "supported").all()
    and not (reached[["boundary-no-order", "boundary-order", "spread-is-uncertainty"]] == "supported").any(),
)
