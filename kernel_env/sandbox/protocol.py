"""The protocol of a sandbox: seven verbs to run untrusted programs and move bytes.

A sandbox never learns what a kernel is. Paths passed to it are the names that hold in every
sandbox, `/data` and `/workspace`; `guest_path` returns the path by which a program inside
finds them, which differs only where the sandbox has no file system of its own.

A back end that implements `Sandbox` alone runs episodes with plain kernels. To fork kernels it
also offers `fork_support`, see the module of that name. `conformance` holds the tests of both.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol, Self

from kernel_env.field_docs import show_fields

GIB = 1024**3

DATA = PurePosixPath("/data")
"""The task's public files, read-only."""
WORKSPACE = PurePosixPath("/workspace")
"""The agent's folder and working directory, empty at first."""
SNAPSHOTS = PurePosixPath("/snapshots")
"""Where a sandbox keeps snapshots of the agent's folders."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a sandbox contains and which resources it may use, for every back end."""

    image: str = "base"
    """Name of the image; back ends without images ignore it."""
    libraries: tuple[str, ...] | None = None
    """Modules to import before the first kernel is forked; None for those of the image."""
    folders: Mapping[PurePosixPath, Path] = field(default_factory=dict)
    """Folders of the host that appear inside, read-only: path inside → path on the host."""
    memory_gb: float = 4.0
    """Memory for programs, GiB; files in /workspace and /tmp have limits of their own."""
    workspace_gb: float = 2.0
    """Size of /workspace, GiB. Temporary folders get at most 1 GiB."""
    cpus: float = 2.0
    """Processor cores."""
    processes: int = 512
    """Maximum number of processes and threads."""
    files: int = 200_000
    """Maximum number of files and folders in /workspace. /snapshots gets four times as many, and
    twice the bytes."""
    runtime: str | None = None
    """OCI runtime of the engine, for example `runsc`; None for its default."""
    gpus: int = 0
    """Number of GPUs."""
    gpu_devices: tuple[str, ...] = ()
    """Their UUIDs, or whatever names them in a back end with GPUs of its own; empty for any."""
    devices: Mapping[PurePosixPath, Path] = field(default_factory=dict)
    """Devices of the host that programs may read and write: path inside → path on the host."""
    branching: bool = True
    """Whether programs may create user and mount namespaces, so that forked kernels can have
    files of their own."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Completed:
    """A program that has ended."""

    exit_code: int
    """Negative if a signal ended it."""
    output: bytes
    """Standard output and standard error, truncated to the requested limit."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class FileStat:
    """The state of a file; links are not followed. Equal values mean an unchanged file."""

    mode: int
    size: int
    """Bytes."""
    modified_ns: int
    changed_ns: int
    inode: int

    @property
    def file_type(self) -> str:
        """Return `file`, `folder`, `link` or `special file`."""
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
        return kinds.get(stat.S_IFMT(self.mode), "special file")


class Process(Protocol):
    """A program in a sandbox."""

    pid: int
    """Process ID inside the sandbox."""
    peak_bytes: int
    """Maximum resident memory, bytes, once it has ended; 0 before or if unknown."""

    @property
    def exit_code(self) -> int | None:
        """Return the exit code: None while it runs, negative if a signal ended it."""

    async def wait(self) -> int:
        """Wait for the end and return the exit code. Raises `SandboxError`."""

    async def signal(self, number: int) -> None:
        """Send a signal to the program and to all processes of its session."""

    def tail(self) -> str:
        """Return the last part of what it wrote to standard output and error."""


class Sandbox(Protocol):
    """Runs untrusted programs. Entering starts it; leaving removes every trace of it.

    A class `S` is a back end if `S(spec)` returns such an object and `S.isolated` is set. If it
    also sets `S.host_gpus = True`, its programs use the GPUs of this machine, and the spec names
    which; otherwise the spec has the number, and the back end finds GPUs itself. A sandbox with
    images has an `image_tag`, a name that changes with the image's content, and its class returns
    that name from `S.image_digest(spec)`.
    """

    isolated: bool
    """Whether programs are kept from the host's files, network and processes."""
    python: str
    """Path of the Python interpreter inside, the one that has the libraries."""
    libraries: Sequence[str]
    """Modules to import before the first kernel is forked; missing ones are skipped."""

    async def __aenter__(self) -> Self:
        """Start the sandbox. Raises `SandboxError`."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything inside and remove the sandbox."""

    def guest_path(self, path: PurePosixPath) -> PurePosixPath:
        """Return the path by which programs inside find `path`."""

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, limit_bytes: int = 1 << 20
    ) -> Completed:
        """Run a program to its end.

        Raises `TimeoutError` after killing it, and `SandboxError`.
        """

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
        """Start a program in the workspace.

        Args:
            argv: the program and its arguments.
            env: variables in addition to those of the sandbox.
            stdin: a file descriptor of the host; without it the program reads nothing.
            stdout: a file descriptor of the host; without it the last part of the output is
                kept for `Process.tail`.
            stderr: the same for standard error.
            descriptors: file descriptors of the host that become 3, 4, 5, … in the program;
                the caller's stay open.

        Raises `SandboxError` if it cannot be started.
        """

    async def read(self, path: PurePosixPath, *, limit_bytes: int) -> bytes:
        """Return the content of a regular file.

        Raises `FileNotFoundError`, `IsADirectoryError`, or `OSError` with a clear message for a
        link, a special file, or a file larger than `limit_bytes`.
        """

    async def write(self, path: PurePosixPath, data: bytes) -> None:
        """Create or replace a file, and create missing folders. Raises `OSError` (full disk)."""

    async def stat(self, path: PurePosixPath) -> FileStat | None:
        """Return the state of what is at `path`, or None if nothing is. Links are not followed."""

    async def clean_up(self, *, workspace: bool) -> None:
        """Kill every program and empty the temporary folders; with `workspace`, that one too.

        Raises `OSError` if something cannot be deleted.
        """


def read_descriptor(descriptor: int, path: PurePosixPath, limit_bytes: int) -> bytes:
    """Read a file descriptor that came out of a sandbox, without trusting it.

    Raises `IsADirectoryError`, or `OSError` for anything but a regular file within the limit.
    """
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
