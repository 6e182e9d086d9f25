"""The verbs of a sandbox whose programs are run by our init process."""

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
from kernel_env.sandbox.guest_client import ANSWER_S, GuestClient, GuestProcess
from kernel_env.sandbox.pipes import keep_tail, pipe, reading
from kernel_env.sandbox.protocol import SNAPSHOTS, Completed, FileStat, Memory, read_descriptor

FILES_S = 300.0
"""For copies of the agent's folders: some gigabytes take seconds."""


class GuestSandbox(ABC):
    """The verbs of `Sandbox`, for a class that says how its `GuestClient` is opened and closed."""

    box: GuestClient
    environment: Mapping[str, str]

    _layers = count(1)

    @property
    @abstractmethod
    def folders(self) -> Sequence[PurePosixPath]:
        """The folders that an agent can write in and that its snapshots hold, as seen inside."""

    @abstractmethod
    async def _open(self) -> None:
        """Set `box` and meet its first process. What was begun is closed when this fails."""

    @abstractmethod
    async def _close(self) -> None:
        """Remove every trace, however far `_open` came."""

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

    def where(self, path: PurePosixPath) -> PurePosixPath:
        """A box with a file system of its own has the design's names."""
        return path

    async def run(
        self, argv: Sequence[str], *, timeout_s: float, limit_bytes: int = 1 << 20
    ) -> Completed:
        """Run a program to its end."""
        inside, outside = pipe()
        kept = bytearray()

        def keep(data: bytes) -> None:
            kept.extend(data[: limit_bytes - len(kept)])

        with reading(outside, keep) as drained:
            try:
                process = await self.spawn(argv, stdout=inside, stderr=inside)
            finally:
                os.close(inside)
            try:
                code = await asyncio.wait_for(process.wait(), timeout_s)
            except TimeoutError:
                await process.signal(signal.SIGKILL)
                await asyncio.wait([process.ended], timeout=ANSWER_S)  # killed means gone
                raise
            await asyncio.wait([drained], timeout=1.0)  # a grandchild may hold the pipe for ever
        return Completed(exit_code=code, output=bytes(kept))

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
        """Start a program."""
        null = os.open(os.devnull, os.O_RDWR)
        inside, outside = pipe()
        try:
            streams = [null if stdin is None else stdin, stdout or inside, stderr or inside]
            process = await self.box.spawn(
                argv, {**self.environment, **(env or {})}, [*streams, *descriptors]
            )
        except BaseException:
            os.close(outside)
            raise
        finally:
            os.close(inside)
            os.close(null)
        keep_tail(outside, process.kept, self.box.ended)
        return process

    async def adopt(self, pid: int) -> GuestProcess:
        """A process that was left to the box."""
        return await self.box.adopt(pid)

    async def read(
        self, path: PurePosixPath, *, limit_bytes: int, within: int | None = None
    ) -> bytes:
        """A regular file's content, as bytes with a limit."""
        try:
            _, (descriptor,) = await self.box.ask(
                "open", path=str(self.where(path)), write=False, within=within
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
        """Make or replace a file."""
        _, (descriptor,) = await self.box.ask("open", path=str(self.where(path)), write=True)

        def put() -> None:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)

        await asyncio.to_thread(put)

    async def stat(self, path: PurePosixPath, *, within: int | None = None) -> FileStat | None:
        """What is there; None when nothing is."""
        try:
            message, _ = await self.box.ask("stat", path=str(self.where(path)), within=within)
        except (FileNotFoundError, NotADirectoryError):
            return None
        mode, size, modified_ns, changed_ns, inode = message["stat"]
        return FileStat(
            mode=mode, size=size, modified_ns=modified_ns, changed_ns=changed_ns, inode=inode
        )

    async def end(
        self, *, keep: Sequence[int], within: int | None = None, others: Sequence[int] = ()
    ) -> None:
        """Kill the programs that share a view, but for some."""
        await self.box.ask("end", keep=list(keep), within=within, others=list(others))

    async def stop(self, *, keep: Sequence[int]) -> list[int]:
        """Hold every program but these where it is."""
        message, _ = await self.box.ask("stop", keep=list(keep))
        stopped: list[int] = message["stopped"]
        return stopped

    async def go_on(self, pids: Sequence[int]) -> None:
        """Let stopped programs go on."""
        await self.box.ask("go_on", pids=list(pids))

    async def weigh(self, pids: Sequence[int], *, enough_bytes: int) -> int:
        """Bytes of memory that these processes hold."""
        message, _ = await self.box.ask("weigh", pids=list(pids), enough=enough_bytes)
        held: int = message["bytes"]
        return held

    async def memory(self) -> Memory:
        """How the memory limit has been felt."""
        message, _ = await self.box.ask("memory")
        return Memory(killed=message["killed"], limit_bytes=message["limit"])

    async def snapshot(
        self,
        name: str,
        *,
        prior: str | None = None,
        like: str | None = None,
        within: int | None = None,
        mapped_by: int | None = None,
    ) -> None:
        """Remember the agent's folders under a name."""
        await self._files("take", name, within=within, prior=prior, like=like, mapped_by=mapped_by)

    async def restore(self, name: str, *, within: int | None = None) -> None:
        """Make the agent's folders what they were."""
        await self._files("restore", name, within=within)

    async def forget(self, name: str) -> None:
        """A snapshot that is not needed any more."""
        await self._files("forget", name)

    async def layers(self, name: str) -> list[dict[str, str]]:
        """What a view of its own of this snapshot is made of."""
        root = f"{self.where(SNAPSHOTS)}/view-{next(self._layers)}"
        await self._files("tree", name, folder=f"{root}/lower")
        return [
            {
                "at": str(folder),
                "lower": f"{root}/lower/{number}",
                "upper": f"{root}/{number}/upper",
                "work": f"{root}/{number}/work",
            }
            for number, folder in enumerate(self.folders)
        ]

    async def discard(self, layers: Sequence[Mapping[str, str]]) -> None:
        """Remove the files of a view."""
        if layers:
            await self._files("remove", str(PurePosixPath(layers[0]["lower"]).parents[1]))

    async def _files(self, do: str, name: str, **details: Any) -> None:
        roots = [str(folder) for folder in self.folders]
        await self.box.ask(do, name=name, roots=roots, timeout_s=FILES_S, **details)
