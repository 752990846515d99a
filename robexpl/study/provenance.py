"""What code a result rests on: a digest that moves when a definition changes that the result uses, and only then.

A definition is a function, a class or a constant at the top of a module. From the given functions on, every definition
is followed that the text of a reached one names. What is asked of objects (`dataset.bounds`) and what is looked up by a
string cannot be followed: such code reaches a key through the arguments of a stage (see `robexpl.study.cache`).

Text is hashed, not syntax trees: `ast.dump` prints the same file differently from one Python to the next.
"""

import ast
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from robexpl.files import sha256
from robexpl.study import _essence
from robexpl.study._essence import Use

# They decide when work is done, what is refused and where files lie, never what comes out.
NEUTRAL = frozenset(
    f"robexpl.{name}"
    for name in ("progress", "files", "registry", "study.cache", "study._essence", "study.places", "study.provenance")
)
READING = threading.RLock()  # Python 3.11 cannot parse in two threads at once
Found = dict[tuple[str, str], str]  # texts, by module and name of the definition or the import


@dataclass(eq=False)
class Source:
    """A module's text, the lines of it that count, and which statements or import bind each of its names."""

    module: str
    text: str
    package: bool

    def __post_init__(self) -> None:
        self.lines = _essence.lines(self.text)
        self.defined, self.imported = _essence.bindings(ast.parse(self.text), self.module, self.package)


_SOURCES: dict[str, tuple[Any, int, Source]] = {}
_DIGESTS: dict[tuple[Use, ...], tuple[dict[str, Source], str]] = {}


def digest(functions: Iterable[Callable]) -> str:
    """Return a digest of the code that functions or classes rest on, within robexpl and their own packages.
    Comments, docstrings, annotations' meaning, error messages and refusals (`refuse_...`) do not count. The text of a
    module is read once and again when the module is reloaded, so that the digest is that of the code in memory.
    Raises ValueError for what no source file defines, and where a module lacks a name that is asked of it.
    >>> from robexpl import seeds
    >>> digest([seeds.torch_generator]) == digest([seeds.numpy_generator])
    False
    """
    with READING:
        roots = tuple(sorted({_root(function) for function in functions}))
        sources, result = _DIGESTS.get(roots, ({}, ""))
        if not result or any(_source(module) is not source for module, source in sources.items()):
            found = _reach(roots)
            result = sha256(repr((roots, sorted(found.items()))).encode())
            _DIGESTS[roots] = {module: _source(module) for module, _ in found}, result
        return result


def reached(functions: Iterable[Callable]) -> list[str]:
    """Return the names of the definitions that `digest` takes in, for people and tests.
    >>> from robexpl import seeds
    >>> reached([seeds.torch_generator])
    ['robexpl.seeds._sequence', 'robexpl.seeds.torch_generator']
    """
    with READING:
        found = _reach(map(_root, functions))
    return [f"{module}.{name}" for module, name in sorted(found) if " " not in name]


def cells_code(sources: Iterable[str]) -> str:
    """Return the text of the definitions within robexpl that a notebook's code cells use, followed as in `digest`.
    >>> cells_code(["from robexpl import seeds", "seeds.torch_generator(0)"]).startswith("robexpl seeds\\ndef _seq")
    True
    """
    with READING:
        used = _essence.uses([node for source in sources for node in ast.parse(source).body], "", False)
        found = _reach(use for use in used if use[0].split(".")[0] == "robexpl")
    return "\n".join(text for _, text in sorted(found.items()))


def _root(function: Callable) -> Use:
    function = function.func if isinstance(function, partial) else function
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "").split(".")[0]
    if not module or not _path(module):
        raise ValueError(f"expected a function or class from a file, got {name or str(function)!r} of {module}")
    if name not in _source(module).defined:
        raise ValueError(f"expected a named function or class, got {name!r} of {module}")
    return module, (name,)


def _reach(roots: Iterable[Use]) -> Found:
    """Return the definitions and imports that are reached from some, within their packages and robexpl."""
    todo, seen, found = list(roots), set(), {}
    followed = {"robexpl", *(module.split(".")[0] for module, _ in todo)}
    while todo:
        module, names = todo.pop()
        if (module, names) in seen or module in NEUTRAL or module.split(".")[0] not in followed:
            continue
        seen.add((module, names))
        source = _source(module)
        defined, imported = source.defined, source.imported
        if "*" in imported:
            raise ValueError(f"cannot tell what a result rests on: {module} imports * from {imported['*'][0]}")
        if not names:
            found[module, "whole module"] = ""
            todo += [(module, (name,)) for name in [*defined, *imported]]
            continue
        name, *rest = names
        if name in defined:
            found[module, name], used = _definition(source, name)
            todo += used
        if name in imported and imported[name] != (module, (name,)):
            origin, asked = imported[name]
            found[module, f"import {name}"] = " ".join([origin, *asked])
            todo.append((origin, (*asked, *rest)))
        elif name in defined or name.startswith("__"):
            continue
        elif source.package and _path(f"{module}.{name}"):
            todo.append((f"{module}.{name}", tuple(rest)))
        else:
            todo += _asked(module, name, rest, found)
    return found


@cache
def _definition(source: Source, name: str) -> tuple[str, set[Use]]:
    """Return the text of what binds a name, without what cannot change a result, and what it uses."""
    nodes, rows = source.defined[name], set()
    for node in nodes:
        first = min(part.lineno for part in [node, *getattr(node, "decorator_list", [])])
        rows.update(range(first - 1, node.end_lineno))
    text = "\n".join(source.lines[row] for row in sorted(rows) if source.lines[row] is not None)
    known = source.defined.keys() | source.imported.keys()
    return text, _essence.uses(nodes, source.module, source.package, known)


def _asked(module: str, name: str, rest: list[str], found: Found) -> list[Use]:
    """Return what a package's `__getattr__` gives for a name."""
    try:
        value = getattr(importlib.import_module(module), name)
    except AttributeError:
        raise ValueError(f"cannot tell what a result rests on: {module} has no {name}") from None
    if isinstance(value, ModuleType):
        found[module, f"import {name}"] = value.__name__
        return [(value.__name__, tuple(rest))]
    elsewhere = getattr(value, "__module__", module) != module
    return [(value.__module__, (value.__qualname__.split(".")[0],))] if elsewhere else []


def _path(module: str) -> Path | None:
    """Return the file of a module, loaded or not, None where it has none."""
    try:
        loaded = sys.modules.get(module)
        file = loaded.__file__ if loaded else importlib.util.find_spec(module).origin
    except (AttributeError, ModuleNotFoundError):
        return None
    return Path(file) if file and file.endswith(".py") else None


def _source(module: str) -> Source:
    """Return the source of a module, read again when the module is reloaded or, while not loaded, has changed."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    loaded, stamp, source = _SOURCES.get(module, (None, 0, None))
    if source and spec and loaded is spec:
        return source
    if (path := _path(module)) is None:
        raise ValueError(f"cannot tell what a result rests on: {module} has no source file")
    state = path.stat().st_mtime_ns
    if source is None or loaded is not spec or stamp != state:
        text = path.read_text(encoding="utf-8")
        if source is None or source.text != text:
            source = Source(module, text, path.name == "__init__.py")
        _SOURCES[module] = spec, state, source
    return source
