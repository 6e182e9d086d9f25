"""Say where episodes are played, and how many at once: on this machine, or by another engine."""

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from kernel_env.grading.host import Grader
from kernel_env.sandbox.protocol import GIB
from kernel_env.suite.file import LimitsSection
from kernel_env.suite.plan import Job
from kernel_env.suite.playing import Played, play_once

MEMINFO = Path("/proc/meminfo")


class Engine(Protocol):
    """Plays episodes somewhere. It knows nothing of attempts, records and retries."""

    def has_room(self, job: Job, playing: Sequence[Job]) -> bool:
        """Return whether another job can be submitted while some are being played."""

    async def play(self, job: Job, folder: Path) -> Played:
        """Play a job into a folder. Whatever fails is a value; cancelling ends the episode."""


def half_the_cores() -> int:
    """Return half of the processor cores of this machine, at least 1."""
    return max(1, len(os.sched_getaffinity(0)) // 2)


class LocalEngine:
    """Plays episodes in this process, with one grading process for all."""

    def __init__(self, limits: LimitsSection) -> None:
        self._limits = limits
        self.episodes = limits.episodes or half_the_cores()
        """How many at once."""
        self._starts = asyncio.Semaphore(limits.starts or half_the_cores())
        self._stack = AsyncExitStack()
        self._grader = Grader()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._grader)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def has_room(self, job: Job, playing: Sequence[Job]) -> bool:
        """Return whether there is a place and the memory; a job alone always has both."""
        if not playing:
            return True
        return len(playing) < self.episodes and self._has_memory(job, playing)

    def _has_memory(self, job: Job, playing: Sequence[Job]) -> bool:
        # Those that play may not have used theirs yet: it counts as used.
        total, available = memory_gb()
        needed, margin = memory_of(job), self._limits.margin_gb
        promised = sum(map(memory_of, playing))
        return needed + margin <= min(available, total - promised)

    async def play(self, job: Job, folder: Path) -> Played:
        """Play a job here. Its sandbox waits until few others are starting."""
        await self._starts.acquire()
        held = [self._starts]

        def release(_: object = None) -> None:
            if held:
                held.pop().release()

        host, grader = socket.gethostname(), self._grader
        try:
            return await play_once(job.plan, folder, host=host, grader=grader, watch=release)
        finally:
            release()


def memory_of(job: Job) -> float:
    """Return the memory that a job's sandbox may use, GiB."""
    return job.plan.config.load_task().file.limits.memory_gb


def memory_gb() -> tuple[float, float]:
    """Return the total and the available memory of this machine, GiB."""
    values = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    total, available = (
        int(values[name].split()[0]) * 1024 / GIB for name in ("MemTotal", "MemAvailable")
    )
    return total, available
