"""The four training regimes, the adversaries they train against, and other trainings to compare them with."""

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


@dataclass(frozen=True)
class Control:
    """A training to compare adversarial training with: a file in robexpl/trainings, and how strongly it is applied."""

    name: str
    strength: float


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


def name_of(regime: str | Adversary | Control) -> str:
    """Return the name of a regime or control, "own" for other adversaries; it also names the random stream.
    >>> name_of(Adversary(0.1, 0.01, 13))
    'medium'
    """
    if isinstance(regime, Control):
        return regime.name
    return next((name for name, known in ADVERSARIES.items() if regime in (name, known)), "own")
