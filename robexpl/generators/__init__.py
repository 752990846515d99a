"""Generators of counterfactuals, one file each: a file `name.py` here defines `search`, alike for all."""

from functools import partial

from robexpl import registry
from robexpl.generators import ecco

__all__ = ["ecco", "module", "names"]

names = partial(registry.names, __name__)
module = partial(registry.module, __name__, what="generator")
