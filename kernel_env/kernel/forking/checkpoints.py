"""The checkpoints of a kernel instance: taken while the agent thinks, evicted to save memory.

A checkpoint is a standby and a snapshot of the files, both taken between two cells. The
standby's process belongs to the fork server; the store only says what it stands for.

Taking one keeps the kernel busy for some milliseconds. An agent that sends its cells without a
pause does not wait for that: the checkpoint is taken once the agent has been quiet for
`QUIET_S`, or before the next cell when the cells since the last one ran longer than
`UNCOVERED_S` together. After a crash these few cells are replayed.
"""

import asyncio
import errno
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from kernel_env.errors import KernelEnvError, KernelError, SandboxError
from kernel_env.kernel.forking.instance import KernelInstance
from kernel_env.kernel.forking.log import LogEntry, last_reset
from kernel_env.kernel.forking.standby import Standby
from kernel_env.sandbox.protocol import GIB

QUIET_S = 0.015
UNCOVERED_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A kernel and its files as they were at a position of the log."""

    position: int
    standby: Standby
    files: str | None
    """Name of the snapshot; None if the files could not be stored."""


@dataclass(frozen=True, kw_only=True)
class CheckpointLimits:
    """How many checkpoints are kept; the latest one always is."""

    count: int = 4
    memory_gb: float = 2.0
    """Memory of all their standbys together, GiB (proportional set size)."""


class CheckpointStore:
    """The checkpoints of one kernel instance, oldest first."""

    def __init__(self, instance: KernelInstance, limits: CheckpointLimits) -> None:
        self.failure = ""
        """Why the latest position has no complete checkpoint."""
        self._instance, self._limits = instance, limits
        self._checkpoints: list[Checkpoint] = []
        self._due: asyncio.TimerHandle | None = None
        self._taking: asyncio.Task[None] | None = None

    @property
    def standbys(self) -> list[Standby]:
        """Return the standbys of all checkpoints."""
        return [checkpoint.standby for checkpoint in self._checkpoints]

    @property
    def positions(self) -> list[int]:
        """Return the positions of the checkpoints that have their files, oldest first."""
        return [c.position for c in self._checkpoints if c.files is not None]

    def has(self, position: int) -> bool:
        """Return whether there is a checkpoint of this position, with its files."""
        latest = self._checkpoints[-1] if self._checkpoints else None
        return latest is not None and latest.position == position and latest.files is not None

    def nearest(
        self, log: Sequence[LogEntry], position: int, *, with_files: bool = False
    ) -> Checkpoint | None:
        """Return the latest checkpoint from which `position` can be reached by a replay."""
        earliest = last_reset(log, position)
        usable = [
            checkpoint
            for checkpoint in self._checkpoints
            if earliest <= checkpoint.position <= position
            and (checkpoint.files is not None or not with_files)
        ]
        return max(usable, key=lambda checkpoint: checkpoint.position, default=None)

    # ── take ──────────────────────────────────────────────────────────────────────────────

    def take_when_quiet(self, position: int) -> None:
        """Take a checkpoint of the kernel as it is, unless the agent continues at once."""
        loop = asyncio.get_running_loop()
        self._due = loop.call_later(QUIET_S, self.take_in_background, position)

    def take_in_background(self, position: int) -> None:
        """Take a checkpoint of the kernel as it is, while the agent thinks."""
        self._due = None
        self._taking = asyncio.create_task(self._take(position))

    async def settle(self, log: Sequence[LogEntry]) -> None:
        """Prepare for the next cell: wait for the checkpoint that is being taken.

        One that is due is taken now if a replay of what it would cover takes long.
        """
        if (due := self._due) is not None:
            due.cancel()
            self._due = None
            if self.uncovered_seconds(log) > UNCOVERED_S:
                self.take_in_background(len(log))
        await self.taken()

    def uncovered_seconds(self, log: Sequence[LogEntry]) -> float:
        """Return how long the cells ran that would be replayed after a crash, seconds."""
        nearest = self.nearest(log, len(log))
        start = nearest.position if nearest else last_reset(log, len(log))
        return sum(entry.cell.seconds for entry in log[start:] if entry.cell is not None)

    async def taken(self) -> None:
        """Wait for the checkpoint that is being taken."""
        if (taking := self._taking) is not None:
            await asyncio.wait({taking})
            self._taking = None
            taking.result()

    async def current(self, position: int) -> tuple[Standby, str]:
        """Return standby and snapshot of the current position, taken now if there are none.

        Raises `KernelError` if they cannot be taken.
        """
        await self.remove_dead()
        for _ in range(2):
            if self._checkpoints and (latest := self._checkpoints[-1]).position == position:
                if latest.files is not None:
                    return latest.standby, latest.files
                await self.delete(latest)
            await self._take(position)
        raise KernelError(f"the kernel could not be forked: {self.failure}")

    async def _take(self, position: int) -> None:
        standby, files = await asyncio.gather(
            self._instance.fork(), self._snapshot(), return_exceptions=True
        )
        for failure in (standby, files):
            if isinstance(failure, BaseException) and not isinstance(
                failure, KernelEnvError | OSError
            ):
                raise failure
        self.failure = "; ".join(str(f) for f in (standby, files) if isinstance(f, BaseException))
        name = files if isinstance(files, str) else None
        if isinstance(standby, BaseException):
            await self._delete_files(name)
            return
        self._checkpoints.append(Checkpoint(position=position, standby=standby, files=name))
        await self._evict()

    async def _snapshot(self) -> str:
        """Take a snapshot; if there is no space, delete the oldest checkpoints for it."""
        while True:
            try:
                return await self._instance.snapshot()
            except OSError as error:
                if error.errno != errno.ENOSPC or len(self._checkpoints) < 2:
                    raise
                await self.delete(self._checkpoints[0])

    # ── delete ────────────────────────────────────────────────────────────────────────────

    async def _evict(self) -> None:
        """Delete the oldest checkpoints beyond the limits; the latest one stays."""
        support, most = self._instance.server.support, int(self._limits.memory_gb * GIB)
        with suppress(SandboxError):  # a sandbox that has ended is noticed when it is needed
            while len(self._checkpoints) > self._limits.count:
                await self.delete(self._checkpoints[0])
            while len(self._checkpoints) > 1:
                pids = [standby.pid for standby in self.standbys]
                if await support.memory_used(pids, enough_bytes=most) <= most:
                    return
                await self.delete(self._checkpoints[0])

    async def delete(self, checkpoint: Checkpoint) -> None:
        """End a checkpoint's standby and delete its snapshot."""
        self._checkpoints.remove(checkpoint)
        with suppress(SandboxError):  # a sandbox that has ended is noticed when it is needed
            await self._instance.server.delete_standby(self._instance, checkpoint.standby)
        await self._delete_files(checkpoint.files)

    async def delete_from(self, position: int) -> None:
        """Delete the checkpoints of a position and of those after it."""
        for checkpoint in [c for c in self._checkpoints if c.position >= position]:
            await self.delete(checkpoint)

    async def delete_with_foreign_threads(self) -> None:
        """Delete the checkpoints that lack threads of libraries, whose next call may hang."""
        for checkpoint in [c for c in self._checkpoints if c.standby.lacks_native_threads]:
            await self.delete(checkpoint)

    async def use_up(self, checkpoint: Checkpoint) -> None:
        """Remove a checkpoint whose standby has become the kernel."""
        self._checkpoints.remove(checkpoint)
        await self._delete_files(checkpoint.files)

    async def remove_dead(self) -> None:
        """Delete the checkpoints whose standby has died: code in the sandbox can kill it."""
        for checkpoint in [c for c in self._checkpoints if c.standby.channel.closed]:
            await self.delete(checkpoint)

    async def pop_latest(self) -> Checkpoint:
        """Delete all checkpoints but the latest one, which is removed and returned."""
        *older, latest = self._checkpoints
        for checkpoint in older:
            await self.delete(checkpoint)
        self._checkpoints.clear()
        return latest

    async def _delete_files(self, name: str | None) -> None:
        with suppress(SandboxError, OSError):
            await self._instance.delete_snapshot(name)
