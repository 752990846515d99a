"""The package as `pip install` brings it: a wheel in an environment of its own, beside nothing but what it asks for.

The environments are not downloaded: links lead to those packages of this one that the wheel asks for, and no others.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from robexpl.models import _pretrained
from robexpl.study.places import ROOT

pytestmark = pytest.mark.slow

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "robexpl").glob("**/*.py")
)
KERNEL = "robexpl.metrics._kernel"  # needs numba, which is optional
SITE = "robexpl.pipeline.site"  # needs what the extra `site` brings, which test_packaging.py compares with its imports
JOBS = "robexpl.pipeline.jobs"  # needs the extra `cluster`
CORE = [name for name in MODULES if name.split(".")[1:2] not in (["study"], ["pipeline"]) and name != KERNEL]
LISTED = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"


@dataclass(frozen=True)
class Place:
    """A virtual environment with the wheel, and a folder outside any checkout to work in."""

    python: Path
    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ROBEXPL_"))}
        environment |= {"OMP_NUM_THREADS": "1"}
        command = [str(self.python), *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def output(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def asked(package: Distribution, extras: Iterable[str]) -> list[tuple[str, frozenset[str]]]:
    """Return the packages, with their extras, that one asks for, on any system."""
    found = []
    for line in package.requires or []:
        requirement, _, marker = line.partition(";")
        name, listed = re.match(r"\s*([\w.-]+)\s*(?:\[([^]]*)\])?", requirement).groups()
        extra = re.search(r"extra\s*==\s*[\"']([^\"']+)", marker)
        if not extra or extra[1] in extras:
            found.append((normal(name), frozenset(re.findall(r"[\w-]+", listed or ""))))
    return found


def needed(wheel: Distribution, extras: Iterable[str]) -> dict[str, Distribution]:
    """Return the installed packages that the wheel asks for, and those that these ask for."""
    todo, seen = [("robexpl", frozenset(extras))], set()
    found = {"robexpl": wheel}
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        if name not in found:
            try:
                found[name] = distribution(name)
            except PackageNotFoundError:  # for another system or Python; `pip check` knows
                continue
        todo += asked(found[name], wanted)
    return {name: package for name, package in found.items() if name != "robexpl"}


def link(package: Distribution, site: Path) -> None:
    """Link what a package has installed into another environment."""
    home = Path(package.locate_file(""))
    for name in {file.parts[0] for file in package.files if file.parts[0] not in ("..", "__pycache__")}:
        if not (site / name).exists():
            (site / name).symlink_to(home / name)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, from a copy, as building writes beside the sources."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "robexpl", source / "robexpl", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", source / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "notebooks", source / "notebooks", ignore=shutil.ignore_patterns("*.ipynb"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "conftest.py"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        "dist",
        ".",
    ]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Deprecat" not in done.stderr + done.stdout
    (built,) = (source / "dist").glob("*.whl")
    return built


def environment(wheel: Path, folder: Path, extras: Iterable[str]) -> Place:
    """Install the wheel beside what it asks for with these extras."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    install = ["install", "-q", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install], check=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (own,) = distributions(path=[str(site)])
    for package in needed(own, extras).values():
        link(package, site)
    (folder / "elsewhere").mkdir()
    return Place(python, folder / "elsewhere")


@pytest.fixture(scope="module")
def library(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """What `pip install .` brings."""
    return environment(wheel, tmp_path_factory.mktemp("library"), ())


@pytest.fixture(scope="module")
def study(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """What `pip install '.[report]'` brings."""
    return environment(wheel, tmp_path_factory.mktemp("study"), ("report",))


@pytest.fixture(params=["library", "study"])
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue(request.param)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    sources = {path for path in (ROOT / "robexpl").glob("**/*") if path.suffix == ".py"}
    files = {path.relative_to(ROOT).as_posix() for path in sources}
    files |= {"robexpl/py.typed", "robexpl/study/study.yaml"}
    known = yaml.safe_load((_pretrained.FOLDER / "card.yaml").read_text(encoding="utf-8"))["datasets"]
    shipped = {f"{name}-{regime}.safetensors" for name in known for regime in known[name]["networks"]} | {"card.yaml"}
    assert {path.name for path in _pretrained.FOLDER.iterdir()} == shipped
    files |= {f"robexpl/models/pretrained/{name}" for name in shipped}
    assert {name for name in names if ".dist-info/" not in name} == files
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_it_runs_from_the_wheel_and_not_from_the_checkout(place: Place) -> None:
    said = place.output("-c", "import robexpl, sys; print(robexpl.__file__); print(sys.path)")
    assert said.startswith(str(place.python.parents[1] / "lib"))
    assert str(ROOT) not in said


def test_what_it_asks_for_is_there_and_fits(place: Place) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(place.python), "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("code", BLOCKS, ids=["api", "own data", "own model"])
def test_the_code_of_the_readme_runs(code: str, place: Place) -> None:
    place.output("-W", "error", "-c", code)


def test_the_library_needs_neither_numba_nor_pandas(library: Place) -> None:
    absent = "import importlib.util as u; print([u.find_spec(name) for name in ('numba', 'pandas', 'matplotlib')])"
    assert library.output("-c", absent).strip() == "[None, None, None]"
    library.output("-W", "error", "-c", LISTED, *CORE)


def test_the_extra_report_brings_what_every_module_imports(study: Place) -> None:
    imported = [name for name in MODULES if name not in (SITE, JOBS) and not name.endswith("__main__")]
    study.output("-W", "error", "-c", LISTED, *imported)


@pytest.mark.parametrize("command", ["report --profile demo", "current", "paper", "run a.py b.ipynb"])
def test_a_command_without_a_checkout_is_one_line(command: str, place: Place) -> None:
    before = sorted(place.folder.iterdir())
    done = place.run("-m", "robexpl.pipeline", *command.split())
    assert done.returncode == 2
    assert re.fullmatch(r"FAILED [^\n]+: expected a checkout of the repository, [^\n]+\n", done.stderr)
    assert done.stdout == ""
    assert sorted(place.folder.iterdir()) == before


def test_the_caches_of_the_study_lie_in_the_working_folder(study: Place) -> None:
    told = study.output("-c", "from robexpl.study import places; print(places.build_dir())")
    assert told.strip() == str(study.folder / "build")


def test_a_trained_network_comes_with_it(library: Place) -> None:
    code = "from robexpl import models; print(models.pretrained('mnist', 'strong')[0].in_features)"
    assert library.output("-W", "error", "-c", code).strip() == "784"


def test_a_checkout_without_the_extra_says_what_to_install(library: Place) -> None:
    site = Path(library.output("-c", "import robexpl; print(robexpl.__file__)").strip()).parents[1]
    try:
        for name in ("notebooks", "paper"):
            (site / name).mkdir()
        done = library.run("-m", "robexpl.pipeline", "current")
    finally:
        for name in ("notebooks", "paper"):
            (site / name).rmdir()
    assert done.returncode == 2
    assert re.fullmatch(r"FAILED current: \w+ is not installed; .*pip install -e '\.\[report\]'\n", done.stderr)
