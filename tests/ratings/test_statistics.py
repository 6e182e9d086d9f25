"""Statistics of agents over tasks give the numbers that were computed by other means."""

import math

import numpy as np
import pytest

from kernel_env.ratings.differences import DRAWS, holm, sign_flip_p, smallest_p, tasks_needed
from kernel_env.ratings.intervals import (
    clustered_error,
    mean,
    on_tasks_like_these,
    on_these_tasks,
    standard_error,
    wilson,
)
from kernel_env.ratings.planning import Spread, smallest_difference, spread_of

SIX = 5e-7
"""Half of the last printed digit of six."""
A = [[0.80, 0.84], [0.60, 0.56], [0.90, 0.94], [0.30, 0.50], [0.70, 0.70], [0.55, 0.65]]
B = [[0.78, 0.80], [0.50, 0.54], [0.91, 0.89], [0.35, 0.25], [0.60, 0.70], [0.50, 0.56]]
"""Two agents on six tasks with two seeds."""
DIFFERENCES = [mean(a) - mean(b) for a, b in zip(A, B, strict=True)]


def test_paired_differences() -> None:
    interval = on_tasks_like_these(DIFFERENCES)

    assert pytest.approx([0.03, 0.06, 0.02, 0.10, 0.05, 0.07]) == DIFFERENCES
    assert mean(DIFFERENCES) == pytest.approx(0.055)
    error = standard_error(DIFFERENCES)
    assert error == pytest.approx(0.011762, abs=SIX)
    assert mean(DIFFERENCES) / error == pytest.approx(4.676267, abs=2 * SIX)
    assert interval is not None
    assert interval.low == pytest.approx(0.024766, abs=SIX)
    assert interval.high == pytest.approx(0.085234, abs=SIX)
    assert sign_flip_p(DIFFERENCES) == 0.03125
    unpaired = math.hypot(*(standard_error([mean(v) for v in each]) or 0 for each in (A, B)))
    assert unpaired == pytest.approx(0.115521, abs=SIX)


def test_scipy_agrees_on_pairs() -> None:
    stats = pytest.importorskip("scipy.stats")

    test = stats.ttest_1samp(DIFFERENCES, 0)
    flips = stats.permutation_test(
        (DIFFERENCES,), lambda d, axis: np.mean(d, axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=np.inf,
    )  # fmt: skip

    assert test.pvalue == pytest.approx(0.005452, abs=SIX)
    assert test.confidence_interval().low == pytest.approx(on_tasks_like_these(DIFFERENCES).low)
    assert flips.pvalue == pytest.approx(sign_flip_p(DIFFERENCES))


def test_clustered_error() -> None:
    values = [value for seeds in A for value in seeds]
    tasks = [str(task) for task, seeds in enumerate(A) for _ in seeds]

    assert standard_error(values) == pytest.approx(0.053015, abs=2 * SIX)
    assert clustered_error(values, tasks, corrected=False) == pytest.approx(0.069081, abs=SIX)
    assert clustered_error(values, tasks) == pytest.approx(0.075675, abs=SIX)
    assert standard_error([mean(seeds) for seeds in A]) == pytest.approx(0.075675, abs=SIX)
    assert clustered_error([0.1, 0.2], ["one", "one"]) is None


@pytest.mark.parametrize("corrected", [True, False])
def test_statsmodels_agrees_on_clusters(corrected: bool) -> None:
    models = pytest.importorskip("statsmodels.regression.linear_model")
    values, families = DIFFERENCES, ["a", "a", "a", "b", "b", "c"]

    fitted = models.OLS(values, np.ones(6)).fit(
        cov_type="cluster",
        cov_kwds={"groups": [ord(each) for each in families], "use_correction": False},
    )

    own = clustered_error(values, families, corrected=corrected)
    assert own == pytest.approx(float(fitted.bse[0]) * (math.sqrt(3 / 2) if corrected else 1))


def test_seed_noise_by_hand() -> None:
    # Variances 0.02 and 0.08 of two seeds each: error sqrt(0.01 + 0.04) / 2, and
    # 0.05^2 / (0.01^2 + 0.04^2) = 1.470588 degrees of freedom, where t is 6.137.
    found = on_these_tasks([[0.4, 0.6], [0.1, 0.5]])

    assert found is not None
    assert found.high + found.low == pytest.approx(0.8)
    stats = pytest.importorskip("scipy.stats")
    half = stats.t.ppf(0.975, 0.05**2 / (0.01**2 + 0.04**2)) * math.sqrt(0.05) / 2
    assert found.high - found.low == pytest.approx(2 * half)
    assert on_these_tasks([[0.4], [0.3]]) is None
    assert on_these_tasks([[0.4, 0.4], [0.3]]) is not None


def test_smallest_detectable_difference() -> None:
    found = [smallest_difference(tasks) for tasks in (6, 16, 22, 50, 75)]
    spread = Spread(tasks=0.06, seeds=0.10)
    planned = [smallest_difference(*plan, spread) for plan in ((16, 1), (16, 2), (16, 5), (75, 3))]

    assert found == pytest.approx([1.434545, 0.749466, 0.62642, 0.404183, 0.327773], abs=2 * SIX)
    assert planned == pytest.approx([0.115135, 0.087402, 0.065337, 0.033211], abs=2 * SIX)
    assert smallest_difference(1) is None


def test_the_spread_of_earlier_episodes() -> None:
    seeds = {name: {str(t): each for t, each in enumerate(s)} for name, s in (("A", A), ("B", B))}

    found = spread_of(seeds)

    assert found is not None
    variances = [(x - y) ** 2 / 2 for x, y in A + B]
    assert found.seeds**2 == pytest.approx(mean(variances))
    observed = 6 * standard_error(DIFFERENCES) ** 2
    assert found.tasks**2 == pytest.approx(max(0, observed - mean(variances)))
    assert spread_of({"A": seeds["A"]}) is None


def test_wilsons_interval() -> None:
    few, none = wilson(3, 16), wilson(0, 16)

    assert (few.low, few.high) == pytest.approx((0.065916, 0.430089), abs=SIX)
    assert (none.low, none.high) == pytest.approx((0, 0.193608), abs=SIX)
    assert wilson(16, 16).high == 1


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_few_tasks_cannot_tell() -> None:
    assert [smallest_p(tasks) for tasks in (4, 5, 6)] == [0.125, 0.0625, 0.03125]
    assert (tasks_needed(1), tasks_needed(10)) == (6, 9)


def test_many_tasks_are_drawn_and_always_the_same() -> None:
    differences = [0.1, -0.08] * 15 + [0.2] * 6

    found = sign_flip_p(differences)

    assert found == sign_flip_p(list(reversed(differences)))
    deviation = math.sqrt(sum(d**2 for d in differences))
    normal = math.erfc(sum(differences) / deviation / math.sqrt(2))
    assert found == pytest.approx(normal, abs=0.02)
    assert sign_flip_p([1.0] * 40) == 1 / (1 + DRAWS)
