"""Define forecasts that repeat past values of each series, without a fitted model."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .forecasting_data import SERIES, SLOT, TREND, WEEKDAY, ForecastData

TIME_TOLERANCE = pd.Timedelta(minutes=31)
"""The largest difference between two timestamps that count as the same time of day."""


def profile(
    data: ForecastData, keys: Sequence[str], *, days: float = np.inf, half_life: float = np.inf
) -> np.ndarray:
    """Predict each series' typical value for the same calendar features.

    The typical value is the median under the mean absolute error, else the mean; under a
    logarithmic metric it is computed from logarithms. A combination of features that does not
    occur in training gets the typical value with one key less.

    Args:
        data: the task's data.
        keys: the names of calendar features, the most important first.
        days: use the last training days only.
        half_life: the age in days at which a row's weight is half; with a finite value the
            typical value is always a weighted mean.
    """
    age = -data.train[TREND]
    recent = age <= max(days, age.min())
    values = data.values[recent]
    prediction = pd.Series(np.nan, index=data.test.index)
    for count in range(len(keys), -1, -1):
        names = [SERIES, *keys[:count]]
        groups = [data.train.loc[recent, name] for name in names]
        if np.isfinite(half_life):
            weight = 0.5 ** (age[recent] / half_life)
            sums = (values * weight).groupby(groups, observed=True).sum()
            typical = sums / weight.groupby(groups, observed=True).sum()
        else:
            grouped = values.groupby(groups, observed=True)
            typical = grouped.median() if data.metric == "mae" else grouped.mean()
        found = data.test[names].join(typical.rename("typical"), on=names)["typical"]
        prediction = prediction.fillna(found)
    prediction = prediction.fillna(values.median())
    forecast = prediction.to_numpy()
    return np.expm1(forecast) if data.logarithmic else forecast


def seasonal(data: ForecastData, days: int) -> np.ndarray:
    """Predict the value at the latest training time that is a multiple of `days` earlier.

    If the series has no value within `TIME_TOLERANCE` of that time, the weekly profile is used.
    """
    last = data.train["moment"].max()
    periods = np.ceil((data.test["moment"] - last) / pd.Timedelta(days=days)).clip(lower=1)
    lookup = pd.DataFrame(
        {
            "moment": data.test["moment"] - periods * pd.Timedelta(days=days),
            SERIES: data.test[SERIES],
            "row": data.test.index,
        }
    ).sort_values("moment")
    training = data.train[["moment", SERIES]].assign(value=data.target).sort_values("moment")
    found = pd.merge_asof(
        lookup, training, on="moment", by=SERIES, direction="nearest", tolerance=TIME_TOLERANCE
    )
    prediction = found.set_index("row")["value"].sort_index().to_numpy()
    return np.where(np.isnan(prediction), profile(data, [SLOT, WEEKDAY]), prediction)


def last_value(data: ForecastData) -> np.ndarray:
    """Predict each series' last training value."""
    last = data.target.groupby(data.train[SERIES], observed=True).last()
    return data.test[SERIES].map(last).astype(float).to_numpy()


def last_year_scaled(data: ForecastData) -> np.ndarray:
    """Predict the values of a year before, scaled by each series' growth.

    The growth is the ratio of the last 56 days' mean to the mean of the same days a year before.
    """
    age = -data.train[TREND]
    series = data.train[SERIES]
    this_year = data.target[age < 56].groupby(series, observed=True).mean()
    last_year_mean = data.target[(age >= 364) & (age < 420)].groupby(series, observed=True).mean()
    growth = (this_year / last_year_mean).reindex(series.cat.categories).fillna(1.0)
    year_ago = seasonal(data, 364)
    return year_ago * data.test[SERIES].map(growth).astype(float).to_numpy()


def shifted_profile(data: ForecastData, days: float) -> np.ndarray:
    """Predict the weekly profile, shifted by each series' mean deviation in the last days."""
    keys = [SLOT, WEEKDAY]
    age = -data.train[TREND]
    typical = data.values.groupby(
        [data.train[name] for name in (SERIES, *keys)], observed=True
    ).transform("mean")
    recent = age <= days
    offset = (data.values - typical)[recent].groupby(data.train[SERIES], observed=True).mean()
    shift = data.test[SERIES].map(offset).astype(float).fillna(0).to_numpy()
    prediction = profile(data, keys)
    return np.expm1(np.log1p(prediction) + shift) if data.logarithmic else prediction + shift
