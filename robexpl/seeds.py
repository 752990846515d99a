"""Independent random streams from one seed and the name of what they are for."""

from zlib import crc32

import numpy as np
import torch

from robexpl import checks


def _sequence(seed: int, names: tuple[str | int, ...]) -> np.random.SeedSequence:
    seed = checks.non_negative(seed=seed)
    return np.random.SeedSequence([seed, *(crc32(str(name).encode()) for name in names)])


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a torch.Generator whose stream depends on the seed and on the names alone.
    >>> torch.rand(2, generator=torch_generator(0, "noise"))
    tensor([0.2828, 0.2773])
    """
    state = int(_sequence(seed, names).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator().manual_seed(state)


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a numpy Generator whose stream depends on the seed and on the names alone.
    >>> numpy_generator(0, "factuals", 1).integers(100, size=3).tolist()
    [61, 38, 82]
    """
    return np.random.default_rng(_sequence(seed, names))
