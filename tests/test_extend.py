"""One file, and at most one registry line, for a new dataset, architecture, attack, generator, metric, notebook, claim.

In a temporary copy of the project, one of each is added and demo notebooks run on them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_wine

from robexpl.regimes import REGIMES
from robexpl.study.places import ROOT

pytestmark = pytest.mark.slow

GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
# the examples of the guide: a dataset, an attack, a distance metric
SHOWN = dict(re.findall(r"`(robexpl/\w+/\w+\.py)`[^`]*```python\n(.*?)```", GUIDE, flags=re.DOTALL))
ATTACK, CLAIM = re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.DOTALL)
FILES = {
    "robexpl/models/tanh.py": '''
        """A perceptron with tanh units, which has no closed form."""
        from torch import nn


        def build(inputs, outputs, image_shape, *, generator=None):
            """Build it; weights Glorot normal, or zero without a generator."""
            model = nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, outputs))
            for layer in (model[0], model[2]):
                nn.init.zeros_(layer.bias)
                nn.init.xavier_normal_(layer.weight, generator=generator) if generator else nn.init.zeros_(layer.weight)
            return model


        def sizes(model):
            """Recognise none."""
            return None
        ''',
    "robexpl/generators/plain.py": '''
        """The search without an energy term."""
        from dataclasses import replace

        from robexpl.generators import ecco

        Settings = ecco.Settings


        def search(model, x, target, *, settings, **options):
            """Search as ECCo does, without its energy term."""
            return ecco.search(model, x, target, settings=replace(settings, energy=0.0), **options)
        ''',
    "notebooks/extra.py": """
        # %% tags=["parameters"]
        dataset = "digits"
        profile = "full"
        seeds = 0

        # %%
        from robexpl.pipeline import publish
        from robexpl.study import estimates, frames, grid, sizes

        study = sizes.load(profile, dataset, seeds)
        page = publish.Page("extra", study)
        _ = page.table(estimates.summaries(frames.counterfactuals(grid.main(study))), "means")
        """,
}
LINES = {  # where lines are added
    "robexpl/study/study.yaml": [("attacks:\n", ATTACK)],
    "robexpl/study/plan.py": [("NOTEBOOKS = (\n", '    Notebook("extra", (grid.main,)),\n')],
    "paper/claims.yaml": [("", CLAIM)],
}
SMALL = {  # so that it takes seconds
    "epochs: {image: 10, tabular: 40}": "epochs: {image: 2, tabular: 3}",
    "seeds: {image: 1, tabular: 2}": "seeds: {image: 1, tabular: 1}",
    "runs: 3\n    factuals: 30\n    steps: 200": "runs: 2\n    factuals: 12\n    steps: 20",
    "factuals: 20, regimes": "factuals: 12, regimes",
    "architecture: {image: mlp, tabular: mlp}": "architecture: {image: mlp, tabular: tanh}",
    "generator: ecco": "generator: plain",
    "k: [1, 2, 5, 10, 20, 50, 100]}": "k: [1, 2, 5, 10, 20]}",  # the smallest class of wine has 44 rows
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with one more of each."""
    root = tmp_path_factory.mktemp("extended") / "a copy"
    for name in ("robexpl", "notebooks", "paper"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("*.ipynb", "__pycache__", "generated"))
    for name, text in FILES.items():
        indent = re.match(r"\n( *)", text)[1]
        (root / name).write_text(text.replace(f"\n{indent}", "\n").lstrip())
    for name, text in SHOWN.items():
        (root / name).write_text(text)
    for name, added in LINES.items():
        path = root / name
        for after, line in added:
            path.write_text(path.read_text().replace(after, after + line, 1) if after else path.read_text() + line)
    path = root / "robexpl" / "study" / "study.yaml"
    for old, new in SMALL.items():
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
    return root


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess:
    dropped = {"ROBEXPL_BUILD", "ROBEXPL_GENERATED", "ROBEXPL_STAGE", "ROBEXPL_PROGRESS"}
    environment = {key: value for key, value in os.environ.items() if key not in dropped}
    environment |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done


def results(copy: Path, name: str) -> Path:
    (path,) = (copy / "build").rglob(name)
    return path


def test_the_guide_shows_a_dataset_an_attack_and_a_metric() -> None:
    assert [Path(name).parent.name for name in SHOWN] == ["data", "attacks", "metrics"]


def test_a_new_attack_appears_in_the_table_and_the_figure_of_a_new_dataset(copy: Path) -> None:
    run(copy, "-m", "robexpl.pipeline", "notebook", "models", "--dataset", "wine")
    table = pd.read_csv(results(copy, "models-wine-accuracy.csv"))
    assert "halfway" in set(table["attack"])
    figure = results(copy, "models-wine-accuracy.svg").read_text()
    assert "Half a step" in figure
    assert "Wine" in figure


def test_a_new_metric_appears_in_the_table_and_the_figure(copy: Path) -> None:
    run(copy, "-m", "robexpl.pipeline", "notebook", "sensitivity", "--dataset", "wine")
    table = pd.read_csv(results(copy, "sensitivity-wine-metrics.csv"))
    assert "chebyshev" in set(table["measure"])
    figures = "".join(path.read_text() for path in (copy / "build").rglob("sensitivity-wine-*.svg"))
    assert "Maximum norm" in figures


def test_a_new_notebook_architecture_generator_and_claim_are_used(copy: Path) -> None:
    run(copy, "-m", "robexpl.pipeline", "notebook", "extra", "--dataset", "wine")
    assert len(pd.read_csv(results(copy, "extra-wine-means.csv"))) == 24
    script = """
from robexpl.study import claims, grid, sizes
study = sizes.load("demo", "wine")
assert "Tanh" in str(grid.of_seed(study, sizes.primary(), 0)["weak"].model())
assert grid.main(study)[0].search.generator == "plain"
assert "extra-claim" in [claim["id"] for claim in claims.load()]
"""
    run(copy, "-c", script)


def test_a_notebook_runs_on_a_csv_file(copy: Path) -> None:
    raw = load_wine(as_frame=True)
    path = copy / "my data" / "Wine list.csv"
    path.parent.mkdir()
    raw.frame.assign(target=raw.target_names[raw.target]).to_csv(path, index=False)
    run(copy, "-m", "robexpl.pipeline", "notebook", "rq2", "--dataset", str(path), "--target", "target")
    assert set(pd.read_csv(results(copy, "rq2-wine-list-ends.csv"))["regime"]) == set(REGIMES)


def test_a_template_that_is_not_in_the_plan_is_an_error(copy: Path) -> None:
    path = copy / "notebooks" / "stray.py"
    path.write_text('# %% tags=["parameters"]\nprofile = "demo"\n')
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", "robexpl.pipeline", "report", "--profile", "demo"]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    path.unlink()
    assert done.returncode != 0
    assert "stray" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
