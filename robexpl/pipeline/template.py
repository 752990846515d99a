"""Templates of notebooks, percent scripts: their cells, and the parameters that they can be run with."""

import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from robexpl import checks, data
from robexpl.pipeline.commands import Failure
from robexpl.study import _essence, sizes

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


class Cell(NamedTuple):
    """A cell of a template: "code" or "markdown", its tags, and its text as it stands there, `head` before it."""

    kind: str
    tags: tuple[str, ...]
    head: str
    text: str

    @property
    def essence(self) -> str:
        """Its code without comments and blank lines; as it stands where it is no Python."""
        try:  # a bare string is no docstring in a cell, so something stands before it
            return "\n".join(line for line in _essence.lines(f"...\n{self.text}") if line is not None)
        except (SyntaxError, ValueError):  # tokenize's errors are SyntaxErrors from Python 3.12 on
            return self.text


def read(source: Path) -> str:
    """Return the text of a template; raise ValueError where it is none."""
    try:
        text = source.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{source.name} is no template: it is not UTF-8 text") from None
    if not cells(text):
        raise ValueError(f"{source.name} is no template: no line starts with # %%")
    return text


def cells(text: str) -> list[Cell]:
    """Return the cells of a template."""
    parts = re.split(r"^# %%(.*)\n?", text, flags=re.MULTILINE)[1:]
    found = []
    for head, body in zip(parts[::2], parts[1::2], strict=True):
        tags = re.search(r"tags=(\[[^]]*\])", head)
        kind = "markdown" if re.search(r"\[(markdown|md|raw)\]", head) else "code"
        found.append(Cell(kind, tuple(json.loads(tags[1])) if tags else (), head, body))
    return found


def declared(text: str) -> dict[str, Any]:
    """Return what the cell tagged `parameters` assigns: names and values, None for a value that is no literal.
    >>> declared('# %% tags=["parameters"]\\nseeds = 0\\n')
    {'seeds': 0}
    """
    found: dict[str, Any] = {}
    for node in [node for cell in cells(text) if "parameters" in cell.tags for node in ast.parse(cell.text).body]:
        names = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = node.value if isinstance(getattr(node, "value", None), ast.Constant) else ast.Constant(None)
        found |= {name.id: value.value for name in names if isinstance(name, ast.Name)}
    return found


def parameters(source: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of a run, sorted: those given as KEY=VALUE, and the profile that a dataset belongs to.
    Raises Failure for a parameter that the template does not declare, ValueError for a value that cannot be run with.
    """
    known, params = declared(read(source)), {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise Failure(f"expected a parameter as KEY=VALUE, got {text!r}", 2)
        if name in params:
            raise Failure(f"expected each parameter once, got {name!r} twice", 2)
        if name not in known:
            raise Failure(f"unknown parameter {name!r}; {source.name} declares: {', '.join(known) or 'none'}", 2)
        params[name] = _fitting(name, value, known[name])
    if "dataset" in params:
        data.module(params["dataset"])  # refuses an unknown one
    checks.one_of("profile", params.get("profile", "demo"), sizes.profiles())
    if "seeds" in params and params["seeds"] < 1:
        raise ValueError(f"expected seeds as a whole number of at least 1, got {params['seeds']!r}")
    if "dataset" in params and "profile" in known:
        params = {"profile": sizes.profile_of(params["dataset"]), **params}
    return dict(sorted(params.items()))


def _fitting(name: str, value: Any, default: Any) -> Any:
    """Return a parameter's value, of its default's type and finite; text is read as JSON unless the default is text."""
    try:
        value = value if isinstance(default, str) else json.loads(value)
    except ValueError:
        pass  # 010, 1_0 and 0x10 stay text, which no number takes
    if type(default) is int and type(value) is not int:
        raise ValueError(f"expected {name} as a whole number, got {value!r}")
    if type(default) is float and type(value) is int:
        value = float(value)
    if default is not None and type(value) is not type(default):
        raise ValueError(f"expected {name} as {type(default).__name__}, such as {default!r}, got {value!r}")
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError(f"expected {name} as finite numbers or text, got {value!r}") from None
    return value


def left_out(tags: Sequence[str], values: dict[str, Any]) -> bool:
    """Tell whether a cell is left out: tagged `image` or `tabular` for the other kind of data, `full` in the demo.
    >>> left_out(["tabular"], {"dataset": "digits"}), left_out(["full"], {"profile": "demo"})
    (True, True)
    """
    dataset, kinds = values.get("dataset"), set(tags) & set(sizes.KINDS)
    other = bool(kinds and dataset) and sizes.kind_of(dataset) not in kinds
    return other or ("full" in tags and values.get("profile", "full") != "full")


def kept(text: str, params: dict[str, Any]) -> list[Cell]:
    """Return the cells of a template that a notebook with these parameters has."""
    values = {**declared(text), **params}
    return [cell for cell in cells(text) if not left_out(cell.tags, values)]


def notebook(source: Path, params: dict[str, Any]) -> Any:
    """Return a template as the notebook that papermill runs with these parameters."""
    import jupytext

    text = read(source)
    made, values = jupytext.reads(text, fmt="py:percent"), {**declared(text), **params}
    for cell in made.cells:
        cell.metadata.setdefault("tags", [])
    made.cells = [cell for cell in made.cells if not left_out(cell.metadata.tags, values)]
    made.metadata = {"kernelspec": KERNEL}
    return made
