"""The kernel that the next cell runs in: there when needed, put back when it broke.

After each cell, while the agent thinks, a checkpoint is taken: a standby and a snapshot
of the files. When a cell breaks the kernel in whatever way, everything it started is
ended, the files are put back and the standby goes on. When even the standby
is gone, the cells are run again in a fresh kernel, in a fresh box if need be. Nothing of
that is silent: the cell says what happened, and `state_lost` is kept for what could
not be put back.

The same checkpoints serve for trying code out and for branches.
"""

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from kernel_env.errors import KernelEnvError, KernelError, SandboxError
from kernel_env.kernel.cell import Cell, Recovery
from kernel_env.kernel.connection.client import KernelClient
from kernel_env.kernel.forking import trial
from kernel_env.kernel.forking.checkpoints import (
    Checkpoint,
    LogEntry,
    cells,
    differences,
    moment_after,
    nearest,
    reseeding,
    since_reset,
)
from kernel_env.kernel.forking.fork_server import PRISTINE, ForkServer
from kernel_env.kernel.forking.instance import KernelInstance
from kernel_env.kernel.forking.standby import Standby
from kernel_env.sandbox.protocol import GIB, FileStat, Sandbox

FULL = 0.9
"""A kernel that alone had this share of the memory was not killed because of its standby."""

DYING_S, ANSWER_S = 0.2, 2.0
"""A kernel that cannot be copied after cells were run again may be about to die, or hang."""

