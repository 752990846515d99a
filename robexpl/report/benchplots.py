"""The chart of `bench`: what the same work costs elsewhere, in units of our time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from robexpl.report.plots import COLOURS, FADED, PAGE, panels
from robexpl.report.readme import shown

OURS = COLOURS["medium"]


def speeds(paths: Mapping[str, Any]) -> Figure:
    """Plot CPU times relative to ours, {path: record of `bench.measure`}: a panel per path, a row per variant.

    Marks are medians over rounds, lines reach from the smallest to the largest ratio within a round.
    """
    rows = max(len(path["peers"]) for path in paths.values()) + 1
    fig, axes = panels(2, (len(paths) + 1) // 2, width=PAGE, height=0.5 + (len(paths) + 1) // 2 * (0.6 + 0.2 * rows))
    for ax in axes.flat[len(paths) :]:
        ax.set_axis_off()
    for ax, path in zip(axes.flat, paths.values(), strict=False):
        found = sorted([path["ours"], *path["peers"]], key=lambda row: row["against_ours"]["median"])
        ax.axvline(1, color=OURS, linewidth=0.8, zorder=1)
        for y, row in enumerate(found):
            colour = OURS if row["name"].startswith("robexpl") else FADED
            times = row["against_ours"]
            ax.plot([times["low"], times["high"]], [y, y], color=colour, linewidth=1.0, zorder=2)
            ax.plot(times["median"], y, "o", color=colour, zorder=3)
            ax.annotate(
                shown(times["median"]), (times["high"], y), xytext=(5, 0), textcoords="offset points", va="center",
                fontsize=7.5, color=colour,
            )  # fmt: skip
        ax.set_yticks(range(len(found)), [row["name"] for row in found], fontsize=7.5)
        ax.set(title=path["title"], xscale="log", ylim=(len(found) - 0.5, -0.5))
        low, high = ax.get_xlim()
        ax.set_xlim(low, high * (high / low) ** 0.15)  # room for the numbers
        ax.xaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 30 else (1, 2, 5)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter("{x:g}")
        ax.grid(axis="y", visible=False)
    fig.supxlabel("CPU time for the same work, ours = 1", fontsize=8.5)
    return fig
