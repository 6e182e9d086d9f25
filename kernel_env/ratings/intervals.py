"""Say how far a mean can be trusted: errors and intervals of means and of shares.

A number of an agent is a mean over tasks of its means over seeds (the *cells*), so that the unit is
the task. It has two intervals, which answer two questions:

on these tasks         what the mean would be if other seeds of the same agent ran on the same tasks
on tasks like these    what the mean would be on other tasks of the same kind

The second is the wider one. Bootstraps of few tasks, and intervals over seeds, are too narrow for
it: https://arxiv.org/abs/2411.00640 ("Adding Error Bars to Evals").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from kernel_env.field_docs import show_fields

CONFIDENCE = 0.95
"""The share of intervals that contain the true value, if the assumptions hold."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Interval:
    """A range that contains the true value in 95 % of the cases."""

    low: float
    high: float


def mean(values: Sequence[float]) -> float:
    """Compute the mean; the order makes no difference. Raises `ValueError` if empty."""
    if not values:
        raise ValueError("no values have no mean")
    return math.fsum(values) / len(values)


def variance(values: Sequence[float]) -> float:
    """Compute the sample variance, with n - 1. Raises `ValueError` for fewer than two values."""
    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no variance; it takes two")
    middle = mean(values)
    return math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1)


def standard_error(values: Sequence[float]) -> float | None:
    """Compute the standard error of a mean; None for fewer than two values.

    sqrt(sum((s - mean)^2) / (n (n - 1))), https://arxiv.org/abs/2411.00640. One value has no
    error that could be computed from it: MLE-bench's reports show 0.0 then.

    >>> round(standard_error([40, 44, 48]), 6)
    2.309401
    """
    return math.sqrt(variance(values) / len(values)) if len(values) > 1 else None


def clustered_error(
    values: Sequence[float], clusters: Sequence[str], *, corrected: bool = True
) -> float | None:
    """Compute the standard error of a mean of values that are related within clusters.

    sqrt(sum over clusters of (sum in the cluster of (s - mean))^2) / n, Miller's formula
    (https://arxiv.org/abs/2411.00640), times sqrt(G / (G - 1)) for G clusters, the correction of
    Inspect. With clusters of one size it equals the standard error of the clusters' means.

    Args:
        values: shape (n,).
        clusters: the name of each value's cluster, shape (n,).
        corrected: whether the correction for few clusters is applied.

    Returns:
        None for fewer than two clusters.
    """
    middle = mean(values) if values else 0.0
    sums: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums.setdefault(cluster, []).append(value - middle)
    groups = len(sums)
    if groups < 2:
        return None
    error = math.sqrt(math.fsum(math.fsum(each) ** 2 for each in sums.values())) / len(values)
    return error * math.sqrt(groups / (groups - 1)) if corrected else error


def t_quantile(degrees: float, share: float = (1 + CONFIDENCE) / 2) -> float:
    """Return a quantile of Student's t distribution; the default is that of a 95 % interval."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, share))


def around(middle: float, error: float, degrees: float) -> Interval:
    """Return the t interval around an estimate with a standard error."""
    half = t_quantile(degrees) * error
    return Interval(low=middle - half, high=middle + half)


def on_tasks_like_these(
    cells: Sequence[float], families: Sequence[str] | None = None
) -> Interval | None:
    """Compute the interval of a mean over tasks for other tasks of the same kind.

    A t interval over the cells with T - 1 degrees of freedom; over families of related tasks, with
    the clustered error and G - 1 degrees of freedom. As in Inspect's `ci()`.

    Args:
        cells: one mean over seeds for each task, shape (T,).
        families: the family of each task, shape (T,); None: each task is one.

    Returns:
        None for fewer than two tasks or families.
    """
    families = [str(index) for index in range(len(cells))] if families is None else families
    error = clustered_error(cells, families)
    return None if error is None else around(mean(cells), error, len(set(families)) - 1)


def on_these_tasks(seeds: Sequence[Sequence[float]]) -> Interval | None:
    """Compute the interval of a mean over tasks for other seeds on the same tasks.

    The error is sqrt(sum of s_t^2 / K_t) / T with the sample variance s_t^2 of the K_t seeds of
    task t; a task with one seed is given the mean of the others' variances. The degrees of freedom
    are Satterthwaite's (Biometrics Bulletin 2, 1946). rliable's stratified bootstrap answers the
    same question (https://arxiv.org/abs/2108.13264).

    Args:
        seeds: one value per seed, for each task. No task is empty.

    Returns:
        None if no task has two seeds. The interval has the width 0 if no seed made a difference.
    """
    known = [variance(values) for values in seeds if len(values) > 1]
    if not known:
        return None
    typical = mean(known)
    parts = [
        ((variance(values) if len(values) > 1 else typical) / len(values), max(1, len(values) - 1))
        for values in seeds
    ]
    total = math.fsum(part for part, _ in parts)
    middle = mean([mean(values) for values in seeds])
    if total == 0:
        return Interval(low=middle, high=middle)
    degrees = total**2 / math.fsum(part**2 / free for part, free in parts)
    return around(middle, math.sqrt(total) / len(seeds), degrees)


def wilson(successes: float, n: int) -> Interval:
    """Compute Wilson's interval of a share. Source: Wilson, JASA 22 (1927).

    Unlike mean ± error, it stays within 0 and 1, and has a width for 0 of n. The unit is the task:
    `successes` is the sum over tasks of the share of seeds that succeeded, so it can be a fraction.

    Raises `ValueError` for no tasks.

    >>> round(wilson(0, 16).high, 6)
    0.193608
    """
    if n < 1:
        raise ValueError("a share of no tasks has no interval")
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share, square = successes / n, z * z / n
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / n + square / (4 * n))
    return Interval(
        low=max(0.0, middle - half) if successes > 0 else 0.0,
        high=min(1.0, middle + half) if successes < n else 1.0,
    )


def interquartile_mean(values: Sequence[float]) -> float:
    """Compute the IQM: the mean of all runs without a quarter of them at each end.

    floor(n / 4) values are left out at each end. Source: rliable, https://arxiv.org/abs/2108.13264.
    Runs at the floor are left out first, so it is no headline. Raises `ValueError` if empty.

    >>> interquartile_mean([0, 0, 0.1, 0.4, 0.5, 0.9])
    0.25
    """
    cut = len(values) // 4
    return mean(sorted(values)[cut : len(values) - cut])


def bounds(value: float, known: int, total: int, worst: float = 0, best: float = 1) -> Interval:
    """Return the mean over all tasks if every missing one had the worst, and the best, value.

    Args:
        value: the mean over the tasks that are there.
        known: how many are there.
        total: how many there should be, at least `known` and 1.
        worst: the lowest value.
        best: the highest value.

    >>> bounds(0.6, 14, 16)
    Interval(low=0.525, high=0.65)
    """
    there, missing = value * known, total - known
    return Interval(low=(there + worst * missing) / total, high=(there + best * missing) / total)
