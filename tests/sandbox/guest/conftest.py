"""Fixtures of the tests of snapshots.

Paths in these tests are relative: each test runs in a folder of its own.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernel_env.sandbox.guest.file_tree import empty_folder
from support.snapshots import WS


@pytest.fixture
def work_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Change to a new folder with an empty `ws`; in memory, as in a container, or on disk."""
    on_disk = getattr(request, "param", "memory") == "disk" or not os.access("/dev/shm", os.W_OK)
    folder = Path(tempfile.mkdtemp(prefix="ke-snapshots-", dir=None if on_disk else "/dev/shm"))
    monkeypatch.chdir(folder)
    WS.mkdir()
    yield folder
    monkeypatch.undo()
    empty_folder(str(folder))
    folder.rmdir()


@pytest.fixture
def tmpfs(work_folder: Path) -> Iterator[Callable[..., Path]]:
    """A function that mounts a small file system, or skips the test."""
    mounted: list[Path] = []

    def mount(name: str, options: str, kind: str = "tmpfs") -> Path:
        folder = work_folder / name
        folder.mkdir(exist_ok=True)
        argv = ["mount", "-t", kind, "-o", options, kind, str(folder)]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"needs to mount a {kind}: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=True)
