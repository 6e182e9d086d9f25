"""Restoring files that running programs have open, mapped or linked."""

import mmap
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from kernel_env.sandbox.guest.snapshots import SnapshotStore
from support.snapshots import (
    ROOTS,
    WS,
    for_each_user,
    needs_linux,
)


@for_each_user
def test_open_descriptor_stays_valid_after_a_restore() -> None:
    store = SnapshotStore("store")
    (WS / "log").write_bytes(b"before\n")
    with (WS / "log").open("r+b", buffering=0) as file:
        store.take("1", ROOTS)
        file.write(b"lost, and longer than it was\n")

        store.restore("1", ROOTS)
        file.seek(0)
        read = file.read()
        file.write(b"after\n")

    assert read == b"before\n"
    assert (WS / "log").read_bytes() == b"before\nafter\n"


@for_each_user
def test_replaced_file_stays_readable_for_its_reader() -> None:
    store = SnapshotStore("store")
    (WS / "a").write_text("before")
    store.take("1", ROOTS)
    (WS / "new").write_text("another")
    (WS / "new").rename(WS / "a")
    with (WS / "a").open() as file:
        store.restore("1", ROOTS)
        read = file.read()

    assert read == "another"
    assert (WS / "a").read_text() == "before"


@for_each_user
def test_private_mapping_keeps_its_pages_after_a_restore() -> None:
    store = SnapshotStore("store")
    (WS / "array").write_bytes(b"a" * 8192)
    with (
        (WS / "array").open("r+b") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as m,
    ):
        store.take("1", ROOTS)
        m[0:4] = b"mine"
        file.write(b"lost")
        file.flush()

        store.restore("1", ROOTS)
        mapped = m[0:8]

    assert mapped == b"mineaaaa"
    assert (WS / "array").read_bytes() == b"a" * 8192


@needs_linux
@pytest.mark.parametrize("work_folder", ["disk"], indirect=True)  # /dev/shm may be mounted noexec
@for_each_user
def test_running_program_is_created_anew() -> None:
    store = SnapshotStore("store")
    shutil.copy("/bin/sleep", WS / "program")
    store.take("1", ROOTS)
    (WS / "program").chmod(0o700)
    running = subprocess.Popen(["ws/program", "60"])
    try:
        store.restore("1", ROOTS)
    finally:
        running.kill()
        running.wait()

    assert stat.S_IMODE((WS / "program").stat().st_mode) == 0o755
    assert (WS / "program").read_bytes() == Path("/bin/sleep").read_bytes()


@for_each_user
def test_hard_links_are_restored_as_separate_files() -> None:
    store = SnapshotStore("store")
    (WS / "a").write_text("both")
    (WS / "b").hardlink_to(WS / "a")
    store.take("1", ROOTS)
    (WS / "a").write_text("lost")
    (WS / "c").hardlink_to(WS / "a")

    store.restore("1", ROOTS)
    again = store.restore("1", ROOTS)
    (WS / "a").write_text("only a")

    assert again["changed"] == 0
    assert (WS / "b").read_text() == "both"
    assert not (WS / "c").exists()
