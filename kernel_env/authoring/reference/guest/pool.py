"""Run the reference pipelines of a pool and write a submission for each.

Each module of a domain defines its entries. `run` runs them one after another, each on one
thread, so that the same versions of the libraries write the same bytes.
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

SAME_TREES: dict[str, Any] = {
    "deterministic": True,
    "force_row_wise": True,
    "n_jobs": 1,
    "verbosity": -1,
}
"""LightGBM's settings for reproducible trees."""


def run(
    request: Mapping[str, Any], ids: "pd.Series[Any]", entries: Mapping[str, Callable[[], Any]]
) -> None:
    """Write a submission for every entry, then `entries.json` with their seeds and run times.

    Args:
        request: the job; this function reads `out`, `id`, `target`, `seed` and `only`.
        ids: the ids of the test rows, shape (rows,).
        entries: a dict from an entry's name to a function that returns its predictions,
            shape (rows,).
    """
    out = Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    done = []
    for name, predict in entries.items():
        if request.get("only") and name not in request["only"]:
            continue
        start = time.perf_counter()
        with threadpool_limits(1):
            prediction = np.asarray(predict())
        runtime_s = round(time.perf_counter() - start, 2)
        submission = pd.DataFrame({request["id"]: ids, request["target"]: prediction})
        submission.to_csv(
            out / f"{name}.csv", index=False, lineterminator="\n", float_format="%.9g"
        )
        done.append({"entry": name, "seed": request["seed"], "runtime_s": runtime_s})
    (out / "entries.json").write_text(json.dumps(done, indent=1) + "\n")
