"""Split the houses into what the agent sees and what only the grader sees.

Few houses are very cheap or very dear, and those decide the score. So the houses are cut
into ten groups by price, and each part gets its share of every group. Then homes that are
alike in everything but price and exact place, as those of one terrace are, join the first
of them: a look-up must not beat a model.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2011
ID, TARGET = "id", "Sale_Price"
SHARES = {"train": 0.70, "Public": 0.09, "Private": 0.21}
"""Of the houses; a test row's part is its `Usage`."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    rows = shuffled(pd.read_csv(raw / "ames.csv.xz"), random)
    part = together(rows, parts(pd.qcut(rows[TARGET], 10, labels=False), random))
    test = rows[part != "train"]
    sample = test[[ID]].assign(**{TARGET: int(rows[TARGET][part == "train"].median())})
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


def parts(group: pd.Series, random: np.random.RandomState) -> pd.Series:
    """Each row's part, with equal shares of every group in each part."""
    part = pd.Series("", index=group.index)
    until = np.cumsum(list(SHARES.values()))[:-1]
    for _, alike in group.groupby(group):
        houses = random.permutation(alike.index.to_numpy())
        borders = np.round(until * len(houses)).astype(int)
        for name, chosen in zip(SHARES, np.split(houses, borders), strict=True):
            part[chosen] = name
    return part


def together(rows: pd.DataFrame, part: pd.Series) -> pd.Series:
    """The parts with homes that are alike in the part of the first of them."""
    features = [column for column in rows if column not in (ID, TARGET, "Longitude", "Latitude")]
    alike = rows.groupby(features, dropna=False, sort=False).ngroup()
    return part.groupby(alike).transform("first")


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
