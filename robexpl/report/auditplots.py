"""Charts of the audit, in the looks of `plots`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from robexpl.regimes import REGIME_NAMES, REGIMES
from robexpl.report import plots
from robexpl.report.study import STOPS

Record = Mapping[str, Any]
KIND_LOOKS = {
    "image": {"color": "#009E73", "linestyle": "--", "marker": "s", "markersize": 3},
    "tabular": {"color": "#CC79A7", "linestyle": ":", "marker": "D", "markersize": 3},
}
SETTING_LABELS = {"energy": "energy weight λ₂", "reg": "ridge ρ", "start_noise": "start noise (SD)"}


def profile(
    profiles: Record, marks: Mapping[str, Mapping[float, str]], cells: int, titles: Mapping[str, str]
) -> Figure:
    """Plot the sum of squared z against each setting, over all cells and for each kind of data.

    `marks` {setting: {value: label}} are drawn as vertical lines; the horizontal line is what independent cells would
    give by chance: one per cell.
    """
    fig, axes = plots.panels(len(profiles), width=plots.PAGE, height=2.4, sharey=True)
    for ax, (setting, found) in zip(axes[0], profiles.items(), strict=True):
        ax.axhline(cells, color=plots.FADED, linestyle=":", linewidth=1.0)
        for value, label in marks.get(setting, {}).items():
            ax.axvline(value, color=plots.FADED, linewidth=0.8)
            ax.annotate(
                label, (value, 0.98), xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points",
                rotation=90, va="top", fontsize=7.5, color="#555555",
            )  # fmt: skip
        for kind, looks in KIND_LOOKS.items():
            ax.plot(found["values"], found["of"][kind]["sum_z2"], linewidth=1.0, label=titles[kind], **looks)
        ax.plot(found["values"], found["sum_z2"], marker="o", color="#222222", label=f"all {cells} cells")
        best = found["values"].index(found["best"])
        ax.plot(found["best"], found["sum_z2"][best], "o", markersize=8, markerfacecolor="none", color="black")
        ax.set(xlabel=SETTING_LABELS[setting], yscale="log")
        ax.yaxis.set_major_formatter("{x:g}")
    axes[0, 0].set_ylabel("sum of z²")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=len(handles))
    return fig


def accuracy(records: Record, titles: Mapping[str, str]) -> Figure:
    """Plot the accuracies of the author's networks beside the thesis' figures: a panel per kind of data."""
    fig, axes = plots.panels(len(titles), width=plots.PAGE, height=2.5, sharey=True)
    attacks = list(plots.ATTACK_LABELS)
    places = {"clean": "clean", "fgsm": "fgsm", "pgd": "pgd_early_stop"}
    for ax, (kind, title) in zip(axes[0], titles.items(), strict=True):
        for i, regime in enumerate(REGIMES):
            shift = 0.17 * (i - 1.5)
            for j, attack in enumerate(attacks):
                record = records[kind][regime][attack]
                plots.interval(ax, j + shift, record["mean"], record, **plots.regime_mark(regime))
            for name, attack in places.items():
                plots.diamond(ax, attacks.index(attack) + shift, records[kind][regime]["thesis"][name])
        ax.set(title=title, ylim=(-0.04, 1.04))
        ax.set_xticks(range(len(attacks)), plots.ATTACK_LABELS.values())
        ax.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel("test accuracy")
    plots.legend(fig, thesis=True)
    return fig


def scores(cells: Mapping[str, Record], titles: Mapping[str, str]) -> Figure:
    """Plot z of every implausibility cell at each multiple of the stated energy weight: a panel per kind of data."""
    fig, axes = plots.panels(len(titles), width=plots.PAGE, height=2.7, sharey=True, sharex=True)
    rows = [(stop, regime) for stop in STOPS for regime in REGIMES]
    places = [i + (i >= len(REGIMES)) * 0.7 for i in range(len(rows))]
    for ax, (kind, title) in zip(axes[0], titles.items(), strict=True):
        ax.axvspan(-2, 2, color="#EEF2F5", zorder=0)
        for j, by_kind in enumerate(cells.values()):
            for y, (stop, regime) in zip(places, rows, strict=True):
                z = by_kind[kind][stop][regime]["z"]
                mark = plots.regime_mark(regime, reading=int(j == 0))
                ax.plot(z, y + 0.2 * (j - 0.5), linestyle="none", **mark)
        ax.set(title=title, xlabel="(ours - thesis) / combined SD")
        ax.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(places, [f"{plots.STOP_SHORT[stop]}  {REGIME_NAMES[regime]}" for stop, regime in rows])
    axes[0, 0].invert_yaxis()
    names = [f"{factor} x the stated energy weight" for factor in cells]
    handles = [
        plots.Line2D([], [], linestyle="none", marker="o", color=plots.FADED, label=name,
                     markerfacecolor="white" if i == 0 else plots.FADED)
        for i, name in enumerate(names)
    ]  # fmt: skip
    fig.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return fig
