"""What a module's text says: the lines that can change a result, what binds each name, and what statements use."""

import ast
import io
import tokenize
from collections.abc import Collection, Iterable, Iterator
from importlib.util import resolve_name

Use = tuple[str, tuple[str, ...]]  # a module and the dotted names that are asked of it, none for all of it
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def lines(text: str) -> list[str | None]:
    """Return a module's lines without comments, docstrings, refusals and what is raised; None for a line left out.
    >>> lines('def f(x):  # why\\n    "Doc."\\n    raise ValueError("words")\\n')
    ['def f(x):', None, '    raise', None]
    """
    tree, rows = ast.parse(text), text.split("\n")
    texts = [node for node in ast.walk(tree) if isinstance(node, (ast.Constant, ast.JoinedStr))]
    within = {row for node in texts for row in range(node.lineno - 1, node.end_lineno - 1)}  # strings stay as they are
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            rows[row - 1] = rows[row - 1][:column]
            within.discard(row - 1)
    kept = [row if i in within else row.rstrip() or None for i, row in enumerate(rows)]
    for node in _words(tree):
        first, last = node.lineno - 1, node.end_lineno
        before = rows[first].encode()[: node.col_offset].decode()
        alone = not before.strip() and len(rows[last - 1].rstrip().encode()) == node.end_col_offset
        if alone or isinstance(node, ast.Raise):
            left = f"{before}raise" if isinstance(node, ast.Raise) else None
            kept[first:last] = [left] + [None] * (last - first - 1)
    return kept


def _words(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements that only say something: docstrings, refusals, raised errors, texts that only these use."""
    for node in ast.walk(tree):
        if _silent(node):
            yield node
        elif isinstance(node, DEFINITIONS[:2]):
            parts = list(ast.walk(node))
            said = {name.id for part in parts if _silent(part) for name in ast.walk(part) if isinstance(name, ast.Name)}
            said -= {name for name, *_ in _loaded(_loud(node))}
            for part in parts:
                if isinstance(part, ast.Assign) and isinstance(part.value, (ast.JoinedStr, ast.Constant)):
                    if {getattr(target, "id", "") for target in part.targets} <= said:
                        yield part


def _silent(node: ast.AST) -> bool:
    """Tell whether a statement is a docstring, a refusal or raises an error."""
    value = node.value if isinstance(node, ast.Expr) else None
    text = isinstance(value, ast.Constant) and isinstance(value.value, str)
    refusal = isinstance(value, ast.Call) and chain(value.func)[-1].startswith("refuse_")
    return text or refusal or isinstance(node, ast.Raise)


def _loud(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all within it, but for silent statements and annotations."""
    yield node
    for field, value in ast.iter_fields(node):
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST) and field not in ("annotation", "returns") and not _silent(part):
                yield from _loud(part)


def _loaded(parts: Iterable[ast.AST]) -> set[tuple[str, ...]]:
    """Return the dotted names that are read, whole: of `a.b` not `a` as well."""
    read = [part for part in parts if isinstance(getattr(part, "ctx", None), ast.Load)]
    within = {id(part.value) for part in read if isinstance(part, ast.Attribute)}
    return {chain(part) for part in read if id(part) not in within} - {("",)}


def chain(node: ast.AST) -> tuple[str, ...]:
    """Return the names of an expression such as `a.b[0].c` up to the first that is no attribute.
    >>> chain(ast.parse("a.b[0].c").body[0].value)
    ('a', 'b')
    """
    names: tuple[str, ...] = ()
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred)):
        names = (node.attr, *names) if isinstance(node, ast.Attribute) else ()
        node = node.value
    return (node.id, *names) if isinstance(node, ast.Name) else ("",)


def bindings(tree: ast.Module, package: str) -> tuple[dict[str, list[ast.stmt]], dict[str, Use]]:
    """Return the statements that bind or change each name at the top of a module, and what its imports bring."""
    defined: dict[str, list[ast.stmt]] = {}
    imported: dict[str, Use] = {}
    for node in tree.body:
        bound: set[str] = set()
        for part in [node] if isinstance(node, DEFINITIONS) else ast.walk(node):
            if isinstance(part, DEFINITIONS):
                bound.add(part.name)
            elif isinstance(getattr(part, "ctx", None), ast.Store):
                bound.add(chain(part)[0])
            elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):  # a method may change its object
                bound |= {chain(part.value.func)[0]} & defined.keys()
            imported |= brought(part, package)
        for name in bound - {""}:
            defined.setdefault(name, []).append(node)
    return defined, imported


def brought(node: ast.AST, package: str) -> dict[str, Use]:
    """Return what a statement within a package brings, by the names that it binds; nothing unless it is an import.
    >>> brought(ast.parse("from . import fgsm as attack").body[0], "robexpl.attacks")
    {'attack': ('robexpl.attacks', ('fgsm',))}
    """
    if isinstance(node, ast.Import):
        tops = {alias.asname or alias.name.split(".")[0]: alias for alias in node.names}
        return {name: (alias.name if alias.asname else name, ()) for name, alias in tops.items()}
    if not isinstance(node, ast.ImportFrom):
        return {}
    origin = resolve_name("." * node.level + (node.module or ""), package)
    return {alias.asname or alias.name: (origin, (alias.name,)) for alias in node.names}


def uses(nodes: Iterable[ast.AST], module: str, package: str, known: Collection[str] = ()) -> set[Use]:
    """Return what statements use of their module, where `known` names are bound, and of what they import themselves.
    A local name counts like any other: where the module has a definition of that name, it is taken in as well.
    """
    parts = [part for node in nodes for part in _loud(node)]
    names = _loaded(parts) | {(name,) for part in parts if isinstance(part, ast.Global) for name in part.names}
    found = {(module, name) for name in names if name[0] in known}
    for name, (origin, asked) in (item for part in parts for item in brought(part, package).items()):
        found |= {(origin, ())} if name == "*" else {(origin, (*asked, *n[1:])) for n in names if n[0] == name}
    return found
