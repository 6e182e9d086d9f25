"""Give a fork memory of its own where it shares memory with its parent.

Memory that was mapped as shared (by multiprocessing, by data loaders, by `mmap`) stays shared when
a process forks. A fork must see it as it was at the fork, and what the fork writes must not appear
in its parent. So everything shared that no path leads to is moved to a new shared file in memory,
at the same addresses: the fork still shares it with processes that it starts itself.

Files with a path are left alone: snapshots restore them, and overlays separate them.
"""

import ctypes
import fcntl
import mmap
import os
import stat
from collections.abc import Iterable, Sequence
from itertools import groupby

from .descriptors import open_descriptors
from .held_files import MAP_FIXED, MAP_SHARED, inode_at
from .memory_maps import DELETED_SUFFIX, PROTECTION_BITS, SharedMapping
from .syscalls import CHUNK_BYTES, check_result, libc, step

MAX_COPIED_BYTES = 1 << 30
"""Most shared memory that a fork copies; a process with more is not forked."""
MEMORY_FOLDER = "/dev/shm/"  # noqa: S108 - compared with, nothing is created there
WITHOUT_PATH = ("/dev/zero", "/memfd:", "/SYSV", "/anon_hugepage")
"""How the kernel names memory that never had a path."""


def has_path(mapping: SharedMapping, folders: Sequence[str]) -> bool:
    """Return whether snapshots and overlays care for what is mapped, or nothing can.

    Args:
        mapping: the mapping.
        folders: the folders that snapshots contain.
    """
    path = mapping.path
    if path.startswith(WITHOUT_PATH):
        return False
    if path.endswith(DELETED_SUFFIX) and inode_at(path) is None:
        return path.startswith("/dev/") and not path.startswith(MEMORY_FOLDER)
    in_folders = any(path.startswith(f"{folder}/") for folder in folders)
    return in_folders or not path.startswith(MEMORY_FOLDER)


def make_own(mappings: Iterable[SharedMapping], deleted_paths: Iterable[str]) -> None:
    """Move what is mapped to new files in memory, with the descriptors that belong to it.

    The same for open files without a path, by their names as the kernel reports them.
    Raises `OSError` naming the step that failed.
    """
    by_file: dict[tuple[int, str], list[SharedMapping]] = {}
    for mapping in mappings:
        by_file.setdefault((mapping.inode, mapping.path), []).append(mapping)
    deleted = set(deleted_paths)
    if not by_file and not deleted:
        return
    opened = descriptors_by_path({*deleted, *(path for _, path in by_file)})
    room = MAX_COPIED_BYTES
    for (inode, path), group in by_file.items():
        with step(f"copy shared memory ({path})"):
            same_path = opened.get(path, [])
            same_inode = [number for number in same_path if os.fstat(number).st_ino == inode]
            moved = same_inode or same_path
            opened[path] = [number for number in same_path if number not in moved]
            room -= move(group, moved, room)
    for path in deleted:
        for _, same_file in groupby(sorted(opened.get(path, []), key=inode_of), inode_of):
            with step(f"copy a file without a path ({path})"):
                room -= move([], list(same_file), room)


def inode_of(descriptor: int) -> int:
    """Return the inode number of an open file. Raises `OSError`."""
    return os.fstat(descriptor).st_ino


def descriptors_by_path(paths: set[str]) -> dict[str, list[int]]:
    """Return the open regular files with these paths as the kernel reports them."""
    found: dict[str, list[int]] = {}
    for descriptor in open_descriptors():
        try:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if path in paths and stat.S_ISREG(os.fstat(descriptor).st_mode):
                found.setdefault(path, []).append(descriptor)
        except OSError:
            continue
    return found


