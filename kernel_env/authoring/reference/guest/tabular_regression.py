"""Define thirty-one regressions of tabular data, and seven more for a logarithmic metric.

`rmsle` measures the error of log(1 + y). Under this metric some plain entries fit y and a second
time log(1 + y); the skilled entries fit log(1 + y) only. Negative predictions become 0, because
the metric rejects them.

The tuned gradient boosting settings were chosen by cross-validation on the training rows of
ames-housing and diamonds-price together. They are the same for every task.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingRegressor,
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import LassoCV, LinearRegression, Ridge, RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, SplineTransformer, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBRegressor

from .pool import SAME_TREES
from .tabular_columns import Model, codes, numbers_only, nystroem, one_hot

PENALTIES = np.logspace(-2, 4, 25)
"""The penalties from which a ridge regression chooses by leave-one-out cross-validation."""
MAX_LOG = 50.0
"""The limit of a predicted logarithm: linear models can extrapolate far, and exp must be finite."""


def best_columns(count: int) -> Model:
    """Select the columns with the highest linear correlation with the target."""
    return make_pipeline(codes(), SelectKBest(f_regression, k=count))


def lightgbm(seed: int, **settings: Any) -> Model:
    """Build LightGBM with settings for reproducible trees."""
    return LGBMRegressor(random_state=seed, **SAME_TREES, **settings)


def xgboost(seed: int, **settings: Any) -> Model:
    """Build XGBoost on one thread."""
    return XGBRegressor(random_state=seed, nthread=1, enable_categorical=True, **settings)


def histogram_boosting(seed: int, **settings: Any) -> Model:
    """Build scikit-learn's histogram gradient boosting, which splits on sets of categories."""
    return HistGradientBoostingRegressor(
        random_state=seed, categorical_features="from_dtype", **settings
    )


def tuned_lightgbm(seed: int) -> Model:
    """Build LightGBM with many small steps, and some of the columns for each tree."""
    return lightgbm(
        seed,
        n_estimators=800,
        learning_rate=0.04,
        num_leaves=31,
        min_child_samples=10,
        colsample_bytree=0.4,
        reg_lambda=1.0,
        max_cat_to_onehot=64,
    )


def tuned_xgboost(seed: int) -> Model:
    """Build XGBoost with settings close to `tuned_lightgbm`."""
    return xgboost(
        seed,
        n_estimators=800,
        learning_rate=0.04,
        max_depth=5,
        min_child_weight=3,
        subsample=0.8,
        colsample_bytree=0.6,
        max_cat_to_onehot=64,
    )


def tuned_histogram_boosting(seed: int) -> Model:
    """Build histogram boosting with small leaves and half of the columns for each split."""
    return histogram_boosting(
        seed,
        max_iter=600,
        learning_rate=0.04,
        max_leaf_nodes=15,
        min_samples_leaf=10,
        l2_regularization=1.0,
        max_features=0.5,
    )


def tuned_boostings(seed: int) -> list[tuple[str, Model]]:
    """Build the tuned boosting model of each library, with its name."""
    return [
        ("lightgbm", tuned_lightgbm(seed)),
        ("xgboost", tuned_xgboost(seed)),
        ("histogram-boosting", tuned_histogram_boosting(seed)),
    ]


def ridge_splines(seed: int) -> Model:
    """Build a ridge regression on splines of the numeric columns."""
    splines = one_hot(QuantileTransformer(random_state=seed), SplineTransformer(6))
    return make_pipeline(splines, RidgeCV(PENALTIES))


def extra_trees(seed: int) -> Model:
    """Build extremely randomised trees whose leaves have at least two rows."""
    trees = ExtraTreesRegressor(100, min_samples_leaf=2, max_features=0.5, random_state=seed)
    return make_pipeline(codes(), trees)


def neural_network(seed: int) -> Model:
    """Build a network with one hidden layer and a standardised target."""
    network = MLPRegressor(
        hidden_layer_sizes=(64,),
        alpha=1e-2,
        learning_rate_init=3e-3,
        early_stopping=True,
        random_state=seed,
    )
    return TransformedTargetRegressor(
        make_pipeline(one_hot(), network), transformer=StandardScaler()
    )


def boosting_blend(seed: int) -> Model:
    """Average the predictions of the three boosting models."""
    return VotingRegressor(tuned_boostings(seed))


def stack(seed: int) -> Model:
    """Stack the boosting models, the extra trees and the splines with a ridge regression."""
    members = [
        *tuned_boostings(seed),
        ("extra-trees", extra_trees(seed)),
        ("ridge-splines", ridge_splines(seed)),
    ]
    return StackingRegressor(members, RidgeCV(PENALTIES), cv=3)


