"""Run a function in a forked child with limits, and return the bytes that it gives.

The child shares nothing with its parent but memory as it was at the fork: of the parent's open
files it keeps only the pipe for its result.
"""

import ctypes
import math
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent ends."""
MEMORY_EXCEEDED = 3
"""The exit code of a child whose function raised `MemoryError`."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a child may use."""

    seconds: float
    """Wall-clock time, and CPU time."""
    memory_bytes: int
    """Address space beyond that of its parent."""
    result_bytes: int
    """The largest result."""
    file_bytes: int = 0
    """The largest file that it can write."""
    opens_files: bool = True
    """Whether it can open files and sockets and start processes."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a child gave."""

    data: bytes = b""
    failure: Literal["", "time", "memory", "crash"] = ""
    """Why there is no data; empty if there is."""
    seconds: float = 0.0
    """How long it ran."""


class CallerGone(Exception):
    """The other end of the connection was closed; nobody waits for the result."""


def run(function: Callable[[], bytes], limits: Limits, connection: socket.socket) -> Result:
    """Call a function in a child.

    Args:
        function: what to call. It raises nothing but `MemoryError`.
        limits: what the child may use.
        connection: the caller's socket, on which nothing more is expected.

    Raises `CallerGone` if the caller closes the connection first; the child has ended then.
    """
    read_end, write_end = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        call_and_exit(function, limits, write_end)
    os.close(write_end)
    try:
        data = read_all(read_end, connection, limits, began + limits.seconds)
    finally:
        os.close(read_end)
        kill_group(pid)
        _, status = os.waitpid(pid, 0)
    seconds = time.monotonic() - began
    code = os.waitstatus_to_exitcode(status)
    if data is None or code == -signal.SIGXCPU:
        return Result(failure="time", seconds=seconds)
    if code == MEMORY_EXCEEDED or len(data) > limits.result_bytes:
        return Result(failure="memory", seconds=seconds)
    # A child that wrote everything is killed while it exits, which is no failure.
    if not data or code not in (0, -signal.SIGKILL):
        return Result(failure="crash", seconds=seconds)
    return Result(data=data, seconds=seconds)


def read_all(
    read_end: int, connection: socket.socket, limits: Limits, deadline: float
) -> bytes | None:
    """Read until the child closes its end, or gives too much; None after the deadline."""
    parts: list[bytes] = []
    size = 0
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([read_end, connection.fileno()], [], [], left)
        if connection.fileno() in ready:
            raise CallerGone
        if read_end in ready:
            part = os.read(read_end, 1 << 20)
            if not part or size > limits.result_bytes:
                return b"".join(parts)
            parts.append(part)
            size += len(part)
    return None


def call_and_exit(function: Callable[[], bytes], limits: Limits, write_end: int) -> None:
    """Confine this process, call the function, write what it returns, and exit."""
    code = 1
    try:
        confine(limits, write_end)
        data = memoryview(function())
        while data:
            data = data[os.write(write_end, data) :]
        code = 0
    except MemoryError:
        code = MEMORY_EXCEEDED
    finally:
        os._exit(code)


def confine(limits: Limits, write_end: int) -> None:
    """Apply the limits to this process and close what it does not need."""
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # a metric that prints would write to the host's terminal
        os.dup2(null, standard)
    os.closerange(3, write_end)
    os.closerange(write_end + 1, 1 << 20)
    seconds = math.ceil(limits.seconds) + 1
    memory = address_space_bytes() + limits.memory_bytes
    closed = () if limits.opens_files else (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)
    for kind, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        *((kind, 0) for kind in closed),
    ):
        resource.setrlimit(kind, (limit, limit))


def address_space_bytes() -> int:
    """Return the size of this process's address space."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def kill_group(pid: int) -> None:
    """Kill a child and the processes that it started."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
