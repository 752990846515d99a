"""The paper compiles to the same bytes wherever its results lie, and what is missing is said in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from robexpl import artifacts, stats
from robexpl.report import paper

SOURCE = """
#let results = sys.inputs.at("results")
#set document(date: none)
#let numbers = json(results + "/table1.json")
#sys.inputs.profile on #sys.inputs.image and #sys.inputs.tabular: #numbers.accuracy
#image(results + "/figure.svg")
"""
FIGURE = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small paper with its full results, in a folder with a difficult name."""
    root = tmp_path / "röot of it"
    (root / "paper" / "generated").mkdir(parents=True)
    (root / "paper" / "paper.typ").write_text(SOURCE)
    (root / "paper" / "generated" / "table1.json").write_text('{"accuracy": 0.5}')
    (root / "paper" / "generated" / "figure.svg").write_text(FIGURE)
    monkeypatch.setattr(artifacts, "ROOT", root)
    monkeypatch.delenv("ROBEXPL_GENERATED")
    return root


def test_the_bytes_do_not_depend_on_where_the_results_lie(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, warnings = paper.compile_pdf("full", home)
    shutil.copytree(home / "paper" / "generated", tmp_path / "elsewhere")
    monkeypatch.setenv("ROBEXPL_GENERATED", str(tmp_path / "elsewhere"))
    outside, _ = paper.compile_pdf("full", home)
    assert inside.startswith(b"%PDF")
    assert inside == outside
    assert warnings == []


def test_a_pdf_that_would_not_change_is_left_alone(home: Path) -> None:
    output = home / "paper" / "paper.pdf"
    for state in ("written", "current"):
        pdf, _ = paper.compile_pdf("full", home)
        before = output.stat().st_mtime_ns if output.exists() else 0
        artifacts.write_atomic(output, pdf)
        assert (output.stat().st_mtime_ns == before) == (state == "current")


@pytest.mark.parametrize("profile", artifacts.PROFILES)
def test_missing_results_are_one_line(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("ROBEXPL_GENERATED", str(tmp_path / "generated"))
    assert paper.main(["--profile", profile, "--output", str(tmp_path / "a.pdf")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"FAILED paper ({profile}): there are no results in ")
    assert not (tmp_path / "a.pdf").exists()


def test_a_missing_number_stops_the_build_in_one_line(home: Path) -> None:
    (home / "paper" / "generated" / "table1.json").write_text("{}")
    with pytest.raises(RuntimeError, match='dictionary does not contain key "accuracy"'):
        paper.compile_pdf("full", home)


def test_the_paper_states_the_draws_of_its_intervals() -> None:
    assert f"Each of #count({stats.DRAWS}) bootstrap draws" in (artifacts.ROOT / "paper" / "paper.typ").read_text()
