"""Split five thousand handwritten digits into what the agent sees and what only the grader sees.

Pixels are whole numbers and are written as they were read.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED = 1998
ID, TARGET = "id", "digit"
SHARES = {"train": 0.70, "Public": 0.09, "Private": 0.21}
"""Of the pictures; a test row's part is its `Usage`."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    table = pd.read_csv(raw / "mnist_5k.csv.xz", dtype=np.uint8)
    pixels = [column for column in table if column != TARGET]
    rows = shuffled(table.drop_duplicates(pixels), random)
    part = parts(rows[TARGET], random)
    test = rows[part != "train"]
    sample = test[[ID]].assign(**{TARGET: 0})
    answers = test[[ID, TARGET]].assign(Usage=part)

    save(rows.loc[part == "train", [ID, TARGET, *pixels]], public / "train.csv")
    save(test.drop(columns=TARGET), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """The rows in a random order, numbered from 0: an id tells nothing about its row."""
    rows = table.iloc[random.permutation(len(table))].reset_index(drop=True)
    rows.insert(0, ID, rows.index)
    return rows


def parts(labels: pd.Series, random: np.random.RandomState) -> pd.Series:
    """Each row's part, with equal shares of every class in each part."""
    part = pd.Series("", index=labels.index)
    until = np.cumsum(list(SHARES.values()))[:-1]
    for _, alike in labels.groupby(labels):
        pictures = random.permutation(alike.index.to_numpy())
        borders = np.round(until * len(pictures)).astype(int)
        for name, chosen in zip(SHARES, np.split(pictures, borders), strict=True):
            part[chosen] = name
    return part


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
