"""Tell what the cells of a text table are: numbers, or sentences."""

import numpy as np
import pandas as pd

WORDS = 3
"""A column whose cells have more words than this on average is one of texts."""


CHARACTERS = 25
"""… or more characters, for languages that write no blanks."""


def wordy(column: "pd.Series[str]") -> bool:
    """Whether the cells are sentences: long, and hardly one like another."""
    some = column[column != ""].head(1000)
    if some.empty or some.nunique() < 0.5 * len(some):
        return False
    return bool(
        (some.str.count(r"\w+").mean() > WORDS and some.str.len().mean() > CHARACTERS)
        or some.str.len().mean() > 2 * CHARACTERS
    )


def numbers(column: "pd.Series[str]") -> np.ndarray | None:
    """The cells as numbers, empty ones as NaN; None when some cell is something else."""
    found = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    return None if bool(np.any(np.isnan(found) & (column != "").to_numpy())) else found
