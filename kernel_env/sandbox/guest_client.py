"""The host end of the connection to the init process of a sandbox (`guest/init.py`).

How the init process is started, in a container or as a child of this process, is what the back
ends `docker` and `local` differ in.
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
"""Kept of the output of each program."""
RESPONSE_S = 30.0
"""An init process that has not responded by then is considered dead."""
INIT_FOLDER = Path(guest.__file__).parent
"""The package that runs inside as the init process."""
START_INIT = "import sys; sys.path.append(sys.argv.pop(1)); from guest.init import main; main()"
"""Python source: imports the package from the folder given as the first argument."""


def init_command(python: str, folder: str, socket_path: str, snapshots: str) -> list[str]:
    """Return the argv that starts the init process.

    Args:
        python: the interpreter.
        folder: the folder that contains the package `guest`.
        socket_path: the host's socket to connect to.
        snapshots: the folder for snapshots of files.
    """
    return [python, "-I", "-S", "-c", START_INIT, folder, socket_path, snapshots]


@dataclass
class GuestProcess:
    """A program that the init process started, or a forked process that it adopted."""

    client: "GuestClient"
    pid: int
    ended: asyncio.Future[int]
    peak_bytes: int = 0
    output: TailBuffer = field(default_factory=lambda: TailBuffer(TAIL_BYTES))

    @property
    def exit_code(self) -> int | None:
        """Return None while it runs; 1 if the whole sandbox ended first."""
        if not self.ended.done():
            return None
        return 1 if self.ended.exception() else self.ended.result()

    async def wait(self) -> int:
        """Wait for the exit code. Raises `SandboxError` if the whole sandbox ended first."""
        await asyncio.wait([self.ended])  # does not cancel it, and unlike `shield` logs no error
        return self.ended.result()

    async def signal(self, number: int) -> None:
        """Send a signal to the program's session; does nothing if it has already ended."""
        await self.client.request("signal", pid=self.pid, number=number)

    def tail(self) -> str:
        """Return the last part of what it wrote."""
        return self.output.kept.decode(errors="replace")


class GuestClient:
    """One connection to an init process, and the processes known through it."""

    def __init__(self, socket_folder: Path) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the sandbox has ended, expectedly or not."""
        self.socket_path = socket_folder / "door"
        """The socket that the init process connects to."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.socket_path))
        self.socket_path.chmod(0o777)  # any user may connect; only the first one is accepted
        self._listener.listen(1)
        self._listener.setblocking(False)
        self._connection: socket.socket | None = None
        self._numbers = count(1)
        self._responses: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._running: dict[int, GuestProcess] = {}
        self._unclaimed: dict[int, tuple[int, int]] = {}
        """Exit code and peak memory of processes that ended before their request was answered."""
        self._sending = asyncio.Lock()
        self._buffer = b""
        self._descriptors: list[int] = []

    async def accept(self, *, timeout_s: float) -> Self:
        """Wait for the init process to connect, then remove the socket. Raises `TimeoutError`."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            connection, _ = await loop.sock_accept(self._listener)
        self._listener.close()
        self.socket_path.unlink()
        connection.setblocking(False)
        self._connection = connection
        loop.add_reader(connection, self._receive)
        return self

    def close(self) -> None:
        """Close the connection: the init process then ends everything. Idempotent."""
        self._listener.close()
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._connection)
            self._connection.close()
            self._connection = None
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        gone = SandboxError("the sandbox has ended")
        for response in self._responses.values():
            if not response.done():
                response.set_exception(gone)
        for process in self._running.values():
            if not process.ended.done():
                process.ended.set_exception(gone)
                process.ended.exception()  # marks it as retrieved: nobody need be waiting
        if not self.ended.done():
            self.ended.set_result(None)

    def _receive(self) -> None:
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
            self._handle(json.loads(line))

    def _handle(self, message: dict[str, Any]) -> None:
        if "exit" in message:
            pid, code, peak = message["exit"], message["code"], message["peak"]
            process = self._running.pop(pid, None)
            if process is None:
                self._unclaimed[pid] = code, peak
            elif not process.ended.done():
                process.peak_bytes = peak
                process.ended.set_result(code)
            return
        count = message.get("fds", 0)
        received, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        response = self._responses.pop(message["id"], None)
        if response is not None and not response.done():
            response.set_result((message, received))
        else:
            for descriptor in received:
                os.close(descriptor)

    async def request(
        self,
        do: str,
        *,
        descriptors: Sequence[int] = (),
        timeout_s: float = RESPONSE_S,
        **details: Any,
    ) -> tuple[dict[str, Any], list[int]]:
        """Send a request and return the response, each with its file descriptors.

        Raises `OSError` as it happened inside, `SandboxError` if the sandbox has ended or does
        not respond.
        """
        if self._connection is None:
            raise SandboxError("the sandbox has ended")
        number = next(self._numbers)
        message = {"id": number, "do": do, "fds": len(descriptors), **details}
        data = json.dumps(message).encode() + b"\n"
        response: asyncio.Future[tuple[dict[str, Any], list[int]]]
        response = self._responses[number] = asyncio.get_running_loop().create_future()
        try:
            async with self._sending:
                sent = socket.send_fds(self._connection, [data], list(descriptors))
                await asyncio.get_running_loop().sock_sendall(self._connection, data[sent:])
            async with asyncio.timeout(timeout_s):
                answer, received = await response
        except TimeoutError as error:
            raise SandboxError(f"the sandbox did not answer {do!r} in {timeout_s:g} s") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise SandboxError("the sandbox has ended") from error
        finally:
            self._responses.pop(number, None)
        if "errno" in answer:
            raise OSError(answer["errno"], answer["error"], details.get("path"))
        return answer, received

    async def spawn(
        self, argv: Sequence[str], env: Mapping[str, str], descriptors: Sequence[int]
    ) -> GuestProcess:
        """Start a program with these file descriptors as its 0, 1, 2, … Raises `SandboxError`."""
        try:
            response, _ = await self.request(
                "spawn", descriptors=descriptors, argv=list(argv), env=dict(env)
            )
        except OSError as error:
            raise SandboxError(f"{argv[0]} could not be started: {error.strerror}") from error
        return self._process(response["pid"])

    async def adopt(self, pid: int) -> GuestProcess:
        """Return a process whose parent has ended. Raises `ProcessLookupError`."""
        await self.request("adopt", pid=pid)
        return self._process(pid)

    def _process(self, pid: int) -> GuestProcess:
        process = GuestProcess(self, pid, asyncio.get_running_loop().create_future())
        if pid in self._unclaimed:
            code, process.peak_bytes = self._unclaimed.pop(pid)
            process.ended.set_result(code)
        else:
            self._running[pid] = process
        return process
