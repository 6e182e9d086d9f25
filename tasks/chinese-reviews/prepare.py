"""Split the reviews into what the agent sees and what only the grader sees.

Half of the source's lines repeat another line, and some reviews were copied with little
changed. Each text stays once, and reviews that are nearly the same are a *family*, which
never stands on both sides of the split.
"""

import re
import zlib
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2013
ID, TARGET = "id", "positive"
SHARES = {"train": 0.70, "Public": 0.09, "Private": 0.21}
"""Of the rows; a test row's part is its `Usage`."""
SKETCH, ALIKE = 8, 0.5
"""Phrases by which a twin is looked for; the share of all phrases that makes one."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    rows = shuffled(cleaned(pd.read_csv(raw / "reviews.csv.xz", keep_default_na=False)), random)
    part = parts(rows[TARGET], families(rows["text"]), random)
    test = rows[part != "train"]
    sample = test[[ID]].assign(**{TARGET: 0})
    answers = test[[ID, TARGET]].assign(Usage=part)

    save(rows[part == "train"], public / "train.csv")
    save(test.drop(columns=TARGET), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def cleaned(table: pd.DataFrame) -> pd.DataFrame:
    """Each text once; a text that is called both good and bad is left out."""
    labels = table.groupby("text")[TARGET].transform("nunique")
    return table[labels == 1].drop_duplicates("text")


def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """The rows in a random order, numbered from 0: an id tells nothing about its row."""
    rows = table.iloc[random.permutation(len(table))].reset_index(drop=True)
    rows.insert(0, ID, rows.index)
    return rows


def families(texts: pd.Series) -> pd.Series:
    """One number for all reviews that are nearly the same."""
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

    for candidates in rows_with.values():
        for one, other in combinations(candidates, 2):
            if family(one) != family(other):
                shared = len(phrases[one] & phrases[other])
                if shared >= ALIKE * len(phrases[one] | phrases[other]):
                    head[family(other)] = family(one)
    return pd.Series([family(row) for row in range(len(texts))])


def phrases_of(text: str) -> set[str]:
    """All runs of four characters, or the whole of a shorter text, without marks and blanks."""
    plain = "".join(re.findall(r"\w", text.lower())) or text
    return {plain[i : i + 4] for i in range(max(1, len(plain) - 3))}


def checksum(phrase: str) -> tuple[int, str]:
    """An order that is random but always the same: equal texts have equal first phrases."""
    return zlib.crc32(phrase.encode()), phrase


def parts(labels: pd.Series, family: pd.Series, random: np.random.RandomState) -> pd.Series:
    """Each row's part, drawn per family, with about equal shares of every label in each part."""
    until = np.cumsum(list(SHARES.values()))[:-1]
    sizes = family.groupby(family).size()
    part_of = pd.Series("", index=sizes.index)
    label = labels.groupby(family).mean().round()  # of a family: what most of it is
    for _, alike in label.groupby(label):
        drawn = random.permutation(alike.index.to_numpy())
        middle = (sizes[drawn].cumsum() - sizes[drawn] / 2) / sizes[drawn].sum()
        part_of[drawn] = np.array(list(SHARES))[np.searchsorted(until, middle)]
    return family.map(part_of)


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
