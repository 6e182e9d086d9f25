"""A kernel that survives crashes.

While the agent thinks, it takes a checkpoint: a standby and a snapshot of the files. When a cell
crashes the kernel, everything that the cell started is killed, the files are restored and the
standby takes over; cells that no checkpoint covers are replayed. If all standbys have died too,
cells are replayed in a fresh kernel, in a new sandbox if need be. The cell reports what happened,
and `state_lost` says what could not be restored.

The same checkpoints serve for trials and for forks.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from kernel_env.errors import KernelError, SandboxError
from kernel_env.kernel.cell import Cell, Recovery
from kernel_env.kernel.connection.client import INTERRUPT_S, KernelClient
from kernel_env.kernel.connection.running_cell import Observer
from kernel_env.kernel.forking import trial
from kernel_env.kernel.forking.checkpoints import Checkpoint, CheckpointLimits
from kernel_env.kernel.forking.fork_server import PRISTINE, ForkServer
from kernel_env.kernel.forking.log import (
    LogEntry,
    count_cells,
    last_reset,
    position_after,
    reseeding,
)
from kernel_env.kernel.forking.out_of_memory import cause_of, free_memory, memory_limit
from kernel_env.kernel.forking.replayable import ReplayableKernel, Undone
from kernel_env.kernel.forking.standby import Standby
from kernel_env.kernel.recovery import CLEAR_OUTPUT, ended, is_hung, with_recovery
from kernel_env.kernel.source import KernelSource
from kernel_env.sandbox.protocol import FileStat, Sandbox


@dataclass(frozen=True, kw_only=True)
class ForkedKernel:
    """A kernel that continues from a position of another one."""

    kernel: "RecoverableKernel"
    cells: int
    """How many cells were replayed to reach the position; 0 for a fork of a standby."""
    lost: str
    """What the replay did not reproduce; empty if it reproduced everything."""


class RecoverableKernel:
    """The kernel of an episode. Begin with `start`, end with `close`."""

    def __init__(self, source: KernelSource, limits: CheckpointLimits | None = None) -> None:
        """Create it without starting anything.

        Args:
            source: where pristine kernels come from.
            limits: how many checkpoints are kept, the latest one included.
        """
        self._source, self._limits = source, limits or CheckpointLimits()
        self._state = ReplayableKernel(source, self._limits)
        self._restored_from: Checkpoint | None = None
        """The checkpoint that the kernel was restored from, until a cell has run in it."""
        self._interrupted_at: float | None = None
        """When the running cell was first interrupted."""

    # ── what it runs in ───────────────────────────────────────────────────────────────────

    @property
    def server(self) -> ForkServer:
        """Return the fork server that the kernel belongs to."""
        return self._state.server

    @property
    def sandbox(self) -> Sandbox:
        """Return the sandbox that the kernel runs in."""
        return self.server.sandbox

    @property
    def limitations(self) -> str:
        """Describe what this machine does not support for kernels; empty if nothing is missing."""
        return self.server.limitations

    @property
    def forkable(self) -> bool:
        """Return whether the kernel can be forked."""
        return self._state.forkable

    @property
    def living(self) -> KernelClient | None:
        """Return the connection to the running kernel; None if there is none now."""
        kernel = self._state.kernel if self._state.started else None
        return kernel if kernel is not None and kernel.death_reason is None else None

    async def read(self, path: PurePosixPath, *, limit_bytes: int) -> bytes:
        """Return the content of a file as the kernel sees it; see `Sandbox.read`."""
        if (pid := self._state.instance.mount_namespace_of) is None:
            return await self.sandbox.read(path, limit_bytes=limit_bytes)
        support = self.server.support
        return await support.read(path, limit_bytes=limit_bytes, mount_namespace_of=pid)

    async def stat(self, path: PurePosixPath) -> FileStat | None:
        """Return the state of a file as the kernel sees it; see `Sandbox.stat`."""
        if (pid := self._state.instance.mount_namespace_of) is None:
            return await self.sandbox.stat(path)
        return await self.server.support.stat(path, mount_namespace_of=pid)

    # ── run ───────────────────────────────────────────────────────────────────────────────

    async def start(self) -> Recovery | None:
        """Ensure that a kernel runs. Returns how it was recovered, if it had crashed.

        Raises `SandboxError`, `KernelError`.
        """
        state = self._state
        await state.settle_checkpoints()
        if not state.started:
            await state.fresh()
            return None
        kernel = state.kernel
        if kernel is not None and kernel.death_reason is None:
            return None
        cause = (kernel and kernel.death_reason) or "the kernel had ended"
        return await self._recover_before(f"{cause} while no cell ran")

    async def run(
        self,
        code: str,
        *,
        timeout_s: float,
        step: int = 0,
        silent: bool = False,
        request: Mapping[str, Any] | None = None,
        observe: Observer | None = None,
    ) -> Cell:
        """Run a cell, and recover the kernel if the cell crashes it. Raises `SandboxError`.

        `step` is where `fork` and `undo` find the cell again. The others are those of
        `KernelClient.run`; no checkpoint is taken after a silent cell.
        """
        recovery = await self.start()
        kernel = self._running()
        self._interrupted_at = None
        run = partial(
            KernelClient.run,
            code=code,
            timeout_s=timeout_s,
            silent=silent,
            request=request,
            observe=observe,
        )
        memory = asyncio.create_task(memory_limit(self._state))
        cell = await run(kernel)
        kills = (await memory).killed
        if kernel.death_reason:
            cause, by_memory = await cause_of(self._state, kernel, kills)
            began = time.perf_counter()
            if not (by_memory and (successor := await free_memory(self._state, kernel))):
                return with_recovery(cell, await self._recover(cause, hung=is_hung(kernel)))
            seconds, kernel = time.perf_counter() - began, successor
            if observe is not None:
                observe(CLEAR_OUTPUT)
            cell = await run(kernel)
            recovery = Recovery(cause=cause, how="again", seconds=round(seconds, 6))
            if kernel.death_reason:
                cause, _ = await cause_of(self._state, kernel, kills)
                return with_recovery(cell, await self._recover(cause, hung=is_hung(kernel)))
        self._restored_from = None
        if self._interrupted_at is not None:  # a replay interrupts it, too
            timeout_s = min(timeout_s, cell.seconds)
        summary = None if silent else replace(cell, outputs=(), late=())
        self._state.log.append(LogEntry(step=step, code=code, timeout_s=timeout_s, cell=summary))
        if not silent:
            self._state.take_checkpoint()
        return with_recovery(cell, recovery)

    async def interrupt(self) -> None:
        """Interrupt the running cell.

        A cell that still runs after an earlier interrupt is ended, and undone as a crash is.
        """
        kernel, now = self.living, time.monotonic()
        if kernel is None or not kernel.busy:
            return
        if self._interrupted_at is None:
            self._interrupted_at = now
        if now - self._interrupted_at < INTERRUPT_S:
            await kernel.interrupt()
        else:
            kernel.give_up(f"the cell ignored an interrupt for {now - self._interrupted_at:.0f} s")

    async def checkpoint(self) -> list[int]:
        """Take a checkpoint, if there is none of now. Returns the steps that can be restored.

        Without fork support there are none. Raises `SandboxError`, `KernelError`.
        """
        await self.start()
        state = self._state
        if not self.forkable:
            return []
        await state.checkpoints.current(state.position)
        return [state.log[at - 1].step if at else 0 for at in state.checkpoints.positions]

    async def undo(self, *, step: int) -> Undone:
        """Return to the state after an earlier step. Raises `SandboxError`, `KernelError`."""
        await self.start()
        self._restored_from = None
        return await self._state.undo(position_after(self._state.log, step))

    def _running(self) -> KernelClient:
        kernel = self._state.kernel
        assert kernel is not None
        return kernel

    async def run_once(self, code: str, *, timeout_s: float) -> Cell:
        """Run the last cell of this kernel: if it crashes, nothing is recovered."""
        return await self._running().run(code, timeout_s=timeout_s)

    async def reset(self, *, step: int = 0) -> None:
        """Start a fresh kernel in empty folders. Raises `SandboxError`, `KernelError`."""
        state = self._state
        await state.settle_checkpoints()
        await state.restart()
        state.log.append(LogEntry(step=step, code=None))
        state.take_checkpoint()

    async def restart(self, *, step: int = 0) -> str:
        """Start a fresh kernel that finds the files as they are.

        Returns why the files are lost, because it is in a new sandbox; empty if they are not.
        Raises `SandboxError`, `KernelError`.
        """
        state = self._state
        await state.settle_checkpoints()
        try:
            await state.fresh(keep_files=True)
        except (KernelError, SandboxError, OSError) as error:
            await state.close()
            await self.reset(step=step)
            return str(error)
        state.log.append(LogEntry(step=step, code=None, keeps_files=True))
        state.take_checkpoint()
        return ""

    async def close(self) -> None:
        """End the kernel, and its sandbox if it was the last one there."""
        try:
            await self._state.settle_checkpoints()
        finally:
            await self._state.close()

    # ── trials ────────────────────────────────────────────────────────────────────────────

    async def run_trial(self, code: str, *, timeout_s: float) -> Cell:
        """Run a cell on a fork of the kernel and undo all it did.

        If no fork of it can be made now, the cell runs in a fresh kernel after a replay; if that
        would take longer than the cell may, the cell says so. Raises `SandboxError`,
        `KernelError`.
        """
        recovery = await self.start()
        kernel = self._running()
        if not self.forkable:
            cell = await trial.run_trial(code, self.sandbox, self._source, timeout_s=timeout_s)
        else:
            try:
                cell = await self._run_trial_on_fork(code, timeout_s)
            except KernelError as error:
                cell = await self._run_trial_after_replay(code, timeout_s, str(error))
        if kernel.death_reason and recovery is None:
            recovery = await self._recover_before(f"{kernel.death_reason} during the trial")
        return with_recovery(replace(cell, execution_count=None), recovery)

    async def _run_trial_on_fork(self, code: str, timeout_s: float) -> Cell:
        state = self._state
        while True:
            standby, files = await state.checkpoints.current(state.position)
            try:
                return await state.instance.run_trial(standby, files, code, timeout_s=timeout_s)
            except KernelError:
                if not standby.channel.closed:
                    raise
            await state.checkpoints.remove_dead()  # it had been killed without being noticed

    async def _run_trial_after_replay(self, code: str, timeout_s: float, reason: str) -> Cell:
        """Run a trial in a kernel that replays the cells which no checkpoint covers."""
        state = self._state
        seconds = state.checkpoints.uncovered_seconds(state.log)
        if seconds > timeout_s:
            return trial.trial_not_run(
                f"{reason}; replaying the earlier cells would take about {seconds:.0f} s"
            )
        try:
            forked = await self.fork()
        except KernelError:  # the agent's doing: no process or descriptor is free, …
            return trial.trial_not_run(reason)
        try:
            await forked.kernel.start()
            cell = await forked.kernel.run_once(code, timeout_s=timeout_s)
            note = f"cells were replayed for this trial ({forked.cells}), because {reason}"
            return replace(cell, note=note)
        finally:
            await forked.kernel.close()

    # ── forks ─────────────────────────────────────────────────────────────────────────────

    async def fork(self, *, step: int | None = None, seed: int | None = None) -> ForkedKernel:
        """Return another kernel that continues from here, or from after an earlier step.

        Args:
            step: the step after which it continues; None for the latest.
            seed: what its global random states start from; None to continue with the same.

        Raises `SandboxError`, `KernelError`.
        """
        await self.start()
        while True:
            known = self._living_standbys()
            try:
                return await self._fork_once(step, seed)
            except KernelError:
                if not any(standby.channel.closed for standby in known):
                    raise  # otherwise one of them had been killed without being noticed

    def _living_standbys(self) -> list[Standby]:
        template = self.server.template
        standbys = [*self._state.checkpoints.standbys, *([template] if template else [])]
        return [standby for standby in standbys if not standby.channel.closed]

    async def _fork_once(self, step: int | None, seed: int | None) -> ForkedKernel:
        state = self._state
        if step is None:
            step = state.log[-1].step if state.log else 0
        position = position_after(state.log, step)
        if position == state.position and self.forkable:
            with suppress(KernelError):  # an older checkpoint will do then
                await state.checkpoints.current(position)
        await state.checkpoints.remove_dead()
        checkpoint = state.checkpoints.nearest(state.log, position, with_files=True)
        child = RecoverableKernel(self._source, self._limits)
        try:
            entry = None if seed is None else reseeding(step, seed)
            log = state.log[:position]
            return await child._become_fork(log, state.seed, self.server, checkpoint, entry)
        except BaseException:
            await child.close()
            raise

    async def _become_fork(
        self,
        log: list[LogEntry],
        first_seed: int | None,
        server: ForkServer,
        checkpoint: Checkpoint | None,
        reseed: LogEntry | None,
    ) -> ForkedKernel:
        """Continue the log of another kernel, from a checkpoint of it if there is one.

        In the same sandbox if forks can have files of their own there, otherwise in a new one by
        a replay. The entry that reseeds comes last, so that replayed cells draw what they drew.
        """
        state = self._state
        state.log, state.seed = log, first_seed
        position, start = state.position, last_reset(log, len(log))
        template = server.template
        template_dead = template is None or template.channel.closed
        overlay = server.overlay_unavailable_reason is None
        if template is None or not overlay or (checkpoint is None and template_dead):
            await state.fresh()
        else:
            state.use_new_instance(server)
            if checkpoint is None or checkpoint.files is None:
                await state.fork_into_overlay(template, PRISTINE, first_seed)
            else:
                try:
                    await state.fork_into_overlay(checkpoint.standby, checkpoint.files, None)
                    start = checkpoint.position
                except KernelError:  # namespaces nest only so deep: replay from the template
                    await state.fork_into_overlay(template, PRISTINE, first_seed)
        cells = count_cells(log[start:position])
        if reseed is not None:
            state.log = [*log, reseed]
        lost = await state.replay(start)
        return ForkedKernel(kernel=self, cells=cells, lost=lost)

    # ── recovery ──────────────────────────────────────────────────────────────────────────

    async def _recover_before(self, cause: str) -> Recovery:
        """Recover a kernel that crashed while no cell of the agent ran in it."""
        return replace(await self._recover(cause), before=True)

    async def _recover(self, cause: str, *, hung: bool = False) -> Recovery:
        """Bring the kernel back to the current position. Raises `SandboxError`.

        With `hung` the kernel still ran and did not answer.
        """
        began = time.perf_counter()
        state, notes = self._state, list[str]()
        position = state.position
        await state.checkpoints.remove_dead()
        failure = state.checkpoints.failure
        checkpoint = await state.restore()
        if hung and checkpoint is not None and self._restored_from is not None:
            checkpoint, damage = await self._restore_sound(checkpoint)
            notes += damage
        start = checkpoint.position if checkpoint else last_reset(state.log, state.position)
        if checkpoint and checkpoint.files is None:
            notes.append(f"files could not be restored, because {failure}")
        elif failure and start < state.position:
            notes.append(f"no later checkpoint could be taken, because {failure}")
        notes += ended(checkpoint, state.ended_programs)
        lost = await state.replay(start)
        self._restored_from = checkpoint
        return Recovery(
            cause=cause,
            how="standby" if checkpoint and start == position else "replay",
            cells=count_cells(state.log[start:position]),
            seconds=round(time.perf_counter() - began, 6),
            note="; ".join(notes),
            lost=lost,
        )

    async def _restore_sound(self, checkpoint: Checkpoint) -> tuple[Checkpoint | None, list[str]]:
        """Restore another checkpoint if this one, restored again, is why two cells hung in a row.

        Returns the checkpoint that was restored, and what the agent should know about it.
        """
        state = self._state
        if not await state.responds():
            step = state.log[checkpoint.position - 1].step if checkpoint.position else 0
            await state.checkpoints.delete_from(checkpoint.position)
            del state.log[max(0, checkpoint.position - 1) :]
            note = f"the cell of step {step} had damaged the kernel and is undone too"
            return await state.restore(), [note]
        if checkpoint.standby.lacks_native_threads:
            await state.checkpoints.delete_with_foreign_threads()
            note = (
                "a second cell hung in a copy of the kernel that lacks threads of a library, so"
                " this kernel is no copy"
            )
            return await state.restore(), [note]
        return checkpoint, []
