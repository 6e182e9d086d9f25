"""Check places on a leaderboard, MLE-Dojo's HumanRank, and the errors of wrong files."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.errors import TaskError
from kernel_env.grading.leaderboard import Leaderboard, human_rank, load, place

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
def test_a_place_does_not_depend_on_the_order_of_rows(
    score: float, board: list[float], up: bool, random: object
) -> None:
    shuffled = list(board)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert place(score, board, higher_is_better=up) == place(score, shuffled, higher_is_better=up)


@given(SCORES, BOARDS)
def test_negated_scores_in_the_other_direction_have_the_same_place(
    score: float, board: list[float]
) -> None:
    up = place(score, board, higher_is_better=True)
    down = place(-score, [-entry for entry in board], higher_is_better=False)

    assert up == down


@given(SCORES, BOARDS, st.booleans())
def test_worse_tied_and_better_entries_add_up_to_the_board(
    score: float, board: list[float], up: bool
) -> None:
    found = place(score, board, higher_is_better=up)

    beaten = round(found.position * len(board))
    assert beaten + board.count(score) + (found.rank - 1) == len(board)


def test_a_tie_at_the_precision_of_the_board_beats_no_entry() -> None:
    found = place(0.97872340425, [0.978723, 0.9, 0.99], higher_is_better=True)

    assert (found.position, found.rank) == (1 / 3, 2)


FLOATS = st.floats(-1e6, 1e6) | st.sampled_from([0.1, 0.3, 0.30000000000000004, 0.3000001])


def mle_dojo_rank(score: float, boards: list[list[float]], up: bool) -> float:
    """Compute HumanRank with MLE-Dojo's algorithm.

    Its position is the first row, best first, that the score equals or beats.
    """
    shares = []
    for board in boards:
        rows = sorted(board, reverse=up)
        beaten = [n for n, row in enumerate(rows, 1) if (score >= row if up else score <= row)]
        position = beaten[0] if beaten else len(rows) + 1
        shares.append((len(rows) - position + 1) / len(rows))
    return sum(shares) / len(shares)


@given(FLOATS, st.lists(FLOATS, max_size=20), st.lists(FLOATS, max_size=20), st.booleans())
def test_the_human_rank_equals_mle_dojos_exactly(
    score: float, public: list[float], private: list[float], up: bool
) -> None:
    board = Leaderboard(kind="human", public=tuple(public), private=tuple(private))

    found = human_rank(
        board.place(score, "Public", higher_is_better=up),
        board.place(score, "Private", higher_is_better=up),
    )

    boards = [entries for entries in (private, public) if entries]
    assert found == (mle_dojo_rank(score, boards, up) if boards else None)


@given(FLOATS, FLOATS, st.lists(FLOATS, min_size=1), st.booleans(), st.randoms())
def test_the_human_rank_is_monotone_and_ignores_the_order_of_rows(
    one: float, other: float, entries: list[float], up: bool, random: object
) -> None:
    better, worse = sorted((one, other), reverse=up)
    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def rank(score: float, board: list[float]) -> float:
        found = human_rank(place(score, board, higher_is_better=up, decimals=None))
        assert found is not None
        return found

    assert 0 <= rank(worse, entries) <= rank(better, entries) <= 1
    assert rank(one, shuffled) == rank(one, entries)


def test_an_entry_can_be_on_one_board_only(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.csv"
    path.write_text("entry,kind,public_score,private_score\na,human,1,2\nb,human,,3\n")

    board = load(path)

    assert (board.public, board.private) == ((1.0,), (2.0, 3.0))


def test_a_board_can_have_a_single_entry() -> None:
    assert place(2, [1], higher_is_better=True).position == 1
    assert place(1, [1], higher_is_better=True).position == 0
    assert place(1, [1], higher_is_better=True).normalised is None


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_has_no_place(score: float) -> None:
    with pytest.raises(ValueError, match="has no place"):
        place(score, [1, 2], higher_is_better=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entry,kind,public_score,private_score\n", "has no rows"),
        ("entry,kind,public_score,private_score\na,unknown,1,1\n", "the field kind is"),
        ("entry,kind,public_score,private_score\na,human,1,1\nb,reference,1,1\n", "the field kind"),
        ("entry,kind,public_score,private_score\na,human,nan,1\n", "line 2: public_score is 'nan'"),
        ("entry,kind,public_score\na,human,1\n", "line 2: private_score is None"),
        (
            "entry,kind,public_score,private_score\na,human,,\n",
            "line 2: both scores are empty",
        ),
    ],
)
def test_an_error_names_the_file_and_the_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "leaderboard.csv"
    path.write_text(text)

    with pytest.raises(TaskError, match=message) as caught:
        load(path)

    assert str(path) in str(caught.value)
