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
@pytest.mark.parametrize("up", [True, False])
def test_a_medal_goes_to_so_many_teams(
    teams: int, gold: int, silver: int, bronze: int, up: bool
) -> None:
    board = list(range(teams, 0, -1)) if up else list(range(1, teams + 1))

    found = thresholds(board, higher_is_better=up)

    place = (lambda n: teams + 1 - n) if up else (lambda n: n)
    assert (found.gold, found.silver, found.bronze) == (place(gold), place(silver), place(bronze))
    assert found.median == (teams + 1) / 2


def report(score: float | None, board: list[float], up: bool) -> dict[str, object]:
    return competition_report(
        "ripe",
        score,
        board,
        higher_is_better=up,
        submission_exists=True,
        submission_path="s.csv",
        created_at="2026-01-01T00:00:00+00:00",
    )


BOARDS = st.lists(st.floats(-10, 10), min_size=1, max_size=300)


@given(st.floats(-11, 11), BOARDS, st.booleans(), st.randoms())
def test_one_medal_at_most_and_a_better_score_never_a_lesser_one(
    score: float, board: list[float], up: bool, random: object
) -> None:
    medals = ("gold_medal", "silver_medal", "bronze_medal")
    found = report(score, board, up)
    random.shuffle(board)  # type: ignore[attr-defined]

    assert found == report(score, board, up)
    assert found["any_medal"] == any(found[medal] for medal in medals)
    assert sum(bool(found[medal]) for medal in medals) <= 1
    best = math.nextafter(max(board), math.inf) if up else math.nextafter(min(board), -math.inf)
    assert report(best, board, up)["gold_medal"]


def test_a_score_at_a_threshold_has_the_medal_and_one_at_the_median_is_not_above_it() -> None:
    board = [0.9, 0.8, 0.7, 0.6, 0.5]

    assert report(0.9, board, True)["gold_medal"]
    assert report(0.8, board, True)["bronze_medal"]
    assert not report(0.7, board, True)["above_median"]
    assert report(0.7, board, True)["median_threshold"] == 0.7


def test_no_score_has_no_medal_and_is_no_valid_submission() -> None:
    refused = report(None, [1.0, 2.0], False)

    assert not refused["any_medal"]
    assert not refused["above_median"]
    assert not refused["valid_submission"]
    assert summary([refused])["total_runs_with_submissions"] == 1
    assert summary([refused])["total_valid_submissions"] == 0


def test_a_board_without_teams_has_no_medals() -> None:
    with pytest.raises(ValueError, match="without teams"):
        thresholds([], higher_is_better=True)
