"""The benchmark at tiny sizes: what agrees, how growth is fitted, what is written. Nothing here is timed."""

import io
import sys
from dataclasses import dataclass

import bench
import hotpaths
import pandas as pd
import peers
import plots
import pytest
import scaling
import strength
import torch

from robexpl.models import mlp
from robexpl.pipeline import cluster, commands
from robexpl.regimes import Adversary
from robexpl.seeds import torch_generator
from robexpl.study import plan

LIBRARIES = {*peers.ATTACKS, "dice-ml", *peers.SIMILARITIES}
MODULES = ("foolbox", "torchattacks", "art", "dice_ml", "pytorch_msssim", "torchmetrics", "kornia")
MODEL = mlp(784, 128, 10, generator=torch_generator(0, "bench"))


@pytest.fixture(scope="module")
def data():
    return hotpaths.images(140)


@pytest.fixture(scope="module")
def paths(data) -> pd.DataFrame:
    """Every path at a tiny size, without the libraries, which no test needs."""
    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            patch.setitem(sys.modules, module, None)
        made = [
            hotpaths.attack_path(data, MODEL, Adversary(0.1, 0.02, 3), few=20),
            hotpaths.training_path(hotpaths.shortened(data, 40), "weak", few=40),
            hotpaths.search_path(data, MODEL, factuals=3, steps=5),
            hotpaths.similarity_path(hotpaths.shortened(data, 24), queries=8, few=2),
        ]
        return pd.concat([bench.measure(path, seconds=0) for path in made])


def test_images_have_the_shape_of_mnist_and_differ(data):
    assert data.x_train.shape == (140, 784)
    assert float(data.x_train.min()) == 0
    assert 0.9 < float(data.x_train.max()) <= 1
    assert len(data.x_train.unique(dim=0)) == 140
    assert torch.equal(data.x_train, hotpaths.images(140).x_train)
    assert len(hotpaths.shortened(data, 7).y_test) == 7


def test_agreement_counts_entries_and_nan_agrees_with_nothing():
    expected = torch.zeros(4)
    assert bench.agreement(torch.tensor([0.0, 1e-6, 0.5, torch.nan]), expected, 1e-5)["agree"] == 0.5
    assert bench.agreement(expected, expected, 0.0) == {"agree": 1.0, "difference": 0.0, "tolerance": 0.0}
    with pytest.raises(ValueError, match=r"^expected a result of shape \(4,\), got \(3,\)$"):
        bench.agreement(torch.zeros(3), expected, 1e-5)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_slope_of_a_power_law_is_its_power(power):
    sizes = [1, 2, 4, 8, 100]
    assert bench.slope(sizes, [3e-4 * n**power for n in sizes]) == pytest.approx(power, abs=1e-12)
    for wrong in (([1], [1]), ([1, 2], [1]), ([1, 2], [1, 0]), ([-1, 2], [1, 1])):
        with pytest.raises(ValueError, match=r"^expected as many positive sizes as times"):
            bench.slope(*wrong)


def test_turns_go_back_and_forth_and_take_a_clock_of_their_own():
    order: list[str] = []
    runs = {"a": lambda: order.append("a"), "b": lambda: order.append("b") or 7.5}
    times = bench.turns(runs, seconds=0, rounds=(3, 9))
    assert "".join(order) == "abbaab"
    assert (len(times["a"]), times["b"]) == (3, [7.5] * 3)


def test_all_variants_give_the_same_and_missing_peers_are_named(paths):
    assert set(paths.dropna(subset="skipped")["peer"]) == LIBRARIES
    assert "import of foolbox halted" in paths.set_index("peer").loc["foolbox", "skipped"]
    measured = paths[paths["skipped"].isna()]
    assert (measured["agree"] >= bench.SHARE).all()
    assert (measured["rounds"] == bench.ROUNDS[0]).all()
    assert (measured.loc[measured["peer"] == bench.OURS, ["median", "low", "high"]] == 1).all(axis=None)
    assert set(measured["kind"]) == {"ours", "loop", "library"}


def test_a_library_that_disagrees_is_not_timed_and_ours_must_agree():
    def variant(name: str, value: float) -> hotpaths.Variant:
        return hotpaths.Variant(name, 1, lambda: 1.0, lambda: (torch.tensor([value]), torch.zeros(1)))

    def measured(ours: float) -> pd.DataFrame:
        own = [variant("plain loop", 0), variant("robexpl", ours)]
        path = hotpaths.HotPath("p", "t", "u", 1.0, own, {"peer": lambda: variant("peer", 1)})
        return bench.measure(path, seconds=0).set_index("peer")

    assert measured(0)["median"].dropna().to_dict() == {"plain loop": 1, "robexpl": 1}
    assert "expected the results of peer to agree" in measured(0).loc["peer", "skipped"]
    with pytest.raises(ValueError, match=r"^expected the results of robexpl to agree"):
        measured(1)


