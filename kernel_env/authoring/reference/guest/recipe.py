"""Define pipelines by the names of their features and a model, and combine several of them.

Computing features of images and texts takes longer than fitting most models, and many
pipelines use the same features. So each kind of features has a name and is computed once,
without the labels. A `Recipe` names the features of a model; `blend` and `stack` combine
recipes.
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
"""An estimator with scikit-learn's `fit` and `predict`; these libraries have no types."""
Matrix = Any
"""A numpy array or a sparse matrix, shape (samples, features)."""

FOLDS = 3
"""The number of cross-validation folds of a stack."""
PROBABILITIES = frozenset({"roc_auc", "average_precision", "log_loss", "brier"})
"""The metrics that require the probability of the second class, not a class."""


@dataclass(frozen=True, kw_only=True)
class TrainTest:
    """One kind of features for the training set and the test set."""

    train: Matrix
    """The features of the training rows, shape (training rows, features)."""
    test: Matrix
    """The features of the test rows, shape (test rows, features)."""


@dataclass(frozen=True)
class Recipe:
    """A model and the names of its features."""

    features: tuple[str, ...]
    """The names of the features, which are concatenated column by column."""
    model: Callable[[int], Model]
    """A function that builds the model from a seed."""


class Problem:
    """A task's labels and the features that recipes use.

    Args:
        features: a dict from a name to a function that computes the features.
        labels: the target of the training rows, shape (training rows,).
        kind: the kind of task.
        metric: the metric's name.
        seed: the random seed of the models.
    """

    def __init__(
        self,
        *,
        features: Mapping[str, Callable[[], TrainTest]],
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
        self._matrices = functools.cache(lambda name: self._features[name]())

    def matrices(self, names: Sequence[str]) -> TrainTest:
        """Concatenate features column by column; compute each kind at its first use."""
        parts = [self._matrices(name) for name in names]
        return TrainTest(
            train=side_by_side([part.train for part in parts]),
            test=side_by_side([part.test for part in parts]),
        )

    def predict_test(self, recipe: Recipe) -> np.ndarray:
        """Fit a recipe and predict the test rows.

        Returns:
            Class probabilities, shape (test rows, classes), or numbers, shape (test rows, 1).
        """
        data = self.matrices(recipe.features)
        return self.predict(recipe.model(self.seed).fit(data.train, self.labels), data.test)

    def predict_held_out(self, recipe: Recipe) -> np.ndarray:
        """Predict each training row by cross-validation, with the shape of `predict_test`."""
        method = "predict_proba" if self.has_classes else "predict"
        predictions = cross_val_predict(
            recipe.model(self.seed),
            self.matrices(recipe.features).train,
            self.labels,
            cv=FOLDS,
            method=method,
        )
        return np.asarray(predictions if self.has_classes else predictions[:, None])

    def predict(self, model: Model, rows: Matrix) -> np.ndarray:
        """Predict rows with a fitted model, with the shape of `predict_test`."""
        if self.has_classes:
            return np.asarray(model.predict_proba(rows))
        return np.asarray(model.predict(rows))[:, None]

    def submission_values(self, predictions: np.ndarray) -> np.ndarray:
        """Convert predictions to numbers, class names, or probabilities of the second class."""
        if not self.has_classes:
            return predictions[:, 0]
        if self._wants_probability:
            return predictions[:, 1]
        return np.asarray(self._classes[predictions.argmax(axis=1)])


def side_by_side(matrices: Sequence[Matrix]) -> Matrix:
    """Concatenate matrices column by column; the result is sparse if one of them is."""
    if len(matrices) == 1:
        return matrices[0]
    if any(scipy.sparse.issparse(matrix) for matrix in matrices):
        return scipy.sparse.hstack(matrices, format="csr")
    return np.hstack(matrices)


def blend(problem: Problem, recipes: Sequence[Recipe]) -> np.ndarray:
    """Return the mean of several recipes' predictions for the test rows."""
    return np.asarray(np.mean([problem.predict_test(recipe) for recipe in recipes], axis=0))


def stack(problem: Problem, recipes: Sequence[Recipe]) -> np.ndarray:
    """Fit a linear model on several recipes' cross-validated predictions; predict the test rows.

    See Wolpert (1992), Stacked Generalization.
    """
    held_out = np.hstack([problem.predict_held_out(recipe) for recipe in recipes])
    test = np.hstack([problem.predict_test(recipe) for recipe in recipes])
    meta_model = LogisticRegression(max_iter=1000) if problem.has_classes else Ridge(alpha=1.0)
    return problem.predict(meta_model.fit(held_out, problem.labels), test)
