"""Keep sandboxes with pristine kernels started in advance, so that a reset is fast.

A sandbox that was taken is never returned to the pool: it serves one episode and its forks, and
is then ended in the background.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from kernel_env.errors import KernelEnvError
from kernel_env.kernel.forking.fork_server import ForkServer
from kernel_env.kernel.forking.instance import KernelInstance
from kernel_env.kernel.source import KernelSource


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Kernels that can replace each other, and how a new one is started."""

    name: str
    """Equal for kernels in sandboxes with equal contents and limits."""
    source: KernelSource
    memory_gb: float
    """Memory limit of the programs in each sandbox, GiB."""
    end_in_background: bool = True
    """Whether an episode can end before its sandbox has."""


class Pool:
    """Waiting kernels, by kind. Entering starts nothing; leaving ends all that wait.

    Leaving also waits for the sandboxes that are being ended in the background. The first
    `take` of a kind makes the pool start further kernels of that kind.
    """

    def __init__(self, *, size: int = 1, memory_gb: float = 16.0, starting: int = 2) -> None:
        """Create an empty pool.

        Args:
            size: how many kernels wait, per kind.
            memory_gb: maximum sum of the `memory_gb` of all that wait, GiB.
            starting: how many sandboxes start at the same time, waited for or not.
        """
        self._size, self._memory_gb = size, memory_gb
        self._waiting: defaultdict[str, list[KernelInstance]] = defaultdict(list)
        self._memory: dict[KernelInstance, float] = {}
        self._starts = asyncio.Semaphore(starting)
        self._fills: set[asyncio.Task[None]] = set()
        self._filling: set[str] = set()
        self._left = False
        self._closing: set[asyncio.Task[None]] = set()
        """Sandboxes that are being ended, and those whose end failed."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left = True
        for task in self._fills:
            task.cancel()
        await asyncio.gather(*self._fills, return_exceptions=True)
        instances = [instance for waiting in self._waiting.values() for instance in waiting]
        self._waiting.clear()
        await asyncio.gather(*self._closing, *(end(instance) for instance in instances))

    @property
    def waiting(self) -> int:
        """Return how many kernels wait."""
        return sum(map(len, self._waiting.values()))

    def source(self, kind: Kind) -> KernelSource:
        """Return the source of kernels that takes them from this pool."""
        return Pooled(pool=self, kind=kind)

    async def take(self, kind: Kind) -> KernelInstance:
        """Return a pristine kernel: one that waits, or else a new one.

        Raises `SandboxError`, `KernelError` if a new one does not start.
        """
        waiting = self._waiting[kind.name]
        taken: KernelInstance | None = None
        while waiting and taken is None:
            taken = waiting.pop(0)
            self._memory.pop(taken)
            if taken.kernel is None or taken.kernel.death_reason:  # it died while it waited
                await end(taken)
                taken = None
        self._refill(kind)
        if taken is None:
            async with self._starts:
                taken = await kind.source.open()
        return taken

    async def close(self, server: ForkServer) -> None:
        """End a sandbox in the background; the pool waits for it when it is left."""
        if self._left:  # nobody would wait for it
            await server.close()
            return
        task = asyncio.create_task(server.close())
        self._closing.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._closing.discard(task)  # a failure is kept, and raised when the pool is left

    async def filled(self) -> None:
        """Wait until all kernels that should wait do."""
        while self._fills:
            await asyncio.wait(self._fills)

    def _refill(self, kind: Kind) -> None:
        if kind.name not in self._filling:
            self._filling.add(kind.name)
            task = asyncio.create_task(self._fill(kind))
            self._fills.add(task)
            task.add_done_callback(self._fills.discard)

    async def _fill(self, kind: Kind) -> None:
        try:
            while len(self._waiting[kind.name]) < self._size:
                if sum(self._memory.values()) + kind.memory_gb > self._memory_gb:
                    return
                async with self._starts:
                    instance = await kind.source.open()
                self._waiting[kind.name].append(instance)
                self._memory[instance] = kind.memory_gb
        except KernelEnvError:
            return  # the next `take` will meet the same error and raise it
        finally:
            self._filling.discard(kind.name)


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """Takes kernels from a pool, and has their sandboxes ended in the background."""

    pool: Pool
    kind: Kind

    async def open(self) -> KernelInstance:
        """Take a kernel from the pool."""
        return await self.pool.take(self.kind)

    async def close(self, server: ForkServer) -> None:
        """End a sandbox, in the background if its kind allows that."""
        if self.kind.end_in_background:
            await self.pool.close(server)
        else:
            await server.close()


async def end(instance: KernelInstance) -> None:
    """End a kernel that nobody used, and its sandbox."""
    try:
        await instance.close()
    finally:
        await instance.server.close()
