"""How robust networks are, and whether the measurement of it can be trusted."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pandas as pd
import torch
from torch import nn

from robexpl import attacks
from robexpl.data import Dataset
from robexpl.metrics import accuracy
from robexpl.readings import reading
from robexpl.regimes import EVALUATION, REGIME_NAMES, REGIMES
from robexpl.report import words
from robexpl.report.tables import thesis
from robexpl.seeds import torch_generator

Record = dict[str, Any]
RADII = (0.05, 0.1, 0.2, 0.3)  # of the FGSM ladder in `sanity`
ATTACK_NAMES = {
    "clean": "clean",
    "fgsm": "FGSM",
    "pgd_early_stop": "PGD, early stop",
    "pgd_projected": "PGD, projected",
}
UNDER_ATTACK = {key: name for key, name in ATTACK_NAMES.items() if key != "clean"}


def sanity(model: nn.Module, dataset: Dataset) -> Record:
    """Return accuracies under random signs of size 0.2 and under FGSM of growing radius; the share of rows it moves.

    A row that stays where it is has a gradient of exactly zero: no hidden unit responds, or the softmax is
    saturated. No attack by gradients can start there, and its accuracy says nothing.
    """
    x, y, (low, high) = dataset.x_test, dataset.y_test, dataset.bounds
    signs = torch.randint(2, x.shape, generator=torch_generator(0, "sanity")) * 2.0 - 1
    noisy = torch.clamp(x + EVALUATION.eps * signs, torch.as_tensor(low), torch.as_tensor(high))
    attacked = {eps: attacks.fgsm(model, x, y, eps=eps, bounds=dataset.bounds) for eps in RADII}
    ladder = [accuracy(model, adv, y) for adv in attacked.values()]
    return {
        "noise": accuracy(model, noisy, y),
        "moved": float((attacked[EVALUATION.eps] != x).any(1).double().mean()),
        **{f"FGSM {eps:g}": value for eps, value in zip(RADII, ladder, strict=True)},
    }


def sanity_table(accuracies: Record, checks: Record) -> pd.DataFrame:
    """Tabulate what a sound evaluation must show, one row per reading and regime; "FLAG" where it does not.

    many steps <= one step, for both PGDs; a larger radius never easier; random noise no worse than the attack; a
    gradient to follow at every row.
    Differences of up to one percentage point count as noise.
    """
    rows = {}
    for name, of_regime in accuracies.items():
        for regime, records in of_regime.items():
            mean, check = {key: record["mean"] for key, record in records.items()}, checks[name][regime]
            ladder = [check[f"FGSM {eps:g}"] for eps in RADII]
            tests = {
                "early-stop PGD ≤ FGSM": mean["pgd_early_stop"] <= mean["fgsm"] + 0.01,
                "projected PGD ≤ FGSM": mean["pgd_projected"] <= mean["fgsm"] + 0.01,
                "falls with the radius": all(b <= a + 0.01 for a, b in pairwise(ladder)),
                "FGSM ≤ random noise": mean["fgsm"] <= check["noise"] + 0.01,
                "rows have a gradient": check["moved"] >= 0.99,
            }
            rows[(name, REGIME_NAMES[regime])] = {key: "ok" if passed else "FLAG" for key, passed in tests.items()}
    return pd.DataFrame(rows).T.rename_axis(["reading", "regime"])


def own_pgd(accuracies: Record) -> Record:
    """Add to accuracies {reading: {regime: {attack: A}}} which of the two PGDs is the reading's own, as "pgd"."""
    return {
        name: {
            regime: {**records, "pgd": records["pgd_early_stop" if reading(name).early_stop else "pgd_projected"]}
            for regime, records in of_regime.items()
        }
        for name, of_regime in accuracies.items()
    }


def rises(means: Record) -> bool:
    """Tell whether values by regime rise from standard over weak and medium to strong."""
    return all(means[a] < means[b] for a, b in pairwise(REGIMES))


def order_table(accuracies: Record) -> pd.DataFrame:
    """Tabulate the order of the regimes by accuracy under each attack, and how neighbours in it are separated."""
    rows = {}
    for name, of_regime in accuracies.items():
        for attack, title in UNDER_ATTACK.items():
            records = {regime: of_regime[regime][attack] for regime in REGIMES}
            means = {regime: record["mean"] for regime, record in records.items()}
            order = sorted(REGIMES, key=means.get)
            signs = [" = " if means[a] == means[b] else " < " for a, b in pairwise(order)]
            names = [REGIME_NAMES[regime] + sign for regime, sign in zip(order, [*signs, ""], strict=True)]
            apart = sum(records[a]["high"] < records[b]["low"] for a, b in pairwise(order))
            rows[(name, title)] = {
                "least to most robust": "".join(names),
                "rises with the adversary": "yes" if rises(means) else "no",
                "neighbours with separate intervals": f"{apart} of {len(REGIMES) - 1}",
            }
    return pd.DataFrame(rows).T.rename_axis(["reading", "attack"])


