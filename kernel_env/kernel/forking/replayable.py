"""A kernel with a log: it can be restarted, restored from a checkpoint, and replayed.

This is how a kernel gets to a position of its log by whatever means are left: its latest
checkpoint, an older one and a replay, or a fresh kernel and a replay of everything, in a new
sandbox if need be. When that is done, and what the agent sees of it, is decided in `recoverable`.
"""

import asyncio
from dataclasses import dataclass

from kernel_env.errors import KernelError, SandboxError
from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection.client import KernelClient
from kernel_env.kernel.forking.checkpoints import Checkpoint, CheckpointLimits, CheckpointStore
from kernel_env.kernel.forking.fork_server import PRISTINE, ForkServer
from kernel_env.kernel.forking.instance import KernelInstance
from kernel_env.kernel.forking.log import LogEntry, count_cells, differences, last_reset
from kernel_env.kernel.forking.standby import Standby
from kernel_env.kernel.source import KernelSource, close_instance

DYING_S, RESPONSE_S = 0.2, 2.0
"""A kernel that cannot be forked after a replay may be about to die, or hang: wait so long before
it is asked, and so long for its response."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The result of replaying log entries."""

    cells: list[Cell]
    broken_by: int | None = None
    """Index of the entry that crashed the kernel this time."""


@dataclass(frozen=True, kw_only=True)
class Undone:
    """How a kernel returned to an earlier position."""

    cells: int
    """Number of cells that were replayed, because no checkpoint covers them."""
    lost: str
    """What the replay did not reproduce; empty if it reproduced everything."""


