"""The study as frozen dataclasses, read from study.yaml: conditions, attacks, profiles and the sizes of one dataset."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from robexpl import attacks, checks, data, metrics
from robexpl.generators import ecco

STOPS = ecco.STOPS
KINDS = ("image", "tabular")
FILE = Path(__file__).with_name("study.yaml")


@lru_cache(maxsize=1)
def settings() -> dict[str, Any]:
    """Read study.yaml."""
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Condition:
    """One way of doing what the thesis describes; study.yaml says what each field means."""

    name: str
    title: str
    meaning: str
    early_stop: bool
    rounded: bool
    energy_factor: float
    start_noise: float
    proximal: bool
    finer: int
    sampling: str
    common_factuals: bool
    most_on_images: int | None

    def search(self, kind: str, **changes: float) -> ecco.Settings:
        """Return the settings of the search for a kind of data, "image" or "tabular", with some of them changed.

        A changed number of `steps` is one at the default step size, and is multiplied by `finer` too.

        >>> condition("corrected").search("image", steps=200).steps
        1000
        """
        stated = settings()["weights"][checks.one_of("kind of data", kind, KINDS)]
        own = {
            "l1": stated["l1"],
            "energy": self.energy_factor * stated["energy"],
            "start_noise": self.start_noise,
            "proximal": self.proximal,
            "learning_rate": ecco.Settings.learning_rate / self.finer,
        }
        steps = self.finer * changes.get("steps", ecco.Settings.steps)
        return ecco.Settings(**{**own, **changes, "steps": steps})


def conditions() -> tuple[Condition, ...]:
    """Return the conditions in their order: as run, as written, corrected."""
    return tuple(Condition(name, **fields) for name, fields in settings()["conditions"].items())


def condition(name: str) -> Condition:
    """Return the condition of that name; raise ValueError with the list of them."""
    known = {entry.name: entry for entry in conditions()}
    return known[checks.one_of("condition", name, known)]


def primary() -> Condition:
    """Return the condition that the study's statements rest on."""
    return condition(settings()["primary"])


@dataclass(frozen=True)
class Attack:
    """An attack that robustness is measured with: its name, the file in robexpl/attacks, what is passed to it."""

    name: str
    attack: str = ""
    settings: tuple[tuple[str, Any], ...] = ()

    def code(self) -> tuple:
        """Return the functions whose code a result of this attack rests on."""
        module = attacks.module(self.attack) if self.attack else None
        return tuple(getattr(module, name) for name in (self.attack, "with_steps") if hasattr(module, name))


def evaluation() -> dict[str, Attack]:
    """Return the attacks of study.yaml by name."""
    return {
        name: Attack(
            name, entry.get("attack", ""), tuple((k, v) for k, v in entry.items() if k not in ("title", "attack"))
        )
        for name, entry in settings()["attacks"].items()
    }


def attack_titles() -> dict[str, str]:
    """Return what tables and figures call the attacks, in their order."""
    return {name: entry["title"] for name, entry in settings()["attacks"].items()}


@dataclass(frozen=True)
class Study:
    """The study of one dataset in a profile: what it is trained on, how often and how long."""

    profile: str
    dataset: str
    kind: str
    seeds: int
    first: int  # the first of the seeds
    own: bool  # whether the number of seeds is the study's own
    epochs: int
    runs: int
    factuals: int
    steps: int
    k: int
    distance: str
    architecture: str
    generator: str

    def seeds_of(self, name: str) -> range:
        """Return the seeds that a condition runs on: all, or on images the first few where study.yaml says so."""
        return self.every[: condition(name).most_on_images if self.kind == "image" else None]

    @property
    def every(self) -> range:
        """The seeds of the study."""
        return range(self.first, self.first + self.seeds)

    def search(self, name: str, **changes: float) -> ecco.Settings:
        """Return the settings of a condition's search at the sizes of this study."""
        return condition(name).search(self.kind, **{"steps": self.steps, **changes})

    def load(self, sampling: str = "as_run") -> data.Dataset:
        """Load the dataset as the networks of the first seed know it."""
        return data.load(self.dataset, seed=self.first, sampling=sampling)


