"""Define the manifest of a pack of tasks: pack.toml.

A task of a pack is data, not code: files inside wheels, a reader for each, declarative steps, and
the choices that `kernel-env tasks new` would make. Every section forbids unknown keys.
"""

import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from kernel_env.authoring.from_table.design import Domain
from kernel_env.errors import TaskError, UsageError
from kernel_env.tasks.catalog import PACK_FILE
from kernel_env.tasks.spec import field_fault
from kernel_env.tasks.task_file import FilePath, Name, Section, SingleLine

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Reader = Literal[
    "arff",
    "csv",
    "json",
    "lines",
    "pickled-frame",
    "pictures",
    "sdf",
    "spaced",
    "sqlite",
    "svg",
    "ts",
    "xml",
]
"""The closed list of readers; see `readers`."""
Columns = tuple[SingleLine, ...]


class PackSection(Section):
    """The pack itself."""

    name: Name
    version: SingleLine
    summary: SingleLine = ""


class WheelSection(Section):
    """A wheel of the package index, under the package's name."""

    version: SingleLine
    sha256: Sha256 | tuple[Sha256, ...]
    """The hash of the wheel; several where the index has one for each processor."""

    @property
    def hashes(self) -> tuple[str, ...]:
        """Return all hashes that are accepted."""
        return (self.sha256,) if isinstance(self.sha256, str) else self.sha256


class SourceSection(Section):
    """A file inside a wheel, and how its rows are read."""

    wheel: SingleLine
    """The package, as the manifest names it under [wheel]."""
    file: FilePath | tuple[FilePath, ...]
    """The path in the wheel; several files of one form are read one after another. A pattern such
    as `icons/*.svg` means all files that match, in the order of their names."""
    reader: Reader
    sha256: Sha256
    """The hash of the file; of several, of their bytes one after another."""
    names: Columns = ()
    """The names of the columns, for a file that does not name them."""
    separator: SingleLine = ","
    """What separates the cells of `csv`."""
    skip: int = 0
    """The number of lines before the header of `csv`, or before the first row with `names`."""
    comment: SingleLine | None = None
    """Lines of `csv` that begin with this character are left out."""
    encoding: SingleLine = "utf-8"
    quotes: bool = True
    """Whether quotes in `csv` enclose cells."""
    pattern: SingleLine | None = None
    """`lines`: a regular expression whose named groups are columns; other lines are left out.
    `svg`, `pictures`: the same of each file's path; other files are left out."""
    query: SingleLine | None = None
    """`sqlite`: the statement that selects the rows."""
    row: SingleLine | None = None
    """`xml`: the path of the elements that are rows. `json`: the keys to the rows, separated by
    dots."""
    fields: dict[str, SingleLine] = Field(default_factory=dict)
    """`xml`: each column's path from its row, `..` for the element around it."""
    size: Annotated[int, Field(gt=0, le=64)] = 24
    """`svg`: the side of a picture in pixels."""
    join: Columns = ()
    """The columns by which rows are joined to those of the sources before; none: they follow."""
    keep: Columns = ()
    """The columns to keep; none: all."""

    @property
    def files(self) -> tuple[str, ...]:
        """Return the paths of the files."""
        return (self.file,) if isinstance(self.file, str) else self.file


class Condition(Section):
    """Which rows are kept, by the cell of a column."""

    equals: tuple[str, ...] | None = None
    """The cell is one of these."""
    differs: tuple[str, ...] | None = None
    """The cell is none of these."""
    at_least: float | None = None
    at_most: float | None = None
    matches: SingleLine | None = None
    """The whole cell matches a regular expression."""
    filled: bool | None = None
    """The cell is not empty."""


class RareSection(Section):
    """What happens to rows of rare classes."""

    below: Annotated[int, Field(gt=1)]
    """The number of rows from which a class is not rare."""
    do: Literal["drop", "join"] = "drop"
    """Leave their rows out, or join them to one class `other`."""


class SplitSection(Section):
    """How rows are assigned; with both columns, the latest rows of each group are the test set."""

    group: SingleLine | None = None
    time: SingleLine | None = None
    family: SingleLine | None = None
    """A column whose equal values stay together and that is no feature."""

    @model_validator(mode="after")
    def check_columns(self) -> "SplitSection":
        """Raise `ValueError` unless group, time, both, or family are given."""
        if (self.family is None) == (self.group is None and self.time is None):
            raise ValueError("name a column of group, of time, of both, or of family")
        return self

    def option(self) -> str:
        """Return the split as `kernel-env tasks new` takes it."""
        parts = (("group", self.group), ("time", self.time), ("family", self.family))
        return ",".join(f"{method}:{column}" for method, column in parts if column)


