"""Find nearly equal rows, texts and pictures."""

import io
import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd

from kernel_env.tasks.columns import numbers

ROUNDING_DIGITS = range(3, 10)
"""Digits to which fractions are rounded, counted from the digit of the standard deviation."""
PHRASE_WORDS = 3
"""Words in a phrase."""
SKETCH_PHRASES = 12
"""Phrases of a text in its sketch: texts are compared only when their sketches intersect."""
MIN_SIMILARITY = 0.8
"""Least Jaccard similarity of the phrases of two texts that are near-duplicates."""
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)
"""A word; in Chinese and Japanese, which do not separate words, a character."""
SIGNIFICANCE = 1e-4
"""The probability below which coincidences are not explained by chance."""
THUMBNAIL_PIXELS = 16
"""Side of a thumbnail in pixels."""
BRIGHTNESS_LEVELS = 16
"""Brightness levels of each channel of a thumbnail."""


def words(text: str) -> list[str]:
    """Split a text into words, without case and punctuation; punctuation alone is one word."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold()) or [text.strip()]


def round_tables(
    train: pd.DataFrame, test: pd.DataFrame, digits: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Round two tables of the same columns, so that nearly equal rows become equal."""
    both = pd.concat([train, test], ignore_index=True)
    rounded = pd.DataFrame({column: round_column(both[column], digits) for column in both.columns})
    return rounded.iloc[: len(train)], rounded.iloc[len(train) :]


def round_column(column: "pd.Series[str]", digits: int) -> "pd.Series[str]":
    """Round fractions to that many digits, keep whole numbers, and reduce text to its words."""
    values = numbers(column)
    if values is None:
        distinct = pd.unique(column)
        return column.map(dict(zip(distinct, map(" ".join, map(words, distinct)), strict=True)))
    known = values[np.isfinite(values)]
    decimals = 0
    if (known % 1).any():
        decimals = digits - 1 - int(np.floor(np.log10(known.std() or 1.0)))
    texts = {value: f"{round(value, decimals):.12g}" for value in np.unique(known).tolist()}
    return pd.Series(values, index=column.index).map(texts).fillna("")


def expected_duplicates(train: pd.DataFrame, test: pd.DataFrame) -> float:
    """Return the expected number of equal row pairs if the columns were independent.

    It is rows(train) * rows(test) * the product over the columns of the probability that a train
    and a test value are equal, sum over the values of p_train(value) * p_test(value).
    """
    logarithm = np.log(len(train)) + np.log(len(test))
    for column in train:
        shares = train[column].value_counts(normalize=True)
        others = test[column].value_counts(normalize=True)
        probability = float((shares * others.reindex(shares.index).fillna(0)).sum())
        if probability == 0:
            return 0.0
        logarithm += np.log(probability)
    return float(np.exp(logarithm))


def exceeds_chance(count: int, expected: float) -> bool:
    """Return whether a count of coincidences is significant at p < `SIGNIFICANCE`.

    The Chernoff bound of a Poisson variable N with mean m: P(N >= k) <= exp(k - m + k log(m / k))
    for k > m (Mitzenmacher & Upfal, Probability and Computing, theorem 5.4).

    Args:
        count: the observed coincidences, k.
        expected: the mean under the null hypothesis, m.
    """
    if count <= expected:
        return False
    if expected == 0:
        return True
    exponent = count - expected + count * (np.log(expected) - np.log(count))
    return bool(exponent < np.log(SIGNIFICANCE))


def row_keys(table: pd.DataFrame) -> "pd.Series[str]":
    """Return each row as one text, shape (rows,)."""
    joined = table.iloc[:, 0].astype(str)
    for column in table.columns[1:]:
        joined = joined + "\x1f" + table[column].astype(str)
    return joined


def phrase_hashes(text: str) -> np.ndarray:
    """Return the sorted CRC-32 of each distinct phrase; a shorter text is one phrase."""
    found = words(text)
    count = max(1, len(found) - PHRASE_WORDS + 1)
    phrases = [" ".join(found[i : i + PHRASE_WORDS]) for i in range(count)]
    return np.unique(np.fromiter((zlib.crc32(phrase.encode()) for phrase in phrases), np.uint32))


def find_similar_texts(train: Sequence[str], test: Sequence[str]) -> list[tuple[int, int]]:
    """Return pairs of rows with nearly equal texts, (test row, train row), one per test row.

    The lowest hashes of a text are its sketch: of two similar texts, the sketches very likely
    intersect (Broder 1997, On the resemblance and containment of documents).
    """
    train_hashes = [phrase_hashes(text) for text in train]
    rows_with: dict[int, list[int]] = defaultdict(list)
    for row, hashes in enumerate(train_hashes):
        for value in hashes[:SKETCH_PHRASES].tolist():
            rows_with[value].append(row)
    found = []
    for row, text in enumerate(test):
        similar = similar_rows(phrase_hashes(text), rows_with, train_hashes)
        if (other := next(similar, None)) is not None:
            found.append((row, other))
    return found


def similar_rows(
    hashes: np.ndarray, rows_with: Mapping[int, list[int]], others: Sequence[np.ndarray]
) -> Iterator[int]:
    """Yield the rows whose texts are nearly equal to one, in order.

    Args:
        hashes: the text's phrases.
        rows_with: the rows of the other texts whose sketches hold a phrase.
        others: the phrases of the other texts.
    """
    sketch = hashes[:SKETCH_PHRASES].tolist()
    candidates = set(chain.from_iterable(rows_with.get(value, ()) for value in sketch))
    for other in sorted(candidates):
        shared = len(np.intersect1d(hashes, others[other], assume_unique=True))
        if shared >= MIN_SIMILARITY * (len(hashes) + len(others[other]) - shared):
            yield other


def thumbnail(picture: bytes) -> bytes | None:
    """Reduce a picture to a few pixels and brightness levels, on a white background.

    Returns None for bytes that are no picture. Raises `ImportError` without pillow.
    """
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
        .resize((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.BOX)
    )
    return bytes((np.asarray(small) // (256 // BRIGHTNESS_LEVELS)).astype(np.uint8))
