"""Give a process that was just forked files of its own: a copy-on-write view over a frozen folder.

`enter` moves the process into a user and a mount namespace of its own and lays an overlay
over each folder: it reads `lower`, its writes go to `upper`. Nobody else sees the view, and
nobody's later writes are seen in it. What the process already holds then still points
to the files of the process it was forked from; it is made to point to the view's:

    the working directory     entered again by its path
    open files and folders    opened again by their paths, at the same numbers, with the same
                              flags and offset; those that shared an offset share it again
    shared mappings           mapped again at the same address
    files without a name      (deleted while open) copied; they stay without a name

In the end every capability that the namespace gave is dropped. A process that
failed half-way has half a view: end it.

    enter([{"at": "/workspace", "lower": "/snapshots/trees/7/0",
            "upper": "/snapshots/branches/3/0/upper", "work": "/snapshots/branches/3/0/work"}])

`lower` must not change while a view is over it, and must hold what the process saw at `at`.
Views nest: a process in a view may fork a child that enters another one, over another folder,
down to the kernel's limit of 33 user namespaces in one another.

Not protected, not carried over:
  - branches are kept from each other's files, not from each other: processes of one user
    may end one another, and may write to `lower` and `upper` by their own paths;
  - code may make itself another namespace. It has capabilities inside, over nothing outside;
  - a private mapping keeps the old file's pages until they are written; memory that is shared
    without a file at `at` (multiprocessing, /dev/shm) stays shared; so do pipes and sockets;
  - locks (flock, fcntl) are not taken again, an iteration over an open folder starts again,
    and before Linux 6.10 descriptors that shared an offset get one each;
  - of an overlay's own: renaming a folder of the lower layer fails with EXDEV (`shutil.move`
    and mv copy it then), a file opened for reading does not see what is later written through
    another descriptor that was the first to write, and inode numbers are not those of before
    (an SQLite connection notices, and must be opened again before it writes).
"""

import ctypes
import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypedDict

LINUX = sys.platform == "linux"
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_NOSUID, MS_NODEV = 2, 4
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
CAP_SETFCAP, CAPABILITIES = 31, 64
CAPABILITY_VERSION = 0x20080522
F_DUPFD_QUERY = 1024 + 3
"""Do two descriptors share one opening? Linux 6.10 and newer."""
PROT = {"r": 1, "w": 2, "x": 4}
MAP_SHARED, MAP_FIXED = 0x01, 0x10
DELETED = " (deleted)"
COPY_BYTES = 1 << 20
ONCE = os.O_CREAT | os.O_EXCL | os.O_TRUNC
"""What is asked of an opening, and not again when it is repeated."""

libc = ctypes.CDLL(None, use_errno=True)
if LINUX:
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mount.argtypes = [*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p]
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    libc.pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
    libc.pwrite.restype = ctypes.c_ssize_t


class Layer(TypedDict):
    """One folder that becomes a view: four absolute paths. `upper` and `work` are made."""

    at: str
    lower: str
    upper: str
    work: str


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


def enter(layers: Sequence[Layer]) -> None:
    """Give this process a view of its own at each layer's `at`. Raises `OSError` naming the step.

    The process must have a single thread; it is best done right after a fork.
    """
    places = [os.path.realpath(layer["at"]) for layer in layers]
    folders, descriptors = working_folder(places), opened(places)
    mappings = mapped(places, descriptors)
    separate()
    for layer in layers:
        lay(layer)
    change(folders)
    with standing_in(descriptors, mappings) as paths:
        held: list[Descriptor | Mapping] = [*descriptors, *mappings]
        copy_up(paths[each.held] for each in held if each.writes)
        reopen(descriptors, paths)
        remap(mappings, paths)
    drop()


def possible(folder: str) -> str | None:
    """Why `enter` would not work for files below this folder, in words; None when it works.

    Tried out in a child process, in a new folder below it, which is removed again.
    """
    if not LINUX:
        return f"{sys.platform} has no mount namespaces"
    root = os.path.join(folder, f".overlay-{os.getpid()}-{time.monotonic_ns()}")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            reason = attempt(root)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the reason
            reason = (isinstance(error, OSError) and error.strerror) or repr(error)
        os.write(writing, reason.encode(errors="replace")[:4096])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    remove(root)
    return said or (f"the attempt ended with status {status}" if status else None)


