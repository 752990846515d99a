"""What a module's text says: the lines that can change a result, what binds each name, and what statements use."""

import ast
import io
import tokenize
from collections.abc import Collection, Iterable, Iterator

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
            said -= {chain(name)[0] for name in _loud(node) if isinstance(getattr(name, "ctx", None), ast.Load)}
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
    """Yield a node and all within it, but for silent statements, annotations and the parts of dotted names."""
    yield node
    start = node
    while isinstance(start, ast.Attribute):
        start = start.value
    if start is not node and isinstance(start, ast.Name):
        return
    for field, value in ast.iter_fields(node):
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST) and field not in ("annotation", "returns") and not _silent(part):
                yield from _loud(part)


def chain(node: ast.AST) -> tuple[str, ...]:
    """Return the names of an expression such as `a.b[0].c` up to the first that is no attribute: ("a", "b").
    >>> chain(ast.parse("a.b.c").body[0].value)
    ('a', 'b', 'c')
    """
    names: tuple[str, ...] = ()
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred)):
        names = (node.attr, *names) if isinstance(node, ast.Attribute) else ()
        node = node.value
    return (node.id, *names) if isinstance(node, ast.Name) else ("",)


def bindings(tree: ast.Module, module: str, package: bool) -> tuple[dict[str, list[ast.stmt]], dict[str, Use]]:
    """Return the statements that bind or change each name at the top of a module, and what its imports bring."""
    defined: dict[str, list[ast.stmt]] = {}
    imported: dict[str, Use] = {}
    for node in tree.body:
        bound: set[str] = set()
        for part in _statements(node):
            imported |= brought(part, module, package)
            bound |= _names(part) & defined.keys() if isinstance(part, ast.Expr) else _names(part)
        for name in bound:
            defined.setdefault(name, []).append(node)
    return defined, imported


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a statement and those within it, except what is for type checkers only and the inside of definitions."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in chain(node.test):
        return
    yield node
    for part in () if isinstance(node, DEFINITIONS) else ast.iter_child_nodes(node):
        if isinstance(part, (ast.stmt, ast.excepthandler, ast.match_case)):
            yield from _statements(part)


def _names(node: ast.AST) -> set[str]:
    """Return the names that one statement, without those within it, binds or whose value it may change."""
    if isinstance(node, DEFINITIONS):
        return {node.name}
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        return {chain(node.value.func)[0]}
    inner = [part for part in ast.iter_child_nodes(node) if isinstance(part, (ast.expr, ast.withitem))]
    stored = (part for child in inner for part in ast.walk(child) if isinstance(getattr(part, "ctx", None), ast.Store))
    return {chain(part)[0] for part in stored} - {""}


def brought(node: ast.AST, module: str, package: bool) -> dict[str, Use]:
    """Return what a statement brings, by the names that it binds; nothing unless it is an import.
    >>> brought(ast.parse("from . import fgsm as attack").body[0], "robexpl.attacks", True)
    {'attack': ('robexpl.attacks', ('fgsm',))}
    """
    if isinstance(node, ast.Import):
        tops = {alias.asname or alias.name.split(".")[0]: alias for alias in node.names}
        return {name: (alias.name if alias.asname else name, ()) for name, alias in tops.items()}
    if not isinstance(node, ast.ImportFrom):
        return {}
    parts = module.split(".")
    parents = parts[: len(parts) - node.level + package] if node.level else []
    origin = ".".join([*parents, *filter(None, [node.module])])
    return {alias.asname or alias.name: (origin, (alias.name,)) for alias in node.names}


def uses(nodes: Iterable[ast.AST], module: str, package: bool, known: Collection[str] = ()) -> set[Use]:
    """Return what statements use of their module, where `known` names are bound, and of what they import themselves.
    A local name counts like any other: where the module has a definition of that name, it is taken in as well.
    """
    names: set[tuple[str, ...]] = set()
    found: set[Use] = set()
    imports: list[tuple[str, Use]] = []
    for part in (part for node in nodes for part in _loud(node)):
        imports += brought(part, module, package).items()
        if isinstance(part, (ast.Attribute, ast.Name)) and isinstance(part.ctx, ast.Load):
            names.add(chain(part))
        elif isinstance(part, ast.Global):
            names.update((name,) for name in part.names)
    for name, (origin, asked) in imports:
        found |= {(origin, ())} if name == "*" else {(origin, (*asked, *n[1:])) for n in names if n[0] == name}
    return found | {(module, name) for name in names if name[0] in known}
