"""Split the storms into what the agent sees and what only the grader sees.

A storm is seen every six hours, and from one time to the next hardly anything changes. So
a storm stands on one side of the split as a whole. The rarest kinds occur in a dozen storms
alone: storms are drawn by the rarest kind they ever were, so that each part has all kinds.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED = 1975
ID, TARGET = "id", "status"
SHARES = {"train": 0.70, "Public": 0.09, "Private": 0.21}
"""Of the storms; a test row's part is its `Usage`."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    rows = shuffled(numbered(pd.read_csv(raw / "storms.csv.xz")), random)
    part = parts(rows, random)
    rows = rows.drop(columns="storm")
    test = rows[part != "train"]
    sample = test[[ID]].assign(**{TARGET: rows[TARGET].mode()[0]})  # the most common kind
    answers = test[[ID, TARGET]].assign(Usage=part)

    save(rows[part == "train"], public / "train.csv")
    save(test.drop(columns=TARGET), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def numbered(table: pd.DataFrame) -> pd.DataFrame:
    """Each row once, with a number for its storm in place of the name.

    Names come again after some years, but a storm's rows stand together.
    """
    unique = table.drop_duplicates(ignore_index=True)
    storm = (unique["name"] != unique["name"].shift()).cumsum()
    return unique.drop(columns="name").assign(storm=storm)


def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """The rows in a random order, numbered from 0: an id tells nothing about its row."""
    rows = table.iloc[random.permutation(len(table))].reset_index(drop=True)
    rows.insert(0, ID, rows.index)
    return rows


def parts(rows: pd.DataFrame, random: np.random.RandomState) -> pd.Series:
    """Each row's part, drawn per storm, with equal shares of storms that had a rare kind."""
    frequency = rows[TARGET].map(rows[TARGET].value_counts())
    rarest = frequency.groupby(rows["storm"]).min()
    part_of = pd.Series("", index=rarest.index)
    until = np.cumsum(list(SHARES.values()))[:-1]
    for _, alike in rarest.groupby(rarest):
        storms = random.permutation(alike.index.to_numpy())
        borders = np.round(until * len(storms)).astype(int)
        for name, chosen in zip(SHARES, np.split(storms, borders), strict=True):
            part_of[chosen] = name
    return rows["storm"].map(part_of)


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
