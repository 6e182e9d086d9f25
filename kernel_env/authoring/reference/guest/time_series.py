"""Run the reference pipelines of time-series tasks: forecasts, and classification of windows.

The program runs in the agent's container image and reads only the agent's files, never the answers:

    python -m guest.time_series '{"data": "/data", "out": "/workspace/predictions",
                            "kind": "regression", "metric": "mae",
                            "id": "id", "target": "traffic_volume", "seed": 0}'

A regression is a forecast: train.csv ends before test.csv begins, and a column contains
timestamps. Other columns can contain the name of the series and known covariates. A
classification is one of windows: a row has columns like `ax_00 … ax_99`, the samples of each
channel. `time_series_forecasting` and `time_series_windows` define the entries.

A change of an entry changes the meaning of "beats 85 % of reference pipelines". After such a
change, increase `VERSION` and create the leaderboards again.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from . import time_series_forecasting as forecasting
from . import time_series_windows as windows
from .pool import run

VERSION = 1


def main(request: dict[str, Any]) -> None:
    """Run the pool for the kind of task."""
    data = Path(request["data"])
    train, test = pd.read_csv(data / "train.csv"), pd.read_csv(data / "test.csv")
    match request["kind"]:
        case "regression":
            entries = forecasting.entries(train, test, request)
        case "multiclass classification" | "binary classification":
            entries = windows.entries(train, test, request)
        case kind:
            raise SystemExit(f"kind is {kind!r}; these pools are for regression and classification")
    run(request, test[request["id"]], entries)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
