"""Lower layers of overlays made from snapshots, and snapshots of such overlays."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_env.sandbox.guest.snapshots import SnapshotStore
from support.snapshots import (
    ROOTS,
    WS,
    blob_count,
    for_each_user,
    needs_linux,
    needs_root,
    read_tree,
)


@for_each_user
def test_lower_layer_has_modes_and_times_of_its_snapshot() -> None:
    store = SnapshotStore("store")
    (WS / "a").write_text("a")
    (WS / "a").chmod(0o640)
    os.utime(WS / "a", ns=(5, 1_000_000_001))
    store.take("1", ROOTS)
    (WS / "a").chmod(0o555)
    os.utime(WS / "a", ns=(5, 2_000_000_002))
    store.take("2", ROOTS, prior="1")

    store.create_lower("1", "one")
    store.create_lower("2", "two")
    one, two = Path("one/0/a").stat(), Path("two/0/a").stat()

    assert (stat.S_IMODE(one.st_mode), one.st_mtime_ns) == (0o640, 1_000_000_001)
    assert (stat.S_IMODE(two.st_mode), two.st_mtime_ns) == (0o555, 2_000_000_002)
    assert one.st_nlink == two.st_nlink == 2


@for_each_user
def test_incomplete_lower_layer_is_removed() -> None:
    store = SnapshotStore("store")
    store.take("1", ["ws", "ws"])
    Path("tree/1").mkdir(parents=True)

    with pytest.raises(FileExistsError):
        store.create_lower("1", "tree")

    assert os.listdir("tree") == ["1"]


@for_each_user
def test_roots_known_to_equal_a_snapshot_are_not_copied() -> None:
    store = SnapshotStore("store")
    for name in "abc":
        (WS / name).write_text(name)
    store.take("1", ROOTS)
    shutil.copytree("ws", "copy", copy_function=shutil.copy2)
    Path("copy/b").write_text("changed")

    known = store.take("2", ["copy"], same_as="1")
    unchanged = store.take("3", ["copy"], prior="2")

    assert known == {"copied_bytes": 7, "files": 3}
    assert unchanged["copied_bytes"] == 0
    assert blob_count() == 4


@needs_root
@needs_linux
def test_snapshot_of_an_overlay_copies_only_what_was_written(tmpfs: Callable[..., Path]) -> None:
    store = SnapshotStore(f"{tmpfs('store', 'size=9m')}/of")
    for name in "abc":
        (WS / name).write_text(name)
    store.take("1", ROOTS)
    store.create_lower("1", "store/tree")
    upper = tmpfs("upper", "size=9m")
    (upper / "files").mkdir()
    (upper / "work").mkdir()
    layers = f"userxattr,lowerdir=store/tree/0,upperdir={upper}/files,workdir={upper}/work"
    overlay = tmpfs("branch", layers, "overlay")

    known = store.take("b1", [str(overlay)], same_as="1")
    store.create_lower("1", "store/another")  # new links move the ctimes
    unchanged = store.take("b2", [str(overlay)], prior="b1")
    (overlay / "a").write_text("written")
    (overlay / "b").unlink()
    written = store.take("b3", [str(overlay)], prior="b2")
    restored = store.restore("b1", [str(overlay)])

    assert known == unchanged == {"copied_bytes": 0, "files": 3}
    assert written == {"copied_bytes": 7, "files": 2}
    assert restored == {"copied_bytes": 2, "changed": 2}
    assert read_tree(overlay) == read_tree(WS) == read_tree(Path("store/tree/0"))
