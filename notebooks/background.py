# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How do an attack, a counterfactual and its score work?
#
# Every method of the study, written down in a few lines of plain PyTorch, NumPy or scikit-image and run. Beside each
# stands the function of the package that the other notebooks use, which is faster, and a line that stops this notebook
# unless the two give the same numbers. An attack and a counterfactual search are close relatives (thesis, sections 1
# and 2): both start from a data point and follow the gradient of the network with respect to its *input*. The attack
# looks for a small change that misleads the network, the counterfactual for a change that explains it.
#
# Notebooks [models-mnist](models-mnist.ipynb) and [models-california](models-california.ipynb) apply the attacks,
# [rq1-mnist](rq1-mnist.ipynb) and [rq1-california](rq1-california.ipynb) the counterfactuals.

# %% tags=["parameters"]
profile = "full"

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import LinearSegmentedColormap
from skimage.metrics import structural_similarity
from sklearn.datasets import make_moons
from torch.nn import functional as F

from robexpl import attacks, metrics, models, training
from robexpl.data import Dataset
from robexpl.generators import ecco
from robexpl.pipeline import publish, style
from robexpl.seeds import numpy_generator, torch_generator
from robexpl.study import grid, sizes

study = sizes.whole(profile)
page = publish.Page("background", study)
style.use()

# %% [markdown]
# ## A network and some images
#
# The standard network of the first seed, and the test images in their given order. What is compared to the last digit
# is computed in double precision: in single precision two correct programs may disagree about the sign of a gradient
# that is nearly zero.

# %%
network = grid.of_seed(study.image, sizes.primary())["standard"]
data, model = network.data.load(), network.model()
exact = network.model().double()
x, y = data.x_test[:50].double(), data.y_test[:50]  # (n, d), (n,)
low, high = data.bounds
data.title, tuple(data.x_test.shape), data.class_names, (low, high)

# %% [markdown]
# ## The fast gradient sign method
#
# Let $f_\theta(x)$ be the logits that a network with weights $\theta$ gives to the input $x$, and
# $\mathcal{L}(\theta, x, y)$ the cross-entropy of the true class $y$ under their softmax. Training changes $\theta$ to
# lower the loss; an attacker cannot change $\theta$ and changes $x$ instead, to raise it. The fast gradient sign method
# (FGSM; thesis, equation 2) makes one step,
#
# $$ x' = x + \epsilon\, \operatorname{sgn}\bigl(\nabla_x \mathcal{L}(\theta, x, y)\bigr), $$
#
# and clamps $x'$ to the range of valid inputs. Among all changes with $\|x' - x\|_\infty \le \epsilon$ this one would
# raise the loss most if the loss were linear. With $m = \log \sum_{k \ne y} e^{f_k} - f_y$ the loss is $\log(1 + e^m)$.
# It rises with $m$, so that the gradients of both have the same sign. The code takes that of $m$, which is not lost to
# rounding where the network is sure of the class.


# %%
def sign_of_gradient(model, x, y):
    x, y = x.clone().requires_grad_(), y[:, None]
    logits = model(x)
    others = logits.scatter(1, y, -torch.inf).logsumexp(1)  # (n,)
    return torch.autograd.grad((others - logits.gather(1, y)[:, 0]).sum(), x)[0].sign()  # (n, d)


def fgsm(model, x, y, eps):
    return torch.clamp(x + eps * sign_of_gradient(model, x, y), low, high)


eps = sizes.settings()["attacks"]["fgsm"]["eps"]
plain = fgsm(exact, x, y, eps)
fast = attacks.fgsm(exact, x, y, eps=eps, bounds=data.bounds)
assert torch.allclose(plain, fast)
{"equal": torch.allclose(plain, fast), "largest change": round(float((fast - x).abs().max()), 6)}

# %% [markdown]
# We stop at the first test image that the network classifies correctly and that the attack turns into something else.

