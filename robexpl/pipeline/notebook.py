"""Executed notebooks: what they rest on, whether they are current, and their one byte form.

Their metadata holds, under `robexpl`: `template`; `key`, a digest of code cells, parameters and all that the code uses;
`text`, a digest of the cells as they are written; `files`, the digest of each file that the run wrote; `contents`, a
digest of the stored notebook itself.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from robexpl.files import sha256, write_atomic
from robexpl.pipeline import template
from robexpl.study import places, plan, provenance, sizes

TEXT = "only its text changed"  # the reason that needs no run
# a word with the path of a cell's temporary file, such as /tmp/ipykernel_1/2.py; what stands before its first slash
CELL_PATH = re.compile(r"(?<!\S)([^\s/]*+)\S*/ipykernel_\d+/\d+\.py")
# what study.yaml says of the machines that compute, and the comment before it: no result rests on that
MACHINES = re.compile(rb"\n+(#[^\n]*\n)*cluster:\n([ #][^\n]*\n?)*")


def digest(content: Any) -> str:
    """Return a digest of what has a JSON form."""
    return sha256(json.dumps(content, sort_keys=True).encode())[:24]


def text_digest(text: str, params: dict[str, Any]) -> str:
    """Return a digest of the cells of a notebook as they are written in its template."""
    return digest([(cell.head, cell.text) for cell in template.kept(text, params)])


def contents_digest(notebook: dict[str, Any]) -> str:
    """Return a digest of a stored notebook, its own digest aside, so that an edit by hand is noticed."""
    own = {key: value for key, value in notebook["metadata"]["robexpl"].items() if key != "contents"}
    return digest({**notebook, "metadata": {**notebook["metadata"], "robexpl": own}})


def tables() -> list[Path]:
    """Return the files that code may read by name, besides data: what the thesis says, and the study's settings."""
    typed = [path for path in (places.ROOT / "paper").iterdir() if path.suffix in (".csv", ".json", ".yaml")]
    return sorted([*typed, sizes.FILE])


def make_key(source: Path, params: dict[str, Any]) -> str:
    """Return the key of a run: code cells without comments, parameters, what they use and what that reads.
    Of a notebook of the study the keys of its entries in the cache are part: they name code that cells do not.
    """
    text = source.read_text(encoding="utf-8")
    code = [cell for cell in template.kept(text, params) if cell.kind == "code"]
    plain = [("parameters" in cell.tags, cell.essence) for cell in code]
    files, entries = [], []
    try:
        used = provenance.cells_code([cell.text for cell in code])
        files = [sha256(MACHINES.sub(b"\n", path.read_bytes())) for path in tables() if f'"{path.name}"' in used]
    except (SyntaxError, ValueError) as error:  # the run itself will say so
        used = str(error)
    if source.parent == places.ROOT / "notebooks" and source.stem in {entry.name for entry in plan.NOTEBOOKS}:
        values, only = {**template.declared(text), **params}, [(plan.notebook(source.stem), params.get("dataset"))]
        entries = [cell.path().name for cell in plan.cells(values["profile"], values.get("seeds", 0), only)]
    return digest([plain, params, used, files, sorted(entries)])


def staleness(out: Path, source: Path, params: dict[str, Any]) -> str:
    """Return why a stored notebook is not current, nothing where it is current."""
    try:
        content = out.read_bytes()
        notebook = json.loads(content)
        made = notebook["metadata"]["robexpl"]
        written = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"  # as nbformat does
        if made["contents"] != contents_digest(notebook) or content != written.encode():
            return "it was edited by hand"
        if notebook["metadata"]["papermill"]["parameters"] != params:
            return "its parameters changed"
        if made["key"] != make_key(source, params):
            return "its code, or what the code uses, changed"
        for name, known in made["files"].items():
            file = places.located(name)
            if not file.is_file() or sha256(file.read_bytes()) != known:
                return f"{name} is missing or changed"
        return "" if made["text"] == text_digest(template.read(source), params) else TEXT
    except FileNotFoundError:
        return "it does not exist"
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return "it is not a notebook of this runner"


def scrub(text: str, names: dict[str, str]) -> str:
    """Return text without memory addresses and without paths of this machine, in time linear in its length."""
    text = CELL_PATH.sub(r"\1<cell>", re.sub(r" at 0x[0-9a-fA-F]{6,}", "", text))
    for path, name in names.items():
        text = text.replace(path, name)
    return text


def joined(outputs: list[Any]) -> list[Any]:
    """Return outputs with each stream in one piece, and of a line that was written over only what was left of it."""
    streams: dict[str, list[Any]] = {}
    for output in outputs:
        if output["output_type"] == "stream":
            streams.setdefault(output["name"], []).append(output)
    for parts in streams.values():
        lines = "".join(part["text"] for part in parts).split("\n")
        parts[0]["text"] = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return [each for each in outputs if each["output_type"] != "stream" or each is streams[each["name"]][0]]


def canonical(notebook: Any, made: dict[str, Any], params: dict[str, Any]) -> bytes:
    """Return a notebook as bytes: same code and same results, same bytes."""
    import nbformat

    names = {str(places.build_dir()): "build", str(places.ROOT): ".", sys.prefix: "<environment>"}
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        name = sha256(f"{cell.cell_type}\n{cell.source}".encode())[:8]
        seen[name] += 1
        cell["id"] = name if seen[name] == 1 else f"{name}-{seen[name]}"
        tags = list(cell.metadata.get("tags", []))
        cell.metadata = {"tags": tags} if tags else {}
        if "outputs" in cell:
            cell.outputs = joined(cell.outputs)
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = scrub(output.text, names)
            for kind, value in output.get("data", {}).items():
                if kind.startswith("text/") and isinstance(value, str):
                    output.data[kind] = scrub(value, names)
    metadata = {"kernelspec": template.KERNEL, "language_info": {"name": "python"}, "papermill": {"parameters": params}}
    notebook.metadata = {**metadata, "robexpl": made}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    notebook.metadata.robexpl["contents"] = contents_digest(json.loads(nbformat.writes(notebook)))
    return (nbformat.writes(notebook).rstrip("\n") + "\n").encode()


def replace_text(out: Path, source: Path, params: dict[str, Any]) -> bool:
    """Put the present text of a template around the stored outputs; False where the cells do not match."""
    import nbformat

    old, new = nbformat.read(out, 4), template.notebook(source, params)
    injected = [cell for cell in old.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    done = [cell for cell in old.cells if cell.cell_type == "code" and cell not in injected]
    code = [cell for cell in new.cells if cell.cell_type == "code"]
    if len(code) != len(done):
        return False
    for cell, before in zip(code, done, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    if injected:
        place = 1 + next(i for i, cell in enumerate(new.cells) if "parameters" in cell.metadata.tags)
        new.cells[place:place] = injected
    made = {**old.metadata.robexpl, "text": text_digest(template.read(source), params)}
    write_atomic(out, canonical(new, made, params))
    return True
