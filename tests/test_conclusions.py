"""The guarded sentences of the notebooks: true on the full results, and no longer said where the results are others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_paper import FALSE, FULL, PAPER

from robexpl.pipeline import publish, report, template
from robexpl.study import places, plan

PAGES = plan.templates("full")
IDS = ["-".join(filter(None, (entry.name, dataset))) for entry, dataset in PAGES]


class Listening(publish.Page):
    """A page that notes its sentences, and whether they hold, instead of showing them."""

    said: list[tuple[str, bool]]

    def holds(self, sentence: str, condition: bool) -> None:
        assert isinstance(condition, (bool, np.bool_)), sentence
        self.said.append((sentence, bool(condition)))


def conclusions(
    name: str, dataset: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, bool]]:
    """Execute the cells of a template that hold sentences, with the published tables as its only variables."""
    monkeypatch.setenv("ROBEXPL_STAGE", str(folder))
    stem = "-".join(filter(None, (name, dataset)))
    tables = {path.stem.removeprefix(f"{stem}-"): pd.read_csv(path) for path in folder.glob(f"{stem}-*.csv")}
    page = Listening(name, SimpleNamespace(profile="full", dataset=dataset, own=True))
    object.__setattr__(page, "said", [])
    known = {"page": page, "pd": pd, "np": np, "Markdown": str, "display": print}
    known |= {key.replace("-", "_"): table for key, table in tables.items()}
    text = template.read(places.ROOT / "notebooks" / f"{name}.py")
    for cell in template.kept(text, {"profile": "full", **({"dataset": dataset} if dataset else {})}):
        if "conclusions" in cell.tags:
            exec(compile(cell.text, f"{name}.py", "exec"), known)
    return page.said


@pytest.mark.parametrize(("entry", "dataset"), PAGES, ids=IDS)
def test_every_sentence_is_true_of_the_full_results(
    entry: plan.Notebook, dataset: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not report.STRICT and not list(FULL.glob("-".join(filter(None, (entry.name, dataset, "*.csv"))))):
        pytest.skip("the full study is run at the end of a round")
    said = conclusions(entry.name, dataset, FULL, monkeypatch)
    assert said, "a notebook says what came out"
    assert [sentence for sentence, holds in said if not holds] == []


@pytest.mark.parametrize("world", FALSE, ids=lambda world: world.__name__)
def test_in_another_world_the_notebooks_stop(
    world: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PAPER, tmp_path / "paper", ignore=shutil.ignore_patterns("*.pdf", "*.svg"))
    world(tmp_path)
    stopped = []
    for (entry, dataset), name in zip(PAGES, IDS, strict=True):
        if not report.STRICT and not list(FULL.glob(f"{name}-*.csv")):
            continue  # not yet run
        said = conclusions(entry.name, dataset, tmp_path / "paper" / "generated", monkeypatch)
        stopped += [name] if any(not holds for _, holds in said) else []
    about = {"rq2-mnist", "rq2-california"}  # what each world changes
    if world.__name__ != "orders_and_weights_are_equal":
        about |= {"rq1-mnist", "rq1-california", "sensitivity-mnist", "anchors-mnist"}
    assert about <= set(stopped)
