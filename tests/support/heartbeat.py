"""Measure for how long an event loop stands still."""

import asyncio
import time
from types import TracebackType
from typing import Self

BEAT_S = 0.002


class Heartbeat:
    """Beats in the running event loop and notes the longest pause between two beats."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        """The longest pause beyond the time between two beats, seconds."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._task is not None
        await asyncio.sleep(BEAT_S)
        self._task.cancel()

    async def _beat(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(BEAT_S)
            self.longest_s = max(self.longest_s, time.perf_counter() - before - BEAT_S)
