"""Ask what k attempts at a task are worth, from the n that were made."""

from collections.abc import Sequence
from math import comb, fsum


def pass_at_k(n: int, successes: int, k: int) -> float | None:
    """Compute pass@k: the probability that at least one of k of the n runs succeeded.

    1 - C(n - c, k) / C(n, k), the unbiased form of Chen et al., https://arxiv.org/abs/2107.03374.

    Returns:
        None for fewer than k runs.

    >>> pass_at_k(5, 2, 3)
    0.9
    """
    return None if n < k else 1 - comb(n - successes, k) / comb(n, k)


def pass_all_k(n: int, successes: int, k: int) -> float | None:
    """Compute pass^k: the probability that all of k of the n runs succeeded.

    C(c, k) / C(n, k), tau-bench, https://arxiv.org/abs/2406.12045.

    Returns:
        None for fewer than k runs.

    >>> pass_all_k(5, 4, 3)
    0.4
    """
    return None if n < k else comb(successes, k) / comb(n, k)


def best_of_k(values: Sequence[float], k: int) -> float | None:
    """Compute the expected best of k of the n runs.

    With the values sorted, worst first, x_0 to x_(n-1): the sum of x_i · C(i, k - 1) / C(n, k). The
    best of all that was run would grow with n. RE-Bench's score at a budget of k runs,
    https://arxiv.org/abs/2411.15114.

    Args:
        values: one per run, higher is better.
        k: the number of runs to choose from, at least 1.

    Returns:
        None for fewer than k runs.
    """
    n = len(values)
    if n < k:
        return None
    terms = (value * comb(i, k - 1) for i, value in enumerate(sorted(values)))
    return fsum(terms) / comb(n, k)
