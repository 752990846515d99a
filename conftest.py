"""Settings of every test run: nothing cached is reused, nothing in the checkout is written, numbers have tolerances."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell

sys.path.insert(0, str(Path(__file__).parent / "tests"))

from compare import LATER, output_differences

WORKER = "PYTEST_XDIST_WORKER" in os.environ  # one of several processes: its settings are those of the first

if not WORKER:
    SCRATCH = Path(tempfile.mkdtemp(prefix="robexpl-tests-"))
    os.environ |= {
        "IPYTHONDIR": str(SCRATCH / "ipython"),
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "ROBEXPL_BUILD": str(SCRATCH / "build"),
        "ROBEXPL_GENERATED": str(SCRATCH / "generated"),
        "ROBEXPL_PROGRESS": os.devnull,
        "ROBEXPL_STAGE": str(SCRATCH / "stage"),
    }
os.environ.pop("MPLBACKEND", None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the notebooks that are executed for a second dataset to `make test-slow`."""
    for item in items:
        if isinstance(item, IPyNbCell) and item.path.stem in LATER:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.second)


def pytest_unconfigure() -> None:
    """Remove what the tests wrote."""
    if not WORKER:
        shutil.rmtree(SCRATCH, ignore_errors=True)


def compare_outputs(self: IPyNbCell, test: list, ref: list, skip_compare: object = None) -> bool:
    """Compare a cell's outputs with the stored ones by the tolerance that its tags state."""
    self.comparison_traceback = output_differences(ref, test, self.cell.metadata.get("tags", []))
    return not self.comparison_traceback


IPyNbCell.compare_outputs = compare_outputs
