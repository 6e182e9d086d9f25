"""Load a prepared task for the checks: its tables as text, its answers in the order of test.csv."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from kernel_env.grading import metric as metrics
from kernel_env.tasks import Task
from kernel_env.tasks.columns import is_prose, numbers
from kernel_env.tasks.prepare import Prepared

NO_SPLIT = "the task has no train.csv and test.csv to compare"
"""Why a check that compares training rows with test rows does not apply."""


@dataclass(frozen=True, kw_only=True)
class TaskUnderTest:
    """A prepared task: the public tables that agents see and the hidden answers."""

    task: Task
    """The loaded task folder."""
    prepared: Prepared
    """The prepared public folder and the hidden answers file."""
    answers: pd.DataFrame
    """answers.csv: ids, targets and `Usage`."""
    sample: pd.DataFrame
    """sample_submission.csv."""
    train: pd.DataFrame | None
    """train.csv when it holds the ids and the targets, else None."""
    test: pd.DataFrame | None
    """test.csv when it holds the ids, else None."""

    @property
    def ids(self) -> list[str]:
        """Return the names of the id columns."""
        return list(self.task.scoring.schema.id_columns)

    @property
    def targets(self) -> list[str]:
        """Return the names of the target columns."""
        return list(self.task.scoring.schema.target_columns)

    @property
    def hidden(self) -> list[str]:
        """Return the names of the columns that test rows lack: targets, and events of times."""
        metric = self.task.file.metric
        if metric.column is None or metrics.find(metric.name).extra != "event":
            return self.targets
        return [*self.targets, metric.column]

    @property
    def public(self) -> Path:
        """Return the folder that the agent sees."""
        return self.prepared.public

    @cached_property
    def shared(self) -> list[str]:
        """Return the columns that train.csv and test.csv share, without ids and targets."""
        if self.train is None or self.test is None:
            return []
        other = {*self.train.columns} - {*self.ids, *self.targets}
        return [column for column in self.test.columns if column in other]

    @cached_property
    def files(self) -> dict[str, Path]:
        """Return each column that names public files, with the folder that its names start in."""
        if self.test is None:
            return {}
        found = {}
        for column in self.shared:
            names = [name for name in self.test[column].head(5) if name]
            for folder in (self.public, *sorted(p for p in self.public.iterdir() if p.is_dir())):
                if names and all(is_file_in(folder, name) for name in names):
                    found[column] = folder
                    break
        return found

    @cached_property
    def features(self) -> list[str]:
        """Return the shared columns that do not name files."""
        return [column for column in self.shared if column not in self.files]

    @cached_property
    def texts(self) -> list[str]:
        """Return the features that hold sentences."""
        if self.train is None:
            return []
        return [
            c for c in self.features if numbers(self.train[c]) is None and is_prose(self.train[c])
        ]

    @cached_property
    def truth(self) -> pd.DataFrame:
        """Return the answers in the order of test.csv, for the ids that both have."""
        assert self.test is not None
        return self.test[self.ids].merge(self.answers, on=self.ids, how="inner")

    @property
    def is_classification(self) -> bool:
        """Return whether the targets are classes rather than amounts."""
        if "classification" in self.task.file.kind:
            return True
        columns = [self.answers[target] for target in self.targets]
        return any(numbers(column) is None for column in columns)


def is_file_in(folder: Path, name: str) -> bool:
    """Return whether a cell names an existing file below the folder."""
    path = PurePosixPath(name)
    safe = not path.is_absolute() and ".." not in path.parts
    return safe and len(name) < 256 and (folder / name).is_file()


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file with every cell as its unconverted text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False, low_memory=False)


def load_tables(task: Task, prepared: Prepared) -> TaskUnderTest:
    """Load the tables of a prepared task."""
    form = task.scoring.schema

    def table(name: str, columns: list[str]) -> pd.DataFrame | None:
        path = prepared.public / name
        found = read_table(path) if path.is_file() else None
        return found if found is not None and set(columns) <= set(found) else None

    return TaskUnderTest(
        task=task,
        prepared=prepared,
        answers=read_table(prepared.answers),
        sample=read_table(prepared.public / "sample_submission.csv"),
        train=table("train.csv", form.columns),
        test=table("test.csv", list(form.id_columns)),
    )


def encode_target(subject: TaskUnderTest, target: str) -> Mapping[str, np.ndarray]:
    """Encode one target as numbers, for the keys `train` and `truth`.

    Classes are one-hot encoded, shape (rows, classes). Amounts become their rank among all values,
    from 0 to 1, shape (rows, 1), so that outliers do not dominate the statistics.
    """
    assert subject.train is not None
    both = pd.concat([subject.train[target], subject.truth[target]], ignore_index=True)
    amounts = None if subject.is_classification else numbers(both)
    table: np.ndarray
    if amounts is None:
        codes, classes = pd.factorize(both, sort=True)
        table = np.eye(len(classes))[codes]
    else:
        table = pd.Series(amounts).rank(pct=True).fillna(0.5).to_numpy()[:, None]
    return {"train": table[: len(subject.train)], "truth": table[len(subject.train) :]}
