"""Tables and sentences of the anchors study, from its records."""

from __future__ import annotations

from typing import Any

import pandas as pd

from robexpl.readings import STOP_NAMES
from robexpl.regimes import REGIME_NAMES, REGIMES
from robexpl.report import pixels, words
from robexpl.report.anchors import COMPARED
from robexpl.report.components import PARTS
from robexpl.report.plots import STOP_SHORT

Record = dict[str, Any]
INPUT_NAMES = {"grey": "grey", "binary": "black and white"}


def anchors_table(anchors: Record, names: dict[str, str]) -> pd.DataFrame:
    """Tabulate the anchors by reading, the most plausible first."""
    first = next(iter(anchors.values()))
    order = sorted(first, key=lambda key: first[key]["mean"])
    rows = {names[key]: {name: words.mean(found[key]) for name, found in anchors.items()} for key in order}
    return pd.DataFrame(rows).T.rename_axis("anchor")


def ladder_sentence(anchors: Record, names: dict[str, str], title: str) -> str:
    """Say what the order of the anchors means for the distance itself, for one reading's anchors."""
    m = {key: record["mean"] for key, record in anchors.items()}
    way, add = m["factual"] - m["real"], m["noisy"] - m["factual"]
    parts = [
        f"On {title} real points of the target class score {m['real']:.3f} and factuals, which are of another class, "
        f"{m['factual']:.3f}: all that plausibility has to play with is a difference of {way:.3f}."
    ]
    if m["mean"] < m["real"]:
        parts.append(f"Class means score {m['mean']:.3f}, less than real points: the measure likes an average.")
    empty = (m["blank"] - m["real"]) / way
    if empty < 0:
        parts.append(
            f"The {names['blank']}, which is of no class at all, scores {m['blank']:.3f} and is called more plausible "
            "than real points of the target class."
        )
    elif empty < 1:
        parts.append(
            f"The {names['blank']}, which shows nothing at all, scores {m['blank']:.3f}: by this measure it is "
            f"{100 * (1 - empty):.0f}% of the way from the factual to real points."
        )
    else:
        parts.append(f"The {names['blank']} scores {m['blank']:.3f}, more than the factuals themselves.")
    parts.append(
        f"The start noise alone moves a factual by {add:+.3f}, {100 * abs(add) / way:.0f}% of that difference."
    )
    if m["real_noisy"] > m["factual"]:
        parts.append(
            f"A real point of the target class with that noise ({m['real_noisy']:.3f}) is called less plausible than "
            f"a clean factual of the wrong class."
        )
    return " ".join(parts)


def normalised_table(cells: Record) -> pd.DataFrame:
    """Tabulate every cell raw and normalised, and its differences to anchors."""
    rows = {}
    for name, by_stop in cells.items():
        for stop, by_regime in by_stop.items():
            for regime, c in by_regime.items():
                rows[(name, STOP_SHORT[stop], REGIME_NAMES[regime])] = {
                    "as measured": f"{c['raw']['mean']:.3f}",
                    "normalised [95 %]": words.mean(c, 2),
                    **{f"- {key}": f"{c['against'][key]['mean']:+.3f}" for key in COMPARED},
                    "worse than": ", ".join(key for key in COMPARED if words.side(c["against"][key]) == "higher")
                    or "none",
                }
    return pd.DataFrame(rows).T.rename_axis(["reading", "stop", "regime"])


def worse_sentence(cells: Record, names: dict[str, str]) -> str:
    """Say which counterfactuals are clearly worse than a blank point, than their own factual, than that with noise."""
    every = [(name, stop, regime) for name, by_stop in cells.items() for stop, by in by_stop.items() for regime in by]
    lines = []
    for key in COMPARED:
        worse = [(n, s, r) for n, s, r in every if words.side(cells[n][s][r]["against"][key]) == "higher"]
        what = {"blank": f"a {names['blank']}", "factual": "the factual they began with", "noisy": "that factual with "
                "the start noise, untouched by any search"}[key]  # fmt: skip
        who = _who(worse, cells)
        lines.append(f"- Clearly worse than {what}: {words.number(len(worse))} of {len(every)} cells{who}.")
    return "\n".join(lines)


def _who(chosen: list[tuple[str, str, str]], cells: Record) -> str:
    """List cells by stop and reading, all regimes of one as "all four"."""
    parts = []
    for stop, short in STOP_SHORT.items():
        for name in cells:
            regimes = [REGIME_NAMES[r].lower() for n, s, r in chosen if (n, s) == (name, stop)]
            if regimes:
                said = "all four networks" if len(regimes) == len(REGIMES) else words.listed(regimes)
                parts.append(f"{short} {name}, {said}")
    return f" ({'; '.join(parts)})" if parts else ""


def way_sentence(cells: Record) -> str:
    """Say how much of the way from the factual to real points the counterfactuals of each network go."""
    lines = []
    for name, by_stop in cells.items():
        for stop, by_regime in by_stop.items():
            gone = {regime: round(100 * (1 - c["mean"])) + 0 for regime, c in by_regime.items()}
            said = words.listed([f"{value:+d}% ({REGIME_NAMES[r].lower()})" for r, value in gone.items()])
            lines.append(f'- **{STOP_NAMES[stop]}, reading "{name}"**: {said}.')
    return "\n".join(lines)


def noise_table(noise: Record) -> pd.DataFrame:
    """Tabulate what the start noise adds to the scores at the decision threshold."""
    rows = {}
    for name, by_regime in noise.items():
        for regime, n in by_regime.items():
            rows[(name, REGIME_NAMES[regime])] = {
                "with noise": words.mean(n["with"]),
                "without": words.mean(n["without"]),
                "added": words.delta(n["added"]),
                "of the score": words.mean(n["of_score"], 2),
                "of the noise's whole effect": words.mean(n["of_gap"], 2) if n["of_gap"] else "no clear effect",
            }
    return pd.DataFrame(rows).T.rename_axis(["reading", "regime"])


