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
import os
import stat
import sys
import time
from collections.abc import Sequence
from typing import TypedDict

from .held_files import (
    Descriptor,
    Mapping,
    change,
    copy_up,
    mapped,
    opened,
    remap,
    reopen,
    standing_in,
    working_folder,
)
from .syscalls import LINUX, call, libc, step

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_NOSUID, MS_NODEV = 2, 4
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
CAP_SETFCAP, CAPABILITIES = 31, 64
CAPABILITY_VERSION = 0x20080522


class Layer(TypedDict):
    """One folder that becomes a view: four absolute paths. `upper` and `work` are made."""

    at: str
    lower: str
    upper: str
    work: str


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


# ── errors ────────────────────────────────────────────────────────────────────────────────