def move(mappings: Sequence[SharedMapping], descriptors: Sequence[int], room: int) -> int:
    """Move mappings and descriptors of one file to a new one; returns the bytes it holds.

    Raises `OSError`, also when that is more than `room` bytes.
    """
    new = os.memfd_create("shared", os.MFD_CLOEXEC)
    try:
        size = max((mapping.offset + mapping.length for mapping in mappings), default=0)
        if descriptors:
            size = max(size, os.fstat(descriptors[0]).st_size)
        os.ftruncate(new, size)
        for mapping in mappings:
            copy_resident(mapping, new, room)
        if descriptors:
            copy_rest(descriptors[0], new, mappings, room)
        for mapping in mappings:
            arguments = (mapping.protection, MAP_SHARED | MAP_FIXED, new, mapping.offset)
            address = libc.mmap(mapping.start, mapping.length, *arguments)
            check_result("mmap", 0 if address == mapping.start else -1)
        for descriptor in descriptors:
            reopen_as(new, descriptor)
        return held_bytes(new)
    finally:
        os.close(new)


def held_bytes(descriptor: int) -> int:
    """Return the memory of a file in memory, in bytes."""
    return os.fstat(descriptor).st_blocks * 512


def check_room(descriptor: int, room: int) -> None:
    """Raise `OSError` if a file in memory has grown beyond `room` bytes."""
    if held_bytes(descriptor) > room:
        raise OSError(f"more than {MAX_COPIED_BYTES >> 30} GiB of shared memory")


def copy_resident(mapping: SharedMapping, target: int, room: int) -> None:
    """Copy the pages of a mapping that hold something. Raises `OSError`."""
    pages = -(-mapping.length // mmap.PAGESIZE)
    resident = (ctypes.c_ubyte * pages)()
    address = ctypes.c_void_p(mapping.start)
    if libc.mincore(address, ctypes.c_size_t(mapping.length), resident):
        return  # it ends behind the end of its file: the rest cannot be read
    at, flags = 0, bytes(resident).translate(LOWEST_BIT)
    while (begin := flags.find(b"\x01", at)) >= 0:
        end = flags.find(b"\x00", begin)
        at = pages if end < 0 else end
        position = begin * mmap.PAGESIZE
        while position < at * mmap.PAGESIZE:
            length = min(CHUNK_BYTES, at * mmap.PAGESIZE - position)
            written = libc.pwrite(
                target, mapping.start + position, length, mapping.offset + position
            )
            if written <= 0:
                break  # not readable, or behind the end of the file
            position += written
            check_room(target, room)


LOWEST_BIT = bytes(value & 1 for value in range(256))


def copy_rest(source: int, target: int, mappings: Sequence[SharedMapping], room: int) -> None:
    """Copy the parts of an open file that are not mapped. Raises `OSError`."""
    reading = os.open(f"/proc/self/fd/{source}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        position, size = 0, os.fstat(reading).st_size
        mapped = sorted((m.offset, m.offset + m.length) for m in mappings)
        while position < size:
            try:
                position = os.lseek(reading, position, os.SEEK_DATA)
            except OSError:
                return  # no data after this
            if inside := [end for begin, end in mapped if begin <= position < end]:
                position = max(inside)
                continue
            ends = [os.lseek(reading, position, os.SEEK_HOLE), position + CHUNK_BYTES]
            ends += [begin for begin, _ in mapped if begin > position]
            data = os.pread(reading, min(ends) - position, position)
            if not data:
                return
            position += os.pwrite(target, data, position)
            check_room(target, room)
    finally:
        os.close(reading)


def reopen_as(new: int, descriptor: int) -> None:
    """Open the file in memory under the number of a descriptor, at the same position."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK)
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    opened = os.open(f"/proc/self/fd/{new}", flags | os.O_CLOEXEC)
    os.lseek(opened, position, os.SEEK_SET)
    os.dup2(opened, descriptor, inheritable=os.get_inheritable(descriptor))
    os.close(opened)


def remap_restored(mappings: Iterable[SharedMapping]) -> None:
    """Map files again that have been created anew under their paths since they were mapped."""
    for mapping in mappings:
        try:
            status = os.stat(mapping.path)
            if status.st_ino == mapping.inode or not stat.S_ISREG(status.st_mode):
                continue
            writable = mapping.protection & PROTECTION_BITS["w"]
            descriptor = os.open(
                mapping.path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
            )
        except OSError:
            continue
        arguments = (mapping.protection, MAP_SHARED | MAP_FIXED, descriptor, mapping.offset)
        libc.mmap(mapping.start, mapping.length, *arguments)
        os.close(descriptor)
