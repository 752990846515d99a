"""Charts of the study: one palette, one order of the regimes, intervals as bars, the thesis as hollow diamonds.

Every function takes the records that the notebooks also write for the paper and returns a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from robexpl.regimes import ADVERSARIES, REGIME_NAMES, REGIMES

# after Okabe and Ito (2008), distinct for colour-blind readers; the standard network stands apart in grey
COLOURS = {"standard": "#4D4D4D", "weak": "#56B4E9", "medium": "#0072B2", "strong": "#D55E00"}
MARKERS = {"standard": "o", "weak": "v", "medium": "s", "strong": "^"}
FADED = "#8A8A8A"
COLUMN, PAGE = 3.4, 7.0  # widths in inches
ATTACK_LABELS = {
    "clean": "clean",
    "fgsm": "FGSM",
    "pgd_early_stop": "PGD,\nearly stop",
    "pgd_projected": "PGD,\nprojected",
}
STOP_TITLES = {"decision_threshold": "Decision threshold (DTC)", "generator_conditions": "Generator conditions (GCC)"}
STOP_SHORT = {"decision_threshold": "DTC", "generator_conditions": "GCC"}


def use_style() -> None:
    """Set the looks of all figures, small type, light grid, open frame, and of tables, nothing cut off."""
    pd.set_option("display.width", 160, "display.max_columns", 20, "display.max_colwidth", None)
    sns.set_theme(
        context="paper",
        style="whitegrid",
        rc={
            "figure.dpi": 110,
            "font.family": "DejaVu Sans",
            "font.size": 8.5,
            "axes.labelsize": 8.5,
            "axes.titlesize": 9,
            "axes.titlelocation": "left",
            "axes.edgecolor": "#B0B0B0",
            "axes.linewidth": 0.6,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "grid.color": "#E6E6E6",
            "grid.linewidth": 0.5,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "lines.linewidth": 1.3,
            "lines.markersize": 4.2,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "image.cmap": "gray_r",
            "image.interpolation": "nearest",
        },
    )


def reading_title(reading: str) -> str:
    """Return what a panel or legend calls a reading."""
    return f'reading "{reading}"'


def panels(columns: int, rows: int = 1, *, width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes (rows, columns), with room made for what is around them."""
    use_style()
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained", **options)


def interval(ax: Axes, x: float, y: float, record: Mapping[str, float], *, axis: str = "y", **options: Any) -> None:
    """Draw a mark with its 95 % interval along one axis."""
    error = [[max(record["mean"] - record["low"], 0)], [max(record["high"] - record["mean"], 0)]]
    ax.errorbar(x, y, **{f"{axis}err": error}, elinewidth=1.0, capsize=0, linestyle="none", zorder=3, **options)


def diamond(ax: Axes, x: Sequence[float] | float, y: Sequence[float] | float) -> None:
    """Draw what the thesis reports."""
    ax.plot(x, y, "D", markersize=5.2, markerfacecolor="none", markeredgecolor="black", markeredgewidth=0.8, zorder=4)


def regime_mark(regime: str, *, reading: int = 0) -> dict[str, Any]:
    """Return the looks of a regime's mark: filled in the first reading, hollow in the second, else half-filled."""
    return {"marker": MARKERS[regime], "color": COLOURS[regime], **_filling(COLOURS[regime], reading)}


def _filling(colour: str, reading: int) -> dict[str, Any]:
    half = {"fillstyle": "left", "markerfacecoloralt": "white", "markersize": 5.2} if reading == 2 else {}
    return {"markerfacecolor": "white" if reading == 1 else colour, "markeredgecolor": colour, **half}


def legend(fig: Figure, *, regimes: bool = True, readings: Sequence[str] = (), thesis: bool = False) -> None:
    """Explain colours, fillings and diamonds in one row above the panels."""
    handles = [Line2D([], [], linestyle="none", label=REGIME_NAMES[r], **regime_mark(r)) for r in REGIMES] * regimes
    for i, reading in enumerate(readings if len(readings) > 1 else ()):
        looks = {"marker": "o", "color": FADED, **_filling(FADED, i)}
        handles.append(Line2D([], [], linestyle="none", label=reading_title(reading), **looks))
    if thesis:
        looks = {"marker": "D", "markerfacecolor": "none", "markeredgecolor": "black", "markeredgewidth": 0.8}
        handles.append(Line2D([], [], linestyle="none", label="thesis", **looks))
    if handles:
        columns = len(handles) if fig.get_figwidth() > COLUMN or len(handles) <= 5 else 3
        gaps = {"handletextpad": 0.1, "handlelength": 1.2, "columnspacing": 1.0 if len(handles) < 5 else 0.7}
        fig.legend(handles=handles, loc="outside upper center", ncols=columns, **gaps)


