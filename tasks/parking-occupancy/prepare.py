"""Split the readings of car parks into what the agent sees and what only the grader sees.

The test set is the two weeks that follow the training rows, so a model must forecast. Its
days are Public or Private as a whole, for all car parks: neighbouring readings are much
alike, and a board of single readings drawn at random would judge all the others.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2016
ID, TIME, PLACE, TARGET = "id", "time", "car_park", "occupancy_rate"
FROM = "2016-12-05"
"""The first day of the test set."""
LEAST_DAYS = 30
"""A car park that was read on fewer days tells too little of its habits and is left out."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    rows = numbered(cleaned(pd.read_csv(raw / "parking.csv.xz")), random)
    train, test = rows[rows[TIME] < FROM], rows[rows[TIME] >= FROM]
    sample = test[[ID]].assign(**{TARGET: 0.5})
    answers = test[[ID, TARGET]].assign(Usage=usage(test[TIME].str[:10], random))

    save(train, public / "train.csv")
    save(test.drop(columns=TARGET), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def cleaned(table: pd.DataFrame) -> pd.DataFrame:
    """Each reading once, of the car parks that were read often, with the target."""
    unique = table.drop_duplicates(ignore_index=True)
    days = unique[TIME].str[:10].groupby(unique[PLACE]).nunique()
    often = unique[unique[PLACE].map(days) >= LEAST_DAYS]
    rate = (often["occupancy"] / often["capacity"]).map("{:.5f}".format)
    return often.drop(columns="occupancy").assign(**{TARGET: rate})


def numbered(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """The rows in the order of time, with ids in a random one: an id tells nothing."""
    rows = table.sort_values([TIME, PLACE], kind="stable", ignore_index=True)
    rows.insert(0, ID, random.permutation(len(rows)))
    return rows


def usage(date: pd.Series, random: np.random.RandomState) -> pd.Series:
    """Public or Private for each row: of either week two working days, of both one at the weekend.

    What comes after the second weekend belongs to the second week.
    """
    days = pd.to_datetime(pd.Series(date.unique()))
    second = days >= days.min() + pd.Timedelta(days=7)
    weekend = days.dt.dayofweek >= 5
    public: list[str] = []
    for group, size in ((~weekend & ~second, 2), (~weekend & second, 2), (weekend, 1)):
        drawn = random.choice(days.index[group], size, replace=False)
        public.extend(days[drawn].dt.strftime("%Y-%m-%d"))
    return date.isin(public).map({True: "Public", False: "Private"})


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
