"""The figure of the anchors: every cell of the study on the scale between real points and factuals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robexpl.regimes import REGIME_NAMES, REGIMES
from robexpl.report.anchors import ROUGH
from robexpl.report.plots import FADED, PAGE, STOP_SHORT, interval, legend, panels, regime_mark

Record = dict[str, Any]
STEP, BAND = 0.31, 1.7  # distance of two regimes and of two readings, where that of two anchors is 1
INNER = ("real", "factual", "noisy")  # always within the axis


def scale(anchors: Mapping, cells: Mapping, names: Mapping[str, str], reading: str) -> Figure:
    """Plot anchors {reading: {anchor: record}} above all cells {reading: {stop: {regime: record}}}: raw, normalised.

    The anchors drawn are those of `reading`; cells of other readings are normalised by their own. An anchor far beyond
    the cells is a mark at the edge with its value.
    """
    shown = dict(sorted(anchors[reading].items(), key=lambda item: item[1]["mean"]))
    zero, one = (shown[key]["mean"] for key in ("real", "factual"))
    bands = [(name, stop) for stop in STOP_SHORT for name in cells]
    places = [len(shown) - 0.2 + BAND * (i + 0.5) + 0.5 * (i >= len(cells)) for i in range(len(bands))]
    height = 0.75 + 0.165 * (places[-1] + BAND / 2)
    fig, axes = panels(2, width=PAGE, height=height, sharey=True)
    for ax, normalised in zip(axes[0], (False, True), strict=True):
        ends = []
        for (name, stop), y in zip(bands, places, strict=True):
            for j, regime in enumerate(REGIMES):
                record = cells[name][stop][regime]
                record = record if normalised else record["raw"]
                at = y + STEP * (j - (len(REGIMES) - 1) / 2)
                interval(ax, record["mean"], at, record, axis="x", **regime_mark(regime))
                ends += [record["low"], record["high"]]
        on_scale = {key: _scaled(record, zero, one) if normalised else record for key, record in shown.items()}
        _anchors(ax, on_scale, ends)
        ax.set(title="normalised (0: real points, 1: factuals)" if normalised else "as measured")
        ax.set_xlabel("implausibility (lower: more plausible)")
        ax.grid(axis="y", visible=False)
        ax.axhline(len(shown) - 0.4, color="#B0B0B0", linewidth=0.6)
        ax.axhline((places[len(cells) - 1] + places[len(cells)]) / 2, color="#B0B0B0", linewidth=0.6)
        ax.set_ylim(places[-1] + BAND / 2 + 0.1, -0.7)
    labels = [names[key] for key in shown] + [f"{STOP_SHORT[stop]}, {name}" for name, stop in bands]
    axes[0, 0].set_yticks([*range(len(shown)), *places], labels)
    for text in axes[0, 0].get_yticklabels()[: len(shown)]:
        text.set_color(FADED)
    legend(fig)
    return fig


def _scaled(record: Mapping[str, float], zero: float, one: float) -> Record:
    return {key: (record[key] - zero) / (one - zero) for key in ("mean", "low", "high")} | {"raw": record["mean"]}


def _anchors(ax: Axes, anchors: Mapping[str, Mapping], ends: list[float]) -> None:
    """Draw anchors as rows of their own, the roughest as lines down through the cells; limit the axis to the cells."""
    inner = [*ends, *(anchors[key]["mean"] for key in INNER)]
    low, high = min(inner), max(inner)
    room = 0.06 * (high - low)
    far = high + 0.35 * (high - low)
    for i, (key, record) in enumerate(anchors.items()):
        if record["mean"] > far:
            ax.plot(high + room, i, ">", color=FADED, markersize=4.2, clip_on=False)
            text = f"{record['mean']:.3g}"
            ax.annotate(text, (high + room, i), xytext=(-6, 0), textcoords="offset points", ha="right", va="center",
                        fontsize=7.5, color=FADED)  # fmt: skip
            continue
        low, high = min(low, record["low"]), max(high, record["high"])
        interval(ax, record["mean"], i, record, axis="x", marker="D", color=FADED, markersize=3.6)
        if key in ROUGH:
            ax.plot([record["mean"]] * 2, [i, 1e3], color=FADED, linestyle=":", linewidth=0.9, zorder=1)
    ax.set_xlim(low - room, high + room)


def shares(components: Mapping, parts: Mapping[str, str]) -> Figure:
    """Plot components of variance {reading: {stop: {regime: record}}} as stacked shares, a panel per stop."""
    rows = [(name, regime) for name in components for regime in REGIMES]
    fig, axes = panels(2, width=PAGE, height=0.95 + 0.17 * len(rows), sharey=True, sharex=True)
    colours = dict(zip(parts, ("#D55E00", "#56B4E9", "#0072B2", "#C8C8C8"), strict=True))
    used = [key for key in parts if any(key in c["parts"] for s in components.values() for r in s.values()
                                        for c in r.values())]  # fmt: skip
    for ax, stop in zip(axes[0], STOP_SHORT, strict=True):
        left = np.zeros(len(rows))
        for key in used:
            width = np.array([components[name][stop][regime]["shares"].get(key, 0.0) for name, regime in rows])
            ax.barh(
                range(len(rows)), width, left=left, color=colours[key], height=0.75, edgecolor="none", label=parts[key]
            )
            left += width
        ax.set(title=STOP_SHORT[stop], xlabel="share of the variance", xlim=(0, 1))
        ax.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(rows)), [f"{REGIME_NAMES[regime]}, {name}" for name, regime in rows])
    axes[0, 0].invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(used), columnspacing=1.0)
    return fig
