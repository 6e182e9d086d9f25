"""Open, copy and delete the entries of a folder without ever following a link."""

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

MAX_DEPTH = 200
"""Most levels of nested folders. `take` holds as many descriptors open at a time, `restore` twice
as many.
"""


CLOCK_REALTIME_COARSE = 5
"""The clock of file timestamps on Linux; it ticks every 1 to 10 ms."""


UNKNOWN_CTIME = -1
"""Replaces a ctime that cannot prove that a file is unchanged."""


CHUNK_BYTES = 1 << 18


GONE_ERRNOS = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EINVAL}
"""Errors of a name whose entry changed after its folder was listed."""


Key = tuple[int, int, int, int, int]
"""Mode, size, mtime in ns, ctime in ns, inode."""


class File(NamedTuple):
    """A regular file and the name of the blob with its content."""

    key: Key
    blob: str


class Link(NamedTuple):
    """A symbolic link."""

    key: Key
    target: str


class Other(NamedTuple):
    """An entry that is left alone."""

    key: Key


class Folder(NamedTuple):
    """A folder; its key has only mode and mtime."""

    key: Key
    entries: "dict[str, File | Link | Other | Folder]"


EMPTY_FOLDER = Folder((0, 0, 0, 0, 0), {})


class OpenFolder:
    """A folder held open; meanwhile its owner has the permissions `need` in it.

    Exit sets `mode`, which is the original mode unless it was assigned.
    """

    def __init__(self, name: str, parent: int | None = None, need: int = 0o700) -> None:
        self.fd = open_as_owner(name, os.O_RDONLY | os.O_DIRECTORY, parent)
        self.stat = os.fstat(self.fd)
        self.mode = self._current = stat.S_IMODE(self.stat.st_mode)
        self._need = need

    def __enter__(self) -> "OpenFolder":
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
                pass  # another user's, such as /tmp: operations that need the permission will fail

    def list(self) -> list[tuple[str, os.stat_result]]:
        """Return every name in it with its status."""
        with os.scandir(self.fd) as found:
            return [(entry.name, entry.stat(follow_symlinks=False)) for entry in found]


def empty_folder(folder: str) -> None:
    """Delete everything in a folder, at any depth, and keep the folder.

    Raises `OSError` for what cannot be deleted, such as a mount; nothing inside a mount is touched.
    """
    with OpenFolder(folder) as top:
        clear_folder(top)


def clear_folder(top: OpenFolder) -> None:
    """Empty an open folder."""
    while clear_to_depth(top, top, 0):
        pass


def clear_to_depth(folder: OpenFolder, top: OpenFolder, depth: int) -> bool:
    """Empty a folder down to a depth limit.

    Folders below the limit are moved to the top for another round. Returns True if there are any.
    """
    moved = False
    for name, s in folder.list():
        if not stat.S_ISDIR(s.st_mode):
            os.unlink(name, dir_fd=folder.fd)
            continue
        with OpenFolder(name, folder.fd) as child:
            if depth == MAX_DEPTH:
                os.rename(name, os.urandom(16).hex(), src_dir_fd=folder.fd, dst_dir_fd=top.fd)
                moved = True
                continue
            if child.stat.st_dev == top.stat.st_dev:
                moved |= clear_to_depth(child, top, depth + 1)
        os.rmdir(name, dir_fd=folder.fd)
    return moved


def remove_folder(name: str, parent: OpenFolder) -> None:
    """Delete a folder and everything in it, unless it is another file system."""
    with OpenFolder(name, parent.fd) as folder:
        if folder.stat.st_dev == parent.stat.st_dev:
            clear_folder(folder)
    os.rmdir(name, dir_fd=parent.fd)


