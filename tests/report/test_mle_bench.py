"""Check medals and MLE-bench's report of a run."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.report.mle_bench import competition_report, summary, thresholds


@pytest.mark.parametrize(
    ("teams", "gold", "silver", "bronze"),
    [
        (1, 1, 1, 1),
        (9, 1, 1, 3),
        (99, 9, 19, 39),
        (100, 10, 20, 40),
        (249, 10, 49, 99),
        (250, 10, 50, 100),
        (999, 11, 50, 100),
        (1000, 12, 50, 100),
        (5000, 20, 250, 500),
    ],
)
@pytest.mark.parametrize("higher_is_better", [True, False])
def test_the_thresholds_are_the_scores_of_the_last_places(
    teams: int, gold: int, silver: int, bronze: int, higher_is_better: bool
) -> None:
    leaderboard = list(range(teams, 0, -1)) if higher_is_better else list(range(1, teams + 1))

    found = thresholds(leaderboard, higher_is_better=higher_is_better)

    place = (lambda n: teams + 1 - n) if higher_is_better else (lambda n: n)
    assert (found.gold, found.silver, found.bronze) == (place(gold), place(silver), place(bronze))
    assert found.median == (teams + 1) / 2


def report(
    score: float | None, leaderboard: list[float], higher_is_better: bool
) -> dict[str, object]:
    return competition_report(
        "ripe-fruit",
        score,
        leaderboard,
        higher_is_better=higher_is_better,
        submission_exists=True,
        submission_path="s.csv",
        created_at="2026-01-01T00:00:00+00:00",
    )


LEADERBOARDS = st.lists(st.floats(-10, 10), min_size=1, max_size=300)


@given(st.floats(-11, 11), LEADERBOARDS, st.booleans(), st.randoms())
def test_a_run_has_at_most_one_medal_and_the_best_score_has_gold(
    score: float, leaderboard: list[float], higher_is_better: bool, random: object
) -> None:
    medals = ("gold_medal", "silver_medal", "bronze_medal")
    found = report(score, leaderboard, higher_is_better)
    random.shuffle(leaderboard)  # type: ignore[attr-defined]

    assert found == report(score, leaderboard, higher_is_better)
    assert found["any_medal"] == any(found[medal] for medal in medals)
    assert sum(bool(found[medal]) for medal in medals) <= 1
    best = (
        math.nextafter(max(leaderboard), math.inf)
        if higher_is_better
        else math.nextafter(min(leaderboard), -math.inf)
    )
    assert report(best, leaderboard, higher_is_better)["gold_medal"]


def test_a_score_at_a_threshold_has_the_medal_and_a_score_at_the_median_is_not_above_it() -> None:
    leaderboard = [0.9, 0.8, 0.7, 0.6, 0.5]

    assert report(0.9, leaderboard, True)["gold_medal"]
    assert report(0.8, leaderboard, True)["bronze_medal"]
    assert not report(0.7, leaderboard, True)["above_median"]
    assert report(0.7, leaderboard, True)["median_threshold"] == 0.7


def test_a_run_without_score_has_no_medal_and_no_valid_submission() -> None:
    rejected = report(None, [1.0, 2.0], False)

    assert not rejected["any_medal"]
    assert not rejected["above_median"]
    assert not rejected["valid_submission"]
    assert summary([rejected])["total_runs_with_submissions"] == 1
    assert summary([rejected])["total_valid_submissions"] == 0


def test_a_leaderboard_without_teams_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no teams"):
        thresholds([], higher_is_better=True)
