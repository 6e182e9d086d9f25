"""Find the files that a process holds open or mapped, and move them into a new mount namespace."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from .syscalls import COPY_BYTES, call, libc, step

MAP_SHARED, MAP_FIXED = 0x01, 0x10
F_DUPFD_QUERY = 1024 + 3
"""Do two descriptors share one opening? Linux 6.10 and newer."""


PROT = {"r": 1, "w": 2, "x": 4}


DELETED = " (deleted)"


ONCE = os.O_CREAT | os.O_EXCL | os.O_TRUNC
"""What is asked of an opening, and not again when it is repeated."""


class Held(NamedTuple):
    """A file or folder below a layer that the process holds, whichever way it does."""

    link: str
    """Where it was, as the kernel tells it."""
    at: str
    """The layer that it is below."""
    kind: int
    """A regular file or a folder: `S_IFREG`, `S_IFDIR`."""
    inode: int
    named: bool
    """Whether it could be found by its path; a deleted file cannot."""


class Descriptor(NamedTuple):
    """An open file or folder below a layer."""

    number: int
    held: Held
    flags: int
    position: int
    twin: int | None = None
    """A lower number that shares its opening, and so its offset."""

    @property
    def writes(self) -> bool:
        """Whether its file may be written through it."""
        return self.flags & os.O_ACCMODE != os.O_RDONLY


class Mapping(NamedTuple):
    """A part of a file below a layer, shared with the file in memory."""

    start: int
    length: int
    protection: int
    offset: int
    held: Held

    @property
    def writes(self) -> bool:
        """Whether the file may be written through it."""
        return bool(self.protection & PROT["w"])


def layer_of(link: str, places: Sequence[str]) -> str | None:
    """The innermost of these folders that a path is in."""
    around = [at for at in places if link == at or link.startswith(f"{at}/")]
    return max(around, key=len, default=None)


def working_folder(places: Sequence[str]) -> tuple[str, ...]:
    """The working directory, and where to go when that is not there. Empty when in no layer."""
    try:
        link = os.readlink("/proc/self/cwd")
    except OSError:
        return ()
    at = layer_of(link, places)
    return (link, at) if at is not None else ()


def opened(places: Sequence[str]) -> list[Descriptor]:
    """The descriptors of files and folders in these folders."""
    found: list[Descriptor] = []
    with step("look at the open descriptors"):
        for number in sorted(map(int, os.listdir("/proc/self/fd"))):
            try:
                link, status = os.readlink(f"/proc/self/fd/{number}"), os.fstat(number)
            except OSError:
                continue  # the one that the list was read from
            at, kind = layer_of(link, places), stat.S_IFMT(status.st_mode)
            if at is None or kind not in (stat.S_IFREG, stat.S_IFDIR):
                continue
            named = not link.endswith(DELETED) or inode_at(link) == status.st_ino
            held = Held(link, at, kind, status.st_ino, named)
            with open(f"/proc/self/fdinfo/{number}") as file:
                facts = dict(line.split(":", 1) for line in file if ":" in line)
            this = Descriptor(number, held, int(facts["flags"], 8), int(facts["pos"]))
            twins = (other.number for other in found if same_opening(other, this))
            found.append(this._replace(twin=next(twins, None)))
    return found


def same_opening(one: Descriptor, other: Descriptor) -> bool:
    """Whether one descriptor was made from the other, by `dup`. Older kernels cannot tell."""
    if (one.held, one.position) != (other.held, other.position):
        return False
    try:
        return fcntl.fcntl(one.number, F_DUPFD_QUERY, other.number) == 1
    except OSError:
        return False


def mapped(places: Sequence[str], descriptors: Sequence[Descriptor]) -> list[Mapping]:
    """The shared mappings of files in these folders."""
    found = []
    with step("look at the mappings"), open("/proc/self/maps", "rb") as file:
        for line in file:
            span, bits, offset, _, inode, *rest = os.fsdecode(line).rstrip("\n").split(None, 5)
            link = rest[0].replace("\\012", "\n") if rest else ""
            at = layer_of(link, places)
            if bits[3] != "s" or at is None:
                continue
            named = not link.endswith(DELETED) or inode_at(link) is not None
            start, end = (int(word, 16) for word in span.split("-"))
            protection = sum(PROT[letter] for letter in bits[:3] if letter != "-")
            held = Held(link, at, stat.S_IFREG, int(inode), named)
            # An overlay may tell two numbers for one file; deleted namesakes are told by theirs.
            same = [each.held for each in descriptors if each.held.link == link]
            held = min(same, key=lambda it: it.inode != int(inode), default=held)
            found.append(Mapping(start, end - start, protection, int(offset, 16), held))
    return found


def inode_at(path: str) -> int | None:
    """The inode number that a path leads to now."""
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None


def change(folders: Sequence[str]) -> None:
    """Into the first of these folders that is there."""
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
def standing_in(
    descriptors: Sequence[Descriptor], mappings: Sequence[Mapping]
) -> Iterator[dict[Held, str]]:
    """A path in the view for all that is held, for as long as this lasts.

    What has none there, because it was deleted or is newer than `lower`, is copied to a new one.
    """
    paths: dict[Held, str] = {}
    copies: dict[Held, str] = {}
    with step("copy a file that has no name"):
        for descriptor in descriptors:
            held = descriptor.held
            if held not in paths:
                if not is_there(held):
                    copies[held] = new_path(held)
                    copy(descriptor, copies[held])
                paths[held] = copies.get(held, held.link)
        opened_too = set(paths)
        for mapping in mappings:
            held = mapping.held
            if held not in opened_too:
                if not is_there(held):
                    copies.setdefault(held, new_path(held))
                    copy_memory(mapping, copies[held])
                paths[held] = copies.get(held, held.link)
    try:
        yield paths
    finally:
        for held, path in copies.items():
            os.rmdir(path) if held.kind == stat.S_IFDIR else os.unlink(path)


def is_there(held: Held) -> bool:
    """Whether the view has something of its kind at its path."""
    try:
        return held.named and stat.S_IFMT(os.lstat(held.link).st_mode) == held.kind
    except OSError:
        return False


def new_path(held: Held) -> str:
    """A path in the layer that nothing is at."""
    return os.path.join(held.at, f".{os.getpid()}-{time.monotonic_ns()}")


def copy(descriptor: Descriptor, path: str) -> None:
    """Make a file like the one that is open, holes included; of a folder, an empty one."""
    if descriptor.held.kind == stat.S_IFDIR:
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
            data = os.pread(source, min(end - position, COPY_BYTES), position)
            if not data:
                break
            position += os.pwrite(target, data, position)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.close(source)
    os.close(target)


def copy_memory(mapping: Mapping, path: str) -> None:
    """Put the part of a file that is mapped into a file: all that is left of it to this process."""
    target = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    written = libc.pwrite(target, mapping.start, mapping.length, mapping.offset)
    call("write what is mapped", 0 if written == mapping.length else -1)
    os.close(target)


def copy_up(paths: Iterable[str]) -> None:
    """Have the view copy these files to its own layer: a reader must not be left on the old one."""
    for path in set(paths):
        with step(f"copy {path} to its own layer"):
            os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW))


def reopen(descriptors: Sequence[Descriptor], paths: dict[Held, str]) -> None:
    """Put openings of the view's files at the same numbers."""
    for each in descriptors:
        inheritable = not each.flags & os.O_CLOEXEC
        with step(f"open {each.held.link} again"):
            if each.twin is not None:
                os.dup2(each.twin, each.number, inheritable)
                continue
            regular = each.held.kind == stat.S_IFREG
            flags = each.flags & ~(ONCE | (os.O_TMPFILE if regular else 0))
            descriptor = os.open(paths[each.held], flags)
            if regular and not flags & os.O_PATH:
                os.lseek(descriptor, each.position, os.SEEK_SET)
            os.dup2(descriptor, each.number, inheritable)
            os.close(descriptor)


def remap(mappings: Sequence[Mapping], paths: dict[Held, str]) -> None:
    """Map the view's files where the old ones are mapped."""
    for each in mappings:
        with step(f"map {each.held.link} again"):
            flags = os.O_RDWR if each.writes else os.O_RDONLY
            descriptor = os.open(paths[each.held], flags)
            how = (each.protection, MAP_SHARED | MAP_FIXED, descriptor, each.offset)
            where = libc.mmap(each.start, each.length, *how)
            call("mmap", 0 if where == each.start else -1)
            os.close(descriptor)
