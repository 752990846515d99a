"""Executed notebooks as they are stored: what they rest on, whether they are current, and their one byte form.

Their metadata holds, under `robexpl`: `template`; `key`, a digest of code cells, parameters, the robexpl code they
import, and paper/thesis.json where that code reads it; `text`, a digest of the whole template; `files`, the digest of
each file that the run wrote; `contents`, a digest of the stored notebook itself.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

from robexpl import artifacts, provenance

THESIS = artifacts.ROOT / "paper" / "thesis.json"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def code_cells(text: str) -> list[tuple[str, str]]:
    """Return the code cells of a template as (header, source)."""
    parts = re.split(r"^# %%(.*)\n?", text, flags=re.MULTILINE)[1:]
    return [(head, body) for head, body in zip(parts[::2], parts[1::2], strict=True) if not re.match(r" *\[", head)]


def read_text(template: Path) -> str:
    """Return the text of a template; raise ValueError where it is none."""
    try:
        text = template.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{template.name} is no template: it is not UTF-8 text") from None
    if not code_cells(text):
        raise ValueError(f"{template.name} is no template: no line starts with # %%")
    return text


def declared(text: str) -> dict[str, Any]:
    """Return what the cell tagged `parameters` assigns: names and values, None for a value that is no literal."""
    found: dict[str, Any] = {}
    for head, body in code_cells(text):
        if '"parameters"' in head:
            for node in ast.parse(body).body:
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                value = node.value if isinstance(getattr(node, "value", None), ast.Constant) else ast.Constant(None)
                found |= {target.id: value.value for target in targets if isinstance(target, ast.Name)}
    return found


def make_key(template: Path, params: dict[str, Any]) -> str:
    """Return the key of a run: code cells without comments, parameters, the robexpl code imported, what that reads."""
    cells, modules = [], set()
    for head, body in code_cells(template.read_text(encoding="utf-8")):
        cells.append(('"parameters"' in head, provenance.essence(f"...\n{body}")))  # a bare string is no docstring here
        try:
            modules |= provenance.imports(body)
        except SyntaxError:
            pass  # the run itself will say so
    # figures and claims of the thesis are typed data, and what judges them reads them
    typed = [artifacts.sha256(THESIS.read_bytes())] if "report.tables" in provenance.closure(modules) else []
    content = json.dumps([cells, params, provenance.code_digest(modules), typed], sort_keys=True)
    return artifacts.sha256(content.encode())[:24]


def contents_digest(notebook: dict[str, Any]) -> str:
    """Return a digest of a stored notebook, its own digest aside, so that an edit by hand is noticed."""
    own = {key: value for key, value in notebook["metadata"]["robexpl"].items() if key != "contents"}
    shown = {**notebook, "metadata": {**notebook["metadata"], "robexpl": own}}
    return artifacts.sha256(json.dumps(shown, sort_keys=True).encode())[:24]


def _as_written(notebook: dict[str, Any]) -> bytes:
    """Return the bytes that nbformat gives a notebook, without importing it."""
    return (json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def staleness(out: Path, template: Path, params: dict[str, Any], *, files: bool = True) -> str:
    """Return why a stored notebook is not current: `text` where only its prose is old, nothing where it is current.

    `files=False` leaves the files it wrote unchecked, as for the small copies that the tests compare with.
    """
    try:
        data = out.read_bytes()
        notebook = json.loads(data)
        made = notebook["metadata"]["robexpl"]
        if made["contents"] != contents_digest(notebook) or data != _as_written(notebook):
            return "it was edited by hand"
        if made["key"] != make_key(template, params):
            return "its code or parameters changed"
        for name, digest in made["files"].items() if files else ():
            file = artifacts.located(name)
            if not file.is_file() or artifacts.sha256(file.read_bytes()) != digest:
                return f"{name} is missing or changed"
        return "" if made["text"] == artifacts.sha256(template.read_bytes())[:24] else "text"
    except FileNotFoundError:
        return "it does not exist"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "it is not a notebook of this runner"


def scrub(text: str, places: dict[str, str]) -> str:
    """Return text without memory addresses and without paths of this machine."""
    text = re.sub(r" at 0x[0-9a-fA-F]{6,}", "", text)
    text = re.sub(r"(/\S*)?/ipykernel_\d+/\d+\.py", "<cell>", text)
    for path, name in places.items():
        text = text.replace(path, name)
    return text


def canonical(notebook: Any, made: dict[str, Any], params: dict[str, Any]) -> bytes:
    """Return a notebook as bytes: same code and same results, same bytes."""
    import nbformat

    places = {str(artifacts.build_dir()): "build", str(artifacts.ROOT): ".", sys.prefix: "<environment>"}
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        name = artifacts.sha256(f"{cell.cell_type}\n{cell.source}".encode())[:8]
        seen[name] = seen.get(name, 0) + 1
        cell["id"] = name if seen[name] == 1 else f"{name}-{seen[name]}"
        tags = list(cell.metadata.get("tags", []))
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = scrub(output.text, places)
            for kind, value in output.get("data", {}).items():
                if kind.startswith("text/") and isinstance(value, str):
                    output.data[kind] = scrub(value, places)
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}, "papermill": {"parameters": params}}
    notebook.metadata = nbformat.from_dict({**metadata, "robexpl": made})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    made["contents"] = contents_digest(json.loads(nbformat.writes(notebook)))
    notebook.metadata["robexpl"] = nbformat.from_dict(made)
    return (nbformat.writes(notebook).rstrip("\n") + "\n").encode()


def read_template(template: Path) -> Any:
    """Return a template as a notebook that papermill can run."""
    import jupytext
    import nbformat

    notebook = jupytext.reads(template.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])
    return notebook


def replace_text(out: Path, template: Path) -> bool:
    """Put the present text of a template around the stored outputs; False where the cells do not match."""
    import nbformat

    old, new = nbformat.read(out, 4), read_template(template)
    injected = [cell for cell in old.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    done = [cell for cell in old.cells if cell.cell_type == "code" and cell not in injected]
    cells = [cell for cell in new.cells if cell.cell_type == "code"]
    if len(cells) != len(done):
        return False
    for cell, before in zip(cells, done, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    if injected:
        place = next(i for i, cell in enumerate(new.cells) if "parameters" in cell.metadata.tags)
        new.cells[place + 1 : place + 1] = injected
    made = {**old.metadata.robexpl, "text": artifacts.sha256(template.read_bytes())[:24]}
    artifacts.write_atomic(out, canonical(new, made, dict(old.metadata.papermill.parameters)))
    return True