# %%
adversarial = attacks.fgsm(model, data.x_test, data.y_test, eps=eps, bounds=data.bounds)
with torch.no_grad():
    before, after = (torch.softmax(model(points), 1).max(1) for points in (data.x_test, adversarial))
flipped = (before.indices == data.y_test) & (after.indices != data.y_test)
row = int(flipped.nonzero()[0]) if flipped.any() else 0
digit = {
    "dataset": data.name,
    "label": data.class_names[data.y_test[row]],
    "prediction": data.class_names[before.indices[row]],
    "confidence": float(before.values[row]),
    "adversarial_prediction": data.class_names[after.indices[row]],
    "adversarial_confidence": float(after.values[row]),
    "eps": eps,
    "flips": bool(flipped[row]),
}
digit = page.table(pd.DataFrame([digit]), "digit")

# %%
sign = sign_of_gradient(model, data.x_test[row : row + 1], data.y_test[row : row + 1])[0]
ink, change = {"vmin": 0, "vmax": 1}, {"cmap": "RdBu_r", "vmin": -eps, "vmax": eps}
panels = [
    (data.x_test[row], ink, f"{data.title}, test image {row}", "intensity (ink)"),
    (eps * sign, change, "Radius times sign of gradient", "change (red: darker)"),
    (adversarial[row], ink, f"Sum, clamped to [{low:g}, {high:g}]", "intensity (ink)"),
]

# %%
fig, axes = plt.subplots(1, 3, figsize=(style.PAGE, 2.2), layout="constrained")
for ax, (picture, colours, title, key) in zip(axes, panels, strict=True):
    drawn = ax.imshow(picture.reshape(data.image_shape), **colours)
    style.panel(ax, title, xticks=[], yticks=[])
    ax.spines[:].set(visible=True)
    fig.colorbar(drawn, ax=ax, label=key, ticks=[colours["vmin"], 0, colours["vmax"]], shrink=0.85)
for ax, found in zip(axes[::2], (before, after), strict=True):
    ax.set_xlabel(f"read as {found.indices[row]}, probability {found.values[row]:.2f}")
alt = f"A test image of {data.title}, the perturbation that FGSM adds to it (red: darker, blue: lighter) and their sum"
page.figure(fig, "digit", alt=alt)

# %% tags=["conclusions"]
one = digit.iloc[0]
page.holds(
    f"The network reads the image correctly as a {one['prediction']} with probability {one['confidence']:.2f}. After "
    f"one step of size {one['eps']:g} it reads a {one['adversarial_prediction']} with probability "
    f"{one['adversarial_confidence']:.2f}, although a person still sees the same digit under some noise.",
    bool(digit["flips"].all() and (digit["label"] == digit["prediction"]).all()),
)

# %% [markdown]
# ## Projected gradient descent
#
# Projected gradient descent (PGD; thesis, equation 3) makes many small steps of this kind from a slightly noisy copy of
# $x$. After each of them $\Pi$ projects the point back into the ball of radius $\epsilon$ around $x$ and into the range
# of valid inputs,
#
# $$ x_{k+1} = \Pi\bigl(x_k + \alpha \operatorname{sgn} \nabla_x \mathcal{L}(\theta, x_k, y)\bigr). $$


# %%
def pgd(model, x, y, eps, step_size, steps, start):
    def project(z):
        return torch.clamp(torch.clamp(z, x - eps, x + eps), low, high)

    z = project(start)
    for _ in range(steps):
        z = project(z + step_size * sign_of_gradient(model, z, y))
    return z


how = {"eps": eps, "step_size": 0.01, "steps": 26}  # as robustness is measured in the study
start = torch.clamp(x + 0.01 * torch.randn(x.shape, generator=torch_generator(0, "start"), dtype=x.dtype), low, high)
plain = pgd(exact, x, y, **how, start=start)
fast = attacks.pgd(exact, x, y, **how, bounds=data.bounds, start=start)
assert torch.allclose(plain, fast)
accuracies = {name: metrics.accuracy(exact, z, y) for name, z in (("clean", x), ("FGSM", fgsm(exact, x, y, eps)))}
{"equal": torch.allclose(plain, fast), "accuracy": {**accuracies, "PGD": metrics.accuracy(exact, fast, y)}}

