"""The printed interval contains the true value about as often as it says."""

import random

import pytest

from kernel_env.ratings.estimates import estimate
from kernel_env.ratings.intervals import mean, on_these_tasks
from kernel_env.ratings.measures import MEASURES

SIMULATIONS = 4000
SEED_DEVIATION = 0.10


def true_mean() -> float:
    """Return the mean position over all tasks of the model below, from many of them."""
    source = random.Random(0)
    return mean([played(task_mean(source), source) for _ in range(200_000)])


def task_mean(source: random.Random) -> float:
    """Draw how good an agent is on a task: a position, more often high than low."""
    return source.betavariate(2, 1.5)


def played(truth: float, source: random.Random) -> float:
    """Draw the position of one episode."""
    return min(1.0, max(0.0, source.gauss(truth, SEED_DEVIATION)))


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [6, 16])
def test_the_interval_over_tasks_covers_the_mean_over_all_tasks(tasks: int) -> None:
    source, truth = random.Random(1), true_mean()
    covered = 0
    for _ in range(SIMULATIONS):
        seeds = {}
        for task in range(tasks):
            position = task_mean(source)
            seeds[str(task)] = [played(position, source) for _ in range(2)]
        found = estimate(seeds, tasks, MEASURES["position"]).on_tasks_like_these
        assert found is not None
        covered += found.low <= truth <= found.high

    assert covered / SIMULATIONS >= 0.92


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [6, 16])
def test_the_interval_over_seeds_covers_the_mean_over_these_tasks(tasks: int) -> None:
    source = random.Random(2)
    covered = 0
    for _ in range(SIMULATIONS):
        truths = [task_mean(source) for _ in range(tasks)]
        seeds = [[source.gauss(truth, SEED_DEVIATION) for _ in range(2)] for truth in truths]
        found = on_these_tasks(seeds)
        assert found is not None
        covered += found.low <= mean(truths) <= found.high

    assert covered / SIMULATIONS >= 0.92
