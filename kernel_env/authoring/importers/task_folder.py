"""Write a task of another benchmark as a task folder.

The folder contains everything that task lists, episodes and grading read before code of the
benchmark runs: the description, the leaderboard and the metric's direction. Its `prepare.py`
and `grade.py` call the benchmark's own code in the checkout.
"""

import ast
import csv
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

from kernel_env.errors import TaskError, UnknownName, UsageError
from kernel_env.grading.leaderboard import BoardKind
from kernel_env.tasks import kaggle, spec
from kernel_env.tasks.spec import Task

UNKNOWN = "not said"
"""In task.toml, for a domain or kind that the benchmark does not give."""
LFS_HEADER = b"version https://git-lfs"
"""The first bytes of a Git LFS pointer file."""


@dataclass(frozen=True, kw_only=True)
class SourceLeaderboard:
    """The scores of a benchmark's own leaderboard."""

    kind: BoardKind
    """Who made the entries: human teams, or models with published results."""
    public: Sequence[str]
    """Public scores, best first, in the benchmark's notation."""
    private: Sequence[str]
    """Private scores, best first; their number can differ from the public ones."""
    names: Sequence[str] = ()
    """The entries' names; empty: entries are named by rank."""


@dataclass(frozen=True, kw_only=True)
class FoundTask:
    """A task found in the checkout of another benchmark."""

    benchmark: str
    """The benchmark's name on the command line."""
    id: str
    """The task's name in the benchmark."""
    home: Path
    """The task's folder or file in the checkout, passed to the importer's prepare and grade."""
    name: str
    """The title shown in task lists."""
    summary: str
    """One line for task lists."""
    description: str
    """The Markdown text that the agent reads."""
    metric: str
    """The metric's name in the benchmark."""
    higher_is_better: bool
    """The metric's direction."""
    licence: str
    """The licence of the data."""
    places: Sequence[Path]
    """Paths where the data can be; see `task_file.OriginSection`."""
    todo: str
    """What the user must do when the data is at none of the places."""
    board: SourceLeaderboard | None
    """The benchmark's leaderboard; None if it has none."""
    competition: str | None = None
    """The Kaggle competition whose files are the input of the benchmark's prepare code."""
    domain: str = UNKNOWN
    """The kind of data, for example `tabular`."""
    kind: str = UNKNOWN
    """The kind of problem, for example `regression`."""
    environment: str | None = None
    """The environment of the task's code, where it is not that of the benchmark."""
    preparing_code: bytes = b""
    """The benchmark's prepare code; the data is prepared again when it changes."""


@dataclass(frozen=True, kw_only=True)
class SkippedTask:
    """A task of another benchmark that cannot be imported."""

    id: str
    """The task's name in the benchmark."""
    reason: str
    """Why it cannot be imported."""


def kaggle_competition(id_: str) -> str | None:
    """Return a task's id if it is a valid name of a Kaggle competition, else None."""
    return id_ if kaggle.NAME.fullmatch(id_) else None


def task_name(benchmark: str, id_: str) -> str:
    """Return a task name that is unique across benchmarks."""
    return f"{benchmark}-{re.sub('[^a-z0-9]+', '-', id_.lower()).strip('-')}"


def write(into: Path, found: FoundTask) -> Task:
    """Write the task folder, and replace it if it was imported before.

    Args:
        into: the folder that contains the task folders.
        found: the task to write.

    Raises:
        TaskError: the folder is not a valid task.
        UsageError: the path holds a folder that was not imported, or cannot be written.
    """
    target = into / task_name(found.benchmark, found.id)
    origin = f"\nbenchmark = {one_line_string(found.benchmark)}\n"
    if target.exists() and origin not in read_task_toml(target):
        raise UsageError(f"{target} exists and was not imported; choose another --into")
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=into) as temp:
            draft = Path(temp) / target.name
            write_files(draft, found)
            task = spec.load(draft)
            shutil.rmtree(target, ignore_errors=True)
            draft.rename(target)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error
    return replace(task, folder=target)


