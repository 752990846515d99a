"""Words and integers are compared exactly, other numbers within a tolerance, tagged pictures by their difference."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robexpl.report import compare


@pytest.mark.parametrize(
    ("stored", "computed", "atol", "expected"),
    [
        ("accuracy 0.85", "accuracy 0.86", 0.0, False),
        ("accuracy 0.85", "accuracy 0.86", 0.02, True),
        ("accuracy 0.85.", "accuracy 0.86.", 0.02, True),
        ("accuracy 0.85", "accuracy 0.89", 0.02, False),
        ("accuracy 0.85", "error 0.85", 1.0, False),
        ("n = 85", "n = 86", 5.0, False),
        ("mnist2 v1.2.3", "mnist3 v1.2.3", 5.0, False),
        ("0.3333333", "0.33333331", 0.0, True),
        ("1e-3  x", "1.1e-3 x", 0.001, True),
        ("-0.01", "0.01", 0.021, True),
        ("<object at 0x7f00aa11>", "<object at 0x7f00bb22>", 0.0, True),
        ("value   10.0", "value 9.99", 0.02, True),
        ("nan", "0.5", 1.0, False),
    ],
)
def test_texts(stored: str, computed: str, atol: float, expected: bool) -> None:
    assert compare.same_text(stored, computed, atol) == expected


def png(level: int, size: int = 8) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.full((size, size), level, dtype=np.uint8)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def picture(level: int, size: int = 8) -> list[dict]:
    return [{"output_type": "display_data", "data": {"image/png": png(level, size)}}]


def test_pictures_count_only_where_a_cell_says_so() -> None:
    assert compare.output_differences(picture(100), picture(200), []) == []
    assert compare.output_differences(picture(100), picture(103), ["check-image"]) == []
    assert compare.output_differences(picture(100), picture(110), ["check-image"]) == [
        "image differs: RMS 10.0 of 255, at most 5"
    ]
    assert compare.output_differences(picture(100), picture(100, 9), ["check-image"])


def test_streams_are_compared_whole_and_a_missing_output_is_named() -> None:
    parts = [{"output_type": "stream", "name": "stdout", "text": text} for text in ("a\n", "b\n")]
    whole = [{"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]}]
    assert compare.output_differences(parts, whole, []) == []
    assert compare.output_differences(parts, [], []) == ["expected outputs ['stdout'], got []"]


def test_folders_are_compared_file_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored, computed = tmp_path / "stored", tmp_path / "computed"
    for folder, value, count in ((stored, 0.5, 3), (computed, 0.51, 3)):
        folder.mkdir()
        (folder / "a.json").write_text(json.dumps({"mean": [value, None], "n": count}))
    assert compare.main([str(stored), str(computed), "--tolerance", "0.02"]) == 0
    assert compare.main([str(stored), str(computed)]) == 1
    assert "a.json: .mean[0]: 0.5 -> 0.51" in capsys.readouterr().out
    (computed / "a.json").write_text(json.dumps({"mean": [0.5, None], "n": 4}))
    (stored / "b.json").write_text("{}")
    assert compare.main([str(stored), str(computed), "--tolerance", "5"]) == 1
    assert capsys.readouterr().out.splitlines()[:2] == ["b.json: not computed", "a.json: .n: 3 -> 4"]
