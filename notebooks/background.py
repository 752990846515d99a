# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # What do an adversarial attack and a counterfactual explanation have in common?
#
# *Two pictures before any statistics: Figures 1 and 2 of the thesis, made anew. Expected time: under a minute once
# the standard network of the image dataset is trained, which takes a minute on the full data.*
#
# **The claim examined** (thesis, sections 1 and 2). Attack and explanation are close relatives. Both start from a
# data point and follow the gradient of the network until its answer changes. The attack looks for the smallest change
# that fools; the counterfactual looks for the change that *would really make the point another class*. If a network's
# gradients are meaningless the two coincide: an explanation is then no more than an adversarial example. Training
# against attacks changes the gradients, so it should change the explanations too. Whether it makes them better is the
# question of the notebooks `rq1` and `rq2`; here we only watch the two at work.

# %% tags=["parameters"]
profile = "full"

# %%
from IPython.display import Markdown

from robexpl import ecco
from robexpl.artifacts import Output
from robexpl.readings import reading
from robexpl.regimes import FGSM_EPS
from robexpl.report import examples, pictures, plots, study

sizes = study.profile(profile)
output = Output("background", profile)
plots.use_style()

# %% [markdown]
# ## An attack
#
# Let $f_\theta(x)$ be the vector of class scores (logits) that a network with weights $\theta$ gives to the input
# $x$, and $\mathcal{L}(\theta, x, y)$ the cross-entropy of the true class $y$ under the softmax of these scores.
# Training changes $\theta$ to lower the loss. An attacker cannot touch $\theta$ and changes $x$ instead, to raise it.
# The **fast gradient sign method** (thesis, equation 2) does so in one step,
#
# $$ x' = x + \epsilon\, \operatorname{sgn}\bigl(\nabla_x \mathcal{L}(\theta, x, y)\bigr), $$
#
# and then clamps $x'$ to the range of valid inputs. Every input moves by the same small amount $\epsilon$, up or
# down, whichever hurts more. Among all changes with $\|x' - x\|_\infty \le \epsilon$ this one raises the loss most
# *if* the loss were linear. That it works so well on real networks says how linear they are.
#
# We take the standard network and its test images in their given order, and stop at the first image that the network
# gets right and that the attack turns into something else. No choosing by eye.

# %%
network = study.trained(sizes.image, "standard", seed=0, reading=reading("published"), profile=sizes)
data, model = network.load_data(), study.network(network)
found = examples.flip(model, data, eps=FGSM_EPS)
says = [
    f'"{data.class_names[c]}", probability {p:.2f}' for c, p in zip(found.predictions, found.confidences, strict=True)
]
_ = output.figure(pictures.attacked(found.clean, found.adversarial, data.image_shape, says), "digit")

# %% [markdown]
# *Figure 1. Left: a test image. Middle: what the attack adds, red where a pixel gets darker, blue where it gets
# lighter. Right: the sum, clamped to the valid range. Below: what the network sees.*

# %% tags=["tol-0.05"]
before, after = (data.class_names[c] for c in found.predictions)
Markdown(
    f"Test image {found.row} of {data.title} shows a **{data.class_names[found.label]}**. The network reads a "
    f"**{before}** with probability {found.confidences[0]:.2f}; after one step of size {FGSM_EPS:g} it reads "
    + (f"a **{after}**" if found.flips else f"still a **{after}**")
    + f" with probability {found.confidences[1]:.2f}. A person sees the same digit under some noise: "
    + (
        "the perturbation follows what matters to the network, not what matters to us."
        if found.flips
        else "here the network agrees."
    )
)

# %% [markdown]
# ## A counterfactual
#
# Now turn the tables. Ask not "what fools the network?" but "what would have to be different for the answer to be the
# class $t$?" The simplest gradient-based search descends, from the *factual* $x$, on
#
# $$ \mathcal{L}(\theta, z, t) + \lambda_1 \|z - x\|_1, \qquad z_{k+1} = z_k - \eta\, \nabla_z(\cdots), $$
#
# with a penalty that keeps the *counterfactual* $z$ close to the factual, and stops once the network gives the class
# $t$ a probability above some threshold. In two dimensions the whole search can be seen. We train a small standard
# network on two interleaved half circles and start from the highest point of the upper one.

# %%
plane = examples.moons(seed=0)
classifier = examples.classifier(plane, seed=0)
settings = ecco.Settings(l1=0.01, energy=0.0, learning_rate=0.02, start_noise=0.0, threshold=0.9, steps=200)
factual = plane.x_train[plane.y_train == 0]
factual = factual[factual[:, 1].argmax()]
steps = examples.path(classifier, factual, 1, settings=settings, bounds=plane.bounds)

# %% tags=["check-image"]
shade = examples.plane(classifier, plane.x_train, 1)
names = [f"class {name}" for name in plane.class_names]
_ = output.figure(pictures.path(plane.x_train, plane.y_train, shade, steps, names), "path")

# %% [markdown]
# *Figure 2. The search follows the gradient across the decision boundary (black line). Shade: probability of class 2.
# Each dot on the path is one step.*

# %% tags=["tol-0.05"]
ends = examples.probabilities(classifier, steps[[0, -1]], 1).tolist()
Markdown(
    f"In {len(steps) - 1} steps the probability of class {plane.class_names[1]} rises from {ends[0]:.2f} to "
    f"{ends[1]:.2f}, and the point moves by {float((steps[-1] - factual).norm()):.2f}. The search asks the network and "
    "nobody else: it stops where the *network* is convinced, whether or not data of that class are anywhere near. In "
    "two dimensions with points all over the plane the difference is small. With hundreds of inputs it need not be."
)

# %% [markdown]
# ## Why the two belong together
#
# Both pictures show the same machine: a data point pushed along a gradient with respect to the *input*. An attack is
# a search that must not be noticed, a counterfactual is a search that should be understood. So an explanation can
# only be as sensible as the gradients that it follows, and two words from the thesis (sections 2.2 and 3.2) say what
# "sensible" could mean:
#
# - a counterfactual is **faithful** if it shows what the network has learned of the target class. The generator *ECCo*
#   adds an energy term for this purpose (notebook `rq1`);
# - it is **plausible** if it lies close to real data of the target class.
#
# The thesis calls a network *explainable* to the degree that its faithful counterfactuals are plausible, and measures
# this as a distance to the nearest training points of the target class. Everything that follows rests on that
# definition.

# %%
_ = output.json(
    notebook="background",
    profile=profile,
    datasets={"image": sizes.image, "tabular": sizes.tabular},
    dataset=data.name,
    title=data.title,
    seeds=1,
    readings=["published"],
    digit={
        "label": data.class_names[found.label],
        "prediction": before,
        "confidence": found.confidences[0],
        "adversarial_prediction": after,
        "adversarial_confidence": found.confidences[1],
        "eps": FGSM_EPS,
        "flips": found.flips,
    },
    path={
        "steps": len(steps) - 1,
        "start_prob": ends[0],
        "end_prob": ends[1],
        "step_size": settings.learning_rate,
        "n_points": len(plane.x_train),
    },
)
