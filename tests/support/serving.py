"""Offer the tiny task to clients, and count what a server has left behind."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from kernel_env.serve.offer import Offer, offer_of
from kernel_env.serve.sessions import Limits, Session, Sessions

SLEEP = {"code": "import time\ntime.sleep(60)"}
"""Arguments of a cell that runs until it is interrupted."""


def offer_tiny(tiny: str, out: Path, *, sandbox: str = "local", **options: Any) -> Offer:
    """Offer the tiny task."""
    return offer_of([tiny], sandbox=sandbox, out=out, **options)


@asynccontextmanager
async def open_sessions(offer: Offer, **limits: Any) -> AsyncIterator[Sessions]:
    """Keep sessions, with as much memory as they want."""
    async with Sessions(offer, Limits(**{"memory_gb": 1000.0, **limits})) as sessions:
        yield sessions


async def wait_until_busy(session: Session) -> None:
    """Wait until a cell runs in a session."""
    for _ in range(600):
        kernel = session.rollout.episode.kernel.living
        if kernel is not None and kernel.busy:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("no cell runs")


def descriptors() -> int:
    """Return how many files, sockets and pipes this process has open."""
    return len(os.listdir("/proc/self/fd"))


def children() -> set[int]:
    """Return the processes that this process has started, and theirs."""
    found, level = set(), {os.getpid()}
    while level:
        level = {int(pid) for parent in level for pid in children_of(parent)}
        found |= level
    return found


def children_of(pid: int) -> list[str]:
    """Return the children of all threads of a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    try:
        return [child for each in lists for child in each.read_text().split()]
    except OSError:
        return []


@contextmanager
def serving(*argv: object, runs: Path, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `kernel-env serve` in a process; yield it and its address, and end it."""
    words = [sys.executable, "-m", "kernel_env.cli", "serve", *map(str, argv)]
    words += ["--port", "0", "--out", str(runs)]
    process = subprocess.Popen(
        words,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip().partition(": ")[2]
        assert address, process.communicate(timeout=10)[1]
        yield process, address
    finally:
        process.terminate()
        process.communicate(timeout=60)
