"""Kernels that wait: boxes started ahead, each with a pristine kernel, so that a reset is quick.

A box that was taken is never handed out again: it serves one episode and its branches
and then ends, which nobody waits for but the pool.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from kernel_env.errors import KernelEnvError
from kernel_env.kernel.forking.instance import KernelInstance

OpenSeat = Callable[[], Awaitable[KernelInstance]]


class Pool:
    """Seats that wait, by what their boxes are made of. Entering does nothing; leaving ends them,
    and waits for the boxes that were taken and have been left.

    The first `take` of a kind starts the waiting of that kind.
    """

    def __init__(self, *, size: int = 1, memory_gb: float = 16.0, starting: int = 2) -> None:
        """Limits for what waits, and how many boxes start at once.

        Args:
            size: how many wait of each kind.
            memory_gb: what the programs of all that wait may use together, by their tasks' own
                `memory_gb`.
            starting: how many boxes start at the same time, waited for or not.
        """
        self._size, self._memory_gb = size, memory_gb
        self._waiting: defaultdict[str, list[KernelInstance]] = defaultdict(list)
        self._memory: dict[KernelInstance, float] = {}
        self._starts = asyncio.Semaphore(starting)
        self._tasks: set[asyncio.Task[None]] = set()
        self._filling: set[str] = set()
        self._left = False
        self._ending: set[asyncio.Task[None]] = set()
        """Boxes that are on their way out, and those that did not go."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        seats = [seat for waiting in self._waiting.values() for seat in waiting]
        self._waiting.clear()
        await asyncio.gather(*self._ending, *(seat.close() for seat in seats))

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return sum(map(len, self._waiting.values()))

    async def take(self, kind: str, open_seat: OpenSeat, *, memory_gb: float) -> KernelInstance:
        """A seat with a pristine kernel: one that waits, or else a new one.

        Raises `SandboxError`, `KernelError` when a new one does not start.
        """
        waiting = self._waiting[kind]
        taken: KernelInstance | None = None
        while waiting and taken is None:
            taken = waiting.pop(0)
            self._memory.pop(taken)
            if taken.kernel is None or taken.kernel.dead:  # it died while it waited
                await taken.close()
                taken = None
        self._refill(kind, open_seat, memory_gb)
        if taken is None:
            async with self._starts:
                taken = await open_seat()
        taken.home.end_aside = self._end_aside
        return taken

    async def filled(self) -> None:
        """Wait until all that should wait do."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _end_aside(self, ending: Coroutine[Any, Any, None]) -> None:
        if self._left:  # nobody would wait for it
            await ending
            return
        task = asyncio.create_task(ending)
        self._ending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._ending.discard(task)  # a failure is kept, to be raised when the pool is left

    def _refill(self, kind: str, open_seat: OpenSeat, memory_gb: float) -> None:
        if kind not in self._filling:
            self._filling.add(kind)
            task = asyncio.create_task(self._fill(kind, open_seat, memory_gb))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fill(self, kind: str, open_seat: OpenSeat, memory_gb: float) -> None:
        try:
            while len(self._waiting[kind]) < self._size:
                if sum(self._memory.values()) + memory_gb > self._memory_gb:
                    return
                async with self._starts:
                    seat = await open_seat()
                self._waiting[kind].append(seat)
                self._memory[seat] = memory_gb
        except KernelEnvError:
            return  # whoever needs one will meet the reason
        finally:
            self._filling.discard(kind)
