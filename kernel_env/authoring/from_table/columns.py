"""Describe a table's feature columns for the task's description."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernel_env.tasks.columns import is_prose, numbers

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


def describe_column(column: "pd.Series[str]") -> Column:
    """Describe a column by its type and its range or example values."""
    filled = column[column != ""]
    values, filled_values = numbers(column), numbers(filled)
    is_text = values is None and is_prose(column)
    if filled.empty:
        summary = "always missing"
    elif filled_values is not None:
        number = "whole number" if np.all(filled_values % 1 == 0) else "number"
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
