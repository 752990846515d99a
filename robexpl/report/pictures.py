"""Pictures of the study: digits, counterfactuals and a path in the plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from robexpl.regimes import REGIME_NAMES, REGIMES
from robexpl.report.plots import COLUMN, PAGE, STOP_SHORT, panels

CLASS_COLOURS = ("#E69F00", "#0072B2")


def show(ax: Axes, image: Tensor, shape: tuple[int, int], *, title: str = "", below: str = "") -> None:
    """Draw one image of intensities in [0, 1], ink dark, with a line above and one below."""
    ax.imshow(image.reshape(shape).numpy(), vmin=0, vmax=1)
    frame(ax, title, below)


def frame(ax: Axes, title: str = "", below: str = "") -> None:
    """Take ticks and grid from a picture and give it a thin frame."""
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.set_title(title, loc="center", fontsize=8.5)
    ax.set_xlabel(below, fontsize=8, labelpad=2)
    for spine in ax.spines.values():
        spine.set(visible=True, color="#D0D0D0", linewidth=0.5)


def samples(x: Tensor, y: Tensor, shape: tuple[int, int], *, per_class: int = 2) -> Figure:
    """Draw the first `per_class` images of every class, a class per column."""
    classes = y.unique().tolist()
    fig, axes = panels(len(classes), per_class, width=PAGE, height=0.25 + PAGE / len(classes) * per_class)
    for j, label in enumerate(classes):
        for i, row in enumerate((y == label).nonzero().flatten()[:per_class]):
            show(axes[i, j], x[row], shape, title=f"{label}" if i == 0 else "")
    return fig


def attacked(clean: Tensor, adversarial: Tensor, shape: tuple[int, int], captions: Sequence[str]) -> Figure:
    """Draw an image, the perturbation and their sum; the captions say what the network makes of the two images."""
    fig, axes = panels(3, width=PAGE * 0.75, height=2.15)
    limit = max(float((adversarial - clean).abs().max()), 1e-6)
    show(axes[0, 0], clean, shape, title="test image", below=captions[0])
    axes[0, 1].imshow((adversarial - clean).reshape(shape).numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
    frame(axes[0, 1], "perturbation", f"each pixel moves by at most {limit:.2g}")
    show(axes[0, 2], adversarial, shape, title="sum of the two", below=captions[1])
    return fig


def path(
    points: Tensor,
    labels: Tensor,
    plane: tuple[np.ndarray, np.ndarray, np.ndarray],
    steps: Tensor,
    names: Sequence[str],
) -> Figure:
    """Draw the path `steps` (n, 2) of a search among `points` (m, 2) of two classes.

    `plane` holds horizontal and vertical places and the probability (rows, columns) of the target class there.
    """
    fig, axes = panels(1, width=COLUMN * 1.25, height=2.9)
    ax, (across, up, probability) = axes[0, 0], plane
    colours = LinearSegmentedColormap.from_list("classes", [CLASS_COLOURS[0], "white", CLASS_COLOURS[1]])
    shade = ax.contourf(across, up, probability, levels=np.linspace(0, 1, 11), cmap=colours, alpha=0.45, zorder=0)
    ax.contour(across, up, probability, levels=[0.5], colors="#333333", linewidths=1.0, zorder=1)
    for label, colour in enumerate(CLASS_COLOURS):
        of_class = points[labels == label]
        looks = {"color": colour, "markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.3}
        ax.plot(*of_class.T, ".", label=names[label], zorder=2, **looks)
    ax.plot(*steps.T, "-o", color="black", markersize=2.4, linewidth=1.0, zorder=3)
    looks = {"color": "black", "markeredgecolor": "white", "linestyle": "none", "zorder": 4}
    for place, marker, size, text, offset in (
        (0, "o", 7, "factual", (8, -3)),
        (-1, "*", 12, "counterfactual", (9, -3)),
    ):
        ax.plot(*steps[place], marker=marker, markersize=size, **looks)
        box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
        ax.annotate(text, steps[place].tolist(), xytext=offset, textcoords="offset points", zorder=5, bbox=box)
    fig.colorbar(shade, ax=ax, label=f"probability of {names[1]}", ticks=[0, 0.5, 1], shrink=0.9, aspect=25)
    frame(ax)
    ax.legend(loc="upper right", handletextpad=0.1)
    return fig


def pair(images: Sequence[Tensor], shape: tuple[int, int], titles: Sequence[str], captions: Sequence[str]) -> Figure:
    """Draw a factual and its counterfactuals side by side."""
    fig, axes = panels(len(images), width=PAGE * 0.75, height=2.15)
    for ax, image, title, caption in zip(axes[0], images, titles, captions, strict=True):
        show(ax, image, shape, title=title, below=caption)
    return fig


def grid(
    factuals: Tensor, found: dict[str, dict[str, tuple[Tensor, Tensor]]], wanted: Sequence[str], shape: tuple[int, int]
) -> Figure:
    """Draw counterfactuals {stop: {regime: (images (n, d), scores (n,))}} of n factuals, a row each.

    `wanted` says beside each factual what was searched.
    """
    stops, block, rows = list(found), len(REGIMES) + 1, len(factuals)
    ratios = [1, *([0.15, *[1] * len(REGIMES)] * len(stops))]  # a narrow gap before each stop
    size = {"width": PAGE, "height": 0.45 + (PAGE / sum(ratios) + 0.19) * rows}
    fig, axes = panels(len(ratios), rows, gridspec_kw={"width_ratios": ratios}, **size)
    for i in range(rows):
        show(axes[i, 0], factuals[i], shape, title="factual" if i == 0 else "", below=wanted[i])
        for j, stop in enumerate(stops):
            axes[i, 1 + j * block].set_axis_off()
            for k, regime in enumerate(REGIMES):
                images, scores = found[stop][regime]
                title = f"{STOP_SHORT[stop]}\n{REGIME_NAMES[regime]}" if i == 0 else ""
                show(axes[i, 2 + j * block + k], images[i], shape, title=title, below=f"{float(scores[i]):.3f}")
    return fig
