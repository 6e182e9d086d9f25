"""Every formula gives the number that was computed for it by other means."""

import doctest
import math
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import kernel_env.ratings
from kernel_env.errors import UsageError
from kernel_env.grading.leaderboard import human_rank, place
from kernel_env.grading.metric import BUILT_IN, find
from kernel_env.ratings.behaviour import rate as rate_of
from kernel_env.ratings.differences import (
    share_won,
)
from kernel_env.ratings.elo import expected_share, fit, rate
from kernel_env.ratings.frontier import pareto
from kernel_env.ratings.intervals import (
    bounds,
    interquartile_mean,
    mean,
    standard_error,
)
from kernel_env.ratings.measures import (
    area_under_progress,
    better_by_tenth,
    relative_gap,
    vs_baseline,
)
from kernel_env.ratings.profiles import (
    aup,
    aup_mlgym,
    error_of,
    performance_profile,
    ratio,
    score_profile,
)
from kernel_env.ratings.repeats import best_of_k, pass_all_k, pass_at_k

SIX = 5e-7
"""Half of the last printed digit of six."""
MODULES = sorted(path.stem for path in Path(kernel_env.ratings.__file__).parent.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_right(name: str) -> None:
    module = import_module(f"kernel_env.ratings.{name}")

    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("board", "score", "higher", "expected"),
    [
        ([0.95, 0.90, 0.80, 0.50], 0.90, True, 0.75),
        ([0.95, 0.90, 0.80, 0.50], 0.97, True, 1),
        ([0.95, 0.90, 0.80, 0.50], 0.40, True, 0),
        ([0.90, 0.85, 0.70], 0.90, True, 1),
        ([0.1, 0.2, 0.3, 0.3, 0.9], 0.3, False, 0.6),
    ],
)
def test_human_rank(board: list[float], score: float, higher: bool, expected: float) -> None:
    assert human_rank(place(score, board, higher_is_better=higher)) == pytest.approx(expected)


def test_human_rank_is_the_mean_of_the_boards_and_position_is_stricter() -> None:
    public = place(0.90, [0.95, 0.90, 0.80, 0.50], higher_is_better=True)
    private = place(0.90, [0.90, 0.85, 0.70], higher_is_better=True)

    assert human_rank(public, private) == 0.875
    assert public.position == 0.5


def test_the_standard_error_of_one_value_is_unknown() -> None:
    assert standard_error([40, 44, 48]) == pytest.approx(2.309401, abs=SIX)
    assert standard_error([40]) is None


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [(5, 2, 3, 0.9), (5, 2, 1, 0.4), (3, 0, 2, 0), (3, 3, 2, 1), (4, 1, 2, 0.5), (2, 1, 3, None)],
)
def test_pass_at_k(n: int, c: int, k: int, expected: float | None) -> None:
    assert pass_at_k(n, c, k) == (expected if expected is None else pytest.approx(expected))


def test_pass_all_k() -> None:
    assert pass_all_k(5, 2, 2) == pytest.approx(0.1)
    assert pass_all_k(5, 4, 3) == pytest.approx(0.4)
    assert pass_all_k(1, 1, 2) is None


def test_best_of_k() -> None:
    found = [best_of_k([0.4, 0.1, 0.9, 0.4], k) for k in (1, 2, 3, 4)]

    assert found == pytest.approx([0.45, 0.65, 0.775, 0.9])
    assert best_of_k([0.4], 2) is None


def test_versus_baseline() -> None:
    assert vs_baseline(0.8, 2.196, 0.26) == pytest.approx(0.721074, abs=SIX)
    assert vs_baseline(3.0, 2.196, 0.26) == 0
    assert vs_baseline(None, 2.196, 0.26) == 0
    assert vs_baseline(0.5, 0.4, 0.4) is None


def test_relative_performance_gap() -> None:
    tasks = [
        (0.85, 0.5, 0.95),
        (0.4, 0.5, 0.9),
        (1.2, 2.0, 0.8),
        (None, 0.5, 0.9),
        (0.97, 0.5, 0.95),
    ]

    each = [relative_gap([task]) for task in tasks]

    assert each == pytest.approx([0.777778, 0, 0.666667, 0, 1.044444], abs=SIX)
    assert relative_gap(tasks) == pytest.approx(0.497778, abs=SIX)
    assert mean([min(1, gap or 0) for gap in each]) == pytest.approx(0.488889, abs=SIX)
    assert relative_gap([(0.5, 0.5, 0.5)]) is None


