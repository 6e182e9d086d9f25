"""Split the diamonds into what the agent sees and what only the grader sees.

Two rows in five have a twin: the same weight, colour, clarity and measures, length and width
often changed over, at another price. That is one stone offered twice. A stone never stands
on both sides of the split: otherwise a look-up of the twin would beat a model.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2008
ID, TARGET = "id", "price"
SHARES = {"train": 0.70, "Public": 0.09, "Private": 0.21}
"""Of the stones; a test row's part is its `Usage`."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    rows = shuffled(pd.read_csv(raw / "diamonds.csv.xz").drop_duplicates(), random)
    part = parts(stones(rows), random)
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


def stones(rows: pd.DataFrame) -> pd.Series:
    """A number per stone. Height and cut are left out: of twins they are not always the same."""
    across = rows[["x", "y"]]
    alike = rows[["carat", "color", "clarity"]].assign(
        shorter=across.min(axis=1), longer=across.max(axis=1)
    )
    return alike.groupby(list(alike), sort=False).ngroup()


def parts(group: pd.Series, random: np.random.RandomState) -> pd.Series:
    """Each row's part, drawn per group."""
    groups = random.permutation(group.nunique())
    borders = np.round(np.cumsum(list(SHARES.values()))[:-1] * len(groups)).astype(int)
    part_of = pd.Series("", index=range(len(groups)))
    for name, chosen in zip(SHARES, np.split(groups, borders), strict=True):
        part_of[chosen] = name
    return group.map(part_of)


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