def robustness_sentence(accuracies: Record, title: str) -> str:
    """Say in which of the measurements accuracy rises with the adversary, and what robustness costs on clean data."""
    measured = {
        (name, attack): rises({regime: of_regime[regime][attack]["mean"] for regime in REGIMES})
        for name, of_regime in accuracies.items()
        for attack in UNDER_ATTACK
    }
    risen, total = sum(measured.values()), len(measured)
    share = f"all {words.number(total)}" if risen == total else f"{words.number(risen)} of {words.number(total)}"
    start = f"On {title} accuracy under attack rises with the adversary of the training in {share} measurements."
    parts = []
    for name, of_regime in accuracies.items():
        standard, strong = of_regime["standard"], of_regime["strong"]
        gain = strong["pgd_projected"]["mean"] - standard["pgd_projected"]["mean"]
        lost = standard["clean"]["mean"] - strong["clean"]["mean"]
        overlap = strong["clean"]["high"] >= standard["clean"]["low"]
        parts.append(
            f'In the reading "{name}" the strong network is {100 * abs(gain):.1f} percentage points '
            f"{'more' if gain >= 0 else 'less'} accurate than the standard one under projected PGD, and "
            f"{100 * abs(lost):.1f} {'less' if lost >= 0 else 'more'} on clean data "
            f"(the intervals {'overlap' if overlap else 'are separate'})."
        )
    gaps = [
        records["pgd_early_stop"]["mean"] - records["pgd_projected"]["mean"]
        for of_regime in accuracies.values()
        for records in of_regime.values()
    ]
    end = (
        f"Evaluated with the early stop, networks look up to {100 * max(gaps):.1f} percentage points more robust than "
        "under the projected attack of the same radius."
    )
    return " ".join([start, *parts, end if max(gaps) > 0 else ""])


def sanity_sentence(verdicts: pd.DataFrame, accuracies: Record) -> str:
    """Say which checks were flagged how often, and by how much the many steps fell short of the one."""
    flags = (verdicts == "FLAG").sum()
    flagged = [f'"{name}" ({count} of {len(verdicts)})' for name, count in flags.items() if count]
    if not flagged:
        return f"All {verdicts.size} checks pass."
    excess = max(
        records["pgd_early_stop"]["mean"] - records["fgsm"]["mean"]
        for of_regime in accuracies.values()
        for records in of_regime.values()
    )
    sentence = f"{verdicts.size - int(flags.sum())} of {verdicts.size} checks pass. Flagged: {words.listed(flagged)}."
    if excess > 0:
        sentence += (
            f" At worst {100 * excess:.1f} percentage points more rows survive up to {EVALUATION.steps} steps of the "
            "early-stop PGD than a single step of FGSM with the same radius."
        )
    return sentence


def verdict_table(accuracies: Record, dataset: str, *, comparable: bool) -> pd.DataFrame:
    """Set the thesis' statements on robustness beside what was measured."""
    columns = {name: _verdicts(of_regime) for name, of_regime in accuracies.items()}
    table = thesis()["table1"][dataset] if comparable else {}
    reported = _verdicts({regime: _as_records(row) for regime, row in table.items()}) if comparable else {}
    rows = {
        line: {"thesis": reported.get(line, "not comparable"), **{name: c[line] for name, c in columns.items()}}
        for line in LINES
    }
    return pd.DataFrame(rows).T.rename_axis("statement")


LINES = (
    "FGSM: accuracy rises with the adversary",
    "PGD, early stop: accuracy rises with the adversary",
    "PGD, projected: accuracy rises with the adversary",
    "clean accuracy lost, standard to strong",
    "regimes with accuracy under early-stop PGD above FGSM",
)


def _as_records(row: Record) -> Record:
    return {"clean": {"mean": row["clean"]}, "fgsm": {"mean": row["fgsm"]}, "pgd_early_stop": {"mean": row["pgd"]}}


def _verdicts(of_regime: Record) -> dict[str, str]:
    result = {}
    for line, attack in zip(LINES, UNDER_ATTACK, strict=False):
        known = attack in of_regime["standard"]
        result[line] = (
            ("no", "yes")[rises({r: of_regime[r][attack]["mean"] for r in REGIMES})] if known else "not reported"
        )
    result[LINES[3]] = f"{of_regime['standard']['clean']['mean'] - of_regime['strong']['clean']['mean']:.3f}"
    above = sum(of_regime[r]["pgd_early_stop"]["mean"] > of_regime[r]["fgsm"]["mean"] for r in REGIMES)
    result[LINES[4]] = f"{above} of {len(REGIMES)}"
    return result
