"""A leaderboard: other entries' scores on both splits, and the place of a new score among them.

`leaderboard.csv` has the columns `entry,kind,public_score,private_score,seed,runtime_s`;
one of an entry's two scores may be empty, so that the two boards may differ in length.
Its `kind` says who the others are, and so what a place may be called: `reference`
(a fixed population of pipelines), `human` (a competition's teams) or `published`
(numbers from a paper on the same split).
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from kernel_env.errors import TaskError
from kernel_env.grading.grade import Place

DECIMALS = 6
"""Ours are kept at this precision, so scores are compared at it: a tie stays a tie."""

Split = Literal["Public", "Private"]
BoardKind = Literal["reference", "human", "published"]


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """The scores that a submission is compared with. The order of rows has no meaning."""

    kind: BoardKind
    public: tuple[float, ...]
    private: tuple[float, ...]

    def place(self, score: float, split: Split, *, higher_is_better: bool) -> Place | None:
        """Where a score stands among those of a split; None where nobody stands."""
        entries = self.public if split == "Public" else self.private
        decimals = DECIMALS if self.kind == "reference" else None
        if not entries:
            return None
        return place(score, entries, higher_is_better=higher_is_better, decimals=decimals)


def load(path: Path) -> Leaderboard:
    """Read `leaderboard.csv`. Raises `TaskError` naming the file, the row and the field."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise TaskError(f"{path} is missing; a task needs a leaderboard") from error
    if not rows:
        raise TaskError(f"{path} has no rows; a leaderboard needs at least one entry")
    kinds = {row.get("kind") for row in rows}
    if len(kinds) != 1 or not kinds <= set(get_args(BoardKind)):
        raise TaskError(
            f"{path}: the field kind is {sorted(map(str, kinds))};"
            f" all rows want the same one of {', '.join(get_args(BoardKind))}"
        )
    for line, row in enumerate(rows, 2):
        if row.get("public_score") == row.get("private_score") == "":
            raise TaskError(f"{path}, line {line}: an entry has a public_score or a private_score")
    return Leaderboard(
        kind=cast("BoardKind", rows[0]["kind"]),
        public=column(path, rows, "public_score"),
        private=column(path, rows, "private_score"),
    )


def column(path: Path, rows: Sequence[dict[str, str]], field: str) -> tuple[float, ...]:
    """The scores of a split, of those entries that have one."""
    lines = enumerate(rows, 2)
    return tuple(number(path, line, row, field) for line, row in lines if row.get(field) != "")


def number(path: Path, line: int, row: dict[str, str], field: str) -> float:
    """A finite score out of a row."""
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
    """Where a score stands, compared at so many decimals, or exactly where that is None.

    Raises `ValueError` for NaN and for an empty board.

    >>> place(0.9, [0.5, 0.8, 0.9, 0.95], higher_is_better=True)
    Place(position=0.5, rank=2, entries=4, normalised=0.8888888888888888)
    """
    if not math.isfinite(score):
        raise ValueError(f"a score of {score} has no place")
    if not entries:
        raise ValueError("a board without entries has no places")
    sign = 1 if higher_is_better else -1
    seen = (value if decimals is None else round(value, decimals) for value in (score, *entries))
    mine, *others = (sign * value for value in seen)
    top, bottom = max(others), min(others)
    return Place(
        position=sum(other < mine for other in others) / len(others),
        rank=1 + sum(other > mine for other in others),
        entries=len(others),
        normalised=(mine - bottom) / (top - bottom) if top > bottom else None,
    )


def human_rank(*places: Place | None) -> float | None:
    """MLE-Dojo's HumanRank: the share of a board that a score equals or beats, over the boards.

    MLE-Dojo takes (entries - position + 1) / entries, with position the first row, best first,
    that the score equals or beats, and entries + 1 where there is none: a tie counts for the
    score. It is the mean over those of the two boards that exist; None where there is neither.

    >>> human_rank(place(0.9, [0.5, 0.8, 0.9, 0.95], higher_is_better=True))
    0.75
    """
    shares = [(it.entries - it.rank + 1) / it.entries for it in places if it is not None]
    return sum(shares) / len(shares) if shares else None
