"""Which measures of plausibility can be trusted: criteria of validity, agreement, and the order of the networks."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from robexpl import measures
from robexpl.study import estimates

# A criterion and the differences, each between two kinds of points, that are below zero where it is met
CRITERIA = {
    "knows the class": (("real", "factual"),),
    "rejects the blank": (("real", "blank"),),
    "rejects noise": (("real", "real_noisy"),),
    "real before counterfactual": (("real", "decision_threshold"), ("real", "generator_conditions")),
    "counterfactual before noise": (("decision_threshold", "uniform"), ("generator_conditions", "uniform")),
    "counterfactual before blank": (("generator_conditions", "blank"),),
}
PLACE = ["measure", "seed", "place"]
SINGLE = ("violations",)  # it tells conditions apart, not points: see `judging.out_of_range`


def beside(searched: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """Set side by side, for each measure and factual, the scores of the kinds of points: a column for each.
    Reference points as in `frames.reference`; counterfactuals by stopping criterion, the mean over the networks.
    """
    place = searched.groupby(["measure", "seed", "stop", "regime"], sort=False).cumcount()
    found = searched[searched["counted"]].assign(place=place).rename(columns={"stop": "point"})
    both = pd.concat([points, found])[[*PLACE, "point", "implausibility"]]
    return both.pivot_table(index=PLACE, columns="point", values="implausibility", sort=False).reset_index()


def criteria(wide: pd.DataFrame) -> pd.DataFrame:
    """Estimate the differences of `CRITERIA` from the columns of `beside`, a row per measure, criterion and difference.
    a - b is in standard deviations of real points; met: whether all differences of the criterion are below zero.
    """
    found = []
    for key, rows in estimates.grouped(wide[~wide["measure"].isin(SINGLE)], ["measure"]):
        unit = rows["real"].std() or 1.0
        for criterion, pairs in CRITERIA.items():
            for a, b in pairs:
                both = rows[[a, b, "seed"]].dropna()
                values = (both[name].to_numpy() / unit for name in (a, b))
                estimate = estimates.difference(*values, both["seed"].to_numpy())
                found.append({**key, "criterion": criterion, "a": a, "b": b, **estimate})
    table = pd.DataFrame(found).drop(columns="p_lower")
    right = (table["side"] == "lower").groupby([table["measure"], table["criterion"]]).transform("all")
    return table.assign(met=right)


def trusted(table: pd.DataFrame, own: str, primary: str = "oracle") -> str:
    """Return the measure that the report trusts, by the rule of the analysis plan, from the table of `criteria`.
    The primary one where it meets every criterion, else the one that meets most; `own` is the study's distance.
    >>> table = pd.DataFrame({"measure": ["l1", "oracle"], "criterion": ["a", "a"], "met": [True, False]})
    >>> trusted(table, "l1")
    'l1'
    """
    met = table.drop_duplicates(["measure", "criterion"]).groupby("measure")["met"].sum()
    order = [primary, "features", "density", own, *sorted(met.index)]
    return max(met.index, key=lambda name: (met[name], -order.index(name)))


def agreement(searched: pd.DataFrame) -> pd.DataFrame:
    """Estimate Kendall's tau-b between measures that score rows singly, over the counterfactuals of a seed and run.
    A row per pair of measures; the unit of the interval is the seed, with its runs nested in it.
    """
    names = [name for name in searched["measure"].unique() if not getattr(measures.module(name), "SET", False)]
    names = [name for name in names if name not in SINGLE]
    rows = searched[searched["counted"] & searched["measure"].isin(names)]
    rows = rows.assign(place=rows.groupby(["measure", "seed", "run", "stop", "regime"], sort=False).cumcount())
    found = []
    for key, cell in estimates.grouped(rows, ["seed", "run"]):
        wide = cell.pivot(index=["stop", "regime", "place"], columns="measure", values="implausibility")
        tau = wide[names].corr(method="kendall")
        found += [
            {"measure": a, "other": b, "seed": key["seed"], "tau": tau.loc[a, b]} for a, b in combinations(names, 2)
        ]
    return estimates.means(pd.DataFrame(found), ["measure", "other"], value="tau")


def order(searched: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Compare robust networks with the standard one in each group, in standard deviations of the standard one's scores.
    Columns as in `estimates.differences`.
    """
    table = estimates.differences(searched, estimates.TO_STANDARD, by=by)
    rows = searched[(searched["regime"] == "standard") & searched["counted"]]
    unit = rows.groupby(by, sort=False)["implausibility"].std().rename("unit").reset_index()
    table = table.merge(unit, on=by, validate="many_to_one")
    scaled = table[["mean", "low", "high"]].div(table.pop("unit").replace(0, np.nan), axis=0).fillna(0.0)
    return table.assign(**scaled)


def disagreements(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """List the differences on whose side two values of a column disagree, neither being unclear.
    >>> table = pd.DataFrame({"m": ["a", "b"], "stop": "s", "regime": "weak", "side": ["lower", "higher"]})
    >>> disagreements(table, "m")["regime"].tolist()
    ['weak']
    """
    found = []
    for key, rows in estimates.grouped(table, ["stop", "regime"]):
        sides = {side: ", ".join(rows.loc[rows["side"] == side, what]) for side in ("lower", "higher")}
        if all(sides.values()):
            found.append({**key, **sides})
    return pd.DataFrame(found, columns=["stop", "regime", "lower", "higher"])
