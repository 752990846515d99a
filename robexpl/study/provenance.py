"""What code a result rests on: a digest that moves when a definition changes that the result uses, and only then.

A definition is a function, a class or a constant at the top of a module; those that the text of a reached one names are
followed. What is asked of objects (`dataset.bounds`) or looked up by a string is not: such code reaches a key through
the arguments of a stage (see `cache`). Text is hashed, as `ast.dump` differs from one Python to the next.
"""

import ast
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterable
from functools import cached_property, partial
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


class Source:
    """A module's text: the lines of it that count, and which statements or import bind each of its names."""

    def __init__(self, module: str, text: str, package: str) -> None:
        self.module, self.text, self.package, self.lines = module, text, package, _essence.lines(text)
        self.defined, self.imported = _essence.bindings(ast.parse(text), package)

    @cached_property
    def definitions(self) -> dict[str, tuple[str, set[Use]]]:
        """By name the text of what binds it, without what cannot change a result, and what that uses."""
        found, known = {}, self.defined.keys() | self.imported.keys()
        for name, nodes in self.defined.items():
            starts = (min(part.lineno for part in [n, *getattr(n, "decorator_list", [])]) for n in nodes)
            rows = [row for start, node in zip(starts, nodes, strict=True) for row in range(start - 1, node.end_lineno)]
            text = "\n".join(self.lines[row] for row in rows if self.lines[row] is not None)
            found[name] = text, _essence.uses(nodes, self.module, self.package, known)
        return found


_SOURCES: dict[str, tuple[Any, Source]] = {}
_DIGESTS: dict[tuple[Use, ...], tuple[dict[str, Source], str]] = {}


def digest(functions: Iterable[Callable]) -> str:
    """Return a digest of the code that functions or classes rest on, within robexpl and their own packages.
    Comments, docstrings, annotations' meaning, error messages and refusals (`refuse_...`) do not count. A module's text
    is read when it is loaded or reloaded, so that the digest is that of the code in memory. Raises ValueError for what
    no source file defines, and where a module lacks a name that is asked of it.
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
    >>> reached([seeds.torch_generator])[-2:]
    ['robexpl.seeds._sequence', 'robexpl.seeds.torch_generator']
    """
    with READING:
        found = _reach(map(_root, functions))
    return [f"{module}.{name}" for module, name in sorted(found) if " " not in name]


def cells_code(sources: Iterable[str]) -> str:
    """Return the text of the definitions within robexpl that a notebook's code cells use, followed as in `digest`.
    >>> "def torch_generator" in cells_code(["from robexpl import seeds", "seeds.torch_generator(0)"])
    True
    """
    with READING:
        used = _essence.uses([node for source in sources for node in ast.parse(source).body], "", "cell")
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


def _reach(roots: Iterable[Use]) -> dict[tuple[str, str], str]:
    """Return the texts of the definitions and imports reached from some, within their packages and robexpl."""
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
            found[module, name], used = source.definitions[name]
            todo += used
        if name in imported and imported[name] != (module, (name,)):
            origin, asked = imported[name]
            found[module, f"import {name}"] = " ".join([origin, *asked])
            todo.append((origin, (*asked, *rest)))
        elif name in defined or name.startswith("__"):
            continue
        elif source.package == module and _path(f"{module}.{name}"):
            todo.append((f"{module}.{name}", tuple(rest)))
        else:  # what the package's `__getattr__` gives
            value = getattr(importlib.import_module(module), name, None)
            if value is None:
                raise ValueError(f"cannot tell what a result rests on: {module} has no {name}")
            if isinstance(value, ModuleType):
                found[module, f"import {name}"] = value.__name__
                todo.append((value.__name__, tuple(rest)))
            elif getattr(value, "__module__", module) != module:
                todo.append((value.__module__, (value.__qualname__.split(".")[0],)))
    return found


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
    loaded, source = _SOURCES.get(module, (None, None))
    if source is None or spec is None or loaded is not spec:
        if (path := _path(module)) is None:
            raise ValueError(f"cannot tell what a result rests on: {module} has no source file")
        text = path.read_text(encoding="utf-8")
        if source is None or source.text != text:
            source = Source(module, text, module if path.name == "__init__.py" else module.rpartition(".")[0])
        _SOURCES[module] = spec, source
    return source
