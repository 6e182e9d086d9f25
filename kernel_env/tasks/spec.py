"""A task folder, read and checked once.

task.toml         what the task is, its metric, its submission, its limits, its raw files
description.md    what the agent reads
data/             raw files, small enough to be kept with the task; a task whose raw files are
                  those of a Kaggle competition has the section [kaggle] in task.toml instead
prepare.py        prepare(raw, public, private): splits them
leaderboard.csv   who a score is compared with; a task imported from elsewhere may have none
solution.ipynb    what a good human might do
grade.py          only where no stock metric fits
NOTICE            where the data came from and under which licence
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from kernel_env.errors import TaskError, UnknownName
from kernel_env.grading import leaderboard, metric
from kernel_env.grading.leaderboard import Leaderboard
from kernel_env.grading.metric import Wants
from kernel_env.grading.submission import SubmissionSchema
from kernel_env.tasks import kaggle

GRADE_FILE = "grade.py"
SingleLine = Annotated[str, StringConstraints(pattern=r"^[^\n]+$")]
Columns = Annotated[list[SingleLine], Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class Section(BaseModel):
    """A table of task.toml; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MetricSection(Section):
    """Which metric: a name, or a `grade.py` that says its own direction."""

    name: SingleLine
    higher_is_better: bool | None = None
    """Only with `name = "grade.py"`."""
    wants: Wants | None = None
    """What the target columns hold, only with `name = "grade.py"`; `number` unless said."""
    title: SingleLine | None = None
    """The metric's name for people, only with `name = "grade.py"`."""


class SubmissionSection(Section):
    """What the agent must hand in; without columns, the task's `grade.py` reads and judges it."""

    id_columns: Columns | None = None
    target_columns: Columns | None = None
    file: SingleLine = "submission.csv"
    limit_mb: Positive = 100


class LimitsSection(Section):
    """An episode's default budget and the box it runs in."""

    steps: Annotated[int, Field(gt=0)] = 60
    seconds: Positive = 3600
    cell_seconds: Positive = 600
    memory_gb: Positive = 4
    workspace_gb: Positive = 2
    cpus: Positive = 2


class KaggleSection(Section):
    """The raw files are those of a Kaggle competition; `kernel-env tasks prepare` gets them."""

    competition: Name
    """The last part of its page's address."""


class OriginSection(Section):
    """Another benchmark's task: its data and its code stay where they are."""

    benchmark: SingleLine
    id: SingleLine
    """Its name there."""
    places: Annotated[list[SingleLine], Field(min_length=1)]
    """Where its data may be; the first that exists is `prepare`'s raw."""
    kaggle: Name | None = None
    """The Kaggle competition whose files `prepare` can do with, too."""
    todo: SingleLine
    """What to do where none of them exists."""


class TaskFile(Section):
    """task.toml as a whole."""

    id: Name
    name: SingleLine
    summary: SingleLine
    domain: SingleLine
    kind: SingleLine
    image: Name
    licence: SingleLine
    source: SingleLine
    expected_minutes: Positive
    metric: MetricSection
    submission: SubmissionSection
    limits: LimitsSection = LimitsSection()
    kaggle: KaggleSection | None = None
    origin: OriginSection | None = None
    raw: dict[str, Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]] = {}


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How a submission of the task is read and scored."""

    title: str
    """The metric's name for people."""
    higher_is_better: bool
    form: SubmissionSchema


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task whose folder is sound."""

    folder: Path
    file: TaskFile
    description: str
    scoring: Scoring
    leaderboard: Leaderboard

    @property
    def id(self) -> str:
        """The folder's name and the task's."""
        return self.file.id

    @property
    def raw(self) -> Path:
        """The folder of the raw files, wherever they come from."""
        return raw_folder(self.folder, self.file)

    @property
    def submission_path(self) -> PurePosixPath:
        """Where the agent must leave its submission, by its name in the container."""
        return PurePosixPath("/workspace") / self.file.submission.file

    @property
    def grade_file(self) -> Path | None:
        """The task's own grading code, if no stock metric fits."""
        return self.folder / GRADE_FILE if self.file.metric.name == GRADE_FILE else None

    @property
    def solution(self) -> Path:
        """The notebook that a good human might write."""
        return self.folder / "solution.ipynb"