def read_task_toml(folder: Path) -> str:
    """Read a folder's task.toml; return an empty text if it has none."""
    try:
        return (folder / "task.toml").read_text(encoding="utf-8")
    except OSError:
        return ""


def write_files(folder: Path, found: FoundTask) -> None:
    """Write the files of a task folder."""
    folder.mkdir()
    module = found.benchmark.replace("-", "_")
    (folder / "task.toml").write_text(task_toml(found), encoding="utf-8")
    (folder / "description.md").write_text(found.description.strip() + "\n", encoding="utf-8")
    (folder / "NOTICE").write_text(notice(found), encoding="utf-8")
    prepare = PREPARE.format(
        benchmark=found.benchmark,
        module=module,
        home=quoted(str(found.home)),
        sha256=sha256(found.preparing_code).hexdigest(),
    )
    (folder / "prepare.py").write_text(prepare, encoding="utf-8")
    grade = GRADE.format(benchmark=found.benchmark, module=module, home=quoted(str(found.home)))
    (folder / "grade.py").write_text(grade, encoding="utf-8")
    if found.board is not None:
        with (folder / "leaderboard.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(leaderboard_rows(found.board))


def leaderboard_rows(board: SourceLeaderboard) -> Iterator[list[str]]:
    """Yield the rows of leaderboard.csv, the header first."""
    yield ["entry", "kind", "public_score", "private_score", "seed", "runtime_s"]
    scores = zip_longest(board.public, board.private, fillvalue="")
    for number, (public, private) in enumerate(scores, 1):
        name = board.names[number - 1] if board.names else f"rank {number}"
        yield [name, board.kind, public, private, "", ""]


def task_toml(found: FoundTask) -> str:
    """Return the text of task.toml."""
    places = "".join(f"    {quoted(str(place))},\n" for place in found.places)
    competition = found.competition
    return TOML.format(
        id=one_line_string(task_name(found.benchmark, found.id)),
        name=one_line_string(found.name),
        summary=one_line_string(found.summary),
        domain=one_line_string(found.domain),
        kind=one_line_string(found.kind),
        licence=one_line_string(found.licence),
        source=one_line_string(f"{found.benchmark}: {found.id}"),
        metric=one_line_string(found.metric),
        higher=str(found.higher_is_better).lower(),
        benchmark=one_line_string(found.benchmark),
        original=one_line_string(found.id),
        places=places,
        kaggle=f"kaggle = {one_line_string(competition)}\n" if competition else "",
        environment=(
            f"environment = {one_line_string(found.environment)}\n" if found.environment else ""
        ),
        todo=one_line_string(instructions(found)),
    )


def instructions(found: FoundTask) -> str:
    """Return what the user must do when the data is missing."""
    if not found.competition:
        return found.todo
    name = task_name(found.benchmark, found.id)
    return f"run: kernel-env tasks prepare {name} (which downloads it from Kaggle); or {found.todo}"


def one_line_string(value: str) -> str:
    """Return a text as a quoted string on one line; `UNKNOWN` stands for an empty text."""
    return quoted(" ".join(value.split()) or UNKNOWN)


def quoted(value: str) -> str:
    """Return a text as a string literal that TOML and Python read unchanged."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def notice(found: FoundTask) -> str:
    """Return the text of NOTICE."""
    return NOTICE.format(
        benchmark=found.benchmark, id=found.id, home=found.home, licence=found.licence
    )


def select_ids(ids: Iterable[str], names: Sequence[str], where: Path) -> list[str]:
    """Return the requested ids of a benchmark's tasks, or all of them if none is requested.

    Raises:
        UnknownName: a requested name is not among the ids.
    """
    known = sorted(ids)
    if unknown := sorted(set(names) - set(known)):
        raise UnknownName(f"task in {where}", unknown[0], known)
    return [id_ for id_ in known if not names or id_ in names]


def find_tasks_folder(path: Path, below: Sequence[str], pattern: str, expected: str) -> Path:
    """Find the folder that contains a benchmark's tasks.

    Args:
        path: the folder that the user named.
        below: paths below `path` to try first.
        pattern: a glob pattern that the folder must match.
        expected: what the user should name, for the error.

    Raises:
        UsageError: neither `path` nor a folder below it matches.
    """
    for candidate in (path.joinpath(*Path(each).parts) for each in (*below, ".")):
        if next(candidate.glob(pattern), None) is not None:
            return candidate
    found = "no folder" if not path.is_dir() else f"no {pattern}"
    raise UsageError(f"{path}: found {found}; expected {expected}")


def read_text(path: Path) -> str:
    """Read a text file of the benchmark.

    Raises:
        TaskError: the file is missing, or is a Git LFS pointer.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}") from error
    if data.startswith(LFS_HEADER):
        raise TaskError(
            f"{path.name} is a Git LFS pointer, not the file itself;"
            " run `git lfs install` and `git lfs pull` in the checkout, then import again"
        )
    return data.decode(errors="replace")


