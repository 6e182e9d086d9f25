"""List runs, finished or not, as rows and as a DataFrame.

A row is the flat form of an episode's record: nested values have names with a dot, such as
`usage.money`. The folder is where the run lies now, which need not be where it was written.
"""

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel_env.episode.journal import JOURNAL, read_header
from kernel_env.episode.result import RECORD
from kernel_env.episode.results import read_result
from kernel_env.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

LIST = "list"
"""The format that lists runs."""
NOT_ENDED = "not ended"
"""The status of an episode that runs, or whose process was killed."""
LISTED = (
    *("task", "agent", "model", "seed", "status", "steps", "human_steps", "public_score"),
    *("private_score", "started", "folder"),
)
"""The columns of `report --format list`."""
COLUMNS = (
    *("task", "domain", "agent", "model", "seed", "status", "public_score", "private_score"),
    *("place", "steps", "human_steps", "seconds", "money", "tokens", "started", "folder"),
)
"""The columns of `kernel-env runs`."""

Row = dict[str, Any]
HEADED = ("task", "domain", "agent", "model", "seed", "started", "episode", "sandbox")
"""What is known of a run that has not ended."""
NO_RESULT: Row = {"status": NOT_ENDED, "human_steps": 0} | dict.fromkeys(
    ("public_score", "private_score", "place", "steps", "seconds", "money", "tokens")
)
Skip = Callable[[Path, str], None]
"""Called with the folder and the reason for each run that cannot be read."""


def folders_of(runs: Iterable[Path]) -> Iterator[Path]:
    """Yield the folders of all runs at or below some paths.

    Raises `UsageError` if a path has no run.
    """
    for run in runs:
        found = {run.parent} if run.is_file() else run_folders(run)
        if not found:
            raise UsageError(
                f"{run} has no {RECORD} below it, and no {JOURNAL}; give the folder of runs"
            )
        yield from sorted(found)


def run_folders(folder: Path) -> set[Path]:
    """Return the folders at or below a folder that have a journal or a record."""
    return {path.parent for name in (JOURNAL, RECORD) for path in folder.rglob(name)}


def journals_of(runs: Iterable[Path]) -> Iterator[Path]:
    """Yield the folders of all runs that have a journal.

    Raises `UsageError` if a path has none.
    """
    for run in runs:
        found = [each for each in folders_of([run]) if (each / JOURNAL).is_file()]
        if not found:
            raise UsageError(f"{run} has no {JOURNAL} below it; give the folder of runs")
        yield from found


def read_rows(runs: Iterable[Path], skip: Skip) -> list[Row]:
    """Read all runs at or below the given paths, the latest last.

    Raises `UsageError` if a path has no run.
    """
    rows = []
    for folder in folders_of(runs):
        try:
            rows.append(read_row(folder))
        except UsageError as error:
            skip(folder, str(error))
    return sorted(rows, key=lambda row: (row["started"], row["folder"]))


def read_row(folder: Path) -> Row:
    """Read a run as a row. Raises `UsageError`."""
    result = read_result(folder)
    if result is None:
        header = read_header(folder / JOURNAL)
        row: Row = {name: getattr(header, name) for name in HEADED} | NO_RESULT
    else:
        row = flat(result.json())
        positions = [result.position_private, result.position_public]
        row["place"] = next((place for place in positions if place is not None), None)
        row["money"], row["tokens"] = result.usage.money, result.usage.tokens
    row["folder"] = str(folder)
    return {name: row.pop(name) for name in COLUMNS} | row


def flat(values: Row, prefix: str = "") -> Row:
    """Return nested objects as one, with a dot in the names of what was inside another."""
    row: Row = {}
    for name, value in values.items():
        if isinstance(value, dict):
            row |= flat(value, f"{prefix}{name}.")
        else:
            row[prefix + name] = value
    return row


