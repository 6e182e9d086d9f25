"""One kernel's place in a home: the kernel, its standbys, and its view of the agent's files.

This is the mechanism: copy, snapshot, go back, move into a view of one's own. When to
do which is decided in `live`.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from pathlib import PurePosixPath

from kernel_env.errors import KernelError, SandboxError
from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection.client import KernelClient, connected, open_kernel
from kernel_env.kernel.forking.fork_server import PRISTINE, ForkServer
from kernel_env.kernel.forking.standby import Standby, copy
from kernel_env.sandbox.protocol import Sandbox


class KernelInstance:
    """Where one kernel lives. The first in a home has the box's own view of the files."""

    def __init__(self, home: ForkServer) -> None:
        self.home, self.box = home, home.box
        self.kernel: KernelClient | None = None
        self.seed: int | None = None
        """What the random states of the pristine kernel started from, until a cell has run."""
        self._stack = AsyncExitStack()
        self._standbys: dict[int, Standby] = {}
        self._layers: Sequence[Mapping[str, str]] = ()
        """What the view of its own is made of; empty for the box's own view."""
        self.latest: str | None = None
        """The snapshot that the next one is compared with."""
        self._outlived: list[str] = []
        """Snapshots that are forgotten as soon as they are not the latest any more."""
        home.living[self] = set()

    @property
    def branched(self) -> bool:
        """Whether it has a view of its own."""
        return bool(self._layers)

    @property
    def within(self) -> int | None:
        """A process that sees the files as the kernel does; None for the box's own view."""
        if not self._layers:
            return None
        if self.kernel is not None and self.kernel.dead is None:
            return self.kernel.process.pid
        return next(reversed(self._standbys), None)

    # ── forwards ──────────────────────────────────────────────────────────────────────────

    async def begin(self, *, seed: int) -> None:
        """A pristine kernel in empty folders. Raises `SandboxError`, `KernelError`."""
        self.seed = seed
        if self.home.plain:
            await self._end_kernel()
            await self.box.sweep(empty=True)
            await self._open(open_kernel(self.box, env=self.home.env))
            return
        assert self.home.template is not None
        assert not self._layers, "the template has the box's own view"
        await self.go_back(self.home.template, PRISTINE, seed=seed)

    async def move_in(self, standby: Standby, files: str, *, seed: int | None = None) -> Standby:
        """A copy of `standby` in a view of its own, which holds what `files` holds.

        The view's first standby; it is not served yet. Raises `SandboxError`, `KernelError`.
        """
        layers, first = [], None
        async with self.home.moving:
            try:
                layers = await self.box.layers(files)
                await self.box.go_on([standby.pid])
                first = await standby.copy()
                await first.enter(layers, seed=seed)
                latest = self.home.name()
                await self.box.snapshot(latest, like=files, within=first.pid)
            except BaseException as error:
                if first is not None:
                    first.close()
                with suppress(SandboxError, OSError):
                    await self.box.discard(layers)
                if isinstance(error, OSError):
                    raise KernelError(f"no files for a copy: {error.strerror}") from error
                raise
            self._layers, self.latest = layers, latest
            self._know(first)
        return first

    async def serve(self, standby: Standby, *, seed: int | None = None) -> KernelClient:
        """Make a standby the kernel of this place. Raises `SandboxError`, `KernelError`."""
        self._standbys.pop(standby.pid, None)
        self.home.living[self].add(standby.pid)
        try:
            launched = await standby.serve(self.box, seed=seed)
        except BaseException:
            self.drop(standby)
            raise
        return await self._open(connected(launched))

    async def copy(self) -> Standby:
        """A standby of the kernel as it is, between two cells. Raises `KernelError`."""
        assert self.kernel is not None
        assert self.kernel.line is not None, "a plain kernel cannot be copied"
        standby = await copy(self.kernel.line)
        self._know(standby)
        return standby

    async def snapshot(self) -> str:
        """Remember the files as they are; the snapshot's name. Raises `SandboxError`, `OSError`."""
        name = self.home.name()
        pid = self.kernel.process.pid if self.kernel else None
        await self.box.snapshot(name, prior=self.latest, within=self.within, mapped_by=pid)
        self.latest = name
        while self._outlived:
            with suppress(SandboxError, OSError):
                await self.box.forget(self._outlived.pop())
        return name

    # ── backwards ─────────────────────────────────────────────────────────────────────────

    async def go_back(
        self, standby: Standby, files: str | None, *, seed: int | None = None
    ) -> None:
        """End the kernel and all it started, put the files back, go on as `standby`.

        It is a standby no more; of the template a copy goes on. Raises `SandboxError`,
        `KernelError`.
        """
        await self._end_kernel()
        within = standby.pid if self._layers else None
        await self._end_programs(within)
        restoring = asyncio.create_task(self._restore(files, within))
        try:
            going_on = await standby.copy() if standby is self.home.template else standby
        except BaseException:
            await asyncio.gather(restoring, return_exceptions=True)
            raise
        try:
            await restoring
        except BaseException:
            going_on.close()
            raise
        await self.serve(going_on, seed=seed)

    async def _restore(self, files: str | None, within: int | None) -> None:
        if files is not None:
            try:
                await self.box.restore(files, within=within)
            except OSError as error:
                raise SandboxError(f"files cannot be put back: {error.strerror}") from error
            self.latest = files

    async def _end_programs(self, within: int | None) -> None:
        keep = [*self._standbys, *([self.home.template.pid] if self.home.template else [])]
        async with self.home.moving:
            await self.box.end(keep=keep, within=within, others=list(self.home.others(self)))
        await self.box.go_on(keep)  # the agent's code may have stopped them

    # ── aside ─────────────────────────────────────────────────────────────────────────────

    async def try_out(self, standby: Standby, files: str, code: str, *, timeout_s: float) -> Cell:
        """Run a cell on a copy of a standby and undo all it did. The kernel must be at rest.

        Raises `SandboxError`, `KernelError`.
        """
        if self.home.one_view:
            return await self._try_in_place(standby, files, code, timeout_s)
        aside = KernelInstance(self.home)
        try:
            kernel = await aside.serve(await aside.move_in(standby, files))
            return await kernel.run(code, timeout_s=timeout_s)
        finally:
            await aside.close()

    async def _try_in_place(
        self, standby: Standby, files: str, code: str, timeout_s: float
    ) -> Cell:
        """Where all copies see the same files: everything else is held still meanwhile."""
        assert self.home.template is not None
        waiting = [*self._standbys, self.home.template.pid]
        aside = KernelInstance(self.home)
        stopped = await self.box.stop(keep=waiting)
        try:
            kernel = await aside.serve(await standby.copy())
            return await kernel.run(code, timeout_s=timeout_s)
        finally:
            await aside._end_kernel()
            self.home.living.pop(aside)
            await self.box.end(keep=[*stopped, *waiting])
            await self._restore(files, None)
            await standby.rewind()
            await self.box.go_on(stopped)

    # ── ends ──────────────────────────────────────────────────────────────────────────────

    def drop(self, standby: Standby) -> None:
        """A standby that is not needed any more."""
        standby.close()
        self._standbys.pop(standby.pid, None)
        self.home.living[self].discard(standby.pid)

    async def forget(self, files: str | None) -> None:
        """A snapshot that is not needed any more, but perhaps for the next to be compared with."""
        if files is None or files == PRISTINE:
            return
        if files == self.latest:
            self._outlived.append(files)
        else:
            await self.box.forget(files)

    async def close(self) -> None:
        """End the kernel and its standbys; with the last kernel of a home its box ends."""
        within, used = self.within, self.kernel is not None or bool(self._standbys)
        await self._end_kernel()
        try:
            if used and len(self.home.living) > 1:  # unused, it has no view: not even the box's own
                with suppress(SandboxError, OSError):  # the box is gone: so is all that was in it
                    await self._clear(within)
        finally:
            for standby in list(self._standbys.values()):
                self.drop(standby)
            await self.home.leave(self)

    async def _clear(self, within: int | None) -> None:
        """Leave nothing to the others that live here."""
        self._standbys, standbys = {}, self._standbys
        if within is not None or not self._layers:
            await self._end_programs(within)
        for standby in standbys.values():
            standby.close()
        await self.box.discard(self._layers)

    async def _end_kernel(self) -> None:
        if self.kernel is not None:
            self.home.living[self].discard(self.kernel.process.pid)
            self.kernel = None
        await self._stack.aclose()

    async def _open(self, opening: AbstractAsyncContextManager[KernelClient]) -> KernelClient:
        self.kernel = await self._stack.enter_async_context(opening)
        return self.kernel

    def _know(self, standby: Standby) -> None:
        self._standbys[standby.pid] = standby
        self.home.living[self].add(standby.pid)


async def open_seat(
    make_sandbox: Callable[[], Sandbox], paths: Mapping[str, PurePosixPath]
) -> KernelInstance:
    """A new home with a pristine kernel in it; see `ForkServer.open`."""
    home = await ForkServer.open(make_sandbox, paths)
    seat = KernelInstance(home)
    try:
        await seat.begin(seed=secrets.randbits(32))
    except BaseException:
        await seat.close()
        raise
    return seat
