"""Describe a table's feature columns for the task's description."""

import io
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernel_env.tasks.columns import is_missing_word, is_prose, numbers

if TYPE_CHECKING:
    import pandas as pd

TIMESTAMP = r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?"
"""A date, or a date and a time, in ISO 8601."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A feature column, as the task's description presents it."""

    name: str
    """The column's name in the table."""
    is_number: bool
    """Whether every cell that is not empty is a number."""
    is_text: bool
    """Whether the cells contain sentences."""
    summary: str
    """The column's type and range or example values, as text."""
    missing: int
    """The number of empty cells."""


WITH_SEPARATORS = r"[-+]?[^\w\s]?\d{1,3}(?:[,.' ]\d{3})+(?:[.,]\d+)?|[-+]?\d+,\d+"
"""A number as people write it, which no program reads as a number: `1,234.5` or `3,14`."""


def without_missing_words(column: "pd.Series[str]") -> "pd.Series[str]":
    """Empty the cells that say `NA`, `nan`, … in a column of numbers.

    In a column of other texts such a word can be a value: the class `None`, the country `NA`.
    """
    is_word = is_missing_word(column)
    others = column[~is_word & (column != "")]
    if others.empty or numbers(others) is None:
        return column
    return column.mask(is_word, "")


def reads_back(column: "pd.Series[str]") -> bool:
    """Return whether pandas gives back every cell as it was written, if nobody says otherwise.

    It does not for `00281`, `1.10` and `NA`.
    """
    import pandas as pd

    written = io.StringIO()
    pd.DataFrame({"cell": column}).to_csv(written, index=False)
    written.seek(0)
    found = pd.read_csv(written, skip_blank_lines=False)["cell"]
    return bool((found.astype(str).to_numpy() == column.to_numpy()).all())


def remark(column: "pd.Series[str]") -> str:
    """Return what the author should look at in a feature column; empty for an ordinary one."""
    filled = column[column != ""]
    values = numbers(filled)
    whole = values is not None and bool(np.all(np.isfinite(values)) and np.all(values % 1 == 0))
    if values is None and (like_numbers := filled.str.fullmatch(WITH_SEPARATORS)).mean() > 0.5:
        example = filled[like_numbers].iloc[0]
        return (
            f"{column.name!r} is read as text, because of cells like {example!r};"
            " write numbers like 1234.5"
        )
    if whole and values is not None and len(values) == len(column) and (np.diff(values) == 1).all():
        return (
            f"{column.name!r} counts the rows in their order; if a program wrote it as an index,"
            " remove it"
        )
    is_distinct = len(filled) == len(column) == column.nunique()
    if is_distinct and (whole or (values is None and not is_prose(column))):
        if filled.str.fullmatch(TIMESTAMP).all():
            return ""
        return (
            f"{column.name!r} has a different value in each of {len(column):,} rows; if it names"
            f" the rows, give --id {shlex.quote(str(column.name))}"
        )
    return ""


def describe_column(column: "pd.Series[str]") -> Column:
    """Describe a column by its type and its range or example values."""
    column = without_missing_words(column)
    filled = column[column != ""]
    values, filled_values = numbers(column), numbers(filled)
    is_text = values is None and is_prose(column)
    if filled.empty:
        summary = "always missing"
    elif filled_values is not None:
        finite = filled_values[np.isfinite(filled_values)]
        number = "whole number" if np.all(finite % 1 == 0) else "number"
        summary = f"{number}, {filled_values.min():.6g} to {filled_values.max():.6g}"
    elif filled.str.fullmatch(TIMESTAMP).all():
        summary = f"timestamp, {filled.min()} to {filled.max()}"
    elif is_text:
        summary = f"text of {filled.str.len().median():.0f} characters in the median"
    else:
        counts = filled.value_counts()
        examples = ", ".join(f"`{shorten(value)}`" for value in counts.index[:3])
        summary = f"one of {len(counts):,} values: {examples}" + (" …" if len(counts) > 3 else "")
    return Column(
        name=str(column.name),
        is_number=values is not None,
        is_text=is_text,
        summary=summary,
        missing=len(column) - len(filled),
    )


def shorten(value: str) -> str:
    """Shorten a cell to at most 30 characters on one line, safe in a Markdown table."""
    line = " ".join(value.split()).replace("|", "/").replace("`", "'")
    return line if len(line) <= 30 else line[:29] + "…"