def test_ten_percent_better() -> None:
    assert better_by_tenth(0.80, 0.70, higher_is_better=True) is True
    assert better_by_tenth(0.77, 0.70, higher_is_better=True) is False
    assert better_by_tenth(0.18, 0.20, higher_is_better=False) is False
    assert better_by_tenth(0.179, 0.20, higher_is_better=False) is True
    assert better_by_tenth(0.5, 0, higher_is_better=True) is None


ERRORS = {"A": [0.10, 2, 5], "B": [0.12, 1, 5], "C": [0.20, 4, None]}
BEST = [0.10, 1, 5]
RATIOS = {a: [ratio(e, b) for e, b in zip(each, BEST, strict=True)] for a, each in ERRORS.items()}


def test_area_under_the_performance_profile() -> None:
    ours = [aup(RATIOS[agent]) for agent in "ABC"]
    wider = [aup(RATIOS[agent], math.log10(4)) for agent in "ABC"]

    assert ours == pytest.approx([0.899657, 0.973606, 0.365637], abs=SIX)
    assert wider == pytest.approx([0.833333, 0.956161, 0.166667], abs=SIX)


def test_performance_profile() -> None:
    found = {agent: performance_profile(RATIOS[agent], [1, 1.2, 2, 4]) for agent in "ABC"}

    third = 1 / 3
    assert found["A"] == pytest.approx([2 * third, 2 * third, 1, 1])
    assert found["B"] == pytest.approx([2 * third, 1, 1, 1])
    assert found["C"] == pytest.approx([0, 0, third, 2 * third])


def test_the_area_under_a_profile_of_scores_is_their_mean() -> None:
    scores = [0.1, 0.4, 0.8, 0.9]
    points = [i / 10_000 for i in range(10_000)]

    assert mean(score_profile(scores, points)) == pytest.approx(0.55, abs=1e-3)


def test_only_metrics_with_a_natural_zero_are_errors() -> None:
    titles = {name: find(name).title for name in (*BUILT_IN, "map@5", "ndcg@5")}

    assert error_of(titles["rmse"], 0.3) == 0.3
    assert error_of(titles["roc_auc"], 0.97) == pytest.approx(0.03)
    assert error_of(titles["map@5"], 0.25) == error_of(titles["ndcg@5"], 0.25) == 0.75
    without = {name for name, title in titles.items() if error_of(title, 0.5) is None}
    assert without == {"matthews", "quadratic_kappa", "r2"}
    assert error_of("a metric of a task", 1) is None
    assert ratio(0.0, 0.0) == 1
    assert ratio(0.1, 0.0) == ratio(None, 1.0) == math.inf


def test_mlgyms_area_by_hand() -> None:
    # Ratios: t1 1, 2 and 2.1 for the failure; t2 1.5, 1 and 1.575. The largest with the penalty
    # is 2.205, up to 3, whose log10 is 0.477, up to 0.5.
    scores = {
        "A": {"t1": 0.8, "t2": 3.0},
        "B": {"t1": 0.4, "t2": 2.0},
        "C": {"t1": 0.1, "t2": None},
    }

    found = aup_mlgym(scores, {"t1": 0.2, "t2": 4.0}, {"t1": True, "t2": False})

    exact = {
        agent: 0.5 - mean([math.log10(each) for each in ratios])
        for agent, ratios in {"A": (1, 1.5), "B": (2, 1), "C": (2.1, 1.575)}.items()
    }
    assert found == pytest.approx(exact, abs=0.5 / 499)
    assert aup_mlgym({"A": {}}, {"t1": 0.2}, {"t1": True})["A"] > 0


def test_interquartile_mean() -> None:
    assert interquartile_mean([i / 10 for i in range(1, 9)]) == pytest.approx(0.45)
    assert interquartile_mean([0, 0, 0.1, 0.4, 0.5, 0.9]) == pytest.approx(0.25)


def test_share_of_pairs_of_seeds_won() -> None:
    assert share_won([0.5, 0.6, 0.7], [0.6, 0.4]) == 0.75


