"""A task of another benchmark as a task folder of ours: what stands in it, and where it comes from.

The folder holds what lists, episodes and grading read before anything of the benchmark has to
run: the description, the leaderboard, the direction of the metric. Its `prepare.py` and
`grade.py` call the benchmark's own code where it lies.
"""

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

from kernel_env.errors import TaskError, UsageError
from kernel_env.grading.leaderboard import BoardKind
from kernel_env.tasks import kaggle, spec
from kernel_env.tasks.spec import Task

UNKNOWN = "not said"
LFS = b"version https://git-lfs"


@dataclass(frozen=True, kw_only=True)
class Board:
    """Who a score is compared with."""

    kind: BoardKind
    public: Sequence[str]
    """Scores, best first, as they are written there; the private ones may be fewer or more."""
    private: Sequence[str]
    names: Sequence[str] = ()
    """Of the entries, where they have any."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One task of another benchmark."""

    benchmark: str
    id: str
    home: Path
    """Its own folder or file, which `prepare.py` and `grade.py` hand to the benchmark's module."""
    name: str
    summary: str
    description: str
    metric: str
    higher_is_better: bool
    licence: str
    places: Sequence[Path]
    """Where its data may be; see `spec.OriginSection`."""
    todo: str
    board: Board | None
    competition: str | None = None
    """On Kaggle, whose files its own preparing code begins with."""
    domain: str = UNKNOWN
    kind: str = UNKNOWN
    made_from: bytes = b""
    """Its own preparing code: data is prepared anew when that changes."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """One task of another benchmark that cannot be taken over."""

    id: str
    why: str


def on_kaggle(id_: str) -> str | None:
    """The competition that a task is named after, if that can be one's name."""
    return id_ if kaggle.NAME.fullmatch(id_) else None


def name_here(benchmark: str, id_: str) -> str:
    """The task's name among ours: no two benchmarks' tasks share one."""
    return f"{benchmark}-{re.sub('[^a-z0-9]+', '-', id_.lower()).strip('-')}"


def write(into: Path, found: Found) -> Task:
    """The task folder, replaced whole if it was imported before.

    Raises `TaskError` when it is not sound, `UsageError` when its place is taken or not writable.
    """
    target = into / name_here(found.benchmark, found.id)
    if target.exists() and f"\nbenchmark = {text(found.benchmark)}\n" not in old(target):
        raise UsageError(f"{target} is there and was not imported; choose another --into")
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=into) as scrap:
            made = Path(scrap) / target.name
            fill(made, found)
            task = spec.load(made)
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error
    return replace(task, folder=target)


def old(folder: Path) -> str:
    """What a folder's task.toml says, if there is one."""
    try:
        return (folder / "task.toml").read_text(encoding="utf-8")
    except OSError:
        return ""


