"""Split the names of diseases into what the agent sees and what only the grader sees.

A *block* is a run of codes of one chapter on one subject, such as "Viral hepatitis". It never
stands on both sides of the split, so that whoever answers must know what a word means, not just
where it stood before.
"""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 1893
ID, TEXT, TARGET = "id", "name", "chapter"
TRAIN, PUBLIC = 0.70, 0.30
"""The share of each chapter's rows to learn from; of the other categories, the public ones."""
PER_CATEGORY = 4
"""The most names that are kept of one category: the siblings say nearly the same."""
ALIKE = 0.5
"""The share of words that makes a test name a copy of a training one."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    source = pd.read_csv(raw / "diagnoses.csv.xz", dtype=str, keep_default_na=False)
    plain = source[TEXT].map(lambda name: " ".join(words_of(name)))
    rows = shuffled(source[~plain.duplicated(keep=False)], random)
    rows = rows[rows.groupby("category").cumcount() < PER_CATEGORY].reset_index(drop=True)
    rows.insert(0, ID, rows.index)
    learn = drawn_blocks(rows, random)
    rows["block"] = rows.groupby("block", sort=False).ngroup()
    train, test = rows[learn], rows[~learn]
    test = test[~alike(test[TEXT], train[TEXT])]
    sample = test[[ID]].assign(**{TARGET: rows[TARGET].min()})  # the first chapter by name
    answers = test[[ID, TARGET]].assign(Usage=usage(test["category"], random))

    save(train[[ID, TEXT, "block", TARGET]], public / "train.csv")
    save(test[[ID, TEXT]], public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def words_of(name: str) -> list[str]:
    """Return the words of a name, without marks, digits and capitals."""
    return re.findall(r"[a-z]+", name.lower())


def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """Return the rows in a random order, so that an id tells nothing about its row."""
    return table.iloc[random.permutation(len(table))].reset_index(drop=True)


def drawn_blocks(rows: pd.DataFrame, random: np.random.RandomState) -> pd.Series:
    """Return which rows are to learn from: whole blocks, about the same share of each chapter."""
    learn = pd.Series(False, index=rows.index)
    for _, chapter in rows.groupby(TARGET):
        sizes = chapter.groupby("block").size()
        drawn = sizes.iloc[random.permutation(len(sizes))]
        middle = (drawn.cumsum() - drawn / 2) / len(chapter)
        kept = chapter["block"].isin(drawn.index[middle < TRAIN])
        learn[chapter.index[kept]] = True
    return learn


def alike(names: pd.Series, others: pd.Series) -> np.ndarray:
    """Return which names share so many pairs of words with another one that they say the same."""
    pairs = [pairs_of(name) for name in others]
    holders: dict[tuple[str, ...], list[int]] = {}
    for row, mine in enumerate(pairs):
        for pair in mine:
            holders.setdefault(pair, []).append(row)

    def copied(mine: set[tuple[str, ...]]) -> bool:
        rows = {row for pair in mine for row in holders.get(pair, ())}
        return any(len(mine & pairs[row]) > ALIKE * len(mine | pairs[row]) for row in rows)

    return np.array([copied(pairs_of(name)) for name in names])


def pairs_of(name: str) -> set[tuple[str, ...]]:
    """Return all pairs of neighbouring words, or the only word."""
    words = words_of(name)
    return set(pairwise(words)) or {tuple(words)}


def usage(category: pd.Series, random: np.random.RandomState) -> pd.Series:
    """Return each test row's part, drawn per category."""
    names = category.unique()
    names = names[random.permutation(len(names))]
    return category.isin(names[: round(PUBLIC * len(names))]).map(
        {True: "Public", False: "Private"}
    )


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
