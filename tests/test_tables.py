"""The numbers of the demo come out again on any processor, each within a tolerance that follows from its own interval.

Training and searches of hundreds of steps in single precision are chaotic: processors round differently, single
networks and counterfactuals part ways a little, and means hardly do. Over three sets of kernels (those of the
processor, AVX2 alone, SSE alone) an estimate moved by at most 0.36 of the half-width of its interval, so 0.75 is
allowed; names, orders and sides that are not near zero must agree. What is smaller than that is held by golden values
in double precision (test_attacks, test_ecco, test_metrics), which every processor reproduces.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robexpl.study import estimates, frames, grid, sizes, variations

STORED = Path(__file__).parent / "tables"
TABLES = {
    "means": lambda study: estimates.summaries(frames.counterfactuals(grid.main(study))),
    "differences": lambda study: estimates.differences(
        frames.counterfactuals(grid.main(study)), (*estimates.TO_STANDARD, *estimates.TO_WEAKER)
    ),
    "accuracy": lambda study: estimates.accuracies(frames.attacked(grid.robustness(study))),
    "reference": lambda study: estimates.means(frames.reference(grid.reference(study)), ["condition", "point"]),
    "metrics": lambda study: estimates.differences(
        frames.counterfactuals(variations.metrics(study)), [("strong", "standard")], ["measure", "stop"]
    ),
}
COUNTS = {"n", "n_seeds", "runs", "factuals", "skipped"}
DATASETS = tuple(sizes.datasets("demo").values())


def computed(name: str, dataset: str) -> pd.DataFrame:
    return TABLES[name](sizes.load("demo", dataset))


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", TABLES)
def test_the_demo_has_its_numbers(name: str, dataset: str) -> None:
    stored, found = pd.read_csv(STORED / f"{name}-{dataset}.csv"), computed(name, dataset)
    assert list(stored.columns) == list(found.columns)
    words = [column for column in stored if not pd.api.types.is_numeric_dtype(stored[column]) and column != "side"]
    pd.testing.assert_frame_equal(stored[words], found[words].astype(stored[words].dtypes))
    slack = 0.75 * ((stored["high"] - stored["low"]) / 2).clip(lower=0)
    for column in [c for c in stored if c not in words and c not in ("side", "p_lower")]:
        before, after = stored[column].to_numpy(float), found[column].to_numpy(float)
        allowed = 0.02 * np.abs(before) + 2 if column in COUNTS else np.maximum(slack, 0.01 * np.abs(before) + 1e-6)
        if column not in {"mean", "low", "high", *COUNTS}:  # shares, steps, distances: of the same rows
            allowed = 0.1 * np.abs(before) + 0.05
        bad = ~(np.abs(after - before) <= allowed) & ~(np.isnan(before) & np.isnan(after))
        assert not bad.any(), f"{column}: {before[bad]} became {after[bad]}"
    sure = slack < np.minimum(stored["low"].abs(), stored["high"].abs())
    if "side" in stored:  # where an end is not near zero, the side is the same
        assert (stored["side"][sure] == found["side"][sure]).all()


if __name__ == "__main__":  # make golden
    from robexpl.pipeline.publish import to_csv

    STORED.mkdir(exist_ok=True)
    for table in TABLES:
        for each in DATASETS:
            (STORED / f"{table}-{each}.csv").write_bytes(to_csv(computed(table, each)))
