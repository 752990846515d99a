"""Every stored notebook is what its template and the present code make: nothing stale, nothing edited by hand.

That the outputs come out again is checked by nbval, which executes tests/notebooks: `make test` one dataset of each
template, `make test-slow` the other. `make current` lists what of the full notebooks is older than the code; once
`report.STRICT` says so, that is an error here, too.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import jupytext
import pytest
from compare import LATER
from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class

from robexpl.pipeline import notebook, report, template
from robexpl.study import plan, sizes
from robexpl.study.places import ROOT

FULL = sorted((ROOT / "notebooks").glob("*.ipynb"))
# of JupyterLab, which brings these packages
LargeFileManager = pytest.importorskip("jupyter_server.services.contents.largefilemanager").LargeFileManager
settings = pytest.importorskip("jupyterlab_server.settings_utils")
SMALL = sorted((ROOT / "tests" / "notebooks").glob("*.ipynb"))
TEMPLATES = sorted((ROOT / "notebooks").glob("*.py"))
CURRENT = pytest.mark.skipif(not report.STRICT, reason="the full study is run at the end of a round: make current")
EVERY = pytest.mark.parametrize("path", [*FULL, *SMALL], ids=lambda path: path.relative_to(ROOT).as_posix())
BY_NAME = pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)


def stored(path: Path) -> dict:
    return json.loads(path.read_bytes())


def sources(cells: list) -> list[tuple[str, str]]:
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


@pytest.mark.parametrize(
    "path", [*SMALL, *(pytest.param(path, marks=CURRENT) for path in FULL)], ids=lambda path: path.name
)
def test_the_stored_text_and_code_are_the_templates(path: Path) -> None:
    content = stored(path)
    source = ROOT / content["metadata"]["robexpl"]["template"]
    assert source in TEMPLATES
    own = [cell for cell in content["cells"] if "injected-parameters" not in cell["metadata"].get("tags", [])]
    expected = template.notebook(source, content["metadata"]["papermill"]["parameters"])
    assert sources(own) == sources(expected.cells), f"{path.name} is older than {source.name}: make golden"


@EVERY
def test_it_was_not_edited_by_hand(path: Path) -> None:
    content = stored(path)
    assert content["metadata"]["robexpl"]["contents"] == notebook.contents_digest(content)


@CURRENT
@pytest.mark.parametrize("made", plan.templates("full"), ids=report.name_of)
def test_full_results_are_those_of_the_present_code(
    made: tuple[plan.Notebook, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROBEXPL_GENERATED")
    assert report.target("full").stale([made]) == {}, "make report"


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
def test_every_code_cell_was_executed(path: Path) -> None:
    code = [cell for cell in stored(path)["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    assert all(cell["execution_count"] for cell in code)


@EVERY
def test_it_tells_nothing_of_the_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert "/ipykernel_" not in text
    assert not re.search(r" at 0x[0-9a-f]{6,}", text)


@pytest.mark.parametrize(
    ("profile", "paths"), [pytest.param("full", FULL, marks=CURRENT), ("demo", SMALL)], ids=["full", "demo"]
)
def test_every_notebook_is_stored(profile: str, paths: list[Path]) -> None:
    assert sorted(path.stem for path in paths) == sorted(map(report.name_of, plan.templates(profile)))


def test_every_template_is_executed_for_one_dataset_by_make_test() -> None:
    first = {path.stem for path in SMALL} - LATER
    assert {path.stem for path in SMALL} >= LATER
    assert sorted(name.partition("-")[0] for name in first) == sorted({made.name for made, _ in plan.templates("demo")})
    by_kind = [[name for name in first if name.endswith(f"-{one}")] for one in sizes.datasets("demo").values()]
    assert len(by_kind[0]) == len(by_kind[1])  # cells for images, and those for tables


# Templates


@BY_NAME
def test_it_declares_plain_parameters(path: Path) -> None:
    found = template.declared(template.read(path))
    assert set(found) <= {"dataset", "profile", "seeds"}
    entry = plan.notebook(path.stem)
    assert ("dataset" in found) == entry.each
    assert found.get("seeds", 0) == 0
    assert found.get("profile") in ("full", "demo")


@BY_NAME
def test_its_cells_are_those_that_jupytext_reads(path: Path) -> None:
    text = template.read(path)
    theirs = [
        (cell.cell_type, tuple(cell.metadata.get("tags", ()))) for cell in jupytext.reads(text, "py:percent").cells
    ]
    assert [(cell.kind, cell.tags) for cell in template.cells(text)] == theirs
    assert {tag for cell in template.cells(text) for tag in cell.tags if not tag.startswith("tol-")} <= {
        "parameters", "image", "tabular", "full", "conclusions", "loose",
    }  # fmt: skip


@BY_NAME
def test_opening_and_saving_it_in_jupyterlab_changes_no_byte(path: Path, tmp_path: Path) -> None:
    for file in (path, ROOT / "jupytext.toml"):
        shutil.copy(file, tmp_path)
    manager = build_sync_jupytext_contents_manager_class(LargeFileManager)(root_dir=str(tmp_path))
    model = manager.get(path.name)
    assert model["type"] == "notebook"
    model["content"]["metadata"]["language_info"] = {"name": "python", "version": "3.11.9"}  # as JupyterLab adds
    for cell in model["content"]["cells"]:
        cell["metadata"]["trusted"] = True
    manager.save(model, path.name)
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_double_click_opens_a_template_as_a_notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert 'JUPYTER_CONFIG_PATH="$$PWD/.ci/lab' in (ROOT / "Makefile").read_text(encoding="utf-8")
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(ROOT / ".ci" / "lab"))
    overrides, _ = settings._get_overrides(str(tmp_path))
    viewers = overrides["@jupyterlab/docmanager-extension:plugin"]["defaultViewers"]
    assert viewers == {"python": "Jupytext Notebook"}
