"""The README's code runs, its results are those of the stored files, and no sentence outlives the results it states."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from robexpl.pipeline import __main__ as pipeline
from robexpl.pipeline import readme
from robexpl.study.places import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CODE = re.findall(r"```(?:python|sh)?\n(.*?)```", TEXT, flags=re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
WIDTH = 96


@pytest.fixture(autouse=True)
def stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the stored results."""
    monkeypatch.delenv("ROBEXPL_GENERATED")


@pytest.mark.parametrize("code", PYTHON, ids=["api", "own data", "own model"])
def test_code_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


def test_code_is_not_wider_than_a_page() -> None:
    assert [line for block in CODE for line in block.splitlines() if len(line) > WIDTH] == []


def test_it_is_what_the_template_and_the_results_make() -> None:
    assert readme.render() == TEXT, "README.md is out of date: python -m robexpl.pipeline readme"


def test_the_top_asks_answers_and_names_two_commands() -> None:
    top = TEXT.partition("\n## What became")[0]
    assert top.index("?**") < top.index("The answer") < top.index("make demo\nmake test")
    answer = top[top.index("The answer") : top.index("*Implausibility*")]
    assert answer.count("\n- **") == 3
    assert len(re.findall(r"[+\u2212]\d\.\d{3} \[[^]]+\]", answer)) == 2
    claims = re.search(r"\| claim \|.*?\n\n", TEXT, flags=re.DOTALL)[0]
    assert 0 < claims.count("\n") - 3 <= 8


def test_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
    named = re.findall(r"(?:`|^)make ([a-z-]+)((?: [A-Z]+=\w+)*)", TEXT, flags=re.MULTILINE)
    assert {name for name, _ in named} == targets, "every command is in the README, and no other"
    known = re.search(r"^SETTINGS := (.*)$", MAKEFILE, flags=re.MULTILINE)[1].split()
    assert set(re.findall(r"([A-Z]+)=", " ".join(settings for _, settings in named))) <= set(known)
    commands = pipeline.parser().format_help()
    assert all(f"    {name} " in commands for name in re.findall(r"robexpl\.pipeline ([a-z]+)", TEXT))


def test_links_and_named_files_exist() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / link).exists(), link
    for heading in re.findall(r"\]\(#([a-z-]+)\)", TEXT):
        assert re.search(rf"^## {heading}$", TEXT, flags=re.MULTILINE | re.IGNORECASE), heading
    for name in re.findall(r"`((?:robexpl|paper|notebooks)/[\w./]+)`", TEXT):
        assert "NAME" in name or (ROOT / name).exists(), name


def test_every_notebook_of_the_full_study_is_listed() -> None:
    text = TEXT.partition("## Notebooks")[2]
    listed = re.findall(r"\[([\w-]+)\]\(notebooks/\1\.ipynb\)", text) + re.findall(r"([\w-]+) \(not run yet\)", text)
    planned = [f"{entry.name}-{dataset}" if dataset else entry.name for entry, dataset in readme.plan.templates("full")]
    assert sorted(listed) == sorted(planned)


# In altered worlds

TURNED = {"lower": "higher", "higher": "lower", "unclear": "unclear"}


def turned(frame: pd.DataFrame) -> pd.DataFrame:
    """Reverse differences."""
    ends = {"mean": -frame["mean"], "low": -frame["high"], "high": -frame["low"]}
    return frame.assign(**ends, side=frame["side"].map(TURNED))


def twice(column: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.assign(**{column: 2 * frame[column]})


WORLDS = {
    "rq1-mnist-differences": (turned, "On images, yes."),
    "rq1-california-differences": (turned, "On tabular data it depends"),
    "rq2-mnist-differences": (turned, "A stronger adversary does not always help"),
    "audit-findings": (twice("of"), "The reported figures can be reproduced"),
    "rq1-mnist-step_budget_differences": (turned, "A part of the difference"),
    "anchors-mnist-reference": (twice("mean"), "As run, boundary scores on MNIST"),
    "sensitivity-mnist-metrics": (turned, "The sign of the difference is stable"),
    "bench-growth": (twice("slope"), "CPU time grows about in proportion"),
}


@pytest.mark.parametrize("table", WORLDS)
def test_a_sentence_that_is_no_longer_true_stops_it(table: str) -> None:
    change, sentence = WORLDS[table]
    with pytest.raises(ValueError, match=rf"^no longer true in README\.md: (- \*\*)?{re.escape(sentence)}") as caught:
        readme.render(lambda name: change(readme.read(name)) if name == table else readme.read(name))
    assert "\n" not in str(caught.value)


def test_every_guarded_sentence_is_tried() -> None:
    template = (ROOT / "paper" / "README.md.j2").read_text(encoding="utf-8")
    assert template.count("{% call holds(") == len(WORLDS)


def test_where_all_differences_are_reversed_the_first_answer_stops_it() -> None:
    def reversed_world(name: str) -> pd.DataFrame:
        frame = readme.read(name)
        return turned(frame) if {"side", "low", "high"} <= set(frame.columns) else frame

    with pytest.raises(ValueError, match="On images, yes"):
        readme.render(reversed_world)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "expected a table at paper/generated/rq1-mnist-means.csv, found none"),
        (lambda path: path.write_text("condition,stop,regime\n"), "expected 1 rows of rq1-mnist-means"),
        (lambda path: path.write_text("condition,mean\ncorrected,1\n"), "does not fit the tables: KeyError 'stop'"),
        (lambda path: path.write_text(""), "No columns to parse"),
    ],
    ids=["missing", "without rows", "older", "empty"],
)
def test_tables_that_do_not_fit_are_one_line_and_the_old_readme_stays(
    damage: Callable[[Path], object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    copy = tmp_path / "generated"
    shutil.copytree(ROOT / "paper" / "generated", copy, ignore=shutil.ignore_patterns("*.svg"))
    damage(copy / "rq1-mnist-means.csv")
    monkeypatch.setenv("ROBEXPL_GENERATED", str(copy))
    monkeypatch.setattr("robexpl.pipeline.commands.heed_signals", lambda: None)
    assert pipeline.main(["readme"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("FAILED readme: ")
    assert said in lines[0]
    assert (ROOT / "README.md").read_text(encoding="utf-8") == TEXT
