"""Split the rated sentences into what the agent sees and what only the grader sees.

Sentences of one review or one article go together: they share a subject, names and
often a mood. So do sentences that are nearly the same, as a message and its
repetition. Such a *family* never stands on both sides of the split.
"""

import re
import zlib
from collections import defaultdict
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2014
ID, TARGET = "id", "rating"
SHARES = {"train": 0.70, "Public": 0.09, "Private": 0.21}
"""Of the rows; a test row's part is its `Usage`."""
SKETCH, ALIKE = 8, 0.5
"""Phrases by which a twin is looked for; the share of all phrases that makes one."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    source = pd.read_csv(raw / "sentences.csv.xz", dtype=str, keep_default_na=False)
    rows = shuffled(source.drop_duplicates(["text", TARGET]), random)
    rows["document"] = families(rows["text"], rows["document"])
    part = parts(rows["document"], random)
    test = rows[part != "train"]
    sample = test[[ID]].assign(**{TARGET: 0})
    answers = test[[ID, TARGET]].assign(Usage=part)

    save(rows[part == "train"], public / "train.csv")
    save(test.drop(columns=TARGET), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """The rows in a random order, numbered from 0: an id tells nothing about its row."""
    rows = table.iloc[random.permutation(len(table))].reset_index(drop=True)
    rows.insert(0, ID, rows.index)
    return rows


def families(texts: pd.Series, document: pd.Series) -> pd.Series:
    """One number for all rows of a document, and of documents with a text in common.

    It is the id of one of the rows, so it tells nothing about the source.
    """
    phrases = [phrases_of(text) for text in texts]
    rows_with = defaultdict(list)
    for row, mine in enumerate(phrases):
        for phrase in sorted(mine, key=checksum)[:SKETCH]:
            rows_with[phrase].append(row)
    head = list(range(len(texts)))

    def family(row: int) -> int:
        while head[row] != row:
            row = head[row]
        return row

    for alike in document.groupby(document).groups.values():
        for one, other in pairwise(alike):
            head[family(other)] = family(one)
    for candidates in rows_with.values():
        for one, other in combinations(candidates, 2):
            if family(one) != family(other):
                shared = len(phrases[one] & phrases[other])
                if shared >= ALIKE * len(phrases[one] | phrases[other]):
                    head[family(other)] = family(one)
    return pd.Series([family(row) for row in range(len(texts))])


def phrases_of(text: str) -> set[str]:
    """All runs of three words, or the whole of a shorter text, without marks and capitals."""
    words = re.findall(r"\w+", text.lower())
    if len(words) < 3:
        return {" ".join(words) or text}
    return {" ".join(words[i : i + 3]) for i in range(len(words) - 2)}


def checksum(phrase: str) -> tuple[int, str]:
    """An order that is random but always the same: equal texts have equal first phrases."""
    return zlib.crc32(phrase.encode()), phrase


def parts(family: pd.Series, random: np.random.RandomState) -> pd.Series:
    """Each row's part, drawn per family."""
    sizes = family.groupby(family).size()
    drawn = sizes.iloc[random.permutation(len(sizes))]
    middle = (drawn.cumsum() - drawn / 2) / len(family)
    until = np.cumsum(list(SHARES.values()))[:-1]
    part = np.array(list(SHARES))[np.searchsorted(until, middle)]
    return family.map(pd.Series(part, index=drawn.index))


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
