# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # What is a high, and what is a low implausibility?
#
# *Expected time, once the networks are trained and searched (notebooks `models` and `rq1`): about two minutes on MNIST
# for one seed, a quarter of an hour for ten with the networks of the control; one minute on California Housing.*
#
# **The claim examined** (thesis, sections 4.3 and 5). The implausibility of a counterfactual, its mean distance to the
# nearest real points of the target class, says how plausible it is; Table 1 prints it to three decimals, and its
# differences are read as differences in explainability.
#
# A distance has no zero and no unit of its own. Is 0.41 bad? Is 0.02 less of it a lot? We cannot know until points
# have been measured of which we know the answer. That is what this notebook does, and then it asks where the
# differences of Table 1 come from: from the networks, from the noise that the search starts with, from the way that
# images are made of pixels, or from the draw.

# %% tags=["parameters"]
dataset = "mnist"
profile = "full"
seeds = 0  # networks per regime; 0: as many as the profile says

# %%
from IPython.display import Markdown, display

from robexpl.artifacts import Output
from robexpl.report import anchorplots, anchors, anchortext, components, facts, pixels, plots, study

readings = ("published", "stated", "repaired")
sizes = study.profile(profile)
seeds = sizes.networks(dataset, seeds)
output = Output(f"anchors-{dataset}", profile)
loaded = study.load_data(dataset, 0, "published")
names = anchors.names(loaded)
plots.use_style()

# %% [markdown]
# ## Points of known plausibility
#
# For every factual of the study, with its target class, seven points are scored against the same training points as
# the counterfactuals:
#
# - a **real** test point of the target class, drawn at random: nothing can be more plausible than that;
# - the **mean** of the training points of the class;
# - a **blank** image or, for tables, the median of all training rows: a point without content;
# - the **factual** itself, which is real, but certainly not of the target class;
# - the factual and the real point **with the noise** that the search adds at its start (standard deviation 0.1);
# - **uniform noise** over the box of valid inputs.
#
# On MNIST the data are the same for every seed, and only the factuals change; on tables sample and split change with
# the seed, and the reading `repaired` samples in another way.

# %% tags=["tol-0.05"]
scored = anchors.records(dataset, seeds=seeds, readings=readings, profile=sizes)
anchortext.anchors_table(scored, names)

# %% tags=["tol-0.05"]
Markdown(anchortext.ladder_sentence(scored["stated"], names, loaded.title))

# %% [markdown]
# *Mean scores over all factuals drawn, with 95 % intervals over seeds, then factuals.*
#
# A measure of plausibility should put these points in an order that nobody disputes: real, then mean, and last noise.
# Where a point without content scores about as well as good counterfactuals do, a low score need not mean that the
# target class can be seen.
#
# ## A scale with a zero and a unit
#
# So put real points at 0 and the factual at 1:
#
# $$ v = \frac{\operatorname{impl}(\text{counterfactual}) - \operatorname{impl}(\text{real})}
#             {\operatorname{impl}(\text{factual}) - \operatorname{impl}(\text{real})} . $$
#
# A counterfactual that goes all the way from its factual to the real points of the target class has $v = 0$; one with
# $v = 1$ is no better than the factual it began with, and $v > 1$ is a change for the worse. All four means are over
# the same rows: the factuals that the reading counts for the network, each with its own real point. The interval is
# that of a ratio of two means over seeds; it resamples the ratio's linear part, seeds first, then factuals, so that it
# covers the scale as well as the score.

# %%
rows = anchors.everything(dataset, seeds=seeds, readings=readings, profile=sizes)
cells = anchors.normalised(rows)

# %% tags=["tol-0.2"]
anchortext.normalised_table(cells)

# %% tags=["check-image"]
_ = output.figure(anchorplots.scale(scored, cells, names, "stated"), "scale")

# %% [markdown]
# *Anchors (diamonds, reading `stated`) and below them every cell of the study, with 95 % intervals: left as measured,
# right on the scale of its own reading. Dotted: real points, blank, factuals, factuals with noise. An arrow stands for
# an anchor beyond the axis.*

# %% tags=["tol-0.05"]
Markdown(anchortext.worse_sentence(cells, names))

# %% [markdown]
# "Clearly" means that the whole 95 % interval of the paired difference lies above zero. How much of the way from the
# factual to real points do counterfactuals go? A negative share leads away from them:

