"""The figure of the benchmark: the CPU time of the same work elsewhere, in units of ours."""

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from robexpl.pipeline.publish import to_svg
from robexpl.pipeline.style import COLOURS, FADED, LOOKS, PAGE


def speeds(paths: pd.DataFrame) -> bytes:
    """Draw the table of `bench.measure` as SVG, one panel per hot path and one row per peer.

    Marks are medians over rounds of the peer's CPU time divided by ours; lines join the smallest and the largest ratio.
    """
    measured = [rows.sort_values("median") for _, rows in paths.dropna(subset="median").groupby("path", sort=False)]
    lines = (len(measured) + 1) // 2
    with mpl.rc_context({**LOOKS, "axes.grid.axis": "x"}):
        height = 0.4 + lines * (0.5 + 0.16 * max(map(len, measured)))
        fig = Figure(figsize=(PAGE, height), layout="constrained")
        axes = fig.subplots(lines, 2, squeeze=False).flat
        for ax in axes[len(measured) :]:
            ax.set_axis_off()
        for ax, rows in zip(axes, measured, strict=False):
            _panel(ax, rows)
        fig.supxlabel("CPU time for the same work (ours = 1)", fontsize=7.5)
        return to_svg(fig, salt="bench", alt="CPU time of each hot path in other libraries, in units of ours")


def _panel(ax: Axes, rows: pd.DataFrame) -> None:
    ax.axvline(1, color=COLOURS["medium"], linewidth=0.8, zorder=1)
    for y, row in enumerate(rows.itertuples()):
        colour = COLOURS["medium"] if row.kind == "ours" else FADED
        ax.plot([row.low, row.high], [y, y], color=colour, linewidth=1.0, zorder=2)
        ax.plot(row.median, y, "o", color=colour, zorder=3)
        place = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 7}
        ax.annotate(shown(row.median), (row.high, y), color=colour, **place)
    ax.set_yticks(range(len(rows)), rows["peer"])
    ax.set(title=rows["title"].iloc[0], xscale="log", ylim=(len(rows) - 0.5, -0.5))
    low, high = ax.get_xlim()
    ax.set_xlim(low, high * (high / low) ** 0.15)  # makes room for the numbers
    ax.xaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 30 else (1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:g}")


def shown(times: float) -> str:
    """Write a ratio with three significant digits and no exponent."""
    return f"{times:.3g}" if times < 1000 else f"{float(f'{times:.3g}'):,.0f}"
