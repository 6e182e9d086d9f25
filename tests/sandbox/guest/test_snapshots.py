"""What a snapshot copies, and which snapshots exist."""

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_env.sandbox.guest import snapshots
from kernel_env.sandbox.guest.file_tree import empty_folder
from kernel_env.sandbox.guest.snapshots import SnapshotStore
from support.snapshots import (
    ROOTS,
    WS,
    blob_count,
    for_each_user,
    needs_linux,
    read_tree,
)


@for_each_user
def test_only_changed_files_are_copied() -> None:
    store = SnapshotStore("store")
    for n in range(20):
        (WS / f"{n}").write_bytes(b"x" * 100)
    first = store.take("1", ROOTS)
    (WS / "3").write_bytes(b"y" * 70)

    same = store.take("2", ROOTS, prior="1")
    unchanged = store.take("3", ROOTS, prior="2")

    assert first == {"copied_bytes": 2000, "files": 20}
    assert same == {"copied_bytes": 70, "files": 20}
    assert unchanged == {"copied_bytes": 0, "files": 20}
    assert blob_count() == 21


@for_each_user
def test_restore_touches_only_what_differs() -> None:
    store = SnapshotStore("store")
    (WS / "kept").write_bytes(b"kept")
    (WS / "written").write_bytes(b"before")
    store.take("1", ROOTS)
    inode, ctime = (WS / "written").stat().st_ino, (WS / "kept").stat().st_ctime_ns
    (WS / "written").write_bytes(b"after!")

    done = store.restore("1", ROOTS)

    assert done == {"copied_bytes": 6, "changed": 1}
    assert (WS / "written").read_bytes() == b"before"
    assert (WS / "written").stat().st_ino == inode
    assert (WS / "kept").stat().st_ctime_ns == ctime
    assert store.take("2", ROOTS, prior="1")["copied_bytes"] == 0


@for_each_user
def test_times_are_restored() -> None:
    store = SnapshotStore("store")
    (WS / "folder").mkdir()
    (WS / "folder/file").write_text("before")
    (WS / "link").symlink_to("folder")
    paths = [WS / "folder/file", WS / "link", WS / "folder", WS]
    for n, path in enumerate(paths):
        os.utime(path, ns=(0, 1_000_000_007 * (n + 1)), follow_symlinks=False)
    store.take("1", ROOTS)
    (WS / "folder/file").write_text("after")
    (WS / "link").unlink()
    (WS / "folder/new").write_text("new")

    store.restore("1", ROOTS)
    store.create_lower("1", "tree")
    times = [path.lstat().st_mtime_ns for path in paths]
    shown = [(Path("tree/0") / path.relative_to(WS)).lstat().st_mtime_ns for path in paths]

    assert times == shown == [1_000_000_007 * (n + 1) for n in range(4)]


@for_each_user
def test_deletion_is_noticed_despite_unchanged_mtime() -> None:
    store = SnapshotStore("store")
    (WS / "a").write_text("a")
    (WS / "b").write_text("b")
    old = WS.stat().st_mtime_ns
    store.take("1", ROOTS)
    (WS / "a").unlink()
    os.utime(WS, ns=(old, old))

    store.take("2", ROOTS, prior="1")
    store.create_lower("2", "tree")

    assert os.listdir("tree/0") == ["b"]


@for_each_user
def test_write_is_noticed_despite_unchanged_size_and_mtime() -> None:
    store = SnapshotStore("store")
    (WS / "a").write_bytes(b"12345")
    old = (WS / "a").stat().st_mtime_ns
    store.take("1", ROOTS)

    (WS / "a").write_bytes(b"54321")
    os.utime(WS / "a", ns=(old, old))
    done = store.take("2", ROOTS, prior="1")

    assert done["copied_bytes"] == 5