def load(folder: Path) -> Task:
    """Read a task folder. Raises `TaskError` naming the file and the field that is wrong."""
    path = folder / "task.toml"
    try:
        file = TaskFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise TaskError(f"{path} is missing; a task folder needs it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TaskError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise TaskError(f"{path}: the field {field} is wrong: {first['msg'].lower()}") from error
    if file.id != folder.name:
        raise TaskError(f"{path}: the field id is {file.id!r}; it must be the folder's name")
    for name in ("description.md", "prepare.py", "NOTICE"):
        if not (folder / name).is_file():
            raise TaskError(f"{folder / name} is missing; a task folder needs it")
    for name in file.raw if file.kaggle is None else ():
        if not (folder / "data" / name).is_file():
            raise TaskError(f"{folder / 'data' / name} is missing; task.toml names it under [raw]")
    return Task(
        folder=folder,
        file=file,
        description=(folder / "description.md").read_text(encoding="utf-8"),
        leaderboard=board(folder, file),
        scoring=scoring(path, file),
    )


def raw_folder(folder: Path, file: TaskFile) -> Path:
    """Where a task's raw files are, or will be: with it, in the cache, or where they were found."""
    if file.origin is not None:
        places = [Path(place) for place in file.origin.places]
        if file.origin.kaggle:
            places.append(kaggle.place(file.origin.kaggle) / kaggle.RAW)
        return next((place for place in places if place.exists()), places[0])
    if file.kaggle is None:
        return folder / "data"
    return kaggle.place(file.kaggle.competition) / kaggle.RAW


def board(folder: Path, file: TaskFile) -> Leaderboard:
    """The task's own leaderboard, or its competition's, which is empty until it is downloaded."""
    own = folder / "leaderboard.csv"
    if file.origin is not None and not own.exists():
        return Leaderboard(kind="published", public=(), private=())
    if file.kaggle is None or own.is_file():
        return leaderboard.load(own)
    downloaded = kaggle.board_file(file.kaggle.competition)
    if downloaded.is_file():
        return leaderboard.load(downloaded)
    return Leaderboard(kind="human", public=(), private=())


def scoring(path: Path, file: TaskFile) -> Scoring:
    """What the metric section means, checked."""
    section, form = file.metric, file.submission
    ids, targets = tuple(form.id_columns or ()), tuple(form.target_columns or ())
    for name, columns in (("id_columns", ids), ("target_columns", targets)):
        if not columns and (ids or targets or section.name != GRADE_FILE):
            raise TaskError(
                f"{path}: the field submission.{name} is missing;"
                f" only a task with {GRADE_FILE} may leave both out"
            )
    if section.name == GRADE_FILE:
        if section.higher_is_better is None:
            raise TaskError(
                f"{path}: the field metric.higher_is_better is missing; {GRADE_FILE} needs it"
            )
        if not (path.parent / GRADE_FILE).is_file():
            raise TaskError(f"{path.parent / GRADE_FILE} is missing; task.toml names it as metric")
        return Scoring(
            title=section.title or "the task's own metric",
            higher_is_better=section.higher_is_better,
            form=SubmissionSchema(
                id_columns=ids, target_columns=targets, wants=section.wants or "number"
            ),
        )
    try:
        found = metric.find(section.name)
    except UnknownName as error:
        raise TaskError(f"{path}: the field metric.name is wrong: {error}") from error
    if {section.higher_is_better, section.wants, section.title} != {None}:
        raise TaskError(
            f"{path}: the fields metric.higher_is_better, metric.wants and metric.title are for"
            f" {GRADE_FILE}; {section.name} knows its own"
        )
    if found.columns == "one" and len(targets) != 1:
        raise TaskError(
            f"{path}: the field submission.target_columns has {len(targets)} columns;"
            f" {section.name} wants one"
        )
    return Scoring(
        title=found.title,
        higher_is_better=found.higher_is_better,
        form=SubmissionSchema(id_columns=ids, target_columns=targets, wants=found.wants),
    )
