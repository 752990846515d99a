"""Adversarial robustness and the plausibility of counterfactual explanations: a reproduction that runs."""

import importlib
import warnings
from types import ModuleType

__version__ = "0.1.0"
PARTS = ("attacks", "certify", "data", "exact", "generators", "gradients", "metrics", "models", "stats", "training")
# the download library asks tqdm for a widget at import; where there are none, tqdm would say so in every notebook
warnings.filterwarnings("ignore", message="IProgress not found")


def __getattr__(name: str) -> ModuleType:
    """Import a part of the package when it is first used; `ecco` is the module robexpl.generators.ecco."""
    if name in (*PARTS, "ecco"):
        return importlib.import_module(f"robexpl.{'generators.' if name == 'ecco' else ''}{name}")
    raise AttributeError(f"module 'robexpl' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the parts, too, that were not used yet."""
    return sorted({*globals(), *PARTS, "ecco"})
