"""Write and read the journal: one line of JSON per step, and per note between them.

A line is synced to disk before the agent sees the observation of its step. It begins with the
digest of its entry; see `chain`.
"""

import asyncio
import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

from kernel_env.episode import chain, json_codec
from kernel_env.episode.step import Step
from kernel_env.episode.trajectory import ENDING, HEADER, NOTE, Ending, Header, Note, Trajectory
from kernel_env.errors import SandboxError, UsageError

JOURNAL = "journal.jsonl"
LINE = re.compile(rb'\{"digest": "([0-9a-f]{64})", "(step|note)": ')
"""The beginning of the line of a step or note."""
MAX_HEADER_BYTES = 1 << 24
"""The longest first line; it has the task's description."""


class Journal(Sequence[Step]):
    """The steps of an episode on disk. Only their offsets in the file are kept in memory."""

    def __init__(self, path: Path, header: Header, *, begin: Sequence[bytes] = ()) -> None:
        """Create a journal, beginning with `lines` of another. Raises `SandboxError`."""
        self.path, self.header = path, header
        self.ending: Ending | None = None
        self._offsets: list[int] = []
        self._notes: list[int] = []
        """Offsets of the notes."""
        self.adding = threading.RLock()
        """Held while an entry is added: steps are written in threads, notes in the event loop."""
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise SandboxError(f"the journal {path} cannot be created: {error.strerror}") from error
        earlier = [found for line in begin if (found := LINE.match(line))]
        self._digests = [found[1].decode() for found in earlier]
        digest = chain.header_digest(header, self._digests[-1] if self._digests else "")
        self._digests.append(digest)
        header_line = line_of(digest, "header", HEADER.dump_json(header))
        offset = len(header_line)
        for line, found in zip(begin, earlier, strict=True):
            (self._offsets if found[2] == b"step" else self._notes).append(offset)
            offset += len(line)
        try:
            self._write(b"".join([header_line, *begin]))
        except SandboxError:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file; the steps can still be read."""
        self._file.close()

    def append(self, step: Step) -> None:
        """Write a step and sync it to disk. Raises `SandboxError`."""
        with self.adding:
            self._offsets.append(self._add("step", step, json_codec.step_json(step)))

    async def append_in_thread(self, step: Step) -> None:
        """Write a step and sync it to disk, while a slow disk holds up nobody else.

        A task that is cancelled meanwhile continues until the step is written: then it is in the
        journal, or `SandboxError` is raised.
        """
        writing = asyncio.ensure_future(asyncio.to_thread(self.append, step))
        cancellation = None
        while not writing.done():
            try:
                await asyncio.wait({writing})
            except asyncio.CancelledError as error:
                cancellation = error
        writing.result()
        if cancellation is not None:
            raise cancellation

    def add_note(self, note: Note) -> None:
        """Write a note. Raises `SandboxError`."""
        with self.adding:
            self._notes.append(self._add("note", note, NOTE.dump_json(note)))

    def _add(self, kind: str, value: chain.Value, json_text: bytes) -> int:
        digest = chain.link(self._digests[-1], value)
        offset = self._write(line_of(digest, kind, json_text))
        self._digests.append(digest)
        return offset

    @property
    def notes(self) -> tuple[Note, ...]:
        """Return the notes, read from the file."""
        with self.path.open("rb") as file:
            entries = [self._entry(file, at)["note"] for at in self._notes]
        return tuple(map(NOTE.validate_python, entries))

    def end(self, ending: Ending) -> None:
        """Write how the episode ended. Raises `SandboxError`; it has ended all the same."""
        with self.adding:
            self.ending = ending
            self._add("ending", ending, ENDING.dump_json(ending))

    def lines(self, steps: int) -> list[bytes]:
        """Return the lines of the first steps, and of the notes before the last of these."""
        if not steps:
            return []
        last = self._offsets[steps - 1]
        with self.path.open("rb") as file:
            starts = sorted(at for at in (*self._offsets, *self._notes) if at <= last)
            file.seek(starts[0])
            return [file.readline() for _ in starts]

    def begins_like(self, other: "Journal") -> bool:
        """Return whether the steps of another journal are the first ones of this."""
        count = len(other)
        return len(self) >= count and self.lines(count)[-1:] == other.lines(count)[-1:]

    def _write(self, data: bytes) -> int:
        offset = self._file.tell()
        line = memoryview(data)
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(offset)  # half a line was never acknowledged
            self._file.seek(offset)
            raise SandboxError(
                f"the journal {self.path} cannot be written: {error.strerror}"
            ) from error
        return offset

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> list[Step]: ...
    def __getitem__(self, index: int | slice) -> Step | list[Step]:
        with self.path.open("rb") as file:
            if isinstance(index, slice):
                return [self._read(file, offset) for offset in self._offsets[index]]
            return self._read(file, self._offsets[index])

    def __iter__(self) -> Iterator[Step]:
        with self.path.open("rb") as file:
            for offset in self._offsets:
                yield self._read(file, offset)

    def _read(self, file: BinaryIO, offset: int) -> Step:
        return json_codec.parse_step(self._entry(file, offset)["step"])

    def _entry(self, file: BinaryIO, offset: int) -> dict[str, Any]:
        file.seek(offset)
        entry: dict[str, Any] = json.loads(file.readline())
        return entry

    @property
    def trajectory(self) -> Trajectory:
        """Return the trajectory; its steps are read from the file on access."""
        return Trajectory(
            header=self.header,
            steps=self,
            ending=self.ending,
            notes=self.notes,
            digests=tuple(self._digests),
        )


def line_of(digest: str, kind: str, json_text: bytes) -> bytes:
    """Return a line of a journal."""
    return b'{"digest": "%s", "%s": %s}\n' % (digest.encode(), kind.encode(), json_text)


def read_header(path: Path) -> Header:
    """Read what a journal says before its first step. Raises `UsageError`."""
    try:
        with path.open("rb") as file:
            return HEADER.validate_python(json.loads(file.readline(MAX_HEADER_BYTES))["header"])
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is not a journal of an episode: {error}") from error


def read_journal(path: Path) -> Trajectory:
    """Read a journal. A last line that is incomplete was never acknowledged, and is ignored.

    Raises `UsageError` for a file that is not a journal.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
        first, *rest = [json.loads(line) for line in lines]
        header = HEADER.validate_python(first["header"])
        found = [entry["step"] for entry in rest if "step" in entry]
        steps = [json_codec.parse_foreign_step(data, n) for n, data in enumerate(found, 1)]
        endings = [ENDING.validate_python(entry["ending"]) for entry in rest if "ending" in entry]
        return Trajectory(
            header=header,
            steps=steps,
            ending=endings[-1] if endings else None,
            notes=tuple(NOTE.validate_python(entry["note"]) for entry in rest if "note" in entry),
            digests=stored_digests(header, first, rest),
        )
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, IndexError) as error:
        raise UsageError(f"{path} is not a journal of an episode: {error}") from error


