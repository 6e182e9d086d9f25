"""The host's end of `pid1.py`: the verbs that every sandbox of ours shares.

A `Box` knows how to talk to the first process in a box. How that process comes
to run, in a container or beside us, is what `docker` and `local` differ in.
"""

import asyncio
import errno
import json
import os
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from kernel_env.errors import SandboxError
from kernel_env.sandbox.base import SNAPSHOTS, Completed, FileStat, Memory, read_descriptor
from kernel_env.sandbox.tail import Tail

TAIL_BYTES = 16 * 1024
ANSWER_S = 30.0
"""A first process that has not answered by then is not going to."""
FILES_S = 300.0
"""For copies of the agent's folders: some gigabytes take seconds."""
FIRST = [Path(__file__).with_name(name) for name in ("pid1.py", "processes.py", "snapshots.py")]
"""The program of the first process and what it imports from beside it."""


@dataclass
class BoxProcess:
    """A program that the first process of a box started for us."""

    box: "Box"
    pid: int
    ended: asyncio.Future[int]
    peak_bytes: int = 0
    kept: Tail = field(default_factory=lambda: Tail(TAIL_BYTES))

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 1 when the whole box ended first."""
        if not self.ended.done():
            return None
        return 1 if self.ended.exception() else self.ended.result()

    async def wait(self) -> int:
        """The exit code; `SandboxError` when the whole box ended first."""
        return await asyncio.shield(self.ended)

    async def signal(self, number: int) -> None:
        """To the program's whole session; nothing happens when it has already ended."""
        await self.box.ask("signal", pid=self.pid, number=number)

    def tail(self) -> str:
        """The end of what it wrote, as far as it was kept."""
        return self.kept.kept.decode(errors="replace")