def fill(folder: Path, found: Found) -> None:
    """Write the files of a task folder."""
    folder.mkdir()
    module = found.benchmark.replace("-", "_")
    (folder / "task.toml").write_text(toml(found), encoding="utf-8")
    (folder / "description.md").write_text(found.description.strip() + "\n", encoding="utf-8")
    (folder / "NOTICE").write_text(notice(found), encoding="utf-8")
    prepare = PREPARE.format(
        benchmark=found.benchmark,
        module=module,
        home=quoted(str(found.home)),
        sha256=sha256(found.made_from).hexdigest(),
    )
    (folder / "prepare.py").write_text(prepare, encoding="utf-8")
    grade = GRADE.format(benchmark=found.benchmark, module=module, home=quoted(str(found.home)))
    (folder / "grade.py").write_text(grade, encoding="utf-8")
    if found.board is not None:
        with (folder / "leaderboard.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows(found.board))


def rows(board: Board) -> Iterator[list[str]]:
    """The lines of leaderboard.csv."""
    yield ["entry", "kind", "public_score", "private_score", "seed", "runtime_s"]
    scores = zip_longest(board.public, board.private, fillvalue="")
    for number, (public, private) in enumerate(scores, 1):
        name = board.names[number - 1] if board.names else f"rank {number}"
        yield [name, board.kind, public, private, "", ""]


def toml(found: Found) -> str:
    """task.toml."""
    places = "".join(f"    {quoted(str(place))},\n" for place in found.places)
    return TOML.format(
        id=text(name_here(found.benchmark, found.id)),
        name=text(found.name),
        summary=text(found.summary),
        domain=text(found.domain),
        kind=text(found.kind),
        licence=text(found.licence),
        source=text(f"{found.benchmark}: {found.id}"),
        metric=text(found.metric),
        higher=str(found.higher_is_better).lower(),
        benchmark=text(found.benchmark),
        original=text(found.id),
        places=places,
        kaggle=f"kaggle = {text(found.competition)}\n" if found.competition else "",
        todo=text(todo(found)),
    )


def todo(found: Found) -> str:
    """What to do where its data is not here."""
    if not found.competition:
        return found.todo
    here = name_here(found.benchmark, found.id)
    return f"run: kernel-env tasks prepare {here} (which downloads it from Kaggle); or {found.todo}"


def text(value: str) -> str:
    """The same as one line."""
    return quoted(" ".join(value.split()) or UNKNOWN)


def quoted(value: str) -> str:
    """A text exactly, as TOML and Python write it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def notice(found: Found) -> str:
    """NOTICE."""
    return NOTICE.format(
        benchmark=found.benchmark, id=found.id, home=found.home, licence=found.licence
    )


def chosen(ids: Iterable[str], names: Sequence[str], where: Path) -> list[str]:
    """Those of a benchmark's tasks that were asked for, or all. Raises `UsageError`."""
    known = sorted(ids)
    if unknown := sorted(set(names) - set(known)):
        raise UsageError(f"{where} has no {', '.join(unknown)}; it has {', '.join(known)}")
    return [id_ for id_ in known if not names or id_ in names]


def root(path: Path, below: Sequence[str], pattern: str, wanted: str) -> Path:
    """The folder that holds a benchmark's tasks: this one, or one below it. Raises `UsageError`."""
    for candidate in (path.joinpath(*Path(each).parts) for each in (*below, ".")):
        if next(candidate.glob(pattern), None) is not None:
            return candidate
    found = "no folder" if not path.is_dir() else f"no {pattern}"
    raise UsageError(f"{path}: found {found}; wanted {wanted}")


def read(path: Path) -> str:
    """A text of the benchmark. Raises `TaskError` when it is missing, or not fetched yet."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}") from error
    if data.startswith(LFS):
        raise TaskError(
            f"{path.name} is a Git LFS pointer, not the file itself;"
            " run `git lfs install` and `git lfs pull` in the checkout, then import again"
        )
    return data.decode(errors="replace")


def scores(path: Path, column: int | str) -> list[str]:
    """A column of numbers of a leaderboard. Raises `TaskError`."""
    lines = list(csv.reader(read(path).splitlines()))
    header = lines[0] if lines else []
    if isinstance(column, str) and column not in header:
        raise TaskError(f"{path.name} has the columns {header}; one must be {column!r}")
    at = header.index(column) if isinstance(column, str) else column
    try:
        values = [line[at] for line in lines[1:] if line]
        list(map(float, values))
    except (IndexError, ValueError) as error:
        raise TaskError(f"{path.name} holds something else than scores: {error}") from error
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
{kaggle}todo = {todo}
"""

PREPARE = '''\
"""Made by `kernel-env tasks import {benchmark}`: prepare with the benchmark's own code."""

from pathlib import Path

from kernel_env.authoring.importers import {module} as source

HOME = Path({home})
# The sha256 of its preparing code: {sha256}


def prepare(raw: Path, public: Path, private: Path) -> None:
    source.prepare(HOME, raw, public, private)
'''

GRADE = '''\
"""Made by `kernel-env tasks import {benchmark}`: grade with the benchmark's own code."""

from pathlib import Path

from kernel_env.authoring.importers import {module} as source

HOME = Path({home})


def grade(private: Path, submission: Path) -> float:
    return source.grade(HOME, private, submission)
'''

NOTICE = """\
Imported from {benchmark}: {id}
Its code and its data stay where they are: {home}
The description and the leaderboard were copied from there, for use on this machine.
Licence of the data: {licence}
"""