FIRST = [[0, 7, 8], [3, 0, 6], [2, 4, 0]]
TIES = [[0, 2, 2.5], [1, 0, 1.5], [0.5, 1.5, 0]]
UNBEATEN = [[0, 4, 4], [0, 0, 3], [0, 1, 0]]
UNCONNECTED = [[0, 3, 0, 0], [1, 0, 0, 0], [0, 0, 0, 3], [0, 0, 1, 0]]
EPISODES = [[0, 2.5, 3], [0.5, 0, 1.625], [0, 1.375, 0]]
WITH_A_LOSER = [[*row, 10] for row in FIRST] + [[0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("wins", "prior", "anchor", "expected", "digits"),
    [
        (FIRST, 0, None, [1128.650, 974.098, 897.252], 3),
        (TIES, 0, None, [1127.661, 957.314, 915.025], 3),
        (TIES, 1, None, [1111.91, 962.63, 925.46], 2),
        (np.array(TIES) * 2, 1, None, [1119.17, 960.18, 920.64], 2),
        (np.array(TIES) * 2, 2, None, [1111.91, 962.63, 925.46], 2),
        (UNBEATEN, 1, None, [1351.970, 900.759, 747.271], 3),
        (UNBEATEN, 0.5, None, [1426.4, 871.4, 702.1], 1),
        (UNBEATEN, 2, None, [1280.7, 925.3, 794.0], 1),
        (UNCONNECTED, 1, None, [1082.42, 917.58, 1082.42, 917.58], 2),
        ([[0]], 1, None, [1000], 6),
        (EPISODES, 1, None, [1220.377, 921.566, 858.058], 3),
        (EPISODES, 1, 2, [1362.319, 1063.508, 1000], 3),
        (EPISODES, 0, None, [1280.036, 898.245, 821.720], 3),
        (FIRST, 1, None, [1123.3, 975.2, 901.5], 1),
        (WITH_A_LOSER, 1, None, [1306.2, 1159.9, 1088.4, 445.5], 1),
        (FIRST, 1, 1, [1148.0, 1000, 926.3], 1),
    ],
)
def test_bradley_terry(
    wins: list[list[float]], prior: float, anchor: int | None, expected: list[float], digits: int
) -> None:
    found = fit(wins, prior=prior, anchor=anchor)

    assert found == pytest.approx(expected, abs=0.51 * 10**-digits)


def test_an_agent_that_loses_everything_lifts_nobody_above_the_anchor() -> None:
    found = fit(WITH_A_LOSER, anchor=1)

    assert found[:3] == pytest.approx([1146.3, 1000, 928.5], abs=0.051)


def test_ratings_imply_who_wins() -> None:
    a, b, _ = fit(FIRST, prior=0)

    assert expected_share(a, b) == pytest.approx(0.7088, abs=5e-5)


@pytest.mark.parametrize("wins", [UNBEATEN, UNCONNECTED])
def test_without_a_prior_an_unbeaten_agent_has_no_rating(wins: list[list[float]]) -> None:
    with pytest.raises(UsageError, match="no finite ratings"):
        fit(wins, prior=0)


def test_another_library_agrees() -> None:
    evalica = pytest.importorskip("evalica")
    games = [(i, j) for i in range(3) for j in range(3) for _ in range(FIRST[i][j])]
    winners, losers = zip(*games, strict=True)

    found = evalica.bradley_terry(
        winners, losers, [evalica.Winner.X] * len(games), tolerance=1e-12, limit=10_000
    ).scores

    points = 400 * np.log10(found.sort_index().to_numpy())
    assert fit(FIRST, prior=0) == pytest.approx(1000 + points - points.mean(), abs=0.001)


def test_ratings_of_episodes() -> None:
    floor = -math.inf
    strengths = {
        "t1": {"A": [0.9, 0.8], "B": [0.7, 0.85], "C": [0.5, floor]},
        "t2": {"A": [0.7, 0.7], "B": [0.7, 0.6], "C": [0.65, 0.6]},
        "t3": {"A": [0.6, 0.5], "B": [0.4, 0.3], "C": [0.45]},
    }

    found = rate(strengths, ["A", "B", "C"], anchor="C", draws=0)

    ratings = [found[agent].rating for agent in "ABC"]
    assert ratings == pytest.approx([1362.319, 1063.508, 1000], abs=5e-4)
    assert [found[agent].meetings for agent in "ABC"] == [6, 6, 6]


def test_macro_and_pooled_rates_differ() -> None:
    found = rate_of([(1, 2), (0, 8), (0, 0)])

    assert (found.macro, found.pooled) == (0.25, 0.1)
    assert (rate_of([(0, 0)]).macro, rate_of([]).pooled) == (None, None)


def test_progress_is_the_mean_over_the_budget() -> None:
    improvements = [(2, 0.4), (4, 0.7)]

    assert area_under_progress(improvements, 10) == pytest.approx(0.5)
    assert area_under_progress(improvements, 5) == pytest.approx(0.3)
    assert area_under_progress([(12, 0.4)], 10) == area_under_progress([], 10) == 0


def test_bounds_of_missing_tasks() -> None:
    found = bounds(0.6, 14, 16)

    assert (found.low, found.high) == pytest.approx((0.525, 0.65))


def test_pareto_front() -> None:
    assert pareto([(1, 0.5), (2, 0.7), (3, 0.6), (3, 0.9)]) == [0, 1, 3]
    assert pareto([(1, 0.5), (1, 0.5)]) == [0, 1]
