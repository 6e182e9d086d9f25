"""Submit the constant that scores best under the task's metric, from the training targets."""

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .tables import Tables, read_tables

MEANS = ("rmse", "r2", "roc_auc", "average_precision", "log_loss", "brier")
"""The metrics whose best constant is the mean; of classes 0 and 1 that is the share of class 1."""


def best_constant(values: "pd.Series[Any]", metric: str, wants: str) -> str | float:
    """Return the constant prediction with the best score on the training targets.

    The mean minimises squared errors and, as a probability, the logarithmic loss (Gneiting &
    Raftery, Strictly proper scoring rules, JASA 102, 2007); the mean of logarithms RMSLE; the
    median absolute errors; the median weighted by 1 / |y| relative errors; the middle of the
    shortest half the median absolute error (Rousseeuw, Least median of squares regression, JASA
    79, 1984). Among classes it is the most frequent one; for F1, class 1, because F1 is 0
    without it. Of an unknown metric the cell type decides: the median, or the most frequent value.

    Args:
        values: the training targets, shape (rows,).
        metric: the metric's name.
        wants: the type of the target cells.
    """
    if wants == "list":
        return best_list(values.astype(str), metric)
    if metric == "f1":
        return "1"
    numbers = pd.to_numeric(values, errors="coerce")
    if wants in ("label", "binary") or not numbers.notna().all():
        return str(values.mode().iloc[0])
    y = np.sort(numbers.to_numpy(dtype=float))
    if metric in MEANS:
        constant = y.mean()
    elif metric == "rmsle":
        constant = np.expm1(np.log1p(np.maximum(y, 0)).mean())
    elif metric == "mape":
        weights = np.cumsum(1 / np.maximum(np.abs(y), np.finfo(float).eps))
        constant = y[np.searchsorted(weights, weights[-1] / 2)]
    elif metric == "median_ae":
        half = len(y) // 2
        first = (y[half:] - y[: len(y) - half]).argmin()
        constant = (y[first] + y[first + half]) / 2
    else:
        constant = np.median(y)
    return valid_number(float(constant), wants)


def best_list(values: "pd.Series[str]", metric: str) -> str:
    """Return the k most frequent labels for MAP@k, the most frequent label set otherwise."""
    if not metric.startswith("map@"):
        return str(values.mode().iloc[0])
    counts = Counter(label for cell in values for label in cell.split())
    k = int(metric.removeprefix("map@"))
    return " ".join(label for label, _ in counts.most_common(k))


def valid_number(value: float, wants: str) -> float:
    """Return the nearest number that a cell of this type can hold."""
    if wants == "probability":
        return min(max(value, 0.0), 1.0)
    if wants == "non_negative":
        return max(value, 0.0)
    return round(value) if wants == "integer" else value


def submit_constant(task: Mapping[str, Any]) -> None:
    """Write the best constant of each target, or the sample where no training table has it."""
    tables: Tables = read_tables(task, only_targets=True)
    submission = tables.sample.copy()
    if tables.train.empty:
        print("no training table has the targets: the sample submission is submitted as it is")
    for target in tables.targets if len(tables.train) else ():
        constant = best_constant(tables.train[target], task["metric"], task["wants"])
        submission[target] = constant
        print(f"{target}: {constant!r} for every row")
    submission.to_csv(os.environ["OUTPUT_PATH"], index=False)
