"""Split the census extract into what the agent sees and what only the grader sees.

The table came with no name or number for a person, so two rows with the same answers
to every question are "the same person" here. A person never stands on both sides of
the split, not even with the opposite label: otherwise a look-up would beat a model.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED = 1994
ID, TARGET = "id", "income"
SHARES = {"train": 0.70, "Public": 0.09, "Private": 0.21}
"""Of the persons; a test row's part is its `Usage`."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    rows = shuffled(cleaned(pd.read_csv(raw / "adult.csv.xz")), random)
    part = parts(rows, random)
    test = rows[part != "train"]
    sample = test[[ID]].assign(**{TARGET: 0.5})
    answers = test[[ID, TARGET]].assign(Usage=part)

    save(rows[part == "train"], public / "train.csv")
    save(test.drop(columns=TARGET), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def cleaned(table: pd.DataFrame) -> pd.DataFrame:
    """Each row once, the label as 1 for an income above 50 thousand dollars and 0 otherwise."""
    unique = table.drop_duplicates(ignore_index=True)
    return unique.assign(**{TARGET: (unique[TARGET] == ">50K").astype(int)})


def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """The rows in a random order, numbered from 0: an id tells nothing about its row."""
    rows = table.iloc[random.permutation(len(table))].reset_index(drop=True)
    rows.insert(0, ID, rows.index)
    return rows


def parts(rows: pd.DataFrame, random: np.random.RandomState) -> pd.Series:
    """Each row's part, drawn per person, with equal shares of every label in each part."""
    features = [column for column in rows if column not in (ID, TARGET)]
    person = rows.groupby(features, dropna=False, sort=False).ngroup()
    label = rows.groupby(person)[TARGET].mean()  # 0, 1, or between for one who has both labels
    part_of = pd.Series("", index=label.index)
    until = np.cumsum(list(SHARES.values()))[:-1]
    for _, alike in label.groupby(label):
        people = random.permutation(alike.index.to_numpy())
        borders = np.round(until * len(people)).astype(int)
        for name, chosen in zip(SHARES, np.split(people, borders), strict=True):
            part_of[chosen] = name
    return person.map(part_of)


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
