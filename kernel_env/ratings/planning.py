"""Say before anything is spent which difference of two agents a plan can see."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from kernel_env.field_docs import show_fields
from kernel_env.ratings.intervals import mean, t_quantile, variance

POWER = 0.8
"""The probability with which a true difference of the size that is computed is found."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Spread:
    """What makes differences of two agents vary; the units are those of the measure."""

    tasks: float
    """Standard deviation over tasks of the true difference of two agents."""
    seeds: float
    """Standard deviation over seeds of one agent on one task."""


def smallest_difference(tasks: int, seeds: int = 1, spread: Spread | None = None) -> float | None:
    """Compute the smallest true difference of two agents that a plan detects.

    It is found with a probability of 80 % by a two-sided paired t test at 5 %: d · sd / sqrt(T),
    where d is the non-centrality at which Student's t with T - 1 degrees of freedom is beyond its
    97.5 % quantile in 80 % of the cases, and sd^2 = w^2 + 2 s^2 / K. Miller's
    n = (z_a + z_b)^2 (w^2 + s_A^2 / K_A + s_B^2 / K_B) / d^2 is its form for many tasks
    (https://arxiv.org/abs/2411.00640, section 5).

    Args:
        tasks: T.
        seeds: K, the seeds of each agent on each task.
        spread: w and s. Default: the result is in units of sd.

    Returns:
        None for fewer than two tasks.

    >>> round(smallest_difference(16), 6)
    0.749466
    """
    from scipy.special import nctdtrinc

    if tasks < 2:
        return None
    deviation = (
        1.0 if spread is None else math.hypot(spread.tasks, spread.seeds * (2 / seeds) ** 0.5)
    )
    found = nctdtrinc(tasks - 1, 1 - POWER, t_quantile(tasks - 1))
    return float(found) * deviation / math.sqrt(tasks)


def spread_of(seeds: Mapping[str, Mapping[str, Sequence[float]]]) -> Spread | None:
    """Estimate the spread from earlier episodes.

    s^2 is the mean variance of the seeds of an agent on a task. w^2 is the mean over pairs of
    agents of the variance over tasks of their cells' differences, less what the seeds make of it.

    Args:
        seeds: agent → task → one value per seed.

    Returns:
        None unless two agents have two tasks in common. Without two seeds anywhere, all of the
        spread is taken to be that of tasks.
    """
    known = [
        variance(values)
        for by_task in seeds.values()
        for values in by_task.values()
        if len(values) > 1
    ]
    noise = mean(known) if known else 0.0
    true = []
    for a, b in combinations(sorted(seeds), 2):
        common = sorted(seeds[a].keys() & seeds[b].keys())
        if len(common) < 2:
            continue
        pairs = [(seeds[a][task], seeds[b][task]) for task in common]
        observed = variance([mean(ours) - mean(theirs) for ours, theirs in pairs])
        true.append(observed - mean([noise / len(x) + noise / len(y) for x, y in pairs]))
    if not true:
        return None
    return Spread(tasks=math.sqrt(max(0.0, mean(true))), seeds=math.sqrt(noise))
