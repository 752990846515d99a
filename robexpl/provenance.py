"""What code a result rests on, as a digest that only a change of meaning moves.

Text, not syntax trees: `ast.dump` prints the same file differently from one Python to the next.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import sys
import tokenize
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# they decide when work is done, what is refused and where files come from, never what comes out
NEUTRAL = frozenset({"cache", "checks", "files", "progress", "provenance"})


def essence(source: str) -> str:
    """Return source text without comments, docstrings, blank lines and trailing blanks; strings stay as they are.

    Statements `checks.refuse_...(...)` are left out too: they say what is refused, never what comes out.
    """
    try:
        tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, tokenize.TokenError):
        return source
    lines = source.split("\n")
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    verbatim: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno and node.end_lineno > node.lineno:
            verbatim.update(range(node.lineno, node.end_lineno))  # the last line may carry trailing blanks, no more
    gone: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = node.body[0] if node.body and ast.get_docstring(node, clean=False) is not None else None
            if text and not lines[text.lineno - 1][: text.col_offset].strip():
                gone.update(range(text.lineno, text.end_lineno + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and ast.unparse(node).startswith("checks.refuse_"):
            if not lines[node.lineno - 1][: node.col_offset].strip():
                gone.update(range(node.lineno, node.end_lineno + 1))
    kept = [
        line if number in verbatim else line.rstrip()
        for number, line in enumerate(lines, 1)
        if number not in gone and (number in verbatim or line.strip())
    ]
    return "\n".join(kept)


def imports(source: str) -> set[str]:
    """Return the names within robexpl of the modules that some source imports, such as `seeds` or `report.tables`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(name.name.removeprefix("robexpl.") for name in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.level or f"{node.module}.".startswith("robexpl.")):
            within = f"{node.module or ''}.".removeprefix("robexpl.")  # "", "seeds.", "report.", "report.tables."
            found.update([within.rstrip("."), *(f"{within}{name.name}".lstrip(".") for name in node.names)])
    return {name for name in found if name and _path(name).is_file()}


def closure(names: Iterable[str], ignore: Collection[str] = NEUTRAL) -> list[str]:
    """Return the named robexpl modules and all they import within the package, sorted; raise ValueError if unknown."""
    found: set[str] = set()
    todo = [name for name in names if name not in ignore]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [other for other in _module(name)[1] if other not in ignore]
    return sorted(found)


def code_digest(names: Iterable[str], ignore: Collection[str] = NEUTRAL) -> str:
    """Return a digest of the code of the named robexpl modules and of all that they import within the package."""
    hashed = hashlib.sha256()
    for name in closure(names, ignore):
        hashed.update(f"{name}\n{_module(name)[0]}\n".encode())
    return hashed.hexdigest()


def function_code(function: Callable) -> tuple[str, set[str]]:
    """Return the code of a function with all of its module that it uses, and the robexpl modules it names."""
    try:
        source = inspect.getsource(sys.modules[function.__module__])
    except (OSError, TypeError, KeyError):  # typed into a session: only its own text can be had
        return essence(inspect.cleandoc(inspect.getsource(function))), set()
    imported: dict[str, str] = {}
    defined: dict[str, list[ast.stmt]] = {}
    for node in ast.parse(source).body:
        for name, statement in _bound(node):
            if statement:
                imported[name] = statement
            else:
                defined.setdefault(name, []).append(node)
    used: dict[int, ast.stmt] = {}
    modules: set[str] = set()
    seen: set[str] = set()
    todo = [function.__qualname__.split(".")[0]]
    while todo:
        if (name := todo.pop()) in seen:
            continue
        seen.add(name)
        if name in imported:
            modules |= imports(imported[name])
        for node in defined.get(name, []):
            used[node.lineno] = node
            todo += [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    lines, texts = source.split("\n"), []
    for line, node in sorted(used.items()):
        decorators = [part.lineno for part in getattr(node, "decorator_list", [])]
        texts.append("\n".join(lines[min([line, *decorators]) - 1 : node.end_lineno]))
    return "\n".join(map(essence, texts)), modules


def _bound(node: ast.stmt) -> list[tuple[str, str]]:
    """Return the names that a statement at the top of a module binds, each with its own import statement or nothing."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [(node.name, "")]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        single = [(alias, ast.unparse(type(node)(**{**vars(node), "names": [alias]}))) for alias in node.names]
        return [(alias.asname or alias.name.split(".")[0], text) for alias, text in single]
    return [(part.id, "") for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]


def _path(name: str) -> Path:
    return PACKAGE / f"{name.replace('.', '/')}.py"


def _module(name: str) -> tuple[str, set[str]]:
    path = _path(name)
    if not path.is_file():
        files = (file.relative_to(PACKAGE).with_suffix("") for file in PACKAGE.glob("**/[a-z]*.py"))
        known = ", ".join(sorted(file.as_posix().replace("/", ".") for file in files))
        raise ValueError(f"unknown module {name!r}; known: {known}")
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, _modified: int) -> tuple[str, set[str]]:
    source = path.read_text(encoding="utf-8")
    return essence(source), imports(source)
