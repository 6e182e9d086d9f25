"""Run the reference pipelines of tabular tasks.

The program runs in the agent's container image and reads only the agent's files, never the answers:

    python -m guest.tabular '{"data": "/data", "out": "/workspace/predictions",
                        "kind": "binary classification", "metric": "roc_auc",
                        "id": "id", "target": "income", "seed": 0}'

It writes one submission per entry and `entries.json` with each entry's seed and run time. The
same versions of the libraries write the same bytes on each run: every entry has the same seed
and one thread. `tabular_classification.py`, `tabular_regression.py` and `tabular_survival.py`
define the entries.

A change of an entry changes the meaning of "beats 85 % of reference pipelines". After such a
change, increase `VERSION` and create the leaderboards again.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import tabular_classification as classification
from . import tabular_regression as regression
from . import tabular_survival as survival
from .pool import read_tables, run
from .tabular_columns import Model

VERSION = 1

MAX_CATEGORIES = 254
"""The most common categories of a column that are kept; all others become one category.

Some of the models support at most 255 categories."""
OTHER_CATEGORY = "all others"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A task's public data as features."""

    train: pd.DataFrame
    """The features of the training rows: numbers as floats, other columns as categories."""
    target: pd.Series
    """The target of the training rows."""
    test: pd.DataFrame
    """The features of the test rows, with the same columns and categories."""
    ids: pd.Series
    """The ids of the test rows."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The entries for a kind of task, and the function that fits and predicts."""

    entries: dict[str, Callable[[int], Model]]
    """A dict from an entry's name to a function that builds its model from a seed, in the order
    in which they run."""
    predict: Callable[[Model, pd.DataFrame, pd.Series, pd.DataFrame], np.ndarray]
    """A function from (model, train, target, test) to the predictions, shape (test rows,)."""


def select_pool(kind: str, metric: str) -> Pool:
    """Return the pool for a kind of task."""
    match kind:
        case "binary classification" | "multiclass classification":
            binary = kind.startswith("binary")
            return Pool(
                entries=classification.POOL, predict=partial(classification.predict, binary=binary)
            )
        case "regression":
            survives = metric == "concordance"
            return Pool(
                entries=survival.pool() if survives else regression.pool(metric),
                predict=partial(regression.predict, metric=metric),
            )
        case _:
            raise SystemExit(
                f"kind is {kind!r}; these pools are for binary classification,"
                " multiclass classification and regression"
            )


def read(
    data: Path, id_column: str, target: str, *, has_classes: bool, metric_column: str | None = None
) -> Table:
    """Read train.csv and test.csv; both get the same categories.

    Args:
        data: the folder of the task's public files.
        id_column: the name of the id column.
        target: the name of the target column.
        has_classes: whether the target has classes.
        metric_column: the events, with which the target gets a sign, or the queries, which are no
            feature: those of the test rows are new.
    """
    train, test = read_tables(data, id_column, target, has_classes=has_classes)
    both = pd.concat([train.drop(columns=target), test], ignore_index=True)
    features = both.drop(columns=[id_column, *(name for name in both if name == metric_column)])
    answers = train[target]
    if metric_column is not None and metric_column not in test:
        events = pd.read_csv(data / "train.csv", usecols=[metric_column])[metric_column]
        answers = survival.signed_times(answers, events)
    for name in features:
        if pd.api.types.is_numeric_dtype(features[name]):
            numbers = features[name].astype("float64")
            features[name] = numbers.replace([np.inf, -np.inf], np.nan)  # few models take them
        else:
            features[name] = limit_categories(features[name]).astype("category")
    return Table(
        train=features.iloc[: len(train)],
        target=answers,
        test=features.iloc[len(train) :],
        ids=test[id_column],
    )


def limit_categories(column: pd.Series) -> pd.Series:
    """Keep the most common categories of a column and merge the others.

    Of equally common categories the alphabetically first is kept.
    """
    counts = column.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if len(counts) <= MAX_CATEGORIES + 1:
        return column
    return column.where(column.isna() | column.isin(counts.index[:MAX_CATEGORIES]), OTHER_CATEGORY)


def main(request: dict[str, Any]) -> None:
    """Run every entry and write its submission."""
    pool = select_pool(request["kind"], request["metric"])
    table = read(
        Path(request["data"]),
        request["id"],
        request["target"],
        has_classes=request["kind"] != "regression",
        metric_column=request.get("metric_column"),
    )

    def entry(build: Callable[[int], Model]) -> Callable[[], np.ndarray]:
        return lambda: pool.predict(build(request["seed"]), table.train, table.target, table.test)

    run(request, table.ids, {name: entry(build) for name, build in pool.entries.items()})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
