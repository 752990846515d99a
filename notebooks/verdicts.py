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
# and about what its numbers mean. `paper/claims.yaml` lists them in our words, each with its place and its test;
# `paper/rules.md` has the rules that lead from estimates to a conclusion. The rules were written before the runs that
# they judge. This notebook applies them; nothing in it is decided by hand.

# %% tags=["parameters"]
profile = "full"
seeds = 0  # networks per regime; 0: as many as the study has

# %%
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown
from matplotlib.colors import ListedColormap

from robexpl.pipeline import publish, style
from robexpl.study import claims as claimed
from robexpl.study import audit, estimates, frames, grid, rules, sizes, thesis, variations

study = sizes.whole(profile, seeds)
page = publish.Page("verdicts", study)
style.use()

# %% [markdown]
# ## The answer
#
# The evidence is gathered three times for each dataset: from all networks, and for a split-half replication from those
# with even and those with odd seeds. Only the margin within which two means count as equal always comes from all.

# %%
evidence, halves = {}, ({}, {})
for one in study.both:
    searched, attacked = frames.counterfactuals(grid.main(one)), frames.attacked(grid.robustness(one))
    points = frames.reference(grid.reference(one, ("real", "factual")))
    margin = estimates.margins(estimates.means(points, ["condition", "point"]))
    matched = frames.counterfactuals(variations.equal_gradients(one)) if one.kind == "tabular" else None
    known = (searched, attacked, margin, matched, one.load().class_names)
    evidence[one.kind] = claimed.gather(*known)
    for number, half in enumerate(halves):
        half[one.kind] = claimed.gather(*known, half=number)

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

# %%
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
    "on MNIST. The claim that the standard network is the better one under the generator conditions on California "
    "Housing is inconclusive.",
    (reached[["boundary-image", "boundary-tabular", "interior-image"]] == "supported").all()
    and reached["interior-tabular"] == "inconclusive",
)
page.holds(
    "On research question 2 the claim that plausibility grows with the strength of the adversary under the generator "
    "conditions on MNIST is reproducible but not robust: it holds in the condition `as_run` alone.",
    reached["interior-order"] == "reproducible but not robust",
)
page.holds(
    "Not supported are four claims about the method: that FGSM and the attack that stops early show how robust a "
    "network is, that the generator conditions end the search, that the standard deviation over draws of factuals "
    "tells which networks differ, and that the settings in the text suffice to repeat the experiment.",
    (
        reached[["attacks-measure", "interior-is-likely", "spread-is-uncertainty", "settings-complete"]]
        == "not supported"
    ).all(),
)

# %% [markdown]
# ## The method on one claim
#
# The unit of replication is the seed of a network. A difference between two regimes is the mean over seeds of the
# paired difference in implausibility over the factuals that count for both, with a 95 % interval from a bootstrap over
# seeds and, within them, factuals. A kind of test turns such rows into an outcome: `supported`, `contradicted`,
# `opposite` (contradicted in every part) or `inconclusive`. Take the claim that counterfactuals under the generator
# conditions become more plausible with every stronger adversary. Its test, `lower`, asks that every interval lies below
# zero, and is contradicted by one that lies above it.

# %%
claim = next(entry for entry in listed if entry["id"] == "interior-order")
pairs = [tuple(pair) for pair in claim["test"]["pairs"]]
rows = evidence["image"].differences.query("stop == @claim['stop']")
rows = rows[[pair in pairs for pair in zip(rows["regime"], rows["baseline"], strict=True)]]
rows[["condition", "regime", "baseline", "mean", "low", "high", "n_seeds"]].round(4)

# %% [markdown]
# The conclusion comes from the outcomes in all conditions. `as_run` is the experiment as the author ran it,
# `as_written` the text taken at its word, `corrected` good practice; what holds in the first and in neither of the
# others is reproducible but not robust.

# %%
found = {name: rules.lower(part)[0] for name, part in rows.groupby("condition", sort=False)}
{**found, "conclusion": rules.conclusion(found)}