# %% [markdown]
# ## A counterfactual
#
# A counterfactual answers the question what would have to be different for the network to predict the class $t$. The
# simplest search descends from the *factual* $x$ on $\mathcal{L}(\theta, z, t) + \lambda_1 \|z - x\|_1$ and stops once
# $t$ has a probability above some threshold. The generator of the thesis, ECCo (Altmeyer et al., 2024; thesis,
# equation 4, without its conformal term), adds an energy, so that the point shows what the network takes for class $t$:
#
# $$ \mathcal{L}(\theta, z, t) + \lambda_1 \|z - x\|_1 + \lambda_2 \bigl(-f_t(z) + \rho f_t(z)^2\bigr). $$
#
# The condition `corrected` treats the distance by *soft-thresholding*: it makes the gradient step without the distance,
# then moves every input back towards its factual value by $\eta \lambda_1$, and no further than that value.


# %%
def smooth_part(model, z, target, s):
    logits = model(z)
    logit = logits.gather(1, target[:, None])  # (n, 1), of the target class
    return F.cross_entropy(logits, target, reduction="sum") + s.energy * (-logit + s.reg * logit**2).sum()


def descend(model, x, target, s):
    z = x.clone()
    while True:
        yield z
        z.requires_grad_()
        (slope,) = torch.autograd.grad(smooth_part(model, z, target, s), z)
        z = z.detach()
        if s.proximal:
            moved = z - s.learning_rate * slope - x
            z = x + moved.sign() * (moved.abs() - s.learning_rate * s.l1).clamp(min=0)
        else:
            z = z - s.learning_rate * (slope + s.l1 * (z - x).sign())
        z = torch.clamp(z, low, high)


# %% [markdown]
# Some steps in all three conditions, without noise at the start and with a tolerance so small that no search stops
# before its last step:

# %%
target = (y + 1) % data.n_classes
same = {}
for condition in sizes.conditions():
    how = study.image.search(condition.name, start_noise=0.0, tolerance=1e-12, steps=10)
    plain = next(z for step, z in enumerate(descend(exact, x, target, how)) if step == how.steps)
    fast = ecco.search(exact, x, target, settings=how, stop="generator_conditions", bounds=data.bounds)
    assert torch.allclose(plain, fast.x)
    same[condition.name] = {"steps": how.steps, "equal": torch.allclose(plain, fast.x)}
same

# %% [markdown]
# ### Where the energy comes to rest
#
# 1. As a function of the target logit alone the energy term is $-f_t + \rho f_t^2$. Its slope is $2 \rho f_t - 1$.
# 2. Below $f_t = 1 / (2\rho)$ the slope is negative, and descent raises the logit; above, descent lowers it.
# 3. So the term is least at $f_t = 1 / (2\rho)$, which is 5 for $\rho = 0.1$. It does not look for the most likely
#    point of the class but for one with a certain logit.
# 4. The cross-entropy still raises the logit a little there, and the distance to the factual holds it back.

# %%
how = study.image.search(sizes.primary().name)
logit = torch.tensor([0.0, 2.5, 5.0, 7.5, 10.0], requires_grad=True)
energy = -logit + how.reg * logit**2
(slope,) = torch.autograd.grad(energy.sum(), logit)
assert torch.isclose(slope[logit == 1 / (2 * how.reg)], torch.zeros(1)).all()
pd.DataFrame({"target logit": logit.tolist(), "energy": energy.tolist(), "slope": slope.tolist()}).round(2)

# %% [markdown]
# The search itself, from the 50 images: the mean target logit after so many steps.

