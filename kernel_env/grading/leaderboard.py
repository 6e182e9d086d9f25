"""Read a leaderboard and compute the place of a new score on it.

`leaderboard.csv` has the columns `entry,kind,public_score,private_score,seed,runtime_s`. One of
an entry's two scores can be empty, so the public and the private board can differ in length.
`kind` is the origin of the entries: `reference` (a fixed set of reference pipelines), `human`
(the teams of a competition) or `published` (results of a paper on the same split).
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from kernel_env.errors import TaskError
from kernel_env.grading.grade import Place

SHOWN_DIGITS, EXACT_DIGITS = 3, 17
"""Significant digits of a score that is shown, at least; and with which no float is rounded."""
DECIMALS = 6
"""The precision of the scores on a reference leaderboard. A new score is rounded to it before the
comparison; otherwise the same pipeline would not tie with its own entry."""

Split = Literal["Public", "Private"]
BoardKind = Literal["reference", "human", "published"]


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """The scores that a submission is compared with. Their order has no meaning."""

    kind: BoardKind
    """The origin of the entries."""
    public: tuple[float, ...]
    """Scores on the public split, in the metric's units."""
    private: tuple[float, ...]
    """Scores on the private split; can have another length than `public`."""

    def place(self, score: float, split: Split, *, higher_is_better: bool) -> Place | None:
        """Compute the place of a score on a split's board; None if the board is empty."""
        entries = self.public if split == "Public" else self.private
        decimals = DECIMALS if self.kind == "reference" else None
        if not entries:
            return None
        return place(score, entries, higher_is_better=higher_is_better, decimals=decimals)

    def shown(self, score: float, split: Split, *, higher_is_better: bool) -> float:
        """Round a score to what an agent is shown: the fewest digits that keep its place.

        At least `SHOWN_DIGITS` significant ones. More digits would say nothing about the place, but
        much about single answers: see `protocol`.
        """
        exact = self.place(score, split, higher_is_better=higher_is_better)
        for digits in range(SHOWN_DIGITS, EXACT_DIGITS):
            value = float(f"{score:.{digits - 1}e}")
            rounded = self.place(value, split, higher_is_better=higher_is_better)
            if exact is None or rounded is None or same_place(rounded, exact):
                return value
        return score


def load(path: Path) -> Leaderboard:
    """Read `leaderboard.csv`.

    Raises:
        TaskError: the file is wrong; the message names the file, the row and the field.
    """
    if path.exists() and not path.is_file():
        raise TaskError(f"{path} is not a file; a task needs a leaderboard")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise TaskError(f"{path} is missing; a task needs a leaderboard") from error
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TaskError(f"{path} is not CSV in UTF-8: {error}") from error
    if not rows:
        raise TaskError(f"{path} has no rows; a leaderboard needs at least one entry")
    kinds = {row.get("kind") for row in rows}
    if len(kinds) != 1 or not kinds <= set(get_args(BoardKind)):
        raise TaskError(
            f"{path}: the field kind is {sorted(map(str, kinds))};"
            f" all rows must have the same one of {', '.join(get_args(BoardKind))}"
        )
    for line, row in enumerate(rows, 2):
        if row.get("public_score") == row.get("private_score") == "":
            raise TaskError(
                f"{path}, line {line}: both scores are empty;"
                " an entry needs a public_score or a private_score"
            )
    return Leaderboard(
        kind=cast("BoardKind", rows[0]["kind"]),
        public=read_scores(path, rows, "public_score"),
        private=read_scores(path, rows, "private_score"),
    )


def read_scores(path: Path, rows: Sequence[dict[str, str]], field: str) -> tuple[float, ...]:
    """Read a split's scores; an entry with an empty field is skipped."""
    lines = enumerate(rows, 2)
    return tuple(read_score(path, line, row, field) for line, row in lines if row.get(field) != "")


def read_score(path: Path, line: int, row: dict[str, str], field: str) -> float:
    """Read a finite score from a row."""
    try:
        value = float(row[field])
    except (KeyError, TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        found = row.get(field)
        raise TaskError(f"{path}, line {line}: {field} is {found!r}; it must be a finite number")
    return value


def place(
    score: float,
    entries: Sequence[float],
    *,
    higher_is_better: bool,
    decimals: int | None = DECIMALS,
) -> Place:
    """Compute the place of a score among the entries of a leaderboard.

    Args:
        score: the new score, in the metric's units.
        entries: the scores on the leaderboard, in any order.
        higher_is_better: the metric's direction.
        decimals: the precision of the comparison; None: exact.

    Raises:
        ValueError: the score is not finite, or the leaderboard is empty.

    >>> place(0.75, [0.5, 0.625, 0.75, 1.0], higher_is_better=True)
    Place(position=0.5, rank=2, entries=4, normalised=0.5)
    """
    if not math.isfinite(score):
        raise ValueError(f"a score of {score} has no place")
    if not entries:
        raise ValueError("a leaderboard without entries has no places")
    sign = 1 if higher_is_better else -1
    rounded = (value if decimals is None else round(value, decimals) for value in (score, *entries))
    own, *others = (sign * value for value in rounded)
    best, worst = max(others), min(others)
    return Place(
        position=sum(other < own for other in others) / len(others),
        rank=1 + sum(other > own for other in others),
        entries=len(others),
        normalised=(own - worst) / (best - worst) if best > worst else None,
    )


def same_place(one: Place, other: Place) -> bool:
    """Return whether two scores are at the same place."""
    return (one.rank, one.position) == (other.rank, other.position)


def human_rank(*places: Place | None) -> float | None:
    """Compute MLE-Dojo's HumanRank, from 0 to 1: the mean of the two boards' shares.

    A board's share is the share of its entries that the score equals or beats. MLE-Dojo computes
    it as (entries - position + 1) / entries. `position` is the first row, best first, that the
    score equals or beats, and entries + 1 if there is none. Unlike `Place.position`, a tie counts
    in the score's favour.

    Args:
        places: the places on the public and the private board; None for a board that is missing.

    Returns:
        The mean over the boards that exist; None if there is none.

    >>> human_rank(place(0.9, [0.5, 0.8, 0.9, 0.95], higher_is_better=True))
    0.75
    """
    shares = [(at.entries - at.rank + 1) / at.entries for at in places if at is not None]
    return sum(shares) / len(shares) if shares else None
