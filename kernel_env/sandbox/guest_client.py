"""The host's end of `pid1.py`: the verbs that every sandbox of ours shares.

A `GuestClient` knows how to talk to the first process in a box. How that process comes
to run, in a container or beside us, is what `docker` and `local` differ in.
"""

import asyncio
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

from kernel_env.errors import SandboxError
from kernel_env.sandbox import guest
from kernel_env.sandbox.tail_buffer import TailBuffer

TAIL_BYTES = 16 * 1024
ANSWER_S = 30.0
"""A first process that has not answered by then is not going to."""
INIT_FOLDER = Path(guest.__file__).parent
"""The package that runs in a container as its init process."""
START_INIT = "import sys; sys.path.append(sys.argv.pop(1)); from guest.init import main; main()"
"""Python source: the package is imported from the folder given as the first argument."""


def init_command(python: str, folder: str, socket: str, snapshots: str) -> list[str]:
    """Return the argv that starts the init process.

    Args:
        python: the interpreter.
        folder: where it finds the package `guest`.
        socket: the host's socket to connect to.
        snapshots: the folder in which it keeps snapshots of files.
    """
    return [python, "-I", "-S", "-c", START_INIT, folder, socket, snapshots]


@dataclass
class GuestProcess:
    """A program that the first process of a box started for us."""

    box: "GuestClient"
    pid: int
    ended: asyncio.Future[int]
    peak_bytes: int = 0
    kept: TailBuffer = field(default_factory=lambda: TailBuffer(TAIL_BYTES))

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


class GuestClient:
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
        self._running: dict[int, GuestProcess] = {}
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
    ) -> GuestProcess:
        """Start a program with these descriptors as its 0, 1, 2, …"""
        try:
            message, _ = await self.ask("spawn", given=descriptors, argv=list(argv), env=dict(env))
        except OSError as error:
            raise SandboxError(f"{argv[0]} could not be started: {error.strerror}") from error
        return self._process(message["pid"])

    async def adopt(self, pid: int) -> GuestProcess:
        """A process that was left to the first one. Raises `ProcessLookupError`."""
        await self.ask("adopt", pid=pid)
        return self._process(pid)

    def _process(self, pid: int) -> GuestProcess:
        process = GuestProcess(self, pid, asyncio.get_running_loop().create_future())
        if pid in self._unclaimed:
            code, process.peak_bytes = self._unclaimed.pop(pid)
            process.ended.set_result(code)
        else:
            self._running[pid] = process
        return process
