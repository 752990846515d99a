"""Compile the paper from what the notebooks wrote.

    python -m robexpl.report.paper [--profile demo|full] [--output PDF]

The same sources and results give the same bytes: no system fonts, no date. A PDF that would not change is left alone.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from robexpl import artifacts
from robexpl.report.commands import Parser

DATASETS = {
    "demo": {"image": "digits", "tabular": "breast_cancer"},
    "full": {"image": "mnist", "tabular": "california"},
}


def default_output(profile: str) -> Path:
    """Return where a profile's paper lies: the committed one, or the demo's in the build folder."""
    if profile == "full":
        return artifacts.ROOT / "paper" / "paper.pdf"
    return artifacts.generated_dir(profile).parent / "paper.pdf"


def compile_pdf(profile: str, root: Path = artifacts.ROOT) -> tuple[bytes, list[str]]:
    """Return the PDF of a profile and Typst's warnings; raise RuntimeError with what is wrong in the sources."""
    results = artifacts.generated_dir(profile)
    if not results.is_dir():
        command = {"full": "report"}.get(profile, profile)
        raise OSError(f"there are no results in {artifacts.label(results)}; make {command} computes them")
    if not results.is_relative_to(root):  # Typst reads nothing outside its root
        with tempfile.TemporaryDirectory(prefix="robexpl-paper-") as folder:
            shutil.copytree(root / "paper", Path(folder) / "paper", ignore=shutil.ignore_patterns("*.pdf"))
            shutil.copytree(results, Path(folder) / "results", ignore=shutil.ignore_patterns(".*"))
            return _compile(profile, Path(folder), "/results")
    return _compile(profile, root, f"/{results.relative_to(root).as_posix()}")


def _compile(profile: str, root: Path, results: str) -> tuple[bytes, list[str]]:
    import typst

    pdf, warnings = typst.compile_with_warnings(
        str(root / "paper" / "paper.typ"),
        root=str(root),
        format="pdf",
        ignore_system_fonts=True,
        timestamp=0,
        sys_inputs={"results": results, "profile": profile, **DATASETS[profile]},
    )
    return pdf, [str(warning.message) for warning in warnings]


def main(argv: list[str] | None = None) -> int:
    """Compile from the command line; return the exit code."""
    parser = Parser(prog="python -m robexpl.report.paper", description="Compile the paper.")
    parser.add_argument("--profile", choices=artifacts.PROFILES, default="full")
    parser.add_argument("--output", type=Path, metavar="PDF")
    arguments = parser.parse_args(argv)
    output = (arguments.output or default_output(arguments.profile)).absolute()
    try:
        pdf, warnings = compile_pdf(arguments.profile)
        before = output.read_bytes() if output.is_file() else b""
        artifacts.write_atomic(output, pdf)
    except (OSError, RuntimeError, shutil.Error) as error:
        lines = str(error).replace(f"{artifacts.ROOT}/", "").strip().splitlines()
        message = lines[0] if lines else type(error).__name__
        print(f"FAILED paper ({arguments.profile}): {message}", file=sys.stderr)
        return 1
    for warning in warnings:
        print(f"warning: paper: {warning}", file=sys.stderr)
    state = "current" if pdf == before else "written"
    print(f"paper  {artifacts.label(output)}  {len(pdf) // 1024} kB, {state}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
