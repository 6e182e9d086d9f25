"""Split the hours of bike rental into what the agent sees and what only the grader sees.

The test set is the year that follows the training rows, so a model must forecast. Its weeks
are Public or Private as a whole: neighbouring hours are much alike, and a board of single
hours drawn at random would judge all the others.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2010
ID, TIME, TARGET = "id", "time", "count"
FROM, UNTIL = "2018-09-01", "2019-09-01"
"""Of the test set; the moment `UNTIL` is no longer in it."""
WEEK, RUN, SHARE = 7, 10, 0.3
"""Days in a week; weeks in a run; of each run's weeks this share is Public, drawn at random."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    source = pd.read_csv(raw / "bike.csv.xz", dtype=str)  # as text: not a digit changes
    rows = numbered(source[source[TIME] < UNTIL], random)
    train, test = rows[rows[TIME] < FROM], rows[rows[TIME] >= FROM]
    sample = test[[ID]].assign(**{TARGET: int(train[TARGET].astype(int).median())})
    answers = test[[ID, TARGET]].assign(Usage=usage(pd.to_datetime(test[TIME]), random))

    save(train, public / "train.csv")
    save(test.drop(columns=TARGET), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def numbered(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """The rows in the order of time, with ids in a random one: an id tells nothing."""
    rows = table.sort_values(TIME, kind="stable", ignore_index=True)
    rows.insert(0, ID, random.permutation(len(rows)))
    return rows


def usage(time: pd.Series, random: np.random.RandomState) -> pd.Series:
    """Public or Private for each row, by whole weeks from the first day of the test set."""
    day = (time - pd.Timestamp(FROM)).dt.days
    weeks = (day.max() + 1) // WEEK  # what is left over joins the last one
    public: list[int] = []
    for run in np.split(np.arange(weeks), range(RUN, weeks, RUN)):
        public.extend(random.choice(run, round(SHARE * len(run)), replace=False))
    week = (day // WEEK).clip(upper=weeks - 1)
    return week.isin(public).map({True: "Public", False: "Private"})


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
