"""The verbs of `Sandbox` and of `ForkSupport`, carried out by our init process."""

import asyncio
import errno
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Self

from kernel_env.errors import SandboxError
from kernel_env.sandbox.fork_support import Layers, MemoryLimit
from kernel_env.sandbox.guest_client import RESPONSE_S, GuestClient, GuestProcess
from kernel_env.sandbox.pipes import keep_tail, pipe, reading
from kernel_env.sandbox.protocol import SNAPSHOTS, Completed, FileStat, read_descriptor

FILES_S = 300.0
"""Time limit for a snapshot or its restoration: some gigabytes take seconds."""


class GuestSandbox(ABC):
    """The verbs of `Sandbox`, for a class that opens and closes the `GuestClient`."""

    guest: GuestClient
    environment: Mapping[str, str]
    mount_namespaces: bool
    host_gpus = True

    @property
    @abstractmethod
    def folders(self) -> Sequence[PurePosixPath]:
        """Return the folders that an agent can write in and snapshots contain, as seen inside."""

    @abstractmethod
    async def _open(self) -> None:
        """Set `guest` and connect to the init process."""

    @abstractmethod
    async def _close(self) -> None:
        """Remove every trace, also of an `_open` that failed half-way."""

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException as error:
            await self._close()
            if isinstance(error, OSError):  # a full disk, a path too long for a socket, a time-out
                raise SandboxError(f"the sandbox did not start: {error or 'no answer'}") from error
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    @property
    def fork_support(self) -> "GuestForkSupport":
        """Return the verbs for forked kernels."""
        return GuestForkSupport(self)

    def guest_path(self, path: PurePosixPath) -> PurePosixPath:
        """Return the same path: most sandboxes have a file system of their own."""
        return path

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, limit_bytes: int = 1 << 20
    ) -> Completed:
        """Run a program to its end."""
        inside, outside = pipe()
        output = bytearray()

        def keep(data: bytes) -> None:
            output.extend(data[: limit_bytes - len(output)])

        with reading(outside, keep) as drained:
            try:
                process = await self.spawn(argv, stdout=inside, stderr=inside)
            finally:
                os.close(inside)
            try:
                async with asyncio.timeout(timeout_s):
                    code = await process.wait()
            except TimeoutError:
                await process.signal(signal.SIGKILL)
                await asyncio.wait([process.ended], timeout=RESPONSE_S)
                raise
            await asyncio.wait([drained], timeout=1.0)  # a grandchild may hold the pipe for ever
        return Completed(exit_code=code, output=bytes(output))

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        descriptors: Sequence[int] = (),
    ) -> GuestProcess:
        """Start a program in the workspace."""
        null = os.open(os.devnull, os.O_RDWR)
        inside, outside = pipe()
        try:
            streams = [null if stdin is None else stdin, stdout or inside, stderr or inside]
            process = await self.guest.spawn(
                argv, {**self.environment, **(env or {})}, [*streams, *descriptors]
            )
        except BaseException:
            os.close(outside)
            raise
        finally:
            os.close(inside)
            os.close(null)
        keep_tail(outside, process.output, self.guest.ended)
        return process

    async def read(self, path: PurePosixPath, *, limit_bytes: int) -> bytes:
        """Return the content of a regular file."""
        return await self.read_in(path, limit_bytes=limit_bytes, mount_namespace_of=None)

    async def read_in(
        self, path: PurePosixPath, *, limit_bytes: int, mount_namespace_of: int | None
    ) -> bytes:
        """Return the content of a regular file in a mount namespace."""
        try:
            _, (descriptor,) = await self.guest.request(
                "open",
                path=str(self.guest_path(path)),
                write=False,
                mount_namespace_of=mount_namespace_of,
            )
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OSError(f"{path} is a link; only a regular file is read") from error
            raise
        try:
            return await asyncio.to_thread(read_descriptor, descriptor, path, limit_bytes)
        finally:
            os.close(descriptor)

    async def write(self, path: PurePosixPath, data: bytes) -> None:
        """Create or replace a file."""
        _, (descriptor,) = await self.guest.request(
            "open", path=str(self.guest_path(path)), write=True
        )

        def write_all() -> None:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)

        await asyncio.to_thread(write_all)

    async def stat(self, path: PurePosixPath) -> FileStat | None:
        """Return the state of a file."""
        return await self.stat_in(path, mount_namespace_of=None)

    async def stat_in(
        self, path: PurePosixPath, *, mount_namespace_of: int | None
    ) -> FileStat | None:
        """Return the state of a file in a mount namespace."""
        try:
            response, _ = await self.guest.request(
                "stat", path=str(self.guest_path(path)), mount_namespace_of=mount_namespace_of
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        mode, size, modified_ns, changed_ns, inode = response["stat"]
        return FileStat(
            mode=mode, size=size, modified_ns=modified_ns, changed_ns=changed_ns, inode=inode
        )


class GuestForkSupport:
    """The verbs of `ForkSupport` for any `GuestSandbox`."""

    _numbers = count(1)

    def __init__(self, sandbox: GuestSandbox) -> None:
        self._sandbox, self._guest = sandbox, sandbox.guest
        self.mount_namespaces = sandbox.mount_namespaces

    @property
    def folders(self) -> Sequence[PurePosixPath]:
        """Return the agent's folders as seen inside."""
        return self._sandbox.folders

    async def sender(self, connection: int) -> int:
        """Return the process that sent the next byte to a socket."""
        response, _ = await self._guest.request("sender", descriptors=[connection])
        pid: int = response["pid"]
        return pid

    async def adopt(self, pid: int) -> GuestProcess:
        """Return a process that was forked inside."""
        return await self._guest.adopt(pid)

    async def read(
        self, path: PurePosixPath, *, limit_bytes: int, mount_namespace_of: int | None
    ) -> bytes:
        """Return the content of a file in a mount namespace."""
        return await self._sandbox.read_in(
            path, limit_bytes=limit_bytes, mount_namespace_of=mount_namespace_of
        )

    async def stat(self, path: PurePosixPath, *, mount_namespace_of: int | None) -> FileStat | None:
        """Return the state of a file in a mount namespace."""
        return await self._sandbox.stat_in(path, mount_namespace_of=mount_namespace_of)

    async def kill_processes(
        self,
        *,
        keep: Sequence[int],
        mount_namespace_of: int | None = None,
        others: Sequence[int] = (),
    ) -> Mapping[int, str]:
        """Kill the processes of a mount namespace, except some."""
        response, _ = await self._guest.request(
            "kill_processes",
            keep=list(keep),
            mount_namespace_of=mount_namespace_of,
            others=list(others),
        )
        return dict(response["killed"])

    async def pause(self, *, keep: Sequence[int]) -> list[int]:
        """Stop every process except these."""
        response, _ = await self._guest.request("pause", keep=list(keep))
        paused: list[int] = response["paused"]
        return paused

    async def resume(self, pids: Sequence[int]) -> None:
        """Continue stopped processes."""
        await self._guest.request("resume", pids=list(pids))

    async def memory_used(self, pids: Sequence[int], *, enough_bytes: int) -> int:
        """Return the memory of these processes in bytes."""
        response, _ = await self._guest.request("memory_used", pids=list(pids), enough=enough_bytes)
        used: int = response["bytes"]
        return used

    async def memory_limit(self) -> MemoryLimit:
        """Return the memory limit and how many processes it has killed."""
        response, _ = await self._guest.request("memory_limit")
        return MemoryLimit(killed=response["killed"], limit_bytes=response["limit"])

    async def snapshot(
        self,
        name: str,
        *,
        prior: str | None = None,
        same_as: str | None = None,
        mount_namespace_of: int | None = None,
        mapped_by: int | None = None,
    ) -> None:
        """Take a snapshot of the agent's folders."""
        await self._files(
            "snapshot",
            name,
            mount_namespace_of=mount_namespace_of,
            prior=prior,
            same_as=same_as,
            mapped_by=mapped_by,
        )

    async def restore(self, name: str, *, mount_namespace_of: int | None = None) -> None:
        """Restore the agent's folders from a snapshot."""
        await self._files("restore", name, mount_namespace_of=mount_namespace_of)

    async def delete_snapshot(self, name: str) -> None:
        """Delete a snapshot."""
        await self._files("delete_snapshot", name)

    async def create_overlay(self, name: str) -> Layers:
        """Prepare the layers of an overlay over a snapshot."""
        root = f"{self._sandbox.guest_path(SNAPSHOTS)}/view-{next(self._numbers)}"
        await self._files("create_lower", name, folder=f"{root}/lower")
        return [
            {
                "at": str(folder),
                "lower": f"{root}/lower/{number}",
                "upper": f"{root}/{number}/upper",
                "work": f"{root}/{number}/work",
            }
            for number, folder in enumerate(self._sandbox.folders)
        ]

    async def remove_overlay(self, layers: Layers) -> None:
        """Delete the files of an overlay."""
        if layers:
            await self._files("remove_folder", str(PurePosixPath(layers[0]["lower"]).parents[1]))

    async def _files(self, do: str, name: str, **details: Any) -> None:
        roots = [str(folder) for folder in self._sandbox.folders]
        await self._guest.request(do, name=name, roots=roots, timeout_s=FILES_S, **details)
