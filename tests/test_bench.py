"""The benchmark's pieces at tiny sizes: what agrees, how growth is fitted, what is written. Nothing here is timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from robexpl.models import mlp
from robexpl.regimes import Adversary
from robexpl.report import bench, benchplots, commands, compare, hotpaths, peers, readme
from robexpl.seeds import torch_generator

LIBRARIES = {"foolbox", "torchattacks", "adversarial-robustness-toolbox", "dice-ml"} | set(peers.SIMILARITIES)


@pytest.fixture(scope="module")
def data():
    return hotpaths.images(140)


@pytest.fixture(scope="module")
def model():
    return mlp(784, 128, 10, generator=torch_generator(0, "bench"))


@pytest.fixture(scope="module")
def paths(data, model) -> dict:
    """Every path at a tiny size, without the libraries, which no test needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "load", _only_skimage)
        made = {
            "attack": hotpaths.attack_path(data, model, Adversary(0.1, 0.02, 3), few=20),
            "training": hotpaths.training_path(hotpaths.shortened(data, 40), "weak", few=40),
            "search": hotpaths.search_path(data, model, factuals=3, steps=5),
            "similarity": hotpaths.similarity_path(hotpaths.shortened(data, 24), queries=8, few=2),
        }
        return {name: bench.measure(path, seconds=0) for name, path in made.items()}


def _only_skimage(module: str, real=peers.load):
    if module.startswith("skimage"):
        return real(module)
    raise ModuleNotFoundError(f"No module named {module!r}")


def test_images_have_the_shape_of_mnist_and_differ(data):
    assert data.x_train.shape == (140, 784)
    assert float(data.x_train.min()) == 0
    assert 0.9 < float(data.x_train.max()) <= 1
    assert len(data.x_train.unique(dim=0)) == 140
    assert torch.equal(data.x_train, hotpaths.images(140).x_train)
    assert len(hotpaths.shortened(data, 7).y_test) == 7


def test_agreement_counts_entries_and_nan_agrees_with_nothing():
    expected = torch.zeros(4)
    found = bench.agreement(torch.tensor([0.0, 1e-6, 0.5, torch.nan]), expected, 1e-5)
    assert found["share"] == 0.5
    assert bench.agreement(expected, expected, 0.0) == {"share": 1.0, "largest": 0.0, "tolerance": 0.0}
    with pytest.raises(ValueError, match=r"^expected a result of shape \(4,\), got \(3,\)$"):
        bench.agreement(torch.zeros(3), expected, 1e-5)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_slope_of_a_power_law_is_its_power(power):
    sizes = [1, 2, 4, 8, 100]
    assert bench.slope(sizes, [3e-4 * n**power for n in sizes]) == pytest.approx(power, abs=1e-12)


@pytest.mark.parametrize(("sizes", "times"), [([1], [1]), ([1, 2], [1]), ([1, 2], [1, 0]), ([-1, 2], [1, 1])])
def test_slope_refuses_what_has_no_logarithm(sizes, times):
    with pytest.raises(ValueError, match=r"^expected as many positive sizes as times"):
        bench.slope(sizes, times)


def test_turns_go_back_and_forth_and_take_a_clock_of_their_own():
    order: list[str] = []
    times = bench.turns(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b") or 7.5}, seconds=0, rounds=(3, 9)
    )
    assert "".join(order) == "abbaab"
    assert times["b"] == [7.5] * 3
    assert len(times["a"]) == 3


def test_all_variants_give_the_same_and_missing_peers_are_named(paths):
    skipped = set().union(*(path["skipped"] for path in paths.values()))
    assert skipped == LIBRARIES
    for path in paths.values():
        rows = [path["ours"], *path["peers"]]
        assert path["ours"]["name"] == "robexpl"
        assert path["ours"]["against_ours"]["median"] == 1
        assert {row["name"]: row for row in rows}[path["baseline"]]["ratio"] == 1
        assert all(row["agreement"]["share"] >= bench.SHARE for row in rows)
        assert path["rounds"] == bench.ROUNDS[0]
    assert "No module named 'foolbox'" in paths["attack"]["skipped"]["foolbox"]


