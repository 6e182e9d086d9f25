"""Compare models, and averages of models, on held-out rows."""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from .problem import Candidate, Problem, Splits

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How much rare classes are preferred; see `Problem.finish`. All are tried."""
CLASS_METRICS = ("f1", "macro_f1", "balanced_accuracy", "matthews")
"""The metrics for which the most probable class is not always the best answer."""


def take(features: Any, rows: np.ndarray) -> Any:
    """Return some rows of a table or a matrix."""
    return features.iloc[rows] if hasattr(features, "iloc") else features[rows]


def fit_predict(problem: Problem, candidate: Candidate, fitted: np.ndarray, asked: Any) -> Any:
    """Fit a model on some training rows and predict others, on one thread.

    More threads wait for each other where other programs use the cores.

    Args:
        problem: what is predicted.
        candidate: the model and its features.
        fitted: the numbers of the training rows to fit on.
        asked: the features of the rows to predict.

    Returns:
        Class probabilities, shape (rows, classes), or amounts, shape (rows, 1).
    """
    fitted = fitted[candidate.rows[fitted]]
    with threadpool_limits(1):
        model = clone(candidate.model).fit(take(candidate.train, fitted), problem.y[fitted])
        if problem.classes is None:
            return np.asarray(model.predict(asked)).reshape(-1, 1)
        probabilities = np.zeros((asked.shape[0], len(problem.classes)))
        probabilities[:, model.classes_] = model.predict_proba(asked)  # a fold can lack a class
        return probabilities


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The models that are averaged, and how their predictions become a submission."""

    names: tuple[str, ...]
    power: float
    """How much rare classes are preferred; see `Problem.finish`."""
    score: float
    """The score on the held-out rows; more is better, so losses are negative."""


def compare(problem: Problem, candidates: Mapping[str, Candidate], splits: Splits) -> Choice:
    """Score each candidate and each average of candidates on the held-out rows; return the best.

    A candidate that cannot be fitted is left out.

    Raises:
        ValueError: none can.
    """
    held = np.concatenate([rows for _, rows in splits])
    predictions = {}
    for name, candidate in candidates.items():
        start = time.perf_counter()
        try:
            parts = [
                fit_predict(problem, candidate, fitted, take(candidate.train, rows))
                for fitted, rows in splits
            ]
        except Exception as error:  # another model may fit these data
            print(f"{name}: left out, {type(error).__name__}: {error}")
            continue
        predictions[name] = np.concatenate(parts)
        score = problem.score(held, problem.finish(predictions[name]))
        print(f"{name}: {problem.metric} {abs(score):.5f} in {time.perf_counter() - start:.1f} s")
    powers = POWERS if problem.classes is not None and problem.metric in CLASS_METRICS else (0.0,)
    choices = []
    for count in range(1, len(predictions) + 1):
        for names in itertools.combinations(predictions, count):
            average = np.mean([predictions[name] for name in names], axis=0)
            for power in powers:
                score = problem.score(held, problem.finish(average, power))
                choices.append(Choice(names=names, power=power, score=score))
    if not choices:
        raise ValueError("none of the models can be fitted")
    best = max(choices, key=lambda choice: choice.score)
    print(f"best: {' + '.join(best.names)}, {problem.metric} {abs(best.score):.5f}")
    return best
