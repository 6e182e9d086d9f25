"""Measure for how long an event loop stands still."""

import asyncio
import gc
import time
from types import TracebackType
from typing import Self

BEAT_S = 0.002


PAUSE_S, BUSY_S = 1.0, 0.1
"""What tests accept of `longest_s` and of `busy_s`: more than the 50 ms that are aimed at, because the
machine does other work as well."""


class Heartbeat:
    """Beats in the running event loop and notes the longest pause between two beats.

    What the tests themselves have loaded is left out of garbage collections meanwhile: looking
    through it takes 0.1 s and more.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        """The longest pause beyond the time between two beats, seconds."""
        self.busy_s = 0.0
        """The most processor time between two beats, seconds: a pause without those in which the
        machine did other work."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        gc.collect()
        gc.freeze()
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
        gc.unfreeze()

    def __str__(self) -> str:
        """Describe it for a table."""
        return f"pause {self.longest_s * 1000:6.1f} ms, busy {self.busy_s * 1000:6.1f} ms"

    async def _beat(self) -> None:
        while True:
            before, busy_before = time.perf_counter(), time.thread_time()
            await asyncio.sleep(BEAT_S)
            self.longest_s = max(self.longest_s, time.perf_counter() - before - BEAT_S)
            self.busy_s = max(self.busy_s, time.thread_time() - busy_before)
