"""What the thesis reports, as typed once in paper/thesis.csv and paper/thesis-unreported.csv."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd

from robexpl.study.places import ROOT
from robexpl.study.sizes import STOPS

ATTACKS = {"clean": "clean", "fgsm": "fgsm", "pgd": "pgd_early_stop"}  # its PGD is the one that stops early


@lru_cache(maxsize=1)
def _table() -> pd.DataFrame:
    return pd.read_csv(ROOT / "paper" / "thesis.csv")


def _of(dataset: str) -> pd.DataFrame:
    return _table()[_table()["dataset"] == dataset].reset_index(drop=True)


def accuracies(dataset: str) -> pd.DataFrame:
    """Return the accuracies of Table 1: regime, attack (ours), thesis, file; no rows for a dataset that it lacks."""
    rows = _of(dataset)
    rows = rows[rows["quantity"].isin(list(ATTACKS))]
    named = rows.assign(attack=rows["quantity"].map(ATTACKS)).rename(columns={"mean": "thesis", "file_mean": "file"})
    return named[["regime", "attack", "thesis", "file"]].reset_index(drop=True)


def implausibilities(dataset: str, *, files: bool = False) -> pd.DataFrame:
    """Return the implausibilities of Table 1: stop, regime, mean, sd; from the author's files, with more digits."""
    rows = _of(dataset)
    rows = rows[rows["quantity"].isin(list(STOPS))].rename(columns={"quantity": "stop"})
    if files:
        rows = rows.assign(mean=rows["file_mean"], sd=rows["file_sd"])
    return rows[["stop", "regime", "mean", "sd"]].reset_index(drop=True)


def unreported() -> pd.DataFrame:
    """Return the author's runs on California Housing that are not in the thesis: energy, regime, stop, mean."""
    return pd.read_csv(ROOT / "paper" / "thesis-unreported.csv")
