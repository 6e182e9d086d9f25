"""Define thirty classifiers of tabular data, from a constant to a stack.

The tuned gradient boosting settings were chosen by cross-validation on the training rows of
adult-income and image-segment together. They are the same for every task.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, QuantileTransformer, SplineTransformer
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from .pool import SAME_TREES
from .tabular_columns import Model, bins, codes, numbers_only, nystroem, one_hot


def best_columns(count: int) -> Model:
    """Select the columns with the highest F statistic between the classes."""
    return make_pipeline(codes(), SelectKBest(f_classif, k=count))


def lightgbm(seed: int, **settings: Any) -> Model:
    """Build LightGBM with settings for reproducible trees."""
    return LGBMClassifier(random_state=seed, **SAME_TREES, **settings)


def xgboost(seed: int, **settings: Any) -> Model:
    """Build XGBoost on one thread."""
    return XGBClassifier(random_state=seed, nthread=1, enable_categorical=True, **settings)


def histogram_boosting(seed: int, **settings: Any) -> Model:
    """Build scikit-learn's histogram gradient boosting, which splits on sets of categories."""
    return HistGradientBoostingClassifier(
        random_state=seed, categorical_features="from_dtype", **settings
    )


def tuned_lightgbm(seed: int) -> Model:
    """Build LightGBM with many small steps, and with small leaves for rare values."""
    return lightgbm(
        seed,
        n_estimators=400,
        learning_rate=0.06,
        num_leaves=15,
        min_child_samples=10,
        colsample_bytree=0.4,
        reg_lambda=1.0,
        max_cat_to_onehot=64,
    )


def tuned_xgboost(seed: int) -> Model:
    """Build XGBoost with settings close to `tuned_lightgbm`."""
    return xgboost(
        seed,
        n_estimators=600,
        learning_rate=0.05,
        max_depth=5,
        colsample_bytree=0.3,
        max_cat_to_onehot=64,
    )


def tuned_histogram_boosting(seed: int) -> Model:
    """Build histogram boosting with small leaves and half of the columns for each split."""
    return histogram_boosting(
        seed,
        max_iter=200,
        learning_rate=0.1,
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


def extra_trees(seed: int) -> Model:
    """Build extremely randomised trees whose leaves have at least two rows."""
    trees = ExtraTreesClassifier(200, min_samples_leaf=2, max_features=0.5, random_state=seed)
    return make_pipeline(codes(), trees)


def boosting_blend(seed: int) -> Model:
    """Average the probabilities of the three boosting models."""
    return VotingClassifier(tuned_boostings(seed), voting="soft")


def stack(seed: int) -> Model:
    """Stack the boosting models and the extra trees with a logistic regression."""
    members = [*tuned_boostings(seed), ("extra-trees", extra_trees(seed))]
    return StackingClassifier(members, LogisticRegression(max_iter=500), cv=3)


POOL: dict[str, Callable[[int], Model]] = {
    # Trivial models
    "constant": lambda seed: DummyClassifier(random_state=seed),
    "stump": lambda seed: make_pipeline(
        codes(), DecisionTreeClassifier(max_depth=1, random_state=seed)
    ),
    "one-column-tree": lambda seed: make_pipeline(
        best_columns(1), DecisionTreeClassifier(min_samples_leaf=20, random_state=seed)
    ),
    "two-level-tree": lambda seed: make_pipeline(
        codes(), DecisionTreeClassifier(max_depth=2, random_state=seed)
    ),
    # Textbook methods
    "naive-bayes-numbers": lambda _: make_pipeline(numbers_only(), GaussianNB()),
    "naive-bayes-bins": lambda _: make_pipeline(one_hot(bins()), BernoulliNB()),
    "nearest-neighbour": lambda _: make_pipeline(one_hot(), KNeighborsClassifier(1)),
    "neighbours-numbers": lambda _: make_pipeline(numbers_only(), KNeighborsClassifier(15)),
    "neighbours": lambda _: make_pipeline(one_hot(), KNeighborsClassifier(15, weights="distance")),
    "full-tree": lambda seed: make_pipeline(codes(), DecisionTreeClassifier(random_state=seed)),
    "pruned-tree": lambda seed: make_pipeline(
        codes(), DecisionTreeClassifier(min_samples_leaf=10, ccp_alpha=1e-4, random_state=seed)
    ),
    "linear-discriminant": lambda _: make_pipeline(one_hot(), LinearDiscriminantAnalysis()),
    "logistic-numbers": lambda _: make_pipeline(numbers_only(), LogisticRegression(max_iter=500)),
    "logistic": lambda _: make_pipeline(one_hot(), LogisticRegression(max_iter=500)),
    # Feature engineering
    "logistic-splines": lambda seed: make_pipeline(
        one_hot(QuantileTransformer(random_state=seed), SplineTransformer(6)),
        LogisticRegression(max_iter=500),
    ),
    "kernel-logistic": lambda seed: make_pipeline(
        one_hot(), nystroem(seed), LogisticRegression(C=10, max_iter=500)
    ),
    "neural-network": lambda seed: make_pipeline(
        one_hot(),
        MLPClassifier((64,), alpha=1e-2, early_stopping=True, max_iter=300, random_state=seed),
    ),
    # Ensembles of trees
    "bagged-trees": lambda seed: make_pipeline(codes(), BaggingClassifier(random_state=seed)),
    "random-forest": lambda seed: make_pipeline(codes(), RandomForestClassifier(random_state=seed)),
    "extra-trees": extra_trees,
    "adaboost": lambda seed: make_pipeline(
        codes(),
        AdaBoostClassifier(
            DecisionTreeClassifier(max_depth=2), n_estimators=100, random_state=seed
        ),
    ),
    # Boosting
    "lightgbm-six-columns": lambda seed: make_pipeline(best_columns(6), lightgbm(seed)),
    "lightgbm": lightgbm,
    "xgboost": xgboost,
    "histogram-boosting": histogram_boosting,
    "lightgbm-tuned": tuned_lightgbm,
    "xgboost-tuned": tuned_xgboost,
    "histogram-boosting-tuned": tuned_histogram_boosting,
    # Ensembles of models
    "boosting-blend": boosting_blend,
    "stack": stack,
}
"""A dict from an entry's name to a function that builds its model from a seed, in the order in
which they run."""


def predict(
    model: Model, train: pd.DataFrame, target: pd.Series, test: pd.DataFrame, *, binary: bool
) -> np.ndarray:
    """Fit a model and predict the test rows.

    Returns:
        Probabilities of the second class for a binary task, else class names, shape (test rows,).
    """
    coder = LabelEncoder().fit(target)
    probability = model.fit(train, coder.transform(target)).predict_proba(test)
    if binary:
        return np.asarray(probability[:, 1], dtype=float)
    return np.asarray(coder.classes_[probability.argmax(axis=1)])
