"""Deliberate errors in the code are caught: each is made in a copy of the package, and the tests named must fail there.

`make test` runs these tests and all others; here each error has to be caught by the few files named beside it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robexpl.study.places import ROOT

pytestmark = pytest.mark.slow
ECCO, LOOPS, SSIM, NEAR = (
    "generators/ecco.py", "attacks/_loops.py", "metrics/ssim.py", "metrics/_neighbours.py",
)  # fmt: skip
MUTATIONS = [  # what is wrong, the file, its text and the wrong one, the tests that notice
    ("an energy weight 2 % too large", ECCO, "settings.energy * (2", "1.02 * settings.energy * (2", "test_ecco"),
    ("a wrong default weight", ECCO, "energy: float = 0.5", "energy: float = 0.51", "test_ecco"),
    ("a dropped distance term", ECCO, "alpha=how.l1)", "alpha=0.0)", "test_ecco"),
    ("a dropped clamp of the search", ECCO,
     "alpha=how.learning_rate).clamp_(*box)",
     "alpha=how.learning_rate)", "test_ecco"),
    ("a sign of the attack", LOOPS, "return gradient.sign_()", "return gradient.sign_().neg_()", "test_attacks"),
    ("a dropped projection", LOOPS, "sides = [x - eps, x + eps]", "sides = [x - 2 * eps, x + eps]", "test_attacks"),
    ("one step too few", LOOPS, "for step in range(steps):", "for step in range(steps - 1):", "test_attacks"),
    ("a wider window", SSIM, "SIGMA = 1.5", "SIGMA = 1.55", "test_metrics"),
    ("a wrong constant", SSIM, "C1, C2 = 0.01**2", "C1, C2 = 0.011**2", "test_metrics"),
    ("an off-by-one in k", NEAR, "pairs.topk(k, largest", "pairs.topk(max(k - 1, 1), largest", "test_metrics"),
    ("the farthest neighbours", NEAR, "largest=False", "largest=True", "test_metrics"),
    ("a wrong seed of the weights", "training.py",
     'torch_generator(seed, "weights")',
     'torch_generator(0, "weights")', "test_training"),
    ("a lost clean loss", "training.py",
     "torch.cat([adversarial, clean])",
     "torch.cat([adversarial, adversarial])", "test_training"),
    ("rows in both parts", "data/_tables.py",
     "rows[n_train:][inside",
     "rows[: len(rows) - n_train][inside", "test_data"),
    ("an interval too short", "stats.py", "stdtrit(freedom, (1 + LEVEL)", "stdtrit(1e9, (1 + LEVEL)", "test_stats"),
    ("a difference turned around", "study/estimates.py",
     'return "lower" if high < 0',
     'return "higher" if high < 0', "test_estimates"),
    ("factuals that do not count", "study/frames.py", '"counted": right}', '"counted": right | True}', "test_study"),
    ("a rule that forgets a pair", "study/rules.py", "(high < -margin).all()", "(high < -margin).any()", "test_claims"),
]  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mutated")
    for name in ("robexpl", "tests", "notebooks", "paper"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb", "*.svg"))
    return root


def run(root: Path, *tests: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"ROBEXPL_BUILD": str(root / "build"), "NUMBA_CACHE_DIR": str(root / "numba")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-c",
        os.devnull,
        "--rootdir",
        str(root),
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(
        [*command, *(f"tests/{name}.py" for name in tests)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_an_error_the_tests_pass(copy: Path) -> None:
    done = run(copy, *{row[-1] for row in MUTATIONS})
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(("what", "file", "right", "wrong", "tests"), MUTATIONS, ids=[row[0] for row in MUTATIONS])
def test_an_error_is_caught(what: str, file: str, right: str, wrong: str, tests: str, copy: Path) -> None:
    path = copy / "robexpl" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(right) >= 1, f"{file} has changed: name the text anew"
    path.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    try:
        done = run(copy, tests)
    finally:
        path.write_text(text, encoding="utf-8")
    assert done.returncode == 1, f"{what} was not caught by {tests}: {done.stdout[-2000:]}"
    assert "failed" in done.stdout
