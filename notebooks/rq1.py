# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # Are robust networks more explainable than a standard one?
#
# *Research question 1. Expected time for one seed, once the networks are trained (notebook `models`): about five
# minutes on MNIST, one minute on California Housing.*
#
# **The claims examined** (thesis, sections 1, 5.1 and 5.2). At the decision boundary, robust networks give more
# plausible counterfactuals than the standard network, for images and for tables alike. Beyond the boundary, where the
# network is sure of itself, the same holds for images, and strikingly so (Figure 3 of the thesis: a '3' made into an
# '8'). For tables it does not: there the standard network comes out best, and the thesis suspects that adversarial
# training has moved the region of highest likelihood away from the data.

# %% tags=["parameters"]
dataset = "mnist"
profile = "full"
seeds = 0  # networks per regime; 0: as many as the profile says

# %%
from IPython.display import Markdown, display

from robexpl.artifacts import Output
from robexpl.readings import READINGS, reading
from robexpl.report import anchors, answers, descent, facts, gallery, pictures, plots, study, tables, words

readings = tuple(READINGS)
sizes = study.profile(profile)
seeds = sizes.networks(dataset, seeds)
kind, comparable = sizes.kind(dataset), profile == "full"
output = Output(f"rq1-{dataset}", profile)
loaded = study.load_data(dataset, 0, "published")
plots.use_style()

# %% [markdown]
# ## What is asked of a network
#
# A *faithful* counterfactual shows what the network itself takes for the target class. The generator ECCo (thesis,
# equation 4, without its conformal term) looks for it by gradient descent on
#
# $$ \underbrace{\mathcal{L}(f(z), t)}_{\text{be of class } t}
#    \;+\; \lambda_1 \underbrace{\|z - x\|_1}_{\text{stay close}}
#    \;+\; \lambda_2 \underbrace{\bigl(-f_t(z) + \rho f_t(z)^2\bigr)}_{\text{have low energy for class } t}, $$
#
# where $x$ is the factual, $z$ the counterfactual, $f$ the logits and $t$ the target class. The energy term rewards a
# high target logit and, through $\rho = 0.1$, punishes one that is too high: taken alone it is least at
#
# $$ -1 + 2 \rho f_t = 0 \quad\Longrightarrow\quad f_t = \frac{1}{2\rho} = 5. $$
#
# Keep this number in mind: the thesis' "region of maximum likelihood" is, in fact, the set of points whose target
# logit is about 5. The descent starts at the factual plus normal noise and is clamped to the box of valid inputs
# after every step. It ends in one of two ways:
#
# - **decision threshold** (DTC): at the first point whose target probability is at least 0.5, just across the boundary;
# - **generator conditions** (GCC): when besides no component of the objective's gradient exceeds 0.01 in absolute
#   value, or when the steps run out.
#
# Look at the second one for a moment. Wherever $z$ differs from $x$ the closeness term alone contributes
# $\pm\lambda_1$ to the gradient, and $\lambda_1$ is not below 0.01. We shall see how often the condition is met.

# %%
settings = answers.settings_records(kind, readings, sizes.steps)
answers.settings_table(settings)

# %% [markdown]
# The readings differ in the weight $\lambda_2$ (`energy`) and in the networks: `stated` takes the weight from the
# text, `published` twice that weight, because this is what reproduces the figures that were published (notebook
# `audit`). `repaired` starts at the factual itself, without noise; takes steps a fifth as long over a way of the same
# length; and handles the closeness term by soft-thresholding (`proximal`), so that its second stop, that no component
# of the gradient mapping exceeds 0.01, can be met at a point that stays where the factual is in most inputs.
#
# ## How plausibility is measured
#
# A counterfactual $z$ is *plausible* if it lies close to real data of its target class. The thesis (equation 5) takes
# the mean distance to the $k$ nearest training points $X_t$ of the class:
#
# $$ \operatorname{impl}(z, t) = \frac{1}{k} \sum_{r \in \mathrm{kNN}_k(z, X_t)} \operatorname{dist}(z, r), $$
#
# for tables with the Euclidean distance, for images with $(1 - \mathrm{SSIM})/2$, half the structural dissimilarity.
# Low is plausible.
#
# A run draws test rows at random with a random other class as target, the same for every network. Rows that a network
# misclassifies are skipped for that network. A result is the mean over the runs; differences between networks are
# *paired*: they use only factuals that both classify correctly (in `repaired`, that all four do).

# %%
metric = {"distance": study.default_distance(kind), "k": sizes.k}
few = {name: len(sizes.seeds_of(dataset, name, seeds)) for name in readings}
fewer = "".join(f" ({words.number(n)} in `{name}`)" for name, n in few.items() if n < seeds)
finer = "".join(f" ({reading(name).finer * sizes.steps:,} in `{name}`)" for name in readings if reading(name).finer > 1)
Markdown(
    f"Here: {loaded.title}, distance `{metric['distance']}`, {metric['k']} neighbours, {words.number(sizes.runs)} runs "
    f"of {sizes.factuals} factuals, {words.number(seeds)} seed{'s' * (seeds > 1)}{fewer}, at most {sizes.steps:,} "
    f"steps of the default size{finer}."
)

# %% [markdown]
# ## Results

# %%
searched = study.counterfactuals(dataset, seeds=seeds, readings=readings, profile=sizes)
cells = tables.cells(searched, dataset, comparable)
differences = tables.differences(searched, tables.to_standard())

