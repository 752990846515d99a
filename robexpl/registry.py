"""What there is by name: a dataset, an architecture, an attack, a generator or a metric is one file in its package.
It is found as soon as it lies there; files whose names start with an underscore are helpers.
"""

import importlib
import pkgutil
from types import ModuleType

from robexpl import checks


def names(package: str) -> list[str]:
    """Return the names of a package's files, sorted.
    >>> names("robexpl.models")
    ['decision_tree', 'deep_mlp', 'lenet', 'mlp']
    """
    files = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return sorted(file.name for file in files if not file.name.startswith("_"))


def module(package: str, name: str, what: str) -> ModuleType:
    """Return the module of that name in a package; raise ValueError with the known names where there is none.
    >>> module("robexpl.models", "mlp", "architecture").__name__
    'robexpl.models.mlp'
    """
    return importlib.import_module(f"{package}.{checks.one_of(what, name, names(package))}")
