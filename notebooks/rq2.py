# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # Does a stronger adversary in training make a network more explainable?
#
# *Research question 2. Expected time: seconds, once the counterfactuals of research question 1 are found (notebook
# `rq1`); else as long as that one.*
#
# **The claims examined** (thesis, sections 1, 5.1 and 5.2). For images beyond the decision boundary, plausibility
# grows with the strength of the adversary in training. At the boundary the thesis says two things: section 5.1 finds
# no noticeable difference among the robust networks and diminishing returns of strength, while section 1 claims the
# order "both along the decision boundaries and beyond". For tables beyond the boundary it sees no proportionality.

# %% tags=["parameters"]
dataset = "mnist"
profile = "full"
seeds = 0  # networks per regime; 0: as many as the profile says

# %%
from IPython.display import Markdown

from robexpl.artifacts import Output
from robexpl.ecco import Settings
from robexpl.readings import READINGS
from robexpl.report import answers, facts, plots, study, tables

readings = tuple(READINGS)
sizes = study.profile(profile)
seeds = sizes.networks(dataset, seeds)
comparable = profile == "full"
output = Output(f"rq2-{dataset}", profile)
loaded = study.load_data(dataset, 0, "published")
plots.use_style()

# %% [markdown]
# ## What would have to be seen
#
# If strength makes explainable, the mean implausibility $m$ falls from each adversary to the next stronger one,
#
# $$ m_{\text{weak}} > m_{\text{medium}} > m_{\text{strong}}, $$
#
# not only in the means but by more than chance, and run after run. We compare stronger with weaker, on the factuals
# that both classify correctly, so a negative difference speaks for the claim. Three numbers in random order fall with
# probability $1/3! \approx 0.17$; that much has to be beaten before an order means anything.

# %%
searched = study.counterfactuals(dataset, seeds=seeds, readings=readings, profile=sizes)
cells = tables.cells(searched, dataset, comparable)
steps = tables.differences(searched, tables.to_weaker())
shares = tables.monotone_share(searched)

# %% tags=["tol-0.02"]
answers.differences_table(steps, answers.STEP_NAMES)

# %% tags=["check-image"]
_ = output.figure(plots.trend(cells), "trend")

# %% [markdown]
# *Mean implausibility against the radius of the adversary in training, with 95 % intervals; radius 0 is the standard
# network. Filled marks and solid lines: the first reading; hollow and dashed: the second; half-filled and dotted: the
# third.*

# %% tags=["tol-0.02"]
Markdown(answers.rq2_sentences(cells, steps, shares))

# %% [markdown]
# ## Is it robustness that does it?
#
# The radius in training is what was intended; the accuracy under attack is what was achieved. Plotted against the
# latter, a relation between robustness and plausibility would show as points that fall from left to right.

# %% tags=["check-image"]
accuracies = tables.accuracy_records(study.accuracies(dataset, seeds=seeds, readings=readings, profile=sizes))
_ = output.figure(plots.against_accuracy(cells, accuracies), "accuracy")

# %% [markdown]
# *Mean implausibility against test accuracy under projected PGD, with 95 % intervals both ways.*
#
# ## How far the searches travel
#
# A low score can be earned in more than one way. A search that ends early stays near the factual and inherits its
# plausibility as a natural point; one that goes far can arrive in the target class or in the void. Networks also
# differ in scale: where gradients are smaller (notebook `models` measures them), the same rise of a logit takes longer.
# Hence two more numbers: the distance from factual to counterfactual, and the target logit reached. Under the generator
# conditions the energy term pulls all networks to the *same* target logit, whatever that logit means to each.

# %% tags=["tol-0.05"]
answers.travel_table(cells)

# %% tags=["tol-0.05"]
Markdown(answers.travel_sentence(cells, goal=1 / (2 * Settings.reg)))

# %% [markdown]
# The thesis explains its result on tables by a region of maximum likelihood that adversarial training has moved away
# from the data. A reader of the table above should consider the plainer possibility first: that the networks differ
# in scale, and that the search is asked to climb to a height that is far for some of them.
#
# ## In short
#
# "Supported" means that both steps up, weak to medium and medium to strong, lower implausibility with their whole
# intervals; "contradicted" that one of them raises it with its whole interval; "undecided" is the rest. The thesis'
# column says whether the means of its Table 1 have that order.

# %%
_ = output.json(
    **facts.header(f"rq2-{dataset}", sizes, seeds, readings, loaded),
    order={name: {stop: tables.order(c) for stop, c in by_stop.items()} for name, by_stop in cells.items()},
    steps=steps,
    monotone={name: {stop: answers.monotone(c) for stop, c in by_stop.items()} for name, by_stop in cells.items()},
    monotone_share=shares,
    travel=answers.travel_records(cells),
)

# %%
answers.rq2_verdicts(steps, dataset, comparable=comparable)
