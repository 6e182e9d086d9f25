"""The reference populations of time series: forecasts of what comes, and windows with a label.

Run inside a task's container, on exactly what an agent gets, never the answers:

    python -m guest.time_series '{"data": "/data", "out": "/workspace/predictions",
                            "kind": "regression", "metric": "mae",
                            "id": "id", "target": "traffic_volume", "seed": 0}'

A regression is a forecast: train.csv ends before test.csv begins, a column holds moments,
others may say which series a row is of and what else is known of it. A classification is
one of windows: a row holds columns like `ax_00 … ax_99`, the samples of each channel.
What the entries are is in `time_series_forecasting` and `time_series_windows`.

The pools are part of a leaderboard's meaning. Changing an entry changes what "beats
85 % of reference pipelines" says, so raise `VERSION` and make the leaderboards anew.
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
    """Choose the pool by the kind of task, and run it."""
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