@for_each_user
def test_restoring_an_older_snapshot_keeps_later_ones_valid() -> None:
    store = SnapshotStore("store")
    for n in range(3):
        (WS / "a").write_text(f"content {n}")
        (WS / f"only{n}").mkdir()
        store.take(str(n), ROOTS, prior=str(n - 1) if n else None)
    last = read_tree(WS)

    store.restore("0", ROOTS)
    oldest = read_tree(WS)
    store.restore("2", ROOTS)
    latest = read_tree(WS)
    store.restore("0", ROOTS)

    assert set(oldest) == {".", "a", "only0"}
    assert oldest["a"][2] == b"content 0"
    assert latest == last
    assert read_tree(WS) == oldest


@for_each_user
def test_several_roots_are_stored_together() -> None:
    store = SnapshotStore("store")
    Path("home").mkdir()
    (WS / "a").write_text("workspace")
    Path("home/a").write_text("home")
    store.take("1", ["ws", "home"])
    empty_folder("ws")
    empty_folder("home")

    store.restore("1", ["ws", "home"])
    store.create_lower("1", "tree")

    assert (WS / "a").read_text() == Path("tree/0/a").read_text() == "workspace"
    assert Path("home/a").read_text() == Path("tree/1/a").read_text() == "home"
    with pytest.raises(OSError, match="has 2 roots, not 1"):
        store.restore("1", ["ws"])


@for_each_user
def test_deleting_a_snapshot_deletes_unused_blobs() -> None:
    store = SnapshotStore("store")
    (WS / "shared").write_text("shared")
    (WS / "a").write_text("one")
    store.take("1", ROOTS)
    (WS / "a").write_text("two")
    store.take("2", ROOTS, prior="1")
    store.create_lower("1", "tree")

    store.delete("1")
    store.delete("1")
    left = blob_count()
    store.delete("2")

    assert left == 2
    assert blob_count() == 0
    assert store.names == []
    assert Path("tree/0/a").read_text() == "one"


@for_each_user
def test_missing_snapshots_and_roots_raise_os_error() -> None:
    store = SnapshotStore("store")
    store.take("1", ROOTS)

    for fail in (
        lambda: store.take("2", ROOTS, prior="none"),
        lambda: store.take("2", ROOTS, same_as="none"),
        lambda: store.take("2", ["ws", "elsewhere"]),
        lambda: store.restore("none", ROOTS),
        lambda: store.create_lower("none", "tree"),
    ):
        with pytest.raises(OSError, match=r"no snapshot|No such file"):
            fail()

    assert store.names == ["1"]
    assert blob_count() == 0


@for_each_user
def test_new_store_deletes_blobs_of_an_earlier_one() -> None:
    (WS / "a").write_text("a")
    SnapshotStore("store").take("1", ROOTS)

    store = SnapshotStore("store")

    assert store.names == []
    assert blob_count() == 0


@needs_linux
@for_each_user
def test_roots_can_be_paths_through_proc() -> None:
    store = SnapshotStore("store")
    (WS / "a").write_text("a")
    path = f"/proc/{os.getpid()}/cwd/ws"

    done = store.take("1", [path])
    (WS / "a").write_text("b")
    store.restore("1", [path])

    assert done["files"] == 1
    assert (WS / "a").read_text() == "a"


def test_guest_package_imports_little() -> None:
    folder = Path(snapshots.__file__).parents[1]
    heavy = ["kernel_env", "site", "pathlib", "shutil", "dataclasses", "tempfile", "threading"]
    program = f"import sys; sys.path[:0] = [{str(folder)!r}]; from guest import snapshots; "
    program += f"print([name for name in {heavy} if name in sys.modules])"

    argv = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_mapped_file_never_counts_as_unchanged(work_folder: Path) -> None:
    store, path, names = SnapshotStore("store"), Path("ws/mapped"), frozenset(["mapped"])
    path.write_bytes(b"0" * 8192)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0] = ord("1")
        store.take("a", ["ws"], mapped=names)
        memory[1] = ord("2")  # the page is writable already: nothing is noted
        store.take("b", ["ws"], prior="a", mapped=names)
        memory[2] = ord("3")

        store.restore("b", ["ws"])
        later = path.read_bytes()[:4]
        store.restore("a", ["ws"])
        earlier = path.read_bytes()[:4]

        assert (later, earlier) == (b"1200", b"1000")
