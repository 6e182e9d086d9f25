"""Snapshots of folders that an agent prepared to break them."""

import contextlib
import ctypes
import errno
import itertools
import os
import shutil
import signal
import socket
import stat
from pathlib import Path

import pytest

from kernel_env.sandbox.guest.file_tree import MAX_DEPTH, empty_folder
from kernel_env.sandbox.guest.snapshots import SnapshotStore
from support.snapshots import (
    NOBODY,
    ROOTS,
    WS,
    for_each_user,
    make_nested_folders,
    needs_linux,
    needs_root,
    read_tree,
    run_as,
)


@for_each_user
def test_unreadable_files_are_stored_and_deleted() -> None:
    store = SnapshotStore("store")
    (WS / "secret").write_text("secret")
    (WS / "folder/inner").mkdir(parents=True)
    (WS / "folder/inner/file").write_text("inside")
    for path, mode in (
        ("secret", 0),
        ("folder/inner/file", 0o200),
        ("folder/inner", 0),
        ("folder", 0o100),
    ):
        (WS / path).chmod(mode)
    store.take("1", ROOTS)
    unchanged = store.take("2", ROOTS, prior="1")
    stored = read_tree(WS)
    empty_folder("ws")
    (WS / "new/inner").mkdir(parents=True)
    (WS / "new/inner/file").write_text("new")
    for path in ("new/inner/file", "new/inner", "new", "."):
        (WS / path).chmod(0)

    store.restore("1", ROOTS)
    store.create_lower("1", "tree")

    assert unchanged["copied_bytes"] == 0
    assert stored["secret"] == ("file", 0, b"secret")
    assert stored["folder/inner/file"] == ("file", 0o200, b"inside")
    assert read_tree(WS) == read_tree(Path("tree/0")) == stored


@needs_root
@needs_linux
def test_unreadable_files_are_stored_by_an_undumpable_process(work_folder: Path) -> None:
    def body() -> None:
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE, as init does
        (WS / "secret").write_text("secret")
        (WS / "secret").chmod(0)
        (WS / "folder").mkdir(mode=0)
        done = SnapshotStore("store").take("1", ROOTS)
        empty_folder("ws")

        assert done["copied_bytes"] == 6
        assert os.listdir("ws") == []

    os.chown(".", NOBODY, NOBODY)
    os.chown(WS, NOBODY, NOBODY)

    run_as(NOBODY, body)


@for_each_user
def test_pipes_and_sockets_are_not_opened_or_created() -> None:
    store = SnapshotStore("store")
    os.mkfifo(WS / "old")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("ws/socket")
    os.mkfifo(WS / "lost")
    os.mkfifo(WS / "replaced")
    inode = (WS / "old").stat().st_ino
    done = store.take("1", ROOTS)
    os.mkfifo(WS / "new")
    os.mkfifo(WS / "another")
    (WS / "another").rename(WS / "replaced")
    (WS / "lost").unlink()
    (WS / "lost").write_text("a file now")

    store.restore("1", ROOTS)
    store.create_lower("1", "tree")

    assert done == {"copied_bytes": 0, "files": 0}
    assert sorted(os.listdir("ws")) == ["old", "socket"]
    assert (WS / "old").stat().st_ino == inode
    assert os.listdir("tree/0") == []


@for_each_user
def test_symbolic_links_do_not_lead_outside() -> None:
    store = SnapshotStore("store")
    Path("outside").mkdir()
    Path("outside/precious").write_text("precious")
    (WS / "folder").mkdir()
    (WS / "folder/precious").write_text("mine")
    (WS / "file").write_text("mine")
    (WS / "link").symlink_to("../outside")
    store.take("1", ROOTS)
    stored = read_tree(WS)
    shutil.rmtree(WS / "folder")
    (WS / "folder").symlink_to("../outside")
    (WS / "file").unlink()
    (WS / "file").symlink_to("../outside/precious")
    (WS / "link").unlink()
    (WS / "link").symlink_to("elsewhere")

    done = store.take("2", ROOTS)
    store.restore("1", ROOTS)
    restored = read_tree(WS)
    empty_folder("ws")

    assert done["files"] == 0
    assert restored == stored
    assert os.listdir("ws") == []
    assert Path("outside/precious").read_text() == "precious"


@for_each_user
def test_root_replaced_by_a_link_is_rejected() -> None:
    store = SnapshotStore("store")
    store.take("1", ROOTS)
    Path("outside").mkdir()
    Path("outside/precious").write_text("precious")
    WS.rmdir()
    WS.symlink_to("outside")

    for fail in (
        lambda: store.take("2", ROOTS),
        lambda: store.restore("1", ROOTS),
        lambda: empty_folder("ws"),
    ):
        with pytest.raises(NotADirectoryError):
            fail()

    assert os.listdir("outside") == ["precious"]
    WS.unlink()


