"""The looks of all figures: sizes, type, one palette and order, and the few drawings that several notebooks share."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robexpl.regimes import REGIME_NAMES
from robexpl.study import sizes

COLUMN, PAGE = 3.4, 7.0  # widths in print, in inches: figures are made at the size that they are printed in
INK, FADED = "#262626", "#767676"  # text and lines; both dark enough to be read on white
# After Okabe and Ito (2008), distinct for colour-blind readers, and each with a marker of its own. The light blue of
# "weak" is for marks: text in it could not be read.
COLOURS = {
    "standard": "#4D4D4D", "weak": "#56B4E9", "medium": "#0072B2", "strong": "#D55E00",
    "corrected": "#000000", "as_written": "#009E73", "as_run": "#CC79A7",
}  # fmt: skip
MARKERS = dict(zip(COLOURS, "ovs^osD", strict=True))
HOLLOW = ("as_written", "as_run")
OTHERS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#4D4D4D")
STOP_TITLES = {"decision_threshold": "Decision threshold (DTC)", "generator_conditions": "Generator conditions (GCC)"}
CONDITION_TITLES = {each.name: each.title for each in sizes.conditions()}
TITLES = {**REGIME_NAMES, **STOP_TITLES, **CONDITION_TITLES, **sizes.attack_titles()}  # and their order
LOOKS = {
    "font.family": "DejaVu Sans", "font.size": 7.5, "axes.labelsize": 7.5, "axes.titlesize": 8, "legend.fontsize": 7,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.titlelocation": "left", "text.color": INK,
    "axes.labelcolor": INK, "xtick.labelcolor": INK, "ytick.labelcolor": INK, "xtick.color": "#B0B0B0",
    "ytick.color": "#B0B0B0", "axes.edgecolor": "#B0B0B0", "axes.linewidth": 0.6, "axes.spines.right": False,
    "axes.spines.top": False, "axes.grid": True, "axes.axisbelow": True, "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5, "legend.frameon": False, "lines.linewidth": 1.2, "lines.markersize": 4,
    "image.cmap": "gray_r", "image.interpolation": "nearest", "figure.dpi": 120,
    "axes.prop_cycle": mpl.cycler(color=OTHERS),
}  # fmt: skip


def use() -> None:
    """Set the looks of figures, 7 to 8 pt type and a light grid, and of tables, nothing cut off."""
    mpl.rcParams.update(LOOKS)
    pd.set_option("display.width", 160, "display.max_columns", 30, "display.max_colwidth", None)


def title(name: str) -> str:
    """Return what figures call a regime, condition, stopping criterion or attack; any other name as it is."""
    return TITLES.get(name, str(name))


def panel(ax: Axes, dataset: str, *names: str, **labels: Any) -> None:
    """Title a panel with the dataset and what it shows of it; further labels as `Axes.set` takes them."""
    ax.set(title=", ".join([dataset, *map(title, names)]), **labels)


def ordered(values: Sequence[Any]) -> list[Any]:
    """Return the different values in the order of the study, others as they come."""
    known = list(TITLES)
    return sorted(dict.fromkeys(values), key=lambda value: known.index(value) if value in TITLES else len(known))


def mark(name: str, number: int = 0) -> dict[str, Any]:
    """Return the colour, marker and filling of a regime or condition, of any other name by its number."""
    colour, marker = COLOURS.get(name, OTHERS[number % 6]), MARKERS.get(name, "osD^v<"[number % 6])
    return {"color": colour, "marker": marker, "markerfacecolor": "white" if name in HOLLOW else colour}


def points(ax: Axes, frame: pd.DataFrame, *, x: str, y: str, hue: str | None = "regime", line: bool = False) -> None:
    """Draw a mark per row at its mean with its 95 % interval, from the columns mean, low and high.
    One of x and y is "mean"; the other names a column: numbers lie where they are, names side by side (top to bottom on
    the y axis), those of one name spread by `hue`. `line` joins the marks of one hue. Labels are for `legend`.
    """
    if (x == "mean") == (y == "mean"):
        raise ValueError(f"expected either x or y to be 'mean', got {x!r} and {y!r}")
    key, upright = (y, False) if x == "mean" else (x, True)
    numeric = pd.api.types.is_numeric_dtype(frame[key])
    names = ordered(frame[key])
    hues = ordered(frame[hue]) if hue else [""]
    for j, value in enumerate(hues):
        rows = frame[frame[hue] == value] if hue else frame
        spread = 0 if numeric or hue == key else 0.16 * (j - (len(hues) - 1) / 2)
        at = rows[key].to_numpy(float) if numeric else np.array([names.index(name) for name in rows[key]]) + spread
        mean, low, high = rows[["mean", "low", "high"]].to_numpy(float).T
        ends = np.stack([mean - low, high - mean]).clip(0)
        across, up, bars = (at, mean, "yerr") if upright else (mean, at, "xerr")
        looks = {**mark(value, j), "linestyle": "-" if line else "none", "linewidth": 0.9, "elinewidth": 1.0}
        ax.errorbar(across, up, **{bars: ends}, **looks, label=title(value) if hue else None, zorder=3)
    if not numeric:
        axis, span = (ax.xaxis, (-0.6, len(names) - 0.4)) if upright else (ax.yaxis, (len(names) - 0.4, -0.6))
        axis.set_ticks(range(len(names)), [title(name) for name in names])
        axis.grid(visible=False)
        (ax.set_xlim if upright else ax.set_ylim)(*span)


def legend(fig: Figure) -> None:
    """Explain every mark once, in a row above the panels."""
    known = {label: handle for ax in fig.axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    if known:
        columns = len(known) if fig.get_figwidth() > COLUMN else min(len(known), 4)
        fig.legend(known.values(), known, loc="outside upper center", ncols=columns, handletextpad=0.2, columnspacing=1)


def reference_lines(ax: Axes, frame: pd.DataFrame) -> None:
    """Draw each row's mean as a dotted upright line that ends at its title, below the names that `points` drew."""
    rows = frame.sort_values("mean", ascending=False)
    base, (low, high) = max(ax.get_yticks()) + 0.4, ax.get_xlim()
    low, high = min(low, rows["mean"].min()), max(high, rows["mean"].max())
    for i, (name, value) in enumerate(zip(rows["title"], rows["mean"], strict=True)):
        y, right = base + 0.35 + 0.5 * i, value < low + 0.6 * (high - low)
        ax.plot([value, value], [-0.6, y], color=FADED, linestyle=":", linewidth=0.9, zorder=1)
        ax.annotate(
            name, (value, y), xytext=(3 if right else -3, 0), textcoords="offset points", fontsize=7, color=FADED,
            ha="left" if right else "right", va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    ax.set_ylim(base + 0.6 + 0.5 * len(rows), -0.6)


def images(pictures: Sequence, titles: Sequence[str] = (), *, columns: int, width: float = PAGE) -> Figure:
    """Return a figure of pictures (n, height, width) in rows of so many columns, 0 white and 1 black, with titles."""
    rows = -(-len(pictures) // columns)
    size = width / columns, width / columns + (0.2 if titles else 0)
    fig, axes = plt.subplots(rows, columns, figsize=(width, rows * size[1]), squeeze=False, layout="constrained")
    for ax, picture, text in zip(axes.flat, pictures, [*titles, *[""] * len(pictures)], strict=False):
        ax.imshow(np.asarray(picture), vmin=0, vmax=1, cmap="gray_r")
        ax.set_title(text, loc="center", fontsize=7)
    for ax in axes.flat:
        ax.set_axis_off()
    return fig
