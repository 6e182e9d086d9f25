"""Give a fork descriptors of its own, under the same numbers, where it must not share its parent's.

The last close of a pipe or socket tells the other end, the last close of a listening socket frees
its port, that of a locked file releases the lock. In a fork that kept them, the parent's close
would have no effect, and a read would take what was meant for the parent. So a fork has

    for a pipe                       one of its own with the same content; an end that only another
                                     process held is closed
    for a socket                     one whose other end is closed
    for a file with locks            the same file, opened again; see `lock_again`
    for an event counter             one of its own with the same value
    for a terminal, a device, epoll  /dev/null
    and for any other regular file   the same open file; its position is restored before use

A read then ends with the end of file, a write with `BrokenPipeError`; nothing waits for ever.
"""

import fcntl
import os
import socket
import stat
from collections.abc import Collection

from .descriptors import OpenFile, open_descriptors
from .syscalls import libc

PIPE_BYTES = 1 << 20
"""Most bytes copied from one pipe; a pipe holds 64 KiB unless its size was changed."""
SPLICE_F_NONBLOCK = 2
HARMLESS_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
PIPE_FLAGS = os.O_ACCMODE | os.O_NONBLOCK


def replace(keep: Collection[int], files: dict[int, OpenFile]) -> None:
    """Replace what must not be shared, except the descriptors in `keep`.

    `files` are the regular files that the parent had open.
    """
    pipes: dict[int, list[int]] = {}
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in open_descriptors() - {*keep, null, 0, 1, 2}:
        try:
            status = os.fstat(descriptor)
            if stat.S_ISFIFO(status.st_mode):
                pipes.setdefault(status.st_ino, []).append(descriptor)
            elif stat.S_ISSOCK(status.st_mode):
                replace_socket(descriptor)
            elif stat.S_ISREG(status.st_mode):
                if descriptor in files and files[descriptor].locks:
                    open_again(descriptor)
            elif not stat.S_ISDIR(status.st_mode):
                replace_other(descriptor, null)
        except OSError:
            continue
    os.close(null)
    for ends in pipes.values():
        try:
            replace_pipe(ends)
        except OSError:
            for descriptor in ends:
                os.close(descriptor)


def replace_other(descriptor: int, null: int) -> None:
    """Replace a descriptor that is no file, pipe or socket, unless sharing it has no effect."""
    name = os.readlink(f"/proc/self/fd/{descriptor}")
    if name == "anon_inode:[eventfd]":
        replace_event_counter(descriptor)
    elif name not in HARMLESS_DEVICES:
        substitute(null, descriptor)


def replace_event_counter(descriptor: int) -> None:
    """Put an event counter with the same value under the number of this one."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        info = dict(line.split(":", 1) for line in file if ":" in line)
    flags = os.EFD_SEMAPHORE if info.get("eventfd-semaphore", "0").strip() == "1" else 0
    flags |= fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.EFD_NONBLOCK
    new = os.eventfd(int(info["eventfd-count"], 16), flags | os.EFD_CLOEXEC)
    substitute(new, descriptor)
    os.close(new)


def substitute(new: int, descriptor: int) -> None:
    """Put `new` under the number of `descriptor`, which is closed."""
    os.dup2(new, descriptor, inheritable=os.get_inheritable(descriptor))


def replace_socket(descriptor: int) -> None:
    """Put a socket whose other end is closed under the number of this one."""
    inheritable, blocking = os.get_inheritable(descriptor), os.get_blocking(descriptor)
    ours, theirs = socket.socketpair()
    theirs.close()
    os.dup2(ours.fileno(), descriptor, inheritable)
    ours.close()
    os.set_blocking(descriptor, blocking)


def replace_pipe(ends: list[int]) -> None:
    """Put the ends of a new pipe with the same content under the numbers of these ends.

    An end that is not among them is closed. Raises `OSError`.
    """
    flags = {end: fcntl.fcntl(end, fcntl.F_GETFL) for end in ends}
    readers = [end for end in ends if flags[end] & os.O_ACCMODE != os.O_WRONLY]
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        if readers:
            try:
                size = fcntl.fcntl(readers[0], fcntl.F_GETPIPE_SZ)
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, size)
            except OSError:
                pass  # the user may not have larger pipes
            libc.tee(readers[0], writing, PIPE_BYTES, SPLICE_F_NONBLOCK)
        for end in ends:
            new = os.open(f"/proc/self/fd/{reading}", flags[end] & PIPE_FLAGS | os.O_CLOEXEC)
            substitute(new, end)
            os.close(new)
    finally:
        os.close(reading)
        os.close(writing)


def open_again(descriptor: int) -> None:
    """Open a file a second time under the same number: locks belong to an opening of it.

    Raises `OSError`.
    """
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC)
    new = os.open(f"/proc/self/fd/{descriptor}", flags | os.O_CLOEXEC)
    os.lseek(new, os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
    substitute(new, descriptor)
    os.close(new)


def lock_again(files: dict[int, OpenFile]) -> None:
    """Take the locks that the parent held, as far as nobody else has them now."""
    for descriptor, file in files.items():
        for lock in file.locks:
            operation = fcntl.LOCK_NB | (fcntl.LOCK_EX if lock.exclusive else fcntl.LOCK_SH)
            try:
                if lock.whole_file:
                    fcntl.flock(descriptor, operation)
                else:
                    fcntl.lockf(descriptor, operation, lock.length, lock.start)
            except OSError:
                continue
