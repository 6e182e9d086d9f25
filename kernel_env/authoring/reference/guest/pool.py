"""What every population does: a job in, one submission per entry and `entries.json` out.

A script of this folder says what its entries are; `run` makes them, one after another,
each on one thread, so that the same versions of the libraries give the same bytes.
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
"""LightGBM's settings for the same trees on each run."""


def run(
    request: Mapping[str, Any], ids: "pd.Series[Any]", entries: Mapping[str, Callable[[], Any]]
) -> None:
    """Write every entry's submission, then the list of them.

    Args:
        request: the job; of it `out`, `id`, `target`, `seed` and `only` are read.
        ids: of the test rows.
        entries: name → what makes its column of predictions, a value for each of the ids.
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
