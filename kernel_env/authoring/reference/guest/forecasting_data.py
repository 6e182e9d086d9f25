"""Read a forecasting task's tables and compute the features that the pipelines share.

The features are the calendar, Fourier terms of the time, and the task's own columns. A table has
one series, or several that a text column names, for example car parks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Frame = pd.DataFrame

SERIES = "series"
SLOT, WEEKDAY, WEEKEND, WEEK_SLOT, MONTH = "slot", "weekday", "weekend", "week-slot", "month"
YEARDAY, TREND = "day-of-year", "trend"
CALENDAR_PARTS = (SLOT, WEEKDAY, WEEK_SLOT, MONTH)
"""The calendar features that a linear model must one-hot encode."""
CALENDAR = (SLOT, WEEKDAY, YEARDAY)
MAX_CATEGORIES = 60
"""A text column with more distinct values is left out."""
MAX_EVENT_SHARE = 0.05
"""A text column with a lower share of filled cells contains events, such as names of holidays."""


@dataclass(frozen=True, kw_only=True)
class ForecastData:
    """A forecasting task's public data as features."""

    train: Frame
    """The features of the training rows: the timestamp, the series, the calendar, Fourier terms
    and the task's own columns."""
    test: Frame
    """The features of the test rows, with the same columns."""
    target: "pd.Series[float]"
    """The target of the training rows."""
    known: tuple[str, ...]
    """The names of the task's own columns, which are known for the test rows too."""
    event_columns: tuple[str, ...]
    """The names of the events' columns, each value repeated over its day."""
    fourier_terms: tuple[str, ...]
    """The names of the sines and cosines of the day, the week and the year."""
    metric: str
    """The metric's name."""
    seed: int
    """The random seed of the models."""

    @property
    def logarithmic(self) -> bool:
        """Return whether the metric compares logarithms."""
        return self.metric == "rmsle"

    @property
    def values(self) -> "pd.Series[float]":
        """Return the target, or log(1 + target) under a logarithmic metric."""
        return pd.Series(np.log1p(self.target)) if self.logarithmic else self.target


def read(train: Frame, test: Frame, request: Mapping[str, Any]) -> ForecastData:
    """Find the timestamps and the series, and compute the features of both tables.

    Args:
        train: the content of train.csv.
        test: the content of test.csv.
        request: the job; this function reads `id`, `target`, `metric` and `seed`.
    """
    target = request["target"]
    columns = [name for name in test if name != request["id"]]
    both = pd.concat([train[columns], test[columns]], ignore_index=True)
    text_columns = [str(name) for name in both if not pd.api.types.is_numeric_dtype(both[name])]
    time_column = next((name for name in text_columns if is_timestamp(both[name])), None)
    if time_column is None:
        raise SystemExit(f"no column of {columns} contains timestamps; a forecast needs one")
    text_columns.remove(time_column)
    time = pd.to_datetime(both[time_column])
    series = find_series(both, time_column, text_columns)
    features = calendar(time, len(train))
    features[SERIES] = series
    fourier = fourier_terms(time)
    features = features.join(fourier)
    known, event_columns = [], []
    for name in both.columns.drop([time_column, series.name], errors="ignore"):
        if name in text_columns:
            if both[name].nunique() > MAX_CATEGORIES:
                continue
            if both[name].notna().mean() < MAX_EVENT_SHARE:
                event_columns.append(f"{name}-all-day")
                all_day = both[name].groupby(time.dt.normalize()).transform("first")
                features[event_columns[-1]] = all_day.astype("category")
            features[name] = both[name].astype("category")
        else:
            features[name] = both[name].astype(float)
        known.append(str(name))
    return ForecastData(
        train=features.iloc[: len(train)],
        test=features.iloc[len(train) :].reset_index(drop=True),
        target=train[target].astype(float),
        known=tuple(known),
        event_columns=tuple(event_columns),
        fourier_terms=tuple(map(str, fourier)),
        metric=request["metric"],
        seed=request["seed"],
    )


def is_timestamp(column: "pd.Series[str]") -> bool:
    """Return whether every cell of a text column begins with a date."""
    return bool(column.str.match(r"\d{4}-\d{2}-\d{2}").eq(True).all())


def find_series(both: Frame, time_column: str, text_columns: Sequence[str]) -> "pd.Series[Any]":
    """Return the text column that distinguishes rows with the same timestamp.

    Without repeated timestamps, or without such a column, all rows are one series.
    """
    if both[time_column].duplicated().any():
        for name in text_columns:
            if not both.duplicated([time_column, name]).any():
                return both[name].astype("category")
    return pd.Series("all", index=both.index, dtype="category")


def calendar(time: "pd.Series[pd.Timestamp]", rows: int) -> Frame:
    """Compute the calendar features.

    Args:
        time: the timestamps of the training rows, then of the test rows.
        rows: the number of training rows; the trend is 0 at the last training timestamp.

    Returns:
        The timestamp, the half hour of the day, the weekday, the month, the day of the year, the
        trend in days, whether it is a weekend, and the half hour of the week.
    """
    nearest = time.dt.round("30min")
    slot = nearest.dt.hour * 2 + nearest.dt.minute // 30
    weekday = time.dt.day_of_week
    return pd.DataFrame(
        {
            "moment": time,
            SLOT: slot.astype(float),
            WEEKDAY: weekday.astype(float),
            MONTH: time.dt.month.astype(float),
            YEARDAY: time.dt.day_of_year.astype(float),
            TREND: (time - time.iloc[:rows].max()).dt.total_seconds() / 86400,
            WEEKEND: (weekday >= 5).astype(float),
            WEEK_SLOT: weekday * 48.0 + slot,
        }
    )


def fourier_terms(time: "pd.Series[pd.Timestamp]") -> Frame:
    """Compute Fourier terms of the day (also for weekends only), the week and the year."""
    day = (time - time.dt.normalize()).dt.total_seconds() / 86400
    weekend = (time.dt.day_of_week >= 5).astype(float)
    week = (time.dt.day_of_week + day) / 7
    year = time.dt.day_of_year / 365.25
    terms: dict[str, pd.Series[float]] = {"waves-weekend": weekend}
    for name, phase, order in (("day", day, 6), ("week", week, 3), ("year", year, 2)):
        for k in range(1, order + 1):
            for kind, wave in (("sin", np.sin), ("cos", np.cos)):
                terms[f"{kind}-{name}-{k}"] = pd.Series(wave(2 * np.pi * k * phase))
                if name == "day":
                    terms[f"{kind}-{name}-{k}-weekend"] = terms[f"{kind}-{name}-{k}"] * weekend
    return pd.DataFrame(terms)