class ReplayableKernel:
    """A kernel instance, its checkpoints, and the log of what has run in it."""

    def __init__(self, source: KernelSource, limits: CheckpointLimits) -> None:
        self.log: list[LogEntry] = []
        self.seed: int | None = None
        """What the global random states of a fresh kernel start from, so that replayed cells draw
        the same numbers."""
        self.ended_programs: list[str] = []
        """Names of the programs that were killed when the kernel was last restored."""
        self._source, self._limits = source, limits
        self._instance: KernelInstance | None = None
        self._checkpoints: CheckpointStore | None = None

    @property
    def position(self) -> int:
        """Return the current position of the log."""
        return len(self.log)

    @property
    def started(self) -> bool:
        """Return whether there is a kernel instance."""
        return self._instance is not None

    @property
    def instance(self) -> KernelInstance:
        """Return the current kernel instance."""
        assert self._instance is not None, "start it first"
        return self._instance

    @property
    def server(self) -> ForkServer:
        """Return the fork server of the current instance."""
        return self.instance.server

    @property
    def checkpoints(self) -> CheckpointStore:
        """Return the checkpoints of the current instance."""
        assert self._checkpoints is not None, "start it first"
        return self._checkpoints

    @property
    def kernel(self) -> KernelClient | None:
        """Return the running kernel; None if there is none."""
        return self.instance.kernel

    @property
    def forkable(self) -> bool:
        """Return whether the kernel can be forked."""
        return self.server.fork_unavailable_reason is None

    # ── checkpoints ───────────────────────────────────────────────────────────────────────

    def take_checkpoint(self) -> None:
        """Take a checkpoint of the current position while the agent thinks."""
        if self.forkable:
            self.checkpoints.take_when_quiet(self.position)

    async def settle_checkpoints(self) -> None:
        """Prepare for the next cell: wait for a checkpoint that is being taken, or is worth it."""
        if self._checkpoints is not None:
            await self._checkpoints.settle(self.log)

    # ── fresh kernels ─────────────────────────────────────────────────────────────────────

    async def fresh(self, *, keep_files: bool = False) -> None:
        """Start a pristine kernel, in empty folders unless the files are kept.

        Raises `SandboxError`, `KernelError`, and `OSError` if the files cannot be stored.
        """
        if self._instance is None:
            self._use(await self._source.open())
            if self.seed is None or self.seed == self.instance.seed:
                self.seed = self.instance.seed  # it is pristine already
                return
        elif self.instance.has_overlay:
            server, old = self.server, self.instance
            assert server.template is not None
            files = await old.snapshot() if keep_files else PRISTINE
            new = KernelInstance(server)
            try:
                await old.close()
            except BaseException:
                server.unregister(new)
                raise
            self._use(new)
            await self.fork_into_overlay(server.template, files, self.seed)
            return
        assert self.seed is not None
        await self.instance.start(seed=self.seed, keep_files=keep_files)

    async def restart(self) -> None:
        """Start a pristine kernel, in a new sandbox if this one cannot provide it any more."""
        try:
            await self.fresh()
        except (KernelError, SandboxError):
            await self.close()
            await self.fresh()

    def use_new_instance(self, server: ForkServer) -> None:
        """Continue in a new instance, without a kernel yet, of a fork server."""
        self._use(KernelInstance(server))

    def _use(self, instance: KernelInstance) -> None:
        self._instance = instance
        self._checkpoints = CheckpointStore(instance, self._limits)

    async def fork_into_overlay(self, standby: Standby, files: str, seed: int | None) -> None:
        """Run a fork of a standby in a mount namespace of its own, with the files of a snapshot."""
        forked = await self.instance.fork_into_overlay(standby, files, seed=seed)
        await self.instance.serve(forked)

    async def close(self) -> None:
        """End the kernel, and its sandbox if it was the last one there."""
        instance, self._instance, self._checkpoints = self._instance, None, None
        if instance is not None:
            await close_instance(instance, self._source)

    # ── undo, restore and replay ──────────────────────────────────────────────────────────

    async def undo(self, position: int) -> "Undone":
        """Return to an earlier position of the log, and delete the entries after it.

        Raises `SandboxError`, `KernelError`.
        """
        await self.settle_checkpoints()
        await self.checkpoints.remove_dead()
        await self.checkpoints.delete_from(position + 1)
        del self.log[position:]
        checkpoint = await self.restore()
        start = checkpoint.position if checkpoint else last_reset(self.log, position)
        cells = count_cells(self.log[start:position])
        return Undone(cells=cells, lost=await self.replay(start))

    async def restore(self) -> Checkpoint | None:
        """Restore the latest checkpoint that can be restored; restart and return None if none."""
        checkpoints = self.checkpoints
        while checkpoint := checkpoints.nearest(self.log, self.position):
            try:
                self.ended_programs = await self.instance.restore(
                    checkpoint.standby, checkpoint.files
                )
            except (KernelError, SandboxError):
                await checkpoints.delete(checkpoint)
            else:
                await checkpoints.use_up(checkpoint)
                return checkpoint
        await self.restart()
        return None

    async def replay(self, start: int, *, checkpoint: bool = True) -> str:
        """Replay the log from a position on. Returns what that did not reproduce, as text.

        An entry that crashes the kernel this time is removed from the log, and so are those
        after it. With `checkpoint` a checkpoint of the last position is taken.
        """
        failures = []
        while (replay := await self._replay_once(start, checkpoint)).broken_by is not None:
            step, kernel = self.log[replay.broken_by].step, self.kernel
            reason = kernel and kernel.death_reason
            failures.append(f"the replayed cell of step {step} crashed the kernel: {reason}")
            del self.log[replay.broken_by :]
            restored = await self.restore()
            start = restored.position if restored else last_reset(self.log, self.position)
        before = [entry.cell for entry in self.log[start:] if entry.cell is not None]
        return "; ".join([*failures, *differences(before, replay.cells)][:10])

    async def _replay_once(self, start: int, checkpoint: bool) -> Replay:
        """Replay from a position on, and take a checkpoint if there is none of the last one."""
        cells: list[Cell] = []
        for number, entry in enumerate(self.log[start:], start):
            kernel = self.kernel
            assert kernel is not None
            if kernel.death_reason:  # it died after the previous entry seemed to have ended
                return Replay(cells=cells, broken_by=max(start, number - 1))
            if entry.code is None:
                await self.fresh(keep_files=entry.keeps_files)
                continue
            cell = await kernel.run(
                entry.code, timeout_s=entry.timeout_s, silent=entry.cell is None
            )
            if entry.cell is not None:
                cells.append(cell)
            if kernel.death_reason:
                return Replay(cells=cells, broken_by=number)
        if not checkpoint or self.checkpoints.has(self.position):
            return Replay(cells=cells)
        if not cells:
            self.take_checkpoint()
        elif not await self._survives():
            return Replay(cells=cells, broken_by=self.position - 1)
        return Replay(cells=cells)

    async def _survives(self) -> bool:
        """Return whether the kernel can be forked after a replay, or still responds later."""
        if self.forkable:
            self.checkpoints.take_in_background(self.position)
            await self.checkpoints.taken()
            if self.checkpoints.has(self.position):
                return True
        await asyncio.sleep(DYING_S)
        return await self.responds()

    async def responds(self) -> bool:
        """Return whether the kernel runs an empty cell."""
        kernel = self.kernel
        if kernel is not None and kernel.death_reason is None:
            await kernel.run("", timeout_s=RESPONSE_S)
        return kernel is not None and kernel.death_reason is None
