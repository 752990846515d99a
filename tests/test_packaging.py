"""Dependencies are listed where they belong, pinned, complete and used; nothing is fetched unasked.

That the package works where it is installed so is tested in test_install.py.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatch
from importlib.metadata import distributions, packages_distributions, version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from setuptools import find_packages

import robexpl
from robexpl.study.places import ROOT

TOOLS = {
    "jupyterlab",
    "nbval",
    "ruff",
    "ipykernel",
    "setuptools",
    "pytest",
    "pytest-xdist",
    "seaborn",
}  # used without an import
OURS = {"robexpl", "helpers", "conftest"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_environment", ROOT / ".ci" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {normal(name): number for name, number in pairs}


def sources(*folders: str) -> set[Path]:
    return {path for folder in folders for path in (ROOT / folder).glob("**/*.py")}


def imported(paths: Iterable[Path]) -> set[str]:
    """Return the packages, as they are named for pip, that files import."""
    names: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module)
    names = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - OURS
    where = packages_distributions()
    return {normal(where[name][0]) if name in where else name for name in names - {path.stem for path in TESTS}}


KERNEL = ROOT / "robexpl" / "metrics" / "_kernel.py"  # numba's, which is optional
TESTS = sources("tests") | {ROOT / "conftest.py"}
JOBS = {ROOT / "robexpl" / "pipeline" / "jobs.py"}  # a cluster's, which is optional
SITE = {ROOT / "robexpl" / "pipeline" / "site.py"}
STUDY = sources("robexpl/study", "robexpl/pipeline", "notebooks") - JOBS - SITE
OWN = sources("robexpl/study", "robexpl/pipeline") | {KERNEL}
CORE = sources("robexpl") - OWN | {ROOT / "robexpl" / "study" / "sizes.py"}  # the README uses it, too


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def asked(project: dict[str, Any], *extras: str) -> set[str]:
    """Return the packages that the project asks for with these extras."""
    found = {normal(name) for name in project["dependencies"]}
    for extra in extras:
        for name in project["optional-dependencies"][extra]:
            known = re.fullmatch(r"robexpl\[([\w,]+)\]", name)
            found |= asked(project, *known[1].split(",")) if known else {normal(name)}
    return found


def test_every_folder_of_the_package_is_installed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "robexpl").glob("**/__init__.py")}
    assert set(find_packages(str(ROOT), **settings["packages"]["find"])) == folders
    listed = settings["package-data"].items()
    named = [f"{name.replace('.', '/')}/{pattern}" for name, patterns in listed for pattern in patterns]
    files = [path for path in (ROOT / "robexpl").glob("**/*") if path.is_file() and path.suffix != ".py"]
    for path in (path for path in files if "__pycache__" not in path.parts):
        name = path.relative_to(ROOT).as_posix()
        assert any(fnmatch(name, pattern) for pattern in named), f"{name} is not installed"


def test_the_rooms_have_one_direction() -> None:
    rooms = {"": 0, "study": 1, "pipeline": 2}
    for path in (ROOT / "robexpl").glob("**/*.py"):
        own = rooms.get(path.relative_to(ROOT / "robexpl").parts[0], 0)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            used = [name.split(".")[1] for name in names if name.startswith("robexpl.")]
            assert max([rooms.get(name, 0) for name in used], default=0) <= own, f"{path} imports {used}"


def test_no_module_is_long() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "robexpl").glob("**/*.py")}
    assert {path.name: n for path, n in lines.items() if n > 250} == {}


def test_the_list_holds_what_is_imported_and_no_more(setup: ModuleType) -> None:
    listed = {normal(name) for name in setup.requirements()}
    needed = imported(TESTS | STUDY | CORE | {KERNEL} | JOBS | SITE)
    assert needed - listed == set(), "imported but not in environment.yml"
    assert listed - needed - TOOLS == set(), "in environment.yml but never imported"


def test_the_two_lists_are_equal(setup: ModuleType, project: dict[str, Any]) -> None:
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    named = [normal(name) for group in groups for name in group if not name.startswith("robexpl[")]
    assert sorted(named) == sorted(normal(name) for name in setup.requirements())  # so each in one group alone


def test_what_each_room_imports_is_what_its_extra_brings(project: dict[str, Any]) -> None:
    assert imported(CORE) == asked(project)
    assert asked(project, "fast") - asked(project) == imported({KERNEL}) - imported(CORE) == {"numba"}
    assert imported(STUDY | {KERNEL}) <= asked(project, "report")
    assert asked(project, "cluster") - asked(project, "report") == {"submitit"} <= imported(JOBS)
    assert imported(JOBS) <= asked(project, "cluster")
    assert imported(SITE) <= asked(project, "site")
    assert imported(TESTS) <= asked(project, "test")
    bench = {path for path in sources("tests/bench") if not path.name.startswith("test_")}
    assert imported(bench) <= asked(project, "bench")
    assert "jupyterlab" in asked(project, "lab")


def test_the_version_is_said_once(project: dict[str, Any]) -> None:
    assert project["dynamic"] == ["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == robexpl.__version__


def test_the_commit_that_is_cited_holds_the_results() -> None:
    """Page 1 of the paper names it beside the key of the results."""
    commit = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["commit"]
    tables = []
    for at in (commit, "HEAD"):
        listed = subprocess.run(["git", "ls-tree", at, "paper/generated/"], cwd=ROOT, capture_output=True, text=True)
        if listed.returncode:
            pytest.skip("the history is not here")
        tables.append({line for line in listed.stdout.splitlines() if line.endswith(".csv")})
    assert tables[0] == tables[1] != set()


def test_every_package_has_an_exact_version_and_it_is_installed(setup: ModuleType, pins: dict[str, str]) -> None:
    assert {normal(name) for name in setup.requirements()} - pins.keys() == set()
    for name in setup.requirements():
        assert version(name).split("+")[0] == pins[normal(name)], f"{name}: constraints.txt and .venv differ"


def test_the_list_is_one_that_conda_reads(setup: ModuleType) -> None:
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    entries = next(entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict))
    assert [entry for entry in entries if not entry.startswith("--")] == setup.requirements()


def test_the_python_versions_agree(setup: ModuleType, project: dict[str, Any]) -> None:
    (low, high), environment = setup.VERSIONS, (ROOT / "environment.yml").read_text(encoding="utf-8")
    bounds = f">={low[0]}.{low[1]},<{high[0]}.{high[1] + 1}"
    assert project["requires-python"] == bounds
    assert f"python{bounds}" in environment
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert all(f'"3.{minor}"' in workflow for minor in range(low[1], high[1] + 1))


def test_the_workflow_runs_what_anybody_can_run() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["steps"][-1] == {"run": ".ci/run"}
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_set_up_brings_torch_first_from_the_index_of_cpu_builds(
    setup: ModuleType, pins: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[tuple[str, ...]] = []
    monkeypatch.setattr(setup, "pip", lambda _python, *arguments: said.append(arguments))
    monkeypatch.setattr(setup, "check_torch", lambda _python, options: said.append(("check", *options)))
    monkeypatch.setattr(setup.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0))
    setup.main(tmp_path / "venv")
    checked, torch, everything, own = said
    assert torch[:3] == ("torch", "--constraint", "constraints.txt")
    assert torch[torch.index("--extra-index-url") + 1].endswith("/whl/cpu")
    assert checked == ("check", *torch)
    assert everything == (*setup.requirements(), "--constraint", "constraints.txt")
    assert "--no-deps" in own
    assert pins["torch"] == "2.13.0"


@pytest.mark.parametrize("allowed", [False, True])
def test_set_up_stops_before_a_cuda_build(allowed: bool, setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(_python: Path, *arguments: str) -> None:
        names = ["torch", "nvidia-cublas", "triton"]
        report = {"install": [{"metadata": {"name": name}} for name in names]}
        Path(arguments[arguments.index("--report") + 1]).write_text(json.dumps(report))

    monkeypatch.setattr(setup, "pip", plan)
    monkeypatch.delenv("ALLOW_CUDA", raising=False)
    if allowed:
        monkeypatch.setenv("ALLOW_CUDA", "1")
        setup.check_torch(Path("python"), ["torch"])
    else:
        with pytest.raises(
            SystemExit, match=r"^set-up: pip would bring torch's CUDA build \(nvidia-cublas and 1 more\)"
        ):
            setup.check_torch(Path("python"), ["torch"])


def test_importing_opens_no_connection_and_touches_no_global_seed() -> None:
    files = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "robexpl").glob("**/[a-z]*.py"))
    modules = sorted(".".join(file.parts) for file in files)
    script = f"""
