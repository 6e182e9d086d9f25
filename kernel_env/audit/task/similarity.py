"""When two rows, texts or pictures are nearly the same. Pure."""

import io
import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import numpy as np
import pandas as pd

from kernel_env.tasks.columns import numbers

DIGITS = range(3, 10)
"""Digits to which fractions are rounded, the first at the place of the column's spread."""
PHRASE = 3
"""Words in a phrase."""
SKETCH = 12
"""Phrases of a text by which its twin is looked for."""
ALIKE = 0.8
"""Share of the phrases of two texts together that both have, from which on they are twins."""
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)
"""A word; in Chinese and Japanese, which write no blanks, a character."""
SIDE = 16
"""Pixels to which each side of a picture is reduced."""
LEVELS = 16
"""Levels of brightness that are told apart in it."""


def words(text: str) -> list[str]:
    """A text without capitals, marks and blanks; one of marks alone as it is."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold()) or [text.strip()]


def coarse(
    train: pd.DataFrame, test: pd.DataFrame, digits: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tables of the same columns, written so that nearly equal rows become equal."""
    both = pd.concat([train, test], ignore_index=True)
    less = pd.DataFrame({column: rounded(both[column], digits) for column in both.columns})
    return less.iloc[: len(train)], less.iloc[len(train) :]


def rounded(column: "pd.Series[str]", digits: int) -> "pd.Series[str]":
    """Fractions with so many digits; columns of whole numbers as they are; text as its words."""
    values = numbers(column)
    if values is None:
        different = pd.unique(column)
        return column.map(dict(zip(different, map(" ".join, map(words, different)), strict=True)))
    known = values[~np.isnan(values)]
    decimals = 0
    if (known % 1).any():
        decimals = digits - 1 - int(np.floor(np.log10(known.std() or 1.0)))
    written = {value: f"{round(value, decimals):.12g}" for value in np.unique(known).tolist()}
    return pd.Series(values, index=column.index).map(written).fillna("")


def chance_twins(train: pd.DataFrame, test: pd.DataFrame) -> float:
    """How many pairs of equal rows chance would make if the columns were independent."""
    logarithm = np.log(len(train)) + np.log(len(test))
    for column in train:
        shares = train[column].value_counts(normalize=True)
        others = test[column].value_counts(normalize=True)
        meet = float((shares * others.reindex(shares.index).fillna(0)).sum())
        if meet == 0:
            return 0.0
        logarithm += np.log(meet)
    return float(np.exp(logarithm))


def keys(table: pd.DataFrame) -> "pd.Series[str]":
    """Each row as one text."""
    joined = table.iloc[:, 0].astype(str)
    for column in table.columns[1:]:
        joined = joined + "\x1f" + table[column].astype(str)
    return joined


def phrases(text: str) -> np.ndarray:
    """The checksums of all runs of three words; of a shorter text, of the whole."""
    said = words(text)
    runs = [" ".join(said[i : i + PHRASE]) for i in range(max(1, len(said) - PHRASE + 1))]
    return np.unique(np.fromiter((zlib.crc32(run.encode()) for run in runs), np.uint32))


def twin_texts(train: Sequence[str], test: Sequence[str]) -> list[tuple[int, int]]:
    """Rows of test and of train whose texts are nearly the same, (test row, train row)."""
    ours, theirs = [phrases(text) for text in train], [phrases(text) for text in test]
    holders: dict[int, list[int]] = defaultdict(list)
    for row, all_of_it in enumerate(ours):
        for phrase in all_of_it[:SKETCH].tolist():
            holders[phrase].append(row)
    found = []
    for row, all_of_it in enumerate(theirs):
        candidates = set(
            chain.from_iterable(holders.get(p, []) for p in all_of_it[:SKETCH].tolist())
        )
        for other in sorted(candidates):
            shared = len(np.intersect1d(all_of_it, ours[other], assume_unique=True))
            if shared >= ALIKE * (len(all_of_it) + len(ours[other]) - shared):
                found.append((row, other))
                break
    return found


def reduced(picture: bytes) -> bytes | None:
    """A picture at a few pixels and levels, on white; None when it is none. Needs pillow."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(picture)) as image:
            colours = image.convert("RGBA")
    except (UnidentifiedImageError, OSError):
        return None
    white = Image.new("RGBA", colours.size, "white")
    small = (
        Image.alpha_composite(white, colours)
        .convert("RGB")
        .resize((SIDE, SIDE), Image.Resampling.BOX)
    )
    return bytes((np.asarray(small) // (256 // LEVELS)).astype(np.uint8))
