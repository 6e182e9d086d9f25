"""Compare agents over tasks with different metrics: performance profiles and the areas under them.

A profile is the share of tasks on which an agent is within a factor of the best one (Dolan & Moré,
https://arxiv.org/abs/cs/0102001). The factor means something on *error scales* only, those with a
natural zero: an AUC of 0.97 is no better than one of 0.98 by 1 %, but an error of 0.03 is worse
than one of 0.02 by half.
"""

import math
from collections.abc import Mapping, Sequence

from kernel_env.grading.metric import BUILT_IN, find
from kernel_env.ratings.intervals import mean

LIMIT = 1.0
"""The logarithm of the largest factor that earns something: within a factor of 10 of the best."""
ERRORS = ("rmse", "rmsle", "mae", "median_ae", "mape", "log_loss", "brier")
"""Metrics that are errors: lower is better, and 0 is perfect."""
ONE_MINUS = (
    *("accuracy", "balanced_accuracy", "f1", "macro_f1", "weighted_f1"),
    *("roc_auc", "average_precision", "jaccard", "concordance"),
)
"""Metrics from 0 to 1 whose distance from 1 is an error. MAP@k and NDCG@k are, too."""


def error_of(title: str, score: float) -> float | None:
    """Return a score as an error, 0 for perfect; None for a metric without a natural zero.

    Args:
        title: the metric's title, as records name it, such as `Root mean squared error`.
        score: in the metric's units.
    """
    if title in {BUILT_IN[name].title for name in ERRORS}:
        return score
    shares = {BUILT_IN[name].title for name in ONE_MINUS}
    at_k = tuple(find(f"{name}@1").title.removesuffix("1") for name in ("map", "ndcg"))
    is_share = title in shares or title.startswith(at_k)
    return max(0.0, 1 - score) if is_share else None


def ratio(error: float | None, best: float) -> float:
    """Return how many times larger an error is than the best; infinite without a result."""
    if error is None:
        return math.inf
    return 1.0 if error <= best else error / best if best > 0 else math.inf


def aup(ratios: Sequence[float], limit: float = LIMIT) -> float:
    """Compute the area under the performance profile, from 0 to 1.

    (1 / T) · sum of max(0, L - log10 r_t) / L: the exact area under the profile on the axis
    log10 r, from 0 to L, divided by L. Unlike MLGym's, L is fixed, so that no agent's number
    depends on the worst other one; and a failure (infinite ratio) earns 0.

    Args:
        ratios: error / best error of each task, at least 1, shape (T,).
        limit: L, the log10 of the largest ratio that earns something.

    Raises `ValueError` without tasks.
    """
    return mean([max(0.0, limit - math.log10(each)) / limit for each in ratios])


def performance_profile(ratios: Sequence[float], factors: Sequence[float]) -> list[float]:
    """Return the share of tasks whose ratio is at most each factor (Dolan & Moré)."""
    return [sum(each <= factor for each in ratios) / len(ratios) for factor in factors]


def score_profile(scores: Sequence[float], thresholds: Sequence[float]) -> list[float]:
    """Return the share of scores above each threshold, rliable's performance profile.

    Its area from 0 to 1 is the mean of scores in that range, so it is drawn, and ranks no one.
    """
    return [sum(each > threshold for each in scores) / len(scores) for threshold in thresholds]


POINTS = 500
PENALTY = 1.05
"""MLGym's: the number of points of a profile, and how much worse than the worst a failure is."""


def aup_mlgym(
    scores: Mapping[str, Mapping[str, float | None]],
    baselines: Mapping[str, float],
    higher_is_better: Mapping[str, bool],
) -> dict[str, float]:
    """Compute MLGym's AUP, for comparison with its tables (https://arxiv.org/abs/2502.14499).

    The ratio is best / score, or score / best where lower is better. A result that is missing,
    negative, or worse than the task's baseline has 1.05 times the worst other ratio of its task.
    The profile has 500 points of log10 r, from 0 to log10 of the largest ratio of any task (times
    1.05, rounded up to a whole number; then its log10 up to 0.1). The AUP is the left Riemann sum,
    not divided by the range.

    It rewards failing: an agent without results on most tasks loses little, and the range depends
    on the worst agent. `aup` has neither fault.

    Args:
        scores: agent → task → score; a task that is missing or None is a failure.
        baselines: task → the score of its baseline.
        higher_is_better: task → the metric's direction.

    Returns:
        agent → area; 0 for every agent if no result can be compared.
    """
    ratios = {
        task: mlgym_ratios(
            {agent: by_task.get(task) for agent, by_task in scores.items()},
            baseline,
            higher_is_better=higher_is_better[task],
        )
        for task, baseline in baselines.items()
    }
    largest = max((value for each in ratios.values() for value in each.values()), default=1.0)
    top = math.ceil(round(math.log10(math.ceil(PENALTY * largest)) * 10, 9)) / 10
    points = [top * i / (POINTS - 1) for i in range(POINTS)]
    areas = {}
    for agent in scores:
        logs = [math.log10(each[agent]) for each in ratios.values()]
        shares = [sum(log <= point for log in logs) / len(logs) for point in points[:-1]]
        areas[agent] = math.fsum(shares) * top / (POINTS - 1)
    return areas


def mlgym_ratios(
    scores: Mapping[str, float | None], baseline: float, *, higher_is_better: bool
) -> dict[str, float]:
    """Compute MLGym's ratios of one task, at least 1: agent → ratio."""

    def feasible(score: float | None) -> bool:
        if score is None or score < 0:
            return False
        return score >= baseline if higher_is_better else score <= baseline

    there = {agent: score for agent, score in scores.items() if score and feasible(score)}
    if not there:
        return dict.fromkeys(scores, PENALTY)
    best = (max if higher_is_better else min)(there.values())
    found = {agent: max(best / s, s / best) for agent, s in there.items()}
    return {agent: found.get(agent, PENALTY * max(found.values())) for agent in scores}