def profiles() -> dict[str, dict[str, Any]]:
    """Return the profiles as study.yaml has them."""
    return settings()["profiles"]


def datasets(profile: str) -> dict[str, str]:
    """Return the datasets of a profile by kind: {"image": ..., "tabular": ...}."""
    entry = profiles()[checks.one_of("profile", profile, profiles())]
    return {kind: entry[kind] for kind in KINDS}


def profile_of(dataset: str) -> str:
    """Return the profile that a dataset belongs to, the demo for any other dataset that can be loaded."""
    return next((name for name in profiles() if dataset in datasets(name).values()), "demo")


def slug(dataset: str | None) -> str | None:
    """Return what files are named after: the dataset's name, that of its file where it is a table of one's own.
    >>> slug("/data/My table.csv:ill")
    'my-table'
    """
    path, own, _ = (dataset or "").partition(".csv:")
    return re.sub(r"[^a-z0-9_.-]+", "-", Path(path).name.lower()) if own else dataset


@lru_cache(maxsize=64)
def kind_of(dataset: str) -> str:
    """Return the kind of a dataset, "image" or "tabular"."""
    for profile in profiles():
        for kind, name in datasets(profile).items():
            if name == dataset:
                return kind
    return "image" if image_shape(dataset) else "tabular"


def image_shape(dataset: str) -> tuple[int, int] | None:
    """Return the shape of a dataset's images, None for tabular data; loads it only where its file does not say."""
    module = data.module(dataset)
    return module.IMAGE_SHAPE if hasattr(module, "IMAGE_SHAPE") else data.load(dataset).image_shape


def load(profile: str, dataset: str, seeds: int = 0) -> Study:
    """Return the study of a dataset; `seeds` networks per regime, or as many as the profile says where it is 0.

    >>> load("demo", "digits").runs
    3
    """
    entry = profiles()[checks.one_of("profile", profile, profiles())]
    data.module(dataset)  # refuses an unknown one
    kind = kind_of(dataset)
    checks.non_negative(seeds=seeds)
    own = entry["seeds"][kind]
    several = {key: settings()[key][kind] for key in ("distance", "architecture")}
    sizes = {key: entry[key] for key in ("runs", "factuals", "steps", "k")}
    return Study(
        profile, dataset, kind, int(seeds) or own, entry["first"][kind], seeds in (0, own), entry["epochs"][kind],
        **sizes, **several, generator=settings()["generator"],
    )  # fmt: skip


@dataclass(frozen=True)
class Whole:
    """Both datasets of a profile together, for notebooks that are made once."""

    profile: str
    image: Study
    tabular: Study
    dataset: None = None

    @property
    def own(self) -> bool:
        """Whether both have the study's own number of seeds."""
        return self.image.own and self.tabular.own

    @property
    def both(self) -> tuple[Study, Study]:
        """The two studies, images first."""
        return self.image, self.tabular


def whole(profile: str, seeds: int = 0) -> Whole:
    """Return the studies of both datasets of a profile."""
    return Whole(profile, *(load(profile, dataset, seeds) for dataset in datasets(profile).values()))


def sensitivity(study: Study) -> dict[str, Any]:
    """Return the values that the sensitivity analysis of a study tries."""
    return settings()["sensitivity"][study.profile][study.kind]


def measures(study: Study) -> tuple[str, ...]:
    """Return the distance metrics that suit a study's data; some need images of a certain size."""
    shape = image_shape(study.dataset)
    fitting = (name for name in metrics.names(study.kind))
    return tuple(n for n in fitting if getattr(metrics.module(n), "fits", lambda _: True)(shape))
