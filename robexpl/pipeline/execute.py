"""Run a template as a notebook and store it with the key of what made it; a run that fails changes nothing."""

import json
import logging
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager

from robexpl.files import sha256, write_atomic
from robexpl.pipeline import notebook, template
from robexpl.pipeline.commands import Failure, first_line, repeat_warnings, say
from robexpl.pipeline.workers import ONE_THREAD
from robexpl.study import places

SOCKET = 100  # bytes that the name of a kernel's socket may have, and some to spare
ROOM = 8 * 2**20  # bytes that a kernel needs for its temporary files
FILES = 96  # files that a kernel and its runner must be able to open
SHOWN = 2 * 10**6  # characters that a cell may show


class Kernel(AsyncKernelManager):
    """A kernel that writes to a file, `terminal`, and that can be ended at any moment."""

    given: tuple = ()
    terminal: Any = None

    def client(self, **options: Any) -> Any:
        self.given = (*self.given, super().client(**options))
        return self.given[-1]

    async def start_kernel(self, **options: Any) -> None:
        await super().start_kernel(**options, stdout=self.terminal, stderr=self.terminal)

    def end(self) -> None:
        """End it at once and by its process group: after a signal the event loop cannot be asked."""
        if pid := getattr(self.provisioner, "pid", None):
            try:
                os.killpg(os.getpgid(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.provisioner.process.wait()
        for client in self.given:
            client.stop_channels()


def check_out(out: Path) -> None:
    """Refuse to write over anything but a notebook: a folder, a template, somebody else's notebook."""
    if out.suffix != ".ipynb" or out.is_dir():
        raise Failure(f"expected OUT as a notebook file, .ipynb, got {out}", 2)
    try:
        stored = json.loads(out.read_bytes())
        if stored["cells"] and "robexpl" not in stored["metadata"]:
            raise Failure(f"{out} is no notebook of this runner; move it away first", 2)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none, or a damaged one, which is made anew


def run(source: Path, out: Path, params: dict[str, Any], generated: Path, group: str = "", force: bool = False) -> None:
    """Bring one executed notebook up to date; raise Failure, with the stored version left as it was.
    Its files go to the folder `generated`, its log and, where it fails, the notebook to a folder named `group`.
    """
    out, name = out.absolute(), out.stem
    if not force and not notebook.staleness(out, source, params):
        return
    with places.locked(f"{name}-{sha256(str(out).encode())[:12]}"):
        reason = "asked to" if force else notebook.staleness(out, source, params)  # another run may have made it
        if reason == notebook.TEXT and notebook.replace_text(out, source, params):
            say(f"text   {name}")
        elif reason:
            started, log = time.monotonic(), write_atomic(places.build_dir() / "log" / group / f"{name}.log", b"")
            made = {"template": places.label(source), "key": notebook.make_key(source, params)}
            made["text"] = notebook.text_digest(template.read(source), params)
            say(f"run    {name}  (progress: {places.label(log)})")
            mark = sha256(f"{out}\n{places.build_dir()}".encode())[:12]
            scratch = Path(tempfile.gettempdir()) / f"robexpl-{os.getuid()}-{mark}"  # its own, as the lock is
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(mode=0o700)
            try:
                _refuse_want(scratch)
                executed = _in_kernel(source, params, scratch, log, places.build_dir() / "failed" / group / out.name)
                made["files"] = _published(scratch / "stage", generated, out)
                write_atomic(out, notebook.canonical(executed, made, params))
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
                repeat_warnings(log)
            say(f"ok     {name}  {time.monotonic() - started:.1f} s")


def _published(stage: Path, generated: Path, out: Path) -> dict[str, str]:
    """Publish what a run wrote, and remove what an earlier run of its notebook wrote and it no longer does."""
    files = {}
    for staged in sorted(path for path in stage.rglob("*") if path.is_file()):
        data = staged.read_bytes()
        files[places.label(write_atomic(generated / staged.name, data))] = sha256(data)
    try:
        former = json.loads(out.read_bytes())["metadata"]["robexpl"]["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return files
    for name in set(former) - set(files):
        file = places.located(name)
        if file.is_file() and sha256(file.read_bytes()) == former[name]:
            file.unlink()
    return files


def _refuse_want(scratch: Path) -> None:
    """Refuse to start a kernel where it would die for want of room, of open files or of a short name."""
    folder, free = scratch.parent, shutil.disk_usage(scratch).free // 1024
    if free < ROOM // 1024:
        raise OSError(f"no space left on device for temporary files: {free} kB in {folder}; set TMPDIR to another")
    if len(os.fsencode(scratch / "k-5")) > SOCKET:
        raise OSError(f"{folder} is too long a name for a socket; set TMPDIR to a shorter folder")
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if 0 <= allowed < FILES:  # negative: no limit
        raise OSError(f"too many open files: a kernel needs {FILES}, {allowed} are allowed; say ulimit -n 1024 first")


def _in_kernel(source: Path, params: dict[str, Any], scratch: Path, log: Path, bad: Path) -> Any:
    """Execute a template in a kernel of its own: private socket and settings, one thread, no user configuration.
    Raises Failure where a cell fails or the kernel dies; what there is of the notebook then goes to the file `bad`.
    """
    os.environ |= {
        "IPYTHONDIR": str(scratch / "ipython"), "JUPYTER_CONFIG_DIR": str(scratch / "config"),
        "JUPYTER_PATH": f"{sys.prefix}/share/jupyter", "JUPYTER_RUNTIME_DIR": str(scratch),
        "MATPLOTLIBRC": str(Path(find_spec("matplotlib").origin).parent / "mpl-data" / "matplotlibrc"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1", "PYTHONHASHSEED": "0", "ROBEXPL_PROGRESS": str(log),
        "ROBEXPL_STAGE": str(scratch / "stage"), "TORCHINDUCTOR_CACHE_DIR": str(scratch / "torch"), **ONE_THREAD,
    }  # fmt: skip
    os.environ.pop("MPLBACKEND", None)
    logging.disable()  # what nbclient would log is said once, by the failure
    import nbformat
    import papermill

    part, errors, started, current = scratch / "part.ipynb", scratch / "errors", time.monotonic(), [0]

    def note(cell: Any, cell_index: int) -> None:
        if cell.cell_type == "code":
            current[0] += 1
            with log.open("a", encoding="utf-8") as file:
                file.write(f"cell [{current[0]}] after {time.monotonic() - started:.1f} s\n")

    def failed(message: str, cell: int, line: str = "") -> Failure:
        write_atomic(bad, part.read_bytes() if part.exists() else b"")
        place = f", cell [{cell}]" if cell else ""
        lines = [f"FAILED {bad.stem}{place}: {message}", *([f"       {line}"] if line else [])]
        return Failure("\n".join([*lines, f"       open {places.label(bad)}"]))

    with errors.open("w") as terminal:
        # the default socket, `kernel-ipc` in the working directory, would be shared by all kernels that run at once
        private = {"ip": str(scratch / "k"), "connection_file": str(scratch / "kernel.json")}
        manager = Kernel(kernel_name="python3", transport="ipc", **private)
        manager.terminal = terminal
        try:
            executed = papermill.execute_notebook(
                template.notebook(source, params), str(part), parameters=params, kernel_name="python3", km=manager,
                cwd=str(places.ROOT), progress_bar=False, coalesce_streams=False, record_timing=False,
                extra_arguments=["--log-level=50"], on_cell_start=note,
            )  # fmt: skip
        except papermill.exceptions.PapermillExecutionError as error:
            trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
            number = re.search(rf"Cell In\[{error.exec_count}\], line (\d+)", trace)
            lines = error.source.splitlines() or [""]
            line = lines[min(int(number[1]), len(lines)) - 1] if number else lines[-1]
            raise failed(f"{error.ename}: {first_line(error.evalue)}", error.exec_count, line.strip()) from None
        except (RuntimeError, nbformat.ValidationError) as error:  # the kernel died or never started
            last = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise failed(": ".join([type(error).__name__, first_line(error), *last]), current[0]) from None
        finally:
            manager.end()
    if found := _unfinished(executed):
        raise failed(*found)
    return executed


def _unfinished(executed: Any) -> tuple[str, int] | None:
    """Return what a notebook that ran without an exception lacks, and the number of the cell."""
    code = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(code, 1):
        if ended := next((output for output in cell.outputs if output.output_type == "error"), None):
            return f"{ended.ename}: {ended.evalue}, which ends the notebook before its last cell", number
        if cell.execution_count is None:
            return "it was never executed", number
        size = sum(len(str(output.get("text", ""))) + len(str(output.get("data", ""))) for output in cell.outputs)
        if size > SHOWN:
            return f"expected outputs of at most {SHOWN / 1e6:g} MB, got {size / 1e6:.1f} MB", number
    return None
