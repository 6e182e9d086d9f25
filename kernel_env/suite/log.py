"""Write and read the records of a suite: one line of JSON per event, in the order of events.

| kind | when |
|---|---|
| `started` | before an attempt at a job begins |
| `finished` | an attempt ended by the agent's own doing; its result |
| `fault` | it ended otherwise: machine, model's service, task, operator, or kernel_env |
| `regraded` | the kept submissions of a finished attempt were graded again |
| `retry` | the operator asked for a job to be played again |

A line is written with one call and synced to disk before anything follows from it. Nothing is ever
changed or removed; the state of a suite is computed from the lines (`history`). A last line that
was cut was never acknowledged, and is ignored. Each driver writes a file of its own:
`records.jsonl`, or `records-1of4.jsonl` for a share.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError

from kernel_env.episode.endings import FailureClass
from kernel_env.errors import SandboxError, UsageError
from kernel_env.suite.plan import Shard

VERSION = 1
"""The version of the lines. A file with a newer one is refused."""
NAME = "records"


@dataclass(frozen=True, kw_only=True)
class Event:
    """What all lines have."""

    key: str
    """The job's key."""
    attempt: int
    """The number of the attempt, from 1 on; 0 for a fault before the first."""
    at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """An attempt begins."""

    agent: str
    """The agent's name in the suite file."""
    task: str
    seed: int
    grade_key: str
    folder: str
    """Where its episode is, relative to the suite's folder."""
    host: str
    """The name of the driver's machine."""
    pid: int
    """The driver's process."""
    settings: dict[str, Any]
    kind: Literal["started"] = "started"


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """An attempt that counts: it has a score, or the lowest place."""

    record: dict[str, Any]
    """The result; its notebook is relative to the suite's folder."""
    host: str = ""
    """The name of the machine that played it."""
    kind: Literal["finished"] = "finished"


@dataclass(frozen=True, kw_only=True)
class Fault(Event):
    """An attempt that says nothing about the agent, or a job that could not begin."""

    failure: FailureClass
    """Who failed."""
    status: str
    """How its episode ended."""
    reason: str
    retry_at: float | None = None
    """When it is played again, seconds since 1970; None: not by itself."""
    record: dict[str, Any] | None = None
    """The result of its episode; None if it did not begin."""
    host: str = ""
    kind: Literal["fault"] = "fault"


@dataclass(frozen=True, kw_only=True)
class Regraded(Event):
    """A finished attempt has new grades."""

    grade_key: str
    record: dict[str, Any]
    kind: Literal["regraded"] = "regraded"


@dataclass(frozen=True, kw_only=True)
class Retry(Event):
    """Earlier faults of a job do not count any more."""

    kind: Literal["retry"] = "retry"


Line = Started | Finished | Fault | Regraded | Retry
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])


def name_of(shard: Shard) -> str:
    """Return what the files of a driver's share are called beside `records` and `suite`."""
    return "" if shard.count == 1 else f"-{shard.number}of{shard.count}"


class Log:
    """The file of one driver, which must hold its lock."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        """Open the file, and remove a last line that was cut. Raises `SandboxError`."""
        self.path = folder / f"{NAME}{name_of(shard)}.jsonl"
        self.lines: list[Line] = []
        """What this driver has written."""
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            content = self.path.read_bytes()
            os.ftruncate(self._file, content.rfind(b"\n") + 1)
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def append(self, line: Line) -> None:
        """Write a line and sync it to disk. Raises `SandboxError`; then nothing was written."""
        text = json.dumps({"v": VERSION, **LINE.dump_python(line, mode="json")}) + "\n"
        data = text.encode()
        try:
            size = os.fstat(self._file).st_size
            try:
                if os.write(self._file, data) != len(data):
                    raise OSError(None, "the disk is full")
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, size)
                raise
        except OSError as error:
            raise self._failure(error) from error
        self.lines.append(line)

    def _failure(self, error: OSError) -> SandboxError:
        return SandboxError(f"{self.path} cannot be written: {error.strerror}")


def files_of(folder: Path) -> list[Path]:
    """Return the files with the records of a suite, of all shares."""
    return sorted(folder.glob(f"{NAME}.jsonl")) + sorted(folder.glob(f"{NAME}-*of*.jsonl"))


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a file; one that was cut at the end is left out.

    Raises `UsageError` for a line that is wrong, or of a newer version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    for number, text in enumerate(content.split(b"\n")[:-1], 1):
        try:
            found = json.loads(text)
            version = found["v"]
            line = LINE.validate_python(found) if version <= VERSION else None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = reason_of(error)
            raise UsageError(f"{path}, line {number}, is no record of a suite: {reason}") from error
        if line is None:
            raise UsageError(
                f"{path}, line {number}, has version {version}; this kernel_env reads up to"
                f" {VERSION}: install a newer one"
            )
        yield line


def reason_of(error: Exception) -> str:
    """Return what is wrong with a line, as text."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {error}"


ORDER = ("started", "finished", "fault", "regraded", "retry")
"""The order of events of one attempt that are in different files."""


def read_folder(folder: Path) -> Sequence[Line]:
    """Return the lines of all shares of a suite, those of a job in the order of its attempts.

    Raises `UsageError`.
    """
    lines = [line for path in files_of(folder) for line in read_lines(path)]
    return sorted(lines, key=lambda line: (line.attempt, ORDER.index(line.kind)))