def read_json(path: Path) -> Any:
    """Read a JSON file of the benchmark. Raises `TaskError` when it is none."""
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise TaskError(f"{path} is not JSON: {error}; check the checkout out again") from error


def parse_python(path: Path) -> ast.Module:
    """Parse a Python file. Raises `TaskError` when its syntax is invalid."""
    try:
        return ast.parse(read_text(path))
    except SyntaxError as error:
        raise TaskError(f"{path} is not Python: {error}") from error


def read_scores(path: Path, column: int | str) -> list[str]:
    """Read a numeric column of a leaderboard file.

    Args:
        path: a CSV file with a header.
        column: the column's name or index.

    Raises:
        TaskError: the column is missing, empty or not numeric.
    """
    lines = list(csv.reader(read_text(path).splitlines()))
    header = lines[0] if lines else []
    if isinstance(column, str) and column not in header:
        raise TaskError(f"{path.name} has the columns {header}; one must be {column!r}")
    index = header.index(column) if isinstance(column, str) else column
    try:
        values = [line[index] for line in lines[1:] if line]
        list(map(float, values))
    except (IndexError, ValueError) as error:
        raise TaskError(f"{path.name} contains a value that is not a score: {error}") from error
    if not values:
        raise TaskError(f"{path.name} has no entries")
    return values


TOML = """\
id = {id}
name = {name}
summary = {summary}
domain = {domain}
kind = {kind}
image = "tabular"
licence = {licence}
source = {source}
expected_minutes = 60

[metric]
name = "grade.py"
higher_is_better = {higher}
title = {metric}

[submission]

[limits]
steps = 60
seconds = 14400
cell_seconds = 3600
memory_gb = 8
workspace_gb = 4
cpus = 2

[origin]
benchmark = {benchmark}
id = {original}
places = [
{places}]
{kaggle}{environment}todo = {todo}
"""

PREPARE = '''\
"""Prepare the data with the code of {benchmark}; written by `kernel-env tasks import`."""

from pathlib import Path

from kernel_env.authoring.importers import {module} as source

HOME = Path({home})
# sha256 of the benchmark's prepare code: {sha256}


def prepare(raw: Path, public: Path, private: Path) -> None:
    source.prepare(HOME, raw, public, private)
'''

GRADE = '''\
"""Grade submissions with the code of {benchmark}; written by `kernel-env tasks import`."""

from pathlib import Path

from kernel_env.authoring.importers import {module} as source

HOME = Path({home})


def grade(private: Path, submission: Path) -> float:
    return source.grade(HOME, private, submission)
'''

NOTICE = """\
Imported from {benchmark}: {id}
The code and the data stay in the checkout: {home}
The description and the leaderboard were copied from it, for use on this machine.
Licence of the data: {licence}
"""
