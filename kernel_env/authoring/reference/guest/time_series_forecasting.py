"""Define thirty-seven forecasts, and three more for a logarithmic metric.

The first ones repeat past values: the last value, the value of a week ago, the mean of each hour
of the week. The others fit a model to the calendar, to the task's other columns, or to both. Under
a logarithmic metric the plain models fit the target and the skilled models its logarithm, and
negative predictions become 0. Under the mean absolute error the skilled boosting models minimise
that error.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeRegressor

from .forecasting_baselines import (
    last_value,
    last_year_scaled,
    profile,
    seasonal,
    shifted_profile,
)
from .forecasting_data import (
    CALENDAR,
    MONTH,
    SLOT,
    TREND,
    WEEK_SLOT,
    WEEKDAY,
    WEEKEND,
    YEARDAY,
    ForecastData,
    Frame,
    read,
)
from .forecasting_models import (
    Model,
    codes,
    extra_trees,
    fit_predict,
    forest,
    histogram_boosting,
    lightgbm,
    linear,
    neighbours,
    neural_network,
    tuned_histogram_boosting,
    tuned_lightgbm,
    tuned_xgboost,
    xgboost,
)


def entries(
    train: Frame, test: Frame, request: Mapping[str, Any]
) -> dict[str, Callable[[], np.ndarray]]:
    """Return a dict from an entry's name to a function that predicts the test rows.

    Each function computes its predictions once; the blends use the cached predictions.
    """
    data = read(train, test, request)
    lowest = 0.0 if data.logarithmic else -np.inf
    made: dict[str, Callable[[], np.ndarray]] = {}
    for name, entry in pool(data).items():
        made[name] = functools.cache(
            functools.partial(lambda entry: np.maximum(entry(data), lowest), entry)
        )
    for name, members in BLENDS.items():
        made[name] = functools.partial(blend, [made[member] for member in members], data)
    return made


def blend(members: Sequence[Callable[[], np.ndarray]], data: ForecastData) -> np.ndarray:
    """Average entries' predictions, or their logarithms under a logarithmic metric."""
    predictions = np.stack([member() for member in members])
    if data.logarithmic:
        return np.asarray(np.expm1(np.log1p(predictions).mean(axis=0)))
    return np.asarray(predictions.mean(axis=0))


BLENDS = {
    "boosting-blend": ("lightgbm-tuned", "xgboost-tuned", "histogram-boosting-tuned"),
    "wide-blend": (
        "lightgbm-forgetting",
        "xgboost-tuned",
        "extra-trees",
        "linear-week-known",
        "week-profile-recent",
    ),
}
"""The entries that are the mean of other entries."""


def pool(data: ForecastData) -> dict[str, Callable[[ForecastData], np.ndarray]]:
    """Return a dict from an entry's name to a function that predicts the test rows."""
    calendar_only = (*CALENDAR, MONTH)
    dates = (SLOT, WEEKDAY, WEEKEND, YEARDAY, TREND)
    weekly = (WEEK_SLOT, MONTH, TREND)
    rows = len(data.test)
    all_known = (*dates, *data.known)
    best_known = (*dates, WEEK_SLOT, *data.known, *data.event_columns)
    near = ("sin-day-1", "cos-day-1", "waves-weekend", "sin-week-1", "cos-week-1")
    nearby = (*near, "sin-year-1", "cos-year-1", TREND)
    third = -data.train[TREND].min() / 3
    seed = data.seed

    def plain(model: Callable[[], Model], columns: Sequence[str], **options: Any) -> Any:
        return lambda data: fit_predict(data, model(), columns, **options)

    def skilled(model: Callable[[ForecastData], Model], **options: Any) -> Any:
        return lambda data: fit_predict(data, model(data), best_known, logarithm=True, **options)

    found: dict[str, Callable[[ForecastData], np.ndarray]] = {
        # Trivial models
        "mean": lambda data: np.full(rows, data.target.mean()),
        "median": lambda data: np.full(rows, data.target.median()),
        "last-value": last_value,
        # Past values
        "last-week": lambda data: seasonal(data, 7),
        "last-year": lambda data: seasonal(data, 364),
        "last-year-scaled": last_year_scaled,
        "weekday-profile": lambda data: profile(data, [WEEKDAY]),
        "hour-profile": lambda data: profile(data, [SLOT]),
        "weekend-profile": lambda data: profile(data, [SLOT, WEEKEND]),
        "week-profile": lambda data: profile(data, [SLOT, WEEKDAY]),
        "week-profile-by-month": lambda data: profile(data, [SLOT, WEEKDAY, MONTH]),
        "week-profile-recent": lambda data: profile(data, [SLOT, WEEKDAY], days=28),
        "week-profile-forgetting": lambda data: profile(data, [SLOT, WEEKDAY], half_life=14),
        "week-profile-shifted": lambda data: shifted_profile(data, 28),
        # Linear models
        "linear-calendar": plain(linear, [SLOT, WEEKDAY, MONTH]),
        "linear-week": plain(linear, weekly),
        "linear-week-known": plain(linear, (*weekly, *data.known)),
        "linear-waves-known": plain(linear, (*data.fourier_terms, TREND, *data.known)),
        # Neighbours and trees
        "neighbours-calendar": plain(lambda: neighbours(15), nearby[:-1]),
        "neighbours-known": plain(lambda: neighbours(15), (*nearby, *data.known)),
        "tree-calendar": plain(
            lambda: make_pipeline(
                codes(), DecisionTreeRegressor(min_samples_leaf=10, random_state=seed)
            ),
            calendar_only,
        ),
        "tree-known": plain(
            lambda: make_pipeline(
                codes(), DecisionTreeRegressor(min_samples_leaf=10, random_state=seed)
            ),
            all_known,
        ),
        "forest-calendar": plain(lambda: forest(seed), calendar_only),
        "forest-known": plain(lambda: forest(seed), all_known),
        # Boosting with default settings
        "lightgbm-calendar": plain(lambda: lightgbm(seed), calendar_only),
        "lightgbm": plain(lambda: lightgbm(seed), all_known),
        "xgboost": plain(lambda: xgboost(seed), all_known),
        "histogram-boosting": plain(lambda: histogram_boosting(seed), all_known),
    }
    if data.logarithmic:
        for name, model, columns in (
            ("linear-week-known", linear, (*weekly, *data.known)),
            ("forest-known", lambda: forest(seed), all_known),
            ("lightgbm", lambda: lightgbm(seed), all_known),
        ):
            found[f"{name}-log"] = plain(model, columns, logarithm=True)
    found |= {
        "neural-network": skilled(lambda data: neural_network(data.seed)),
        "extra-trees": skilled(lambda data: extra_trees(data.seed)),
        "lightgbm-recent": skilled(tuned_lightgbm, days=third),
        "lightgbm-forgetting": skilled(tuned_lightgbm, recency_weighted=True),
        "lightgbm-tuned": skilled(tuned_lightgbm),
        "xgboost-tuned": skilled(tuned_xgboost),
        "histogram-boosting-tuned": skilled(tuned_histogram_boosting),
    }
    return found