# %% [markdown]
# ## Outcomes and conclusions
#
# All claims that have a test, in the order of their conclusions. A star marks a conclusion that at least one half of
# the networks, taken alone, does not reach; where a half holds a single network per regime, its intervals cover
# factuals alone. A claim that no condition changes has one outcome.

# %%
wide = outcomes.pivot(index="id", columns="condition", values="outcome")
names = [condition.name for condition in sizes.conditions()]
wide = wide[names].T.fillna(wide.get("any")).T if "any" in wide else wide[names]
tested = claims[claims["id"].isin(wide.index)]
tested = tested.sort_values("conclusion", key=lambda column: column.map(rules.CONCLUSIONS.index), kind="stable")
wide = wide.loc[tested["id"]]
conclusions = tested["conclusion"].where(tested["agree"].astype(str) != "False", tested["conclusion"] + " *")
looks = {"supported": "#9ECAE9", "contradicted": "#F6C667", "opposite": "#EE9A6B", "inconclusive": "#E6E6E6"}
colours, places = ListedColormap([looks[name] for name in rules.OUTCOMES]), np.arange(len(wide)) + 0.5

# %%
fig, ax = plt.subplots(figsize=(style.PAGE, 0.5 + 0.19 * len(wide)), layout="constrained")
ax.pcolormesh(wide.map(rules.OUTCOMES.index), cmap=colours, vmin=-0.5, vmax=3.5, edgecolors="white", linewidth=1.5)
for (y, x), name in np.ndenumerate(wide.to_numpy()):
    ax.text(x + 0.5, y + 0.5, name, ha="center", va="center", fontsize=7)
ax.set(ylim=(len(wide), 0), xlim=(0, 3))
ax.set_xticks(np.arange(3) + 0.5, [style.title(name) for name in names])
ax.set_yticks(places, wide.index)
ax.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
ax.secondary_yaxis("right").set_yticks(places, conclusions)
ax.text(3.04, -0.25, "Conclusion", va="bottom", fontsize=7)
for part in (ax, *ax.child_axes):
    part.spines[:].set_visible(False)
    part.tick_params(length=0)
page.figure(fig, "matrix", alt="Outcomes of the tested claims by condition, with the conclusion of each claim")

# %% [markdown]
# What the claims say, and where in the thesis:

# %%
Markdown("\n".join(f"- `{row.id}` (section {row.section}): {row.claim}" for row in claims.itertuples()))

# %% [markdown]
# ## What decided them
#
# `outcomes` holds for every claim and condition the estimate that decided: the clearest one where one is enough to
# contradict a claim, else the one that speaks for it least. `kind` is the dataset that it comes from, where it is from
# one. The first twelve in the condition `corrected`:

# %%
outcomes[outcomes["condition"] == sizes.primary().name].drop(columns="condition").head(12).round(3)

# %% tags=["conclusions"]
tried = claims[claims["agree"].notna()]
missed = tried[tried["agree"].astype(str) == "False"]["id"].tolist()
page.holds(
    f"The split-half replication can be tried on {len(tried)} conclusions, and {len(tried) - len(missed)} of them are "
    "reached on both halves of the networks. The others are about an order of the robust networks, or about tabular "
    "data under the generator conditions.",
    len(tried) == 16 and missed == ["interior-order", "interior-tabular", "interior-no-order", "likelihood-moved"],
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
    "except for the order of the robust networks; what it says about tabular data under the generator conditions and "
    "about its own measurement mostly does not.",
    sum(count.values()) == len(claims)
    and (reached[["boundary-image", "boundary-tabular", "boundary-weak-suffices"]] == "supported").all()
    and not (reached[["interior-tabular", "interior-no-order", "likelihood-moved"]] == "supported").any()
    and not (reached[["attacks-measure", "interior-is-likely", "spread-is-uncertainty"]] == "supported").any(),
)
