"""Robustness as lists of points: the worst case over growing radii, black-box attacks, and what must hold of them."""

from __future__ import annotations

from typing import Any

from robexpl.regimes import REGIMES
from robexpl.study import audit, grid, sizes
from robexpl.study.grid import Measured
from robexpl.study.sizes import Attack, Study
from robexpl.study.stages import Attacked
from robexpl.study.worst import Transferred, Worst

STANDARD, ANOTHER = "from standard", "from another seed"  # which network an example was made in


def settings(study: Study) -> dict[str, Any]:
    """Return the sizes of this analysis: radii, test rows, number of seeds, queries, steps to compare."""
    return sizes.settings()["security"][study.profile]


def radius() -> float:
    """Return the radius of the evaluation."""
    return dict(sizes.evaluation()["pgd_projected"].settings)["eps"]


def seeds(study: Study) -> range:
    """Return the seeds of this analysis."""
    return study.seeds_of(sizes.primary().name)[: settings(study)["seeds"][study.kind]]


def curves(study: Study) -> list[Measured]:
    """List the networks of the primary condition under the worst case of each radius."""
    return [
        Measured(
            (("seed", seed), ("regime", regime), ("eps", eps)), Worst(one, radii[: i + 1], settings(study)["rows"])
        )
        for radii in [tuple(settings(study)["radii"])]
        for seed in seeds(study)
        for regime, one in grid.of_seed(study, sizes.primary(), seed).items()
        for i, eps in enumerate(radii)
    ]


def worst(study: Study) -> list[Measured]:
    """List those of the curves that have the radius of the evaluation."""
    return [entry for entry in curves(study) if dict(entry.labels)["eps"] == radius()]


def reported(study: Study) -> list[Measured]:
    """List the networks of `worst` under the attacks that the thesis measures robustness by, on all test rows."""
    chosen = {(sizes.primary().name, dict(entry.labels)["seed"]) for entry in worst(study)}
    labels = [(entry, dict(entry.labels)) for entry in grid.robustness(study)]
    return [entry for entry, named in labels if (named["condition"], named["seed"]) in chosen]


def author(study: Study) -> list[Measured]:
    """List the author's networks under the worst case of the evaluation's radius, on the same number of rows."""
    return [
        Measured((("regime", regime),), Worst(audit.author(study, regime), (radius(),), settings(study)["rows"]))
        for regime in REGIMES
    ]


def alone(study: Study) -> list[Measured]:
    """List networks of the primary condition under each attack alone, all at the radius of the evaluation.
    Gradients of the network itself: FGSM, and projected PGD of several numbers of steps. Answers alone: Square.
    Neither: random signs. Gradients of another network: projected PGD in the standard network of the same seed (for all
    others) and in the network of the same regime of another seed (where there is one).
    """
    how, eps, chosen, found = settings(study), radius(), list(seeds(study)), []
    tried = {"FGSM": Attack("fgsm", "fgsm", (("eps", eps),))}
    for steps in how["steps"]:  # of one size, so that more of them begin as fewer do
        options = {"eps": eps, "step_size": eps / 10, "steps": steps}
        tried[f"PGD, {steps} steps"] = Attack(f"pgd {steps}", "pgd", tuple(options.items()))
    tried["Square"] = Attack("square", "square", (("eps", eps), ("steps", how["queries"])))
    tried["random signs"] = Attack("random_signs", "random_signs", (("eps", eps),))
    known = {seed: grid.of_seed(study, sizes.primary(), seed) for seed in chosen}
    for i, seed in enumerate(chosen):
        for regime, one in known[seed].items():
            of: dict[str, Any] = {name: Attacked(one, attack, how["rows"]) for name, attack in tried.items()}
            another = known[chosen[(i + 1) % len(chosen)]][regime]
            for name, source in {STANDARD: known[seed]["standard"], ANOTHER: another}.items():
                if source != one:
                    of[name] = Transferred(one, source, sizes.evaluation()["pgd_projected"], how["rows"])
            found += [Measured((("seed", seed), ("regime", regime), ("attack", name)), w) for name, w in of.items()]
    return found
