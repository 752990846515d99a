"""What the author's code does otherwise than the text, or than good practice would: one choice changed at a time.

Implementation findings have a measured effect on Table 1 and no conclusion, as the thesis claims nothing about them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from robexpl.study import sizes
from robexpl.study.factuals import Draw
from robexpl.study.grid import Labels, Measured, Point, counting, of_seed, point, rounded
from robexpl.study.sizes import STOPS, Study
from robexpl.study.stages import Attacked


@dataclass(frozen=True)
class Choice:
    """A field of the condition `as_run` that is set as in `corrected`; where the text speaks of it, what differs."""

    field: str
    title: str
    section: str  # of the thesis; empty where the text leaves it open
    code: str
    text: str
    training: bool = False  # whether it needs networks of its own


CHOICES = (
    Choice("energy_factor", "energy weight", "4.3", "twice the stated weight fits the figures", "0.5"),
    Choice(
        "early_stop", "PGD in training", "2.1", "stops when any entry of a batch has moved by eps", "projects", True
    ),
    Choice("rounded", "direction of PGD in training", "2.1", "sign as float32 rounds it", "sign of the gradient", True),
    Choice("start_noise", "initialisation noise", "", "standard deviation 0.1", "not mentioned"),
    Choice("proximal", "distance term", "4.3", "subgradient: the gradient condition cannot be met", "a limit of 0.01"),
    Choice("finer", "step of the search", "", "0.1, too long for networks with steep logits", "not mentioned"),
    Choice("sampling", "tabular rows", "", "drawn with replacement, then split", "not mentioned", True),
    Choice(
        "common_factuals", "factuals that count", "", "those that the network classifies correctly", "not mentioned"
    ),
)


def tried(study: Study) -> tuple[Choice, ...]:
    """Return the choices that a study tries: in the demo those that need no networks of their own, to save time."""
    own = [choice for choice in CHOICES if study.kind == "tabular" or choice.field != "sampling"]
    return tuple(choice for choice in own if study.profile == "full" or not choice.training)


def _changes(study: Study, field: str) -> dict[str, Any]:
    """Return what a choice changes in the settings of the search."""
    run, good = sizes.condition("as_run"), sizes.primary()
    if field == "finer":
        return {"steps": good.finer * study.steps, "learning_rate": study.search(run.name).learning_rate / good.finer}
    settings = {"energy_factor": "energy", "start_noise": "start_noise", "proximal": "proximal"}
    name = settings.get(field, "")
    return {name: getattr(study.search(good.name), name)} if name else {}


def searches(study: Study) -> list[Point]:
    """List the searches of `as_run`, and those with each choice changed alone: columns choice, seed, stop, regime."""
    few, run = sizes.settings()["choices"], sizes.condition("as_run")
    draw, found = Draw(min(few["runs"], study.runs), study.factuals), []
    for field in ("as_run", *(choice.field for choice in tried(study))):
        how = run if field == "as_run" else replace(run, **{field: getattr(sizes.primary(), field)})
        for seed in study.seeds_of(run.name)[: few["seeds"][study.kind]]:
            known = of_seed(study, how, seed)
            for stop in STOPS:
                for regime, one in known.items():
                    labels: Labels = {"choice": field, "seed": seed, "stop": stop, "regime": regime}
                    whose = counting(how, known, (regime,))
                    how_searched = _changes(study, field)
                    found.append(point(study, run, one, stop, labels, factuals=draw, counting=whose, **how_searched))
    return found


def attacks(study: Study) -> list[Measured]:
    """List the networks of `as_run` under its own PGD and FGSM, and with one thing changed: columns choice, attack."""
    few, run, evaluation = sizes.settings()["choices"], sizes.condition("as_run"), sizes.evaluation()
    names = {"fgsm": "fgsm", "pgd": "pgd_early_stop"}
    found = []
    for seed in study.seeds_of(run.name)[: few["seeds"][study.kind]]:
        for regime, one in of_seed(study, run, seed).items():
            for attack, name in names.items():
                entry = Measured((("condition", run.name),), one)
                own = Attacked(one, evaluation[name], rounded=rounded(entry, evaluation[name]))
                changed = {"as_run": own, "exact direction": replace(own, rounded=False)}
                if attack == "pgd":
                    changed["projection"] = replace(own, attack=evaluation["pgd_projected"])
                labels = {"seed": seed, "regime": regime, "attack": attack}
                found += [Measured(tuple({"choice": key, **labels}.items()), what) for key, what in changed.items()]
    return found