PLAIN: dict[str, Callable[[int], Model]] = {
    # Trivial models
    "mean": lambda _: DummyRegressor(),
    "median": lambda _: DummyRegressor(strategy="median"),
    "stump": lambda seed: make_pipeline(
        codes(), DecisionTreeRegressor(max_depth=1, random_state=seed)
    ),
    "one-column-tree": lambda seed: make_pipeline(
        best_columns(1), DecisionTreeRegressor(min_samples_leaf=20, random_state=seed)
    ),
    "one-column-line": lambda _: make_pipeline(best_columns(1), LinearRegression()),
    "two-level-tree": lambda seed: make_pipeline(
        codes(), DecisionTreeRegressor(max_depth=2, random_state=seed)
    ),
    # Textbook methods
    "nearest-neighbour": lambda _: make_pipeline(one_hot(), KNeighborsRegressor(1)),
    "neighbours-numbers": lambda _: make_pipeline(numbers_only(), KNeighborsRegressor(10)),
    "neighbours": lambda _: make_pipeline(one_hot(), KNeighborsRegressor(10, weights="distance")),
    "full-tree": lambda seed: make_pipeline(codes(), DecisionTreeRegressor(random_state=seed)),
    "pruned-tree": lambda seed: make_pipeline(
        codes(), DecisionTreeRegressor(min_samples_leaf=10, random_state=seed)
    ),
    "linear-numbers": lambda _: make_pipeline(numbers_only(), LinearRegression()),
    "partial-least-squares": lambda _: make_pipeline(one_hot(), PLSRegression(5)),
    "ridge": lambda _: make_pipeline(one_hot(), RidgeCV(PENALTIES)),
    "lasso": lambda _: make_pipeline(one_hot(), LassoCV()),
    # Feature engineering
    "ridge-splines": ridge_splines,
    # Ensembles of trees
    "bagged-trees": lambda seed: make_pipeline(codes(), BaggingRegressor(random_state=seed)),
    "random-forest": lambda seed: make_pipeline(
        codes(), RandomForestRegressor(max_features=0.5, random_state=seed)
    ),
    "adaboost": lambda seed: make_pipeline(
        codes(), AdaBoostRegressor(DecisionTreeRegressor(max_depth=4), random_state=seed)
    ),
    # Boosting
    "lightgbm-six-columns": lambda seed: make_pipeline(best_columns(6), lightgbm(seed)),
    "lightgbm": lightgbm,
    "xgboost": xgboost,
    "histogram-boosting": histogram_boosting,
}
"""The entries that fit the target itself: a dict from name to a function that builds the model
from a seed."""

BOTH_TARGETS = (
    "neighbours",
    "pruned-tree",
    "ridge",
    "lasso",
    "ridge-splines",
    "lightgbm",
    "xgboost",
)
"""The plain entries that get a second entry, NAME-log, under a logarithmic metric."""

SKILLED: dict[str, Callable[[int], Model]] = {
    # Feature engineering
    "kernel-ridge": lambda seed: make_pipeline(one_hot(), nystroem(seed), Ridge(0.1)),
    "neural-network": neural_network,
    # Trees and boosting, tuned
    "extra-trees": extra_trees,
    "lightgbm-tuned": tuned_lightgbm,
    "xgboost-tuned": tuned_xgboost,
    "histogram-boosting-tuned": tuned_histogram_boosting,
    # Ensembles of models
    "boosting-blend": boosting_blend,
    "stack": stack,
}
"""The entries that fit the quantity that the metric compares, in the format of `PLAIN`."""


def pool(metric: str) -> dict[str, Callable[[int], Model]]:
    """Return the entries for a metric, in the order in which they run."""
    if metric != "rmsle":
        return {**PLAIN, **SKILLED}
    return {
        **PLAIN,
        **{f"{name}-log": partial(log_target, PLAIN[name]) for name in BOTH_TARGETS},
        **{name: partial(log_target, build) for name, build in SKILLED.items()},
    }


def log_target(build: Callable[[int], Model], seed: int) -> Model:
    """Build a model that fits log(1 + y) instead of y."""
    return TransformedTargetRegressor(
        build(seed), func=np.log1p, inverse_func=capped_expm1, check_inverse=False
    )


def capped_expm1(logarithm: np.ndarray) -> np.ndarray:
    """Return exp(x) - 1, with x limited so that the result is finite."""
    return np.asarray(np.expm1(np.minimum(logarithm, MAX_LOG)))


def predict(
    model: Model, train: pd.DataFrame, target: pd.Series, test: pd.DataFrame, *, metric: str
) -> np.ndarray:
    """Fit a model and predict the test rows; under `rmsle` negative predictions become 0."""
    predicted = model.fit(train, target.to_numpy(dtype=float)).predict(test)
    return np.asarray(np.maximum(predicted, 0.0) if metric == "rmsle" else predicted)