def attempt(root: str) -> str:
    """Enter a view over a folder and use it; what went wrong, empty when nothing did."""
    at, lower, upper, work = (os.path.join(root, n) for n in ("at", "lower", "upper", "work"))
    with step("write a file"):
        os.makedirs(at)
        os.makedirs(f"{lower}/folder")
        for path in (f"{lower}/file", f"{lower}/folder/file"):
            with open(path, "w") as file:
                file.write("lower")
    enter([{"at": at, "lower": lower, "upper": upper, "work": work}])
    with step("use the view"):
        with open(f"{at}/file", "a") as file:
            file.write(" and upper")
        os.unlink(f"{at}/folder/file")
        os.rmdir(f"{at}/folder")
        os.mkdir(f"{at}/folder")
        with open(f"{at}/file") as file, open(f"{lower}/file") as below:
            if (file.read(), below.read()) != ("lower and upper", "lower"):
                return "the view is not copy-on-write"
        if os.listdir(f"{at}/folder"):  # it takes extended attributes, which tmpfs has since 6.6
            return "a folder that is made again shows what was deleted in it"
    return ""


def remove(root: str) -> None:
    """Delete a folder with a view's folders in it; overlayfs leaves one that nobody may enter."""
    for where, folders, files in os.walk(root):
        for name in folders:
            os.chmod(os.path.join(where, name), 0o700)
        for name in files:
            os.unlink(os.path.join(where, name))
    for where, _, _ in os.walk(root, topdown=False):
        os.rmdir(where)


# ── what the process holds ────────────────────────────────────────────────────────────────


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


# ── the view ──────────────────────────────────────────────────────────────────────────────


def separate() -> None:
    """Into a user namespace that knows this process's user only, and a mount namespace."""
    user, group = os.geteuid(), os.getegid()
    call("unshare", libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with step(f"write {name}"), open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def lay(layer: Layer) -> None:
    """Mount one view. The folder of its writes gets the mode of the one it reads."""
    with step("make the folders of the view"):
        os.makedirs(layer["upper"], exist_ok=True)
        os.makedirs(layer["work"], exist_ok=True)
        os.chmod(layer["upper"], stat.S_IMODE(os.stat(layer["lower"]).st_mode))
    folders = {"lowerdir": layer["lower"], "upperdir": layer["upper"], "workdir": layer["work"]}
    options = ",".join(
        [*(f"{name}={escaped(path)}" for name, path in folders.items()), "userxattr"]
    )
    where, data = os.fsencode(layer["at"]), os.fsencode(options)
    mounted = libc.mount(b"overlay", where, b"overlay", MS_NOSUID | MS_NODEV, data)
    call(f"mount an overlay at {layer['at']}", mounted)


def escaped(path: str) -> str:
    """A path as overlayfs takes it: colons and commas separate."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def drop() -> None:
    """Give up every capability for good.

    Root keeps one, over its own namespace: to set capabilities of files. Without it, the kernel
    refuses root a further namespace.
    """
    kept = 1 << CAP_SETFCAP if os.geteuid() == 0 else 0
    for capability in range(CAPABILITIES):
        if not kept >> capability & 1 and libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            break  # the kernel knows no more of them
    call("clear capabilities", libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    call("set no_new_privs", libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    head = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)(kept, kept)  # effective, permitted, inheritable; the upper halves
    call("drop capabilities", libc.capset(head, sets))


# ── what was held, found in the view ──────────────────────────────────────────────────────


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


# ── errors ────────────────────────────────────────────────────────────────────────────────


@contextmanager
def step(what: str) -> Iterator[None]:
    """Name the step that an `OSError` comes from."""
    try:
        yield
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(number, f"{what}: {error.strerror or error}", error.filename) from error


def call(what: str, result: int) -> None:
    """Turn the result of a C function into an `OSError` when it says so."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":  # python overlay.py FOLDER: exit code 1 and the reason
    sys.exit(possible(sys.argv[1]))