def accuracy(records: Mapping, *, thesis: Mapping | None = None) -> Figure:
    """Plot accuracies {reading: {regime: {attack: A}}}: a panel per reading, a group per attack.

    `thesis` is {regime: {"clean", "fgsm", "pgd"}}; its PGD is the one that stops early.
    """
    fig, axes = panels(1, len(records), width=COLUMN, height=0.6 + 1.6 * len(records), sharex=True, sharey=True)
    places = {"clean": "clean", "fgsm": "fgsm", "pgd": "pgd_early_stop"}
    for ax, (reading, of_regime) in zip(axes[:, 0], records.items(), strict=True):
        for i, regime in enumerate(REGIMES):
            for j, attack in enumerate(ATTACK_LABELS):
                record, x = of_regime[regime][attack], j + 0.17 * (i - 1.5)
                interval(ax, x, record["mean"], record, **regime_mark(regime))
            for name, attack in places.items() if thesis else ():
                diamond(ax, list(ATTACK_LABELS).index(attack) + 0.17 * (i - 1.5), thesis[regime][name])
        ax.set(title=reading_title(reading), ylabel="test accuracy", ylim=(-0.04, 1.04))
        ax.grid(axis="x", visible=False)
    axes[-1, 0].set_xticks(range(len(ATTACK_LABELS)), ATTACK_LABELS.values())
    legend(fig, thesis=thesis is not None)
    return fig


