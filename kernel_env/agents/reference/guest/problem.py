"""Decide what is predicted, how predictions are scored and which rows are held out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sklearn.metrics
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from .tables import Tables

Splits = list[tuple[np.ndarray, np.ndarray]]
"""Pairs of row numbers: the rows to fit on and the rows held out."""

PROBABILITIES = ("roc_auc", "average_precision", "log_loss", "brier")
"""The metrics that score the probability of class 1."""
LOSSES = ("rmse", "rmsle", "mae", "median_ae", "mape", "log_loss", "brier")
"""The metrics of which less is better."""
SCORES = {
    "accuracy": sklearn.metrics.accuracy_score,
    "balanced_accuracy": sklearn.metrics.balanced_accuracy_score,
    "matthews": sklearn.metrics.matthews_corrcoef,
    "f1": lambda y, p: sklearn.metrics.f1_score(y, p, pos_label=y.max()),
    "macro_f1": lambda y, p: sklearn.metrics.f1_score(y, p, average="macro"),
    "weighted_f1": lambda y, p: sklearn.metrics.f1_score(y, p, average="weighted"),
    "roc_auc": sklearn.metrics.roc_auc_score,
    "average_precision": sklearn.metrics.average_precision_score,
    "log_loss": sklearn.metrics.log_loss,
    "brier": sklearn.metrics.brier_score_loss,
    "quadratic_kappa": lambda y, p: sklearn.metrics.cohen_kappa_score(
        y.round().astype(int), p.round().astype(int), weights="quadratic"
    ),
    "rmse": sklearn.metrics.root_mean_squared_error,
    "rmsle": sklearn.metrics.root_mean_squared_log_error,
    "mae": sklearn.metrics.mean_absolute_error,
    "median_ae": sklearn.metrics.median_absolute_error,
    "mape": sklearn.metrics.mean_absolute_percentage_error,
    "r2": sklearn.metrics.r2_score,
}
"""scikit-learn's function for each metric's name."""
FOLDS = 4
LARGE_ROWS = 12_000
"""With more training rows, a single fold is held out."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A target column as numbers, and how predictions of it are scored and written."""

    y: np.ndarray
    """What models fit, shape (training rows,): class numbers, or amounts."""
    classes: np.ndarray | None
    """The classes as they are written; None for amounts."""
    metric: str
    wants: str
    """The type of the submission's cells."""
    wants_probability: bool
    logarithmic: bool
    """Whether `y` is log(1 + target), because the metric compares logarithms."""
    seed: int

    def finish(self, predictions: np.ndarray, power: float = 0.0) -> np.ndarray:
        """Return a submission's values for a model's predictions.

        Args:
            predictions: class probabilities, shape (rows, classes), or amounts, shape (rows, 1).
            power: how much rare classes are preferred: probabilities are divided by the class's
                share to this power.
        """
        if self.classes is None:
            amounts = predictions[:, 0]
            if self.logarithmic:
                amounts = np.expm1(np.clip(amounts, 0, 50))
            if self.wants == "non_negative":
                amounts = np.maximum(amounts, 0)
            if self.wants == "probability":
                amounts = np.clip(amounts, 0, 1)
            return amounts.round().astype(int) if self.wants == "integer" else amounts
        if self.wants_probability:
            return np.asarray(predictions[:, 1])
        shares = np.bincount(self.y, minlength=len(self.classes)) / len(self.y)
        return np.asarray(self.classes[(predictions / shares**power).argmax(axis=1)])

    def score(self, rows: np.ndarray, values: np.ndarray) -> float:
        """Score a submission's values for some training rows; more is always better here."""
        truth = self.y[rows]
        if self.classes is not None and not self.wants_probability:
            truth = self.classes[truth]
        elif self.logarithmic:
            truth = np.expm1(truth)
        usual = "rmse" if self.classes is None else "accuracy"
        metric = self.metric if self.metric in SCORES else usual
        return float(SCORES[metric](truth, values)) * (-1 if metric in LOSSES else 1)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model and its features: tables or matrices with one row for each row of the task."""

    model: Any
    """An estimator with scikit-learn's `fit`, and `predict_proba` for classes."""
    train: Any
    """The features of the training rows, shape (training rows, features)."""
    test: Any
    """The features of the test rows, shape (test rows, features)."""
    rows: np.ndarray
    """Which training rows the model is fitted on, shape (training rows,), True or False."""


