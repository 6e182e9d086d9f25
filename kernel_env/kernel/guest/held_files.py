"""Find the files that a process holds open or mapped, and move them into a new mount namespace."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from .memory_maps import DELETED_SUFFIX, PROTECTION_BITS, shared_mappings
from .syscalls import CHUNK_BYTES, check_result, libc, step

MAP_SHARED, MAP_FIXED = 0x01, 0x10
F_DUPFD_QUERY = 1024 + 3
"""Asks whether two descriptors share one open file description. Linux 6.10 and newer."""


CREATION_FLAGS = os.O_CREAT | os.O_EXCL | os.O_TRUNC
"""Flags of the original `open` that are left out when the file is reopened."""


class HeldFile(NamedTuple):
    """A file or folder below a mount point that the process has open or mapped."""

    path: str
    """Its path as the kernel reports it."""
    mount_point: str
    """The mount point that it is below."""
    file_type: int
    """`S_IFREG` for a regular file, `S_IFDIR` for a folder."""
    inode: int
    has_path: bool
    """Whether the file still has its path; a deleted file has none."""


class Descriptor(NamedTuple):
    """An open file or folder below a mount point."""

    number: int
    held: HeldFile
    flags: int
    position: int
    shares_with: int | None = None
    """A lower descriptor that shares its open file description, and so its offset."""

    @property
    def writable(self) -> bool:
        """Return whether the descriptor is open for writing."""
        return self.flags & os.O_ACCMODE != os.O_RDONLY


class Mapping(NamedTuple):
    """A shared memory mapping of part of a file below a mount point."""

    start: int
    length: int
    protection: int
    offset: int
    held: HeldFile

    @property
    def writable(self) -> bool:
        """Return whether the mapping is writable."""
        return bool(self.protection & PROTECTION_BITS["w"])


def mount_point_of(path: str, mount_points: Sequence[str]) -> str | None:
    """Return the innermost mount point that a path is in; None if it is in none."""
    containing = [at for at in mount_points if path == at or path.startswith(f"{at}/")]
    return max(containing, key=len, default=None)


def working_directory(mount_points: Sequence[str]) -> tuple[str, ...]:
    """Return the working directory and its mount point, the fallback; empty if it is in none."""
    try:
        path = os.readlink("/proc/self/cwd")
    except OSError:
        return ()
    mount_point = mount_point_of(path, mount_points)
    return (path, mount_point) if mount_point is not None else ()


def open_below(mount_points: Sequence[str]) -> list[Descriptor]:
    """Return the open files and folders below these mount points."""
    found: list[Descriptor] = []
    with step("list the open descriptors"):
        for number in sorted(map(int, os.listdir("/proc/self/fd"))):
            try:
                path, status = os.readlink(f"/proc/self/fd/{number}"), os.fstat(number)
            except OSError:
                continue  # the descriptor that the folder was read through
            mount_point, file_type = mount_point_of(path, mount_points), stat.S_IFMT(status.st_mode)
            if mount_point is None or file_type not in (stat.S_IFREG, stat.S_IFDIR):
                continue
            has_path = not path.endswith(DELETED_SUFFIX) or inode_at(path) == status.st_ino
            held = HeldFile(path, mount_point, file_type, status.st_ino, has_path)
            with open(f"/proc/self/fdinfo/{number}") as file:
                info = dict(line.split(":", 1) for line in file if ":" in line)
            descriptor = Descriptor(number, held, int(info["flags"], 8), int(info["pos"]))
            sharing = (other.number for other in found if shares_offset(other, descriptor))
            found.append(descriptor._replace(shares_with=next(sharing, None)))
    return found


def shares_offset(one: Descriptor, other: Descriptor) -> bool:
    """Return whether two descriptors share an offset, as after `dup`. False on older kernels."""
    if (one.held, one.position) != (other.held, other.position):
        return False
    try:
        return fcntl.fcntl(one.number, F_DUPFD_QUERY, other.number) == 1
    except OSError:
        return False


def mappings_below(mount_points: Sequence[str], descriptors: Sequence[Descriptor]) -> list[Mapping]:
    """Return the shared mappings of files below these mount points."""
    found = []
    with step("read the memory mappings"):
        for each in shared_mappings():
            mount_point = mount_point_of(each.path, mount_points)
            if mount_point is None:
                continue
            has_path = not each.path.endswith(DELETED_SUFFIX) or inode_at(each.path) is not None
            # An overlay can report two inode numbers for one file. Among deleted files of the same
            # name the inode number decides.
            same_path = [other.held for other in descriptors if other.held.path == each.path]
            same_file = [held for held in same_path if held.inode == each.inode] or same_path
            unopened = HeldFile(each.path, mount_point, stat.S_IFREG, each.inode, has_path)
            held = same_file[0] if same_file else unopened
            found.append(Mapping(each.start, each.length, each.protection, each.offset, held))
    return found


def inode_at(path: str) -> int | None:
    """Return the inode number of a path; None if nothing is there."""
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None


def change_directory(folders: Sequence[str]) -> None:
    """Change to the first of these folders that exists."""
    for last, folder in zip([False, True], folders, strict=False):
        with step("change to the working directory"):
            try:
                os.chdir(folder)
            except (FileNotFoundError, NotADirectoryError):
                if last:
                    raise
            else:
                return


@contextmanager
def paths_in_overlay(
    descriptors: Sequence[Descriptor], mappings: Sequence[Mapping]
) -> Iterator[dict[HeldFile, str]]:
    """Yield a path in the overlay for each held file; temporary paths are removed at the end.

    A file without a path there, because it was deleted or is newer than `lower`, is copied to a
    temporary path.
    """
    paths: dict[HeldFile, str] = {}
    temporary: dict[HeldFile, str] = {}
    with step("copy a file that has no path"):
        for descriptor in descriptors:
            held = descriptor.held
            if held not in paths:
                if not exists_in_overlay(held):
                    temporary[held] = temporary_path(held)
                    copy_open_file(descriptor, temporary[held])
                paths[held] = temporary.get(held, held.path)
        also_open = set(paths)
        for mapping in mappings:
            held = mapping.held
            if held not in also_open:
                if not exists_in_overlay(held):
                    temporary.setdefault(held, temporary_path(held))
                    copy_memory(mapping, temporary[held])
                paths[held] = temporary.get(held, held.path)
    try:
        yield paths
    finally:
        for held, path in temporary.items():
            os.rmdir(path) if held.file_type == stat.S_IFDIR else os.unlink(path)


def exists_in_overlay(held: HeldFile) -> bool:
    """Return whether the overlay has a file of the same type at its path."""
    try:
        return held.has_path and stat.S_IFMT(os.lstat(held.path).st_mode) == held.file_type
    except OSError:
        return False


def temporary_path(held: HeldFile) -> str:
    """Return an unused path below the mount point."""
    return os.path.join(held.mount_point, f".{os.getpid()}-{time.monotonic_ns()}")


def copy_open_file(descriptor: Descriptor, path: str) -> None:
    """Copy an open file, holes included; a folder becomes an empty folder."""
    if descriptor.held.file_type == stat.S_IFDIR:
        os.mkdir(path, 0o700)
        return
    source = os.open(f"/proc/self/fd/{descriptor.number}", os.O_RDONLY)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    status = os.fstat(source)
    os.ftruncate(target, status.st_size)
    position = 0
    while position < status.st_size:
        try:
            position = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # no data after this
        end = os.lseek(source, position, os.SEEK_HOLE)
        while position < end:
            data = os.pread(source, min(end - position, CHUNK_BYTES), position)
            if not data:
                break
            position += os.pwrite(target, data, position)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.close(source)
    os.close(target)


def copy_memory(mapping: Mapping, path: str) -> None:
    """Write a mapped part to a new file: nothing else of the file is left to this process."""
    target = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    written = libc.pwrite(target, mapping.start, mapping.length, mapping.offset)
    check_result("write mapped memory", 0 if written == mapping.length else -1)
    os.close(target)


def copy_up(paths: Iterable[str]) -> None:
    """Open these files for writing, so that overlayfs copies them to the upper layer.

    A reader that was opened before would keep reading the file of the lower layer.
    """
    for path in set(paths):
        with step(f"copy {path} to the upper layer"):
            os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW))


def reopen(descriptors: Sequence[Descriptor], paths: dict[HeldFile, str]) -> None:
    """Reopen the overlay's files under the same descriptor numbers."""
    for each in descriptors:
        inheritable = not each.flags & os.O_CLOEXEC
        with step(f"reopen {each.held.path}"):
            if each.shares_with is not None:
                os.dup2(each.shares_with, each.number, inheritable)
                continue
            regular = each.held.file_type == stat.S_IFREG
            flags = each.flags & ~(CREATION_FLAGS | (os.O_TMPFILE if regular else 0))
            descriptor = os.open(paths[each.held], flags)
            if regular and not flags & os.O_PATH:
                os.lseek(descriptor, each.position, os.SEEK_SET)
            os.dup2(descriptor, each.number, inheritable)
            os.close(descriptor)


def remap(mappings: Sequence[Mapping], paths: dict[HeldFile, str]) -> None:
    """Map the overlay's files at the addresses of the old mappings."""
    for each in mappings:
        with step(f"remap {each.held.path}"):
            flags = os.O_RDWR if each.writable else os.O_RDONLY
            descriptor = os.open(paths[each.held], flags)
            arguments = (each.protection, MAP_SHARED | MAP_FIXED, descriptor, each.offset)
            address = libc.mmap(each.start, each.length, *arguments)
            check_result("mmap", 0 if address == each.start else -1)
            os.close(descriptor)
