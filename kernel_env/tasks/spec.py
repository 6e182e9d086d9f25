"""Load a task folder and check it.

task.toml         the task's metric, submission, limits and metadata
description.md    the text that the agent reads
prepare.py        prepare(raw, public, private): splits the raw files
data/             the raw files; not with [kaggle], or if prepare.py makes the data itself
grade.py          the task's own metric, only if no built-in metric fits

A task that others use (`missing_to_publish`) also has:

leaderboard.csv   the entries that a score is compared with
solution.ipynb    a notebook with a good solution; solution-IMAGE.ipynb is one for another image
NOTICE            the origin and the licence of the data
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import (
    ValidationError,
)
from pydantic_core import ErrorDetails

from kernel_env.errors import TaskError, UnknownName
from kernel_env.field_docs import show_fields
from kernel_env.grading import leaderboard, metric, protocol
from kernel_env.grading.leaderboard import BoardKind, Leaderboard
from kernel_env.grading.protocol import Protocol
from kernel_env.grading.submission import SubmissionSchema
from kernel_env.tasks import kaggle
from kernel_env.tasks.task_file import GRADE_FILE, TaskFile
from kernel_env.untrusted_text import escape_line

SOLUTION = "solution.ipynb"
OTHER_SOLUTION = "solution-{image}.ipynb"


@show_fields
@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How a submission to the task is parsed and scored."""

    title: str
    """The metric's name for people."""
    higher_is_better: bool
    schema: SubmissionSchema


@show_fields
@dataclass(frozen=True, kw_only=True)
class Task:
    """A loaded and checked task folder."""

    folder: Path
    file: TaskFile
    """The content of task.toml."""
    description: str
    """The content of description.md, in Markdown."""
    scoring: Scoring
    leaderboard: Leaderboard

    @property
    def id(self) -> str:
        """Return the task's name, which is also the folder's name."""
        return self.file.id

    @property
    def raw(self) -> Path:
        """Return the folder of the raw files; it need not exist yet."""
        return raw_folder(self.folder, self.file)

    @property
    def submission_path(self) -> PurePosixPath:
        """Return the path in the container where the agent writes its submission."""
        return PurePosixPath("/workspace") / self.file.submission.file

    @property
    def grade_file(self) -> Path | None:
        """Return the path of the task's own metric; None for a built-in metric or a plug-in."""
        return self.folder / GRADE_FILE if self.file.metric.name == GRADE_FILE else None

    @property
    def protocol(self) -> Protocol:
        """Return the default rules on what an agent learns and what counts."""
        own, origin = self.file.protocol, self.file.origin
        usual = protocol.BENCHMARKS.get(origin.benchmark if origin else "", Protocol())
        return Protocol(feedback=own.feedback or usual.feedback, counts=own.counts or usual.counts)

    @property
    def solution(self) -> Path:
        """Return the path of the notebook with a good solution."""
        return self.folder / SOLUTION

    @property
    def other_solutions(self) -> dict[str, Path]:
        """Return the notebooks with good solutions that need another image, by its name."""
        paths = sorted(self.folder.glob(OTHER_SOLUTION.format(image="*")))
        return {path.stem.removeprefix("solution-"): path for path in paths}

    def solution_for(self, image: str) -> Path:
        """Return the path of the solution that an episode in this image can play."""
        return self.other_solutions.get(image, self.solution)


def load(folder: Path) -> Task:
    """Load a task folder and check it.

    Raises:
        TaskError: the folder is wrong; the message names every file and field that is.
    """
    file, faults = load_file(folder)
    if not folder.is_dir():
        raise TaskError(escape_line("; ".join(faults)))
    description = ""
    try:
        description = read_file(folder / "description.md")
        read_file(folder / "prepare.py")
    except TaskError as error:
        faults.append(str(error))
    board, scoring = None, None
    if file is not None:
        faults += file_faults(folder, file)
        try:
            board = load_leaderboard(folder, file)
        except TaskError as error:
            faults.append(str(error))
        scoring = check_scoring(folder, file, faults)
    if faults or file is None or board is None or scoring is None:
        raise TaskError(escape_line("; ".join(faults)))
    return Task(
        folder=folder,
        file=file,
        description=description,
        leaderboard=board,
        scoring=scoring,
    )


def read_file(path: Path) -> str:
    """Read a text file that a task folder needs. Raises `TaskError`."""
    if not path.exists():
        raise TaskError(f"{path} is missing; a task folder needs it")
    if not path.is_file():
        raise TaskError(f"{path} is not a file; a task folder needs it as one")
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TaskError(f"{path} is not UTF-8: {error}") from error


def load_file(folder: Path) -> tuple[TaskFile | None, list[str]]:
    """Read task.toml; return its content, or None and every fault that it has."""
    path = folder / "task.toml"
    try:
        content = tomllib.loads(read_file(path))
    except TaskError as error:
        return None, [str(error)]
    except RecursionError:
        return None, [f"{path} is nested too deeply"]
    except ValueError as error:
        return None, [f"{path} is not TOML: {error}"]
    content.setdefault("id", folder.name)
    content.setdefault("name", content["id"])
    try:
        return TaskFile.model_validate(content), []
    except ValidationError as error:
        return None, [f"{path}: {'; '.join(map(field_fault, error.errors()))}"]


