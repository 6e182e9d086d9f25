"""Open, copy and remove the entries of a folder, never following a link."""

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

DEPTH = 200
"""Folders nested deeper are refused by `take`; as many descriptors may be open at a time,
twice as many in `restore`."""


CLOCK_REALTIME_COARSE = 5
"""The clock of timestamps on Linux: it ticks every 1 to 10 ms."""


UNKNOWN = -1
"""In place of a ctime that says nothing."""


CHUNK = 1 << 18


GONE = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EINVAL}
"""A name that is no longer what it was when its folder was listed."""


Key = tuple[int, int, int, int, int]
"""mode, size, mtime in ns, ctime in ns, inode"""


class File(NamedTuple):
    """A regular file and the name of the blob with its content."""

    key: Key
    blob: str


class Link(NamedTuple):
    """A symbolic link."""

    key: Key
    target: str


class Other(NamedTuple):
    """Something that is left alone."""

    key: Key


class Folder(NamedTuple):
    """A folder; of its key only mode and mtime are used."""

    key: Key
    entries: "dict[str, File | Link | Other | Folder]"


NOTHING = Folder((0, 0, 0, 0, 0), {})


class Opened:
    """A folder held open, whose owner has the rights `need` in it meanwhile.

    Leaving sets `mode`, which is what the folder had unless somebody assigns it.
    """

    def __init__(self, name: str, parent: int | None = None, need: int = 0o700) -> None:
        self.fd = open_own(name, os.O_RDONLY | os.O_DIRECTORY, parent)
        self.stat = os.fstat(self.fd)
        self.mode = self._current = stat.S_IMODE(self.stat.st_mode)
        self._need = need

    def __enter__(self) -> "Opened":
        self._set(self.mode | self._need)
        return self

    def __exit__(self, *_: object) -> None:
        self._set(self.mode)
        os.close(self.fd)

    def _set(self, mode: int) -> None:
        if mode != self._current:
            try:
                os.fchmod(self.fd, mode)
                self._current = mode
            except OSError:
                pass  # another user's, like /tmp: whatever needs the right will say so

    def list(self) -> list[tuple[str, os.stat_result]]:
        """Every name in it and what it stands for."""
        with os.scandir(self.fd) as found:
            return [(entry.name, entry.stat(follow_symlinks=False)) for entry in found]


def empty(folder: str) -> None:
    """Delete what is in a folder, whatever it is and however deep, and keep the folder.

    Raises `OSError` for what cannot be deleted, such as a mount; nothing in one is touched.
    """
    with Opened(folder) as top:
        clear(top)


def clear(top: Opened) -> None:
    """Empty an open folder."""
    while clear_below(top, top, 0):
        pass


def clear_below(folder: Opened, top: Opened, depth: int) -> bool:
    """Empty a folder; what lies too deep is moved to the top, for another round (then True)."""
    moved = False
    for name, s in folder.list():
        if not stat.S_ISDIR(s.st_mode):
            os.unlink(name, dir_fd=folder.fd)
            continue
        with Opened(name, folder.fd) as child:
            if depth == DEPTH:
                os.rename(name, os.urandom(16).hex(), src_dir_fd=folder.fd, dst_dir_fd=top.fd)
                moved = True
                continue
            if child.stat.st_dev == top.stat.st_dev:
                moved |= clear_below(child, top, depth + 1)
        os.rmdir(name, dir_fd=folder.fd)
    return moved


def remove_folder(name: str, parent: Opened) -> None:
    """Delete a folder and all that is in it, unless it is another file system's."""
    with Opened(name, parent.fd) as folder:
        if folder.stat.st_dev == parent.stat.st_dev:
            clear(folder)
    os.rmdir(name, dir_fd=parent.fd)


