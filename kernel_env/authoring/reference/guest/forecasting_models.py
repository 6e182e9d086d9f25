"""Define the models of forecasting tasks and fit them.

A linear model is fitted to each series; trees get the series as a category.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from xgboost import XGBRegressor

from .forecasting_data import CALENDAR_PARTS, SERIES, TREND, ForecastData, Frame
from .pool import SAME_TREES

Model = Any
"""An estimator with scikit-learn's `fit` and `predict`; these libraries have no types."""

MAX_LOG = 50.0
"""The limit of a predicted logarithm: linear models can extrapolate far, and exp must be finite."""
HALF_LIFE = 0.15
"""The share of the training time at which a row's weight is half, for recency-weighted models."""


class PerSeries(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regression that fits a separate model to each series."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def fit(self, rows: Frame, target: np.ndarray) -> "PerSeries":
        """Fit a model to each series that has rows."""
        self.models_ = {
            name: clone(self.model).fit(rows.iloc[places], target[places])
            for name, places in rows.groupby(SERIES, observed=True).indices.items()
        }
        return self

    def predict(self, rows: Frame) -> np.ndarray:
        """Predict each row with the model of its series."""
        prediction = np.empty(len(rows))
        for name, places in rows.groupby(SERIES, observed=True).indices.items():
            prediction[places] = self.models_[name].predict(rows.iloc[places])
        return prediction


def encode(rows: Frame) -> np.ndarray:
    """Encode categories as numbers and missing values as -1, for trees that support neither."""
    columns = {
        name: column.cat.codes if isinstance(column.dtype, pd.CategoricalDtype) else column
        for name, column in rows.items()
    }
    return pd.DataFrame(columns).fillna(-1).to_numpy(dtype=float)


def codes() -> Model:
    """Build a transformer that applies `encode`."""
    return FunctionTransformer(encode)


def category_columns(rows: Frame) -> list[str]:
    """Return the names of the category columns, without the series."""
    return [str(name) for name in rows.select_dtypes("category") if name != SERIES]


def numeric_columns(rows: Frame) -> list[str]:
    """Return the names of the numeric columns, without the parts of the calendar."""
    return [str(name) for name in rows.select_dtypes("number") if name not in CALENDAR_PARTS]


def calendar_columns(rows: Frame) -> list[str]:
    """Return the names of the calendar columns that a linear model must one-hot encode."""
    return [str(name) for name in rows if name in CALENDAR_PARTS]


def linear_features() -> Model:
    """Build a transformer that standardises numbers and one-hot encodes the other columns."""
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numeric_columns),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), calendar_columns),
        (
            OneHotEncoder(handle_unknown="ignore", min_frequency=20, sparse_output=False),
            category_columns,
        ),
    )


def linear() -> Model:
    """Build a ridge regression with a small penalty for each series."""
    return PerSeries(make_pipeline(linear_features(), Ridge(alpha=1.0)))


def neighbours(count: int) -> Model:
    """Build a nearest-neighbour regression for each series."""
    return PerSeries(make_pipeline(linear_features(), KNeighborsRegressor(count)))


def forest(seed: int) -> Model:
    """Build a random forest whose trees use a part of the rows, which is faster."""
    return make_pipeline(
        codes(),
        RandomForestRegressor(
            50, max_samples=0.4, min_samples_leaf=2, max_features=0.6, random_state=seed
        ),
    )


def extra_trees(seed: int) -> Model:
    """Build extremely randomised trees."""
    return make_pipeline(
        codes(),
        ExtraTreesRegressor(50, min_samples_leaf=3, max_features=0.8, random_state=seed),
    )


def neural_network(seed: int) -> Model:
    """Build a network with one hidden layer and a standardised target."""
    network = MLPRegressor(
        hidden_layer_sizes=(64,),
        batch_size=512,
        learning_rate_init=3e-3,
        early_stopping=True,
        max_iter=12,
        n_iter_no_change=4,
        random_state=seed,
    )
    columns = make_column_transformer(
        (linear_features(), lambda rows: [name for name in rows if name != SERIES]),
        (OneHotEncoder(sparse_output=False), lambda rows: [SERIES] if SERIES in rows else []),
    )
    return TransformedTargetRegressor(make_pipeline(columns, network), transformer=StandardScaler())


def histogram_boosting(seed: int, **settings: Any) -> Model:
    """Build scikit-learn's histogram gradient boosting."""
    return HistGradientBoostingRegressor(
        random_state=seed, categorical_features="from_dtype", **settings
    )


def xgboost(seed: int, **settings: Any) -> Model:
    """Build XGBoost on one thread."""
    return XGBRegressor(random_state=seed, nthread=1, enable_categorical=True, **settings)


def lightgbm(seed: int, **settings: Any) -> Model:
    """Build LightGBM with settings for reproducible trees."""
    return LGBMRegressor(random_state=seed, **SAME_TREES, **settings)


def tuned_lightgbm(data: ForecastData) -> Model:
    """Build LightGBM with many small steps, each on some of the columns and rows."""
    return lightgbm(
        data.seed,
        n_estimators=500,
        learning_rate=0.04,
        num_leaves=31,
        min_child_samples=30,
        colsample_bytree=0.6,
        subsample=0.7,
        subsample_freq=1,
        reg_lambda=1.0,
        objective="l1" if data.metric == "mae" else "l2",
    )


def tuned_xgboost(data: ForecastData) -> Model:
    """Build XGBoost with settings close to `tuned_lightgbm`."""
    return xgboost(
        data.seed,
        n_estimators=400,
        learning_rate=0.05,
        max_depth=6,
        min_child_weight=10,
        colsample_bytree=0.6,
        subsample=0.7,
        objective="reg:absoluteerror" if data.metric == "mae" else "reg:squarederror",
    )


def tuned_histogram_boosting(data: ForecastData) -> Model:
    """Build histogram boosting with many small steps."""
    return histogram_boosting(
        data.seed,
        max_iter=300,
        learning_rate=0.06,
        min_samples_leaf=30,
        max_features=0.6,
        loss="absolute_error" if data.metric == "mae" else "squared_error",
    )


def fit_predict(
    data: ForecastData,
    model: Model,
    columns: Sequence[str],
    *,
    logarithm: bool = False,
    days: float = np.inf,
    recency_weighted: bool = False,
) -> np.ndarray:
    """Fit a model to some columns and predict the test rows.

    Args:
        data: the task's data.
        model: the model to fit.
        columns: the names of the features; the series is added if there are several.
        logarithm: whether to fit log(1 + y) under a logarithmic metric.
        days: fit the rows of the last training days only.
        recency_weighted: whether a row's weight halves after `HALF_LIFE` of the training time.
    """
    names = list(dict.fromkeys(columns))
    if data.train[SERIES].nunique() > 1 or isinstance(model, PerSeries):
        names = [*dict.fromkeys([SERIES, *names])]
    age = -data.train[TREND]
    rows = (age <= days).to_numpy()
    if logarithm and data.logarithmic:
        model = TransformedTargetRegressor(
            model, func=np.log1p, inverse_func=capped_expm1, check_inverse=False
        )
    weight = (
        {"sample_weight": 0.5 ** (age / (HALF_LIFE * age.max()))[rows]} if recency_weighted else {}
    )
    target = data.target.to_numpy()[rows]
    return np.asarray(
        model.fit(data.train.loc[rows, names], target, **weight).predict(data.test[names])
    )


def capped_expm1(logarithm: np.ndarray) -> np.ndarray:
    """Return exp(x) - 1, with x limited so that the result is finite."""
    return np.asarray(np.expm1(np.minimum(logarithm, MAX_LOG)))
