"""List the shared memory mappings of this process.

A process with many libraries has thousands of mappings, few of them shared. Where the system can,
it is asked for the shared ones only; reading all takes a hundred times as long.
"""

import ctypes
import fcntl
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

PROTECTION_BITS = {"r": 1, "w": 2, "x": 4}
DELETED_SUFFIX = " (deleted)"
LINKED_FOLDERS = ("/dev/shm",)  # noqa: S108 - only read
"""Where files that are mapped can have another name than the one they were created under."""
SHARED_LINE = re.compile(rb"^[^ ]+ ...s [^ ]+ [^ ]+ \d+ +\S.*$", re.MULTILINE)
PROCMAP_QUERY = 0xC0686611
"""Asks /proc/self/maps for one mapping. Linux 6.11 and newer."""
SHARED, THIS_OR_NEXT = 0x08, 0x10
PATH_BYTES = 4096


class SharedMapping(NamedTuple):
    """A shared mapping of this process."""

    start: int
    length: int
    protection: int
    offset: int
    inode: int
    path: str
    """As the kernel reports it, or its other path; see `current_path`."""


class Query(ctypes.Structure):
    """The C structure `procmap_query`."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("size", "flags", "address", "start", "end")),
        *((name, ctypes.c_uint64) for name in ("protection", "page_bytes", "offset", "inode")),
        *((name, ctypes.c_uint32) for name in ("major", "minor", "path_bytes", "build_id_bytes")),
        *((name, ctypes.c_uint64) for name in ("path_address", "build_id_address")),
    )


def shared_mappings() -> list[SharedMapping]:
    """Return the shared mappings of files and memory by address. Raises `OSError`."""
    with open("/proc/self/maps", "rb") as file:
        try:
            found = list(queried(file.fileno()))
        except OSError:
            found = [mapping_of(line) for line in SHARED_LINE.findall(file.read())]
    return [each._replace(path=current_path(each.path, each.inode)) for each in found]


def queried(maps: int) -> Iterator[SharedMapping]:
    """Yield the shared mappings one by one. Raises `OSError` where the system cannot."""
    path = ctypes.create_string_buffer(PATH_BYTES)
    query = Query(size=ctypes.sizeof(Query), flags=SHARED | THIS_OR_NEXT)
    query.path_address = ctypes.addressof(path)
    while True:
        query.address, query.path_bytes = query.end, PATH_BYTES
        try:
            fcntl.ioctl(maps, PROCMAP_QUERY, query)
        except FileNotFoundError:  # there are no more
            return
        if query.path_bytes:
            length, protection = query.end - query.start, query.protection & ~SHARED
            place = query.start, length, protection, query.offset, query.inode
            yield SharedMapping(*place, os.fsdecode(path.value))


def mapping_of(line: bytes) -> SharedMapping:
    """Parse a line of /proc/self/maps."""
    span, permissions, offset, _, inode, path = os.fsdecode(line).split(None, 5)
    start, end = (int(word, 16) for word in span.split("-"))
    protection = sum(PROTECTION_BITS[letter] for letter in permissions[:3] if letter != "-")
    path = path.replace("\\012", "\n")
    return SharedMapping(start, end - start, protection, int(offset, 16), int(inode), path)


def current_path(path: str, inode: int) -> str:
    """Return the path of what is mapped, as the kernel reports it, or its other path.

    The file of a named semaphore is created under one name, and linked to another before the first
    is deleted; the kernel reports the first.
    """
    folder = os.path.dirname(path)
    if path.endswith(DELETED_SUFFIX) and folder in LINKED_FOLDERS and os.path.isdir(folder):
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.inode() == inode:
                    return entry.path
    return path
