# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # What do the results rest on beside the networks?
#
# *How far do the results of research questions 1 and 2 depend on settings that nobody had to choose as they were
# chosen? Expected time for one seed, once the networks are trained (notebook `models`): about four minutes on MNIST,
# one minute on California Housing; with all seeds about ten minutes each.*
#
# **The claim examined** (thesis, sections 5.1 and 5.2). The differences in plausibility between the regimes are read
# as properties of the networks: what they have learned, and where they take their classes to be. They can be that only
# if the search and the ruler do not make them. For tables beyond the boundary the thesis sees a reversal and explains
# it by a region of highest likelihood that adversarial training has moved away from the data.

# %% tags=["parameters"]
dataset = "mnist"
profile = "full"
seeds = 0  # networks per regime; 0: as many as the profile says

# %%
from IPython.display import Markdown

from robexpl.artifacts import Output
from robexpl.readings import READINGS
from robexpl.report import facts, mechanism, plots, sensitivity, study, words
from robexpl.report import sensitivityplots as figures
from robexpl.report import sensitivitytext as text

readings = tuple(READINGS)
sizes = study.profile(profile)
seeds = sizes.networks(dataset, seeds)
output = Output(f"sensitivity-{dataset}", profile)
loaded = study.load_data(dataset, 0, "published")
plots.use_style()

# %% [markdown]
# ## One estimate, many settings
#
# Everything below is about one number: strong - standard, the paired difference of implausibility on the factuals that
# count for both networks. Negative means that the strong network is the more plausible. Up to the last section, which
# asks all three readings with all their seeds and steps, the networks are those of the reading `repaired` and stay the
# same. One setting is changed at a time (two in the maps); all others are the reading's. A claim about the networks
# should survive this; a claim about a setting will not.

# %%
about, small, used = sensitivity.shape(dataset, sizes, seeds)
Markdown(
    f"Here: {loaded.title}, {words.number(len(used))} seed{'s' * (len(used) > 1)} of {small.factuals} factuals, at "
    f"most {small.steps:,} steps of the default size, {small.k} neighbours."
)

# %% [markdown]
# *An interval over few seeds is wide, and with one seed it covers the draw of factuals alone. "Surely" below always
# means that the whole 95 % interval lies on one side of zero.*
#
# ## The weights of the search
#
# The text gives one pair of weights per dataset: $\lambda_1$ for closeness, $\lambda_2$ for the energy. The published
# figures come out at twice that energy (notebook `audit`). Neither is derived from anything, so we draw the map.

# %%
maps = sensitivity.maps(dataset, seeds=seeds, profile=sizes)
shares = sensitivity.shares(maps)

# %% tags=["check-image"]
_ = output.figure(figures.maps(maps, published=2.0), "maps")

# %% [markdown]
# *Strong - standard over the plane of weights; blue: the strong network is more plausible. A dot: surely so, or surely
# not. Hatched: one of the two networks reaches the target class in fewer than half of its searches, so there is little
# to compare. Framed: the weights of the text; framed by dashes: twice the energy, where it is on the map.*

# %% tags=["tol-0.05"]
text.shares_table(shares)

# %% [markdown]
# *Shares of the settings on the map. In order: the means fall from weak over medium to strong; where only the standard
# and the strong network were searched, this is left out.*

# %% tags=["tol-0.05"]
Markdown(text.maps_sentences(maps, shares))

# %% [markdown]
# ## Setting by setting
#
# - **Logit scale.** Multiply the last layer by $s$. Every prediction stays what it was, so a property of the classifier
#   cannot depend on $s$; the search, which asks for a target logit, may.
# - **Ridge $\rho$ of the energy.** The target logit at rest is $1/(2\rho)$; without a ridge there is no rest.
# - **Steps, step size, noise at the start.** Where and when a descent is cut off.
# - **Target probability.** The first stop asks for 0.5; at 0.9 or 0.99 the networks that get there
#   are equally sure; the table says how many searches do.
# - **Neighbours.** How many training points the ruler averages over.