import sys
sys.addaudithook(lambda event, _: sys.exit(event) if event in ("socket.connect", "socket.getaddrinfo") else None)
import importlib, random
state = random.getstate()
for name in {modules!r}:
    importlib.import_module(name)
assert random.getstate() == state
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_is_fast_and_brings_no_torch() -> None:
    script = """
import sys, time
start = time.process_time()
import robexpl
print(time.process_time() - start, *({"torch", "numpy", "numba"} & set(sys.modules)))
assert set(robexpl.PARTS) <= set(dir(robexpl))
for name in (*robexpl.PARTS, "ecco"):
    assert getattr(robexpl, name).__name__.endswith(name), name
from robexpl import attacks, ecco
assert robexpl.attacks is attacks and robexpl.ecco is ecco and callable(ecco.search)
try:
    robexpl.nothing
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert float(first) < 0.3  # seconds of CPU time, and no name behind them
    assert last == "module 'robexpl' has no attribute 'nothing'"


def test_what_is_installed_fits_together() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_package_that_reports_home_is_installed() -> None:
    # what is known to count its users or to look for newer versions of itself unless told otherwise
    known = {"sentry-sdk", "posthog", "segment-analytics-python", "mixpanel", "scarf", "wandb", "codecarbon", "clearml"}
    installed = {normal(dist.metadata["Name"]) for dist in distributions()}
    assert installed & known == set()
