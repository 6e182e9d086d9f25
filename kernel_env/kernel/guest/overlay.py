"""Move a forked process into a mount namespace with a copy-on-write overlay over a frozen folder.

`enter_mount_namespace` creates a user and a mount namespace for the process and mounts an overlay
on each folder: reads come from `lower`, writes go to `upper`. No other process sees the overlay,
and later writes of other processes do not appear in it. Files that the process already holds
still belong to the process it was forked from. They are replaced by files of the overlay:

    the working directory     changed to again by its path
    open files and folders    reopened by their paths, under the same numbers, with the same
                              flags and offset; those that shared an offset share it again
    shared mappings           mapped again at the same address
    files without a path      (deleted while open) copied; they stay without a path

At the end the process drops every capability that the namespace gave it. A process in which a
step failed has an incomplete overlay: end it.

    enter_mount_namespace([{"at": "/workspace", "lower": "/snapshots/trees/7/0",
                            "upper": "/snapshots/branches/3/0/upper",
                            "work": "/snapshots/branches/3/0/work"}])

`lower` must not change while an overlay is mounted over it, and must hold what the process saw at
`at`. Overlays nest: a process in an overlay can fork a child that enters another one, over another
folder, up to the kernel's limit of 33 nested user namespaces.

Not protected, not carried over:
  - forks are protected from each other's files, not from each other: processes of one user
    can end one another, and can write to `lower` and `upper` by their own paths;
  - code can create another namespace. It has capabilities inside, over nothing outside;
  - a private mapping keeps the old file's pages until they are written; memory that is shared
    without a file at `at` (multiprocessing, /dev/shm) stays shared; so do pipes and sockets;
  - locks (flock, fcntl) are not acquired again, an iteration over an open folder starts again,
    and before Linux 6.10 descriptors that shared an offset get one each;
  - overlayfs itself: renaming a folder of the lower layer fails with EXDEV (`shutil.move`
    and mv copy it then), a file opened for reading does not see what is later written through
    another descriptor that was the first to write, and inode numbers differ from those before
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
    change_directory,
    copy_up,
    mappings_below,
    open_below,
    paths_in_overlay,
    remap,
    reopen,
    working_directory,
)
from .syscalls import LINUX, check_result, libc, set_accessible, step

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_NOSUID, MS_NODEV = 2, 4
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
CAP_SETFCAP, MAX_CAPABILITIES = 31, 64
CAPABILITY_VERSION = 0x20080522


class Layer(TypedDict):
    """One overlay mount: four absolute paths. `upper` and `work` are created."""

    at: str
    lower: str
    upper: str
    work: str


def enter_mount_namespace(layers: Sequence[Layer]) -> None:
    """Move this process into a mount namespace with an overlay at each layer's `at`.

    The process must have a single thread; call it right after a fork. Raises `OSError` naming the
    step that failed.
    """
    mount_points = [os.path.realpath(layer["at"]) for layer in layers]
    folders, descriptors = working_directory(mount_points), open_below(mount_points)
    mappings = mappings_below(mount_points, descriptors)
    unshare_namespaces()
    for layer in layers:
        mount_overlay(layer)
    change_directory(folders)
    with paths_in_overlay(descriptors, mappings) as paths:
        held: list[Descriptor | Mapping] = [*descriptors, *mappings]
        copy_up(paths[each.held] for each in held if each.writable)
        reopen(descriptors, paths)
        remap(mappings, paths)
    drop_capabilities()


def unavailable_reason(folder: str) -> str | None:
    """Return why overlays are unavailable for files below this folder; None if they work.

    Tries it in a child process, in a new folder below it that is removed again.
    """
    if not LINUX:
        return f"{sys.platform} has no mount namespaces"
    root = os.path.join(folder, f".overlay-{os.getpid()}-{time.monotonic_ns()}")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            reason = probe(root)
        except BaseException as error:  # noqa: BLE001 - any error is the reason
            reason = (isinstance(error, OSError) and error.strerror) or repr(error)
        os.write(writing, reason.encode(errors="replace")[:4096])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        reason = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    remove_tree(root)
    return reason or (f"the probe process ended with status {status}" if status else None)


def probe(root: str) -> str:
    """Enter an overlay and use it. Returns what went wrong; empty if nothing did."""
    at, lower, upper, work = (os.path.join(root, n) for n in ("at", "lower", "upper", "work"))
    with step("write a file"):
        os.makedirs(at)
        os.makedirs(f"{lower}/folder")
        for path in (f"{lower}/file", f"{lower}/folder/file"):
            with open(path, "w") as file:
                file.write("lower")
    enter_mount_namespace([{"at": at, "lower": lower, "upper": upper, "work": work}])
    with step("use the overlay"):
        with open(f"{at}/file", "a") as file:
            file.write(" and upper")
        os.unlink(f"{at}/folder/file")
        os.rmdir(f"{at}/folder")
        os.mkdir(f"{at}/folder")
        with open(f"{at}/file") as file, open(f"{lower}/file") as below:
            if (file.read(), below.read()) != ("lower and upper", "lower"):
                return "the overlay is not copy-on-write"
        if os.listdir(f"{at}/folder"):  # needs extended attributes: tmpfs since Linux 6.6
            return "a recreated folder shows its deleted entries"
    return ""


def remove_tree(root: str) -> None:
    """Delete a folder that overlays were mounted in; overlayfs leaves one without permissions."""
    for where, folders, files in os.walk(root):
        for name in folders:
            os.chmod(os.path.join(where, name), 0o700)
        for name in files:
            os.unlink(os.path.join(where, name))
    for where, _, _ in os.walk(root, topdown=False):
        os.rmdir(where)


def unshare_namespaces() -> None:
    """Enter a new mount namespace, in a user namespace that knows this process's user only."""
    set_accessible(True)  # otherwise these files cannot be written
    user, group = os.geteuid(), os.getegid()
    check_result("unshare", libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with step(f"write {name}"), open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def mount_overlay(layer: Layer) -> None:
    """Mount one overlay. The upper folder gets the mode of the lower one."""
    with step("create the folders of the overlay"):
        os.makedirs(layer["upper"], exist_ok=True)
        os.makedirs(layer["work"], exist_ok=True)
        os.chmod(layer["upper"], stat.S_IMODE(os.stat(layer["lower"]).st_mode))
    folders = {"lowerdir": layer["lower"], "upperdir": layer["upper"], "workdir": layer["work"]}
    options = ",".join(
        [*(f"{name}={escape_option(path)}" for name, path in folders.items()), "userxattr"]
    )
    where, data = os.fsencode(layer["at"]), os.fsencode(options)
    mounted = libc.mount(b"overlay", where, b"overlay", MS_NOSUID | MS_NODEV, data)
    check_result(f"mount an overlay at {layer['at']}", mounted)


def escape_option(path: str) -> str:
    """Escape a path for the mount options of overlayfs, which colons and commas separate."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def drop_capabilities() -> None:
    """Drop every capability for good.

    Root keeps one over its own namespace, to set capabilities of files. Without it the kernel
    refuses root a further namespace.
    """
    kept = 1 << CAP_SETFCAP if os.geteuid() == 0 else 0
    for capability in range(MAX_CAPABILITIES):
        if not kept >> capability & 1 and libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            break  # the kernel knows no higher capability
    check_result(
        "clear capabilities", libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    )
    check_result("set no_new_privs", libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    head = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)(kept, kept)  # effective, permitted, inheritable; upper halves
    check_result("drop capabilities", libc.capset(head, sets))
