"""The site: front page, notebooks, paper, library and explorer as static pages that ask no other host for anything.

Everything is made from what the repository holds; nothing is computed for it but what the explorer says of itself.
"""

import base64
import itertools
import re
import shutil
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import latex2mathml.converter
import nbformat
import pdoc
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

import robexpl
from robexpl import files
from robexpl.pipeline import explorer, report
from robexpl.pipeline.commands import say
from robexpl.study import places

SOURCE = places.ROOT / "paper" / "site"
SCRIPTS = ("network", "ecco", "attack", "implausibility", "closest", "canvas", "state", "digits", "houses", "main")
PAGES = (
    ("index.html", "robexpl"), ("explorer.html", "Explorer"), ("notebooks.html", "Notebooks"), ("paper.pdf", "Paper"),
    ("api/robexpl.html", "Library"),
)  # fmt: skip
SECTIONS = ("What became of the claims", "Conditions", "Limits", "Citing")  # of README.md, on the front page
FIGURES = ("rq1-mnist-pair", "rq1-mnist-implausibility")  # beside it, those that there are
LARGEST = {"explorer.html": 900_000}  # bytes of a page; others at most PAGE
PAGE = 400_000
FROM_ROOT = re.compile(r"^(?:\.\./)*(?=(?:notebooks|paper|robexpl)/|[A-Z]+(?:\.\w+)?$)")


class Renderer(IPythonRenderer):
    """Markdown to HTML, with formulas as MathML and headings that can be linked to as in README.md."""

    def block_math(self, body: str) -> str:
        """Render a displayed formula."""
        formula = latex2mathml.converter.convert(" ".join(body.split()), display="block")
        return f'<div class="wide" tabindex="0">{formula}</div>\n'

    def inline_math(self, body: str) -> str:
        """Render a formula within a line."""
        return latex2mathml.converter.convert(body)

    def latex_environment(self, name: str, body: str) -> str:
        """Render an environment such as align."""
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        """Render a heading."""
        name = re.sub(r"[^a-z0-9]+", "-", re.sub(r"<[^>]*>", "", text).lower()).strip("-")
        return f'<h{level} id="{name}">{text}</h{level}>\n'


def markdown(text: str) -> str:
    """Return the HTML of Markdown text."""
    return MarkdownWithMath(renderer=Renderer(escape=False)).render(text)


def reachable(html: str) -> str:
    """Make tables and code reachable by keyboard where they are wider than a page, and drop what pandas adds."""
    html = re.sub(r"<style scoped>.*?</style>", "", html, flags=re.DOTALL)
    html = re.sub(r"<pre(?![^>]*tabindex)", '<pre tabindex="0"', html)
    number = itertools.count(1)
    frame = '<div class="wide" tabindex="0" role="region" aria-label="Table {}"><table>'
    html = re.sub(r"<table[^>]*>", lambda _: frame.format(next(number)), html)
    return html.replace("</table>", "</table></div>").replace("<th></th>", "<td></td>")


class Site:
    """The pages of a site by their names; `write` puts them into a folder."""

    def __init__(self) -> None:
        env = Environment(loader=FileSystemLoader(SOURCE), undefined=StrictUndefined, trim_blocks=True)
        env.lstrip_blocks = True
        env.globals |= {"pages": PAGES, "version": robexpl.__version__}
        self.env, self.exporter = env, HTMLExporter(template_name="basic", filters={"markdown2html": markdown})
        self.exporter.exclude_input_prompt = self.exporter.exclude_output_prompt = True
        self.made: dict[str, bytes] = {}
        self.titles: dict[str, str] = {}

    def page(self, name: str, template: str, title: str, here: str = "", **values: Any) -> None:
        """Add a page made of a template."""
        root = "../" * name.count("/")
        text = self.env.get_template(template).render(
            title=title, root=root, here=here or name, **{"body": "", "kind": template.partition(".")[0], **values}
        )
        self.add(name, text.encode())

    def add(self, name: str, content: bytes) -> str:
        """Add a file; refuse a page that is too large."""
        most = LARGEST.get(name, PAGE)
        if name.endswith(".html") and len(content) > most:
            raise ValueError(f"expected {name} of at most {most:,} bytes, got {len(content):,}")
        self.made[name] = content
        return name

    def linked(self, html: str, root: str, folder: Path = Path()) -> str:
        """Lead links to files of the repository to what the site has of them, and copy what it does not have.
        Links are from the repository's root, or from the folder of the text.
        """

        def target(found: re.Match) -> str:
            attribute, link = found.groups()
            if re.match(r"[a-z]+:|#", link):
                return found[0]
            link, mark, place = FROM_ROOT.sub("", link).partition("#")
            link = link if (places.ROOT / link).exists() else (folder / link).as_posix()
            notebook = re.fullmatch(r"notebooks/([\w-]+)\.ipynb", link)
            if notebook:
                name = f"notebooks/{notebook[1]}.html"
            elif link == "paper/paper.pdf":
                name = "paper.pdf"
            elif link.endswith(".md"):
                name = f"{Path(link).stem.lower()}.html"
                if name not in self.made:
                    self.made[name] = b""  # begun: pages may lead to each other
                    body = self.linked(reachable(markdown(read(link))), "", Path(link).parent)
                    self.page(name, "text.html.j2", Path(link).stem, body=body)
            else:
                file = places.ROOT / link
                kind = "figures" if file.suffix in (".svg", ".png") else "files"
                name = self.add(f"{kind}/{file.name}{'' if file.suffix else '.txt'}", file.read_bytes())
            return f'{attribute}="{root}{name}{mark}{place}"'

        return re.sub(r'\b(href|src)="([^"]*)"', target, html)