def noise_sentence(noise: Record) -> str:
    """Say how much of the scores at the decision threshold is start noise, and what it does to the comparison."""
    lines = []
    for name, by in noise.items():
        clear = {r: n for r, n in by.items() if words.side(n["added"]) != "unclear"}
        if not clear:
            lines.append(f'- **Reading "{name}"**: in no network does the start noise change the scores clearly.')
            continue
        gap = by["strong"]["against_standard"]
        of_score = words.listed(
            [f"{100 * n['of_score']['mean']:+.0f}% ({REGIME_NAMES[r].lower()})" for r, n in clear.items()]
        )
        kept = {r: n["of_gap"]["mean"] for r, n in by.items() if n["of_gap"]}
        rest = "" if len(clear) == len(by) else "; for the other networks that is not clear"
        text = f'- **Reading "{name}"**: of the scores start noise makes {of_score}{rest}.'
        if kept:
            ends = f"{100 * min(kept.values()):+.0f}% to {100 * max(kept.values()):+.0f}%"
            turned = " (negative: the search turns it around)" if min(kept.values()) < 0 else ""
            text += f" Of all that it does to a factual, {ends} is left in the counterfactual{turned}."
        text += (
            f" On the factuals that both classify correctly, strong - standard is {words.delta(gap['with'])} with "
            f"noise and {words.delta(gap['without'])} without."
        )
        lines.append(text)
    return "\n".join(lines)


def accuracy_table(control: Record) -> pd.DataFrame:
    """Tabulate accuracies of networks and controls on grey and on black and white images."""
    rows = {
        pixels.TITLES[title]: {
            (INPUT_NAMES[inputs], attack): f"{found[inputs][attack]['mean']:.3f}"
            for inputs in pixels.INPUTS
            for attack in pixels.ATTACKS
        }
        for title, found in control["accuracy"].items()
    }
    return pd.DataFrame(rows).T.rename_axis("network")


def control_table(control: Record) -> pd.DataFrame:
    """Tabulate implausibility of networks and controls and their differences to the standard network."""
    rows: dict[str, dict[tuple[str, str], str]] = {}
    for stop, short in STOP_SHORT.items():
        for title, cell in control["cells"][stop].items():
            d = control["difference"][stop].get(title)
            row = rows.setdefault(pixels.TITLES[title], {})
            row |= {(short, "mean"): f"{cell['mean']:.3f}", (short, "- Standard"): words.delta(d) if d else ""}
            row[(short, "valid")] = f"{control['valid'][stop][title]:.2f}"
    return pd.DataFrame(rows).T.rename_axis("network")


def control_sentence(control: Record) -> str:
    """Say how robust thresholding alone makes a network, and what it does to the plausibility of counterfactuals."""
    a, lines = control["accuracy"], []
    pgd = {title: a[title]["grey"]["pgd"]["mean"] for title in ("standard", "strong", *pixels.CONTROLS)}
    lines.append(
        f"A small study, of {words.number(control['seeds'])} seed{'s' * (control['seeds'] > 1)}, one run of factuals "
        f"and the first {pixels.ROWS:,} test images (all, where they are fewer). Under projected PGD the standard "
        f"network keeps {pgd['standard']:.3f} of the grey images, the network "
        f"trained on black and white ones {pgd['binarised']:.3f}, the same behind a soft threshold "
        f"{pgd['thresholded']:.3f}, the strong network {pgd['strong']:.3f}."
    )
    said = {"lower": "lowers implausibility", "higher": "raises implausibility", "unclear": "changes nothing clear"}
    for stop, short in STOP_SHORT.items():
        of = control["difference"][stop]
        parts = [
            f"the {pixels.TITLES[t].lower()} network {said[words.side(of[t])]}, {words.delta(of[t])}"
            for t in pixels.CONTROLS
        ]
        lines.append(f"{short}: {'; '.join(parts)}; the strong network: {words.delta(of['strong'])}.")
    return " ".join(lines)


def components_table(components: Record) -> pd.DataFrame:
    """Tabulate the shares of the components of variance."""
    rows = {}
    for name, by_stop in components.items():
        for stop, by_regime in by_stop.items():
            for regime, c in by_regime.items():
                shares = {
                    title: f"{c['shares'][key]:.2f}" if key in c["shares"] else "-" for key, title in PARTS.items()
                }
                row = {"SD": f"{c['sd']:.3f}", **shares, "seeds' part of a mean": f"{c['of_mean']:.2f}"}
                rows[(name, STOP_SHORT[stop], REGIME_NAMES[regime])] = row
    table = pd.DataFrame(rows).T.rename_axis(["reading", "stop", "regime"])
    return table.loc[:, (table != "-").any()]


def components_sentence(components: Record) -> str:
    """Say where the variance of single scores lies, and where that of the means that the study compares."""
    if not components:
        return "With a single seed the variance cannot be divided."
    every = [c for by_stop in components.values() for by in by_stop.values() for c in by.values()]
    seed, mean = [c["shares"]["seed"] for c in every], [c["of_mean"] for c in every]
    what = "networks" if every[0]["crossed"] else "seeds (network, sample and split together)"
    n = every[0]["seeds"]
    single, means = (f"{100 * min(values):.0f}% to {100 * max(values):.0f}%" for values in (seed, mean))
    return (
        f"Of the variance of single scores {single} lies between {what}. A mean over many factuals forgets the rest: "
        f"of its variance {means} would stay if the factuals were without number, and only more seeds would lower it. "
        f"These shares rest on {words.number(n)} seeds{' and are rough' if n < 10 else ''}."
    )
