"""The runner executes what changed, leaves what is current, and never spoils the last good version.

Kernels start slowly, so the tests go through the life of one notebook in order.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest

from robexpl.files import sha256
from robexpl.pipeline import __main__ as pipeline
from robexpl.pipeline import execute, notebook, template
from robexpl.study import places

TEMPLATE = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
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
from types import SimpleNamespace

import pandas as pd

from robexpl.pipeline import publish

page = publish.Page("small", SimpleNamespace(profile="demo", dataset=dataset, own=False))
_ = page.table(pd.DataFrame({"seeds": [seeds]}), "sizes", show=False)

# %% tags=["tabular"]
raise ValueError("digits are images")

# %% tags=["tol-0.02"]
# a comment
print(object(), os.environ["OMP_NUM_THREADS"], os.environ["PYTHONHASHSEED"], os.getcwd())
0.5 * seeds
"""
# the same with a table that no library writes, so that the kernel starts quickly
BARE = TEMPLATE.replace(
    TEMPLATE[TEMPLATE.index("from types") : TEMPLATE.index('# %% tags=["tabular"]')],
    """\
from pathlib import Path

stage = Path(os.environ["ROBEXPL_STAGE"])
stage.mkdir(exist_ok=True)
_ = (stage / "small-digits-sizes.csv").write_text("seeds\\n-1\\n")

""",
)
GIVEN = ("-p", "dataset=digits", "-p", "seeds=2")