def test_what_is_written(paths, data):
    files = bench.files(bench.machine(), paths, bench.growth(data, MODEL, seconds=0, scale=4), peak=1e9)
    assert b"PGD attack" in files.pop("bench.svg")
    assert b"attack,PGD attack,step of an image,robexpl,ours,,1,1,1," in files["bench-paths.csv"]
    assert b",false\n" in files["bench-targets.csv"]
    tables = {name: pd.read_csv(io.BytesIO(content)) for name, content in files.items()}
    assert tables["bench-machine.csv"][["torch", "peak_gflops"]].values.tolist() == [[torch.__version__, 1.0]]
    assert tables["bench-growth.csv"]["what"].is_monotonic_increasing
    met = tables["bench-targets.csv"].set_index("name")
    assert met.loc["PGD against the fastest library", ["aim", "met"]].tolist() == [1.0, False]  # no library, no time
    assert (met["met"] == (met["times"] >= met["aim"])).all()


def test_strength_is_compared_without_libraries_and_by_the_network_itself(data):
    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            patch.setitem(sys.modules, module, None)
        table = strength.compared(data, MODEL, rows=12, eps=0.02)
    assert table["attack"].tolist()[0] == strength.OURS
    assert table["skipped"].isna().tolist() == [True] + [False] * (len(strength.OTHERS) + len(strength.AUTOATTACK))
    assert set(table["n"]) == {12}
    other = table.assign(dataset="d", regime="r", accuracy=[0.503, *[0.5] * (len(table) - 1)])
    assert len(strength.weaker(other)) == 1
    assert strength.weaker(other.assign(accuracy=0.5)).empty
    box = torch.linspace(-2, -1, 784), torch.linspace(1, 3, 784)
    scaled, x = strength.Scaled(MODEL, box), torch.rand(3, 784)
    torch.testing.assert_close(scaled.back(scaled.into(x)), x, atol=1e-5, rtol=0)
    assert bool((scaled.back(torch.ones(1, 1, 28, 28)) <= box[1]).all())


@pytest.mark.parametrize(("times", "text"), [(1.0, "1"), (1.2345, "1.23"), (343.6, "344"), (2557.4, "2,560")])
def test_ratios_are_written_without_exponents(times, text):
    assert plots.shown(times) == text


def test_every_peer_is_pinned():
    pins = [line for line in peers.LIST.read_text().splitlines() if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in pins)
    assert {line.split("==")[0] for line in pins} >= LIBRARIES


def test_a_stopped_benchmark_says_so_in_one_line(monkeypatch, capsys):
    def stopped() -> None:
        raise commands.Stopped(2)

    monkeypatch.setattr(commands, "heed_signals", lambda: None)
    monkeypatch.setattr(peers, "install", stopped)
    assert bench.main([]) == 130
    assert capsys.readouterr().err == "STOPPED bench: nothing was changed\n"


# Workers


@dataclass(frozen=True)
class Timed:
    """A cell of which nothing but its time counts."""

    seconds: float
    stage: str = "attack"
    arguments: tuple = ()


def test_a_simulated_cluster_has_the_makespan_that_one_counts_by_hand() -> None:
    tasks = [cluster.Task(str(number), cells=[Timed(90.0)], cost=90.0) for number in range(6)]
    seconds = lambda task: sum(cell.seconds for cell in task.cells)  # noqa: E731
    for workers, makespan in {1: 6 * 95.0, 2: 3 * 95.0, 4: 2 * 95.0, 6: 95.0, 9: 95.0}.items():
        assert scaling.simulate(tasks, workers, seconds, 5.0) == makespan
    rows = scaling.simulation(tasks, seconds, 0.0).set_index("workers")
    assert rows.loc[8, ["work_seconds", "makespan_seconds", "longest_task", "longest_chain"]].tolist() == [
        540,
        90,
        90,
        90,
    ]
    assert rows.loc[8, "efficiency"] == 6 / 8


def test_a_simulated_task_waits_for_its_network() -> None:
    tasks = [
        cluster.Task("search", cells=[Timed(30.0, "search")], needs={"net"}, cost=30.0),
        cluster.Task("train", cells=[Timed(50.0, "train", ("net",))], cost=50.0),
    ]
    seconds = lambda task: sum(cell.seconds for cell in task.cells)  # noqa: E731
    assert scaling.simulate(tasks, 2, seconds, 1.0) == 82
    assert scaling.path(tasks, seconds) == 80
    assert [task.name for task in tasks] == ["search", "train"]


def test_costs_are_measured_on_networks_of_one_epoch() -> None:
    cells = plan.cells("demo", 1)
    short = [scaling.shortened(cell) for cell in cells]
    epochs = {network.epochs for cell in short for network in cell.networks if cell.owner == network}
    assert epochs == {1}
    assert list(map(scaling.kind, short)) == list(map(scaling.kind, cells))
