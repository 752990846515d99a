"""The runner executes what changed, leaves what is current, and never spoils the last good version.

Kernels start slowly, so the tests go through the life of one notebook in order.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from robexpl import artifacts
from robexpl.report import notebook

TEMPLATE = """\
# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A small notebook
#
# First words.

# %% tags=["parameters"]
dataset = "digits"
seeds = 1

# %%
import os

from robexpl import artifacts

out = artifacts.Output(f"small-{dataset}", "demo")
_ = out.json(seeds=seeds)

# %% tags=["tol-0.02"]
# a comment
print(object(), os.environ["OMP_NUM_THREADS"], os.environ["PYTHONHASHSEED"], os.getcwd())
0.5 * seeds
"""


class Home:
    """A template, the notebook made of it, and the runner between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.template = folder / "tëmplates of ours" / "small.py"  # a path as users have them
        self.out = folder / "tëmplates of ours" / "small-digits.ipynb"
        self.json = folder / "build" / "demo" / "generated" / "small-digits.json"
        self.params = {"dataset": "digits", "seeds": 2}
        self.template.parent.mkdir()
        self.write(TEMPLATE)
        self.environment = {**os.environ, "ROBEXPL_BUILD": str(folder / "build"), "TMPDIR": str(folder / "t")}
        (folder / "t").mkdir()

    def write(self, text: str) -> None:
        self.template.write_text(text, encoding="utf-8")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "robexpl.report.runner", str(self.template), str(self.out), *arguments]
        return subprocess.Popen(command, cwd=artifacts.ROOT, env=self.environment, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments: str) -> tuple[int, list[str]]:
        process = self.start(*(arguments or ("-p", "dataset=digits", "-p", "seeds=2", "-o", "other=1")))
        errors = process.communicate(timeout=120)[1]
        return process.returncode, errors.splitlines()

    def why(self) -> str:
        return notebook.staleness(self.out, self.template, self.params)

    def left_over(self) -> list[Path]:
        return [*(self.folder / "t").iterdir(), *self.folder.rglob("*.tmp")]


@pytest.fixture(scope="module")
def home() -> Home:
    with tempfile.TemporaryDirectory(prefix="robexpl-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBEXPL_BUILD", str(Path(folder) / "build"))
        yield Home(Path(folder))


def test_two_runs_at_once_execute_once(home: Home) -> None:
    assert home.why() == "it does not exist"
    processes = [home.start("-p", "dataset=digits", "-p", "seeds=2") for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(len(text.splitlines()) for text in errors) == [0, 2]
    start, end = "".join(errors).splitlines()
    assert start == "run    small-digits  (progress: build/log/small-digits.log)"
    assert end.startswith("ok     small-digits  ")
    assert home.why() == ""
    assert home.left_over() == []


def test_the_stored_form_holds_what_made_it_and_nothing_of_this_machine(home: Home) -> None:
    text = home.out.read_text(encoding="utf-8")
    stored = json.loads(text)
    assert text.endswith("}\n")
    assert stored["metadata"]["papermill"] == {"parameters": {"dataset": "digits", "seeds": 2}}
    made = stored["metadata"]["robexpl"]
    assert sorted(made) == ["contents", "files", "key", "template", "text"]
    assert made["files"] == {"build/demo/generated/small-digits.json": artifacts.sha256(home.json.read_bytes())}
    assert json.loads(home.json.read_text()) == {"seeds": 2}
    (stream, result) = stored["cells"][-1]["outputs"]
    assert "".join(stream["text"]) == "<object object> 1 0 .\n"
    assert result["data"]["text/plain"] == ["1.0"]
    assert str(artifacts.ROOT) not in json.dumps(stored["cells"])


def test_a_current_notebook_is_left_alone_in_silence(home: Home) -> None:
    before = home.out.stat()
    assert home.run() == (0, [])
    assert home.out.stat().st_mtime_ns == before.st_mtime_ns


def test_new_words_are_put_around_the_outputs_without_running(home: Home) -> None:
    home.write(TEMPLATE.replace("First words.", "Better words.").replace("# a comment", "# another"))
    before = json.loads(home.out.read_text(encoding="utf-8"))["cells"]
    assert home.why() == "text"
    assert home.run() == (0, ["text   small-digits"])
    after = json.loads(home.out.read_text(encoding="utf-8"))["cells"]
    assert "Better words." in after[0]["source"][-1]
    assert "# another" in after[-1]["source"][0]
    assert [cell.get("outputs") for cell in after] == [cell.get("outputs") for cell in before]
    assert home.why() == ""


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda home: edit_output(home), "it was edited by hand"),
        (lambda home: home.out.write_text("{}"), "it is not a notebook of this runner"),
        (lambda home: home.json.write_text("{}"), "build/demo/generated/small-digits.json is missing or changed"),
        (lambda home: home.json.unlink(), "build/demo/generated/small-digits.json is missing or changed"),
        (lambda home: home.params.update(seeds=3), "its code or parameters changed"),
        (lambda home: home.write(TEMPLATE.replace("0.5", "0.25")), "its code or parameters changed"),
        (lambda home: home.write(TEMPLATE.replace("import artifacts", "import artifacts, compare")), "its code or"),
    ],
)
def test_what_is_not_current_is_noticed(home: Home, edit: object, reason: str) -> None:
    kept = [(path, path.read_bytes()) for path in (home.template, home.out, home.json)]
    params = dict(home.params)
    edit(home)
    assert home.why().startswith(reason)
    for path, data in kept:
        path.write_bytes(data)
    home.params = params
    assert home.why() == ""


