"""Compare two agents on the tasks that both have, and say whether they differ by more than noise.

Overlapping intervals of two agents say nothing: most of their width is the difficulty of the tasks,
which both share. The differences on each task do not have it. See
https://arxiv.org/abs/2411.00640, section 4.
"""

import math
import random
from collections.abc import Sequence

from kernel_env.ratings.intervals import mean

ENUMERATED_TASKS = 20
"""Up to this many tasks every assignment of signs is tried."""
DRAWS = 20_000
"""The number of random assignments of signs for more tasks."""
LEVEL = 0.05
"""Differences with a smaller probability by chance are called more than noise."""
FEWEST_TASKS = 6
"""With fewer tasks no difference can have a p-value below `LEVEL`: two of 2^5 are 0.0625."""
TOLERANCE = 1e-9
"""The relative error of a sum of floats that counts as equal."""


def sign_flip_p(differences: Sequence[float]) -> float:
    """Compute the p-value of the hypothesis that the differences of two agents have no sign.

    The share of the assignments of signs to the differences whose sum is at least as far from 0 as
    the observed one (Fisher, The Design of Experiments, 1935, section 21). Exact up to 20 tasks;
    otherwise (1 + n) / (1 + 20,000) of random ones, always the same.

    Args:
        differences: one per task, shape (T,).

    Returns:
        At least 2 / 2^T; 1 if there are none.

    >>> sign_flip_p([0.03, 0.06, 0.02, 0.10, 0.05, 0.07])
    0.03125
    """
    import numpy as np

    sizes = sorted(abs(value) for value in differences)  # their signs are drawn, so order is free
    observed = abs(math.fsum(differences)) - TOLERANCE * math.fsum(sizes)
    if observed <= 0 or not sizes:
        return 1.0
    if len(sizes) <= ENUMERATED_TASKS:
        sums = np.zeros(1)
        for size in sizes:
            sums = np.concatenate([sums + size, sums - size])
        return float(np.mean(np.abs(sums) >= observed))
    bits = random.Random(0).randbytes(DRAWS * len(sizes) // 8 + 1)  # noqa: S311  # no secret
    signs = np.unpackbits(np.frombuffer(bits, np.uint8))[: DRAWS * len(sizes)]
    sums = (signs.reshape(DRAWS, len(sizes)) * 2.0 - 1.0) @ np.array(sizes)
    return float((1 + np.count_nonzero(np.abs(sums) >= observed)) / (1 + DRAWS))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number. Source: Holm, Scand. J. Statistics 6 (1979).

    The i-th smallest of m is multiplied by m - i + 1; none becomes smaller than one before it.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted


def smallest_p(tasks: int, comparisons: int = 1) -> float:
    """Return the smallest adjusted p-value that this many tasks can have: m · 2 / 2^T, up to 1."""
    return min(1.0, comparisons * 2.0 ** (1 - tasks)) if tasks else 1.0


def tasks_needed(comparisons: int) -> int:
    """Return the fewest tasks with which one of several comparisons can be more than noise."""
    return next(n for n in range(1, 99) if smallest_p(n, comparisons) < LEVEL)


def share_won(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Compute P(A > B): the share of all pairs of seeds that A wins, a tie as half.

    Seeds of two agents have nothing in common but their number, so all pairs count: it is the
    statistic of Mann & Whitney (Ann. Math. Stat. 18, 1947) over the number of pairs, as in rliable.

    Args:
        ours: A's values on a task, higher is better; not empty.
        theirs: B's values on the same task; not empty.

    >>> share_won([0.5, 0.6, 0.7], [0.6, 0.4])
    0.75
    """
    return mean([(a > b) + (a == b) / 2 for a in ours for b in theirs])