def docstring(text: str) -> str:
    """Return a docstring as HTML: prose in paragraphs, what is laid out or typed at a prompt as it stands."""
    parts: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        typed = line.startswith((">>>", "...")) or bool(parts and parts[-1][0] == "typed" and line)
        kind = "typed" if typed else "laid out" if re.search(r"\S {2,}\S|^ +", line) else "prose" if line else ""
        if not parts or parts[-1][0] != kind:
            parts.append((kind, []))
        parts[-1][1].append(escape(line, quote=False))
    html = []
    for kind, lines in parts:
        if kind == "prose":
            html.append("<p>" + re.sub("`([^`]+)`", r"<code>\1</code>", " ".join(lines)) + "</p>")
        elif kind:
            html.append('<pre tabindex="0">' + "\n".join(lines) + "</pre>")
    return "\n".join(html)


def read(name: str) -> str:
    """Return a text file of the repository."""
    return (places.ROOT / name).read_text(encoding="utf-8")


def front(site: Site) -> None:
    """Add the front page: the answer and sections of README.md, which is made of the stored tables."""
    text = read("README.md")
    top = text.partition("\n# robexpl\n")[2].partition("\n## ")[0]
    parts = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    rest = "\n".join(f"## {name}\n{parts[name]}" for name in SECTIONS)
    sections = {name: site.linked(reachable(markdown(part)), "") for name, part in (("top", top), ("rest", rest))}
    figures, folder = [], places.generated_dir("full")
    for path in (folder / f"{name}.svg" for name in FIGURES):
        if path.is_file():
            title = re.search(r"<title>(.*?)</title>", content := path.read_text(encoding="utf-8"), flags=re.DOTALL)
            if title:  # says in words what the figure shows
                site.add(f"figures/{path.name}", content.encode())
                figures.append({"file": path.name, "alt": title[1]})
    site.page(
        "index.html", "index.html.j2", "Are robust networks more explainable?", sections=sections, figures=figures
    )
    listed = site.linked(reachable(markdown(parts["Notebooks"])), "")
    site.page("notebooks.html", "notebooks.html.j2", "Notebooks", body=listed)
    site.add("paper.pdf", (places.ROOT / "paper" / "paper.pdf").read_bytes())
    site.add("style.css", (SOURCE / "style.css").read_bytes())


def notebook(site: Site, path: Path) -> None:
    """Add a page with an executed notebook, its pictures as files of their own."""
    content = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    html, _ = site.exporter.from_notebook_node(content)
    html, count = site.linked(reachable(html), "../", Path("notebooks")), 0

    def picture(found: re.Match) -> str:
        nonlocal count
        count += 1
        name = f"notebooks/{path.stem}-{count}.png"
        return f'src="{site.add(name, base64.b64decode(found[1])).partition("/")[2]}"'

    html = re.sub(r'src="data:image/png;base64,([^"]*)"', picture, html)
    html = re.sub(
        r'alt="No description has been provided for this image"', 'alt="A figure, described in the text"', html
    )
    title = re.search(r"<h1[^>]*>(.*?)</h1>", html, flags=re.DOTALL)
    words = re.sub(r"<[^>]*>", "", title[1]) if title else path.stem
    title = f"{words} ({path.stem})"
    site.page(f"notebooks/{path.stem}.html", "text.html.j2", title, "notebooks.html", kind="notebook", body=html)


def library(site: Site, folder: Path) -> None:
    """Add the pages of the library, which pdoc makes of its docstrings."""
    pdoc.render.configure(template_directory=SOURCE / "api", show_source=False, search=False)
    pdoc.render.env.globals["pages"] = PAGES
    pdoc.render.env.filters["as_written"] = docstring
    pdoc.pdoc("robexpl", "!robexpl.study", "!robexpl.pipeline", output_directory=folder)
    for path in sorted(folder.rglob("*.html")):
        name = path.relative_to(folder).as_posix()
        if name != "index.html":  # it only leads to the first page
            site.add(f"api/{name}", path.read_bytes())


def explore(site: Site) -> None:
    """Add the explorer, which holds all that it needs."""
    about, arrays = explorer.contents()
    scripts = [(SOURCE / "explorer" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    values = {"css": (SOURCE / "style.css").read_text(encoding="utf-8"), "scripts": scripts, "arrays": arrays, **about}
    site.page("explorer.html", "explorer.html.j2", "Explorer", about=explorer.as_json(about), **values)


def build(folder: Path, parts: tuple[Callable[[Site], None], ...] = (explore, front)) -> None:
    """Write the site into a folder, in place of what is there."""
    site = Site()
    for part in parts:
        part(site)
    for path in map(report.target("full").out, report.chosen("full")):
        if path.is_file():  # the README says which notebooks were not run yet
            notebook(site, path)
    shutil.rmtree(folder, ignore_errors=True)
    library(site, files.make_folder(folder))
    shutil.rmtree(folder)
    for name, content in sorted(site.made.items()):
        files.write_atomic(folder / name, content)
    say(f"site   {places.label(folder)}  {len(site.made)} files, {sum(map(len, site.made.values())) // 1024} kB")
