"""Turn tables of numbers, categories, dates and texts into features, and name models for them."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    StandardScaler,
)

from .problem import Candidate, Problem, find_groups, is_date, random_rows
from .tables import Tables

MAX_CATEGORIES = 200
"""The most frequent categories of a column that are kept."""
MAX_ROWS = 60_000
"""The most training rows that a model is fitted on; of more, random ones."""
TOPICS = 20
"""The number of features made of each column of texts."""


def tabular_features(tables: Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the features of training and test rows: numbers and categories.

    Dates become numbers of the calendar. A text becomes its length and the projection of its
    TF-IDF weights on `TOPICS` components (latent semantic analysis: Deerwester et al., 1990).
    Columns that only one table has, and groups, are left out.
    """
    left_out = {*tables.ids, *tables.targets, *find_groups(tables)}
    names = [name for name in tables.test if name in tables.train and name not in left_out]
    both = pd.concat([tables.train[names], tables.test[names]], ignore_index=True)
    columns: dict[str, Any] = {}
    for name in map(str, names):
        column = both[name]
        numbers = pd.to_numeric(column, errors="coerce")
        if numbers.notna().sum() > 0.9 * column.notna().sum():
            columns[name] = numbers.astype(float).replace([np.inf, -np.inf], np.nan)
        elif is_date(column):
            columns.update(calendar(pd.to_datetime(column, errors="coerce", utc=True), name))
        elif is_prose(column):
            columns.update(topics(column.fillna("").astype(str), name))
        else:
            frequent = column.value_counts().index[:MAX_CATEGORIES]
            columns[name] = column.where(column.isin(frequent)).astype(str).astype("category")
    features = pd.DataFrame(columns)
    features = features.loc[:, features.nunique() > 1]
    print(f"{features.shape[1]} features: {', '.join(map(str, features))}"[:500])
    return features.iloc[: len(tables.train)], features.iloc[len(tables.train) :]


def calendar(moments: "pd.Series[Any]", name: str) -> dict[str, Any]:
    """Return a date as numbers."""
    parts = {part: getattr(moments.dt, part) for part in ("year", "month", "dayofweek", "hour")}
    parts["day of the year"] = moments.dt.dayofyear
    parts["days"] = (moments - moments.min()).dt.total_seconds() / 86_400
    return {f"{name} {part}": values.astype(float) for part, values in parts.items()}


def is_prose(column: "pd.Series[Any]") -> bool:
    """Return whether the cells are mostly different texts of several words."""
    cells = column.dropna().astype(str)
    return bool(cells.nunique() > 0.3 * len(cells) and cells.str.count(r"\s").mean() > 2)


def topics(texts: "pd.Series[str]", name: str) -> dict[str, Any]:
    """Return the length of texts and their main components."""
    weights = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=20_000).fit_transform(texts)
    count = min(TOPICS, weights.shape[1] - 1)
    parts = TruncatedSVD(count, random_state=0).fit_transform(weights)
    return {f"{name} length": texts.str.len().astype(float)} | {
        f"{name} {number}": parts[:, number] for number in range(count)
    }


def tabular_candidates(tables: Tables, problem: Problem) -> dict[str, Candidate]:
    """Return three models of different kinds: boosting, randomised trees, a linear model."""
    train, test = tabular_features(tables)
    seed = problem.seed
    number, category = (
        make_column_selector(dtype_include="number"),
        make_column_selector(dtype_include="category"),
    )
    codes = make_column_transformer(
        (SimpleImputer(strategy="median", add_indicator=True), number),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), category),
    )
    quantiles = QuantileTransformer(
        n_quantiles=min(200, len(train) // 2), output_distribution="normal", random_state=seed
    )
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    normal = make_pipeline(SimpleImputer(strategy="median"), quantiles)
    one_hot = make_column_transformer(
        (scaled, number),
        (normal, number),
        (OneHotEncoder(handle_unknown="ignore", min_frequency=5, sparse_output=False), category),
    )
    boosting = {
        "learning_rate": 0.05,
        "max_iter": 300 if problem.classes is None or problem.classes.size == 2 else 80,
        "early_stopping": False,
        "max_leaf_nodes": 15 if len(train) < 20_000 else 31,
        "categorical_features": "from_dtype",
        "random_state": seed,
    }
    trees = {"min_samples_leaf": 2, "n_jobs": 1, "random_state": seed, "max_features": 0.4}
    models: dict[str, Any]
    if problem.classes is not None:
        models = {
            "boosting": HistGradientBoostingClassifier(**boosting),
            "trees": make_pipeline(codes, ExtraTreesClassifier(150, **trees)),
            "linear": make_pipeline(one_hot, LogisticRegression(C=0.1, max_iter=500)),
        }
    else:
        loss = "absolute_error" if problem.metric in ("mae", "median_ae") else "squared_error"
        models = {
            "boosting": HistGradientBoostingRegressor(loss=loss, **boosting),
            "trees": make_pipeline(codes, ExtraTreesRegressor(100, **trees)),
            "linear": make_pipeline(one_hot, RidgeCV(np.logspace(-1, 3, 9))),
        }
    rows = random_rows(len(train), MAX_ROWS, seed)
    return {
        name: Candidate(model=model, train=train, test=test, rows=rows)
        for name, model in models.items()
    }
