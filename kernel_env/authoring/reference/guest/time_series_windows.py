"""Define thirty-eight classifiers of time-series windows, from a constant to a stack.

A row contains the samples of one or more channels, in columns named like `ax_00 … ax_99`, and
optional other columns that both tables have. This module computes statistics, spectra, shapes and
random kernels of the channels. The models and their settings are textbook ones, the same for
every task. The features use no knowledge of the data except its columns.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from lightgbm import LGBMClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from .pool import SAME_TREES
from .recipe import Model, Problem, Recipe, TrainTest, blend, stack

SAMPLE_COLUMN = re.compile(r"(.+)_(\d+)")
"""The name of a sample column: the channel and the sample's index."""
FREQUENCY_COUNT, LAG_COUNT, STEP_COUNT = 16, 12, 20
KERNEL_COUNT = 400
"""The number of random kernels."""
EPSILON = 1e-9


# ---- features, computed without labels --------------------------------------------------


def channels(table: pd.DataFrame) -> np.ndarray:
    """Return the samples, shape (windows, channels, samples)."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in table:
        if matched := SAMPLE_COLUMN.fullmatch(str(name)):
            found.setdefault(matched[1], []).append((int(matched[2]), str(name)))
    if not found or len({len(samples) for samples in found.values()}) > 1:
        counts = {channel: len(samples) for channel, samples in found.items()}
        raise SystemExit(f"samples of each channel: {counts}; this pool requires equal numbers")
    return np.stack(
        [
            table[[name for _, name in sorted(samples)]].to_numpy(dtype=float)
            for samples in found.values()
        ],
        axis=1,
    )


def flatten(signals: np.ndarray) -> np.ndarray:
    """Reshape windows to one row of numbers each."""
    return signals.reshape(len(signals), -1)


def means(signals: np.ndarray) -> np.ndarray:
    """Return the mean of each channel."""
    return np.asarray(signals.mean(axis=2))


def spreads(signals: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each channel."""
    return np.asarray(signals.std(axis=2))


def moments(signals: np.ndarray) -> np.ndarray:
    """Return each channel's extremes, skewness, kurtosis, step sizes and mean crossings."""
    steps = np.diff(signals, axis=2)
    centred = signals - signals.mean(axis=2, keepdims=True)
    crossings = (np.diff(np.sign(centred), axis=2) != 0).mean(axis=2)
    return np.hstack(
        [
            signals.min(axis=2),
            signals.max(axis=2),
            scipy.stats.skew(signals, axis=2),
            scipy.stats.kurtosis(signals, axis=2),
            np.abs(steps).mean(axis=2),
            steps.std(axis=2),
            crossings,
        ]
    )


def quantiles(signals: np.ndarray) -> np.ndarray:
    """Return the nine deciles of each channel."""
    return flatten(np.moveaxis(np.quantile(signals, np.linspace(0.1, 0.9, 9), axis=2), 0, 2))


def spectra(signals: np.ndarray) -> np.ndarray:
    """Return the log power at the lowest frequencies, and the spectral centroid."""
    centred = signals - signals.mean(axis=2, keepdims=True)
    power = np.abs(np.fft.rfft(centred * np.hanning(signals.shape[2]), axis=2)) ** 2
    power = power[:, :, 1:]
    middle = (power * np.arange(power.shape[2])).sum(axis=2) / (power.sum(axis=2) + EPSILON)
    return np.hstack([flatten(np.log(power[:, :, :FREQUENCY_COUNT] + 1e-3)), middle])


def correlations(signals: np.ndarray) -> np.ndarray:
    """Return the correlation of each pair of channels."""
    centred = signals - signals.mean(axis=2, keepdims=True)
    scaled = centred / (np.sqrt((centred**2).sum(axis=2, keepdims=True)) + EPSILON)
    products = scaled @ scaled.transpose(0, 2, 1)
    first, second = np.triu_indices(signals.shape[1], 1)
    return np.asarray(products[:, first, second])