# %% tags=["tol-0.5"]
table = answers.cells_table(cells)
for name in readings:
    display(Markdown(f'Reading "{name}":'), table.loc[name])

# %% [markdown]
# *Mean implausibility with a 95 % bootstrap interval (over seeds, then factuals), the mean over all factuals (all), the
# standard deviation over runs that the thesis prints and the one over seeds, the counterfactuals scored and the
# factuals skipped, the share that the network assigns to the target class at the end (valid), the share that met the
# stop (converged), and the mean number of steps. Scored are, in `repaired`, the factuals that all four networks of a
# seed classify correctly, in the other readings those that the network itself does.*
#
# Is a mean of, say, 0.25 good? A distance has no meaning of its own, so we score a few points whose plausibility
# everybody can judge, against the same target classes: real test points of the class; the factuals, which are
# certainly *not* of it; the factuals with the noise that the search starts from; and a point without any content (a
# blank image, or the median of the training rows).

# %% tags=["tol-0.02"]
known, called = anchors.ladders(dataset, seeds=seeds, readings=readings, profile=sizes), anchors.names(loaded)
Markdown(answers.anchors_sentence(known, cells, called))

# %% tags=["check-image"]
printed = tables.thesis()["table1"][dataset] if comparable else None
shown = {called[key]: value for key, value in known[readings[0]].items()}
_ = output.figure(plots.implausibility(cells, thesis=printed, anchors=shown), "implausibility")

# %% [markdown]
# *Mean implausibility by regime, with 95 % intervals. Filled: the first reading; hollow: the second; half-filled: the
# third; diamonds: the thesis, where it can be compared. Dotted: the anchors of the first reading.*
#
# ## Robust against standard, pair by pair

# %% tags=["tol-0.02"]
answers.differences_table(differences, answers.against_names())

# %% tags=["tol-0.02"]
Markdown(answers.rq1_sentences(cells, differences))

# %% [markdown]
# *P(lower) is the share of bootstrap draws in which the robust network scores lower.* The intervals speak about the
# factuals that might have been drawn and, with several seeds, about the networks that might have been trained. With
# one seed they say nothing about the latter.
#
# ## Does the search settle?
#
# The descent has a fixed step $\eta$, and the energy pulls the target logit back ever harder the further it is from
# its rest at $1/(2\rho)$. Where the network is linear, one step multiplies that distance by $1 - c$ with
# $c = 2\eta\lambda_2\rho\,\|\nabla f_t\|^2$. Beyond $c = 2$ the logit overshoots by more than it was off, again and
# again, and only the kinks of the network and the walls of the box keep it in bounds. The larger the input gradients,
# the larger $c$: a search that settles in a robust network may rattle in a standard one. So we measure $c$ at the
# factuals and, in the two readings that leave the step as it was, repeat one run of up to five seeds with steps a tenth
# as long, ten times as many, so that the way is as long as before.

# %% tags=["tol-0.05"]
fixed = tuple(name for name in readings if reading(name).finer == 1)
stability = descent.stability(dataset, seeds=seeds, readings=readings, profile=sizes)
again = descent.finer(dataset, seeds=seeds, readings=fixed, profile=sizes)
compared, gaps = descent.compared(again, sizes.steps), descent.gaps(again)
descent.table(stability, compared)

# %% tags=["tol-0.05"]
Markdown(descent.sentence(stability, compared, gaps))

# %% [markdown]
# What of the gap between the regimes vanishes with shorter steps over a way of the same length was made by the step:
# it is a property of the search, not of what the network has learned.
#
# ## A look at the counterfactuals
#
# The factuals below are drawn by seed among test rows that all four networks classify correctly. Nobody chose them
# for their looks.

# %%
seen = gallery.gallery(loaded, reading(readings[0]), sizes)
pair = gallery.pair_record(seen, readings[0]) if loaded.image_shape else None
if loaded.image_shape is None:
    display(gallery.table(seen, loaded, "generator_conditions"))

# %%
if loaded.image_shape:
    images = [
        seen.factuals[0],
        *(seen.found["generator_conditions"][regime][0][0] for regime in ("standard", "strong")),
    ]
    titles = [f'a "{pair["from"]}"', f'its "{pair["to"]}", standard network', f'its "{pair["to"]}", strong network']
    scores = ["factual", *(f"implausibility {pair[regime]:.3f}" for regime in ("standard", "strong"))]
    _ = output.figure(pictures.pair(images, loaded.image_shape, titles, scores), "pair")

# %% tags=["check-image"]
if loaded.image_shape:
    wanted = [f"{start} to {end}" for start, end in seen.pairs]
    _ = output.figure(pictures.grid(seen.factuals, seen.found, wanted, loaded.image_shape), "grid")

# %% tags=["tol-0.02"]
Markdown(answers.gallery_sentence(seen, pair, readings[0]))

# %% [markdown]
# ## In short
#
# "Supported" means that all three differences to the standard network are negative with their whole intervals;
# "contradicted" that one is positive with its whole interval; "undecided" is the rest. The thesis' column says
# whether the means of its Table 1 have that order.

# %%
_ = output.json(
    **facts.header(f"rq1-{dataset}", sizes, seeds, readings, loaded),
    settings=settings,
    metric=metric,
    anchors=known,
    cells=cells,
    difference=differences,
    lowest={name: {stop: tables.lowest(c) for stop, c in by_stop.items()} for name, by_stop in cells.items()},
    pair=pair,
    stability=stability,
    finer=compared,
    finer_gap=gaps,
)

# %%
answers.rq1_verdicts(differences, dataset, comparable=comparable)
