"""Independent random streams from one seed and the name of what they are for."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import torch


def _sequence(seed: int, names: tuple[str | int, ...]) -> np.random.SeedSequence:
    if int(seed) != seed or seed < 0:
        raise ValueError(f"expected seed to be an integer >= 0, got {seed}")
    return np.random.SeedSequence([int(seed), *(crc32(str(name).encode()) for name in names)])


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a torch.Generator whose stream depends on the seed and on the names alone."""
    state = int(_sequence(seed, names).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator().manual_seed(state)


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a numpy Generator whose stream depends on the seed and on the names alone."""
    return np.random.default_rng(_sequence(seed, names))
