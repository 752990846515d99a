"""A key moves when a definition changes that a result uses, and for nothing else."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from robexpl import seeds
from robexpl.study import _essence, places, provenance, sizes, stages
from robexpl.study.factuals import Draw
from robexpl.study.networks import network

# A package with everything that has to be followed: {file: text}
PACKAGE = {
    "__init__.py": """
        '''A package.'''
        from packed.tools import scale
        VERSION = "1"

        def __getattr__(name):
            import importlib
            if name == "late":
                return importlib.import_module("packed.deep.late")
            raise AttributeError(name)
    """,
    "checks.py": """
        def box(low, high):
            if low > high:
                raise ValueError(f"expected low <= high, got {low}")
            return low * 1.0, high

        def refuse_nan(x):
            if x != x:
                raise ValueError("nan")
    """,
    "tools.py": """
        import math
        from math import sqrt

        WINDOW = 7  # pixels
        TABLE = {"a": 1}
        TABLE["b"] = 2
        TABLE.update(c=3)
        UNUSED = 1
        COLOUR = "#fff"
        if math.pi > 3:
            BRANCH = 10
        else:
            BRANCH = 20
        try:
            import fast
        except ImportError:
            fast = None
        print

        def scale(x, factor=2, *, power=3):
            '''Scale (Author, 1999).'''
            return _inner(x) * factor ** power

        def _inner(x):
            def nested(y):
                return y * WINDOW + sqrt(4)
            return nested(x)

        def unused(x):
            return UNUSED

        def looked(x):
            return TABLE[x] + BRANCH + bool(fast)

        def counted():
            global COUNT
            COUNT = 1

        COUNT = 0
    """,
    "deep/__init__.py": """
        from packed.deep.one import one
        from packed.deep.two import two
        from packed.deep import _hidden
    """,
    "deep/_hidden.py": """
        HIDDEN = 5
    """,
    "deep/one.py": """
        from .. import checks
        from ..tools import WINDOW as wide

        def one(x, bounds):
            checks.refuse_nan(x)
            low, high = checks.box(*bounds)
            return min(max(x, low), high) + wide
    """,
    "deep/two.py": """
        def two(x):
            return x + 2
    """,
    "deep/late.py": """
        LATE = 11
        OTHER = 12
    """,
    "model.py": """
        from __future__ import annotations
        from dataclasses import dataclass
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from packed.deep.two import two

        def plus(f):
            return lambda *a: f(*a) + 1

        class Base:
            def size(self):
                return 3

        class Model(Base):
            rate: float = 0.5
            note: two = 1

            def forward(self, x):
                return self.helper(x)

            def helper(self, x):
                return x * 13
    """,
    "stages.py": """
        from packed import deep, late, scale
        from packed.deep import _hidden
        from packed.model import Model, plus
        import packed.tools
        import packed.tools as tools

        def stage(x, unlike=None):
            from packed.deep.two import two as renamed
            checks = 5
            message = sum(two for two in [checks])
            return deep.one(scale(x), (0, 1)) + renamed(x) + _hidden.HIDDEN

        def through_attributes(x):
            return packed.tools.looked(x) + late.LATE

        @plus
        def decorated(x):
            return x

        def with_class(x):
            model = Model()
            return model.forward(x)

        def whole(x):
            return getattr(tools, x)

        def missing(x):
            return tools.nothing(x)

        FUNCTION = lambda x: x
    """,
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "packed"
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield folder
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "packed"]:
        del sys.modules[name]
    importlib.invalidate_caches()


def function(name: str) -> Callable:
    forget()
    return getattr(importlib.import_module("packed.stages"), name)


def moved(package: Path, name: str, file: str, old: str, new: str) -> bool:
    before = provenance.digest([function(name)])
    assert before == provenance.digest([function(name)])
    path = package / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return provenance.digest([function(name)]) != before


@pytest.mark.parametrize(
    ("name", "file", "old", "new"),
    [
        ("stage", "stages.py", "checks = 5", "checks = 6"),
        ("stage", "checks.py", "low * 1.0", "low * 2.0"),  # what a check returns
        ("stage", "checks.py", "low > high", "low >= high"),
        ("stage", "tools.py", "WINDOW = 7", "WINDOW = 8"),  # a constant used by a helper, and under another name
        ("stage", "tools.py", "factor=2", "factor=3"),  # a default
        ("stage", "tools.py", "power=3", "power=4"),
        ("stage", "tools.py", "y * WINDOW", "y + WINDOW"),
        ("stage", "tools.py", "from math import sqrt", "from cmath import sqrt"),  # another function of the same name
        ("stage", "__init__.py", "from packed.tools import scale", "from packed.tools import unused as scale"),
        ("stage", "deep/__init__.py", "from packed.deep.one import one", "from packed.deep.two import two as one"),
        ("stage", "deep/two.py", "x + 2", "x + 3"),  # imported within the function
        ("stage", "deep/_hidden.py", "HIDDEN = 5", "HIDDEN = 6"),  # a module that its own package imports
        ("through_attributes", "tools.py", 'TABLE = {"a": 1}', 'TABLE = {"a": 2}'),
        ("through_attributes", "tools.py", 'TABLE["b"] = 2', 'TABLE["b"] = 3'),
        ("through_attributes", "tools.py", "c=3", "c=4"),
        ("through_attributes", "tools.py", "BRANCH = 10", "BRANCH = 11"),
        ("through_attributes", "tools.py", "fast = None", "fast = 1"),
        ("through_attributes", "deep/late.py", "LATE = 11", "LATE = 12"),  # given by the package's __getattr__
        ("decorated", "model.py", "f(*a) + 1", "f(*a) + 2"),
        ("decorated", "stages.py", "@plus\n", ""),
        ("with_class", "model.py", "x * 13", "x * 14"),
        ("with_class", "model.py", "rate: float = 0.5", "rate: float = 0.6"),
        ("with_class", "model.py", "return 3", "return 4"),  # a method of the base class
        ("whole", "tools.py", "UNUSED = 1", "UNUSED = 2"),  # what is looked up by a string may be anything
    ],
)
def test_what_a_result_uses_moves_its_key(package: Path, name: str, file: str, old: str, new: str) -> None:
    assert moved(package, name, file, old, new)


@pytest.mark.parametrize(
    ("name", "file", "old", "new"),
    [
        ("stage", "tools.py", "UNUSED = 1", "UNUSED = 2"),
        ("stage", "tools.py", 'COLOUR = "#fff"', 'COLOUR = "#000"'),
        ("stage", "tools.py", "BRANCH = 10", "BRANCH = 11"),
        ("stage", "tools.py", "def unused(x):", "def added(x):\n    return 1\n\ndef unused(x):"),
        ("stage", "tools.py", "(Author, 1999)", "(Author, 2000)"),
        ("stage", "tools.py", "# pixels", "# in pixels"),
        ("stage", "tools.py", "print\n", "print()\n"),
        ("stage", "checks.py", "expected low <= high", "wanted low <= high"),
        ("stage", "checks.py", 'raise ValueError("nan")', 'raise TypeError(\n            "other"\n        )'),
        ("stage", "checks.py", "if x != x", "if not x == x"),  # how it refuses
        ("stage", "deep/one.py", "    checks.refuse_nan(x)\n", ""),
        ("stage", "deep/late.py", "LATE = 11", "LATE = 12"),
        ("stage", "model.py", "x * 13", "x * 14"),
        ("stage", "__init__.py", 'VERSION = "1"', 'VERSION = "2"'),
        ("stage", "__init__.py", "A package.", "The package."),
        ("stage", "deep/__init__.py", "from packed.deep.two import two", "from packed.deep.two import two as three"),
        ("stage", "stages.py", "getattr(tools, x)", "getattr(tools, x + 'a')"),
        ("through_attributes", "deep/late.py", "OTHER = 12", "OTHER = 13"),
        ("with_class", "deep/two.py", "x + 2", "x + 3"),  # for type checkers only
    ],
)
def test_what_a_result_does_not_use_leaves_its_key(package: Path, name: str, file: str, old: str, new: str) -> None:
    assert not moved(package, name, file, old, new)


def test_a_new_file_leaves_every_key(package: Path) -> None:
    before = provenance.digest([function("stage")])
    (package / "deep" / "three.py").write_text("def three(x):\n    return x\n")
    assert provenance.digest([function("stage")]) == before


def test_the_digest_is_that_of_the_code_in_memory(package: Path) -> None:
    stage = function("stage")
    before = provenance.digest([stage])
    path = package / "deep" / "two.py"
    path.write_text(path.read_text().replace("x + 2", "x + 3"))
    assert provenance.digest([stage]) == before  # the module in memory still adds 2
    importlib.reload(sys.modules["packed.deep.two"])
    assert provenance.digest([stage]) != before


def test_the_order_and_the_wrapping_of_functions_do_not_count(package: Path) -> None:
    a, b = function("stage"), sys.modules["packed.stages"].with_class
    assert provenance.digest([a, b]) == provenance.digest([b, a, b])
    assert provenance.digest([partial(a, 1)]) == provenance.digest([a])
    model = sys.modules["packed.model"].Model
    assert provenance.digest([model.forward]) == provenance.digest([model]) != provenance.digest([a])


def test_what_cannot_be_followed_is_one_line(package: Path) -> None:
    with pytest.raises(ValueError, match=r"^expected a function or class from a file, got 'len' of builtins$"):
        provenance.digest([len])
    with pytest.raises(ValueError, match=r"^expected a named function or class, got '<lambda>' of packed.stages$"):
        provenance.digest([function("FUNCTION")])
    with pytest.raises(ValueError, match=r"^cannot tell what a result rests on: packed.tools has no nothing$"):
        provenance.digest([function("missing")])
    (package / "starred.py").write_text("from packed.tools import *\n\ndef f(x):\n    return scale(x)\n")
    with pytest.raises(
        ValueError, match=r"^cannot tell what a result rests on: packed.starred imports \* from packed.t"
    ):
        provenance.digest([importlib.import_module("packed.starred").f])


def test_modules_that_import_each_other_are_followed_once(package: Path) -> None:
    (package / "left.py").write_text("import packed.right as other\n\ndef f(x):\n    return getattr(other, x)\n")
    (package / "right.py").write_text("import packed.left as other\n\ndef g(x):\n    return getattr(other, x)\n")
    found = provenance.reached([importlib.import_module("packed.left").f])
    assert found == ["packed.left.f", "packed.right.g"]


def test_robexpl_is_followed_from_outside_and_neutral_modules_are_not() -> None:
    found = provenance.reached([helper])
    assert not [name for name in found if name.startswith("robexpl.progress")]
    assert [name for name in found if not name.startswith("robexpl.checks.")] == [
        "robexpl.seeds._sequence",
        "robexpl.seeds.numpy_generator",
        f"{__name__}.helper",
    ]


def helper() -> object:
    from robexpl import progress

    progress.warn("nothing")
    return seeds.numpy_generator(0)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (
            '"""Doc."""\n\n\ndef f(x):  # why\n    """Doc."""\n    # more\n    return """a\n\n  # b"""\n',
            'def f(x):\n    return """a\n\n  # b"""',
        ),
        ("x = f'''a\n\n {1}  \n'''  # b", "x = f'''a\n\n {1}  \n'''"),
        ("x = (\n    'a'  # one\n    'b'  # two\n)", "x = (\n    'a'\n    'b'\n)"),
        ("if x: raise ValueError('é') from None  # why", "if x: raise"),
        ("raise ValueError(\n  '''a\n\n  b'''\n)\ny = 1", "raise\ny = 1"),
        ("checks.refuse_nan(\n  x=x\n)\ny = refuse_this(x)", "y = refuse_this(x)"),
        ("refuse_nan(x); y = 2", "refuse_nan(x); y = 2"),
        ("'words'; y = 2", "'words'; y = 2"),
        ("def f(x):\n    line = f'of {x}'\n    if x: raise ValueError(line)", "def f(x):\n    if x: raise"),
        ("def f(x):\n    line = 'a'\n    refuse(line)", "def f(x):\n    line = 'a'\n    refuse(line)"),
        ("def f(x):\n    y = 'a'\n    c.refuse_x(y)\n    return y", "def f(x):\n    y = 'a'\n    return y"),
        ("def f(x):\n    line = g()\n    c.refuse_x(line)", "def f(x):\n    line = g()"),
        ("class A:\n    x: int = 1\n    'what x is'\n\n", "class A:\n    x: int = 1"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_essence_of_code_leaves_out_words_and_keeps_strings(text: str, left: str) -> None:
    kept = [line for line in _essence.lines(text) if line is not None]
    rows = [line for line in kept if line or '"""' in text or "'''" in text]
    assert "\n".join(rows) == left


# The real package: which stages a change of its text moves.

CONDITION = sizes.condition("as_run")


def entries(dataset: str = "digits", regime: str = "weak") -> dict[str, str]:
    """Return the keys of one entry of every stage."""
    study = sizes.load("demo", dataset)
    subject = network(study, regime, 0, CONDITION)
    found = stages.Search(subject, "decision_threshold", study.search("as_run"), Draw(1, 5))
    return {
        "train": stages.train.key(subject),
        "fgsm": stages.attack.key(stages.Attacked(subject, sizes.evaluation()["fgsm"])),
        "pgd": stages.attack.key(stages.Attacked(subject, sizes.evaluation()["pgd_early_stop"])),
        "search": stages.search.key(found),
        "score": stages.score.key(found, stages.Measure(study.distance, 20)),
    }


def changed(monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, dataset: str = "digits") -> set[str]:
    """Return the stages whose keys a change of one file's text moves."""
    before, read, place = entries(dataset), Path.read_text, places.ROOT / "robexpl" / file
    assert old in place.read_text(encoding="utf-8")

    def edited(path: Path, *args: str, **kwargs: str) -> str:
        text = read(path, *args, **kwargs)
        return text.replace(old, new, 1) if path == place else text

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", edited)
        patch.setattr(provenance, "_SOURCES", {})
        patch.setattr(provenance, "_DIGESTS", {})
        after = entries(dataset)
    return {stage for stage in before if before[stage] != after[stage]}


ALL = {"train", "fgsm", "pgd", "search", "score"}


@pytest.mark.parametrize(
    ("file", "old", "new", "moved"),
    [
        (
            "checks.py",
            "high.clamp(-largest, largest)",
            "high.clamp(-largest, largest) + 1",
            ALL,
        ),  # what the check of the box returns
        ("regimes.py", "Adversary(0.05,", "Adversary(0.06,", ALL),
        ("training.py", "learning_rate: float = 1e-3", "learning_rate: float = 1e-2", ALL),  # a default
        ("training.py", "scale=2.0", "scale=1.0", ALL),
        ("gradients.py", "SMALL = ", "SMALL = 1 + ", ALL),  # a constant used by a helper of another module
        ("seeds.py", "np.uint64(1)", "np.uint64(2)", ALL),
        ("data/digits.py", "test_size=0.2", "test_size=0.25", ALL),
        ("models/mlp.py", "HIDDEN = ", "HIDDEN = 1, ", ALL),
        ("study/networks.py", "return model.eval()", "return model", ALL),  # a method of an argument's class
        ("attacks/fgsm.py", "eps, box) for", "2 * eps, box) for", {"fgsm"}),
        ("attacks/pgd.py", "torch.cat(taken)", "1 + torch.cat(taken)", {"pgd"}),
        ("attacks/__init__.py", 'settings.get("steps", 1)', 'settings.get("steps", 2)', {"fgsm", "pgd"}),
        ("generators/ecco.py", "tolerance: float = 0.01", "tolerance: float = 0.02", {"search", "score"}),
        ("study/factuals.py", '"factuals", run', '"factual", run', {"search", "score"}),
        ("metrics/ssim.py", "RADIUS = 5", "RADIUS = 6", {"score"}),
        ("metrics/ssim.py", "SIGMA = 1.5", "SIGMA = 1.6", {"score"}),
        ("metrics/ssim.py", "(1 - scores(x, bank)) / 2", "1 - scores(x, bank)", {"score"}),
    ],
)
def test_a_change_of_the_package_moves_what_rests_on_it(
    file: str, old: str, new: str, moved: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert changed(monkeypatch, file, old, new) == moved


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("attacks/fgsm.py", "def fgsm", "def unused(x):\n    return x + 1\n\n\ndef fgsm"),
        ("attacks/fgsm.py", "[Goodfellow 2015]", "[Goodfellow 2014]"),  # a citation's year
        ("attacks/pgd.py", "expected early_stop to be", "wanted early_stop to be"),
        ("attacks/__init__.py", '"random_signs", ', ""),
        ("attacks/random_signs.py", "torch.randint(2", "torch.randint(3"),
        ("checks.py", "expected low <= high in bounds", "wanted low <= high in bounds"),
        ("data/california.py", "def load", "def unused():\n    pass\n\n\ndef load"),
        ("data/digits.py", "scikit-learn's 1,797", "the 1,797"),
        ("generators/ecco.py", "expected threshold between", "wanted threshold between"),
        ("generators/ecco.py", "# ", "# that is, "),
        ("metrics/ssim.py", 'TITLE, KINDS = "SSIM"', 'TITLE, KINDS = "Similarity"'),
        ("metrics/euclidean.py", "TITLE", "def unused():\n    pass\n\n\nTITLE"),
        ("metrics/ssim.py", "expected image_shape (", "wanted image_shape ("),
        ("regimes.py", '"standard": "Standard"', '"standard": "Ordinary"'),
        ("study/sizes.py", "def whole", "def unused():\n    pass\n\n\ndef whole"),
        ("study/places.py", "def build_dir", "def unused():\n    pass\n\n\ndef build_dir"),
        ("training.py", "expected a finite training loss", "wanted a finite training loss"),
        ("pipeline/style.py", '"#56B4E9"', '"#56B4EA"'),
    ],
)
def test_a_change_that_no_result_uses_moves_nothing(
    file: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert changed(monkeypatch, file, old, new) == set()


@pytest.mark.parametrize(("old", "new"), [("ddof=1", "ddof=0"), ("round(0.8 * len(rows))", "round(0.7 * len(rows))")])
def test_the_sampling_of_a_table_moves_tables_only(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed(monkeypatch, "data/_tables.py", old, new, "breast_cancer") == ALL
    assert changed(monkeypatch, "data/_tables.py", old, new, "digits") == set()


def test_new_files_of_every_kind_move_nothing(tmp_path: Path) -> None:
    shutil.copytree(places.ROOT / "robexpl", tmp_path / "robexpl", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(places.ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__", "*.ipynb"))
    code = "import json, test_provenance; print(json.dumps(test_provenance.entries()))"

    for folder in ("data", "attacks", "models", "generators", "metrics", "study"):
        (tmp_path / "robexpl" / folder / "brand_new.py").write_text("def brand_new(x):\n    return x\n")
    place = tmp_path / "robexpl" / "attacks" / "fgsm.py"  # one change that counts: it is the copy that is read
    place.write_text(place.read_text().replace("eps, box) for", "2 * eps, box) for"))
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{tmp_path / 'tests'}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, known = json.loads(done.stdout), json.loads(json.dumps(entries()))
    assert {stage for stage in found.keys() | known.keys() if found.get(stage) != known.get(stage)} == {"fgsm"}
