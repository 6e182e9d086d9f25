"""Thirty-one regressions of rising skill, and seven more where the metric compares logarithms.

Under `rmsle` an error counts by its ratio. Somebody who knows that fits log(1 + y), somebody
who does not fits y. The plain entries stand in the pool in both ways, the tuned ones on the
logarithm alone. A prediction below 0 is then 0, as the metric refuses it.

The boostings' settings were chosen by cross-validation on the training rows of
ames-housing and diamonds-price together, and are the same for every task.
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
"""From which a ridge chooses by leaving one row out."""
LARGEST_LOG = 50.0
"""A straight line in logarithms may run far off; exp of this is still a number."""


def best_columns(count: int) -> Model:
    """The columns that a straight line follows best, one by one."""
    return make_pipeline(codes(), SelectKBest(f_regression, k=count))


def lightgbm(seed: int, **settings: Any) -> Model:
    """LightGBM as it must be set to give the same trees each time."""
    return LGBMRegressor(random_state=seed, **SAME_TREES, **settings)


def xgboost(seed: int, **settings: Any) -> Model:
    """XGBoost on one thread."""
    return XGBRegressor(random_state=seed, nthread=1, enable_categorical=True, **settings)


def histogram_boosting(seed: int, **settings: Any) -> Model:
    """scikit-learn's own boosting of histograms; it splits on sets of categories."""
    return HistGradientBoostingRegressor(
        random_state=seed, categorical_features="from_dtype", **settings
    )


def tuned_lightgbm(seed: int) -> Model:
    """Many small steps, each tree on some of the columns."""
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
    """The same idea in XGBoost."""
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
    """Small leaves again, on half of the columns for each split."""
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
    """One of each library."""
    return [
        ("lightgbm", tuned_lightgbm(seed)),
        ("xgboost", tuned_xgboost(seed)),
        ("histogram-boosting", tuned_histogram_boosting(seed)),
    ]


def ridge_splines(seed: int) -> Model:
    """Numbers may bend: a ridge on smooth pieces of each."""
    bent = one_hot(QuantileTransformer(random_state=seed), SplineTransformer(6))
    return make_pipeline(bent, RidgeCV(PENALTIES))


def extra_trees(seed: int) -> Model:
    """Trees with random cuts, kept from learning single rows by heart."""
    trees = ExtraTreesRegressor(100, min_samples_leaf=2, max_features=0.5, random_state=seed)
    return make_pipeline(codes(), trees)


def neural_network(seed: int) -> Model:
    """One hidden layer; it wants its target standardised."""
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
    """The mean of three boostings."""
    return VotingRegressor(tuned_boostings(seed))


def stack(seed: int) -> Model:
    """A regression that learns on held-out rows whom to trust: boostings, forest and splines."""
    members = [
        *tuned_boostings(seed),
        ("extra-trees", extra_trees(seed)),
        ("ridge-splines", ridge_splines(seed)),
    ]
    return StackingRegressor(members, RidgeCV(PENALTIES), cv=3)


PLAIN: dict[str, Callable[[int], Model]] = {
    # Hardly a model
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
    # A feature engineer at work
    "ridge-splines": ridge_splines,
    # Many trees
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
"""Name of an entry → how to build it from a seed: people who fit the target as it is."""

IN_BOTH_WAYS = (
    "neighbours",
    "pruned-tree",
    "ridge",
    "lasso",
    "ridge-splines",
    "lightgbm",
    "xgboost",
)
"""Of these a second one, `…-log`, stands in the pool where the metric compares logarithms."""

SKILLED: dict[str, Callable[[int], Model]] = {
    # A feature engineer at work
    "kernel-ridge": lambda seed: make_pipeline(one_hot(), nystroem(seed), Ridge(0.1)),
    "neural-network": neural_network,
    # Trees and boosting, tuned
    "extra-trees": extra_trees,
    "lightgbm-tuned": tuned_lightgbm,
    "xgboost-tuned": tuned_xgboost,
    "histogram-boosting-tuned": tuned_histogram_boosting,
    # Several together
    "boosting-blend": boosting_blend,
    "stack": stack,
}
"""The same: people who fit what the metric compares."""


def pool(metric: str) -> dict[str, Callable[[int], Model]]:
    """The entries for a metric, in the order in which they run."""
    if metric != "rmsle":
        return {**PLAIN, **SKILLED}
    return {
        **PLAIN,
        **{f"{name}-log": partial(in_logarithms, PLAIN[name]) for name in IN_BOTH_WAYS},
        **{name: partial(in_logarithms, build) for name, build in SKILLED.items()},
    }


def in_logarithms(build: Callable[[int], Model], seed: int) -> Model:
    """The model of log(1 + y) instead of y."""
    return TransformedTargetRegressor(
        build(seed), func=np.log1p, inverse_func=exponential, check_inverse=False
    )


def exponential(logarithm: np.ndarray) -> np.ndarray:
    """The way back, kept from infinity."""
    return np.asarray(np.expm1(np.minimum(logarithm, LARGEST_LOG)))


def predict(
    model: Model, train: pd.DataFrame, target: pd.Series, test: pd.DataFrame, *, metric: str
) -> np.ndarray:
    """Fit and predict; under `rmsle` nothing below 0."""
    predicted = model.fit(train, target.to_numpy(dtype=float)).predict(test)
    return np.asarray(np.maximum(predicted, 0.0) if metric == "rmsle" else predicted)