def open_as_owner(name: str, flags: int, parent: int | None = None) -> int:
    """Open a file or folder without following a link or blocking on a named pipe.

    A permission that the owner took from himself is granted while it is opened. The entry is held
    by a descriptor meanwhile, so that the mode of no other entry changes (outside Linux: by its
    name).
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        if sys.platform != "linux":
            os.chmod(name, 0o700, dir_fd=parent, follow_symlinks=False)
            return os.open(name, flags, dir_fd=parent)
        path_descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
        try:
            mode, path = os.fstat(path_descriptor).st_mode, f"/proc/self/fd/{path_descriptor}"
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise
            os.chmod(path, stat.S_IMODE(mode) | 0o700)
            try:
                return os.open(path, flags & ~os.O_NOFOLLOW)
            finally:
                os.chmod(path, stat.S_IMODE(mode))
        finally:
            os.close(path_descriptor)


def open_for_writing(name: str, fd: int) -> int | None:
    """Open a file for writing; None if it is a program that is running."""
    try:
        return open_as_owner(name, os.O_WRONLY, fd)
    except OSError as error:
        if error.errno != errno.ETXTBSY:
            raise
        return None


def copy_content(source: int, target: int, s: os.stat_result) -> int:
    """Copy the content of `source`, whose status is `s`, to `target`. Returns the bytes copied.

    Holes stay holes. A source without holes overwrites the target, which is not truncated to zero
    first: that would take private pages from programs that have it mapped.
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
            if error.errno == errno.ENXIO:  # only a hole up to the end
                break
            at, end = end, s.st_size  # a file system that does not report holes
        while at < end:
            if not (moved := copy_chunk(source, target, at, end - at)):
                return copied  # the source was truncated meanwhile
            at, copied = at + moved, copied + moved
    return copied


def copy_chunk(source: int, target: int, at: int, count: int) -> int:
    """Copy some bytes at one offset, in the kernel if possible; returns 0 at the end."""
    try:
        os.lseek(target, at, os.SEEK_SET)
        return os.sendfile(target, source, at, count)
    except OSError:  # not supported or no room: plain copying works, or raises the reason
        return os.pwrite(target, os.pread(source, min(count, CHUNK_BYTES), at), at)


def key_of(s: os.stat_result) -> Key:
    """Return the values by which a snapshot notices that a file was written."""
    return (s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)


def folder_key(s: os.stat_result) -> Key:
    """Return the values that a snapshot records of a folder itself."""
    return (s.st_mode, 0, s.st_mtime_ns, 0, 0)


def entry_for_open_error(error: OSError, key: Key) -> Other | None:
    """Return the entry to record for a name that could not be opened.

    None if it is gone; `Other` if it is another user's. Raises any other error.
    """
    if error.errno in GONE_ERRNOS:
        return None
    if isinstance(error, PermissionError):
        return Other(key)
    raise error


def create_link(link: Link, name: str, fd: int) -> None:
    """Create a symbolic link with its mtime."""
    os.symlink(link.target, name, dir_fd=fd)
    os.utime(name, ns=(link.key[2], link.key[2]), dir_fd=fd, follow_symlinks=False)


def set_mode_and_mtime(folder: OpenFolder, want: Folder) -> None:
    """Set mode and mtime of a folder, after all its entries have been created."""
    folder.mode = stat.S_IMODE(want.key[0])
    if os.fstat(folder.fd).st_mtime_ns != want.key[2]:
        try:
            os.utime(folder.fd, ns=(want.key[2], want.key[2]))
        except PermissionError:
            pass  # another user's, such as /tmp


def blobs_of(roots: list[Folder]) -> Iterator[str]:
    """Yield the names of the blobs that a snapshot uses."""
    todo = list(roots)
    while todo:
        for node in todo.pop().entries.values():
            if isinstance(node, File):
                yield node.blob
            elif isinstance(node, Folder):
                todo.append(node)


def wait_for_clock_tick(newest: int) -> None:
    """Wait until the clock of timestamps passes `newest`, so that later writes get another ctime.

    Waits for two of the longest ticks at most: a clock that was set back is not waited for.
    """
    if sys.platform == "linux":
        for _ in range(20):
            if time.clock_gettime_ns(CLOCK_REALTIME_COARSE) > newest:
                return
            time.sleep(0.001)
