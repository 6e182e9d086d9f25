"""Read a task's public files: training rows, test rows and the sample submission."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

CLASS_CELLS = ("label", "binary", "list", "anything")
"""The types of target cells that are read as they are written, not as numbers."""

MAX_SHOWN = 25
"""The most columns that `describe` shows."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The public files of a task."""

    train: pd.DataFrame
    """The rows with their targets, shape (training rows, columns); empty if no table has them."""
    test: pd.DataFrame
    """The rows to predict, in the order of the sample submission, shape (test rows, columns). Only
    the ids, if no table has more about them."""
    sample: pd.DataFrame
    """The sample submission as text, shape (test rows, id and target columns)."""
    ids: list[str]
    """The columns that identify a row."""
    targets: list[str]
    """The columns to predict."""


def read_tables(task: Mapping[str, Any], *, only_targets: bool = False) -> Tables:
    """Read the public files of a task.

    Args:
        task: the task's facts; this function reads `ids`, `targets` and `wants`.
        only_targets: read only ids and targets, which needs little memory.

    Raises:
        FileNotFoundError: there is no sample submission.
    """
    folder = Path(os.environ["DATA_PATH"])
    paths = sorted([*folder.glob("*.csv*"), *folder.glob("*/*.csv*")], key=lambda p: len(p.parts))
    samples = [path for path in paths if "sample" in path.name.lower()]
    if not samples:
        raise FileNotFoundError("there is no sample_submission.csv, whose format is followed")
    sample = pd.read_csv(samples[0], dtype=str, keep_default_na=False)
    ids = list(task["ids"]) or [str(sample.columns[0])]
    targets = list(task["targets"]) or [str(name) for name in sample.columns[1:]]
    as_written = {*ids, *(targets if task["wants"] in CLASS_CELLS else ())}
    headers = {path: read_header(path) for path in paths if path not in samples}

    def read(word: str, wanted: set[str], unwanted: set[str]) -> pd.DataFrame:
        fitting = [p for p, names in headers.items() if wanted <= names and not unwanted & names]
        fitting.sort(key=lambda path: word not in path.name.lower())
        if not fitting:
            return pd.DataFrame()
        return read_csv(fitting[0], as_written, {*ids, *targets} if only_targets else None)

    train = read("train", set(targets), set())
    test = read("test", set(ids), set(targets))
    if not train.empty:
        known = train[targets].notna() & (train[targets] != "")
        train = train[known.all(axis=1)].reset_index(drop=True)
    test = sample[ids] if test.empty else sample[ids].merge(test.drop_duplicates(ids), how="left")
    return Tables(train=train, test=test, sample=sample, ids=ids, targets=targets)


def read_header(path: Path) -> set[str]:
    """Return the columns of a table; none for a file that pandas cannot read."""
    try:
        return set(map(str, pd.read_csv(path, nrows=0)))
    except Exception as error:
        print(f"{path.name} is left out, {type(error).__name__}: {error}")
        return set()


def read_csv(path: Path, as_written: set[str], only: set[str] | None) -> pd.DataFrame:
    """Read a table; some columns are text as it is written, such as the id `007`.

    Args:
        path: the CSV file.
        as_written: the columns in which nothing is converted and nothing is missing.
        only: the columns to read; None: all.
    """
    names = [str(name) for name in pd.read_csv(path, nrows=0) if only is None or name in only]
    table = pd.read_csv(path, usecols=names, low_memory=False)
    texts = [name for name in names if name in as_written]
    if texts:
        table[texts] = pd.read_csv(path, usecols=texts, dtype=str, keep_default_na=False)[texts]
    return table


def describe(tables: Tables) -> None:
    """Print the sizes of the tables and the columns of the training table."""
    print(f"{len(tables.train):,} training rows, {len(tables.sample):,} rows to predict")
    print(f"{', '.join(tables.ids)} → {', '.join(tables.targets)}")
    for name in list(tables.train)[:MAX_SHOWN]:
        column = tables.train[name]
        known = column.dropna()
        example = repr(str(known.iloc[0]))[:60] if len(known) else "nothing"
        print(
            f"{str(name)[:30]:30} {column.dtype!s:8} {column.nunique():7,} values,"
            f" {column.isna().mean():6.1%} missing, such as {example}"
        )
    if more := len(list(tables.train)[MAX_SHOWN:]):
        print(f"… and {more:,} more columns")