def autocorrelations(signals: np.ndarray) -> np.ndarray:
    """Return the autocorrelation of each channel at several lags."""
    centred = signals - signals.mean(axis=2, keepdims=True)
    power = (centred**2).sum(axis=2) + EPSILON
    lags = np.unique(np.linspace(1, signals.shape[2] // 2, LAG_COUNT).astype(int))
    return np.hstack([(centred[:, :, k:] * centred[:, :, :-k]).sum(axis=2) / power for k in lags])


def coarse(signals: np.ndarray) -> np.ndarray:
    """Return the samples, averaged to twenty per channel."""
    starts = np.arange(STEP_COUNT) * signals.shape[2] // STEP_COUNT
    widths = np.diff([*starts, signals.shape[2]])
    return flatten(np.add.reduceat(signals, starts, axis=2) / widths)


def kernels(signals: np.ndarray, seed: int) -> np.ndarray:
    """Return the maximum and the positive share of random convolution kernels' responses.

    See Dempster, Petitjean & Webb (2020), ROCKET: Exceptionally Fast and Accurate Time Series
    Classification Using Random Convolutional Kernels.
    """
    random = np.random.RandomState(seed)
    length = signals.shape[2]
    scale = signals.std(axis=2, keepdims=True)
    scaled = (signals - signals.mean(axis=2, keepdims=True)) / (scale + EPSILON)
    features = []
    for _ in range(KERNEL_COUNT):
        size = int(random.choice([7, 9, 11]))
        weights = random.normal(size=size)
        weights -= weights.mean()
        dilation = int(2 ** random.uniform(0, np.log2((length - 1) / (size - 1))))
        bias = random.uniform(-1, 1)
        source = scaled[:, random.randint(signals.shape[1])]
        width = length - (size - 1) * dilation
        response = bias + sum(
            w * source[:, k * dilation : k * dilation + width] for k, w in enumerate(weights)
        )
        features += [response.max(axis=1), (response > 0).mean(axis=1)]
    return np.column_stack(features)


def other_columns(train: pd.DataFrame, test: pd.DataFrame, id_column: str) -> TrainTest:
    """Return the columns that are not samples, with categories as 0/1 columns.

    The matrices have no columns if the tables have none.
    """
    names = [name for name in test if name != id_column and not SAMPLE_COLUMN.fullmatch(str(name))]
    both = pd.concat([train[names], test[names]], ignore_index=True)
    table = pd.get_dummies(both).to_numpy(dtype=float) if names else np.empty((len(both), 0))
    return TrainTest(train=table[: len(train)], test=table[len(train) :])


# ---- models -----------------------------------------------------------------------------


def linear(penalty: float) -> Callable[[int], Model]:
    """Build a logistic regression of standardised features with an L2 penalty."""
    return lambda _: make_pipeline(
        StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=500)
    )


def discriminant(shrinkage: str | None) -> Callable[[int], Model]:
    """Build a linear discriminant analysis with or without shrinkage of the covariance."""
    solver = "svd" if shrinkage is None else "lsqr"
    return lambda _: make_pipeline(
        StandardScaler(), LinearDiscriminantAnalysis(solver=solver, shrinkage=shrinkage)
    )


def neighbours(count: int) -> Callable[[int], Model]:
    """Build a nearest-neighbour classifier of standardised features."""
    return lambda _: make_pipeline(StandardScaler(), KNeighborsClassifier(count))


def support_vectors(cost: float) -> Callable[[int], Model]:
    """Build a support vector machine with calibrated probabilities."""
    return lambda _: make_pipeline(
        StandardScaler(), CalibratedClassifierCV(SVC(C=cost), ensemble=False)
    )


def lightgbm(seed: int, **settings: Any) -> Model:
    """Build LightGBM with settings for reproducible trees."""
    return LGBMClassifier(random_state=seed, **SAME_TREES, **settings)


def tuned_lightgbm(seed: int) -> Model:
    """Build LightGBM with small trees and a few of the columns for each."""
    return lightgbm(
        seed,
        n_estimators=150,
        learning_rate=0.08,
        num_leaves=7,
        min_child_samples=10,
        colsample_bytree=0.2,
        subsample=0.8,
        subsample_freq=1,
    )


def xgboost(seed: int) -> Model:
    """Build XGBoost on one thread with shallow trees and a few of the columns for each."""
    return XGBClassifier(
        random_state=seed,
        nthread=1,
        n_estimators=150,
        learning_rate=0.1,
        max_depth=3,
        colsample_bytree=0.2,
        subsample=0.8,
    )


def histogram_boosting(seed: int) -> Model:
    """Build scikit-learn's histogram boosting with a fifth of the columns for each split."""
    return HistGradientBoostingClassifier(
        random_state=seed, max_iter=80, max_leaf_nodes=7, max_features=0.2
    )


def extra_trees(seed: int) -> Model:
    """Build extremely randomised trees."""
    return ExtraTreesClassifier(300, random_state=seed)


def network(seed: int) -> Model:
    """Build a neural network with one hidden layer."""
    return make_pipeline(
        StandardScaler(), MLPClassifier((64,), alpha=0.1, max_iter=200, random_state=seed)
    )


# ---- the pool ---------------------------------------------------------------------------

SIMPLE = ("means", "spreads")
STATISTICS = ("means", "spreads", "moments", "others")
SHAPES = ("spectra", "correlations", "autocorrelations")
ALL = ("means", "spreads", "moments", "quantiles", *SHAPES, "others")

RECIPES: dict[str, Recipe] = {
    # Trivial models
    "constant": Recipe(("means",), lambda seed: DummyClassifier(random_state=seed)),
    "stump": Recipe(
        ("means",), lambda seed: DecisionTreeClassifier(max_depth=1, random_state=seed)
    ),
    "two-level-tree": Recipe(
        SIMPLE, lambda seed: DecisionTreeClassifier(max_depth=2, random_state=seed)
    ),
    # A single kind of features
    "naive-bayes-means": Recipe(("means",), lambda _: GaussianNB()),
    "naive-bayes-spreads": Recipe(("spreads",), lambda _: GaussianNB()),
    "naive-bayes-spectra": Recipe(("spectra",), lambda _: GaussianNB()),
    "naive-bayes": Recipe(STATISTICS, lambda _: GaussianNB()),
    "nearest-neighbour-samples": Recipe(("samples",), lambda _: KNeighborsClassifier(1)),
    "neighbours-coarse": Recipe(("coarse",), lambda _: KNeighborsClassifier(5)),
    "neighbours-spectra": Recipe(("spectra",), neighbours(5)),
    "nearest-neighbour": Recipe(STATISTICS, neighbours(1)),
    "neighbours": Recipe(STATISTICS, neighbours(9)),
    "logistic-samples": Recipe(("samples",), linear(10.0)),
    "logistic-means": Recipe(SIMPLE, linear(1.0)),
    "logistic-correlations": Recipe(("correlations",), linear(1.0)),
    "full-tree": Recipe(STATISTICS, lambda seed: DecisionTreeClassifier(random_state=seed)),
    "pruned-tree": Recipe(
        ALL, lambda seed: DecisionTreeClassifier(min_samples_leaf=5, random_state=seed)
    ),
    # Statistics and a textbook model
    "linear-discriminant": Recipe(STATISTICS, discriminant(None)),
    "logistic-free": Recipe(STATISTICS, linear(0.01)),
    "logistic": Recipe(STATISTICS, linear(1.0)),
    "support-vectors": Recipe(STATISTICS, support_vectors(1.0)),
    "bagged-trees": Recipe(STATISTICS, lambda seed: BaggingClassifier(random_state=seed)),
    "random-forest": Recipe(STATISTICS, lambda seed: RandomForestClassifier(random_state=seed)),
    "adaboost": Recipe(
        STATISTICS,
        lambda seed: AdaBoostClassifier(
            DecisionTreeClassifier(max_depth=3), n_estimators=60, random_state=seed
        ),
    ),
    "lightgbm": Recipe(STATISTICS, lambda seed: lightgbm(seed, n_estimators=60)),
    # All features
    "shrunken-discriminant": Recipe(ALL, discriminant("auto")),
    "logistic-all": Recipe(ALL, linear(10.0)),
    "support-vectors-all": Recipe(ALL, support_vectors(10.0)),
    "neural-network": Recipe(ALL, network),
    "random-kernels": Recipe(("kernels", "means", "others"), linear(100.0)),
    "extra-trees": Recipe(ALL, extra_trees),
    "lightgbm-tuned": Recipe(ALL, tuned_lightgbm),
    "xgboost-tuned": Recipe(ALL, xgboost),
    "histogram-boosting-tuned": Recipe(ALL, histogram_boosting),
}
"""A dict from an entry's name to its recipe; they run in this order, before the blends."""

TREES = ("extra-trees", "lightgbm-tuned", "xgboost-tuned")
LINES = ("shrunken-discriminant", "logistic-all", "support-vectors-all")


def entries(
    train: pd.DataFrame, test: pd.DataFrame, request: Mapping[str, Any]
) -> dict[str, Callable[[], np.ndarray]]:
    """Return a dict from an entry's name to a function that predicts the test rows."""
    seed = request["seed"]
    signals = functools.cache(lambda: TrainTest(train=channels(train), test=channels(test)))

    def of_both(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[], TrainTest]:
        return lambda: TrainTest(train=function(signals().train), test=function(signals().test))

    functions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "means": means,
        "spreads": spreads,
        "moments": moments,
        "quantiles": quantiles,
        "spectra": spectra,
        "correlations": correlations,
        "autocorrelations": autocorrelations,
        "coarse": coarse,
        "samples": flatten,
        "kernels": functools.partial(kernels, seed=seed),
    }
    problem = Problem(
        features={
            **{name: of_both(function) for name, function in functions.items()},
            "others": lambda: other_columns(train, test, request["id"]),
        },
        labels=train[request["target"]].to_numpy(),
        kind=request["kind"],
        metric=request["metric"],
        seed=seed,
    )
    singles = {
        name: functools.partial(
            lambda recipe: problem.submission_values(problem.predict_test(recipe)), recipe
        )
        for name, recipe in RECIPES.items()
    }
    blends = {
        "tree-blend": lambda: blend(problem, [RECIPES[name] for name in TREES]),
        "line-blend": lambda: blend(problem, [RECIPES[name] for name in LINES]),
        "wide-blend": lambda: blend(problem, [RECIPES[name] for name in (*TREES, *LINES)]),
        "stack": lambda: stack(problem, [RECIPES[name] for name in (*LINES, "extra-trees")]),
    }
    return {
        **singles,
        **{
            name: functools.partial(lambda entry: problem.submission_values(entry()), entry)
            for name, entry in blends.items()
        },
    }
