"""The README's code runs, line by line, and its results are those of the stored files."""

from __future__ import annotations

import re

import pytest

from robexpl.artifacts import ROOT
from robexpl.report import readme

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=["api", "own model"])
def test_code_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


def test_results_are_those_of_the_files(monkeypatch):
    monkeypatch.delenv("ROBEXPL_GENERATED")
    assert readme.filled(TEXT) == TEXT, "README.md is out of date: run `make report`"


def test_commands_and_files_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", TEXT, flags=re.MULTILINE)) - {"and"}
    assert named <= targets
    for link in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / link).exists(), link