def edit_output(home: Home) -> None:
    stored = json.loads(home.out.read_bytes())
    stored["cells"][-1]["outputs"][1]["data"]["text/plain"] = ["0.9"]
    home.out.write_text(json.dumps(stored))


def test_changed_code_runs_again_and_removes_what_it_no_longer_writes(home: Home) -> None:
    edit_output(home)
    home.write(TEMPLATE.replace("0.5", "0.25").replace('f"small-{dataset}"', '"tiny"'))
    code, lines = home.run()
    assert code == 0
    assert len(lines) == 2
    assert home.why() == ""
    assert json.loads(home.out.read_text(encoding="utf-8"))["cells"][-1]["outputs"][1]["data"]["text/plain"] == ["0.5"]
    assert sorted(path.name for path in home.json.parent.iterdir()) == ["tiny.json"]


def test_a_failing_cell_is_named_and_the_last_good_version_stays(home: Home) -> None:
    good = {path: path.read_bytes() for path in (home.out, home.json.with_name("tiny.json"))}
    failing = 'values = {}\nif seeds:\n    values["missing"]\nlast = 1'
    home.write(TEMPLATE.replace("seeds=seeds", "seeds=-1").replace("0.5 * seeds", failing))
    code, lines = home.run()
    assert code == 1
    assert lines[1:] == [
        "FAILED small-digits, cell [4]: KeyError: 'missing'",
        '       values["missing"]',
        "       open build/failed/small-digits.ipynb",
    ]
    assert (home.folder / "build" / "failed" / "small-digits.ipynb").is_file()
    assert {path: path.read_bytes() for path in good} == good
    assert sorted(path.name for path in home.json.parent.iterdir()) == ["tiny.json"]
    assert home.left_over() == []


def test_a_stopped_run_leaves_no_kernel_and_changes_nothing(home: Home) -> None:
    good = home.out.read_bytes()
    started = home.folder / "kernel"
    wait = f"open({str(started)!r}, 'w').write(str(os.getpid()))\nimport time\ntime.sleep(100)"
    home.write(TEMPLATE.replace("0.5 * seeds", wait))
    process = home.start("-p", "dataset=digits", "-p", "seeds=2")
    deadline = time.monotonic() + 60
    while not (started.exists() and started.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=30)[1].splitlines()
    assert process.returncode == 128 + signal.SIGTERM
    assert errors[1:] == ["STOPPED small-digits: nothing was changed"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)
    assert home.out.read_bytes() == good
    assert home.left_over() == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-p", "datset=digits"], "FAILED small-digits: unknown parameter 'datset'; small.py declares: dataset, seeds"),
        (["-p", "dataset"], "expected a parameter as KEY=YAML, got 'dataset'"),
        (["-p", "seeds=[1"], "expected a parameter as KEY=YAML, got 'seeds=[1'"),
    ],
)
def test_mistakes_in_parameters_are_one_line(home: Home, arguments: list[str], line: str) -> None:
    assert home.run(*arguments) == (2, [line])


def test_a_missing_template_is_one_line(home: Home) -> None:
    home.template.unlink()
    code, lines = home.run()
    assert code == 2
    assert lines == [f"FAILED small-digits: no template {home.template}"]
