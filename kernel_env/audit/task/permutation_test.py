"""How likely chance alone gives what was seen. Pure, and the same each time.

The null hypothesis is that the answers stand in a random order, as they do where a task's
rows were shuffled. Under it each order of the answers is as likely as the one that is there,
so the share of random orders with as high a statistic is an exact p-value, whatever the
metric, the number of classes or the size of the test set. Nothing is tuned.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

ORDERS = 9999
"""Random orders tried at the most. A sound task fails a test once in ten thousand tests."""
ENOUGH = 10
"""Orders as good as the real one, after which it is clear that chance explains it.

Besag & Clifford (1991), Sequential Monte Carlo p-values, Biometrika 78: the p-value stays exact.
"""


@dataclass(frozen=True, kw_only=True)
class Chance:
    """How a statistic stands against the same of random orders."""

    value: float
    """Of the real order."""
    orders: int
    """How many random orders were tried."""
    as_good: int
    """How many of those had a statistic at least as high."""

    @property
    def p(self) -> float:
        """The probability of such a statistic if the order were random."""
        if self.as_good == ENOUGH:
            return self.as_good / self.orders
        return (self.as_good + 1) / (self.orders + 1)

    @property
    def explains(self) -> bool:
        """Whether it may well be chance: at least one random order was as good."""
        return self.as_good > 0


def against_chance(statistic: Callable[[np.ndarray], float], rows: int, *, seed: int = 0) -> Chance:
    """Compare an order with random ones.

    Args:
        statistic: takes a permutation of 0 … rows - 1 and says how telling that order is.
        rows: how many there are.
    """
    random = np.random.RandomState(seed)
    value = statistic(np.arange(rows))
    least = value - 1e-9 * abs(value)  # sums in another order differ in their last digits
    as_good = 0
    for order in range(1, ORDERS + 1):
        as_good += statistic(random.permutation(rows)) >= least
        if as_good == ENOUGH:
            return Chance(value=value, orders=order, as_good=as_good)
    return Chance(value=value, orders=ORDERS, as_good=as_good)


def agreement(predicted: np.ndarray, answers: np.ndarray) -> Chance:
    """Whether predictions agree with the answers, both of shape (rows, classes or 1).

    The statistic is the covariance, summed over the classes.
    """
    centred = predicted - predicted.mean(axis=0)
    return against_chance(
        lambda order: float(np.einsum("ij,ij->", centred, answers[order]) / len(answers)),
        len(answers),
    )


def likeness_of_neighbours(answers: np.ndarray) -> Chance:
    """Whether answers that follow each other are alike, shape (rows, classes or 1).

    The statistic is the covariance of each with the next, summed over the classes.
    """
    centred = answers - answers.mean(axis=0)

    def statistic(order: np.ndarray) -> float:
        row = centred[order]
        return float(np.einsum("ij,ij->", row[:-1], row[1:]) / len(answers))

    return against_chance(statistic, len(answers))


def is_surprising(count: int, expected: float) -> bool:
    """Whether so many coincidences are more than chance explains, once in ten thousand times.

    Chernoff's bound of a Poisson variable: P(N >= k) <= exp(k - m + k log(m / k)) for k > m.
    """
    if count <= expected:
        return False
    if expected == 0:
        return True
    exponent = count - expected + count * (np.log(expected) - np.log(count))
    return bool(exponent < -np.log(ORDERS + 1))


def errors_removed(
    train_values: np.ndarray, train: np.ndarray, test_values: np.ndarray, truth: np.ndarray
) -> float:
    """How much of the constant answer's error one column of numbers takes away, on the test set.

    1 when the column determines the answer, about 0 or less when it says nothing. Values that
    training rows had are answered as those were; between two of them the way is straight, for
    an amount, and the nearer one counts, for a class.

    Args:
        train_values, test_values: the column, shape (rows,); a missing value is NaN.
        train, truth: the targets: integers for classes, floats for amounts.
    """
    is_classes = np.issubdtype(train.dtype, np.integer)
    known, missing = ~np.isnan(train_values), np.isnan(test_values)
    constant = typical(train)
    said = np.full(len(truth), constant, dtype=train.dtype)
    if missing.any() and not known.all():
        said[missing] = typical(train[~known])
    if known.any() and not missing.all():
        values, where = np.unique(train_values[known], return_inverse=True)
        if is_classes:
            counts = np.zeros((len(values), int(train.max()) + 1))
            np.add.at(counts, (where, train[known]), 1)
            nearest = np.searchsorted((values[:-1] + values[1:]) / 2, test_values[~missing])
            said[~missing] = counts.argmax(axis=1)[nearest]
        else:
            means = np.bincount(where, train[known]) / np.bincount(where)
            said[~missing] = np.interp(test_values[~missing], values, means)
    return share_removed(said, constant, truth)


def share_removed(said: np.ndarray, constant: float, truth: np.ndarray) -> float:
    """1 - error of an answer ÷ error of the constant; wrong classes count, amounts are averaged."""
    if np.issubdtype(truth.dtype, np.integer):
        error, usual = float(np.mean(said != truth)), float(np.mean(truth != constant))
    else:
        error, usual = float(np.abs(said - truth).mean()), float(np.abs(constant - truth).mean())
    return 1 - error / usual if usual else 0.0


def typical(answers: np.ndarray) -> float:
    """The best constant answer: the most frequent class, or the median."""
    if np.issubdtype(answers.dtype, np.integer):
        return int(np.bincount(answers).argmax())
    return float(np.median(answers))
