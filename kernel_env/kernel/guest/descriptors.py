"""List, identify and reopen the file descriptors of this process."""

import fcntl
import os
import socket
import stat
from typing import NamedTuple


def descriptors() -> set[int]:
    """The numbers that are open in this process."""
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    listed = map(int, os.listdir(folder))
    return {number for number in listed if is_open(number)}  # the list itself was read from one


def identity(descriptor: int) -> tuple[int, int]:
    """What a descriptor stands for: a device and a number on it. Raises `OSError`."""
    s = os.fstat(descriptor)
    return s.st_dev, s.st_ino


def identities(numbers: set[int]) -> dict[int, tuple[int, int]]:
    """What each of these descriptors stands for, as far as it is still open."""
    found = {}
    for descriptor in numbers:
        try:
            found[descriptor] = identity(descriptor)
        except OSError:
            continue
    return found


def is_open(descriptor: int) -> bool:
    """Whether the number stands for something now."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def socket_name(descriptor: int) -> str:
    """The name that a unix socket is bound to."""
    copy = socket.socket(fileno=os.dup(descriptor))
    try:
        name = copy.getsockname() if copy.family == socket.AF_UNIX else ""
        return name if isinstance(name, str) else ""
    finally:
        copy.close()


class Opened(NamedTuple):
    """A regular file that is being read or written."""

    path: str
    named: bool
    """Whether it could be found by its path; a deleted file cannot."""
    position: int


def open_files() -> dict[int, Opened]:
    """The regular files that are open, by descriptor."""
    found = {}
    for descriptor in descriptors():
        try:
            s = os.fstat(descriptor)
            if stat.S_ISREG(s.st_mode):
                path = os.readlink(f"/proc/self/fd/{descriptor}")
                position = os.lseek(descriptor, 0, os.SEEK_CUR)
                found[descriptor] = Opened(path, s.st_nlink > 0, position)
        except OSError:
            continue
    return found


def reopen(descriptor: int, path: str) -> None:
    """Open the file that is at a path now at the same number. Raises `OSError`."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC)
    opened = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    os.dup2(opened, descriptor, inheritable=os.get_inheritable(descriptor))
    os.close(opened)
