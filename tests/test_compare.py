"""Words, labels and integers are compared exactly, other numbers within a tolerance, pictures by kind and size."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import compare
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from robexpl.pipeline import publish


@pytest.mark.parametrize(
    ("stored", "computed", "tolerance", "expected"),
    [
        ("accuracy 0.85", "accuracy 0.86", 0.0, False),
        ("accuracy 0.85", "accuracy 0.86", 0.02, True),
        ("accuracy 0.85.", "accuracy 0.86.", 0.02, True),
        ("accuracy 0.85", "accuracy 0.89", 0.02, False),
        ("accuracy 0.85", "error 0.85", 1.0, False),
        ("n = 3", "n = 4", 0.02, False),
        ("143 steps", "145 steps", 0.02, True),
        ("143 steps", "147 steps", 0.02, False),
        ("45 %", "46 %", 0.02, True),
        ("45%", "48%", 0.02, False),
        ("mnist2 v1.2.3", "mnist3 v1.2.3", 5.0, False),
        ("0.3333333", "0.33333331", 0.0, True),
        ("1e-3  x", "1.1e-3 x", 0.001, True),
        ("-0.01", "0.01", 0.021, True),
        ("<object at 0x7f00aa11>", "<object at 0x7f00bb22>", 0.0, True),
        ("value   10.0", "value 9.99", 0.02, True),
        ("nan", "0.5", 1.0, False),
    ],
)
def test_texts(stored: str, computed: str, tolerance: float, expected: bool) -> None:
    assert compare.same_text(stored, computed, tolerance) == expected


def png(width: int, level: int = 100) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.full((100, width), level, dtype=np.uint8)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def shows(**data: str) -> list[dict]:
    return [{"output_type": "display_data", "data": {kind.replace("_", "/"): text for kind, text in data.items()}}]


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda width, level: shows(image_png=png(width, level)), "pictures"),
        (
            lambda width, level: shows(text_html=f'<img alt="a" src="data:image/png;base64,{png(width, level)}">'),
            "pictures",
        ),
    ],
)
def test_of_pictures_only_kind_and_size_count(make: object, word: str) -> None:
    assert compare.output_differences(make(100, 100), make(100, 200)) == []
    assert compare.output_differences(make(100, 100), make(104, 100)) == []
    assert compare.output_differences(make(100, 100), make(150, 100)) == [
        "expected pictures of [(100, 100)], got [(150, 100)]"
    ]
    assert compare.output_differences(make(100, 100), shows(image_svg="<svg/>"))
    assert compare.output_differences(shows(text_html='<img alt="a">'), shows(text_html='<img alt="b">'))
    assert compare.output_differences(shows(text_html='<img alt="a">'), shows(text_html="a"))


def frame(**changes: list) -> list[dict]:
    columns = {"regime": ["weak", "strong"], "n": [3, 3], "mean": [0.5, 0.25]} | changes
    html = pd.DataFrame(columns).set_index("regime").to_html()
    return shows(text_html=html, text_plain="beside it")


def test_labels_of_tables_are_compared_exactly_and_their_numbers_within_the_tolerance() -> None:
    assert compare.output_differences(frame(), frame(mean=[0.58, 0.24])) == []
    assert compare.output_differences(frame(), frame(mean=[0.68, 0.24]))
    assert compare.output_differences(frame(), frame(mean=[0.68, 0.24]), ["tol-0.5"]) == []
    assert compare.output_differences(frame(), frame(n=[9, 9]), ["loose"]) == []
    assert compare.output_differences(frame(), frame(mean=[0.51, 0.24]), ["tol-0.001"])
    assert compare.output_differences(frame(), frame(n=[3, 4]))
    for changes in ({"regime": ["weak", "medium"]}, {"sd": [0.5, 0.5]}):
        (line,) = compare.output_differences(frame(), frame(**changes))[:1]
        assert line.startswith("expected rows and columns ")


def test_row_labels_that_are_numbers_are_exact() -> None:
    tables = [shows(text_html=pd.DataFrame({"mean": [0.5]}, index=[k]).to_html()) for k in (1000, 1001)]
    assert compare.output_differences(*tables)


def test_streams_are_compared_whole_and_a_missing_output_is_named() -> None:
    parts = [{"output_type": "stream", "name": "stdout", "text": text} for text in ("a\n", "b\n")]
    whole = [{"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]}]
    assert compare.output_differences(parts, whole) == []
    assert compare.output_differences(parts, []) == ["expected outputs ['stdout'], got []"]


STORED = {"regime": ["weak"], "n": [3], "mean": [0.5], "low": [0.4], "high": [0.6], "p": [0.05], "reached": [0.9]}


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, ""),
        ({"mean": [0.524], "low": [0.424], "high": [0.576]}, ""),  # a quarter of the half-width, 0.025
        ({"mean": [0.53]}, "line 2, mean: 0.5 -> 0.53"),
        ({"high": [0.63]}, "line 2, high: 0.6 -> 0.63"),
        ({"p": [0.0501]}, "line 2, p: 0.05 -> 0.0501"),
        ({"n": [4]}, "line 2, n: 3 -> 4"),
        ({"regime": ["strong"]}, "line 2, regime: weak -> strong"),
        ({"mean": [np.nan]}, "line 2, mean: 0.5 -> nothing"),
    ],
)
def test_tables(changes: dict, differs: str) -> None:
    texts = [publish.to_csv(pd.DataFrame(columns)).decode() for columns in (STORED, STORED | changes)]
    assert compare.table_differences(*texts) == ([differs] if differs else [])


def test_columns_are_compared_by_name_and_each_interval_is_its_own() -> None:
    stored = "a,x,x_low,x_high,mean,low,high\nk,0.5,0.4,0.6,1.5,1.4999,1.5001\n"
    assert compare.table_differences(stored, "x,a,x_low,x_high,high,low,mean\n0.52,k,0.4,0.6,1.5001,1.4999,1.5\n") == []
    assert compare.table_differences(stored, stored.replace(",1.5,", ",1.52,")) == ["line 2, mean: 1.5 -> 1.52"]
    assert compare.table_differences(stored, stored.replace("x_low", "y")) == [
        "expected columns a,x,x_low,x_high,mean,low,high, got a,x,y,x_high,mean,low,high"
    ]
    assert compare.table_differences(stored, stored + stored.splitlines()[1]) == ["expected 1 rows, got 2"]
    whole = "mean,low,high\n1,0.5,1.5\n"  # a float may be written without a point
    assert compare.table_differences(whole, whole.replace("\n1,", "\n1.1,")) == []


def test_folders_are_compared_file_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored, computed = tmp_path / "stored", tmp_path / "computed"
    for folder, value in ((stored, 0.5), (computed, 0.51)):
        folder.mkdir()
        (folder / "a.csv").write_text(f"mean,n\n{value},3\n")
        cell = {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": shows(text_plain=f"{value}")}
        (folder / "a.ipynb").write_text(json.dumps({"cells": [cell]}))
    assert compare.folders(stored, computed, 0.02) == 0
    assert "0 of 2 files identical, 0 differences" in capsys.readouterr().out
    assert compare.folders(stored, computed) == 1
    shown = capsys.readouterr().out
    assert "a.csv: line 2, mean: 0.5 -> 0.51" in shown
    assert "a.ipynb: cell [1]: text/plain beyond tolerance 0:" in shown
    (computed / "a.csv").write_text("mean,n\n0.5,4\n")
    (stored / "b.csv").write_text("n\n1\n")
    (stored / "bench-paths.csv").write_text("measured\n")
    assert compare.folders(stored, computed, 5) == 1
    assert capsys.readouterr().out.splitlines()[:2] == ["b.csv: not computed", "a.csv: line 2, n: 3 -> 4"]
    assert compare.folders(tmp_path / "stored", tmp_path / "stored") == 0
