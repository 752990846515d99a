"""Compile the paper from what the notebooks wrote.

The same sources and results give the same bytes: no system fonts, no date. A PDF that would not change is left alone.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from robexpl.files import write_atomic
from robexpl.pipeline.commands import Failure, say
from robexpl.study import places, sizes


def compile_pdf(profile: str, results: Path, *, own: bool = True, root: Path = places.ROOT) -> tuple[bytes, list[str]]:
    """Return the PDF of a profile's results and Typst's warnings; raise RuntimeError with what is wrong in the sources.

    `own` tells whether the results have the study's own number of seeds, which the paper's sentences rest on.
    """
    import typst

    pdf, warnings = _typeset(
        typst.compile_with_warnings, profile, results, own=own, root=root, format="pdf", timestamp=0
    )
    return pdf, [str(warning.message) for warning in warnings]


def ask(selector: str, profile: str, results: Path, *, root: Path = places.ROOT, **inputs: str) -> str:
    """Return as JSON the values that the paper leaves at a label: "<text>", its text; "<holds>", its guarded sentences.

    Inputs are those of paper/lib.typ: list="holds" lists sentences with their conditions, skip="a,b" leaves out some.
    """
    import typst

    return _typeset(typst.query, profile, results, selector, root=root, field="value", **inputs)


def _typeset(
    call: Callable, profile: str, results: Path, *args: str, root: Path, own: bool = True, **options: Any
) -> Any:
    if not results.is_dir():
        command = "report" if profile == "full" else profile
        raise OSError(f"there are no results in {places.label(results)}; make {command} computes them")
    known = {name: options.pop(name) for name in ("list", "skip") if name in options}
    inputs = {"profile": profile, "own": "true" if own else "false", **sizes.datasets(profile), **known}
    # the figures ask for the font that their sizes were computed with
    options |= {"ignore_system_fonts": True, "font_paths": [str(_fonts())]}
    with tempfile.TemporaryDirectory(prefix="robexpl-paper-") as folder:
        if not results.is_relative_to(root):  # Typst reads nothing outside its root
            shutil.copytree(root / "paper", Path(folder) / "paper", ignore=shutil.ignore_patterns("*.pdf", "generated"))
            shutil.copytree(results, Path(folder) / "results", ignore=shutil.ignore_patterns(".*"))
            root, results = Path(folder), Path(folder) / "results"
        inputs["results"] = f"/{results.relative_to(root).as_posix()}"
        try:
            return call(str(root / "paper" / "paper.typ"), *args, root=str(root), sys_inputs=inputs, **options)
        except RuntimeError as error:
            if found := re.search(r"file not found \(searched at .*?/([^/)]+)\)", str(error)):
                raise RuntimeError(f"the paper needs {found[1]}, which no notebook has written yet") from None
            raise


def _fonts() -> Path:
    spec = find_spec("matplotlib")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


def write(profile: str, results: Path, output: Path, *, own: bool = True) -> None:
    """Compile a paper and write it where it has changed; raise Failure with one line where that is impossible."""
    try:
        pdf, warnings = compile_pdf(profile, results, own=own)
        before = output.read_bytes() if output.is_file() else b""
        write_atomic(output, pdf)
    except (OSError, RuntimeError, shutil.Error) as error:
        lines = str(error).replace(f"{places.ROOT}/", "").strip().splitlines()
        raise Failure(f"FAILED paper ({profile}): {lines[0] if lines else type(error).__name__}") from None
    for warning in warnings:
        say(f"warning: paper: {warning}")
    state = "current" if pdf == before else "written"
    say(f"paper  {places.label(output)}  {len(pdf) // 1024} kB, {state}")