class Home:
    """A template, the notebook made of it, and the runner between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.template = folder / "tëmplates of ours" / "small.py"  # a path as users have them
        self.out = folder / "build" / "öut" / "small-digits.ipynb"
        self.table = self.out.parent / "generated" / "small-digits-sizes.csv"
        self.params = {"dataset": "digits", "seeds": 2}
        self.template.parent.mkdir()
        self.write(TEMPLATE)
        self.environment = {**os.environ, "ROBEXPL_BUILD": str(folder / "build"), "TMPDIR": str(folder / "t")}
        (folder / "t").mkdir()

    def write(self, text: str) -> None:
        self.template.write_text(text, encoding="utf-8")

    def start(self, *arguments: str, **options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "robexpl.pipeline", "run", str(self.template), str(self.out), *arguments]
        options = {"env": self.environment, **options}
        return subprocess.Popen(command, cwd=places.ROOT, stderr=subprocess.PIPE, text=True, **options)

    def run(self, *arguments: str, **options: object) -> tuple[int, list[str]]:
        process = self.start(*(arguments or GIVEN), **options)
        errors = process.communicate(timeout=120)[1]
        return process.returncode, errors.splitlines()

    def here(self, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
        """Run it in this process, where no cell has to be executed."""
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.delenv("ROBEXPL_PROGRESS", raising=False)
                patch.setattr(execute, "_in_kernel", lambda *_: pytest.fail("a kernel was to be started"))
                code = pipeline.main(["run", str(self.template), str(self.out), *GIVEN])
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return code or 0, capsys.readouterr().err.splitlines()

    def why(self) -> str:
        return notebook.staleness(self.out, self.template, self.params)

    def left_over(self) -> list[Path]:
        return [*(self.folder / "t").iterdir(), *self.folder.rglob("*.tmp")]

    def cells(self) -> list[dict]:
        return json.loads(self.out.read_text(encoding="utf-8"))["cells"]


@pytest.fixture(scope="module")
def home() -> Home:
    with tempfile.TemporaryDirectory(prefix="robexpl-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBEXPL_BUILD", str(Path(folder) / "build"))
        yield Home(Path(folder))


def test_two_runs_at_once_execute_once(home: Home) -> None:
    assert home.why() == "it does not exist"
    processes = [home.start(*GIVEN) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
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
    assert made["files"] == {"build/öut/generated/small-digits-sizes.csv": sha256(home.table.read_bytes())}
    assert home.table.read_text() == "seeds\n2\n"
    (stream, result) = stored["cells"][-1]["outputs"]
    assert "".join(stream["text"]) == "<object object> 1 0 .\n"
    assert result["data"]["text/plain"] == ["1.0"]
    assert str(places.ROOT) not in json.dumps(stored["cells"])


def test_a_cell_for_other_data_is_left_out(home: Home) -> None:
    sources = ["".join(cell["source"]) for cell in home.cells()]
    assert not any("digits are images" in source for source in sources)
    before = notebook.make_key(home.template, home.params)
    home.write(TEMPLATE.replace("digits are images", "changed"))
    assert home.why() == ""
    assert notebook.make_key(home.template, home.params) == before
    assert notebook.make_key(home.template, {"dataset": "breast_cancer", "seeds": 2}) != before
    home.write(TEMPLATE)


def test_a_current_notebook_is_left_alone_in_silence(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    before = home.out.stat()
    assert home.here(capsys) == (0, [])
    assert home.out.stat().st_mtime_ns == before.st_mtime_ns


def test_new_words_are_put_around_the_outputs_without_running(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.write(TEMPLATE.replace("First words.", "Better words.").replace("# a comment", "# another"))
    before = home.cells()
    assert home.why() == "only its text changed"
    assert home.here(capsys) == (0, ["text   small-digits"])
    after = home.cells()
    assert "Better words." in after[0]["source"][-1]
    assert "# another" in after[-1]["source"][0]
    assert [cell.get("outputs") for cell in after] == [cell.get("outputs") for cell in before]
    assert home.why() == ""


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda home: edit_output(home), "it was edited by hand"),
        (lambda home: home.out.write_text("{}"), "it is not a notebook of this runner"),
        (lambda home: home.out.write_bytes(b"\xff"), "it is not a notebook of this runner"),
        (lambda home: home.table.write_text("seeds\n3\n"), "build/öut/generated/small-digits-sizes.csv is missing or"),
        (lambda home: home.table.unlink(), "build/öut/generated/small-digits-sizes.csv is missing or changed"),
        (lambda home: home.params.update(seeds=3), "its parameters changed"),
        (lambda home: home.write(TEMPLATE.replace("0.5", "0.25")), "its code, or what the code uses, changed"),
        (lambda home: home.write(TEMPLATE.replace("0.5", "publish.NAME, 0.5")), "its code, or what the code uses, "),
    ],
)
def test_what_is_not_current_is_noticed(home: Home, edit: object, reason: str) -> None:
    kept = [(path, path.read_bytes()) for path in (home.template, home.out, home.table)]
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
    home.write(TEMPLATE.replace("0.5", "0.25").replace('"small", Simple', '"tiny", Simple'))
    code, lines = home.run(env={**home.environment, "PYTHONWARNINGS": "error"})
    assert code == 0
    assert len(lines) == 2, "a warning was shown"
    assert home.why() == ""
    assert home.cells()[-1]["outputs"][1]["data"]["text/plain"] == ["0.5"]
    assert sorted(path.name for path in home.table.parent.iterdir()) == ["tiny-digits-sizes.csv"]


FAILING = {
    "an error": (
        'values = {}\nif seeds:\n    values["missing"]\nlast = 1',
        [", cell [4]: KeyError: 'missing'", '       values["missing"]'],
    ),
    "an early end": (
        "import sys\nsys.exit(0)\n\n# %%\nlast = 1",
        [", cell [4]: SystemExit: 0, which ends the notebook"],
    ),
    "a dead kernel": ("os._exit(0)", [", cell [4]: DeadKernelError: Kernel died"]),
}


@pytest.mark.parametrize("why", FAILING)
def test_a_failing_cell_is_named_and_the_last_good_version_stays(home: Home, why: str) -> None:
    source, says = FAILING[why]
    tiny = home.table.with_name("tiny-digits-sizes.csv")
    good = {path: path.read_bytes() for path in (home.out, tiny)}
    home.write(BARE.replace("0.5 * seeds", source))
    started = time.monotonic()
    code, lines = home.run()
    assert time.monotonic() - started < 60
    assert code == 1
    assert len(lines) == 2 + len(says)
    assert lines[1].startswith(f"FAILED small-digits{says[0]}")
    assert lines[2:] == [*says[1:], "       open build/failed/small-digits.ipynb"]
    assert (home.folder / "build" / "failed" / "small-digits.ipynb").is_file()
    assert {path: path.read_bytes() for path in good} == good
    assert list(home.table.parent.iterdir()) == [tiny]
    assert home.left_over() == []


def executed(*cells: list[dict], counts: bool = True) -> nbformat.NotebookNode:
    """Return a notebook of code cells with these outputs, as papermill returns it where no exception ended it."""
    make, output = nbformat.v4.new_code_cell, nbformat.v4.new_output
    made = [
        make("x", execution_count=n if counts else None, outputs=[output(**o) for o in outputs])
        for n, outputs in enumerate(cells, 1)
    ]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("words"), *made])


def test_what_a_run_without_an_exception_lacks_is_noticed() -> None:
    ended = {"output_type": "error", "ename": "SystemExit", "evalue": "", "traceback": []}
    stream = {"output_type": "stream", "name": "stdout", "text": "x" * 1_000_000}
    assert execute._unfinished(executed([], [stream, stream])) is None
    says = "SystemExit: , which ends the notebook before its last cell"
    assert execute._unfinished(executed([], [ended])) == (says, 2)
    assert execute._unfinished(executed([ended], [])) == (says, 1)
    assert execute._unfinished(executed([], counts=False)) == ("it was never executed", 1)
    shown = {"output_type": "display_data", "data": {"text/html": "x" * 30_000_000}}
    for outputs in ([{**stream, "text": "x" * 30_000_000}], [shown]):
        assert execute._unfinished(executed([], [], outputs)) == ("expected outputs of at most 2 MB, got 30.0 MB", 3)


def test_too_few_open_files_are_named(home: Home) -> None:
    code, lines = home.run(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48)))
    assert code == 1
    assert (
        lines[-1]
        == "FAILED small-digits: too many open files: a kernel needs 96, 48 are allowed; say ulimit -n 1024 first"
    )


def test_a_stopped_run_leaves_no_kernel_and_changes_nothing(home: Home) -> None:
    good = home.out.read_bytes()
    started = home.folder / "kernel"
    wait = f"open({str(started)!r}, 'w').write(str(os.getpid()))\nimport time\ntime.sleep(100)"
    home.write(BARE.replace("0.5 * seeds", wait))
    process = home.start(*GIVEN)
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


def test_a_missing_template_is_one_line(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.template.unlink()
    code, lines = home.here(capsys)
    assert code == 2
    assert lines == [f"FAILED small-digits: no template {home.template}"]


# Streams and paths


def test_streams_are_joined_and_overwritten_lines_are_dropped() -> None:
    stream = lambda name, text: {"output_type": "stream", "name": name, "text": text}  # noqa: E731
    outputs = [
        stream("stdout", "1 %\r"),
        stream("stderr", "a"),
        stream("stdout", "50 %\r100 %\r\nd"),
        stream("stderr", "b"),
    ]
    assert notebook.joined([*outputs, {"output_type": "error"}]) == [
        stream("stdout", "100 %\nd"),
        stream("stderr", "ab"),
        {"output_type": "error"},
    ]


def test_what_names_this_machine_is_removed_in_linear_time() -> None:
    shown = notebook.scrub("<f at 0x7f00aa11bb> (/tmp/ipykernel_12/34.py:3) /home/me/b x", {"/home/me": "~"})
    assert shown == "<f> (<cell>:3) ~/b x"
    started = time.monotonic()
    for text in (
        "/" * 2_000_000,
        "/" * 1_000_000 + "/ipykernel_1/2.py",
        "/ipykernel_1/2.py" * 100_000,
        "\r" * 2_000_000,
    ):
        notebook.scrub(text, {})
        notebook.joined([{"output_type": "stream", "name": "stdout", "text": text}] * 3)
    assert time.monotonic() - started < 10


# Templates


@pytest.mark.parametrize(
    ("tags", "values", "gone"),
    [
        ([], {"dataset": "digits", "profile": "demo"}, False),
        (["image"], {"dataset": "digits"}, False),
        (["image"], {"dataset": "breast_cancer"}, True),
        (["tabular", "conclusions"], {"dataset": "california"}, False),
        (["tabular"], {}, False),
        (["full"], {"profile": "demo"}, True),
        (["full"], {"profile": "full", "dataset": "mnist"}, False),
        (["full", "tabular"], {"profile": "full", "dataset": "mnist"}, True),
    ],
)
def test_cells_are_left_out_by_their_tags(tags: list[str], values: dict, gone: bool) -> None:
    assert template.left_out(tags, values) == gone


def test_a_key_rests_on_what_the_cells_use_and_on_what_that_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.py").write_text("# %%\nfrom robexpl.study import thesis\n\n# %%\nthesis.implausibilities\n")
    (tmp_path / "u.py").write_text("# %%\nfrom robexpl import seeds\n\n# %%\nseeds.torch_generator\n")
    keys = [notebook.make_key(tmp_path / name, {}) for name in ("t.py", "u.py")]
    edited = tmp_path / "thesis.csv"
    edited.write_bytes((places.ROOT / "paper" / "thesis.csv").read_bytes() + b"\n")
    others = [path for path in notebook.tables() if path.name != edited.name]
    monkeypatch.setattr(notebook, "tables", lambda: sorted([*others, edited]))
    moved = [notebook.make_key(tmp_path / name, {}) for name in ("t.py", "u.py")]
    assert moved[0] != keys[0]
    assert moved[1] == keys[1]


def test_every_file_that_the_study_reads_can_be_part_of_a_key() -> None:
    known = {path.name for path in notebook.tables()}
    sources = [path.read_text(encoding="utf-8") for path in (places.ROOT / "robexpl" / "study").glob("*.py")]
    sources = [line for source in sources for line in source.splitlines() if ">>>" not in line]
    named = {name for source in sources for name in re.findall(r'"([\w-]+\.(?:csv|yaml|json))"', source)}
    named -= {"card.yaml"}  # written by `python -m robexpl.study.pretrained`, read by no notebook
    assert {"thesis.csv", "claims.yaml", "study.yaml"} <= named
    assert named <= known