@for_each_user
def test_sparse_terabyte_is_neither_read_nor_stored() -> None:
    store = SnapshotStore("store")
    with (WS / "sparse").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"middle")
    done = store.take("1", ROOTS)
    with (WS / "sparse").open("r+b") as file:
        file.write(b"lost")
        file.truncate(1 << 30)

    store.restore("1", ROOTS)
    store.create_lower("1", "tree")

    for path in (WS / "sparse", Path("tree/0/sparse")):
        with path.open("rb") as file:
            start, _, middle = file.read(4), file.seek(1 << 39), file.read(7)
        assert (start, middle) == (b"\0\0\0\0", b"middle\0")
        assert path.stat().st_size == 1 << 40
        assert path.stat().st_blocks < 100
    assert done["copied_bytes"] < 100_000


@for_each_user
def test_names_can_be_any_bytes() -> None:
    store = SnapshotStore("store")
    names = [b"\xff\xfe", b"new\nline", "ü".encode("latin-1"), b"*"]
    for name in names:
        Path(os.fsdecode(b"ws/" + name)).write_bytes(name)
    (WS / "link").symlink_to(os.fsdecode(b"\xff\xfe"))
    store.take("1", ROOTS)
    stored = read_tree(WS)
    empty_folder("ws")

    store.restore("1", ROOTS)

    assert read_tree(WS) == stored
    assert set(names) < set(os.listdir(b"ws"))


@for_each_user
def test_paths_can_exceed_the_system_limit() -> None:
    store = SnapshotStore("store")
    make_nested_folders("ws", ["x" * 250] * 20)
    done = store.take("1", ROOTS)
    empty_folder("ws")

    made = store.restore("1", ROOTS)
    store.create_lower("1", "tree")
    unchanged = store.take("2", ["tree/0"], same_as="1")

    assert done["files"] == unchanged["files"] == 1
    assert made["changed"] == 21


@for_each_user
def test_too_deep_folders_are_rejected_and_deleted() -> None:
    store = SnapshotStore("store")
    make_nested_folders("ws", ["d"] * MAX_DEPTH)
    deepest = store.take("1", ROOTS)
    make_nested_folders("ws", ["e"] * 2000)

    with pytest.raises(OSError, match="nested") as rejected:
        store.take("2", ROOTS, prior="1")
    done = store.restore("1", ROOTS)
    make_nested_folders("ws", ["e"] * 2000)
    empty_folder("ws")

    assert deepest["files"] == 1
    assert rejected.value.errno == errno.ELOOP
    assert done["changed"] == 1
    assert os.listdir("ws") == []
    assert store.names == ["1"]


@for_each_user
def test_deep_folders_without_permissions_are_deleted() -> None:
    fd = os.open("ws", os.O_RDONLY)
    opened = [fd]
    for _ in range(3 * MAX_DEPTH):
        os.mkdir("d", dir_fd=opened[-1])
        opened.append(os.open("d", os.O_RDONLY, dir_fd=opened[-1]))
    for fd in reversed(opened):
        os.fchmod(fd, 0)
        os.close(fd)

    empty_folder("ws")

    assert stat.S_IMODE(WS.stat().st_mode) == 0
    WS.chmod(0o700)
    assert os.listdir("ws") == []


@for_each_user
def test_concurrent_writes_do_not_make_it_fail() -> None:
    store = SnapshotStore("store")
    (WS / "steady").write_text("steady")

    def write_concurrently() -> None:
        for n in itertools.count():
            one, other = WS / f"{n % 17}", WS / f"{n % 7}"
            with contextlib.suppress(OSError):
                match n % 11:
                    case 0 | 1 | 2:
                        (WS / "made").write_bytes(b"x" * (n % 999))
                        (WS / "made").rename(one)
                    case 3:
                        one.rename(other)
                    case 4:
                        one.mkdir()
                    case 5:
                        (one / "inside").mkdir(mode=0o100)
                    case 6:
                        os.mkfifo(one)
                    case 7:
                        one.symlink_to("steady")
                    case 8:
                        empty_folder(str(one))
                    case 9:
                        one.rmdir()
                    case _:
                        one.unlink()

    writer = os.fork()
    if writer == 0:
        try:
            write_concurrently()
        finally:
            os._exit(1)
    try:
        for n in range(150):
            store.take(f"{n}", ROOTS, prior=f"{n - 1}" if n else None)
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    store.take("last", ROOTS, prior="149")
    stored = read_tree(WS)
    empty_folder("ws")

    store.restore("last", ROOTS)

    assert {p: v for p, v in stored.items() if v[0] != "other"} == read_tree(WS)
