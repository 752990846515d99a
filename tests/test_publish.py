"""A page writes tidy tables and figures in one byte form, to the stage or to scratch, and stops on untrue sentences."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import IPython.display
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from robexpl.pipeline import style
from robexpl.pipeline.publish import Page, to_csv
from robexpl.study import places

STUDY = SimpleNamespace(profile="full", dataset="mnist", own=True)
ONCE = SimpleNamespace(profile="full", dataset=None, own=True)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROBEXPL_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("ROBEXPL_STAGE", str(tmp_path / "stage"))
    with mpl.rc_context():
        yield tmp_path / "stage"
    plt.close("all")


def shown(call: Any, *args: Any, **kwargs: Any) -> list[dict[str, str]]:
    """Return what a call displays in a notebook, as bundles of kinds and contents."""
    found: list[dict[str, str]] = []

    def display(shown: Any, *, raw: bool = False) -> None:
        found.append(shown if raw else {"text/markdown": shown.data})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IPython.display, "display", display)
        call(*args, **kwargs)
    return found


def rows(n: int) -> pd.DataFrame:
    return pd.DataFrame({"regime": [f"r{i}" for i in range(n)], "mean": np.arange(n) / 3})


def test_a_table_has_one_byte_form() -> None:
    frame = pd.DataFrame(
        {
            "name": ["weak", "a, b", None, "é"],
            "mean": [1 / 3, -0.0, np.nan, 123456789.0],
            "low": np.array([1e-7, np.inf, 0.1, 2.0], np.float32),
            "n": [1, 2, 3, 10**12],
            "n_seeds": pd.array([1, None, 2, 3], dtype="Int64"),
            "valid": [True, np.True_, False, None],
            "own": [True, False, True, False],
            "t": [torch.tensor(1.5), np.float64(2), np.int64(3), 4],
        }
    )
    assert to_csv(frame).decode() == (
        "name,mean,low,n,n_seeds,valid,own,t\n"
        "weak,0.333333,1e-07,1,1,true,true,1.5\n"
        '"a, b",0,,2,,true,false,2\n'
        ",,0.1,3,2,false,true,3\n"
        "é,1.23457e+08,2,1000000000000,3,,false,4\n"
    )
    assert to_csv(frame.sort_values("n", ascending=False)) != to_csv(frame)
    assert to_csv(frame.iloc[:0]) == b"name,mean,low,n,n_seeds,valid,own,t\n"


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (rows(2).set_index("regime"), r"expected keys as columns, got them in the index \['regime'\]: reset_index\(\)"),
        (pd.DataFrame({("a", "b"): [1]}), "expected columns with names such as n_seeds"),
        (pd.DataFrame({"A b": [1]}), "expected columns with names such as n_seeds, got 'A b'"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "expected columns, each once, got a, a"),
        (pd.DataFrame(), "expected columns, each once, got none"),
        (pd.DataFrame({"a": [[1]]}), "expected numbers, words and truth values in column a, got list"),
        (pd.DataFrame({"a": [np.zeros(2)]}), "expected numbers, words and truth values in column a, got ndarray"),
    ],
)
def test_a_table_that_is_not_tidy_is_refused(frame: pd.DataFrame, line: str, stage: Path) -> None:
    with pytest.raises(ValueError, match=f"^{line}"):
        Page("rq1", STUDY).table(frame, "means")
    assert not stage.exists()


def test_a_short_table_is_shown_whole_and_a_long_one_written_whole(stage: Path) -> None:
    page = Page("rq1", STUDY)
    frame = rows(12)
    (short,) = shown(page.table, frame, "means")
    assert short["text/html"].count("<tr") == 13
    assert "first 12" not in short["text/html"]
    (long,) = shown(page.table, rows(40), "means")
    assert long["text/html"].count("<tr") == 13
    for text in long.values():
        assert "The first 12 of 40 rows of rq1-mnist-means.csv" in text
    assert len((stage / "rq1-mnist-means.csv").read_text().splitlines()) == 41
    assert shown(page.table, rows(3), "means", show=False) == []
    assert page.table(frame, "means", show=False) is frame


def test_files_are_named_after_notebook_dataset_and_table(stage: Path) -> None:
    Page("rq1", STUDY).table(rows(1), "means", show=False)
    Page("table1", ONCE).table(rows(1), "table", show=False)
    assert sorted(path.name for path in stage.iterdir()) == ["rq1-mnist-means.csv", "table1-table.csv"]


def test_by_hand_files_go_to_scratch_and_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Page("rq1", STUDY)
    assert capsys.readouterr().out == ""
    monkeypatch.delenv("ROBEXPL_STAGE")
    page = Page("rq1", STUDY)
    assert capsys.readouterr().out.splitlines() == [
        "Run by hand: tables and figures go to build/scratch/rq1, nothing is published."
    ]
    page.table(rows(1), "means", show=False)
    assert (tmp_path / "build" / "scratch" / "rq1" / "rq1-mnist-means.csv").is_file()
    assert not places.generated_dir("full").is_relative_to(tmp_path / "build")


@pytest.mark.parametrize("name", ["", "../table1", "Table 1", "a/b", ".hidden", None])
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected the name of a notebook, such as 'rq1', got"):
        Page(name, STUDY)
    with pytest.raises(ValueError, match="expected the name of a table or figure"):
        Page("rq1", STUDY).table(rows(1), name)


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown profile 'quick'; known: demo, full"):
        Page("rq1", SimpleNamespace(profile="quick", dataset=None, own=True))


def draw() -> Figure:
    figure = plt.figure(figsize=(2, 1))
    axes = figure.add_subplot()
    axes.plot([1, 2, 3], label="a curve")
    axes.imshow(np.eye(4), clip_on=True)
    axes.legend()
    return figure


def test_a_figure_is_the_same_bytes_every_time_and_keeps_its_text(stage: Path) -> None:
    page = Page("rq1", STUDY)
    first_shown = shown(page.figure, draw(), "means", alt="A curve")
    first = (stage / "rq1-mnist-means.svg").read_bytes()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "other"}):
        second_shown = shown(page.figure, draw(), "means", alt="A curve")
    assert first == (stage / "rq1-mnist-means.svg").read_bytes()
    assert first_shown == second_shown
    assert b"a curve</text>" in first
    assert b"<dc:date>" not in first
    assert b"Matplotlib v" not in first
    assert plt.get_fignums() == []


def test_a_figure_has_alternative_text_wherever_it_is_seen(stage: Path) -> None:
    alt = 'Means < 1 & "more"'
    (output,) = shown(Page("rq1", STUDY).figure, draw(), "means", alt=alt)
    root = ElementTree.fromstring((stage / "rq1-mnist-means.svg").read_text())
    assert [root.find(f"{SVG}{tag}").text for tag in ("title", "desc")] == [alt, alt]
    assert output.keys() == {"text/html", "text/plain"}
    assert re.match(
        r'<img alt="Means &lt; 1 &amp; &quot;more&quot;" width="240" src="data:image/png;base64,iVBOR',
        output["text/html"],
    )
    assert output["text/plain"] == f"[Figure: {alt}]"
    for missing in ("", " ", None):
        with pytest.raises(ValueError, match="expected alt, a sentence that says what figure 'means' shows"):
            Page("rq1", STUDY).figure(draw(), "means", alt=missing)


def test_the_alternative_text_survives_nbconvert() -> None:
    import nbformat
    from nbconvert import HTMLExporter

    (output,) = shown(Page("rq1", STUDY).figure, draw(), "means", alt="A curve that rises")
    cell = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("display_data", data=output)])
    html, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert '<img alt="A curve that rises"' in html


def test_a_true_sentence_is_shown_and_an_untrue_one_stops_the_full_study() -> None:
    page = Page("rq1", STUDY)
    (output,) = shown(page.holds, "All is well.", np.bool_(True))
    assert output["text/markdown"] == "All is well."
    with pytest.raises(AssertionError, match=r"^no longer true: All is well\.$"):
        page.holds("All is well.", False)


@pytest.mark.parametrize(("profile", "own"), [("demo", True), ("demo", False), ("full", False)])
@pytest.mark.parametrize("condition", [True, False])
def test_elsewhere_no_sentence_is_shown(profile: str, own: bool, condition: bool) -> None:
    page = Page("rq1", SimpleNamespace(profile=profile, dataset="mnist", own=own))
    assert shown(page.holds, "All is well.", condition) == []


@pytest.mark.parametrize("profile", ["demo", "full"])
@pytest.mark.parametrize("condition", [float("nan"), pd.Series([True]), "yes", None, 1])
def test_a_condition_that_is_no_truth_value_is_refused_everywhere(profile: str, condition: Any) -> None:
    page = Page("rq1", SimpleNamespace(profile=profile, dataset="mnist", own=True))
    with pytest.raises(ValueError, match=r"^expected a condition that is true or false, got \w+: All is well\.$"):
        page.holds("All is well.", condition)


def interval(names: list[Any], key: str = "regime") -> pd.DataFrame:
    means = np.linspace(0.2, 0.8, len(names))
    return pd.DataFrame({key: names, "mean": means, "low": means - 0.1, "high": means + 0.2})


def test_points_lie_at_their_means_in_the_order_of_the_study() -> None:
    fig, ax = plt.subplots()
    style.points(ax, interval(["strong", "standard"]), x="mean", y="regime")
    drawn = {bars.get_label(): bars.lines[0].get_xydata()[0] for bars in ax.containers}
    assert [text.get_text() for text in ax.get_yticklabels()] == ["Standard", "Strong"]
    assert np.allclose(drawn["Standard"], [0.8, 0])
    assert np.allclose(drawn["Strong"], [0.2, 1])
    ends = ax.containers[0].lines[2][0].get_segments()[0]
    assert np.allclose(ends[:, 0], [0.7, 1.0])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first at the top
    style.legend(fig)
    assert [text.get_text() for text in fig.legends[0].texts] == ["Standard", "Strong"]


def test_points_of_one_name_lie_side_by_side_and_numbers_where_they_are() -> None:
    _, (left, right) = plt.subplots(1, 2)
    both = pd.concat(interval(["standard", "strong"]).assign(condition=name) for name in ("as_run", "corrected"))
    style.points(left, both, x="regime", y="mean", hue="condition")
    first, second = (bars.lines[0].get_xdata() for bars in left.containers)
    assert np.allclose(second - first, 0.16)
    assert [bars.get_label() for bars in left.containers] == ["As run", "Corrected"]
    style.points(right, interval([0.5, 2.0], "value"), x="value", y="mean", hue=None, line=True)
    assert right.containers[0].lines[0].get_xdata().tolist() == [0.5, 2.0]
    with pytest.raises(ValueError, match="expected either x or y to be 'mean', got 'low' and 'high'"):
        style.points(left, both, x="low", y="high")


def test_an_interval_that_is_missing_leaves_its_mark() -> None:
    _, ax = plt.subplots()
    style.points(ax, interval(["weak"]).assign(low=np.nan, high=np.nan), x="regime", y="mean")
    assert ax.containers[0].lines[0].get_ydata() == [0.2]


def test_reference_lines_end_at_their_titles_below_the_marks() -> None:
    fig, ax = plt.subplots()
    style.points(ax, interval(["standard", "strong"]), x="mean", y="regime")
    style.reference_lines(ax, pd.DataFrame({"title": ["real", "noise"], "mean": [0.1, 1.4]}))
    fig.draw_without_rendering()
    places_of = {text.get_text(): text.xy for text in ax.texts}
    assert places_of["real"][0] == 0.1
    assert places_of["noise"][0] == 1.4
    assert all(1 < y < ax.get_ylim()[0] for _, y in places_of.values())


def test_pictures_are_laid_out_in_rows() -> None:
    fig = style.images(torch.rand(5, 8, 8), ["a", "b"], columns=3, width=style.COLUMN)
    assert fig.get_figwidth() == style.COLUMN
    assert [len(ax.images) for ax in fig.axes] == [1] * 5 + [0]
    assert [ax.get_title() for ax in fig.axes[:3]] == ["a", "b", ""]


def test_the_style_is_readable_in_print_and_to_colour_blind_readers() -> None:
    style.use()
    for size in ("font.size", "axes.labelsize", "axes.titlesize", "legend.fontsize", "xtick.labelsize"):
        assert 7 <= mpl.rcParams[size] <= 8
    colours = [style.COLOURS[regime] for regime in style.REGIME_NAMES]
    assert len(set(colours)) == len({style.MARKERS[regime] for regime in style.REGIME_NAMES}) == 4
    for text in (style.INK, style.FADED):
        assert contrast(text) >= 4.5
    _, ax = plt.subplots()
    style.panel(ax, "MNIST", "decision_threshold", xlabel="steps")
    assert (ax.get_title("left"), ax.get_xlabel()) == ("MNIST, Decision threshold (DTC)", "steps")


def contrast(colour: str) -> float:
    """Contrast of a colour with white, as the Web Content Accessibility Guidelines define it."""
    parts = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return 1.05 / (float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)
