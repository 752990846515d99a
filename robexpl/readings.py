"""The three readings of the thesis, as data: the settings where text, author's code and good practice differ."""

from __future__ import annotations

from dataclasses import dataclass

from robexpl import checks
from robexpl.ecco import Settings

STOP_NAMES = {"decision_threshold": "Decision threshold", "generator_conditions": "Generator conditions"}

# thesis, section 4.3: the stated weights (closeness, energy) of the search for images and for tables
STATED_WEIGHTS = {"image": (0.01, 0.5), "tabular": (0.1, 0.5)}


@dataclass(frozen=True)
class Reading:
    """One way of doing what the thesis describes.

    early_stop: PGD in training ends when any entry of the batch has moved by eps (True) or projects (False).
    energy_factor: the energy weight of the search as a multiple of the stated one.
    start_noise: standard deviation of the noise on the starting point of the search.
    proximal: the closeness term is handled by soft-thresholding, so that a stationary point can be reached.
    finer: the step of the search is divided, and the number of its steps multiplied, by this.
    sampling: how the tabular data are sampled and split (see `data.load`).
    common_factuals: only factuals that every model of a seed classifies correctly count, instead of each its own.
    """

    name: str
    summary: str
    early_stop: bool
    energy_factor: float
    start_noise: float = 0.1
    proximal: bool = False
    finer: int = 1
    sampling: str = "published"
    common_factuals: bool = False

    def settings(self, kind: str, **changes: float) -> Settings:
        """Return the settings of the search for `kind` of data, "image" or "tabular", with some of them changed.

        A changed number of `steps` is one at the default step size, and is multiplied by `finer` too.
        """
        l1, energy = STATED_WEIGHTS[checks.one_of("kind of data", kind, STATED_WEIGHTS)]
        own = {
            "l1": l1,
            "energy": self.energy_factor * energy,
            "start_noise": self.start_noise,
            "proximal": self.proximal,
            "learning_rate": Settings.learning_rate / self.finer,
        }
        steps = self.finer * changes.get("steps", Settings.steps)
        return Settings(**{**own, **changes, "steps": steps})


READINGS = {
    reading.name: reading
    for reading in (
        Reading("published", "what reproduces the author's figures", early_stop=True, energy_factor=2.0),
        Reading("stated", "the text of the thesis taken at its word", early_stop=False, energy_factor=1.0),
        Reading(
            "repaired",
            "what a careful study would do",
            early_stop=False,
            energy_factor=1.0,
            start_noise=0.0,
            proximal=True,
            finer=5,
            sampling="repaired",
            common_factuals=True,
        ),
    )
}


def reading(name: str) -> Reading:
    """Return the reading of that name."""
    return READINGS[checks.one_of("reading", name, READINGS)]
