"""The examples in docstrings run, in every module of the package."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import robexpl

PACKAGE = Path(robexpl.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0
    examples = [line for line in Path(module.__file__).read_text(encoding="utf-8").splitlines() if ">>> " in line]
    assert results.attempted >= len(examples)  # none is where doctest does not look


@pytest.mark.parametrize("part", ["attacks", "data", "generators", "metrics", "models"])
def test_public_functions_have_an_example(part: str) -> None:
    """Every function that a package exports has a docstring with an example."""
    module = importlib.import_module(f"robexpl.{part}")
    for name in module.__all__:
        function = getattr(module, name)
        if type(function).__name__ == "function":
            assert ">>> " in (function.__doc__ or ""), f"{part}.{name}"