class TaskSection(Section):
    """A task of the pack, under its name. The steps run in the order of these fields."""

    sources: Annotated[tuple[SourceSection, ...], Field(min_length=1, alias="from")]
    rename: dict[str, SingleLine] = Field(default_factory=dict)
    windows: SingleLine | None = None
    """All columns of the first source but its labels are samples of one channel of this name."""
    dates: dict[str, SingleLine] = Field(default_factory=dict)
    """The format of each column of moments that ISO 8601 does not read, as `strptime` takes it, or
    `year` for years with a fraction."""
    where: dict[str, Condition] = Field(default_factory=dict)
    cut: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    """The number of characters to which a column's cells are cut."""
    map: dict[str, dict[str, str]] = Field(default_factory=dict)
    """What replaces cells of a column; other cells stay."""
    distinct: Columns = ()
    """Columns whose cells, taken together, occur once; rows that repeat others are left out."""
    drop: Columns = ()
    keep: Columns = ()
    """The only columns to keep."""
    rare: RareSection | None = None
    rows: Annotated[int, Field(ge=100)] | None = None
    """The largest number of rows; more are chosen at random, by the task's name. Groups are kept
    whole, and a split by time keeps the latest rows."""
    target: SingleLine | Columns
    event: SingleLine | None = None
    """For a target of times: the column that is 1 where the event happened then, and 0 where the
    row is censored."""
    metric: SingleLine | None = None
    split: SplitSection | None = None
    """How rows are assigned; at random if it is missing."""
    domain: Domain | None = None
    licence: SingleLine
    """The licence of the data, and where it is stated."""
    restricted: SingleLine | None = None
    """Why the data may not be used freely, such as `non-commercial use`; such a task is made only
    if it is asked for."""
    source: SingleLine
    """Where the data come from."""
    summary: SingleLine
    about: str = ""
    """What the rows are and what the prediction is good for, a paragraph."""
    columns: dict[str, SingleLine] = Field(default_factory=dict)
    """What columns mean."""
    family: Name
    """The data family: tasks of one family share rows, and stay together where tasks are split."""
    topic: Name
    """What the data are about, such as `health`."""
    question: Name
    """The kind of question, such as `forecast` or `sequence-class`."""
    minutes: Annotated[int, Field(gt=0)] = 2
    """The minutes that the solution takes."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Return the names of the target columns."""
        return (self.target,) if isinstance(self.target, str) else self.target


class ManifestFile(Section):
    """The content of pack.toml."""

    pack: PackSection
    wheel: dict[str, WheelSection]
    task: dict[Name, TaskSection]

    @model_validator(mode="after")
    def check_wheels(self) -> "ManifestFile":
        """Raise `ValueError` for a source whose wheel is not listed."""
        for name, task in self.task.items():
            for source in task.sources:
                if source.wheel not in self.wheel:
                    raise ValueError(
                        f"{name} names the wheel {source.wheel!r}, which is not listed"
                    )
        return self


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A manifest that was read, with the folder around it."""

    folder: Path
    """The folder of the manifest, with boards."""
    file: ManifestFile
    sha256: str
    """The hash of the manifest."""

    @property
    def name(self) -> str:
        """Return the pack's name."""
        return self.file.pack.name

    def of_one(self, name: str) -> "Pack":
        """Return a pack of one task, which is small enough to be sent to another process."""
        task = self.file.task[name]
        wheels = {source.wheel: self.file.wheel[source.wheel] for source in task.sources}
        return replace(
            self, file=ManifestFile(pack=self.file.pack, wheel=wheels, task={name: task})
        )

    def select(
        self, only: Iterable[str] = (), *, any_licence: bool = False
    ) -> dict[str, TaskSection]:
        """Return the tasks that names, topics or questions choose; all without any.

        Args:
            only: names of tasks, topics and questions.
            any_licence: whether tasks whose data may not be used freely are among them.

        Raises:
            UsageError: nothing has such a name.
        """
        tasks = {n: t for n, t in self.file.task.items() if any_licence or t.restricted is None}
        chosen = set()
        for word in only:
            found = {
                name for name, task in tasks.items() if word in (name, task.topic, task.question)
            }
            if not found:
                known = {
                    e for name, task in tasks.items() for e in (name, task.topic, task.question)
                }
                similar = get_close_matches(word, sorted(known), n=1)
                suggestion = f"did you mean {similar[0]!r}? " if similar else ""
                raise UsageError(
                    f"no task, topic or question named {word!r}; {suggestion}kernel-env tasks pack"
                    f" {self.name} --list lists them"
                )
            chosen |= found
        return {name: task for name, task in tasks.items() if name in chosen or not chosen}


def load(path: Path) -> Pack:
    """Read a manifest.

    Args:
        path: the file, or its folder.

    Raises:
        TaskError: it cannot be read, or fields are wrong; the message names each of them.
    """
    path = path / PACK_FILE if path.is_dir() else path
    try:
        data = path.read_bytes()
        content = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{path} is not TOML: {error}") from error
    try:
        file = ManifestFile.model_validate(content)
    except ValidationError as error:
        raise TaskError(f"{path}: {'; '.join(map(field_fault, error.errors()))}") from error
    return Pack(folder=path.parent, file=file, sha256=hashlib.sha256(data).hexdigest())
