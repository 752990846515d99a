"""Figures of the sensitivity study: maps of the estimate, curves along each setting, rulers, and the logit scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from robexpl.regimes import REGIME_NAMES
from robexpl.report import plots, words
from robexpl.report.sensitivity import DTC, GCC, PAIR, reached

TITLES = {
    "scale": "logits multiplied by s",
    "reg": "ridge ρ",
    "steps": "steps (of 0.1)",
    "learning_rate": "step size, way as long",
    "start_noise": "noise at the start",
    "threshold": "target probability asked for",
    "k": "neighbours k",
}
RULER_NAMES = {
    "ssim": "SSIM",
    "ssim_cropped": "SSIM, cropped",
    "euclidean": "Euclidean",
    "l1": "L1",
    "robust": "Euclidean, by\nquartile range",
    "mahalanobis": "Mahalanobis",
}
ESTIMATE = "strong - standard"
SERIES = {
    GCC: {"marker": "o", "color": "#222222"},
    DTC: {"marker": "o", "color": "#777777", "markerfacecolor": "white"},
}


def maps(records: Mapping, published: float) -> Figure:
    """Draw the maps of `sensitivity.maps`, a panel per stop: colour the estimate, dot where its interval excludes 0.

    Hatched where one of the networks reaches the target class in fewer than half of the searches; framed the reading's
    own weights, framed by dashes `published` times its energy weight.
    """
    wide = len(records) > 1
    fig, axes = plots.panels(len(records), width=plots.PAGE if wide else plots.COLUMN, height=3.1)
    for ax, (stop, record) in zip(axes[0], records.items(), strict=True):
        means = np.array([[cell["mean"] for cell in row] for row in record["cells"]])
        # one far corner, where searches run away, must not bleach the rest
        end = max(float(np.quantile(np.abs(means), 0.9)), 1e-9)
        image = ax.imshow(means, cmap="RdBu_r", vmin=-end, vmax=end, origin="lower", aspect="auto")
        for (i, j), value in np.ndenumerate(means):
            cell = record["cells"][i][j]
            hatched = not reached(cell)
            shade = "white" if abs(value) > 0.6 * end and not hatched else "black"
            paper = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6} if hatched else None
            sure = "•" if words.side(cell) != "unclear" else ""
            said = f"{value:+.2f}\n{sure}" if sure else f"{value:+.2f}"
            ax.text(j, i, said, ha="center", va="center", fontsize=6.5, color=shade, linespacing=0.9, bbox=paper)
            if hatched:
                place = (j - 0.5, i - 0.5)
                ax.add_patch(Rectangle(place, 1, 1, fill=False, hatch="////", edgecolor="#00000055", linewidth=0))
        energy, l1 = record["own"]
        _frame(ax, record, energy, l1, "-")
        _frame(ax, record, published * energy, l1, "--")
        ax.set_xticks(range(means.shape[1]), [f"{v:g}" for v in record["l1"]])
        ax.set_yticks(range(means.shape[0]), [f"{v:g}" for v in record["energy"]])
        ax.set(title=plots.STOP_TITLES[stop], xlabel="distance weight λ₁")
        ax.grid(visible=False)
        fig.colorbar(image, ax=ax, extend="both", pad=0.02, aspect=30).set_label(ESTIMATE)
    axes[0, 0].set_ylabel("energy weight λ₂")
    handles = [
        Line2D([], [], linestyle="none", marker="o", color="black", markersize=3, label="interval excludes 0"),
        Patch(facecolor="white", edgecolor="#00000088", hatch="////", label="target seldom reached"),
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=2)
    return fig


def _frame(ax: Axes, record: Mapping, energy: float, l1: float, style: str) -> None:
    if energy in record["energy"] and l1 in record["l1"]:
        place = (record["l1"].index(l1) - 0.5, record["energy"].index(energy) - 0.5)
        ax.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor="black", linewidth=1.4, linestyle=style, zorder=3))


def curves(records: Mapping) -> Figure:
    """Draw `sensitivity.curves`: a small panel per setting, the reading's own value shaded, 95 % intervals."""
    columns = 4
    rows = -(-(len(records) + 1) // columns)  # one place for the legend
    fig, axes = plots.panels(columns, rows, width=plots.PAGE, height=0.3 + 1.75 * rows)
    for ax, (setting, by_stop) in zip(axes.flat, records.items(), strict=False):
        points = next(iter(by_stop.values()))
        for i, point in enumerate(points):
            if point["own"]:
                ax.axvspan(i - 0.4, i + 0.4, color="#EEF2F5", zorder=0)
        for j, (stop, line) in enumerate(by_stop.items()):
            places = [i + 0.2 * (j - (len(by_stop) - 1) / 2) for i in range(len(line))]
            ax.plot(places, [point["mean"] for point in line], color=SERIES[stop]["color"], linewidth=0.7, zorder=2)
            for place, point in zip(places, line, strict=True):
                plots.interval(ax, place, point["mean"], point, **SERIES[stop])
        ax.axhline(0, color=plots.FADED, linewidth=0.8, zorder=1)
        every = -(-len(points) // 6)  # more names than that would run into each other
        named = range(0, len(points), every)
        ax.set_xticks(named, [number(points[i]["value"]) for i in named])
        ax.set_xlim(-0.5, len(points) - 0.5)
        ax.tick_params(labelsize=6.5)
        ax.set_title(TITLES[setting], fontsize=8)
        ax.grid(axis="x", visible=False)
    for ax in axes.flat[len(records) :]:
        ax.set_axis_off()
    for row in axes:
        row[0].set_ylabel(ESTIMATE, fontsize=7.5)
    axes.flat[-1].legend(handles=_stops(), loc="center", fontsize=7.5)
    return fig


def number(value: float) -> str:
    """Write a setting's value briefly: fractions of two as such, thousands with k."""
    if value in (0.125, 0.25):
        return f"1/{1 / value:g}"
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def rulers(records: Mapping) -> Figure:
    """Draw `sensitivity.rulers`: the estimate in units of the standard network's mean, a row per ruler."""
    fig, axes = plots.panels(1, width=plots.COLUMN, height=1.0 + 0.42 * len(records))
    ax = axes[0, 0]
    for i, by_stop in enumerate(records.values()):
        for j, stop in enumerate((GCC, DTC)):
            relative = {key: 100 * value for key, value in by_stop[stop]["relative"].items()}
            plots.interval(ax, relative["mean"], i + 0.24 * (j - 0.5), relative, axis="x", **SERIES[stop])
    ax.axvline(0, color=plots.FADED, linewidth=0.8, zorder=1)
    ax.set_yticks(range(len(records)), [RULER_NAMES[ruler] for ruler in records])
    ax.set(xlabel=f"{ESTIMATE}, % of standard", ylim=(len(records) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    fig.legend(handles=_stops(), loc="outside upper center", ncols=1)
    return fig


def _stops() -> list[Line2D]:
    return [Line2D([], [], linestyle="none", label=plots.STOP_TITLES[stop], **SERIES[stop]) for stop in SERIES]


def mechanism(records: Mapping, scales: Sequence[Mapping], gradients: Mapping[str, float]) -> Figure:
    """Draw what equal gradients make of the difference, by reading, and the scores against the size of gradients.

    `scales` is the curve over the logit scale, `gradients` the mean size by regime of the reading it belongs to.
    """
    fig, grid = plots.panels(2, width=plots.PAGE, height=2.7)
    axes = grid[0]
    names = {"before": "as trained", "after": "standard shrunk", "other_way": "strong grown"}
    fills = {"before": "#222222", "after": "white", "other_way": "#BBBBBB"}
    for i, record in enumerate(records.values()):
        for j, (key, title) in enumerate(names.items()):
            look = {
                "marker": "o",
                "color": "#222222",
                "markerfacecolor": fills[key],
                "label": title if i == 0 else None,
            }
            plots.interval(axes[0], record[key]["mean"], i + 0.24 * (j - 1), record[key], axis="x", **look)
    axes[0].axvline(0, color=plots.FADED, linewidth=0.8, zorder=1)
    axes[0].set_yticks(range(len(records)), list(records))
    axes[0].set(xlabel=ESTIMATE, ylim=(len(records) - 0.5, -0.5), title="Gradients made equal")
    axes[0].grid(axis="y", visible=False)
    fig.legend(loc="outside upper left", ncols=3, fontsize=7)
    for regime in PAIR[::-1]:
        x = [point["value"] * gradients[regime] for point in scales]
        y = [point["means"][regime] for point in scales]
        axes[1].plot(x, y, label=REGIME_NAMES[regime], **plots.regime_mark(regime))
        own = [i for i, point in enumerate(scales) if point["own"]]
        axes[1].plot([x[i] for i in own], [y[i] for i in own], "o", markersize=9, markerfacecolor="none", color="black")
    axes[1].set_xscale("log", base=2)
    axes[1].xaxis.set_major_formatter("{x:g}")
    axes[1].set(
        xlabel="mean size of the target logit's gradient", ylabel="implausibility", title="Logits multiplied by s"
    )
    axes[1].legend(loc="best", fontsize=7)
    return fig
