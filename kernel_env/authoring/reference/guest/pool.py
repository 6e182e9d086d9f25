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


def read_tables(
    data: Path, id_column: str, target: str, *, has_classes: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read train.csv and test.csv, with ids and classes as they are written.

    pandas reads the id `0028` as a number and the class `NA` as a missing value.
    """
    train, test = pd.read_csv(data / "train.csv"), pd.read_csv(data / "test.csv")
    train = train[[*test.columns, target]]  # without the other targets, if there are several
    names = [id_column, target] if has_classes else [id_column]
    train[names] = read_as_written(data / "train.csv", names)
    test[[id_column]] = read_as_written(data / "test.csv", [id_column])
    if has_classes:
        numbers = pd.to_numeric(train[target], errors="coerce")
        if numbers.notna().all() and (numbers.astype(str) == train[target]).all():
            train[target] = numbers
    return train, test


def read_as_written(path: Path, columns: list[str]) -> pd.DataFrame:
    """Read some columns as text; nothing is missing or converted."""
    return pd.read_csv(path, usecols=columns, dtype=str, keep_default_na=False)[columns]


def run(
    request: Mapping[str, Any], ids: "pd.Series[Any]", entries: Mapping[str, Callable[[], Any]]
) -> None:
    """Write a submission for every entry, then `entries.json` with their seeds and run times.

    An entry that fails has an `error` in place of both.

    Args:
        request: the job; this function reads `out`, `id`, `target`, `seed` and `only`.
        ids: the ids of the test rows, shape (rows,).
        entries: a dict from an entry's name to a function that returns its predictions,
            shape (rows,).
    """
    out = Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    done: list[dict[str, Any]] = []
    for name, predict in entries.items():
        if request.get("only") and name not in request["only"]:
            continue
        start = time.perf_counter()
        try:
            with threadpool_limits(1):
                prediction = np.asarray(predict())
        except Exception as error:  # noqa: BLE001 - becomes a record: others can fit this table
            done.append({"entry": name, "error": f"{type(error).__name__}: {error}"})
            continue
        runtime_s = round(time.perf_counter() - start, 2)
        submission = pd.DataFrame({request["id"]: ids, request["target"]: prediction})
        submission.to_csv(
            out / f"{name}.csv", index=False, lineterminator="\n", float_format="%.9g"
        )
        done.append({"entry": name, "seed": request["seed"], "runtime_s": runtime_s})
    (out / "entries.json").write_text(json.dumps(done, indent=1) + "\n")
