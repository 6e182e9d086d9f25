import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.errors import TaskError
from kernel_env.grading.leaderboard import load, place

SCORES = st.floats(-100, 100).map(lambda x: round(x, 3))
BOARDS = st.lists(SCORES, min_size=1, max_size=30)


@given(SCORES, SCORES, BOARDS, st.booleans())
def test_a_better_score_never_has_a_worse_place(
    one: float, other: float, board: list[float], up: bool
) -> None:
    better, worse = sorted((one, other), reverse=up)

    first = place(better, board, higher_is_better=up)
    second = place(worse, board, higher_is_better=up)

    assert first.position >= second.position
    assert first.rank <= second.rank


@given(SCORES, BOARDS, st.booleans(), st.randoms())
def test_the_order_of_the_rows_has_no_meaning(
    score: float, board: list[float], up: bool, random: object
) -> None:
    shuffled = list(board)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert place(score, board, higher_is_better=up) == place(score, shuffled, higher_is_better=up)


@given(SCORES, BOARDS)
def test_turning_the_direction_over_turns_scores_over(score: float, board: list[float]) -> None:
    up = place(score, board, higher_is_better=True)
    down = place(-score, [-entry for entry in board], higher_is_better=False)

    assert up == down


@given(SCORES, BOARDS, st.booleans())
def test_those_beaten_tied_and_better_make_up_the_board(
    score: float, board: list[float], up: bool
) -> None:
    found = place(score, board, higher_is_better=up)

    beaten = round(found.position * len(board))
    assert beaten + board.count(score) + (found.rank - 1) == len(board)


def test_a_tie_beats_nobody_and_is_seen_at_the_precision_of_the_board() -> None:
    found = place(0.97872340425, [0.978723, 0.9, 0.99], higher_is_better=True)

    assert (found.position, found.rank) == (1 / 3, 2)


def test_one_entry_is_a_board() -> None:
    assert place(2, [1], higher_is_better=True).position == 1
    assert place(1, [1], higher_is_better=True).position == 0
    assert place(1, [1], higher_is_better=True).normalised is None


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_has_no_place(score: float) -> None:
    with pytest.raises(ValueError, match="has no place"):
        place(score, [1, 2], higher_is_better=True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("entry,kind,public_score,private_score\n", "has no rows"),
        ("entry,kind,public_score,private_score\na,alien,1,1\n", "the field kind is"),
        ("entry,kind,public_score,private_score\na,human,1,1\nb,reference,1,1\n", "the field kind"),
        ("entry,kind,public_score,private_score\na,human,nan,1\n", "line 2: public_score is 'nan'"),
        ("entry,kind,public_score\na,human,1\n", "line 2: private_score is None"),
    ],
)
def test_a_wrong_leaderboard_names_file_and_field(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "leaderboard.csv"
    path.write_text(text)

    with pytest.raises(TaskError, match=complaint) as caught:
        load(path)

    assert str(path) in str(caught.value)
