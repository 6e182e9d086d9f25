"""The protocol of a sandbox: a box with four verbs, and the names that hold inside it.

A sandbox runs programs and moves bytes; it never learns what a kernel is.
Paths given to it are the names of the design, `/data` and `/workspace`; `where`
tells by which path a program inside finds them, which differs only where the
box has no file system of its own.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol, Self

GIB = 1024**3

DATA = PurePosixPath("/data")
"""The task's public files, read-only."""
WORKSPACE = PurePosixPath("/workspace")
"""The agent's folder and working directory, empty at first."""
SNAPSHOTS = PurePosixPath("/snapshots")
"""Where a box keeps copies of the agent's folders."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a box is made of and what it may use, whichever kind of box it is."""

    image: str = "base"
    folders: Mapping[PurePosixPath, Path] = field(default_factory=dict)
    """Folders of the host that are seen inside, read-only, under these names."""
    memory_gb: float = 4.0
    """For programs; the files in /workspace and /tmp are bounded apart from it."""
    workspace_gb: float = 2.0
    """For the files in /workspace, in GiB. Temporary folders get 1 GiB at the most."""
    cpus: float = 2.0
    processes: int = 512
    files: int = 200_000
    """The number of files and folders in /workspace. /snapshots gets four times as many, and twice
    the bytes."""
    runtime: str | None = None
    """The engine's OCI runtime, for example `runsc`; None for its default."""
    gpus: int = 0
    branching: bool = True
    """Whether programs may lay a copy-on-write view over a folder, in namespaces of their own."""


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A program that has ended."""

    exit_code: int
    """Negative when a signal ended it."""
    output: bytes
    """Standard output and standard error, at most the limit that was asked for."""


@dataclass(frozen=True, kw_only=True)
class FileStat:
    """A file as it stands in the box, links not followed. Equal values mean an unchanged file."""

    mode: int
    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    @property
    def what(self) -> str:
        """The file's kind in a word: `file`, `folder`, `link` or `special file`."""
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
        return kinds.get(stat.S_IFMT(self.mode), "special file")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The memory of a box as its limit sees it."""

    killed: int
    """Processes that the limit has killed so far."""
    limit_bytes: int
    """0 when there is no limit."""


class Process(Protocol):
    """A program in a box."""

    pid: int
    """Its number inside the box."""
    peak_bytes: int
    """The most memory it had, once it has ended; 0 before."""

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""

    async def wait(self) -> int:
        """The exit code once it has ended; negative when a signal did it."""

    async def signal(self, number: int) -> None:
        """Send a signal to the program and all it started in its session."""

    def tail(self) -> str:
        """The end of what it wrote to standard output and error, as text."""


class Sandbox(Protocol):
    """A box for untrusted programs. Entering starts it; leaving removes every trace."""

    isolated: bool
    """Whether the box keeps its programs from the host's files, network and processes."""
    python: str
    """The interpreter inside, the one that has the libraries of the box."""
    branching: bool
    """Whether programs may lay a view of their own over the agent's folders, if the system can."""
    libraries: Sequence[str]
    """Modules that kernels in the box have imported from the start, where they are there."""

    async def __aenter__(self) -> Self:
        """Start the box. Raises `SandboxError`."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything inside and remove the box."""

    def where(self, path: PurePosixPath) -> PurePosixPath:
        """The path by which programs inside find what the design calls `path`."""

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, limit_bytes: int = 1 << 20
    ) -> Completed:
        """Run a program to its end. Raises `TimeoutError` after killing it, `SandboxError`."""

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        descriptors: Sequence[int] = (),
    ) -> Process:
        """Start a program. `descriptors` of ours become its 3, 4, 5, …; ours stay open.

        It reads nothing unless `stdin` is given. Of what it writes to an output that is not
        given, the end is kept for `Process.tail`.
        Raises `SandboxError` when it cannot be started.
        """

    async def adopt(self, pid: int) -> Process:
        """A process that a program in the box started, and left to the box when it ended itself.

        Raises `ProcessLookupError` when there is none of that number.
        """

    async def read(
        self, path: PurePosixPath, *, limit_bytes: int, within: int | None = None
    ) -> bytes:
        """A regular file's content, as the process `within` sees it.

        Raises `FileNotFoundError`, `IsADirectoryError`, or `OSError` with a clear message for a
        link, a special file, and a file larger than `limit_bytes`.
        """

    async def write(self, path: PurePosixPath, data: bytes) -> None:
        """Make or replace a file; missing folders are made. Raises `OSError` (a full disk)."""

    async def stat(self, path: PurePosixPath, *, within: int | None = None) -> FileStat | None:
        """What is there for the process `within`, links not followed; None when nothing is."""

    async def sweep(self, *, empty: bool) -> None:
        """End every program in the box and empty its temporary folders.

        With `empty`, the workspace too. Raises `OSError` when something cannot be deleted.
        """

    # What copies of a kernel need. A process copied from another may `enter` a view of its own
    # of the agent's folders; `within` is a process whose view is meant, None the box's own.

    async def end(
        self, *, keep: Sequence[int], within: int | None = None, others: Sequence[int] = ()
    ) -> None:
        """Kill the programs that share a view, but for `keep`; those of unknown views as well.

        `others` are processes that stand for the views that are left alone. The processes are
        gone when this returns.
        """

    async def stop(self, *, keep: Sequence[int]) -> list[int]:
        """Hold every program but these where it is; who was stopped."""

    async def go_on(self, pids: Sequence[int]) -> None:
        """Let stopped programs go on."""

    async def weigh(self, pids: Sequence[int], *, enough_bytes: int) -> int:
        """Bytes of memory that these processes hold, of what they share their share.

        The answer is right about being more than `enough_bytes`, and may be too high below it.
        """

    async def memory(self) -> Memory:
        """How the memory limit has been felt."""

    async def snapshot(
        self,
        name: str,
        *,
        prior: str | None = None,
        like: str | None = None,
        within: int | None = None,
        mapped_by: int | None = None,
    ) -> None:
        """Remember the agent's folders as they are under a name.

        What is unchanged since the snapshot `prior` of the same view is shared with it. With
        `like`, the view was just made of that snapshot. Files that the process `mapped_by` or its
        children have mapped into memory to write to never count as unchanged. Raises `OSError`
        when there is no room.
        """

    async def restore(self, name: str, *, within: int | None = None) -> None:
        """Make the agent's folders what they were. Raises `OSError`."""

    async def forget(self, name: str) -> None:
        """A snapshot that is not needed any more."""

    async def layers(self, name: str) -> list[dict[str, str]]:
        """Make what `guest/overlay.py` needs for a view of its own of this snapshot.

        Raises `OSError`.
        """

    async def discard(self, layers: Sequence[Mapping[str, str]]) -> None:
        """Remove the files of a view whose processes have ended."""


def read_descriptor(descriptor: int, path: PurePosixPath, limit_bytes: int) -> bytes:
    """Read a descriptor that came out of a box, trusting nothing about it."""
    found = os.fstat(descriptor)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(f"{path} is a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is a special file; only a regular file is read")
    if found.st_size > limit_bytes:
        raise OSError(f"{path} has {found.st_size:,} bytes; at most {limit_bytes:,} are read")
    with os.fdopen(os.dup(descriptor), "rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise OSError(f"{path} grew beyond {limit_bytes:,} bytes while it was read")
    return data