def listed(runs: Iterable[Path], skip: Skip) -> list[Row]:
    """List all runs at or below the given paths as `report --format list` does, the latest last.

    Raises `UsageError` if a path has no run.
    """
    return [{name: row.get(name) for name in LISTED} for row in read_rows(runs, skip)]


def load_runs(folder: str | Path = "runs") -> "DataFrame":
    """Return all runs at or below a folder as a DataFrame, one row per run, the latest last.

    The columns are the fields of the record (`EpisodeResult`), `usage.money` and the like for what
    is nested, then `place` (share of the leaderboard beaten, 0 to 1: private, else public) and
    `folder`. A run without an ending has the status `not ended`. A run that cannot be read is left
    out with a warning.

    Raises `UsageError` if there is no run.
    """
    import warnings

    import pandas as pd

    def skip(run: Path, reason: str) -> None:
        warnings.warn(f"{run}: left out: {reason}", stacklevel=4)

    rows = read_rows([Path(folder)], skip)
    return pd.DataFrame(rows).drop(columns=["money", "tokens"])


# ── filters ───────────────────────────────────────────────────────────────────────────────

CONDITION = re.compile(r"\s*([\w.]+)\s*(!=|<=|>=|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def select(rows: Sequence[Row], conditions: Iterable[str]) -> list[Row]:
    """Return the rows that meet all conditions.

    A condition is `COLUMN=VALUE`, or has one of `!=`, `<`, `<=`, `>`, `>=`, or `~` for a text
    that contains the value. A row without a value meets only `!=`.

    Raises `UsageError` for what is no condition, and `UnknownName` for an unknown column.
    """
    chosen = list(rows)
    for condition in conditions:
        meets = parse_condition(condition, names_of(rows))
        chosen = [row for row in chosen if meets(row)]
    return chosen


def names_of(rows: Iterable[Row]) -> set[str]:
    """Return the names of all columns that can be chosen."""
    return set(COLUMNS).union(*rows)


def parse_condition(condition: str, names: set[str]) -> Callable[[Row], bool]:
    """Return a condition as a function of a row. Raises `UsageError`, `UnknownName`."""
    found = CONDITION.fullmatch(condition)
    if not found:
        raise UsageError(
            f"{condition!r} is no condition; give COLUMN=VALUE, or one of != < <= > >= ~ instead"
            " of ="
        )
    name, sign, wanted = found.groups()
    if name not in names:
        raise UnknownName("column", name, names)
    if sign in ORDERS:
        order, limit = ORDERS[sign], number_of(wanted)

        def is_ordered(row: Row) -> bool:
            value = row.get(name)
            if value is None:
                return False
            if limit is not None and isinstance(value, int | float):
                return order(value, limit)
            return order(str(value), wanted)

        return is_ordered
    if sign == "~":
        return lambda row: wanted.casefold() in str(row.get(name, "")).casefold()
    return lambda row: is_equal(row.get(name), wanted) == (sign == "=")


def is_equal(value: object, wanted: str) -> bool:
    """Return whether a value of a row is the one that a condition names."""
    if isinstance(value, int | float) and (number := number_of(wanted)) is not None:
        return float(value) == number
    return ("" if value is None else str(value)) == wanted


def number_of(text: str) -> float | None:
    """Return a text as a number; None if it is not one."""
    try:
        return float(text)
    except ValueError:
        return None


def ordered(rows: Iterable[Row], column: str) -> list[Row]:
    """Sort rows by a column, downwards if its name has a `-` before it; no value comes last.

    Raises `UnknownName`.
    """
    rows = list(rows)
    name, downwards = column.removeprefix("-"), column.startswith("-")
    if name not in names_of(rows):
        raise UnknownName("column", name, names_of(rows))
    present = [row for row in rows if row.get(name) is not None]
    absent = [row for row in rows if row.get(name) is None]
    numeric = all(isinstance(row[name], int | float) for row in present)
    present.sort(key=lambda row: row[name] if numeric else str(row[name]), reverse=downwards)
    return present + absent
