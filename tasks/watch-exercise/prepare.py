"""Cut the recordings of a watch into windows; split them into what the agent sees and not.

All windows of a person are on one side of the split, and all windows of a person of the
test set are Public or all are Private: the board judges how well a model knows strangers.
"""

import io
import lzma
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2018
ID, TARGET = "id", "exercise"
CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
UNITS = (200, 200, 200, 100, 100, 100)
"""What 1 g, and 1 radian a second, is in the whole numbers of the raw file."""
WINDOW, STEP = 100, 125
"""Samples in a window, and from its start to the next one's; 25 samples are a second.

The second between two windows is left out. Otherwise the last sample of one and the first
of the next would tell which windows belong together.
"""
TRAIN_SUBJECTS = range(1, 5)
PUBLIC_SUBJECTS = 2
"""Of the six in the test set, drawn at random."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    with lzma.open(raw / "watch.npz.xz") as file:
        recordings = dict(np.load(io.BytesIO(file.read())))
    rows = shuffled(windows(recordings), random)
    is_train = rows["subject"].isin(TRAIN_SUBJECTS)
    test = rows[~is_train]
    subjects = random.choice(test["subject"].unique(), PUBLIC_SUBJECTS, replace=False)
    usage = test["subject"].isin(subjects).map({True: "Public", False: "Private"})
    sample = test[[ID]].assign(**{TARGET: rows[TARGET].min()})  # the first class by name
    answers = test[[ID, TARGET]].assign(Usage=usage)

    save(rows[is_train], public / "train.csv")
    save(test.drop(columns=["subject", TARGET]), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def windows(recordings: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row for each window: who, which arm, the exercise, and 100 numbers of each channel."""
    ends = np.cumsum(recordings["length"])
    found, signals = [], []
    for number, (end, length) in enumerate(zip(ends, recordings["length"], strict=True)):
        for start in range(end - length, end - WINDOW + 1, STEP):
            found.append(number)
            signals.append(recordings["signals"][:, start : start + WINDOW])
    scaled = np.stack(signals) / np.array(UNITS)[:, None]
    names = [f"{channel}_{sample:02d}" for channel in CHANNELS for sample in range(WINDOW)]
    table = pd.DataFrame(
        {
            "subject": recordings["subject"][found],
            "arm": np.array(["left", "right"])[recordings["side"][found]],
            TARGET: recordings["exercise"][found],
        }
    )
    return table.join(pd.DataFrame(scaled.reshape(len(found), -1), columns=names))


def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """The rows in a random order, numbered from 0: an id tells nothing about its row."""
    rows = table.iloc[random.permutation(len(table))].reset_index(drop=True)
    rows.insert(0, ID, rows.index)
    return rows


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
