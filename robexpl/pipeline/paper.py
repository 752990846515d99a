"""Compile the paper from what the notebooks wrote.

The same sources and results give the same bytes: no system fonts, and the date that CITATION.cff states. A PDF that
would not change is left alone.
"""

import hashlib
import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typst
import yaml

from robexpl import __version__
from robexpl.files import write_atomic
from robexpl.pipeline.commands import Failure, first_line, say
from robexpl.study import places, sizes


def compile_pdf(profile: str, results: Path, *, own: bool = True, root: Path = places.ROOT) -> tuple[bytes, list[str]]:
    """Return the PDF of a profile's results and Typst's warnings; raise RuntimeError with what is wrong in the sources.
    `own` tells whether the results have the study's own number of seeds, which the paper's sentences rest on.
    """
    inputs, options = {"own": "true" if own else "false"}, {"format": "pdf", "timestamp": 0}
    pdf, warnings = typeset(typst.compile_with_warnings, profile, results, root, inputs, **options)
    return pdf, [str(warning.message) for warning in warnings]


def key(results: Path) -> str:
    """Return twelve digits of the SHA-256 of a folder's tables, by name: they change only when a result does."""
    digest = hashlib.sha256()
    for path in sorted(results.glob("*.csv")):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def released() -> dict[str, str]:
    """Return the date of CITATION.cff and the commit that holds the results of the full study."""
    citation = yaml.safe_load((places.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    return {"date": f"{citation['date-released']:%-d %B %Y}", "commit": citation["commit"]}


def typeset(
    call: Callable, profile: str, results: Path, root: Path, inputs: dict[str, str], *args: Any, **options: Any
) -> Any:
    """Let Typst compile or query the paper below `root` with the inputs of paper/lib.typ."""
    if not results.is_dir():
        command = "report" if profile == "full" else profile
        raise OSError(f"there are no results in {places.label(results)}; make {command} computes them")
    home = Path(os.path.commonpath([root, results]))  # Typst reads nothing outside its root
    inputs = {
        "profile": profile,
        **sizes.datasets(profile),
        **inputs,
        "results": f"/{results.relative_to(home).as_posix()}",
        "version": __version__,
        "key": key(results),
        **released(),
        "stored": ",".join(sorted(path.name for path in results.iterdir())),  # Typst cannot ask whether a file exists
    }
    # the figures ask for the font that their sizes were computed with
    fonts = Path(find_spec("matplotlib").origin).parent / "mpl-data" / "fonts" / "ttf"
    options |= {"root": str(home), "sys_inputs": inputs, "ignore_system_fonts": True, "font_paths": [str(fonts)]}
    try:
        return call(str(root / "paper" / "paper.typ"), *args, **options)
    except RuntimeError as error:
        if found := re.search(r"file not found \(searched at .*?/([^/)]+)\)", str(error)):
            raise RuntimeError(f"the paper needs {found[1]}, which no notebook has written yet") from None
        raise


def write(profile: str, results: Path, output: Path, *, own: bool = True) -> None:
    """Compile a paper and write it where it has changed; raise Failure with one line where that is impossible."""
    try:
        pdf, warnings = compile_pdf(profile, results, own=own)
        before = output.read_bytes() if output.is_file() else b""
        write_atomic(output, pdf)
    except (OSError, RuntimeError) as error:
        line = first_line(str(error).replace(f"{places.ROOT}/", "")) or type(error).__name__
        raise Failure(f"FAILED paper ({profile}): {line}") from None
    for warning in warnings:
        say(f"warning: paper: {warning}")
    say(f"paper  {places.label(output)}  {len(pdf) // 1024} kB, {'current' if pdf == before else 'written'}")