def field_fault(error: ErrorDetails) -> str:
    """Return what is wrong with a field, as text."""
    field = ".".join(map(str, error["loc"]))
    match error["type"]:
        case "missing":
            return f"the field {field} is missing"
        case "extra_forbidden":
            return f"the field {field} is unknown"
    return f"the field {field} is wrong: {error['msg'].lower()}"


def file_faults(folder: Path, file: TaskFile) -> list[str]:
    """Return what is wrong with the id and the files that task.toml names."""
    faults = []
    if file.id != folder.name:
        path = folder / "task.toml"
        faults.append(f"{path}: the field id is {file.id!r}; it must be the folder's name")
    faults += [
        f"{folder / 'data' / name} is missing; task.toml names it under [raw]"
        for name in (file.raw if file.kaggle is None else ())
        if not (folder / "data" / name).is_file()
    ]
    return faults


def missing_to_publish(task: Task) -> list[str]:
    """Return the fields and files that a task lacks for others to use it; a private one may."""
    fields = ("summary", "licence", "source", "expected_minutes")
    files = ["NOTICE"]
    if task.file.origin is None:
        files += [SOLUTION] if task.file.kaggle else [SOLUTION, "leaderboard.csv"]
    return [
        *(name for name in fields if not getattr(task.file, name)),
        *(name for name in files if not (task.folder / name).is_file()),
    ]


def raw_folder(folder: Path, file: TaskFile) -> Path:
    """Return where a task's raw files are or will be.

    They are in the task folder, in the cache (Kaggle), or at one of the origin's paths.
    """
    if file.origin is not None:
        places = [Path(place) for place in file.origin.places]
        if file.origin.kaggle:
            places.append(kaggle.competition_folder(file.origin.kaggle) / kaggle.RAW)
        return next((place for place in places if place.exists()), places[0])
    if file.kaggle is None:
        return folder / "data"
    return kaggle.competition_folder(file.kaggle.competition) / kaggle.RAW


def load_leaderboard(folder: Path, file: TaskFile) -> Leaderboard:
    """Load the task's leaderboard, or its competition's, which is empty before the download."""
    own = folder / "leaderboard.csv"
    if own.exists():
        return leaderboard.load(own)
    if file.kaggle is None:
        kind: BoardKind = "published" if file.origin else "reference"
        return Leaderboard(kind=kind, public=(), private=())
    downloaded = kaggle.leaderboard_file(file.kaggle.competition)
    if downloaded.is_file():
        return leaderboard.load(downloaded)
    return Leaderboard(kind="human", public=(), private=())


def check_scoring(folder: Path, file: TaskFile, faults: list[str]) -> Scoring | None:
    """Check the sections on the metric and the submission, and look up the metric.

    Args:
        folder: the task folder.
        file: the content of its task.toml.
        faults: gets a line for each fault.

    Returns:
        How submissions are scored; None if the metric is wrong.
    """
    path, section, submission = folder / "task.toml", file.metric, file.submission
    ids, targets = tuple(submission.id_columns or ()), tuple(submission.target_columns or ())
    for name, columns in (("id_columns", ids), ("target_columns", targets)):
        if not columns and (ids or targets or section.name != GRADE_FILE):
            faults.append(
                f"{path}: the field submission.{name} is missing;"
                f" only a task with {GRADE_FILE} can omit both"
            )
    if section.name == GRADE_FILE:
        if section.column is not None:
            faults.append(f"{path}: the field metric.column is not for {GRADE_FILE}; remove it")
        if not (folder / GRADE_FILE).is_file():
            faults.append(f"{folder / GRADE_FILE} is missing; task.toml names it as metric")
        if section.higher_is_better is None:
            faults.append(
                f"{path}: the field metric.higher_is_better is missing; {GRADE_FILE} requires it"
            )
            return None
        return Scoring(
            title=section.title or "the task's own metric",
            higher_is_better=section.higher_is_better,
            schema=SubmissionSchema(
                id_columns=ids, target_columns=targets, wants=section.wants or "number"
            ),
        )
    try:
        found = metric.find(section.name)
    except UnknownName as error:
        faults.append(f"{path}: the field metric.name is wrong: {error}")
        return None
    if {section.higher_is_better, section.wants, section.title} != {None}:
        faults.append(
            f"{path}: the fields metric.higher_is_better, metric.wants and metric.title are only"
            f" for {GRADE_FILE}; remove them, {section.name} defines its own"
        )
    if bool(found.extra) != (section.column is not None):
        faults.append(
            f"{path}: the field metric.column is missing; {section.name} needs the column of the"
            f" answers with the {found.extra}"
            if found.extra
            else f"{path}: the field metric.column is not for {section.name}; remove it"
        )
    if found.columns == "one" and len(targets) > 1:
        faults.append(
            f"{path}: the field submission.target_columns has {len(targets)} columns;"
            f" {section.name} requires one"
        )
    return Scoring(
        title=found.title,
        higher_is_better=found.higher_is_better,
        schema=SubmissionSchema(id_columns=ids, target_columns=targets, wants=found.wants),
    )