# %%
curves = sensitivity.curves(dataset, seeds=seeds, profile=sizes)

# %% tags=["check-image"]
_ = output.figure(figures.curves(curves), "curves")

# %% [markdown]
# *Strong - standard with 95 % intervals along each setting, on scales of their own. Shaded: the value that all other
# panels keep, the reading's own except for the number of steps, which the cap above may have cut.*

# %% tags=["tol-0.05"]
text.curves_table(curves)

# %% [markdown]
# *Sign: `holds` where every interval lies on the same side of zero, `turns` where some lie surely below and others
# surely above, `wavers` where some hold zero and the others, if any, agree; all over the values at which both networks
# reach the target class in at least half of their searches.*

# %% tags=["tol-0.05"]
Markdown(text.curves_sentences(curves))

# %% [markdown]
# ## Another ruler
#
# The same counterfactuals, measured otherwise. For images: SSIM over all pixels and without the five at each border
# (where images are large enough for that; digits of 8 x 8 pixels are not), and the two plain norms. For tables: both
# norms, and two that allow for the features' scales: each divided by its interquartile range, and whitened by the
# covariance of the training rows (Mahalanobis).

# %%
rulers = sensitivity.rulers(dataset, seeds=seeds, profile=sizes)

# %% tags=["check-image"]
_ = output.figure(figures.rulers(rulers), "rulers")

# %% [markdown]
# *Strong - standard as a percentage of the standard network's mean by the same ruler, with 95 % intervals.*

# %% tags=["tol-0.05"]
text.rulers_table(rulers)

# %% tags=["tol-0.05"]
Markdown(text.rulers_sentence(rulers))

# %% [markdown]
# ## Is it the scale of the logits?
#
# Under the generator conditions each search climbs towards the same target logit. A network with small gradients has to
# go further for it; how large they are, notebook `models` measures. That alone could raise its scores, wherever its
# "likely region" lies. The test: shrink the standard network's logits by
#
# $$ s = \frac{\text{mean}\,\|\nabla f_t\|_2 \text{ of the strong network}}{\text{mean}\,\|\nabla f_t\|_2
#    \text{ of the standard network}}, $$
#
# seed by seed, so that both gradients are equally large at the factuals, and search again. Its predictions are
# untouched. If the difference is about where the likely region lies, it should remain. We also go the other way and
# enlarge the strong network's logits by $1/s$. Rescaling also changes the weight of closeness and cross-entropy against
# each other, and equal means are one way among several of being equal; hence both ways, and the whole curve over $s$.

# %%
scale = mechanism.mechanism(dataset, seeds=seeds, readings=readings, profile=sizes)

# %% tags=["tol-0.05"]
text.mechanism_table(scale)

# %% tags=["tol-0.05"]
text.ends_table(scale)

# %% tags=["check-image"]
line = curves["scale"]["generator_conditions"]
_ = output.figure(figures.mechanism(scale, line, scale["repaired"]["gradient"]), "mechanism")

# %% [markdown]
# *Left: strong - standard by reading, with the networks as trained and with equal gradients either way. Right: the
# scores of both networks with their logits multiplied by $s$, over the size that their gradients then have; ringed: as
# trained. Were the size of gradients all that counts, the two lines would be one.*

# %% tags=["tol-0.05"]
Markdown(text.mechanism_sentences(scale))

# %% [markdown]
# ## In short
#
# `holds`, `turns` and `wavers` as above.

# %%
_ = output.json(
    **facts.header(f"sensitivity-{dataset}", sizes, seeds, readings, loaded),
    reading=sensitivity.READING,
    sizes={"seeds": len(used), "factuals": small.factuals, "steps": small.steps, "k": small.k},
    maps=maps,
    shares=shares,
    curves=curves,
    course=text.courses(curves),
    distances=rulers,
    mechanism=scale,
)

# %%
text.summary(shares, curves, rulers)
