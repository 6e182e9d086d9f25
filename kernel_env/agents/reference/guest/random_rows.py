"""Submit random predictions: targets of training rows that are drawn with a seed."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .tables import Tables, read_tables


def draw_targets(tables: Tables, seed: int) -> pd.DataFrame:
    """Return the targets of random training rows, shape (test rows, targets).

    Without a training table they are those of the sample submission in random order.
    """
    random, count = np.random.default_rng(seed), len(tables.sample)
    if tables.train.empty:
        print("no training table has the targets: those of the sample are put in random order")
        return tables.sample[tables.targets].iloc[random.permutation(count)]
    print(f"targets of random training rows, with seed {seed}")
    return tables.train[tables.targets].iloc[random.integers(0, len(tables.train), count)]


def submit_random(task: Mapping[str, Any]) -> None:
    """Write random targets in the format of the sample submission."""
    tables: Tables = read_tables(task, only_targets=True)
    drawn = draw_targets(tables, task["seed"])
    submission = tables.sample.assign(**{name: drawn[name].to_numpy() for name in tables.targets})
    submission.to_csv(os.environ["OUTPUT_PATH"], index=False)
