"""Profiles: the sizes of a study, `full` with the data of the thesis and `demo` with what comes embedded."""

from __future__ import annotations

from dataclasses import dataclass

from robexpl import checks


@dataclass(frozen=True)
class Profile:
    """Sizes of a study: dataset, epochs and seeds by kind, runs of so many factuals, descent steps, neighbours."""

    name: str
    image: str
    tabular: str
    epochs: dict[str, int]
    seeds: dict[str, int]
    runs: int
    factuals: int
    steps: int
    k: int

    def kind(self, dataset: str) -> str:
        """Return "image" or "tabular"."""
        return {self.image: "image", self.tabular: "tabular"}[checks.one_of("dataset", dataset, self.datasets)]

    def networks(self, dataset: str, seeds: int = 0) -> int:
        """Return how many seeds of each regime to train: `seeds`, or as many as the profile says where it is 0."""
        checks.non_negative(seeds=seeds)
        return int(seeds) or self.seeds[self.kind(dataset)]

    def seeds_of(self, dataset: str, name: str, seeds: int) -> range:
        """Return the seeds that a reading runs on: all of `seeds`, or half of them (rounded up).

        Half for `published` on images: its robust networks serve no other reading, and take longest to train.
        """
        checks.positive(seeds=seeds)
        half = name == "published" and self.kind(dataset) == "image"
        return range((int(seeds) + 1) // 2 if half else int(seeds))

    @property
    def datasets(self) -> tuple[str, str]:
        """The two datasets."""
        return self.image, self.tabular


PROFILES = {
    "full": Profile(
        "full",
        *("mnist", "california"),
        epochs={"image": 20, "tabular": 20},
        seeds={"image": 10, "tabular": 20},  # networks on the table differ more from seed to seed, and train in seconds
        runs=5,
        factuals=100,
        steps=1000,
        k=100,
    ),
    "demo": Profile(
        "demo",
        *("digits", "breast_cancer"),
        epochs={"image": 10, "tabular": 40},
        seeds={"image": 1, "tabular": 2},
        runs=3,
        factuals=30,
        steps=200,
        k=20,
    ),
}


def profile(name: str) -> Profile:
    """Return the profile of that name."""
    return PROFILES[checks.one_of("profile", name, PROFILES)]