def define_problem(tables: Tables, task: Mapping[str, Any], target: str) -> Problem:
    """Decide how to predict a target column.

    Raises:
        ValueError: no table has the target, the submission's cells hold lists, or one probability
            stands for several classes.
    """
    if tables.train.empty:
        raise ValueError(f"no public table has the target {target} to learn from")
    values, wants, metric = tables.train[target], task["wants"], task["metric"]
    if wants == "list":
        raise ValueError("the cells of the submission hold lists, which no model here predicts")
    numbers = pd.to_numeric(values, errors="coerce")
    has_classes = (
        "classification" in task["kind"]
        or wants in ("label", "binary")
        or bool(numbers.isna().any())
        or (task["kind"] != "regression" and values.nunique() == 2)
    )
    shown = pd.to_numeric(tables.sample[target], errors="coerce")
    wants_probability = has_classes and (
        metric in PROBABILITIES or wants == "probability" or bool((shown % 1 > 0).any())
    )
    classes, codes = np.unique(values, return_inverse=True)
    if wants_probability and len(classes) != 2:
        raise ValueError(f"{target} has {len(classes)} classes; one probability is for two")
    amounts = numbers.to_numpy(dtype=float)
    amounts = np.log1p(np.maximum(amounts, 0)) if metric == "rmsle" else amounts
    return Problem(
        y=codes if has_classes else amounts,
        classes=classes if has_classes else None,
        metric=metric,
        wants=wants,
        wants_probability=wants_probability,
        logarithmic=metric == "rmsle" and not has_classes,
        seed=task["seed"],
    )


def random_rows(count: int, limit: int, seed: int) -> np.ndarray:
    """Choose at most `limit` of `count` rows; shape (count,), True or False."""
    chosen = np.zeros(count, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(count)[:limit]] = True
    return chosen


def find_groups(tables: Tables) -> list[str]:
    """Return the columns whose repeated values no training row shares with a test row.

    Rows of a group, such as one person's, are alike. The split of the task keeps groups whole, so
    the validation must as well.
    """
    found: list[str] = []
    if set(tables.test) <= set(tables.ids):
        return found
    for name in tables.train:
        column = tables.train[name]
        if name in {*tables.ids, *tables.targets} or column.dtype.kind == "f":
            continue
        known = set(tables.test[name]) if name in tables.test else set()
        repeats = len(column) / max(column.nunique(), 1)
        if repeats > 1.05 and column.nunique() > 2 and not known & set(column):
            found.append(str(name))
    return found


def find_time(tables: Tables) -> str | None:
    """Return a column of dates in which all test rows lie after all training rows, if any."""
    for name in tables.test:
        if name in tables.train and is_date(tables.train[name]) and is_date(tables.test[name]):
            both = [pd.to_datetime(table[name]) for table in (tables.train, tables.test)]
            if both[0].max() <= both[1].min():
                return str(name)
    return None


def is_date(column: "pd.Series[Any]") -> bool:
    """Return whether every filled cell of a text column begins with a date."""
    filled = column.dropna()
    if filled.empty or pd.api.types.is_numeric_dtype(filled):
        return False
    return bool(filled.astype(str).str.match(r"\d{4}-\d{2}-\d{2}").all())


def hold_out(tables: Tables, problem: Problem) -> Splits:
    """Split the training rows as the task splits train and test: by time, by group, or at random.

    A split by time holds out the last stretch, as long as that of the test rows but at most a
    third of the training time.
    """
    rows = len(tables.train)
    if time := find_time(tables):
        moments = pd.to_datetime(tables.train[time])
        ahead = pd.to_datetime(tables.test[time])
        span = min(ahead.max() - ahead.min(), (moments.max() - moments.min()) / 3)
        late = (moments > moments.max() - span).to_numpy()
        print(f"validation: the last {span.days} days by {time}, {late.sum():,} rows")
        return [(np.flatnonzero(~late), np.flatnonzero(late))]
    stratified = problem.classes is not None and np.bincount(problem.y).min() >= FOLDS
    split: Any = StratifiedKFold if stratified else KFold
    folds = split(FOLDS, shuffle=True, random_state=problem.seed)
    groups = None
    if names := find_groups(tables):
        groups = tables.train.groupby(names, dropna=False).ngroup()
        folds = GroupKFold(min(FOLDS, groups.nunique()))
    splits = list(folds.split(np.zeros(rows), problem.y, groups))
    splits = splits[:1] if rows > LARGE_ROWS else splits
    print(f"validation: {len(splits)} folds{' by ' + ' and '.join(names) if names else ''}")
    return splits