def loss(frame: pd.DataFrame) -> Figure:
    """Plot the training loss of `study.histories` by epoch: a panel per reading, the range over seeds as a band."""
    readings = list(frame["reading"].unique())
    fig, axes = panels(len(readings), width=PAGE if len(readings) > 1 else COLUMN, height=2.3, sharey=True)
    for ax, reading in zip(axes[0], readings, strict=True):
        ends = {}
        for regime in REGIMES:
            rows = frame[(frame["reading"] == reading) & (frame["regime"] == regime)].groupby("epoch")["loss"]
            mean = rows.mean()
            ax.plot(mean.index, mean, color=COLOURS[regime])
            ax.fill_between(mean.index, rows.min(), rows.max(), color=COLOURS[regime], alpha=0.2, linewidth=0)
            ends[regime] = float(mean.iloc[-1])
        ax.set(title=reading_title(reading), xlabel="epoch", yscale="log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(NullLocator())
        label_ends(ax, float(frame["epoch"].max()), ends)
    axes[0, 0].set_ylabel("training loss")
    return fig


def label_ends(ax: Axes, x: float, ends: Mapping[str, float]) -> None:
    """Write each regime's name at the right end of its line, pushed apart where lines end together."""
    to_pixels = ax.transData.transform
    ax.autoscale_view()
    span, gap, floor = ax.get_window_extent().height, 11.0, -1e9
    for regime, value in sorted(ends.items(), key=lambda item: item[1]):
        height = to_pixels((x, value))[1]
        floor = max(height, floor + gap * span / max(span, 1))
        offset = (floor - height) * 72 / ax.figure.dpi
        ax.annotate(
            REGIME_NAMES[regime], (x, value), xytext=(4, offset), textcoords="offset points", color=COLOURS[regime],
            va="center", fontsize=8, annotation_clip=False,
        )  # fmt: skip


def implausibility(
    cells: Mapping, *, thesis: Mapping | None = None, anchors: Mapping[str, float] | None = None
) -> Figure:
    """Plot implausibility {reading: {stop: {regime: C}}}: a panel per stop, a line per regime, a mark per reading.

    `thesis` is {regime: {stop: {"mean"}}}; `anchors` {name: score} are drawn as dotted lines.
    """
    readings, anchors = list(cells), dict(sorted((anchors or {}).items(), key=lambda item: item[1]))
    rows = len(REGIMES) + 0.45 * len(anchors)
    fig, axes = panels(2, width=PAGE, height=0.8 + 0.43 * rows, sharey=True, sharex=True)
    for ax, stop in zip(axes[0], STOP_TITLES, strict=True):
        for i, regime in enumerate(REGIMES):
            for j, reading in enumerate(readings):
                record, y = cells[reading][stop][regime], i + 0.22 * (j - (len(readings) - 1) / 2)
                interval(ax, record["mean"], y, record, axis="x", **regime_mark(regime, reading=j))
            if thesis:
                diamond(ax, thesis[regime][stop]["mean"], i)
        ax.set(title=STOP_TITLES[stop], xlabel="implausibility (lower: more plausible)", ylim=(rows - 0.3, -0.6))
        ax.grid(axis="y", visible=False)
    for ax in axes[0]:
        label_anchors(ax, anchors)
    axes[0, 0].set_yticks(range(len(REGIMES)), [REGIME_NAMES[regime] for regime in REGIMES])
    for text, regime in zip(axes[0, 0].get_yticklabels(), REGIMES, strict=True):
        text.set_color(COLOURS[regime])
    legend(fig, regimes=False, readings=readings, thesis=thesis is not None)
    return fig


def label_anchors(ax: Axes, anchors: Mapping[str, float]) -> None:
    """Draw anchors (ascending) as dotted lines that end at their names, the greatest at the top."""
    low, high = ax.get_xlim()
    low, high = min([low, *anchors.values()]), max([high, *anchors.values()])
    for i, (name, value) in enumerate(reversed(anchors.items())):
        y, right = len(REGIMES) - 0.2 + 0.45 * i, value < low + 0.7 * (high - low)
        ax.plot([value, value], [-0.6, y], color=FADED, linestyle=":", linewidth=1.0, zorder=1)
        place = {"ha": "left" if right else "right", "va": "center", "fontsize": 7.5, "color": FADED, "zorder": 2}
        place["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        ax.annotate(name, (value, y), xytext=(4 if right else -4, 0), textcoords="offset points", **place)


def trend(cells: Mapping) -> Figure:
    """Plot implausibility against the radius of the adversary in training (0: standard): a panel per stop."""
    radius = {regime: opponent.eps if (opponent := ADVERSARIES[regime]) else 0.0 for regime in REGIMES}
    places = {}
    for j, name in enumerate(cells):  # the readings side by side, so that no mark hides another
        shifted = {regime: x + 0.004 * (j - (len(cells) - 1) / 2) for regime, x in radius.items()}
        places[name] = {regime: {"mean": x, "low": x, "high": x} for regime, x in shifted.items()}
    fig, axes = _by_stop(cells, places, "radius ε of the adversary in training", joined=True)
    for ax in axes:
        ax.set_xticks(list(radius.values()), [f"{x:g}" for x in radius.values()])
    return fig


def against_accuracy(cells: Mapping, accuracies: Mapping) -> Figure:
    """Plot implausibility against the accuracy under projected PGD: a panel per stop."""
    places = {name: {r: records["pgd_projected"] for r, records in of.items()} for name, of in accuracies.items()}
    return _by_stop(cells, places, "test accuracy under projected PGD", joined=False)[0]


def _by_stop(cells: Mapping, places: Mapping, xlabel: str, *, joined: bool) -> tuple[Figure, Sequence[Axes]]:
    """Plot cells {reading: {stop: {regime: C}}} at places {reading: {regime: record}}, a panel per stop."""
    fig, axes = panels(2, width=PAGE, height=2.5)
    for ax, stop in zip(axes[0], STOP_TITLES, strict=True):
        for j, (reading, by_stop) in enumerate(cells.items()):
            across, up = places[reading], by_stop[stop]
            if joined:
                line = [across[r]["mean"] for r in REGIMES], [up[r]["mean"] for r in REGIMES]
                ax.plot(*line, color=FADED, linewidth=0.9, linestyle=("-", "--", ":")[j], zorder=2)
            for r in REGIMES:
                for axis, record in (("x", across[r]), ("y", up[r])):
                    interval(ax, across[r]["mean"], up[r]["mean"], record, axis=axis, **regime_mark(r, reading=j))
        ax.set(title=STOP_TITLES[stop], xlabel=xlabel)
    axes[0, 0].set_ylabel("implausibility")
    legend(fig, readings=list(cells))
    return fig, axes[0]
