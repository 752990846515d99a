"""What a user asks of the runner: the notebook to write and the parameters to run with, refused in one line."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from robexpl import artifacts
from robexpl.report import notebook, paper
from robexpl.report.commands import Failure


def pairs(texts: list[str]) -> dict[str, Any]:
    """Return KEY=YAML texts as names and values."""
    import yaml

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name in found:
            raise Failure(f"expected each parameter once, got {name!r} twice", 2)
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals or not name.isidentifier():
            raise Failure(f"expected a parameter as KEY=YAML, got {text!r}", 2)
    return found


def parameters(name: str, template: Path, required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of the run of that name: what is required, and of the optional what the template declares.

    Raises Failure for a parameter that it does not declare, ValueError for a value that no notebook can run with.
    """
    known = notebook.declared(notebook.read_text(template))
    params = dict(sorted({**{key: value for key, value in optional.items() if key in known}, **required}.items()))
    for key in params:
        if key not in known:
            listed = ", ".join(known) or "none"
            raise Failure(f"FAILED {name}: unknown parameter {key!r}; {template.name} declares: {listed}", 2)
    values, profiles = {**known, **params}, artifacts.PROFILES
    if "profile" in values:
        _check_name("profile", values["profile"], profiles)
        profiles = (values["profile"],)
    if "dataset" in params:
        _check_name("dataset", params["dataset"], [name for p in profiles for name in paper.DATASETS[p].values()])
    if "seeds" in params and (type(params["seeds"]) is not int or params["seeds"] < 1):
        raise ValueError(f"expected seeds as a whole number of at least 1, got {params['seeds']!r}")
    return params


def _check_name(what: str, value: Any, known: Collection[str]) -> None:
    if value not in known:
        raise ValueError(f"unknown {what} {value!r}; known: {', '.join(known)}")


def check_out(out: Path) -> None:
    """Refuse to write over anything but a notebook: a folder, a template, somebody else's notebook."""
    if out.suffix != ".ipynb" or out.is_dir():
        raise Failure(f"FAILED {out.stem}: expected OUT as a notebook file, .ipynb, got {out}", 2)
    try:
        stored = json.loads(out.read_bytes())
        foreign = bool(stored["cells"]) and "robexpl" not in stored["metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # none, or a damaged one, which is made anew
    if foreign:
        raise Failure(f"FAILED {out.stem}: {out} is no notebook of this runner; move it away first", 2)
