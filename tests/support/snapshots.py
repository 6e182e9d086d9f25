"""Run tests of snapshots as several users, and read whole folders for comparison."""

import os
import stat
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

NOBODY = 65534
WS = Path("ws")
"""The workspace, relative to the test's current folder."""
ROOTS = ["ws"]
Tree = dict[str, tuple[str, int, bytes]]
"""Kind, mode, and content or link target by path."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user, or a mount")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")


def for_each_user(test: Callable[[], None]) -> Callable[..., None]:
    """Run a test as the current user and, if that is root, as an ordinary user too.

    Root ignores file modes; a mode of 0 only stops an ordinary user.
    """

    @pytest.mark.parametrize(
        "user", [None, pytest.param(NOBODY, marks=needs_root)], ids=["current", "nobody"]
    )
    def run(work_folder: Path, user: int | None) -> None:
        if user is None:
            test()
        else:
            os.chown(WS, user, user)
            os.chown(".", user, user)
            run_as(user, test)

    run.__name__ = test.__name__
    return run


def run_as(user: int, body: Callable[[], None]) -> None:
    """Run `body` in a child process of another user; its failure becomes one of the caller."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            body()
            code = 0
        except BaseException:  # noqa: BLE001 - reported to the parent, which fails
            os.write(writing, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        report = file.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, report or f"the child ended with status {status}"


def read_tree(folder: Path) -> Tree:
    """Return the content of a folder, itself included, even without permission to read it."""
    tree: Tree = {}

    def visit(path: Path) -> None:
        s = path.lstat()
        mode, relative = stat.S_IMODE(s.st_mode), str(path.relative_to(folder))
        if path.is_symlink():
            tree[relative] = ("link", 0, os.fsencode(path.readlink()))
        elif stat.S_ISDIR(s.st_mode):
            tree[relative] = ("folder", mode, b"")
            if mode & 0o700 != 0o700:
                path.chmod(mode | 0o700)
            for entry in path.iterdir():
                visit(entry)
            if mode & 0o700 != 0o700:
                path.chmod(mode)
        elif stat.S_ISREG(s.st_mode):
            if not mode & 0o400:
                path.chmod(mode | 0o400)
            tree[relative] = ("file", mode, path.read_bytes())
            if not mode & 0o400:
                path.chmod(mode)
        else:
            tree[relative] = ("other", mode, b"")

    visit(folder)
    return tree


def blob_count() -> int:
    """Return the number of blobs in the store of the current folder."""
    return len(os.listdir("store/blobs"))


def make_nested_folders(folder: str, names: list[str]) -> None:
    """Create nested folders, also beyond the longest path, and a file in the innermost."""
    fd = os.open(folder, os.O_RDONLY)
    for name in names:
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("bottom", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)
