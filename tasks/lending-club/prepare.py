"""Split the loans into what the agent sees and what only the grader sees.

Only one loan in nineteen goes bad. So the test set is larger than in most tasks, and each
part has the same share of bad loans: the public score rests on 62 of them.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2016
ID, TARGET = "id", "bad"
SHARES = {"train": 0.60, "Public": 0.12, "Private": 0.28}
"""Of the loans; a test row's part is its `Usage`."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    rows = shuffled(labelled(pd.read_csv(raw / "lending_club.csv.xz")), random)
    part = parts(rows[TARGET], random)
    test = rows[part != "train"]
    sample = test[[ID]].assign(**{TARGET: 0.5})
    answers = test[[ID, TARGET]].assign(Usage=part)

    save(rows[part == "train"], public / "train.csv")
    save(test.drop(columns=TARGET), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """The class as a number: 1 for a bad loan and 0 for a good one."""
    return table.drop(columns="Class").assign(**{TARGET: (table["Class"] == "bad").astype(int)})


def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """The rows in a random order, numbered from 0: an id tells nothing about its row."""
    rows = table.iloc[random.permutation(len(table))].reset_index(drop=True)
    rows.insert(0, ID, rows.index)
    return rows


def parts(labels: pd.Series, random: np.random.RandomState) -> pd.Series:
    """Each row's part, with equal shares of both classes in each part."""
    part = pd.Series("", index=labels.index)
    until = np.cumsum(list(SHARES.values()))[:-1]
    for _, alike in labels.groupby(labels):
        loans = random.permutation(alike.index.to_numpy())
        borders = np.round(until * len(loans)).astype(int)
        for name, chosen in zip(SHARES, np.split(loans, borders), strict=True):
            part[chosen] = name
    return part


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
