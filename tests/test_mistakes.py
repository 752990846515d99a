"""Mistakes a user makes: each is answered by one clear line, at the command line with a non-zero exit."""

from __future__ import annotations

import dataclasses
import logging
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import compare
import numpy as np
import pooch
import pytest
import torch
from torch import Tensor, nn

from robexpl import attacks, checks, data, ecco, files, metrics, models, regimes, stats, training
from robexpl.data import california, mnist
from robexpl.models import _author as author
from robexpl.pipeline import __main__ as pipeline
from robexpl.pipeline import publish
from robexpl.study import places, plan, sizes
from robexpl.study.places import ROOT

TEMPLATE = '# %% tags=["parameters"]\ndataset = "digits"\nprofile = "demo"\nseeds = 1\nx = 0.5\n\n# %%\nseeds\n'
NOTEBOOK = '{"cells": [{"cell_type": "code", "source": "mine"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


def one_line(error: BaseException) -> str:
    text = str(error)
    assert text
    assert "\n" not in text
    return text


# At the command line


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a template, files that are none, and results that are whole, truncated or none at all."""
    (tmp_path / "t.py").write_text(TEMPLATE)
    (tmp_path / "latin.py").write_bytes("# %%\n# café".encode("latin-1"))
    (tmp_path / "prose.py").write_text("no cell\n")
    (tmp_path / "typo.py").write_text('# %% tags=["parameters"]\nseeds = = 1\n')
    (tmp_path / "mine.ipynb").write_text(NOTEBOOK)
    (tmp_path / "file").write_text("")
    for name, content in (("stored", '{"cells": []}'), ("cut", '{"cells'), ("none", "")):
        (tmp_path / name).mkdir()
        if content:
            (tmp_path / name / "a.ipynb").write_text(content)
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("ROBEXPL_GENERATED", str(tmp_path / "none-yet"))
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)
    logging.disable(logging.NOTSET)


SEEDS = "expected seeds as a whole number"
RUN = [
    ("", "the following arguments are required: template, out"),
    ("t.py", "the following arguments are required: out"),
    ("t.py a.ipynb extra", "unrecognized arguments: extra"),
    ("t.py a.ipynb --forced", "unrecognized arguments: --forced"),
    ("t.py a.ipynb --forc", "unrecognized arguments: --forc"),
    ("t.py a.ipynb -p", "argument -p: expected one argument"),
    ("no.py a.ipynb", "FAILED a: no template no.py"),
    ("none a.ipynb", "FAILED a: no template none"),
    ("latin.py a.ipynb", "FAILED a: latin.py is no template: it is not UTF-8 text"),
    ("prose.py a.ipynb", "FAILED a: prose.py is no template: no line starts with # %%"),
    ("typo.py a.ipynb", "FAILED a: invalid syntax"),
    ("t.py t.py", "FAILED t: expected OUT as a notebook file, .ipynb, got t.py"),
    ("t.py none", "FAILED none: expected OUT as a notebook file, .ipynb, got none"),
    ("t.py mine.ipynb", "FAILED mine: mine.ipynb is no notebook of this runner; move it away first"),
    ("t.py a.ipynb -p datset=digits", "unknown parameter 'datset'; t.py declares: dataset, profile, seeds, x"),
    ("t.py a.ipynb -p dataset", "FAILED a: expected a parameter as KEY=VALUE, got 'dataset'"),
    ("t.py a.ipynb -p =digits", "FAILED a: expected a parameter as KEY=VALUE, got '=digits'"),
    ("t.py a.ipynb -p dataset=cifar", "FAILED a: unknown dataset 'cifar'; known: breast_cancer, california, digits"),
    ("t.py a.ipynb -p dataset=3", "FAILED a: unknown dataset '3'; known: "),
    ("t.py a.ipynb -p dataset=", "FAILED a: unknown dataset ''; known: "),
    ("t.py a.ipynb -p profile=quick", "FAILED a: unknown profile 'quick'; known: full, demo"),
    ("t.py a.ipynb -p seeds=0", f"FAILED a: {SEEDS} of at least 1, got 0"),
    ("t.py a.ipynb -p seeds=-3", f"FAILED a: {SEEDS} of at least 1, got -3"),
    *[(f"t.py a.ipynb -p seeds={text}", f"FAILED a: {SEEDS}, got {text}") for text in ("1.5", "10.0")],
    *[
        (f"t.py a.ipynb -p seeds={text}", f"FAILED a: {SEEDS}, got {text!r}")
        for text in ("two", "010", "1_0", "0x10", "")
    ],
    ("t.py a.ipynb -p seeds=true", f"FAILED a: {SEEDS}, got True"),
    ("t.py a.ipynb -p seeds=[1", f"FAILED a: {SEEDS}, got '[1'"),
    ("t.py a.ipynb -p x=NaN", "FAILED a: expected x as finite numbers or text, got nan"),
    ("t.py a.ipynb -p x=-Infinity", "FAILED a: expected x as finite numbers or text, got -inf"),
    ("t.py a.ipynb -p x=1e999", "FAILED a: expected x as finite numbers or text, got inf"),
    ("t.py a.ipynb -p x=.nan", "FAILED a: expected x as float, such as 0.5, got '.nan'"),
    ("t.py a.ipynb -p seeds=1 -p seeds=2", "FAILED a: expected each parameter once, got 'seeds' twice"),
    ("t.py file/a.ipynb", r"FAILED a: .*(Not a directory|cannot create the folder)"),
]
COMPILE = [
    ("--profile quick", r"argument --profile: invalid choice: 'quick' \(choose from"),
    ("--pdf x", "unrecognized arguments: --pdf x"),
    ("--output", "argument --output: expected one argument"),
    ("--seeds 010", f"FAILED paper: {SEEDS} of at least 1, such as 10, got '010'"),
    ("", "FAILED paper (full): there are no results in paper/generated; make report computes them"),
    ("--profile demo", "FAILED paper (demo): there are no results in build/demo/generated; make demo computes them"),
]
COMPARE = [
    ("stored", "the following arguments are required: computed"),
    ("stored stored --tolerance much", "argument --tolerance: expected a number of at least 0, got 'much'"),
    ("stored stored --tolerance -1", "argument --tolerance: expected a number of at least 0, got '-1'"),
    ("stored stored --tolerance nan", "argument --tolerance: expected a number of at least 0, got 'nan'"),
    ("stored stored --share inf", "argument --share: expected a number of at least 0, got 'inf'"),
    ("nowhere stored", "FAILED compare: expected a folder of results, got nowhere"),
    ("stored file", "FAILED compare: expected a folder of results, got file"),
    ("stored cut", r"FAILED compare: expected two notebooks, got stored.a.ipynb and cut.a.ipynb"),
]
REPORT = [
    ("", "the following arguments are required: --profile"),
    ("--profile quick", r"argument --profile: invalid choice: 'quick' \(choose from"),
    *[
        (f"--profile demo --seeds {text}", f"FAILED report (demo): {SEEDS} of at least 1, such as 10, got {text!r}")
        for text in ("two", "1.5", "0", "010", "1_0", "0x10", "1:30", "1,2", "\u0663", "99999")
    ],
    ("--profile demo --seeds -1", r"argument --seeds: expected one argument|got '-1'"),
    *[
        (f"--profile demo --jobs {text}", "FAILED report (demo): expected jobs as a whole number of at least 1")
        for text in ("0", "all")
    ],
    ("--profile demo --cluster pbs", "FAILED report (demo): expected as cluster one of slurm, local, got 'pbs'"),
    ("--profile demo --only rq9", "FAILED report (demo): unknown notebook 'rq9'; known: sensitivity-digits, "),
    ("--profile demo --only audit", "FAILED report (demo): unknown notebook 'audit'; known: sensitivity-digits, "),
    ("--profile full --only rq1-digits", "FAILED report (full): unknown notebook 'rq1-digits'; known: audit, "),
]
SINGLE = [
    ("", "the following arguments are required: name"),
    ("rq9", "FAILED notebook: unknown notebook 'rq9'; known: audit, sensitivity, rq1, "),
    ("rq1", "FAILED notebook: expected for rq1 as dataset one of breast_cancer, california, digits, mnist, got none"),
    (
        "rq1 --dataset cifar",
        "FAILED notebook: unknown dataset 'cifar'; known: breast_cancer, california, digits, mnist",
    ),
    ("table1 --dataset digits", "FAILED notebook: expected for table1 as dataset none, got 'digits'"),
    ("audit --profile demo", "FAILED notebook: unknown profile 'demo' of audit; known: full"),
    ("rq1 --dataset digits --profile quick", "argument --profile: invalid choice: 'quick'"),
    ("rq1 --dataset digits --seeds 1,2", f"FAILED notebook: {SEEDS} of at least 1, such as 10, got '1,2'"),
]
TABLES = {"run": RUN, "paper": COMPILE, "report": REPORT, "notebook": SINGLE, "compare": COMPARE}
COMMANDS = [(f"{command} {arguments}", says) for command, rows in TABLES.items() for arguments, says in rows]
COMMANDS += [
    ("", "the following arguments are required: COMMAND"),
    ("reprot", "invalid choice: 'reprot' (choose from "),
]


@pytest.mark.parametrize(("arguments", "says"), COMMANDS, ids=[arguments for arguments, _ in COMMANDS])
def test_a_wrong_command_is_one_line_and_a_code(
    arguments: str, says: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    try:
        name, *rest = arguments.split() or [""]
        code = compare.main(rest) if name == "compare" else pipeline.main(arguments.split())
    except SystemExit as stop:
        code = stop.code
    shown = capsys.readouterr()
    assert code in (1, 2)
    (line,) = (shown.out + shown.err).splitlines()
    assert line.startswith("FAILED ")
    assert says in line or re.search(says, line), line
    assert {path: path.read_bytes() for path in before} == before
    assert not (place / "build" / "demo").exists()


def test_a_traceback_is_never_shown(place: Path) -> None:
    study = ["-m", "robexpl.pipeline"]
    for arguments in (
        [*study, "run", "latin.py", "a.ipynb"],
        [compare.__file__, "cut", "stored"],
        [*study, "paper", "--profile", "x"],
    ):
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=place, check=False)
        assert done.returncode in (1, 2)
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("FAILED ")


MAKE = [  # what REPORT and SINGLE refuse, make passes on: one of each is enough here
    ("demo SEED=3", r"unknown variable SEED; known: PYTHON VENV SEEDS"),
    ("report seeds=3", r"unknown variable seeds; known: "),
    ("demo FORCE=0", r"expected FORCE=1 or nothing, got FORCE=0"),
    ("verify SEEDS=3", r"^FAILED verify: expected no SEEDS: the stored results have their own$"),
    ("demo|SEEDS=1 2", r"^FAILED report \(demo\): expected seeds as a whole number .*, got '1 2'$"),
    ("demo|CLUSTER=slurm queue=a", r"^FAILED .*: expected settings of the cluster as partition=, .*'queue=a'$"),
    ("verify CLUSTER=slurm", r"expected CLUSTER for demo or report alone, got it for verify"),
    ("notebook", r"^FAILED notebook: unknown notebook ''; known: "),
    ("demos", r"No rule to make target 'demos'"),
    ("demo/models-mnist", r"No rule to make target 'demo/models-mnist'"),
    ("help|VENV=/a b/.venv", r"expected VENV as a path without spaces, relative to this folder, got VENV=/a b/.venv"),
    ("help .FEATURES=none", r"GNU make 3.82 or newer is needed; on macOS: brew install make, then gmake"),
]


def make(*words: str, folder: Path = ROOT, build: Path) -> subprocess.CompletedProcess[str]:
    """Call make with the environment of this test run, by its path from the folder, so that it may have any name."""
    venv = os.path.relpath(sys.prefix, folder)
    given = [] if any(word.startswith("VENV=") for word in words) else ["-o", f"{venv}/.ready", f"VENV={venv}"]
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    environment |= {"ROBEXPL_BUILD": str(build)}
    return subprocess.run(
        ["make", *given, *words], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(("arguments", "says"), MAKE, ids=[arguments for arguments, _ in MAKE])
def test_a_wrong_word_to_make_is_one_line(arguments: str, says: str, tmp_path: Path) -> None:
    done = make(*(arguments.split("|") if "|" in arguments else arguments.split()), build=tmp_path / "build")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not re.match(r"make: \*\*\* \[Makefile:\d+: ", line)]
    assert len(lines) == 1, done.stderr
    assert re.search(says, lines[0])
    assert not (tmp_path / "build" / "demo").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_folder_with_spaces_is_as_good_as_any(tmp_path: Path) -> None:
    folder = tmp_path / "a clone of it"
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    for name in ("Makefile", "environment.yml", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv" / "bin").mkdir(parents=True)
    python = folder / ".venv" / "bin" / "python"  # tells what it is called with
    python.write_text('#!/bin/sh\nfor word in "$@"; do printf "[%s] " "$word"; done; echo\n')
    python.chmod(0o755)
    (folder / ".venv" / ".ready").touch()
    beside = sorted(tmp_path.iterdir())
    for words, called in {
        "demo SEEDS=3": "-m robexpl.pipeline report --profile demo --paper --seeds 3",
        "report JOBS=2 FORCE=1": "-m robexpl.pipeline report --profile full --paper --jobs 2 --force",
        "notebook NAME=rq1 DATASET=digits": "-m robexpl.pipeline notebook rq1 --dataset digits",
        "test": "-m pytest -n 2 --dist loadfile",
    }.items():
        done = subprocess.run(["make", *words.split()], capture_output=True, text=True, cwd=folder, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "".join(f"[{word}] " for word in called.split())
    assert sorted(tmp_path.iterdir()) == beside


def test_the_makefile_is_short_and_every_target_has_its_line_of_help(tmp_path: Path) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 70
    phony = re.search(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)[1].split()
    shown = make("help", build=tmp_path).stdout
    assert re.findall(r"^  make (\S+)", shown, flags=re.MULTILINE) == phony


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_python_that_an_environment_was_not_made_with_is_one_line(tmp_path: Path) -> None:
    settings = tmp_path / "pyvenv.cfg"
    for version, code in (("2.7.18", 2), (platform.python_version(), 0)):
        settings.write_text(f"home = here\nversion = {version}\n")
        done = make("help", f"VENV={tmp_path}", f"PYTHON={sys.executable}", build=tmp_path)
        assert done.returncode == code
        assert ("was made with another Python than PYTHON=" in done.stderr) == (code == 2)
        assert len(done.stderr.splitlines()) == (code == 2)


# Folders


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two empty places for files that anybody may enter, no network, and nothing in memory from before."""
    with tempfile.TemporaryDirectory(prefix="robexpl-") as name:
        root = Path(name)
        root.chmod(0o755)
        for part in ("data", "cache"):
            (root / part).mkdir()
        monkeypatch.setenv("ROBEXPL_DATA", str(root / "data"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(pooch, "os_cache", lambda name: root / "cache")
        monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/",))
        monkeypatch.setattr(author, "URL", "http://127.0.0.1:9/")
        monkeypatch.setattr(california.sk, "fetch_california_housing", offline)
        for cached in (mnist._bytes, california.read):
            cached.cache_clear()
        yield root
        for cached in (mnist._bytes, california.read):
            cached.cache_clear()
        for path in root.rglob("*"):
            path.chmod(0o700)


def offline(**_: object) -> None:
    raise OSError("offline")


@pytest.fixture
def nobody() -> Iterator[None]:
    """Whoever may read everything becomes somebody who may not."""
    if os.name != "posix":
        pytest.skip("permissions are those of POSIX")
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


IMAGES = "mnist/train-images-idx3-ubyte.gz"
NETWORK = "thesis/MNIST/clean_20ep_32bs.bson"


def put(folder: Path, file: str, content: bytes | None) -> Path:
    path = folder / "data" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if content is None else path.write_bytes(content)
    return path


def load_author() -> object:
    return author.load_author_network("mnist", "standard")


FOLDERS = {
    "nothing there": (lambda f: None, "mnist", "no mnist/train-images-idx3-ubyte.gz: tried .*set ROBEXPL_DATA"),
    "nothing there, table": (lambda f: None, "california", "no scikit_learn/cal_housing_py3.pkz: tried .*remedies"),
    "nothing there, author": (lambda f: None, load_author, "no thesis/MNIST/clean_20ep_32bs.bson: tried .*remedies"),
    "truncated": (lambda f: put(f, IMAGES, b"\x1f\x8b"), "mnist", "is truncated or altered: expected sha256 440fcabf"),
    "empty file": (lambda f: put(f, IMAGES, b""), "mnist", r"is truncated or altered: .* \(0 bytes\); replace or rem"),
    "labels for images": (lambda f: put(f, IMAGES, b"x" * 99), "mnist", "is truncated or altered"),
    "another table": (lambda f: put(f, california.FILE, b"a,b\n1,2\n"), "california", "is truncated or altered"),
    "another network": (lambda f: put(f, NETWORK, b"\x05\0\0\0\0"), load_author, "is truncated or altered"),
    "a folder of that name": (lambda f: put(f, IMAGES, None), "mnist", "is a folder: expected the file of that name"),
    "damaged cache": (lambda f: (f / "cache" / "california.npz").write_bytes(b"PK"), "california", "; remove it"),
}


@pytest.mark.parametrize("mistake", FOLDERS)
def test_a_wrong_data_folder_is_one_line(mistake: str, folder: Path) -> None:
    prepare, load, says = FOLDERS[mistake]
    prepare(folder)
    with pytest.raises(files.DataError, match=says) as error:
        load() if callable(load) else data.load(load)
    one_line(error.value)


def test_a_report_without_its_data_ends_in_one_line(
    folder: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pipeline.main(["report", "--profile", "full", "--seeds", "1", "--only", "models-mnist"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("FAILED report (full): no mnist/train-images-idx3-ubyte.gz: tried ")
    assert sum(line.startswith("FAILED ") for line in lines) == 1
    assert len(lines) <= 3


@pytest.mark.parametrize("named", ["{}/typo", "{}/file", "~nobody-of-that-name/x", "relative/nowhere", "\u00fc \u4e2d"])
def test_a_name_that_is_no_folder_is_one_line(named: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("ROBEXPL_DATA", named.format(folder))
    with pytest.raises(files.DataError, match=f"^ROBEXPL_DATA names no folder: {re.escape(named.format(folder))}$"):
        data.load("mnist")
    assert data.load("digits").name == "digits"  # needs no file


@pytest.mark.parametrize("locked", ["data", "data/mnist", f"data/{IMAGES}"])
def test_what_may_not_be_read_is_one_line(locked: str, folder: Path, request: pytest.FixtureRequest) -> None:
    put(folder, IMAGES, b"x")
    (folder / locked).chmod(0)
    request.getfixturevalue("nobody")
    with pytest.raises(files.DataError, match=r"cannot be read: .*(Permission denied|\(Permission)") as error:
        data.load("mnist")
    one_line(error.value)


@pytest.mark.parametrize(("build", "reason"), [("locked/b", "Permission denied"), ("file/b", "Not a directory")])
def test_a_build_folder_that_cannot_be_written_is_one_line(
    build: str, reason: str, folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "locked").mkdir(mode=0o555)
    (folder / "file").touch()
    monkeypatch.setenv("ROBEXPL_BUILD", str(folder / build))
    request.getfixturevalue("nobody")
    with pytest.raises(OSError, match=f"^cannot create the folder .*{build}/locks: {reason}$"):
        enter("stage")


def enter(name: str) -> None:
    with places.locked(name):
        pass


def test_results_that_cannot_be_read_stop_the_paper_in_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "generated").mkdir()
    (place / "generated" / "table1-table.csv").write_text("cut")
    monkeypatch.setenv("ROBEXPL_GENERATED", str(place / "generated"))
    assert pipeline.main(["paper", "--output", str(place / "a.pdf")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("FAILED paper (full): ")
    assert not (place / "a.pdf").exists()


# Parameters

X, Y = torch.rand(10, 12, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 4
BOX = (0.0, 1.0)
NET = models.mlp(12, 16, 4, generator=torch.Generator().manual_seed(1))


def pgd(x: Tensor = X, y: Tensor = Y, **changes: object) -> Tensor:
    known = {"eps": 0.1, "step_size": 0.01, "steps": 2, "bounds": BOX, "generator": torch.Generator().manual_seed(0)}
    return attacks.pgd(NET, x, y, **known | changes)


def impl(reference: Tensor = X, **changes: object) -> Tensor:
    return metrics.implausibility(X, Y, reference, Y, **{"distance": "euclidean", "k": 1} | changes)


def digits() -> data.Dataset:
    loaded = data.load("digits")
    return dataclasses.replace(loaded, x_train=loaded.x_train[:64], y_train=loaded.y_train[:64])


PARAMETERS: dict[str, tuple[Callable[[], object], str]] = {
    "unknown dataset": (lambda: data.load("cifar"), "unknown dataset 'cifar'; known: breast_cancer, california, dig"),
    "no dataset": (lambda: data.load(None), "unknown dataset None; known: "),
    "unknown sampling": (
        lambda: data.load("digits", sampling="fair"),
        "unknown sampling 'fair'; known: as_run, corrected",
    ),
    "negative seed": (lambda: data.load("digits", seed=-1), "expected seed >= 0, got -1"),
    "seed with a fraction": (lambda: data.load("digits", seed=1.5), "expected seed as a whole number, got 1.5"),
    "seed as text": (lambda: data.load("digits", seed="0"), "expected seed as one number, got '0'"),
    "unknown profile": (lambda: sizes.load("quick", "digits"), "unknown profile 'quick'; known: full, demo"),
    "dataset of a study": (lambda: sizes.load("demo", "cifar"), "unknown dataset 'cifar'; known: breast_cancer, cal"),
    "unknown notebook": (lambda: plan.notebook("rq9"), "unknown notebook 'rq9'; known: audit, sensitivity, rq1, "),
    "unknown condition": (lambda: sizes.condition("best"), "unknown condition 'best'; known: as_run, as_written, corr"),
    "unknown regime": (lambda: regimes.adversary("huge"), "unknown regime 'huge'; known: standard, weak, medium, "),
    "unknown stop": (
        lambda: ecco.search(NET, X, Y, settings=ecco.Settings(), stop="soon", bounds=BOX),
        "unknown stop 'soon'; known: decision_threshold, generator_conditions",
    ),
    "unknown distance": (lambda: impl(distance="cosine"), "unknown distance 'cosine'; known: euclidean, "),
    "author's other network": (lambda: author.load_author_network("digits", "weak"), "unknown author's dataset 'digi"),
    "seeds below zero": (lambda: sizes.load("demo", "digits", -1), "expected seeds >= 0, got -1"),
    "eps as text": (lambda: pgd(eps="0.1"), "expected eps as one number, got '0.1'"),
    "eps with gradients": (
        lambda: pgd(eps=torch.tensor(0.1, requires_grad=True)),
        "expected eps to be plain numbers, got a tensor with gradients; detach it",
    ),
    "eps of two": (lambda: pgd(eps=np.array([0.1, 0.2])), "expected eps as one number, got array([0.1, 0.2])"),
    "eps beyond any float": (lambda: pgd(eps=10**400), "expected eps as one number, got int"),
    "steps beyond any count": (lambda: pgd(steps=2**70), "expected steps below 2^63, got 1180591620717411303424"),
    "target with a fraction": (
        lambda: metrics.implausibility(X, 1.5, X, Y, distance="l1", k=1),
        "expected target as a whole number, got 1.5",
    ),
    "pictures in bytes": (
        lambda: impl(distance="ssim", image_shape=(3, 4), reference=255 * X),
        "expected intensities about [0, 1] in reference_x, got values from ",
    ),
    "settings that overflow": (
        lambda: ecco.search(
            NET, X, Y, settings=ecco.Settings(energy=1e39), stop="decision_threshold", bounds=BOX, start=X
        ),
        "expected settings that torch.float32 can hold, got 1e+39",
    ),
    "eps below zero": (lambda: pgd(eps=-0.1), "expected eps >= 0, got -0.1"),
    "eps per row": (lambda: pgd(eps=torch.rand(10, 1)), "expected eps as one number, got Tensor"),
    "steps with a fraction": (lambda: pgd(steps=1.5), "expected steps as a whole number, got 1.5"),
    "steps without size": (lambda: pgd(step_size=0), "expected step_size > 0, got 0"),
    "unknown early stop": (lambda: pgd(early_stop="never"), "expected early_stop to be one of"),
    "no generator": (lambda: pgd(generator=None), "expected a torch.Generator or explicit starting points, got neithe"),
    "bounds upside down": (lambda: pgd(bounds=(1.0, 0.0)), "expected low <= high in bounds, got low 1 and high 0"),
    "bounds as one number": (lambda: pgd(bounds=1.0), "expected bounds as a pair (low, high), got 1.0"),
    "three bounds": (lambda: pgd(bounds=(0, 1, 2)), "expected bounds as a pair (low, high), got (0, 1, 2)"),
    "bounds of other features": (lambda: pgd(bounds=(torch.zeros(3), 1.0)), "expected bounds as numbers or of shape"),
    "points outside the box": (lambda: pgd(x=X + 9), "expected x inside the bounds, got values from 9"),
    "one point without rows": (lambda: pgd(x=X[0]), "expected x of shape (n, d), got (12,)"),
    "points as a list": (lambda: pgd(x=X.tolist()), "expected x to be a torch tensor of shape (n, d), got list"),
    "points as integers": (lambda: pgd(x=(X * 9).long()), "expected x to hold floating-point numbers, got torch.int64"),
    "points with NaN": (lambda: pgd(x=X / 0 * 0), "expected finite numbers in x, got 120 NaN or infinite"),
    "points with gradients": (lambda: pgd(x=X.clone().requires_grad_()), "expected x to be plain numbers, got a tenso"),
    "sparse points": (lambda: pgd(x=X.to_sparse()), "expected x to be a dense tensor with values, got torch.sparse_c"),
    "labels one-hot": (lambda: pgd(y=torch.eye(4)[Y]), "expected labels of shape (10,), got (10, 4)"),
    "labels as floats": (lambda: pgd(y=Y.float()), "expected labels to be integers, got torch.float32"),
    "labels from one": (lambda: pgd(y=Y + 1), "expected labels in 0 ... 3, got values from 1 to 4"),
    "target of the own class": (
        lambda: ecco.search(NET, X, Y, settings=ecco.Settings(), stop="decision_threshold", bounds=BOX, labels=Y),
        "expected targets that differ from the factuals' classes, got 10 that do not",
    ),
    "threshold of one": (lambda: ecco.Settings(threshold=1), "expected threshold between 0 and 1, got 1"),
    "no learning rate": (lambda: ecco.Settings(learning_rate=0), "expected learning_rate > 0, got 0"),
    "no neighbours": (lambda: impl(k=0), "expected k > 0, got 0"),
    "more neighbours than points": (lambda: impl(k=100), "expected at least k = 100 reference points of class 0, got "),
    "shape of other images": (lambda: impl(distance="ssim"), "expected image_shape (height, width) with 12 pixels"),
    "no rows to be right": (lambda: metrics.accuracy(NET, X[:0], Y[:0]), "expected rows > 0, got 0"),
    "no epochs": (lambda: training.fit(digits(), "weak", seed=0, epochs=0), "expected epochs > 0, got 0"),
    "epochs with a fraction": (
        lambda: training.fit(digits(), "weak", seed=0, epochs=1.5),
        "expected epochs as a whole number, got 1.5",
    ),
    "no batch": (lambda: training.fit(digits(), "weak", seed=0, batch_size=0), "expected batch_size > 0, got 0"),
    "kind of data": (lambda: sizes.condition("as_written").search("audio"), "unknown kind of data 'audio'; known: ima"),
    "sizes with a fraction": (lambda: models.mlp(1.5, 2, 3), "expected inputs as a whole number, got 1.5"),
    "no file of weights": (lambda: models.load("nowhere"), "expected a file with weights, found none at nowhere"),
    "pairs of two lengths": (
        lambda: stats.paired_difference(np.arange(3), np.arange(4), np.arange(3)),
        "expected pairs, got (3,) and (4,)",
    ),
    "more right than rows": (lambda: stats.accuracy_interval([5], [3]), "expected counts 0 <= correct <= n"),
    "a notebook's name": (
        lambda: publish.Page("../a", SimpleNamespace(profile="demo", dataset=None, own=True)),
        "expected the name of a notebook, such as 'rq1', got '../a'",
    ),
}


@pytest.mark.parametrize("mistake", PARAMETERS)
def test_a_wrong_parameter_is_one_line(mistake: str) -> None:
    call, says = PARAMETERS[mistake]
    with pytest.raises(ValueError, match=f"^{re.escape(says)}") as error:
        call()
    one_line(error.value)


# Own models


class Then(nn.Module):
    """A network followed by something that spoils its output."""

    def __init__(self, spoil: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.network, self.spoil = NET, spoil

    def forward(self, x: Tensor) -> object:
        return self.spoil(self.network(x))


def spoilt_weights() -> nn.Module:
    model = models.mlp(12, 4, 4, generator=torch.Generator().manual_seed(0))
    model[0].weight.data[0, 0] = float("nan")
    return model


MODELS: dict[str, tuple[object, str]] = {
    "a function": (lambda x: x, "expected a model that is a torch.nn.Module, got"),
    "a class": (nn.Linear, "expected a model that is a torch.nn.Module, got"),
    "nothing": (None, "expected a model that is a torch.nn.Module, got None"),
    "a file's name": ("weak.safetensors", "expected a model that is a torch.nn.Module, got 'weak.safetensors'"),
    "weights without a model": (NET.state_dict(), "expected a model that is a torch.nn.Module, got OrderedDict"),
    "one number per row": (Then(lambda f: f[:, 0]), "expected the model to map (n, d) to logits (n, classes)"),
    "one logit": (
        nn.Linear(12, 1),
        "expected the model to map (n, d) to logits (n, classes), torch.float32, got (2,",
    ),
    "an answer without rows": (Then(lambda f: f.mean(0)), "expected the model to map (n, d) to logits (n, classes)"),
    "an image per row": (Then(lambda f: f[:, :, None]), "expected the model to map (n, d) to logits (n, classes)"),
    "a pair": (
        Then(lambda f: (f, f)),
        "expected the model to map (n, d) to logits (n, classes), torch.float32, got ",
    ),
    "a dictionary": (Then(lambda f: {"logits": f}), "expected the model to map (n, d) to logits (n, classes)"),
    "nothing returned": (Then(lambda f: None), "expected the model to map (n, d) to logits (n, classes)"),
    "numpy": (Then(lambda f: f.detach().numpy()), "expected the model to map (n, d) to logits (n, classes)"),
    "a single logit in two dimensions": (
        Then(lambda f: f[:, :1]),
        "expected the model to map (n, d) to logits (n, classes), torch.float32, got (2, 1) torch.float32 for (2, 12); "
        "make a single logit f two, 0 and f",
    ),
    "a single logit in one": (
        Then(lambda f: f[:, 0]),
        "expected the model to map (n, d) to logits (n, classes), torch.float32, got (2,) torch.float32 for (2, 12); "
        "make a single logit f two, 0 and f",
    ),
    "logits and more": (
        Then(lambda f: (f, None)),
        "expected the model to map (n, d) to logits (n, classes), torch.float32, got tuple for (2, 12); return the log",
    ),
    "NaN": (Then(lambda f: f * float("nan")), "expected finite logits, got 8 NaN or infinite"),
    "NaN in the weights": (spoilt_weights(), "expected finite logits, got 8 NaN or infinite"),
    "probabilities": (
        Then(lambda f: f.softmax(1)),
        "expected logits, got probabilities, which sum to 1: leave out the fi",
    ),
    "probabilities of a layer": (
        nn.Sequential(NET, nn.Softmax(1)),
        "expected logits, got probabilities, which sum to 1",
    ),
    "sure probabilities": (Then(lambda f: (300 * f).softmax(1)), "expected logits, got probabilities, which sum to 1"),
    "shares of two": (
        Then(lambda f: torch.cat([f[:, :2].sigmoid(), 1 - f[:, :2].sigmoid()], 1) / 2),
        "expected logits, got probabilities, which sum to 1: leave out the final softmax",
    ),
    "detached": (Then(lambda f: f.detach()), "expected logits that follow the input, got some without gradients"),
    "rounded": (
        Then(lambda f: f.argmax(1, keepdim=True) == torch.arange(4)),
        "expected the model to map (n, d)",
    ),
    "other inputs": (models.mlp(8, 4, 4), "expected a model of x (n, 12) torch.float32, but it fails: mat1 and mat2"),
    "images": (nn.Conv2d(1, 2, 3), "expected a model of x (n, 12) torch.float32, but it fails: Expected 3D"),
    "words": (nn.Embedding(3, 4), "expected a model of x (n, 12) torch.float32, but it fails: Expected tensor for ar"),
    "double precision": (nn.Linear(12, 4).double(), "expected a model of x (n, 12) torch.float32, but it fails: mat1"),
    "dropout left on": (
        nn.Sequential(nn.Linear(12, 64), nn.Dropout(0.5), nn.Linear(64, 4)),
        "expected the same logits for the same row, got others: call model.eval() first",
    ),
    "normalisation left on": (
        nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 4)),
        "expected a model of x (n, 12) torch.float32, but it fails: Expected more than 1 value per channel",
    ),
}


@pytest.mark.parametrize("mistake", MODELS)
def test_a_model_that_will_not_do_is_one_line(mistake: str) -> None:
    model, says = MODELS[mistake]
    with pytest.raises(ValueError, match=f"^{re.escape(says)}") as error:
        checks.refuse_model(model, X)
    one_line(error.value)


def attack(model: nn.Module) -> Tensor:
    return attacks.fgsm(model, X, Y, eps=0.1, bounds=BOX)


def explain(model: nn.Module) -> ecco.Counterfactuals:
    settings = ecco.Settings(steps=2, start_noise=0.0)
    return ecco.search(model, X, Y, settings=settings, stop="decision_threshold", bounds=BOX)


def count(model: nn.Module) -> float:
    return metrics.accuracy(model, X, Y)


USES = {"attacks": attack, "ecco": explain, "metrics": count}
WITHOUT_GRADIENTS = {"detached", "probabilities", "probabilities of a layer", "sure probabilities", "shares of two"}


@pytest.mark.parametrize("mistake", MODELS)
@pytest.mark.parametrize("use", USES)
def test_every_use_refuses_it(use: str, mistake: str) -> None:
    call = USES[use]
    model, says = MODELS[mistake]
    if use == "metrics" and mistake in WITHOUT_GRADIENTS:  # enough for an accuracy
        assert 0 <= call(model) <= 1
        return
    with pytest.raises(ValueError, match=f"^{re.escape(says)}") as error:
        call(model)
    one_line(error.value)


def test_trying_a_model_leaves_no_trace() -> None:
    model = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, x = torch.get_rng_state(), X.clone()
    checks.refuse_model(model, x, training=True)
    checks.refuse_model(model.eval(), x)
    checks.refuse_model(NET, x[:0])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, X)


@pytest.mark.parametrize(
    "last",
    [
        nn.Identity(), nn.LogSoftmax(1), nn.Sigmoid(), nn.ReLU(), nn.Softplus(), nn.Hardtanh(0, 1),
    ],
    ids=lambda last: type(last).__name__,
)  # fmt: skip
def test_outputs_that_only_look_like_probabilities_are_taken(last: nn.Module) -> None:
    """Logits may be positive, small, or log-probabilities, whose softmax is the same; or sum to 1 by chance."""
    assert attack(nn.Sequential(NET, last)).shape == X.shape
    half = torch.full((2, 2), 0.5)
    assert attacks.fgsm(nn.Identity(), half, torch.tensor([0, 1]), eps=0.1, bounds=BOX).shape == (2, 2)


class Remembering(nn.Module):
    """Keeps what it computed, which cannot be copied, a lock, and a count that it replaces at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)
        self.register_buffer("calls", torch.zeros(()))
        self.lock = threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        self.hidden = self.norm(self.first(x)).relu()
        return self.last(self.hidden)


@pytest.mark.parametrize("use", USES)
def test_models_that_cannot_be_copied_are_taken_and_trying_them_leaves_no_trace(use: str) -> None:
    model = Remembering().eval()
    model(X)
    count, before = model.calls, {name: value.clone() for name, value in model.state_dict().items()}
    checks.refuse_model(model, X)
    assert model.calls is count
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    USES[use](model)
    checks.refuse_model(model.train(), X, training=True)
    model.eval()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items() if name != "calls")


LIVELY: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: nn.Dropout(0.5),
    "little dropout": lambda: nn.Dropout(1e-3),
    "alpha dropout": lambda: nn.AlphaDropout(0.2),
    "dropout of channels": lambda: nn.Sequential(nn.Unflatten(1, (3, 4)), nn.Dropout1d(0.5), nn.Flatten()),
    "random slopes": nn.RReLU,
    "batch normalisation": lambda: nn.BatchNorm1d(12),
    "group normalisation by batches": lambda: nn.Sequential(
        nn.Unflatten(1, (3, 4)), nn.InstanceNorm1d(3, track_running_stats=True), nn.Flatten()
    ),
    "recurrent": lambda: Recurrent(),
}
QUIET = {
    "no dropout": lambda: nn.Dropout(0.0),
    "layers": lambda: nn.LayerNorm(12),
    "instances": lambda: nn.Sequential(nn.Unflatten(1, (3, 4)), nn.InstanceNorm1d(3), nn.Flatten()),
    "slopes": nn.LeakyReLU,
}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(4, 12, num_layers=2, dropout=0.3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x.view(-1, 3, 4))[0][:, -1]


@pytest.mark.parametrize("kind", [*LIVELY, *QUIET])
@pytest.mark.parametrize("use", USES)
def test_models_in_training_mode_are_known_by_their_layers(kind: str, use: str) -> None:
    """Two black rows tell nothing; the layers do. Torch's own generator is left alone."""
    model = nn.Sequential((LIVELY | QUIET)[kind](), nn.Linear(12, 4)).train()
    x, state = X.clone(), torch.get_rng_state()
    x[:2] = 0
    call = {
        "attacks": lambda: attacks.fgsm(model, x, Y, eps=0.1, bounds=BOX),
        "ecco": lambda: ecco.search(
            model, x, Y, settings=ecco.Settings(steps=2), stop="decision_threshold", bounds=BOX, start=x
        ),
        "metrics": lambda: metrics.accuracy(model, x, Y),
    }[use]
    if kind in LIVELY:
        says = (
            "expected the same logits for the same row, got others: call model.eval|fails: Expected more than 1 value"
        )
        with pytest.raises(ValueError, match=says) as error:
            call()
        one_line(error.value)
        model.eval()
    call()
    assert torch.equal(torch.get_rng_state(), state)


class Random(nn.Module):
    """Random in eval mode, too: multiplies its input by noise."""

    def __init__(self, noise: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.noise, self.last = noise, nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x * self.noise(x))


OWN, NUMPY = torch.Generator().manual_seed(0), np.random.default_rng(0)
NOISES: dict[str, Callable[[Tensor], Tensor]] = {
    "functional dropout": lambda x: nn.functional.dropout(torch.ones_like(x), training=True),
    "little functional dropout": lambda x: nn.functional.dropout(torch.ones_like(x), 1e-3, training=True),
    "alpha dropout": lambda x: nn.functional.alpha_dropout(torch.ones_like(x), 0.2, training=True),
    "normal noise": lambda x: 1 + 0.1 * torch.randn_like(x),
    "a random sign": lambda x: torch.randint(2, (1,)) * 2.0 - 1,
    "a generator of its own": lambda x: torch.rand(x.shape, generator=OWN),
    "numpy": lambda x: torch.from_numpy(NUMPY.random(x.shape)).to(x),
    "python": lambda x: random.random() + 0.5,
}


@pytest.mark.parametrize("black", [0, 2, 9])
@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("use", USES)
def test_random_models_are_refused_whatever_the_first_rows_are(use: str, kind: str, black: int, monkeypatch) -> None:
    """Rows without ink hide what multiplies them; a generator that moves, or a row that tells more, shows it."""
    x, model = X.clone(), Random(NOISES[kind]).eval()
    state = torch.get_rng_state()
    x[:black] = 0
    monkeypatch.setitem(globals(), "X", x)
    says = r"^expected the same logits for the same row, got others: in eval mode, too, it is random or mixes rows"
    with pytest.raises(ValueError, match=says) as error:
        USES[use](model)
    one_line(error.value)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match=r"got others: call model\.eval\(\) first$"):
        USES[use](model.train())


def test_the_table_is_long_enough() -> None:
    assert len(COMMANDS) + len(MAKE) + len(FOLDERS) + len(PARAMETERS) + len(MODELS) >= 40
