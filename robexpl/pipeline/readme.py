"""Write README.md from its template paper/README.md.j2 and the stored tables of the full study."""

import json
import re
from collections.abc import Callable
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from robexpl import __version__
from robexpl.files import write_atomic
from robexpl.pipeline.commands import say
from robexpl.study import plan, sizes
from robexpl.study.places import ROOT, generated_dir, label


def read(name: str) -> pd.DataFrame:
    """Return a table of the full study, such as "rq1-mnist-means"; what is empty there is None."""
    path = generated_dir("full") / f"{name}.csv"
    if not path.is_file():
        raise ValueError(f"expected a table at {label(path)}, found none; make report writes it")
    return pd.read_csv(path).astype(object).pipe(lambda frame: frame.where(frame.notna(), None))


def render(tables: Callable[[str], pd.DataFrame] = read) -> str:
    """Return the README; raise ValueError with the sentence where one is no longer true of the tables."""

    def rows(table: str, number: int = 0, **keys: Any) -> list[dict[str, Any]]:
        frame = tables(table)
        for key, value in keys.items():
            frame = frame[frame[key] == value]
        if frame.empty or number not in (0, len(frame)):
            raise ValueError(f"expected {number or 'some'} rows of {table} with {keys}, got {len(frame)}")
        return frame.to_dict("records")

    def holds(condition: bool, caller: Callable[[], str]) -> str:
        if not condition:
            raise ValueError(f"no longer true in README.md: {' '.join(caller().split())}")
        return f"{caller().strip()}\n"

    def title(notebook: str) -> str:
        text = (ROOT / "notebooks" / f"{notebook}.py").read_text(encoding="utf-8")
        return re.search(r"^# # (.+)$", text, flags=re.MULTILINE)[1]

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    env = Environment(loader=FileSystemLoader(ROOT / "paper"), undefined=StrictUndefined, keep_trailing_newline=True)
    env.trim_blocks = env.lstrip_blocks = True
    env.filters["fixed"] = lambda value, digits=3: f"{value:.{digits}f}".replace("-", "\u2212")
    env.filters["interval"] = lambda row: "{mean:+.3f} [{low:.3f}, {high:.3f}]".format(**row).replace("-", "\u2212")
    env.filters["times"] = lambda value: f"{value:.1f}" if value < 10 else f"{value:,.0f}"
    env.globals |= {
        "rows": rows, "one": lambda table, **keys: rows(table, 1, **keys)[0], "holds": holds, "title": title,
        "sides": lambda table, **keys: sorted({row["side"] for row in rows(table, **keys)}),
        "version": __version__,
        "primary": sizes.primary().name, "conditions": sizes.conditions(), "exists": lambda at: (ROOT / at).exists(),
        "notebooks": [(entry.name, dataset) for entry, dataset in plan.templates("full")],
        "commands": dict(re.findall(r"^([a-z-]+):.*?  ## (.+)$", makefile, flags=re.MULTILINE)),
        "trust": json.loads((ROOT / "paper" / "trust.json").read_text(encoding="utf-8"))["tried"],
    }  # fmt: skip
    try:
        return env.get_template("README.md.j2").render()
    except (KeyError, TypeError, TemplateError) as error:
        raise ValueError(f"paper/README.md.j2 does not fit the tables: {type(error).__name__} {error}") from None


def main() -> None:
    """Write README.md anew where something has changed."""
    write_atomic(ROOT / "README.md", render().encode())
    say("readme README.md")
