"""What a notebook publishes: tables as CSV, figures as SVG, and sentences that stop it where they do not hold."""

import base64
import io
import math
import os
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import IPython.display
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from robexpl.files import write_atomic
from robexpl.pipeline import template
from robexpl.study import places, sizes

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
COLUMN = re.compile(r"[a-z][a-z0-9_]*")
ROWS = 12  # rows of a table that a notebook shows
DPI, ZOOM = 160, 1.25  # of figures in a notebook: dots per inch, size on the screen against the size in print


@dataclass(frozen=True)
class Page:
    """The page that a notebook writes: `<name>-<dataset>-<table>.csv`, `.svg`, without dataset where it has none.
    `study` says for what: `.profile`, `.dataset` (a name or None) and `.own` (whether the study has its own number of
    seeds). Files go where the runner says (ROBEXPL_STAGE), or by hand to build/scratch/<name>/.
    """

    name: str
    study: Any

    def __post_init__(self) -> None:
        _refuse_name("notebook", self.name)
        places.generated_dir(self.study.profile)
        if not os.environ.get("ROBEXPL_STAGE"):
            print(f"Run by hand: tables and figures go to {places.label(self.folder)}, nothing is published.")
            shell, file = IPython.get_ipython(), places.ROOT / "notebooks" / f"{self.name}.py"
            if shell and file.is_file():  # cells for other data, which the runner leaves out, do nothing
                values = {"profile": self.study.profile, "dataset": self.study.dataset}
                cells = [cell for cell in template.cells(template.read(file)) if template.left_out(cell.tags, values)]
                others = {cell.text.strip() for cell in cells}
                clean = shell.input_transformers_cleanup
                clean.append(lambda lines: [] if "".join(lines).strip() in others else lines)

    @property
    def folder(self) -> Path:
        """The folder that its files are written to."""
        return Path(os.environ.get("ROBEXPL_STAGE") or places.build_dir() / "scratch" / self.name)

    def path(self, name: str, suffix: str) -> Path:
        """Return the file of a table or figure."""
        _refuse_name("table or figure", name)
        return self.folder / ("-".join(filter(None, (self.name, sizes.slug(self.study.dataset), name))) + suffix)

    def table(self, frame: pd.DataFrame, name: str, *, show: bool = True) -> pd.DataFrame:
        """Write a tidy table as `to_csv` does and return it; show it, too, up to its first 12 rows."""
        path = write_atomic(self.path(name, ".csv"), to_csv(frame))
        if show:
            looks = {"index": False, "na_rep": "", "float_format": _short}
            rest = f"The first {ROWS} of {len(frame)} rows of {path.name}" if len(frame) > ROWS else ""
            html = frame.head(ROWS).to_html(border=0, **looks) + f"\n<p>{rest}</p>" * bool(rest)
            text = f"{frame.head(ROWS).to_string(**looks)}\n{rest}".rstrip()
            IPython.display.display({"text/html": html, "text/plain": text}, raw=True)
        return frame

    def figure(self, fig: Figure, name: str, *, alt: str) -> None:
        """Write a figure as SVG, show it, and close it; `alt` says in words what it shows."""
        if not isinstance(alt, str) or not alt.strip():
            raise ValueError(f"expected alt, a sentence that says what figure {name!r} shows, got {alt!r}")
        path, buffer = self.path(name, ".svg"), io.BytesIO()
        write_atomic(path, to_svg(fig, salt=path.stem, alt=alt))
        fig.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
        # HTML, not image/png: neither JupyterLab nor nbconvert's lab template gives an image/png output any alternative
        # text, whatever its metadata say; both prefer text/html, and read out the alt text of an <img> in it.
        png, width = base64.b64encode(buffer.getvalue()).decode(), round(fig.get_figwidth() * 96 * ZOOM)
        html = f'<img alt="{escape(alt)}" width="{width}" src="data:image/png;base64,{png}">'
        IPython.display.display({"text/html": html, "text/plain": f"[Figure: {alt}]"}, raw=True)
        pyplot.close(fig)

    def holds(self, sentence: str, condition: bool) -> None:
        """Show a sentence that is true in the full study; raise AssertionError with it where it is not.
        In the demo and with other numbers of seeds nothing is shown: other numbers may say something else.
        """
        if not isinstance(condition, (bool, np.bool_)):
            raise ValueError(f"expected a condition that is true or false, got {type(condition).__name__}: {sentence}")
        if self.study.profile == "full" and self.study.own:
            if not condition:
                raise AssertionError(f"no longer true: {sentence}")
            IPython.display.display(IPython.display.Markdown(sentence))


def _refuse_name(what: str, name: str) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"expected the name of a {what}, such as 'rq1', got {name!r}")


def to_csv(frame: pd.DataFrame) -> bytes:
    """Return a tidy frame as CSV: UTF-8, a header, rows as they stand; raise ValueError where it is not tidy.
    Floats have six significant digits; truth values are true and false; what is missing or infinite is empty.
    >>> to_csv(pd.DataFrame({"regime": ["weak"], "mean": [1 / 3], "n": [7], "own": [True]}))
    b'regime,mean,n,own\\nweak,0.333333,7,true\\n'
    """
    if any(name is not None for name in frame.index.names):
        raise ValueError(f"expected keys as columns, got them in the index {list(frame.index.names)}: reset_index()")
    names = list(frame.columns)
    if bad := [name for name in names if not isinstance(name, str) or not COLUMN.fullmatch(name)]:
        raise ValueError(f"expected columns with names such as n_seeds, got {bad[0]!r}")
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"expected columns, each once, got {', '.join(names) or 'none'}")
    written = pd.DataFrame({name: [_written(value, name) for value in frame[name]] for name in names})
    return written.to_csv(index=False, lineterminator="\n").encode()


def _written(value: Any, name: str) -> str:
    """Return a value of a column as text."""
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.6g}" if value else "0"  # no "-0"
    if isinstance(value, (bool, int, str)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise ValueError(f"expected numbers, words and truth values in column {name}, got {type(value).__name__}")


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"


def to_svg(fig: Figure, *, salt: str, alt: str) -> bytes:
    """Return a figure as SVG, the same bytes every time; its text stays text, `alt` is its title and description."""
    buffer, words = io.BytesIO(), escape(alt, quote=False)
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    lines = "\n".join(line.rstrip() for line in buffer.getvalue().decode().splitlines())
    start = re.search(r"<svg [^>]*>", lines).end()
    return f"{lines[:start]}\n <title>{words}</title>\n <desc>{words}</desc>{lines[start:]}\n".encode()