# %%
logits = {}
for steps in (0, 10, 100, 1000):
    how = replace(study.image.search(sizes.primary().name, start_noise=0.0, tolerance=1e-12), steps=steps)
    found = ecco.search(exact, x, target, settings=how, stop="generator_conditions", bounds=data.bounds)
    logits[steps] = round(float(found.target_logit.mean()), 2)
logits

# %% [markdown]
# ## Structural similarity
#
# Images are compared by their structural similarity (SSIM; Wang et al., 2004): at every pixel means, variances and the
# covariance of the two images under a Gaussian window, averaged over all pixels. At the borders the images are
# continued as in a mirror; scikit-image leaves the borders out of its mean, so they are extended beforehand.


# %%
def ssim(a, b):
    a, b = (np.pad(image.reshape(data.image_shape).numpy(), 5, mode="symmetric") for image in (a, b))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    return structural_similarity(a, b, **options, full=True)[1][5:-5, 5:-5].mean()


known = data.x_train[:20].double()
plain = torch.tensor([[ssim(a, b) for b in known] for a in x[:10]])
fast = metrics.ssim(x[:10], known, image_shape=data.image_shape)
assert torch.allclose(plain, fast)
single = metrics.ssim(x[:10].float(), known.float(), image_shape=data.image_shape)  # the kernel that the study uses
assert torch.allclose(plain.float(), single, atol=1e-5)
{"pairs": plain.numel(), "equal": torch.allclose(plain, fast), "least": round(float(plain.min()), 3)}

# %% [markdown]
# ## Implausibility
#
# A counterfactual is *plausible* if it lies close to real data of the target class. Its implausibility is the mean
# distance to the $k$ nearest training points of that class: $(1 - \mathrm{SSIM}) / 2$ for images and the Euclidean
# distance for tabular data. Lower is more plausible.


# %%
def implausibility(points, target, distance, x_train, y_train, k):
    scores = []
    for point, label in zip(points, target.tolist(), strict=True):
        distances = torch.stack([distance(point, other) for other in x_train[y_train == label]])
        scores.append(distances.sort().values[:k].mean())
    return torch.stack(scores)


some = data.x_train[:400].double(), data.y_train[:400]
ways = {
    "ssim": lambda a, b: torch.tensor((1 - ssim(a, b)) / 2),
    "euclidean": lambda a, b: (a - b).norm(),
}
same = {}
for name, distance in ways.items():
    plain = implausibility(x[:3], target[:3], distance, *some, k=10)
    fast = metrics.implausibility(x[:3], target[:3], *some, distance=name, k=10, image_shape=data.image_shape)
    assert torch.allclose(plain, fast)
    same[name] = {"equal": torch.allclose(plain, fast), "scores": [round(score, 3) for score in fast.tolist()]}
same

# %% [markdown]
# ## A search that can be seen
#
# In two dimensions the whole path of a search can be drawn. The data are two interleaved half circles; the network is a
# small perceptron, trained here with the function that trains the networks of the study.

# %%
state = int(numpy_generator(0, "moons").integers(2**31))
moons, labels = make_moons(240, noise=0.15, random_state=state)
moons, labels = torch.from_numpy(moons.astype(np.float32)), torch.from_numpy(labels)
box = float(moons.min()) - 1, float(moons.max()) + 1
rows = (moons, labels)
plane = Dataset("moons", "Two moons", *rows, *rows, box, None, 2, ("$x_1$", "$x_2$"), ("1", "2"))

small = models.mlp(2, 32, 2, generator=torch_generator(0, "weights"))
small = training.fit(plane, "standard", seed=0, epochs=25, learning_rate=0.01, model=small)
{"accuracy": round(metrics.accuracy(small, moons, labels), 3)}

# %% [markdown]
# The search starts at the highest point of class 1 and asks for class 2 with probability 0.9. `descend` from above
# returns every point on its way.