Entry = Header | Step | Note | Ending
"""What a line of a journal holds."""


def stream_journal(path: Path) -> Iterator[Entry]:
    """Yield the entries of a journal in the order of its lines; only one of them is in memory.

    The header is the first one. Digests are not read. A last line that is incomplete was never
    acknowledged, and is ignored.

    Raises `UsageError` for a file that is not a journal, when the faulty line is reached.
    """
    yield read_header(path)
    steps = 0
    try:
        with path.open("rb") as file:
            next(file)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                entry = json.loads(line)
                if "step" in entry:
                    steps += 1
                    yield json_codec.parse_foreign_step(entry["step"], steps)
                elif "note" in entry:
                    yield NOTE.validate_python(entry["note"])
                elif "ending" in entry:
                    yield ENDING.validate_python(entry["ending"])
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is not a journal of an episode: {error}") from error


def stored_digests(
    header: Header, first: dict[str, Any], rest: list[dict[str, Any]]
) -> tuple[str, ...]:
    """Return the digests of a journal's lines, in the order of the chain.

    A fork's header, which is the first line, follows the steps that it shares with its parent.
    """
    if "digest" not in first:
        return ()
    shared = header.fork.step if header.fork else 0
    numbers = [entry["step"]["number"] if "step" in entry else 0 for entry in rest]
    at = numbers.index(shared) + 1 if shared in numbers and shared else 0
    found = [str(entry.get("digest", "")) for entry in rest]
    return (*found[:at], str(first["digest"]), *found[at:])
