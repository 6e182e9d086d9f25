"""Split the flights into what the agent sees and what only the grader sees.

One thunderstorm delays hundreds of flights. So a day stands on one side of the split as a
whole: otherwise the other flights of the same day would tell how it went. The days are
drawn within each month.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2013
ID, TARGET = "id", "late"
LATE_MINUTES = 30
SHARES = {"train": 0.70, "Public": 0.09, "Private": 0.21}
"""Of the days; a test row's part is its `Usage`."""


def prepare(raw: Path, public: Path, private: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv for the agent, answers.csv for us."""
    random = np.random.RandomState(SEED)  # its stream is the same in every numpy
    flights = pd.read_csv(raw / "flights.csv.xz")
    weather = pd.read_csv(raw / "weather.csv.xz", dtype={"wind_dir": "Int64"})
    rows = shuffled(labelled(flights.merge(weather, how="left")), random)
    part = parts(rows, random)
    test = rows[part != "train"]
    sample = test[[ID]].assign(**{TARGET: 0.5})
    answers = test[[ID, TARGET]].assign(Usage=part)

    save(rows[part == "train"], public / "train.csv")
    save(test.drop(columns=TARGET), public / "test.csv")
    save(sample, public / "sample_submission.csv")
    save(answers, private / "answers.csv")


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """The delay as a label; the hour that joined flights and weather is no longer needed."""
    late = (table["arr_delay"] > LATE_MINUTES).astype(int)
    return table.drop(columns=["arr_delay", "utc_hour"]).assign(**{TARGET: late})


def shuffled(table: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """The rows in a random order, numbered from 0: an id tells nothing about its row."""
    rows = table.iloc[random.permutation(len(table))].reset_index(drop=True)
    rows.insert(0, ID, rows.index)
    return rows


def parts(rows: pd.DataFrame, random: np.random.RandomState) -> pd.Series:
    """Each row's part, drawn per day, with equal shares of every month in each part."""
    days = rows[["month", "day"]].drop_duplicates().sort_values(["month", "day"])
    until = np.cumsum(list(SHARES.values()))[:-1]
    part_of = {}
    for month, alike in days.groupby("month"):
        drawn = random.permutation(alike["day"].to_numpy())
        borders = np.round(until * len(drawn)).astype(int)
        for name, chosen in zip(SHARES, np.split(drawn, borders), strict=True):
            part_of.update({(month, day): name for day in chosen})
    return rows.set_index(["month", "day"]).index.map(part_of).to_series(index=rows.index)


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n")
