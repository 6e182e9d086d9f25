"""Find families: rows that are so alike that a split must not separate them.

Two rows are alike if they are equal in all features, or after rounding fractions where so many are
equal that chance does not explain it, or if a text of one shares most of its phrases with a text of
the other. Rows of one group are one family too. `kernel-env tasks check` looks for the same.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kernel_env.authoring import similarity
from kernel_env.tasks.columns import is_prose, numbers

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class Families:
    """A partition of rows that grows coarser.

    Args:
        rows: the number of rows; each is a family of its own.
    """

    def __init__(self, rows: int) -> None:
        self._parent = list(range(rows))

    def find(self, row: int) -> int:
        """Return the first row of a row's family."""
        while self._parent[row] != row:
            self._parent[row] = self._parent[self._parent[row]]
            row = self._parent[row]
        return row

    def join(self, one: int, other: int) -> None:
        """Make the families of two rows one."""
        first, second = sorted((self.find(one), self.find(other)))
        self._parent[second] = first

    def join_equal(self, keys: Sequence[object]) -> None:
        """Make rows with equal keys one family."""
        first: dict[object, int] = {}
        for row, key in enumerate(keys):
            self.join(first.setdefault(key, row), row)

    def labels(self) -> list[int]:
        """Return each row's family, numbered by its first row."""
        return [self.find(row) for row in range(len(self._parent))]


def find_families(features: "pd.DataFrame", group: "pd.Series[str] | None" = None) -> list[int]:
    """Return each row's family, numbered by its first row.

    Args:
        features: the feature columns as text, shape (rows, features).
        group: a value for each row; rows with equal ones are one family.
    """
    families = Families(len(features))
    families.join_equal(list(similarity.row_keys(features)))
    texts = [
        name for name in features if is_prose(features[name]) and not are_numbers(features[name])
    ]
    if texts:
        for name in texts:
            join_similar_texts(families, list(features[name]))
    else:
        join_similar_rows(families, features)
    if group is not None:
        families.join_equal(list(group))
    return families.labels()


def are_numbers(column: "pd.Series[str]") -> bool:
    """Return whether all cells of a column are numbers or empty."""
    return numbers(column) is not None


def join_similar_rows(families: Families, features: "pd.DataFrame") -> None:
    """Join rows that are equal after rounding, if more are than chance explains."""
    rows = len(features)
    for digits in similarity.ROUNDING_DIGITS:
        rounded, _ = similarity.round_tables(features, features.iloc[:0], digits)
        keys = similarity.row_keys(rounded)
        sizes = keys.value_counts().to_numpy()
        pairs = int((sizes * (sizes - 1)).sum() // 2)
        if not pairs:
            return
        expected = similarity.expected_duplicates(rounded, rounded) * (rows - 1) / (2 * rows)
        if similarity.exceeds_chance(pairs, expected):
            families.join_equal(list(keys))


def join_similar_texts(families: Families, texts: Sequence[str]) -> None:
    """Join rows whose texts share most of their phrases."""
    hashes: list[np.ndarray] = []
    rows_with: dict[int, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        own = similarity.phrase_hashes(text)
        for other in similarity.similar_rows(own, rows_with, hashes):
            families.join(other, row)
        hashes.append(own)
        for value in own[: similarity.SKETCH_PHRASES].tolist():
            rows_with[value].append(row)
