"""Read descriptors without letting one of them take the event loop from all others.

What arrives from a sandbox costs time to handle, and a hostile program sends without end. A
`PacedReader` measures that time; when it has used up its share it stops reading for a while. Then
the socket or pipe fills up, and the program waits.
"""

import asyncio
import time
from collections.abc import Callable

BURST_S = 0.02
"""Time that a reader may use at once, seconds."""
SHARE = 0.25
"""Share of the event loop's time that a reader may use for long."""


class Allowance:
    """An amount that is used up and refills with time."""

    def __init__(self, limit: float, per_s: float) -> None:
        self._limit, self._per_s = limit, per_s
        self._left, self._then = limit, time.monotonic()

    @property
    def left(self) -> float:
        """Return how much is left now; negative if more was used."""
        now = time.monotonic()
        self._left = min(self._limit, self._left + self._per_s * (now - self._then))
        self._then = now
        return self._left

    def use(self, amount: float) -> None:
        """Use some of it, also more than is left."""
        self._left = self.left - amount

    @property
    def pause_s(self) -> float:
        """Return how long it takes until something is left, seconds."""
        return max(0.0, -self.left / self._per_s)


def loop_share() -> Allowance:
    """Return the time, in seconds, that the messages of one kernel or program may take."""
    return Allowance(BURST_S, SHARE)


class PacedReader:
    """Calls `read` whenever a descriptor can be read, for a share of the event loop's time."""

    def __init__(
        self, descriptor: int, read: Callable[[], bool], share: Allowance | None = None
    ) -> None:
        """Start reading.

        Args:
            descriptor: a non-blocking descriptor.
            read: reads a bounded piece and handles some of it; returns whether something is left
                to handle. It may call `stop`.
            share: the time that it may take; readers can have one together.
        """
        self._descriptor, self._read = descriptor, read
        self._share = share or loop_share()
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._stopped = False
        self._loop.add_reader(descriptor, self._readable)

    def stop(self) -> None:
        """Stop reading. Idempotent."""
        if self._stopped:
            return
        self._stopped = True
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._descriptor)

    def _readable(self) -> None:
        began = time.thread_time()
        unfinished = self._read()
        self._share.use(time.thread_time() - began)
        if self._stopped:
            return
        pause_s = self._share.pause_s
        if unfinished or pause_s:
            self._loop.remove_reader(self._descriptor)
            self._pause = self._loop.call_later(pause_s, self._resume, unfinished)
        elif self._pause is not None:
            self._pause = None
            self._loop.add_reader(self._descriptor, self._readable)

    def _resume(self, unfinished: bool) -> None:
        if unfinished:
            self._readable()
        else:
            self._pause = None
            self._loop.add_reader(self._descriptor, self._readable)
