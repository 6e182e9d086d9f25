"""A prepared task as the checks look at it: its tables as text, its answers in the test's order."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from kernel_env.tasks import Task
from kernel_env.tasks.columns import numbers, wordy
from kernel_env.tasks.prepare import Prepared


@dataclass(frozen=True, kw_only=True)
class TaskUnderTest:
    """What an agent sees of a task, beside what it must not see."""

    task: Task
    prepared: Prepared
    answers: pd.DataFrame
    sample: pd.DataFrame
    train: pd.DataFrame | None
    """train.csv if it holds ids and targets, as every embedded task's does; else None."""
    test: pd.DataFrame | None
    """test.csv if it holds ids; else None."""

    @property
    def ids(self) -> list[str]:
        """The id columns."""
        return list(self.task.scoring.form.id_columns)

    @property
    def targets(self) -> list[str]:
        """The target columns."""
        return list(self.task.scoring.form.target_columns)

    @property
    def public(self) -> Path:
        """The folder that the agent sees."""
        return self.prepared.public

    @cached_property
    def shared(self) -> list[str]:
        """The columns that train.csv and test.csv have in common, ids and targets left out."""
        if self.train is None or self.test is None:
            return []
        other = {*self.train.columns} - {*self.ids, *self.targets}
        return [column for column in self.test.columns if column in other]

    @cached_property
    def files(self) -> dict[str, Path]:
        """For each column that names public files: the folder that its names begin in."""
        if self.test is None:
            return {}
        found = {}
        for column in self.shared:
            names = [name for name in self.test[column].head(5) if name]
            for folder in (self.public, *sorted(p for p in self.public.iterdir() if p.is_dir())):
                if names and all(is_inside(folder, name) for name in names):
                    found[column] = folder
                    break
        return found

    @cached_property
    def features(self) -> list[str]:
        """The columns that say something of a row, names of files left out."""
        return [column for column in self.shared if column not in self.files]

    @cached_property
    def texts(self) -> list[str]:
        """The features that are written in sentences."""
        if self.train is None:
            return []
        return [c for c in self.features if numbers(self.train[c]) is None and wordy(self.train[c])]

    @cached_property
    def truth(self) -> pd.DataFrame:
        """The answers in the order of test.csv, for the ids that both know."""
        assert self.test is not None
        return self.test[self.ids].merge(self.answers, on=self.ids, how="inner")

    @property
    def is_classes(self) -> bool:
        """Whether the targets are classes rather than amounts."""
        if "classification" in self.task.file.kind:
            return True
        columns = [self.answers[target] for target in self.targets]
        return any(numbers(column) is None for column in columns)


def is_inside(folder: Path, name: str) -> bool:
    """Whether a cell names a file of the folder."""
    path = PurePosixPath(name)
    safe = not path.is_absolute() and ".." not in path.parts
    return safe and len(name) < 256 and (folder / name).is_file()


def read(path: Path) -> pd.DataFrame:
    """A CSV file as the text that stands in it."""
    return pd.read_csv(path, dtype=str, keep_default_na=False, low_memory=False)


def look(task: Task, prepared: Prepared) -> TaskUnderTest:
    """Read a prepared task's tables."""
    form = task.scoring.form

    def table(name: str, columns: list[str]) -> pd.DataFrame | None:
        path = prepared.public / name
        found = read(path) if path.is_file() else None
        return found if found is not None and set(columns) <= set(found) else None

    return TaskUnderTest(
        task=task,
        prepared=prepared,
        answers=read(prepared.answers),
        sample=read(prepared.public / "sample_submission.csv"),
        train=table("train.csv", form.columns),
        test=table("test.csv", list(form.id_columns)),
    )


def encoded(case: TaskUnderTest, target: str) -> Mapping[str, np.ndarray]:
    """One target as numbers, in `train` and in `truth`: shape (rows, classes), or (rows, 1).

    Of a class: a 1 in its column. Of an amount: its rank among all, from 0 to 1, so that no
    single large one outweighs the rest.
    """
    assert case.train is not None
    both = pd.concat([case.train[target], case.truth[target]], ignore_index=True)
    amounts = None if case.is_classes else numbers(both)
    table: np.ndarray
    if amounts is None:
        codes, classes = pd.factorize(both, sort=True)
        table = np.eye(len(classes))[codes]
    else:
        table = pd.Series(amounts).rank(pct=True).fillna(0.5).to_numpy()[:, None]
    return {"train": table[: len(case.train)], "truth": table[len(case.train) :]}