# %%
how = ecco.Settings(l1=0.01, energy=0.0, learning_rate=0.02, start_noise=0.0, threshold=0.9, steps=200)
low, high = plane.bounds
factual = moons[labels == 0]
factual, wanted = factual[factual[:, 1].argmax()][None], torch.tensor([1])
steps = []
for point in descend(small, factual, wanted, how):
    steps.append(point.detach())
    if torch.softmax(small(point), 1)[0, 1] >= how.threshold or len(steps) > how.steps:
        break

found = ecco.search(small, factual, wanted, settings=how, stop="decision_threshold", bounds=plane.bounds)
assert len(steps) - 1 == int(found.steps)
assert torch.allclose(steps[-1], found.x, atol=1e-5)

# %%
with torch.no_grad():
    begin = torch.softmax(small(factual), 1)[0, 1]
path = {"steps": int(found.steps), "start_prob": float(begin), "end_prob": float(found.target_prob)}
path = page.table(pd.DataFrame([{**path, "step_size": how.learning_rate, "n_points": len(moons)}]), "path")

# %%
(left, bottom), (right, top) = (moons.amin(0) - 0.3).tolist(), (moons.amax(0) + 0.3).tolist()
across, up = torch.linspace(left, right, 90), torch.linspace(bottom, top, 90)
with torch.no_grad():
    points = torch.cartesian_prod(up, across).flip(1)  # (8100, 2), rows run upwards
    probability = torch.softmax(small(points), 1)[:, 1].reshape(90, 90)
colours = LinearSegmentedColormap.from_list("classes", ["#E69F00", "white", "#0072B2"])
walked = torch.cat(steps)  # (steps + 1, 2)

# %%
fig, ax = plt.subplots(figsize=(0.7 * style.PAGE, 3.0), layout="constrained")
shade = ax.contourf(across, up, probability, levels=np.linspace(0, 1, 11), cmap=colours, alpha=0.4)
fig.colorbar(shade, ax=ax, label="probability of class 2", ticks=[0, 0.5, 1])
ax.contour(across, up, probability, levels=[0.5], colors=style.INK, linewidths=1)
for label, (colour, marker) in enumerate([("#B37400", "o"), ("#0072B2", "s")]):
    ax.plot(*moons[labels == label].T, marker, color=colour, markersize=3.5, alpha=0.6, label=f"class {label + 1}")
ax.plot(*walked.T, "-o", color="black", markersize=2.5, linewidth=0.9, label="steps")
looks = {"color": "#D55E00", "markeredgecolor": "white", "linestyle": "none"}
ax.plot(*walked[0], marker="D", markersize=7, label="factual", **looks)
ax.plot(*walked[-1], marker="*", markersize=14, label="counterfactual", **looks)
style.panel(ax, plane.title, xlabel=plane.feature_names[0], ylabel=plane.feature_names[1])
style.legend(fig)
alt = "The path of a counterfactual search between two half circles, across the decision boundary of a network"
page.figure(fig, "path", alt=alt)

# %% [markdown]
# Each dot on the path is one step; the shade is the probability of class 2 and the black line the decision boundary.
# The search uses nothing but the network: it stops where the network is convinced, whether or not data of that class
# are near. In two dimensions with points all over the plane the difference is small; with hundreds of inputs it can be
# large.
#
# ## What the thesis asks
#
# - A counterfactual is **faithful** if it shows what the network has learned of the target class. The energy term of
#   ECCo is there for this purpose.
# - It is **plausible** if it lies close to real data of the target class. Implausibility measures how far away it lies.
#
# The thesis calls a network *explainable* to the degree that its faithful counterfactuals are plausible. An explanation
# can only be as sensible as the gradients that it follows; adversarial training changes these gradients, and so it
# should change the explanations. Whether it makes them better is the question of [rq1-mnist](rq1-mnist.ipynb) and
# [rq1-california](rq1-california.ipynb).