# %% tags=["tol-0.2"]
Markdown(anchortext.way_sentence(cells))

# %% [markdown]
# ## How much of it is the noise at the start?
#
# The search of the thesis does not begin at the factual but at the factual plus normal noise of standard deviation
# 0.1 in every input, and at the decision threshold it may end after a step or two. What it then returns is the
# factual, a small change and the noise. We search again from the factual itself, all else the same, one run of
# factuals per network, and see what is gone.

# %%
noise = anchors.noise(rows, dataset, seeds=seeds, profile=sizes)

# %% tags=["tol-0.2"]
anchortext.noise_table(noise)

# %% tags=["tol-0.2"]
Markdown(anchortext.noise_sentence(noise))

# %% [markdown]
# *Scores at the decision threshold of the same factuals, all correctly classified; what the noise adds, paired; that
# as a share of the score; and as a share of what the noise alone does to the score of a factual.* The reading
# `repaired` starts at the factual.
#
# ## Is it more than a threshold?
#
# On images of ink on paper a network can become robust in a cheap way: by thresholding. A pixel at 0.1 is white and
# one at 0.9 is black, and a perturbation of 0.2 cannot change that. If adversarial training did no more, its effect on
# counterfactuals should appear without any adversary. Two controls, one network: trained in the standard way, but on
# black and white images (1 where $x > 1/2$), it is shown grey images as they are (*binarised*) or behind a soft
# threshold (*thresholded*),
#
# $$ T(x) = \frac{\sigma((x - \tfrac12)/\tau) - \sigma(-\tfrac1{2\tau})}{1 - 2\,\sigma(-\tfrac1{2\tau})}, \qquad
#    \tau = 0.1, $$
#
# which is smooth, so that attacks and searches can follow its gradient. Everything else is as for the standard
# network: initial weights, order of batches, factuals, targets, settings of the search. For tables there is nothing
# to threshold, and this part is left out.

# %%
control = pixels.control(rows, loaded, seeds=seeds, name="repaired", profile=sizes)

# %% tags=["tol-0.05"]
if control:
    display(anchortext.accuracy_table(control))

# %% tags=["tol-0.2"]
if control:
    display(anchortext.control_table(control))

# %% tags=["tol-0.2"]
Markdown(anchortext.control_sentence(control) if control else "Left out: no images.")

# %% [markdown]
# *Accuracies on the first test images, grey and in black and white, under FGSM and projected PGD of radius 0.2; fewer
# rows and seeds than in notebook `models`, as said above. Then implausibility in the reading `repaired`, over the
# factuals that both the standard network and the other one classify correctly, the paired difference between the two,
# and the share of searches that reach the target class.*
#
# A caution on the first table: where gradients are small, attacks by gradients fail for want of a direction, and a
# threshold makes gradients small. Its robustness is an upper bound.
#
# ## What do the scores vary with?
#
# A mean is as sure as what it is a mean of. On MNIST one fixed set of factuals is searched in the networks of all
# seeds, and the variance of the scores is divided into what belongs to the seed (one network is better throughout),
# to the factual (some are harder for all networks), to the interplay of both and, where the search starts with noise,
# to the noise, drawn three times. On the other datasets each seed has its own sample and split, and therefore its own
# factuals: "seed" then means network, sample and split together, and the interplay is part of the factual's share.

# %%
divided = components.study(dataset, seeds=seeds, readings=readings[1:], profile=sizes)

# %% tags=["tol-0.5"]
if divided:
    display(anchortext.components_table(divided))

# %% tags=["check-image"]
if divided:
    _ = output.figure(anchorplots.shares(divided, components.PARTS), "components")

# %% tags=["tol-0.5"]
Markdown(anchortext.components_sentence(divided))

# %% [markdown]
# *Shares of the variance of single scores. The last column of the table: the share of the variance of a regime's mean,
# with as many factuals per seed as the study has, that only more seeds can lower.*

# %%
_ = output.json(
    **facts.header(f"anchors-{dataset}", sizes, seeds, readings, loaded),
    names=names,
    anchors=scored,
    margin=anchors.margins(scored),
    normalised=cells,
    noise=noise,
    control=control,
    components=divided,
)
