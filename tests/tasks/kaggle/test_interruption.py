"""Check that an interrupted `tasks prepare` stops Kaggle's client and keeps what has arrived."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel_env.tasks import spec
from kernel_env.tasks.prepare import obtain
from support.competition import CUT, FILES, KEPT
from support.files import read_files
from support.kaggle_server import KaggleServer

pytestmark = pytest.mark.kaggle


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def hanging_command(task: Path, part: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `tasks prepare` until the download hangs, with `KEPT` bytes in `part`."""
    argv = [sys.executable, "-m", "kernel_env.cli", "tasks", "prepare", str(task)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as command:
        try:
            wait_until(lambda: part.exists() and part.stat().st_size == KEPT)
            yield command
        finally:
            command.kill()


@pytest.fixture
def part(server: KaggleServer, tmp_path: Path) -> Path:
    """The unfinished archive in the cache; the server hangs while it is sent."""
    server.cut_after, server.hangs = [CUT], True
    return tmp_path / "cache" / "kaggle" / "titanic.partial" / "titanic.zip.part"


def test_killing_the_command_ends_the_client_and_keeps_the_download(
    ships: Path, server: KaggleServer, part: Path
) -> None:
    with hanging_command(ships, part) as command:
        (client,) = children(command.pid)
        command.send_signal(signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{client}").exists())
    server.hangs = False
    task = obtain(spec.load(ships))

    assert read_files(task.raw) == FILES
    assert server.downloads() == ["", "", f"bytes={KEPT}-"]


def test_an_interrupted_command_explains_how_to_resume(ships: Path, part: Path) -> None:
    with hanging_command(ships, part) as command:
        command.send_signal(signal.SIGINT)
        _, stderr = command.communicate()

    assert command.returncode == 130
    assert stderr == (
        "titanic: downloading\n"
        "error: interrupted; downloaded data is kept, run the command again to resume\n"
    )
    assert part.stat().st_size == KEPT
