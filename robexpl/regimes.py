"""The four training regimes and the adversaries they train against."""

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


def adversary(regime: str | Adversary) -> Adversary | None:
    """Return the adversary that a regime trains against, None for standard training; an adversary is its own regime.
    >>> adversary("weak")
    Adversary(eps=0.05, step_size=0.01, steps=7)
    """
    if not isinstance(regime, Adversary):
        return ADVERSARIES[checks.one_of("regime", regime, REGIMES)]
    eps, steps = checks.non_negative(eps=regime.eps, steps=regime.steps)
    return Adversary(eps, checks.positive(step_size=regime.step_size), steps)


def name_of(regime: str | Adversary) -> str:
    """Return the name of a regime, "own" for an adversary that belongs to none; it also names the random stream.
    >>> name_of(Adversary(0.1, 0.01, 13))
    'medium'
    """
    return next((name for name, known in ADVERSARIES.items() if regime in (name, known)), "own")
