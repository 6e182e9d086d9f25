"""Test whether the order of the answers carries information, with a permutation test.

The null hypothesis is that the answers are in random order, as they are in a task with shuffled
rows. Under it every order is equally likely, so the share of random orders with a statistic at
least as high is an exact p-value for any metric, number of classes and number of rows. The tests
are seeded and therefore deterministic.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MAX_PERMUTATIONS = 9999
"""Largest number of random orders. A sound task fails one test in ten thousand."""
STOP_AFTER = 10
"""Random orders with a statistic at least as high after which a test stops.

The p-value stays exact: Besag & Clifford (1991), Sequential Monte Carlo p-values, Biometrika 78.
"""


@dataclass(frozen=True, kw_only=True)
class PermutationResult:
    """The statistic of the real order, compared with the statistics of random orders."""

    value: float
    """The statistic of the real order."""
    permutations: int
    """Number of random orders that were compared."""
    at_least_as_high: int
    """Number of random orders with a statistic at least as high."""

    @property
    def p(self) -> float:
        """Return the p-value: the probability of such a statistic under a random order."""
        if self.at_least_as_high == STOP_AFTER:
            return self.at_least_as_high / self.permutations
        return (self.at_least_as_high + 1) / (self.permutations + 1)

    @property
    def is_chance(self) -> bool:
        """Return whether chance explains the statistic: a random order had one as high."""
        return self.at_least_as_high > 0


def run_permutation_test(
    statistic: Callable[[np.ndarray], float], rows: int, *, seed: int = 0
) -> PermutationResult:
    """Compare the statistic of the real order with those of random orders.

    Args:
        statistic: a function of a permutation of 0 … rows - 1, shape (rows,).
        rows: the number of rows.
        seed: the seed of the random orders.
    """
    random = np.random.RandomState(seed)
    value = statistic(np.arange(rows))
    least = value - 1e-9 * abs(value)  # floating-point sums depend on the order of the terms
    at_least_as_high = 0
    for order in range(1, MAX_PERMUTATIONS + 1):
        at_least_as_high += statistic(random.permutation(rows)) >= least
        if at_least_as_high == STOP_AFTER:
            return PermutationResult(
                value=value, permutations=order, at_least_as_high=at_least_as_high
            )
    return PermutationResult(
        value=value, permutations=MAX_PERMUTATIONS, at_least_as_high=at_least_as_high
    )


def agreement(predicted: np.ndarray, answers: np.ndarray) -> PermutationResult:
    """Test whether predictions agree with the answers, both of shape (rows, classes or 1).

    The statistic is their covariance, summed over the classes.
    """
    centred = predicted - predicted.mean(axis=0)
    return run_permutation_test(
        lambda order: float(np.einsum("ij,ij->", centred, answers[order]) / len(answers)),
        len(answers),
    )


def neighbour_similarity(answers: np.ndarray) -> PermutationResult:
    """Test whether consecutive answers are similar, shape (rows, classes or 1).

    The statistic is the covariance of each answer with the next one, summed over the classes.
    """
    centred = answers - answers.mean(axis=0)

    def statistic(order: np.ndarray) -> float:
        row = centred[order]
        return float(np.einsum("ij,ij->", row[:-1], row[1:]) / len(answers))

    return run_permutation_test(statistic, len(answers))


def column_error_reduction(
    train_values: np.ndarray, train: np.ndarray, test_values: np.ndarray, truth: np.ndarray
) -> float:
    """Return the share of the best constant's error that one column removes on the test set.

    1 when the column determines the target, about 0 or less without information. The prediction
    for a test value is the most frequent class of the nearest training value, or, for amounts, the
    linear interpolation of the means at the training values.

    Args:
        train_values: the column in train, shape (rows,); a missing value is NaN.
        train: the targets in train, shape (rows,): integers for classes, floats for amounts.
        test_values: the column in test, shape (test rows,); a missing value is NaN.
        truth: the targets in test, shape (test rows,), of the type of `train`.
    """
    is_classification = np.issubdtype(train.dtype, np.integer)
    known, missing = ~np.isnan(train_values), np.isnan(test_values)
    constant = best_constant(train)
    predicted = np.full(len(truth), constant, dtype=train.dtype)
    if missing.any() and not known.all():
        predicted[missing] = best_constant(train[~known])
    if known.any() and not missing.all():
        values, groups = np.unique(train_values[known], return_inverse=True)
        if is_classification:
            counts = np.zeros((len(values), int(train.max()) + 1))
            np.add.at(counts, (groups, train[known]), 1)
            nearest = np.searchsorted((values[:-1] + values[1:]) / 2, test_values[~missing])
            predicted[~missing] = counts.argmax(axis=1)[nearest]
        else:
            means = np.bincount(groups, train[known]) / np.bincount(groups)
            predicted[~missing] = np.interp(test_values[~missing], values, means)
    return error_reduction(predicted, constant, truth)


def error_reduction(predicted: np.ndarray, constant: float, truth: np.ndarray) -> float:
    """Return 1 - error of the predictions / error of the constant; 0 when the latter is 0.

    The error is the share of wrong classes, or the mean absolute error of amounts.

    Args:
        predicted: the predictions, shape (rows,).
        constant: the constant prediction to compare with.
        truth: the targets, shape (rows,): integers for classes, floats for amounts.
    """
    if np.issubdtype(truth.dtype, np.integer):
        error, baseline = float(np.mean(predicted != truth)), float(np.mean(truth != constant))
    else:
        error = float(np.abs(predicted - truth).mean())
        baseline = float(np.abs(constant - truth).mean())
    return 1 - error / baseline if baseline else 0.0


def best_constant(answers: np.ndarray) -> float:
    """Return the constant with the least error: the most frequent class, or the median."""
    if np.issubdtype(answers.dtype, np.integer):
        return int(np.bincount(answers).argmax())
    return float(np.median(answers))
