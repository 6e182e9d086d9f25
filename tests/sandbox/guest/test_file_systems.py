"""Full disks and mounted file systems."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_env.sandbox.guest.file_tree import empty_folder
from kernel_env.sandbox.guest.snapshots import SnapshotStore
from support.snapshots import (
    ROOTS,
    WS,
    needs_linux,
    needs_root,
    read_tree,
)


@needs_root
@needs_linux
@pytest.mark.parametrize("options", ["size=1m", "size=9m,nr_inodes=20"])
def test_full_disk_leaves_the_store_unchanged(options: str, tmpfs: Callable[..., Path]) -> None:
    folder = tmpfs("store", options)
    store = SnapshotStore("store")
    for n in range(10):
        (WS / f"{n}").write_bytes(b"x" * 50_000)
    store.take("1", ROOTS)
    stored, before = read_tree(WS), os.statvfs(folder)
    for n in range(10, 40):
        (WS / f"{n}").write_bytes(b"x" * 50_000)

    with pytest.raises(
        OSError, match=r"'\d+' \(50000 bytes\) could not be stored: No space"
    ) as rejected:
        store.take("2", ROOTS, prior="1")
    after = os.statvfs(folder)
    store.restore("1", ROOTS)

    assert rejected.value.errno == errno.ENOSPC
    assert store.names == ["1"]
    assert (after.f_bfree, after.f_ffree) == (before.f_bfree, before.f_ffree)
    assert read_tree(WS) == stored


@needs_root
@needs_linux
def test_restore_works_on_a_full_disk(tmpfs: Callable[..., Path]) -> None:
    files = tmpfs("ws", "size=1m")
    store = SnapshotStore("store")
    (files / "a").write_bytes(b"a" * 400_000)
    (files / "b").write_bytes(b"b" * 400_000)
    store.take("1", ROOTS)
    stored = read_tree(files)

    for gone, grown in ("ab", "ba"):
        (files / gone).unlink()
        (files / grown).write_bytes(b"c" * 900_000)
        store.restore("1", ROOTS)

        assert read_tree(files) == stored


@needs_root
@needs_linux
def test_mounted_file_system_is_left_alone(tmpfs: Callable[..., Path]) -> None:
    store = SnapshotStore("store")
    (WS / "a").write_text("a")
    mounted = tmpfs("ws/mounted", "size=1m")
    (mounted / "data").write_text("data")
    done = store.take("1", ROOTS)
    (mounted / "data").write_text("written")

    store.restore("1", ROOTS)
    with pytest.raises(OSError, match="busy"):
        empty_folder("ws")

    assert done == {"copied_bytes": 1, "files": 1}
    assert (mounted / "data").read_text() == "written"
