"""The reference population of tabular tasks: a fixed pool of pipelines of rising skill.

Run inside a task's container, on exactly what an agent gets, never the answers:

    python -m guest.tabular '{"data": "/data", "out": "/workspace/predictions",
                        "kind": "binary classification", "metric": "roc_auc",
                        "id": "id", "target": "income", "seed": 0}'

It writes one submission per entry and `entries.json`, which says the seed and the
seconds of each. The same versions of the libraries give the same bytes on each run:
every entry has the same seed and one thread. What the entries are stands beside:
`tabular_classification.py`, `tabular_regression.py`.

The pool is part of a leaderboard's meaning. Changing an entry changes what "beats
85 % of reference pipelines" says, so raise `VERSION` and make the leaderboards anew.
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
from .pool import run
from .tabular_columns import Model

VERSION = 1

MOST = 254
"""Categories of a column, the most common ones; all others are one more. Some of the models take no
more than 255."""
OTHERS = "all others"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A task's public data, ready for a model."""

    train: pd.DataFrame
    """Features alone: numbers as floats, everything else as pandas categories."""
    target: pd.Series
    """Of the training rows."""
    test: pd.DataFrame
    ids: pd.Series
    """Of the test rows."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The entries for a kind of task, and how to ask one for a prediction."""

    entries: dict[str, Callable[[int], Model]]
    """Name of an entry → how to build it from a seed. Run in this order."""
    predict: Callable[[Model, pd.DataFrame, pd.Series, pd.DataFrame], np.ndarray]
    """(model, train, target, test) → what to submit."""


def pool_for(kind: str, metric: str) -> Pool:
    """The pool for a kind of task."""
    match kind:
        case "binary classification" | "multiclass classification":
            binary = kind.startswith("binary")
            return Pool(
                entries=classification.POOL, predict=partial(classification.predict, binary=binary)
            )
        case "regression":
            return Pool(
                entries=regression.pool(metric), predict=partial(regression.predict, metric=metric)
            )
        case _:
            raise SystemExit(
                f"kind is {kind!r}; these pools are for binary classification,"
                " multiclass classification and regression"
            )


def read(data: Path, id_column: str, target: str) -> Table:
    """Read train.csv and test.csv; a category has the same code in both."""
    train, test = pd.read_csv(data / "train.csv"), pd.read_csv(data / "test.csv")
    both = pd.concat([train.drop(columns=target), test], ignore_index=True)
    features = both.drop(columns=id_column)
    for name in features:
        if pd.api.types.is_numeric_dtype(features[name]):
            features[name] = features[name].astype("float64")
        else:
            features[name] = common(features[name]).astype("category")
    return Table(
        train=features.iloc[: len(train)],
        target=train[target],
        test=features.iloc[len(train) :],
        ids=test[id_column],
    )


def common(words: pd.Series) -> pd.Series:
    """A column of words in which few enough differ; of as many equally common ones the first."""
    counts = words.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if len(counts) <= MOST + 1:
        return words
    return words.where(words.isna() | words.isin(counts.index[:MOST]), OTHERS)


def main(request: dict[str, Any]) -> None:
    """Write every entry's submission, then the list of them."""
    these = pool_for(request["kind"], request["metric"])
    table = read(Path(request["data"]), request["id"], request["target"])

    def entry(build: Callable[[int], Model]) -> Callable[[], np.ndarray]:
        return lambda: these.predict(build(request["seed"]), table.train, table.target, table.test)

    run(request, table.ids, {name: entry(build) for name, build in these.entries.items()})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
