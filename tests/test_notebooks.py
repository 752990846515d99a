"""Every stored notebook is what its template and the present code make: nothing stale, nothing edited by hand.

That the outputs come out again is checked by nbval, which executes tests/notebooks.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import jupytext
import pytest

from robexpl.artifacts import ROOT
from robexpl.report import notebook, paper

FULL = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = sorted((ROOT / "tests" / "notebooks").glob("*.ipynb"))
TEMPLATES = sorted((ROOT / "notebooks").glob("*.py"))
EVERY = pytest.mark.parametrize("path", [*FULL, *SMALL], ids=lambda path: path.relative_to(ROOT).as_posix())


def words(variable: str) -> list[str]:
    """Return a list that the Makefile defines."""
    found = re.search(rf"^{re.escape(variable)}\s*:= (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    return found[1].split()


def stored(path: Path) -> dict:
    return json.loads(path.read_bytes())


def sources(cells: list[dict]) -> list[tuple[str, str]]:
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


@EVERY
def test_the_stored_text_and_code_are_the_templates(path: Path) -> None:
    content = stored(path)
    template = ROOT / content["metadata"]["robexpl"]["template"]
    assert template in TEMPLATES
    own = [cell for cell in content["cells"] if "injected-parameters" not in cell["metadata"].get("tags", [])]
    expected = sources(jupytext.reads(template.read_text(encoding="utf-8"), fmt="py:percent").cells)
    assert sources(own) == expected, f"{path.name} is older than {template.name}: make report golden"


def test_an_edited_claim_makes_stale_what_judges_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {path.stem: notebook.make_key(path, {}) for path in TEMPLATES}
    edited = tmp_path / "thesis.json"
    edited.write_bytes(notebook.THESIS.read_bytes().replace(b'"lower"', b'"equal"', 1))
    assert edited.read_bytes() != notebook.THESIS.read_bytes()
    monkeypatch.setattr(notebook, "THESIS", edited)
    moved = {name for name, key in keys.items() if notebook.make_key(ROOT / "notebooks" / f"{name}.py", {}) != key}
    assert {"verdicts", "table1", "audit"} <= moved
    assert "background" not in moved


@EVERY
def test_it_was_not_edited_by_hand(path: Path) -> None:
    content = stored(path)
    assert content["metadata"]["robexpl"]["contents"] == notebook.contents_digest(content)


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.name)
def test_full_results_are_those_of_the_present_code(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROBEXPL_GENERATED")
    metadata = stored(path)["metadata"]
    template = ROOT / metadata["robexpl"]["template"]
    reason = notebook.staleness(path, template, metadata["papermill"]["parameters"])
    assert not reason, f"{path.name} is not current, {reason}: make report"


@EVERY
def test_it_shows_no_error_and_brings_no_script(path: Path) -> None:
    outputs = [output for cell in stored(path)["cells"] for output in cell.get("outputs", [])]
    assert all(output["output_type"] != "error" for output in outputs)
    text = json.dumps(outputs).lower()
    assert "<script" not in text
    assert "javascript" not in text
    assert "<iframe" not in text
    assert not re.search(r"(src|href)=\\?[\"']?https?://", text)


@EVERY
def test_it_tells_nothing_of_the_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert "/ipykernel_" not in text
    assert not re.search(r" at 0x[0-9a-f]{6,}", text)


def test_the_makefile_names_every_template() -> None:
    assert sorted(words("EACH") + words("ONCE") + words("FULL")) == [path.stem for path in TEMPLATES]


@pytest.mark.parametrize(("profile", "paths"), [("full", FULL), ("demo", SMALL)])
def test_every_notebook_is_stored(profile: str, paths: list[Path]) -> None:
    each = [f"{name}-{dataset}" for name in words("EACH") for dataset in words(f"DATASETS.{profile}")]
    once = words("ONCE") + (words("FULL") if profile == "full" else [])
    assert sorted(path.stem for path in paths) == sorted(each + once)


@pytest.mark.parametrize("profile", ["demo", "full"])
def test_make_and_the_paper_speak_of_the_same_datasets(profile: str) -> None:
    assert words(f"DATASETS.{profile}") == list(paper.DATASETS[profile].values())


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_declare_plain_parameters(path: Path) -> None:
    known = {"dataset", "profile", "seeds"}
    assert set(notebook.declared(path.read_text(encoding="utf-8"))) <= known
