"""List, identify and reopen the file descriptors of this process."""

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from typing import NamedTuple


def open_descriptors() -> set[int]:
    """Return the descriptors that are open in this process."""
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    listed = map(int, os.listdir(folder))
    # Without the descriptor that the folder was read through:
    return {number for number in listed if is_open(number)}


def identity(descriptor: int) -> tuple[int, int]:
    """Return device and inode of a descriptor. Raises `OSError`."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def identities(numbers: set[int]) -> dict[int, tuple[int, int]]:
    """Return device and inode of those descriptors that are still open."""
    found = {}
    for descriptor in numbers:
        try:
            found[descriptor] = identity(descriptor)
        except OSError:
            continue
    return found


def is_open(descriptor: int) -> bool:
    """Return whether a descriptor is open."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def socket_name(descriptor: int) -> str:
    """Return the name that a Unix socket is bound to; empty for none."""
    duplicate = socket.socket(fileno=os.dup(descriptor))
    try:
        name = duplicate.getsockname() if duplicate.family == socket.AF_UNIX else ""
        return name if isinstance(name, str) else ""
    finally:
        duplicate.close()


class Lock(NamedTuple):
    """A lock of this process on an open file."""

    whole_file: bool
    """Whether it was taken with `flock`; otherwise with `fcntl`, on a range."""
    exclusive: bool
    start: int
    length: int
    """0 for everything from `start` on."""


class OpenFile(NamedTuple):
    """A regular file that is open."""

    path: str
    has_path: bool
    """Whether the file still has its path; a deleted file has none."""
    position: int
    locks: tuple[Lock, ...] = ()


def open_files() -> dict[int, OpenFile]:
    """Return the open regular files by descriptor."""
    found = {}
    for descriptor in open_descriptors():
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                path = os.readlink(f"/proc/self/fd/{descriptor}")
                position = os.lseek(descriptor, 0, os.SEEK_CUR)
                locks = tuple(locks_on(descriptor))
                found[descriptor] = OpenFile(path, status.st_nlink > 0, position, locks)
        except OSError:
            continue
    return found


def locks_on(descriptor: int) -> Iterator[Lock]:
    """Yield the locks that this process holds on an open file. Raises `OSError`."""
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:
        for line in file:
            if line.startswith(b"lock:"):  # lock: 1: FLOCK ADVISORY WRITE 7 00:2f:4 0 EOF
                kind, _, access, _, _, start, end = line.split()[2:9]
                length = 0 if end == b"EOF" else int(end) - int(start) + 1
                yield Lock(kind == b"FLOCK", access == b"WRITE", int(start), length)


def reopen(descriptor: int, path: str) -> None:
    """Reopen the file at `path` under the same descriptor number. Raises `OSError`."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC)
    new = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    os.dup2(new, descriptor, inheritable=os.get_inheritable(descriptor))
    os.close(new)