class Box:
    """One connection to a first process, and what is known through it."""

    def __init__(self, doorway: Path) -> None:
        self.doorway = doorway
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the box is gone, expected or not."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.door))
        self.door.chmod(0o777)  # programs of any user may knock; only the first is let in
        self._listener.listen(1)
        self._listener.setblocking(False)
        self._connection: socket.socket | None = None
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._running: dict[int, BoxProcess] = {}
        self._unclaimed: dict[int, tuple[int, int]] = {}
        self._sending = asyncio.Lock()
        self._buffer = b""
        self._descriptors: list[int] = []

    @property
    def door(self) -> Path:
        """The socket that the first process connects to."""
        return self.doorway / "door"

    async def meet(self, *, timeout_s: float) -> Self:
        """Wait for the first process, then shut the door behind it. Raises `TimeoutError`."""
        loop = asyncio.get_running_loop()
        connection, _ = await asyncio.wait_for(loop.sock_accept(self._listener), timeout_s)
        self._listener.close()
        self.door.unlink()
        connection.setblocking(False)
        self._connection = connection
        loop.add_reader(connection, self._hear)
        return self

    def close(self) -> None:
        """Let go: the first process ends everything in the box. May be called again."""
        self._listener.close()
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._connection)
            self._connection.close()
            self._connection = None
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        gone = SandboxError("the sandbox has ended")
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(gone)
        for process in self._running.values():
            if not process.ended.done():
                process.ended.set_exception(gone)
                process.ended.exception()  # nobody need be waiting
        if not self.ended.done():
            self.ended.set_result(None)

    def _hear(self) -> None:
        assert self._connection is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._connection, 1 << 16, 16, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            self.close()
            return
        self._descriptors += descriptors
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        if "exit" in message:
            pid, code, peak = message["exit"], message["code"], message["peak"]
            process = self._running.pop(pid, None)
            if process is None:
                self._unclaimed[pid] = code, peak  # it ended before our request was answered
            elif not process.ended.done():
                process.peak_bytes = peak
                process.ended.set_result(code)
            return
        count = message.get("fds", 0)
        given, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        answer = self._answers.pop(message["id"], None)
        if answer is not None and not answer.done():
            answer.set_result((message, given))
        else:
            for descriptor in given:
                os.close(descriptor)

    async def ask(
        self,
        do: str,
        *,
        given: Sequence[int] = (),
        timeout_s: float = ANSWER_S,
        **details: Any,
    ) -> tuple[dict[str, Any], list[int]]:
        """Send a request with descriptors and take the answer with its own.

        Raises `OSError` as it happened inside, `SandboxError` when the box is gone or silent.
        """
        if self._connection is None:
            raise SandboxError("the sandbox has ended")
        number = next(self._numbers)
        request = {"id": number, "do": do, "fds": len(given), **details}
        data = json.dumps(request).encode() + b"\n"
        answer: asyncio.Future[tuple[dict[str, Any], list[int]]]
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            async with self._sending:
                sent = socket.send_fds(self._connection, [data], list(given))
                await asyncio.get_running_loop().sock_sendall(self._connection, data[sent:])
            message, descriptors = await asyncio.wait_for(answer, timeout_s)
        except TimeoutError as error:
            raise SandboxError(f"the sandbox did not answer {do!r} in {timeout_s:g} s") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise SandboxError("the sandbox has ended") from error
        finally:
            self._answers.pop(number, None)
        if "errno" in message:
            raise OSError(message["errno"], message["error"], details.get("path"))
        return message, descriptors

    async def spawn(
        self, argv: Sequence[str], env: Mapping[str, str], descriptors: Sequence[int]
    ) -> BoxProcess:
        """Start a program with these descriptors as its 0, 1, 2, …"""
        try:
            message, _ = await self.ask("spawn", given=descriptors, argv=list(argv), env=dict(env))
        except OSError as error:
            raise SandboxError(f"{argv[0]} could not be started: {error.strerror}") from error
        return self._process(message["pid"])

    async def adopt(self, pid: int) -> BoxProcess:
        """A process that was left to the first one. Raises `ProcessLookupError`."""
        await self.ask("adopt", pid=pid)
        return self._process(pid)

    def _process(self, pid: int) -> BoxProcess:
        process = BoxProcess(self, pid, asyncio.get_running_loop().create_future())
        if pid in self._unclaimed:
            code, process.peak_bytes = self._unclaimed.pop(pid)
            process.ended.set_result(code)
        else:
            self._running[pid] = process
        return process


class Boxed(ABC):
    """The verbs of `Sandbox`, for a class that says how its `Box` is opened and closed."""

    box: Box
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
    ) -> BoxProcess:
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

    async def adopt(self, pid: int) -> BoxProcess:
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


def pipe() -> tuple[int, int]:
    """A pipe's write end (for the program) and read end (for us, not blocking)."""
    outside, inside = os.pipe()
    os.set_blocking(outside, False)
    return inside, outside


class reading:  # noqa: N801 - used as a context manager, like `contextlib.closing`
    """Feed what arrives on a descriptor to `take`; the value says when the other end closed."""

    def __init__(self, descriptor: int, take: Any) -> None:
        self.descriptor, self.take = descriptor, take
        self.drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __enter__(self) -> asyncio.Future[None]:
        asyncio.get_running_loop().add_reader(self.descriptor, self.hear)
        return self.drained

    def __exit__(self, *_: object) -> None:
        self.stop()

    def hear(self) -> None:
        """Take what is there; stop at the end."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return
        if data:
            self.take(data)
        else:
            self.stop()

    def stop(self) -> None:
        """Close our end. May be called again."""
        if not self.drained.done():
            asyncio.get_running_loop().remove_reader(self.descriptor)
            os.close(self.descriptor)
            self.drained.set_result(None)


def keep_tail(descriptor: int, tail: Tail, ended: asyncio.Future[None]) -> None:
    """Keep the end of what a program writes until it stops writing or its box ends."""
    reader = reading(descriptor, tail.add)
    reader.__enter__()
    ended.add_done_callback(lambda _: reader.stop())