OpenSeat = Callable[[], Awaitable[KernelInstance]]


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A kernel that goes on from an earlier moment of another."""

    live: "RecoverableKernel"
    cells: int
    """How many cells were run again to reach that moment; 0 for a copy of a standby."""
    lost: str
    """What running them again did not give back; empty when it gave everything."""


@dataclass(frozen=True, kw_only=True)
class ReplayResult:
    """Deeds that were done again."""

    cells: list[Cell]
    broken: int | None = None
    """The deed that the kernel did not survive this time."""


class RecoverableKernel:
    """A kernel for an episode. Enter it with `start`, leave it with `close`."""

    def __init__(
        self, open_seat: OpenSeat, *, checkpoints: int = 4, checkpoint_gb: float = 2.0
    ) -> None:
        """A kernel that will come from `open_seat`.

        Args:
            open_seat: a place in a box of its own with a pristine kernel, new or one that waited.
            checkpoints: how many moments are kept to go back to, the latest included.
            checkpoint_gb: memory of their standbys together, of what they share their share.
        """
        self._open_seat, self._most, self._most_gb = open_seat, checkpoints, checkpoint_gb
        self._seed: int | None = None
        """What the global random states of a fresh kernel start from: run again, the same cells
        draw the same numbers."""
        self._seat: KernelInstance | None = None
        self._deeds: list[LogEntry] = []
        self._checkpoints: list[Checkpoint] = []
        self._keeping: asyncio.Task[None] | None = None
        self._unkept = ""
        """Why the latest moment has no checkpoint."""
        self._kills = 0
        """By the memory limit, as far as they are accounted for."""

    @property
    def _latest(self) -> int:
        """The step of the latest deed."""
        return self._deeds[-1].step if self._deeds else 0

    @property
    def seat(self) -> KernelInstance:
        """Where the kernel lives now."""
        assert self._seat is not None, "start comes first"
        return self._seat

    @property
    def box(self) -> Sandbox:
        """The box that is there now."""
        return self.seat.box

    async def read(self, path: PurePosixPath, *, limit_bytes: int) -> bytes:
        """A file as the kernel sees it; see `Sandbox.read`."""
        return await self.box.read(path, limit_bytes=limit_bytes, within=self.seat.within)

    async def stat(self, path: PurePosixPath) -> FileStat | None:
        """What is there for the kernel; see `Sandbox.stat`."""
        return await self.box.stat(path, within=self.seat.within)

    # ── what an episode does ──────────────────────────────────────────────────────────────

    async def start(self) -> Recovery | None:
        """See to a kernel that lives; how that was done when one had broken.

        Raises `SandboxError`, `KernelError`.
        """
        await self._kept()
        if self._seat is None:
            await self._fresh()
            return None
        kernel = self.seat.kernel
        if kernel is not None and kernel.dead is None:
            return None
        cause = (kernel and kernel.dead) or "the kernel was gone"
        return replace(await self._recover(cause), before=True)

    async def run(self, code: str, *, timeout_s: float, step: int = 0) -> Cell:
        """Run a cell; if it breaks the kernel, put the kernel back. Raises `SandboxError`."""
        recovery = await self.start()
        kernel = self.seat.kernel
        assert kernel is not None
        cell = await kernel.run(code, timeout_s=timeout_s)
        began = time.perf_counter()
        if (cause := kernel.dead) and (alone := await self._without_standby()):
            seconds, kernel = time.perf_counter() - began, alone
            cell = await kernel.run(code, timeout_s=timeout_s)
            recovery = Recovery(cause=cause, how="again", seconds=round(seconds, 6))
        if kernel.dead:
            return told(cell, await self._recover(kernel.dead))
        outline = replace(cell, outputs=(), late=())
        self._deeds.append(LogEntry(step=step, code=code, timeout_s=timeout_s, cell=outline))
        self._keep()
        return told(cell, recovery)

    async def try_out(self, code: str, *, timeout_s: float) -> Cell:
        """Run a cell on a copy of the kernel; nothing it does lasts.

        When no copy can be made, the cell says so. Raises `SandboxError`, `KernelError`.
        """
        recovery = await self.start()
        if self.seat.home.plain:
            cell = await trial.try_out(code, self.box, self._open_seat, timeout_s=timeout_s)
        else:
            try:
                cell = await self._tried(code, timeout_s)
            except KernelError as error:  # it is the agent's doing: no process, no descriptor, …
                cell = trial.not_tried(str(error))
        return told(replace(cell, execution_count=None), recovery)

    async def _tried(self, code: str, timeout_s: float) -> Cell:
        while True:
            standby, files = await self._now()
            try:
                return await self.seat.try_out(standby, files, code, timeout_s=timeout_s)
            except KernelError:
                if not standby.line.gone:
                    raise
            await self._weed()  # it had been killed, and nobody knew yet

    async def reset(self, *, step: int = 0) -> None:
        """A fresh kernel and empty folders. Raises `SandboxError`, `KernelError`."""
        await self._kept()
        await self._anew()
        self._deeds.append(LogEntry(step=step, code=None))
        self._keep()

    async def branch(self, *, step: int | None = None, seed: int | None = None) -> Branch:
        """Another kernel that goes on from here, or from after an earlier step.

        `seed`: what its global random states start from; None for exactly the same. Raises
        `SandboxError`, `KernelError`.
        """
        await self.start()
        while True:
            known = self._waiting()
            try:
                return await self._branched(self._latest if step is None else step, seed)
            except KernelError:
                if not any(standby.line.gone for standby in known):
                    raise  # otherwise one of them had been killed, and nobody knew yet

    def _waiting(self) -> list[Standby]:
        """The standbys and the template, as far as they are known to live."""
        template = self.seat.home.template
        every = [*(kept.standby for kept in self._checkpoints), *([template] if template else [])]
        return [standby for standby in every if not standby.line.gone]

    async def _branched(self, step: int, seed: int | None) -> Branch:
        home, moment = self.seat.home, moment_after(self._deeds, step)
        if moment == len(self._deeds) and not home.plain:
            with suppress(KernelError):  # from an older checkpoint, then
                await self._now()
        await self._weed()
        kept = nearest((c for c in self._checkpoints if c.files), self._deeds, moment)
        child = RecoverableKernel(
            self._open_seat, checkpoints=self._most, checkpoint_gb=self._most_gb
        )
        try:
            anew = None if seed is None else reseeding(step, seed)
            return await child.follow(self._deeds[:moment], self._seed, home, kept, anew)
        except BaseException:
            await child.close()
            raise

    async def follow(
        self,
        deeds: list[LogEntry],
        begun_with: int | None,
        home: ForkServer,
        kept: Checkpoint | None,
        reseed: LogEntry | None,
    ) -> Branch:
        """Become a branch of another kernel: its deeds, and a checkpoint of it if one is kept.

        In its home where copies can have files of their own, else in a new one, by doing all
        deeds again. What makes the random states new is the last deed: before it, cells that
        are run again draw what they drew.
        """
        self._deeds, self._seed = deeds, begun_with
        done = since_reset(deeds, len(deeds))
        template_gone = home.template is None or home.template.line.gone
        if home.plain or home.one_view or (kept is None and template_gone):
            await self._fresh()
        elif kept is None or kept.files is None:
            assert home.template is not None
            self._seat = KernelInstance(home)
            await self._move_in(home.template, PRISTINE, begun_with)
        else:
            assert home.template is not None
            self._seat = KernelInstance(home)
            try:
                await self._move_in(kept.standby, kept.files, None)
                done = kept.moment
            except KernelError:  # views nest so deep and no deeper: begin with the first again
                await self._move_in(home.template, PRISTINE, begun_with)
        again = cells(deeds[done:])
        if reseed is not None:
            self._deeds = [*deeds, reseed]
        lost = await self._do_again(done)
        return Branch(live=self, cells=again, lost=lost)

    async def close(self) -> None:
        """End the kernel, and the box when nobody else lives in it."""
        try:
            await self._kept()
        finally:
            seat, self._seat = self._seat, None
            self._checkpoints.clear()
            if seat is not None:
                await seat.close()

    # ── checkpoints ───────────────────────────────────────────────────────────────────────

    def _keep(self) -> None:
        """Take a checkpoint while the agent thinks."""
        if not self.seat.home.plain:
            self._keeping = asyncio.create_task(self._take())

    async def _kept(self) -> None:
        """Wait for the checkpoint that is being taken."""
        if (keeping := self._keeping) is not None:
            await asyncio.wait({keeping})
            self._keeping = None
            keeping.result()

    async def _take(self) -> None:
        seat, moment = self.seat, len(self._deeds)
        copied, kept = await asyncio.gather(seat.copy(), self._snapshot(), return_exceptions=True)
        for failure in (copied, kept):
            if isinstance(failure, BaseException) and not isinstance(
                failure, KernelEnvError | OSError
            ):
                raise failure
        self._unkept = "; ".join(str(f) for f in (copied, kept) if isinstance(f, BaseException))
        files = kept if isinstance(kept, str) else None
        if isinstance(copied, BaseException):
            await self._forget(files)
            return
        self._checkpoints.append(Checkpoint(moment=moment, standby=copied, files=files))
        await self._evict()

    async def _snapshot(self) -> str:
        """Remember the files, in the place of older moments when there is no room for all."""
        while True:
            try:
                return await self.seat.snapshot()
            except OSError as error:
                if error.errno != errno.ENOSPC or len(self._checkpoints) < 2:
                    raise
                await self._drop(self._checkpoints[0])

    async def _evict(self) -> None:
        """Let go of the oldest checkpoints beyond the limits; the latest always stays."""
        with suppress(SandboxError):  # what is gone with its box is found when it is needed
            while len(self._checkpoints) > self._most:
                await self._drop(self._checkpoints[0])
            most = int(self._most_gb * GIB)
            while len(self._checkpoints) > 1:
                pids = [checkpoint.standby.pid for checkpoint in self._checkpoints]
                if await self.box.weigh(pids, enough_bytes=most) <= most:
                    return
                await self._drop(self._checkpoints[0])

    async def _drop(self, checkpoint: Checkpoint) -> None:
        self._checkpoints.remove(checkpoint)
        self.seat.drop(checkpoint.standby)
        await self._forget(checkpoint.files)

    async def _forget(self, files: str | None) -> None:
        with suppress(SandboxError, OSError):
            await self.seat.forget(files)

    async def _weed(self) -> None:
        """Let go of the checkpoints whose standby has died: code in the box may kill it."""
        for checkpoint in [c for c in self._checkpoints if c.standby.line.gone]:
            await self._drop(checkpoint)

    async def _now(self) -> tuple[Standby, str]:
        """The kernel and the files of this moment. Raises `KernelError` when they are not kept."""
        moment = len(self._deeds)
        await self._weed()
        for _ in range(2):
            if self._checkpoints and (latest := self._checkpoints[-1]).moment == moment:
                if latest.files is not None:
                    return latest.standby, latest.files
                await self._drop(latest)
            await self._take()
        raise KernelError(f"the kernel could not be copied: {self._unkept}")

    # ── going back ────────────────────────────────────────────────────────────────────────

    async def _recover(self, cause: str) -> Recovery:
        """Put the kernel back to this moment, by whatever still can. Raises `SandboxError`."""
        began = time.perf_counter()
        moment, note = len(self._deeds), ""
        await self._weed()
        kept = await self._back()
        done = kept.moment if kept else since_reset(self._deeds, moment)
        if kept and kept.files is None:
            note = f"files are as they were left, because {self._unkept}"
        lost = await self._do_again(done)
        return Recovery(
            cause=cause,
            how="standby" if kept and done == moment else "replay",
            cells=cells(self._deeds[done:moment]),
            seconds=round(time.perf_counter() - began, 6),
            note=note,
            lost=lost,
        )

    async def _back(self) -> Checkpoint | None:
        """Go to the latest checkpoint that still can be gone to; None when all is begun anew."""
        while kept := nearest(self._checkpoints, self._deeds, len(self._deeds)):
            try:
                await self.seat.go_back(kept.standby, kept.files)
            except (KernelError, SandboxError):
                await self._drop(kept)
            else:
                self._checkpoints.remove(kept)  # its standby is the kernel now
                await self._forget(kept.files)
                return kept
        await self._anew()
        return None

    async def _do_again(self, done: int) -> str:
        """Do all deeds from a moment on once more; what that did not give back, in words.

        A deed that breaks the kernel this time is undone, and so is what came after it.
        """
        undone = []
        while (redone := await self._do(done)).broken is not None:
            step, kernel = self._deeds[redone.broken].step, self.seat.kernel
            why = kernel and kernel.dead
            undone.append(f"run again, the cell of step {step} broke the kernel: {why}")
            del self._deeds[redone.broken :]
            kept = await self._back()
            done = kept.moment if kept else since_reset(self._deeds, len(self._deeds))
        wanted = [deed.cell for deed in self._deeds[done:] if deed.cell is not None]
        return "; ".join([*undone, *differences(wanted, redone.cells)][:10])

    async def _do(self, done: int) -> "ReplayResult":
        """Do the deeds after a moment, and take a checkpoint if that one is not kept."""
        found: list[Cell] = []
        for number, deed in enumerate(self._deeds[done:], done):
            kernel = self.seat.kernel
            assert kernel is not None
            if kernel.dead:  # not from what it did last, it seemed
                return ReplayResult(cells=found, broken=max(done, number - 1))
            if deed.code is None:
                await self._fresh()
                continue
            cell = await kernel.run(deed.code, timeout_s=deed.timeout_s, silent=deed.cell is None)
            if deed.cell is not None:
                found.append(cell)
            if kernel.dead:
                return ReplayResult(cells=found, broken=number)
        if not self._is_kept():
            self._keep()
        if found:
            await self._kept()
            if not self._is_kept() and not await self._lives():
                return ReplayResult(cells=found, broken=len(self._deeds) - 1)
        return ReplayResult(cells=found)

    async def _lives(self) -> bool:
        """Whether the kernel still answers, a moment later."""
        await asyncio.sleep(DYING_S)
        kernel = self.seat.kernel
        if kernel is not None and kernel.dead is None:
            await kernel.run("", timeout_s=ANSWER_S)
        return kernel is not None and kernel.dead is None

    def _is_kept(self) -> bool:
        """Whether there is a checkpoint of this moment, with its files."""
        latest = self._checkpoints[-1] if self._checkpoints else None
        return latest is not None and latest.moment == len(self._deeds) and bool(latest.files)

    async def _anew(self) -> None:
        """A fresh kernel, in a new home when the one that is there cannot give one."""
        try:
            await self._fresh()
        except (KernelError, SandboxError):
            self._checkpoints.clear()
            seat, self._seat = self._seat, None
            if seat is not None:
                await seat.close()
            await self._fresh()

    async def _fresh(self) -> None:
        """A pristine kernel in empty folders."""
        if self._seat is None:
            self._seat = await self._open_seat()
            self._kills = (await self.box.memory()).killed
            if self._seed is None or self._seed == self._seat.seed:
                self._seed = self._seat.seed  # it is pristine already
                return
        elif self.seat.branched:
            home = self.seat.home
            self._checkpoints.clear()
            beside = KernelInstance(home)
            await self.seat.close()
            self._seat = beside
            assert home.template is not None
            await self._move_in(home.template, PRISTINE, self._seed)
            return
        assert self._seed is not None
        await self.seat.begin(seed=self._seed)

    async def _move_in(self, standby: Standby, files: str, seed: int | None) -> None:
        """Live in a view of its own of some files, with a kernel like a standby."""
        await self.seat.serve(await self.seat.move_in(standby, files, seed=seed))

    # ── memory ────────────────────────────────────────────────────────────────────────────

    async def _killed_for_its_standby(self) -> bool:
        """Whether the memory limit killed the kernel although it left room that others held."""
        kernel = self.seat.kernel
        assert kernel is not None
        if self.seat.home.plain or not self._is_kept():
            return False
        with suppress(SandboxError):
            memory = await self.box.memory()
            kills, self._kills = memory.killed - self._kills, memory.killed
            return bool(kills) and kernel.process.peak_bytes < FULL * memory.limit_bytes
        return False

    async def _without_standby(self) -> KernelClient | None:
        """Go on as the latest standby itself, with all the memory there is, where that may help."""
        await self._weed()
        if not await self._killed_for_its_standby():
            return None
        *older, latest = self._checkpoints
        for checkpoint in older:
            await self._drop(checkpoint)
        self._checkpoints.clear()
        try:
            await self.seat.go_back(latest.standby, latest.files)
        except (KernelError, SandboxError):  # it was killed as well
            return None
        await self._forget(latest.files)
        return self.seat.kernel


def told(cell: Cell, recovery: Recovery | None) -> Cell:
    """A cell that says how its kernel was put back, and whether something was lost for good."""
    if recovery is None:
        return cell
    lost = f"{recovery.cause}; {recovery.lost}" if recovery.lost else None
    return replace(cell, recovery=recovery, state_lost=lost)