def variant(name: str, value: float) -> hotpaths.Variant:
    return hotpaths.Variant(name, 1, lambda: 1.0, lambda: (torch.tensor([value]), torch.zeros(1)))


def test_a_peer_that_disagrees_is_not_timed_and_ours_must_agree():
    path = hotpaths.HotPath("t", "u", "robexpl", 1.0, [variant("plain", 0), variant("robexpl", 0)], {})
    other = bench.measure(
        hotpaths.HotPath(path.title, "u", "robexpl", 1.0, [*path.variants, variant("peer", 1)], {}), seconds=0
    )
    assert [row["name"] for row in other["peers"]] == ["plain"]
    assert "expected the results of peer to agree" in other["skipped"]["peer"]
    wrong = hotpaths.HotPath("t", "u", "robexpl", 1.0, [variant("plain", 0), variant("robexpl", 1)], {})
    with pytest.raises(ValueError, match=r"^expected the results of robexpl to agree"):
        bench.measure(wrong, seconds=0)


def test_targets_say_what_was_measured_and_what_was_not(paths):
    rows = {row["name"]: row for row in bench.targets(paths)}
    assert rows["PGD against the fastest library"] == {
        "name": "PGD against the fastest library", "times": None, "aim": 1.0, "met": False
    }  # fmt: skip
    row = rows["adversarial training step against the plain loop"]
    assert row["met"] == (row["times"] >= row["aim"])
    assert readme.unmet([*rows.values()]) == [r for r in rows.values() if r["times"] and r["times"] < r["aim"]]


def test_growth_machine_and_memory(data, model):
    found = bench.growth(data, model, seconds=0, scale=4)
    assert {len(row["sizes"]) for row in found.values()} == {3, 4}
    assert all(row["slope"] == bench.slope(row["sizes"], row["seconds"]) for row in found.values())
    about = bench.machine()
    assert about["cpu"]
    assert about["versions"]["torch"] == torch.__version__
    held = bench.memory(lambda: torch.ones(2**23))  # 32 MiB
    assert held is None or 25 < held < 60


def test_what_it_writes_fills_the_readme(paths, tmp_path, monkeypatch):
    monkeypatch.setenv("ROBEXPL_GENERATED", str(tmp_path))
    assert readme.speed().startswith("`make bench` has not been run")
    out = bench.Output("bench", "full")
    growth = {"search by steps": {"sizes": [1, 2], "seconds": [1, 2], "slope": 1.0}}
    out.json(machine=bench.machine(), peak_gflops=1.0, paths={n: p | {"share_of_peak": 0.5} for n, p in paths.items()},
             targets=bench.targets(paths), growth=growth)  # fmt: skip
    text = readme.speed()
    assert all(path["title"] in text for path in paths.values())
    assert "search by steps 1.00" in text
    figure = out.figure(benchplots.speeds(paths)).read_text()
    assert "PGD attack" in figure
    assert json.loads((tmp_path / "bench.json").read_text())["paths"].keys() == paths.keys()


@pytest.mark.parametrize(("times", "text"), [(1.0, "1"), (1.2345, "1.23"), (343.6, "344"), (2557.4, "2,560")])
def test_ratios_are_written_without_exponents(times, text):
    assert readme.shown(times) == text


def test_verify_does_not_compare_times(tmp_path, capsys):
    stored, computed = tmp_path / "stored", tmp_path / "computed"
    for folder in (stored, computed):
        folder.mkdir()
        (folder / "table1.json").write_text("{}")
    (stored / "bench.json").write_text("{}")
    assert compare.main([str(stored), str(computed)]) == 0
    assert "0 differences" in capsys.readouterr().out


def test_every_peer_is_pinned():
    lines = (Path(__file__).parent.parent / ".ci" / "peers.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in pins)
    assert {line.split("==")[0] for line in pins} >= LIBRARIES


def test_a_stopped_benchmark_says_so_in_one_line(monkeypatch, capsys):
    def stopped(_seconds: float) -> None:
        raise commands.Stopped(2)

    monkeypatch.setattr(bench, "measure_all", stopped)
    assert bench.main([]) == 130
    assert capsys.readouterr().err == "STOPPED bench: nothing was changed\n"
