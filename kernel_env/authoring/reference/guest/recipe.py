"""Entries made of named features and a model, and what can be made of several of them.

Features of pictures and of texts cost more than most models that use them, and many
entries want the same ones. So they have names, are made once, without the labels, and
a `Recipe` says which of them a model gets. `blend` and `stack` put recipes together.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_predict

Model = Any
"""Whatever has scikit-learn's `fit` and `predict`; these libraries carry no types."""
Matrix = Any
"""A numpy array or a sparse matrix, one row for each picture or text."""

FOLDS = 3
"""Of a stack."""
PROBABILITIES = frozenset({"roc_auc", "average_precision", "log_loss", "brier"})
"""Metrics that want to know how likely the second class is, not which class it is."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One kind of features."""

    train: Matrix
    test: Matrix


@dataclass(frozen=True)
class Recipe:
    """A model and the features it gets, side by side."""

    features: tuple[str, ...]
    model: Callable[[int], Model]
    """From a seed."""


class Problem:
    """A task's public data, as a recipe sees it."""

    def __init__(
        self,
        *,
        features: Mapping[str, Callable[[], Pair]],
        labels: np.ndarray,
        kind: str,
        metric: str,
        seed: int,
    ) -> None:
        self.seed = seed
        self.has_classes = kind != "regression"
        self._wants_probability = metric in PROBABILITIES
        self._features = features
        if self.has_classes:
            self._classes, self.labels = np.unique(labels, return_inverse=True)
        else:
            self.labels = labels.astype(float)
        self._made = functools.cache(lambda name: self._features[name]())

    def matrices(self, names: Sequence[str]) -> Pair:
        """Some features side by side; each is made when it is first asked for."""
        pairs = [self._made(name) for name in names]
        return Pair(
            train=side_by_side([pair.train for pair in pairs]),
            test=side_by_side([pair.test for pair in pairs]),
        )

    def judged(self, recipe: Recipe) -> np.ndarray:
        """What a recipe says of the test rows: a column of chances per class, or one of numbers."""
        data = self.matrices(recipe.features)
        return self.said(recipe.model(self.seed).fit(data.train, self.labels), data.test)

    def held_out(self, recipe: Recipe) -> np.ndarray:
        """The same of each training row, by a model that has not seen it."""
        method = "predict_proba" if self.has_classes else "predict"
        said = cross_val_predict(
            recipe.model(self.seed),
            self.matrices(recipe.features).train,
            self.labels,
            cv=FOLDS,
            method=method,
        )
        return np.asarray(said if self.has_classes else said[:, None])

    def said(self, model: Model, rows: Matrix) -> np.ndarray:
        """What a fitted model says of some rows."""
        if self.has_classes:
            return np.asarray(model.predict_proba(rows))
        return np.asarray(model.predict(rows))[:, None]

    def answers(self, said: np.ndarray) -> np.ndarray:
        """What is handed in: numbers, class names, or the second class's chances."""
        if not self.has_classes:
            return said[:, 0]
        if self._wants_probability:
            return said[:, 1]
        return np.asarray(self._classes[said.argmax(axis=1)])


def side_by_side(matrices: Sequence[Matrix]) -> Matrix:
    """Matrices of the same rows as one; sparse as soon as one of them is."""
    if len(matrices) == 1:
        return matrices[0]
    if any(scipy.sparse.issparse(matrix) for matrix in matrices):
        return scipy.sparse.hstack(matrices, format="csr")
    return np.hstack(matrices)


def blend(problem: Problem, recipes: Sequence[Recipe]) -> np.ndarray:
    """The plain mean of what several recipes say of the test rows."""
    return np.asarray(np.mean([problem.judged(recipe) for recipe in recipes], axis=0))


def stack(problem: Problem, recipes: Sequence[Recipe]) -> np.ndarray:
    """A linear model that learns on held-out rows whom to trust, and how far."""
    learnt = np.hstack([problem.held_out(recipe) for recipe in recipes])
    given = np.hstack([problem.judged(recipe) for recipe in recipes])
    judge = LogisticRegression(max_iter=1000) if problem.has_classes else Ridge(alpha=1.0)
    return problem.said(judge.fit(learnt, problem.labels), given)
