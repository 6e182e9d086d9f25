"""Choose how the rows of a new task are split, and check that a split is possible."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kernel_env.authoring.from_table.columns import TIMESTAMP
from kernel_env.errors import UsageError
from kernel_env.tasks.columns import numbers

if TYPE_CHECKING:
    import pandas as pd

SplitMethod = Literal["random", "family", "group", "time", "time in group"]
MIN_ROWS = 100
MIN_FOR_SPLIT = 10
"""The least number of rows of a class, of groups, or of timestamps that a split needs."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The method that chooses the test rows."""

    method: SplitMethod
    """At random, by families that agents do not see, by group (no group is in both sets), by time
    (test rows are later), or by the time of each group (its test rows are later than its training
    rows)."""
    column: str = ""
    """The column that contains the families, the groups or the timestamps; empty for a random
    split."""
    group: str = ""
    """The column that contains the groups in which rows are split by time."""
    why: str = ""
    """The reason for the choice, shown to the author."""

    @property
    def hidden(self) -> str:
        """Return the column that decides the split and is no feature; empty if there is none."""
        return self.column if self.method == "family" else ""


def require_column(table: "pd.DataFrame", column: str, option: str) -> None:
    """Raise `UsageError` when the table lacks the column that an option names."""
    if column not in table:
        found = ", ".join(map(str, list(table.columns)[:20]))
        raise UsageError(f"{option}: the table has no column {column!r}; it has {found}")


def choose_split(
    table: "pd.DataFrame",
    targets: Sequence[str],
    id_column: str | None,
    requested: str | None,
    *,
    stratified: bool,
) -> Split:
    """Return the requested split, or one that fits the table.

    Raises:
        UsageError: the requested split does not fit the table.
    """
    features = [str(column) for column in table if column not in (*targets, id_column)]
    if requested is None:
        for column in features:
            if table[column].str.fullmatch(TIMESTAMP).all() and table[column].nunique() >= 10:
                why = f"{column!r} contains timestamps, so the latest rows are the test set"
                return Split(method="time", column=column, why=why)
        check_distinct(table, features)
        how = ", stratified" if stratified else ""
        return Split(method="random", why=f"no column contains timestamps{how}")
    if requested == "random":
        check_distinct(table, features)
        return Split(method="random", why="as requested")
    columns = parse_split(requested)
    for column in columns.values():
        require_column(table, column, "--split")
        if column in (*targets, id_column):
            raise UsageError(f"--split: {column!r} is the id or the target; give another column")
    if "time" in columns:
        check_timestamps(table[columns["time"]])
    elif (groups := table[column].nunique()) < MIN_FOR_SPLIT:
        raise UsageError(
            f"--split: {column!r} has {groups} distinct values; a split into three parts needs at"
            f" least {MIN_FOR_SPLIT} groups"
        )
    match columns:
        case {"family": family}:
            return Split(method="family", column=family, why="as requested")
        case {"time": time, "group": group}:
            return Split(method="time in group", column=time, group=group, why="as requested")
        case {"time": time}:
            return Split(method="time", column=time, why="as requested")
    return Split(method="group", column=columns["group"], why="as requested")


def parse_split(requested: str) -> dict[str, str]:
    """Return the columns of a split by what they hold: `family`, `group`, `time`.

    Raises:
        UsageError: the text is no such split.
    """
    columns: dict[str, str] = {}
    for part in re.split(r",(?=(?:family|group|time):)", requested):
        method, _, column = part.partition(":")
        if method not in ("family", "group", "time") or not column or method in columns:
            raise UsageError(
                f"--split is {requested!r}; give random, group:COLUMN, time:COLUMN,"
                " group:COLUMN,time:COLUMN, or family:COLUMN, which agents do not see"
            )
        columns[method] = column
    if "family" in columns and len(columns) > 1:
        raise UsageError(f"--split is {requested!r}; a family goes with no other column")
    return columns


def check_distinct(table: "pd.DataFrame", features: list[str]) -> None:
    """Raise `UsageError` when too few rows differ in their features for a random split."""
    distinct = len(table[features].drop_duplicates())
    if distinct < MIN_ROWS:
        raise UsageError(
            f"only {distinct} of {len(table):,} rows differ in the features, and equal rows must"
            f" stay together; a random split needs at least {MIN_ROWS} different ones: add"
            " columns, or choose another --split"
        )


def check_timestamps(column: "pd.Series[str]") -> None:
    """Raise `UsageError` unless every cell is a number or a date, with enough distinct ones."""
    import pandas as pd

    values = numbers(column)
    if values is None:
        try:
            times = pd.to_datetime(column.replace("", None), format="ISO8601", utc=True)
        except ValueError as error:
            raise UsageError(
                f"--split: not all values of {column.name!r} are timestamps; write them as numbers,"
                " or as dates such as 2024-01-31 or 2024-01-31 23:59:59"
            ) from error
        missing, distinct = int(times.isna().sum()), times.nunique()
    else:
        missing, distinct = int(pd.isna(values).sum()), column.nunique()
    if missing or distinct < MIN_FOR_SPLIT:
        raise UsageError(
            f"--split: {column.name!r} has {missing} missing and {distinct} distinct timestamps; a"
            f" split by time needs none missing and at least {MIN_FOR_SPLIT} distinct ones"
        )
