"""Turn timestamps into the calendar, and name models that forecast from it.

A table holds one series, or several that text columns tell apart. Models differ in how much of the
past they are fitted on, because old rows mislead where a series changes.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from .problem import Candidate, Problem, find_time
from .tables import Tables

RECENT_DAYS = 800
"""Recent rows are those of this many days before the last training row: two years and a month."""
RARE_SHARE = 0.05
"""A text column with a smaller share of filled cells names events of whole days."""
MAX_CATEGORIES = 100
HARMONICS = 2
CALENDAR = ("hour", "weekday", "hour of the week", "weekend", "day of the year", "days")
"""The features made of the time."""


def forecasting_features(tables: Tables) -> tuple[pd.DataFrame, "pd.Series[Any]"]:
    """Return the features of training rows, then of test rows, and their timestamps.

    Raises:
        ValueError: no column has dates of which those of the test rows come last.
    """
    time = find_time(tables)
    if time is None:
        raise ValueError("no column of dates in which all test rows follow all training rows")
    names = [name for name in tables.test if name in tables.train and name not in tables.ids]
    both = pd.concat([tables.train[names], tables.test[names]], ignore_index=True)
    moments = pd.to_datetime(both.pop(time))
    hour = moments.dt.hour + moments.dt.minute / 60
    features = pd.DataFrame(
        {
            "hour": hour.round(1),
            "weekday": moments.dt.dayofweek,
            "hour of the week": (moments.dt.dayofweek * 24 + moments.dt.hour).astype(float),
            "weekend": (moments.dt.dayofweek >= 5).astype(float),
            "day of the year": moments.dt.dayofyear,
            "days": (moments - moments.min()).dt.total_seconds() / 86_400,
        }
    )
    for name in both:
        column = both[name]
        if pd.api.types.is_numeric_dtype(column):
            low, high = column.quantile([0.0001, 0.9999])
            features[name] = column.astype(float).clip(low, high)  # faulty readings
        elif column.nunique() <= MAX_CATEGORIES:
            if column.notna().mean() < RARE_SHARE:
                column = column.groupby(moments.dt.normalize()).transform("first")
            features[name] = column.fillna("none").astype(str).astype("category")
    print(f"{features.shape[1]} features: {', '.join(map(str, features))}")
    return features, moments


class ByGroup(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regression that fits a model of its own to each value of a column."""

    def __init__(self, model: Any, column: str) -> None:
        self.model = model
        self.column = column

    def fit(self, rows: pd.DataFrame, target: np.ndarray) -> "ByGroup":
        """Fit a model to the rows of each group, and one to all rows for unknown groups."""
        self.models_ = {
            group: clone(self.model).fit(rows.iloc[places], target[places])
            for group, places in rows.groupby(self.column, observed=True).indices.items()
        }
        self.usual_ = float(np.median(target))
        return self

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Predict each row with the model of its group; the median of all for unknown ones."""
        predictions = np.full(len(rows), self.usual_)
        for group, places in rows.groupby(self.column, observed=True).indices.items():
            if group in self.models_:
                predictions[places] = self.models_[group].predict(rows.iloc[places])
        return predictions


def linear_features(features: pd.DataFrame) -> pd.DataFrame:
    """Return the features for linear models: a category for each hour of the week, and waves."""
    phase = features["day of the year"] / 365.25 * 2 * np.pi
    numbers = [name for name in features if name in ("weekend", "days") or name not in CALENDAR]
    table = features[numbers].copy()
    table["clock"] = features["hour of the week"].astype(str).astype("category")
    for k in range(1, HARMONICS + 1):
        table[f"sine {k}"], table[f"cosine {k}"] = np.sin(k * phase), np.cos(k * phase)
    return table


def find_series(features: pd.DataFrame, moments: "pd.Series[Any]") -> str | None:
    """Return the category that tells rows of the same time apart; None without such rows."""
    for name in features.select_dtypes("category"):
        if (
            moments.duplicated().any()
            and not features.assign(t=moments).duplicated(["t", name]).any()
        ):
            return str(name)
    return None


def forecasting_candidates(tables: Tables, problem: Problem) -> dict[str, Candidate]:
    """Return boosting, randomised trees and linear models of all rows and of recent ones.

    Raises:
        ValueError: the target has classes, or the rows have no time.
    """
    if problem.classes is not None:
        raise ValueError("the target has classes; a forecast here is a number")
    features, moments = forecasting_features(tables)
    series = find_series(features, moments)
    print(f"series: {series or 'one'}")
    count, seed = len(tables.train), problem.seed
    number, category = (
        make_column_selector(dtype_include="number"),
        make_column_selector(dtype_include="category"),
    )
    codes = make_column_transformer(
        (SimpleImputer(), number),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), category),
    )
    one_hot = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), number),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), category),
    )
    loss = "absolute_error" if problem.metric in ("mae", "median_ae") else "squared_error"
    boosting = HistGradientBoostingRegressor(
        loss=loss,
        learning_rate=0.06,
        max_iter=250,
        early_stopping=False,
        min_samples_leaf=30,
        categorical_features="from_dtype",
        random_state=seed,
    )
    trees = make_pipeline(
        codes,
        ExtraTreesRegressor(60, min_samples_leaf=3, max_features=0.6, n_jobs=1, random_state=seed),
    )
    linear: Any = make_pipeline(one_hot, Ridge(alpha=1.0))
    linear = linear if series is None else ByGroup(linear, series)
    start = moments[:count].max() - pd.Timedelta(days=RECENT_DAYS)
    recent = (moments[:count] > start).to_numpy()
    waves = linear_features(features)
    models = {
        "boosting": (boosting, features, np.ones(count, dtype=bool)),
        "boosting, recent rows": (boosting, features, recent),
        "trees, recent rows": (trees, features, recent),
        "linear, recent rows": (linear, waves, recent),
    }
    return {
        name: Candidate(model=model, train=table.iloc[:count], test=table.iloc[count:], rows=rows)
        for name, (model, table, rows) in models.items()
        if name != "boosting" or not recent.all()
    }