def open_own(name: str, flags: int, parent: int | None = None) -> int:
    """Open a file or folder, never through a link and without waiting for a pipe's other end.

    What its owner forbade himself is allowed for this moment. It is held by a descriptor
    meanwhile, so that the mode of nothing else is changed (outside Linux: by its name).
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        if sys.platform != "linux":
            os.chmod(name, 0o700, dir_fd=parent, follow_symlinks=False)
            return os.open(name, flags, dir_fd=parent)
        held = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
        try:
            mode, path = os.fstat(held).st_mode, f"/proc/self/fd/{held}"
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise
            os.chmod(path, stat.S_IMODE(mode) | 0o700)
            try:
                return os.open(path, flags & ~os.O_NOFOLLOW)
            finally:
                os.chmod(path, stat.S_IMODE(mode))
        finally:
            os.close(held)


def writable(name: str, fd: int) -> int | None:
    """A file opened for writing; None if it is a program that runs."""
    try:
        return open_own(name, os.O_WRONLY, fd)
    except OSError as error:
        if error.errno != errno.ETXTBSY:
            raise
        return None


def copy(source: int, target: int, s: os.stat_result) -> int:
    """Give `target` the content of `source`, whose stat is `s`; the number of bytes copied.

    Holes stay holes. A target without any is overwritten rather than first cut to nothing:
    a cut would take private pages from programs that have it mapped.
    """
    if s.st_blocks * 512 < s.st_size:
        os.ftruncate(target, 0)
    os.ftruncate(target, s.st_size)
    copied = end = 0
    while end < s.st_size:
        try:
            at = os.lseek(source, end, os.SEEK_DATA)
            end = min(os.lseek(source, at, os.SEEK_HOLE), s.st_size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on
                break
            at, end = end, s.st_size  # a file system that does not tell
        while at < end:
            if not (moved := copy_some(source, target, at, end - at)):
                return copied  # it was cut meanwhile
            at, copied = at + moved, copied + moved
    return copied


def copy_some(source: int, target: int, at: int, count: int) -> int:
    """Copy some bytes at one offset, in the kernel where it can; 0 at the end of the source."""
    try:
        os.lseek(target, at, os.SEEK_SET)
        return os.sendfile(target, source, at, count)
    except OSError:  # cannot or has no room: plain copying can, or says which
        return os.pwrite(target, os.pread(source, min(count, CHUNK), at), at)


def key_of(s: os.stat_result) -> Key:
    """What tells whether a file was written."""
    return (s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)


def folder_key(s: os.stat_result) -> Key:
    """What a snapshot has to know of a folder itself."""
    return (s.st_mode, 0, s.st_mtime_ns, 0, 0)


def missing(error: OSError, key: Key) -> Other | None:
    """What to record in place of something that could not be opened: it is gone or not ours."""
    if error.errno in GONE:
        return None
    if isinstance(error, PermissionError):
        return Other(key)
    raise error


def make_link(link: Link, name: str, fd: int) -> None:
    """Make a symbolic link with its mtime."""
    os.symlink(link.target, name, dir_fd=fd)
    os.utime(name, ns=(link.key[2], link.key[2]), dir_fd=fd, follow_symlinks=False)


def finish(folder: Opened, want: Folder) -> None:
    """Give a folder its mode and, now that nothing more is made in it, its mtime."""
    folder.mode = stat.S_IMODE(want.key[0])
    if os.fstat(folder.fd).st_mtime_ns != want.key[2]:
        try:
            os.utime(folder.fd, ns=(want.key[2], want.key[2]))
        except PermissionError:
            pass  # another user's, like /tmp


def blobs(roots: list[Folder]) -> Iterator[str]:
    """The blobs that a snapshot uses."""
    todo = list(roots)
    while todo:
        for node in todo.pop().entries.values():
            if isinstance(node, File):
                yield node.blob
            elif isinstance(node, Folder):
                todo.append(node)


def settle(newest: int) -> None:
    """Wait for the tick after `newest`, so that whatever is written from now on has another ctime.

    At most for two of the longest ticks: a clock that was set back is not waited for.
    """
    if sys.platform == "linux":
        for _ in range(20):
            if time.clock_gettime_ns(CLOCK_REALTIME_COARSE) > newest:
                return
            time.sleep(0.001)
