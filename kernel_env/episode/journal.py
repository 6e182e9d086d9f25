"""The journal: one line of JSON per step, synced to disk before the agent sees its observation."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, overload

from kernel_env.episode import json_codec
from kernel_env.episode.step import Step
from kernel_env.episode.trajectory import ENDING, HEADER, Ending, Header, Trajectory
from kernel_env.errors import SandboxError, UsageError

JOURNAL = "journal.jsonl"


class Journal(Sequence[Step]):
    """Steps on disk, in order. Only their places in the file are kept in memory."""

    def __init__(self, path: Path, header: Header, *, begin: Sequence[bytes] = ()) -> None:
        """Begin a new journal, with lines of another. Raises `SandboxError` when it cannot."""
        self.path, self.header = path, header
        self.ending: Ending | None = None
        self._places: list[int] = []
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise SandboxError(f"the journal {path} cannot be made: {error.strerror}") from error
        header_line = b'{"header": %s}\n' % HEADER.dump_json(header)
        place = len(header_line)
        for line in begin:
            self._places.append(place)
            place += len(line)
        try:
            self._write(b"".join([header_line, *begin]))
        except SandboxError:
            self._file.close()
            raise

    def close(self) -> None:
        """Let go of the file; what it holds can still be read."""
        self._file.close()

    def append(self, step: Step) -> None:
        """Write a step and wait until it is on the disk. Raises `SandboxError` when it is not."""
        self._places.append(self._write(b'{"step": %s}\n' % json_codec.step_json(step)))

    def end(self, ending: Ending) -> None:
        """Write how the episode ended."""
        self._write(b'{"ending": %s}\n' % ENDING.dump_json(ending))
        self.ending = ending

    def lines(self, steps: int) -> list[bytes]:
        """The first steps as they stand in the file."""
        with self.path.open("rb") as file:
            file.seek(self._places[0] if self._places else 0)
            return [file.readline() for _ in self._places[:steps]]

    def _write(self, data: bytes) -> int:
        place = self._file.tell()
        line = memoryview(data)
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(place)  # half a line was never acknowledged
            self._file.seek(place)
            raise SandboxError(
                f"the journal {self.path} cannot be written: {error.strerror}"
            ) from error
        return place

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> list[Step]: ...
    def __getitem__(self, index: int | slice) -> Step | list[Step]:
        with self.path.open("rb") as file:
            if isinstance(index, slice):
                return [self._read(file, place) for place in self._places[index]]
            return self._read(file, self._places[index])

    def __iter__(self) -> Iterator[Step]:
        with self.path.open("rb") as file:
            for place in self._places:
                yield self._read(file, place)

    def _read(self, file: BinaryIO, place: int) -> Step:
        file.seek(place)
        return json_codec.parse_step(json.loads(file.readline())["step"])

    @property
    def trajectory(self) -> Trajectory:
        """All of it; the steps are read from the file as they are asked for."""
        return Trajectory(header=self.header, steps=self, ending=self.ending)


def read_journal(path: Path) -> Trajectory:
    """A journal as a value. A last line that was cut off by a crash was never acknowledged.

    Raises `UsageError` for a file that is no journal.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
        first, *rest = [json.loads(line) for line in lines]
        steps = [json_codec.parse_step(entry["step"]) for entry in rest if "step" in entry]
        endings = [ENDING.validate_python(entry["ending"]) for entry in rest if "ending" in entry]
        return Trajectory(
            header=HEADER.validate_python(first["header"]),
            steps=steps,
            ending=endings[-1] if endings else None,
        )
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a journal of an episode: {error}") from error
