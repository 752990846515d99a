"""What the full study costs: `python tests/bench/hours.py` writes bench-hours.csv, in hours of one core by stage.

Estimates of the plan (`robexpl.study.plan.Cell.cost`), whose constants were measured on one machine; they leave out
what the notebooks themselves take, some minutes.
"""

from __future__ import annotations

import pandas as pd

from robexpl.progress import bar
from robexpl.study import places, plan

if __name__ == "__main__":
    rows = [
        {"dataset": cell.about.data.dataset, "stage": cell.stage, "count": 1, "hours": cell.cost() / 3600}
        for cell in bar(sorted(plan.cells("full"), key=lambda cell: str(cell.about.data)), desc="cost")
    ]
    table = pd.DataFrame(rows).groupby(["dataset", "stage"]).sum().reset_index()
    table.to_csv(places.ROOT / "paper" / "generated" / "bench-hours.csv", index=False, float_format="%.3g")
    print(table.to_string(), table["hours"].sum())
