"""Run a template (a percent script) as a notebook and store it with the key of what made it.

    python -m robexpl.report.runner TEMPLATE OUT [-p KEY=YAML]... [-o KEY=YAML]... [--force]

A notebook whose key, contents and written files are current is left alone; where only the text of its template
changed, the text is replaced around the outputs. Until a run has succeeded it changes nothing that is stored.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from robexpl import artifacts
from robexpl.report import notebook
from robexpl.report.arguments import check_out, pairs, parameters
from robexpl.report.commands import Failure, Parser, Stopped, heed_signals
from robexpl.report.workers import ONE_THREAD

SOCKET = 100  # bytes that the name of a kernel's socket may have, and some to spare
ROOM = 8 * 2**20  # bytes that a kernel needs for its temporary files


def run(template: Path, out: Path, params: dict[str, Any], *, force: bool = False) -> None:
    """Bring one executed notebook up to date; raise Failure, with the stored version left as it was."""
    out = out.absolute()
    reason = "" if force else notebook.staleness(out, template, params)
    if not reason and not force:
        return
    with artifacts.locked(f"{out.stem}-{artifacts.sha256(str(out).encode())[:12]}"):
        reason = (
            "asked to" if force else notebook.staleness(out, template, params)
        )  # another run may have made it meanwhile
        if reason == "text" and notebook.replace_text(out, template):
            print(f"text   {out.stem}", file=sys.stderr)
        elif reason:
            _execute(template, out, params)


def _execute(template: Path, out: Path, params: dict[str, Any]) -> None:
    name, started = out.stem, time.monotonic()
    profile = params.get("profile")
    profile = profile if profile in artifacts.PROFILES else ""  # notebooks of both profiles share names
    log = artifacts.write_atomic(artifacts.build_dir() / "log" / profile / f"{name}.log", b"")
    key, text = notebook.make_key(template, params), artifacts.sha256(template.read_bytes())[:24]
    print(f"run    {name}  (progress: {artifacts.label(log)})", file=sys.stderr, flush=True)
    mark = artifacts.sha256(f"{out}\n{artifacts.build_dir()}".encode())[:12]
    scratch = Path(tempfile.gettempdir()) / f"robexpl-{os.getuid()}-{mark}"  # this notebook's own, as its lock is
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    if (free := shutil.disk_usage(scratch).free) < ROOM:
        scratch.rmdir()
        folder = tempfile.gettempdir()
        raise OSError(
            f"no space left on device for temporary files: {free // 1024} kB in {folder}; set TMPDIR to another"
        )
    try:
        executed = _in_kernel(template, params, scratch, log)
        files = {}
        for staged in sorted((scratch / "stage").glob("*/*")):
            data = staged.read_bytes()
            place = artifacts.write_atomic(artifacts.generated_dir(staged.parent.name) / staged.name, data)
            files[artifacts.label(place)] = artifacts.sha256(data)
        _remove_former(out, files)
        made = {"template": artifacts.label(template), "key": key, "text": text, "files": files}
        artifacts.write_atomic(out, notebook.canonical(executed, made, params))
    except CellFailure as failure:
        bad = artifacts.write_atomic(artifacts.build_dir() / "failed" / profile / out.name, failure.notebook)
        place = f", cell [{failure.cell}]" if failure.cell else ""
        lines = [f"FAILED {name}{place}: {failure}", *([f"       {failure.line}"] if failure.line else [])]
        raise Failure("\n".join([*lines, f"       open {artifacts.label(bad)}"])) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("warning: "):
                print(line, file=sys.stderr)
    print(f"ok     {name}  {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


class CellFailure(Exception):
    """A cell that raised, or a kernel that died."""

    def __init__(self, message: str, cell: int | None, line: str, notebook: bytes) -> None:
        super().__init__(message)
        self.cell, self.line, self.notebook = cell, line, notebook


def _in_kernel(template: Path, params: dict[str, Any], scratch: Path, log: Path) -> Any:
    """Execute a template in a kernel of its own: private socket and settings, one thread, no user configuration."""
    mpl = find_spec("matplotlib")
    os.environ |= {
        "IPYTHONDIR": str(scratch / "ipython"),
        "JUPYTER_CONFIG_DIR": str(scratch / "config"),
        "JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(scratch),
        "MATPLOTLIBRC": str(Path(mpl.origin).parent / "mpl-data" / "matplotlibrc") if mpl and mpl.origin else "",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONHASHSEED": "0",
        "ROBEXPL_PROGRESS": str(log),
        "ROBEXPL_STAGE": str(scratch / "stage"),
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "torch"),  # torch makes this folder unasked
        **ONE_THREAD,
    }
    os.environ.pop("MPLBACKEND", None)
    import nbformat
    import papermill
    from jupyter_client.manager import AsyncKernelManager
    from papermill.exceptions import PapermillExecutionError

    if len(os.fsencode(scratch / "k-5")) > SOCKET:
        raise OSError(f"{scratch.parent} is too long a name for a socket; set TMPDIR to a shorter folder")
    # The default socket, `kernel-ipc` in the working directory, would be shared by all kernels of a parallel make.
    manager = AsyncKernelManager(
        kernel_name="python3", transport="ipc", ip=str(scratch / "k"), connection_file=str(scratch / "kernel.json")
    )
    part, started, current = scratch / "part.ipynb", time.monotonic(), [0]

    def note(cell: Any, cell_index: int) -> None:
        if cell.cell_type == "code":
            current[0] += 1
            with log.open("a", encoding="utf-8") as file:
                file.write(f"cell [{current[0]}] after {time.monotonic() - started:.1f} s\n")

    def failed(message: str, cell: int | None, line: str = "") -> CellFailure:
        return CellFailure(message, cell, line, part.read_bytes() if part.exists() else b"")

    try:
        return papermill.execute_notebook(
            notebook.read_template(template), str(part), parameters=params, kernel_name="python3", km=manager,
            cwd=str(artifacts.ROOT),
            progress_bar=False, coalesce_streams=True, record_timing=False, extra_arguments=["--log-level=50"],
            on_cell_start=note,
        )  # fmt: skip
    except PapermillExecutionError as error:
        trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        number = re.search(rf"Cell In\[{error.exec_count}\], line (\d+)", trace)
        lines = error.source.splitlines() or [""]
        line = lines[min(int(number[1]), len(lines)) - 1] if number else lines[-1]
        value = (str(error.evalue).strip().splitlines() or [""])[0]
        raise failed(f"{error.ename}: {value}", error.exec_count, line.strip()) from None
    except (RuntimeError, nbformat.ValidationError) as error:  # the kernel died or never started
        raise failed(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}", current[0] or None) from None
    finally:
        _kill(manager)


def _kill(manager: Any) -> None:
    """End a kernel at once and by its process group: after a signal the event loop cannot be asked."""
    pid = getattr(manager.provisioner, "pid", None)
    if pid:
        try:
            os.killpg(os.getpgid(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
        manager.provisioner.process.wait()


def _remove_former(out: Path, files: dict[str, str]) -> None:
    """Remove what an earlier run of this notebook wrote and the present one no longer does."""
    try:
        former = json.loads(out.read_bytes())["metadata"]["robexpl"]["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in set(former) - set(files):
        file = artifacts.located(name)
        if file.is_file() and artifacts.sha256(file.read_bytes()) == former[name]:
            file.unlink()


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = Parser(prog="python -m robexpl.report.runner", description="Run a template as a notebook.")
    parser.add_argument("template", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("-p", action="append", default=[], metavar="KEY=YAML", help="a parameter of the template")
    parser.add_argument("-o", action="append", default=[], metavar="KEY=YAML", help="the same, where it is declared")
    parser.add_argument("--force", action="store_true", help="run even if current")
    arguments = parser.parse_args(argv)
    heed_signals()
    logging.disable()  # what nbclient would log is said below, once
    name = arguments.out.stem
    try:
        template = arguments.template.absolute()
        if not template.is_file():
            raise Failure(f"FAILED {name}: no template {arguments.template}", 2)
        check_out(arguments.out)
        params = parameters(name, template, pairs(arguments.p), pairs(arguments.o))
        run(template, arguments.out, params, force=arguments.force)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return failure.code
    except (OSError, ValueError, SyntaxError) as error:
        print(f"FAILED {name}: {error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        print(f"STOPPED {name}: nothing was changed", file=sys.stderr)
        return 128 + stopped.args[0]
    return 0


if __name__ == "__main__":
    sys.exit(main())
