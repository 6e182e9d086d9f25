"""One kernel of a fork server: the running kernel and its mount namespace.

This is the mechanism: fork, take a snapshot, restore, move into an overlay. When to do which is
decided in `checkpoints` and `replayable`. Its processes are recorded by the fork server.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress

from kernel_env.errors import KernelError, SandboxError
from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection.client import KernelClient, connected, open_kernel
from kernel_env.kernel.forking.fork_server import PRISTINE, ForkServer
from kernel_env.kernel.forking.standby import Standby, fork
from kernel_env.sandbox.fork_support import Layers


class KernelInstance:
    """A kernel in a fork server's sandbox. The first one uses the sandbox's own files."""

    def __init__(self, server: ForkServer) -> None:
        self.server = server
        self.kernel: KernelClient | None = None
        self.seed: int | None = None
        """What the random states of a pristine kernel start from, until a cell has run."""
        self.latest_snapshot: str | None = None
        """The snapshot that the next one is compared with."""
        self._stack = AsyncExitStack()
        self._layers: Layers = ()
        """The overlay of its mount namespace; empty in the sandbox's own."""
        self._obsolete: list[str] = []
        """Snapshots to delete as soon as they are not the latest any more."""
        server.register(self)

    @property
    def has_overlay(self) -> bool:
        """Return whether it has a mount namespace of its own."""
        return bool(self._layers)

    @property
    def mount_namespace_of(self) -> int | None:
        """Return a process with the kernel's files; None for the sandbox's own files."""
        if not self._layers:
            return None
        if self.kernel is not None and self.kernel.death_reason is None:
            return self.kernel.process.pid
        return next(reversed(self.standbys), None)

    @property
    def standbys(self) -> dict[int, Standby]:
        """Return its standbys by process ID, oldest first."""
        return self.server.standbys(self)

    # ── start, fork, snapshot ─────────────────────────────────────────────────────────────

    async def start(self, *, seed: int, keep_files: bool = False) -> None:
        """Start a pristine kernel, in empty folders unless the files are kept.

        Raises `SandboxError`, `KernelError`.
        """
        self.seed = seed
        if self.server.template is None:
            await self._end_kernel()
            await self.server.sandbox.clean_up(workspace=not keep_files)
            await self._connect(
                open_kernel(self.server.sandbox, env=self.server.env, payloads=self.server.payloads)
            )
            return
        assert not self._layers, "the template has the sandbox's own files"
        files = None if keep_files else PRISTINE
        await self.restore(self.server.template, files, seed=seed)

    async def fork_into_overlay(
        self, standby: Standby, files: str, *, seed: int | None = None
    ) -> Standby:
        """Fork `standby` into a new mount namespace with the files of the snapshot `files`.

        Returns the first standby of this instance; it does not serve yet.
        Raises `SandboxError`, `KernelError`.
        """
        support = self.server.support
        layers: Layers = ()
        first = None
        async with self.server.moving:
            try:
                layers = await support.create_overlay(files)
                await support.resume([standby.pid])
                first = await standby.fork(support)
                await first.enter_mount_namespace(layers, seed=seed)
                latest = self.server.new_snapshot_name()
                await support.snapshot(latest, same_as=files, mount_namespace_of=first.pid)
            except BaseException as error:
                if first is not None:
                    first.close()
                with suppress(SandboxError, OSError):
                    await support.remove_overlay(layers)
                if isinstance(error, OSError):
                    raise KernelError(f"no files for a forked kernel: {error.strerror}") from error
                raise
            self._layers, self.latest_snapshot = layers, latest
            self.server.add_standby(self, first)
        return first

    async def serve(self, standby: Standby, *, seed: int | None = None) -> KernelClient:
        """Make a standby the kernel of this instance. Raises `SandboxError`, `KernelError`."""
        self.server.set_kernel(self, standby)
        try:
            launched = await standby.serve(self.server.support, seed=seed)
            return await self._connect(connected(launched))
        except BaseException:
            standby.close()
            self.server.clear_kernel(self)
            raise

    async def fork(self) -> Standby:
        """Fork the kernel, between two cells, into a standby. Raises `KernelError`."""
        assert self.kernel is not None
        assert self.kernel.channel is not None, "a plain kernel cannot be forked"
        standby = await fork(self.kernel.channel, self.server.support)
        self.server.add_standby(self, standby)
        return standby

    async def snapshot(self) -> str:
        """Take a snapshot of the files and return its name. Raises `SandboxError`, `OSError`."""
        support, name = self.server.support, self.server.new_snapshot_name()
        await support.snapshot(
            name,
            prior=self.latest_snapshot,
            mount_namespace_of=self.mount_namespace_of,
            mapped_by=self.kernel.process.pid if self.kernel else None,
        )
        self.latest_snapshot = name
        while self._obsolete:
            with suppress(SandboxError, OSError):
                await support.delete_snapshot(self._obsolete.pop())
        return name

    # ── restore ───────────────────────────────────────────────────────────────────────────

    async def restore(
        self, standby: Standby, files: str | None, *, seed: int | None = None
    ) -> list[str]:
        """End the kernel and all it started, restore the files, and resume as `standby`.

        The standby becomes the kernel; the template is forked first. `files` is a snapshot, or
        None to leave the files as they are. Returns the names of the programs that were killed.
        Raises `SandboxError`, `KernelError`.
        """
        kernel_pid = self.kernel.process.pid if self.kernel else None
        await self._end_kernel()
        mount_namespace_of = standby.pid if self._layers else None
        killed = await self._kill_programs(mount_namespace_of)
        support = self.server.support
        restoring = asyncio.create_task(self._restore_files(files, mount_namespace_of))
        try:
            async with self.server.moving:  # nobody else stops the template meanwhile
                await support.resume([standby.pid])
                is_template = standby is self.server.template
                successor = await standby.fork(support) if is_template else standby
        except BaseException:
            await asyncio.gather(restoring, return_exceptions=True)
            raise
        try:
            await restoring
        except BaseException:
            successor.close()
            raise
        await self.serve(successor, seed=seed)
        return [name for pid, name in killed.items() if pid != kernel_pid]

    async def _restore_files(self, files: str | None, mount_namespace_of: int | None) -> None:
        if files is not None:
            support = self.server.support
            try:
                await support.restore(files, mount_namespace_of=mount_namespace_of)
            except OSError as error:
                raise SandboxError(f"files cannot be restored: {error.strerror}") from error
            self.latest_snapshot = files

    async def _kill_programs(self, mount_namespace_of: int | None) -> Mapping[int, str]:
        keep = self.server.waiting_pids(self)
        async with self.server.moving:
            return await self.server.support.kill_processes(
                keep=keep,
                mount_namespace_of=mount_namespace_of,
                others=self.server.other_pids(self),
            )

    # ── trials ────────────────────────────────────────────────────────────────────────────

    async def run_trial(self, standby: Standby, files: str, code: str, *, timeout_s: float) -> Cell:
        """Run a cell on a fork of a standby and undo all it did, while the kernel is idle.

        Raises `SandboxError`, `KernelError`.
        """
        if self.server.overlay_unavailable_reason is not None:
            return await self._run_trial_in_place(standby, files, code, timeout_s)
        trial = KernelInstance(self.server)
        try:
            kernel = await trial.serve(await trial.fork_into_overlay(standby, files))
            return await kernel.run(code, timeout_s=timeout_s)
        finally:
            await trial.close()

    async def _run_trial_in_place(
        self, standby: Standby, files: str, code: str, timeout_s: float
    ) -> Cell:
        """Run a trial where all forks share the same files: pause everything else meanwhile."""
        support, waiting = self.server.support, self.server.waiting_pids(self)
        paused = await support.pause(keep=waiting)
        trial = KernelInstance(self.server)
        try:
            await support.resume([standby.pid])
            kernel = await trial.serve(await standby.fork(support))
            return await kernel.run(code, timeout_s=timeout_s)
        finally:
            await trial._end_kernel()
            self.server.unregister(trial)
            await support.kill_processes(keep=[*paused, *waiting])
            await support.resume([standby.pid])
            await self._restore_files(files, None)
            await standby.rewind()
            await support.resume(paused)

    # ── end ───────────────────────────────────────────────────────────────────────────────

    async def delete_snapshot(self, name: str | None) -> None:
        """Delete a snapshot, at once or when the next one need not be compared with it."""
        if name is None or name == PRISTINE:
            return
        if name == self.latest_snapshot:
            self._obsolete.append(name)
        else:
            await self.server.support.delete_snapshot(name)

    async def close(self) -> None:
        """End the kernel, its standbys and its programs. The sandbox stays. Idempotent."""
        if not self.server.is_registered(self):
            return
        mount_namespace_of = self.mount_namespace_of
        used = self.kernel is not None or bool(self.standbys)
        forkable = self.server.template is not None
        await self._end_kernel()
        try:
            # An unused instance has no files, and the last one leaves them to nobody.
            if used and forkable and self.server.instance_count > 1:
                with suppress(SandboxError, OSError):  # the sandbox has ended, with all in it
                    await self._remove_traces(mount_namespace_of)
        finally:
            self.server.unregister(self)

    async def _remove_traces(self, mount_namespace_of: int | None) -> None:
        standbys = list(self.standbys.values())
        for standby in standbys:
            self.server.disown_standby(self, standby)
        try:
            if mount_namespace_of is not None or not self._layers:
                await self._kill_programs(mount_namespace_of)
        finally:
            for standby in standbys:
                standby.close()
        await self.server.support.remove_overlay(self._layers)

    async def _end_kernel(self) -> None:
        if self.kernel is not None:
            self.server.clear_kernel(self)
            self.kernel = None
        await self._stack.aclose()

    async def _connect(self, opening: AbstractAsyncContextManager[KernelClient]) -> KernelClient:
        self.kernel = await self._stack.enter_async_context(opening)
        return self.kernel
