"""The four training regimes and the adversaries they train against and are tested against."""

from __future__ import annotations

from dataclasses import dataclass

from robexpl import checks

REGIMES = ("standard", "weak", "medium", "strong")
REGIME_NAMES = {"standard": "Standard", "weak": "Weak", "medium": "Medium", "strong": "Strong"}


@dataclass(frozen=True)
class Adversary:
    """A PGD adversary: radius in the maximum norm and step size in input units, number of steps."""

    eps: float
    step_size: float
    steps: int


ADVERSARIES: dict[str, Adversary | None] = {
    "standard": None,
    "weak": Adversary(0.05, 0.01, 7),
    "medium": Adversary(0.1, 0.01, 13),
    "strong": Adversary(0.3, 0.01, 40),
}
EVALUATION = Adversary(0.2, 0.01, 26)
FGSM_EPS = 0.2


def adversary(regime: str) -> Adversary | None:
    """Return the adversary that a regime trains against, None for standard training."""
    return ADVERSARIES[checks.one_of("regime", regime, REGIMES)]
