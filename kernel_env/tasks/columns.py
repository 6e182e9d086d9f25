"""Classify the columns of a text table: numbers or prose."""

import numpy as np
import pandas as pd

MIN_WORDS = 3
"""The cells of a prose column have more words than this on average."""
MIN_CHARACTERS = 25
"""The cells of a prose column have more characters than this on average. Twice as many suffice
without the word count, for languages that are written without blanks."""


MISSING_WORDS = ("na", "n/a", "nan", "none", "null", "<na>", "nat")
"""What programs write for a missing value, in lower case."""


def is_missing_word(column: "pd.Series[str]") -> "pd.Series[bool]":
    """Return which cells hold a word for a missing value, shape (rows,)."""
    return column.str.strip().str.lower().isin(MISSING_WORDS)


def is_prose(column: "pd.Series[str]") -> bool:
    """Return whether the cells are sentences: long, and at least half of them unique."""
    sample = column[column != ""].head(1000)
    if sample.empty or sample.nunique() < 0.5 * len(sample):
        return False
    return bool(
        (sample.str.count(r"\w+").mean() > MIN_WORDS and sample.str.len().mean() > MIN_CHARACTERS)
        or sample.str.len().mean() > 2 * MIN_CHARACTERS
    )


def numbers(column: "pd.Series[str]") -> np.ndarray | None:
    """Parse the cells as numbers; an empty cell is NaN.

    Returns:
        A float array of shape (rows,), or None if a cell is not a number.
    """
    found = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    return None if bool(np.any(np.isnan(found) & (column != "").to_numpy())) else found
