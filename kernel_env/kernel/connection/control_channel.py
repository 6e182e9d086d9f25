"""The host end of the control channel of a forked kernel; the guest end has the same name.

The host makes both ends and hands one in beside a request, so nothing in the box can
find, replace or fill it, and when a process ends the host hears it. What comes
back is the agent's word once its code has run in that process: short, parsed, and no more.
"""

import asyncio
import json
import socket
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from kernel_env.errors import KernelError

ANSWER_BYTES = 1 << 16


class ControlChannel:
    """Requests to one process, and its answers."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._buffer = b""
        self._asking = asyncio.Lock()
        self._numbers = count(1)

    @property
    def gone(self) -> bool:
        """Whether the process has ended, or let go."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def ask(
        self, do: str, *, given: Sequence[int] = (), timeout_s: float, **details: Any
    ) -> dict[str, Any]:
        """Send a request with descriptors, take the answer.

        Raises `KernelError` when the process is gone, is silent, or says that it cannot.
        """
        async with self._asking:
            number = await self.tell(do, given=given, **details)
            deadline = time.monotonic() + timeout_s
            answer: dict[str, Any] = {}
            while answer.get("id") != number:  # others answer what nobody waits for any more
                answer = await self.hear(timeout_s=max(0.0, deadline - time.monotonic()))
            if "error" in answer:
                raise KernelError(f"the kernel could not be copied: {answer['error']!s:.200}")
            return answer

    async def tell(self, do: str, *, given: Sequence[int] = (), **details: Any) -> int:
        """Send a request whose answer need not be waited for; its number.

        Raises `KernelError` when the process is gone.
        """
        number = next(self._numbers)
        request = json.dumps({"id": number, "do": do, **details}).encode() + b"\n"
        try:
            sent = socket.send_fds(self._socket, [request], list(given))
            if sent < len(request):
                await asyncio.get_running_loop().sock_sendall(self._socket, request[sent:])
        except OSError as error:
            raise KernelError(f"a copy of the kernel is gone ({error.strerror})") from error
        return number

    async def hear(self, *, timeout_s: float) -> dict[str, Any]:
        """The next answer. Raises `KernelError`."""
        try:
            async with asyncio.timeout(timeout_s):
                while b"\n" not in self._buffer:
                    data = await asyncio.get_running_loop().sock_recv(self._socket, ANSWER_BYTES)
                    if not data:
                        raise KernelError("a copy of the kernel is gone")
                    self._buffer += data
                    if len(self._buffer) > ANSWER_BYTES:
                        raise KernelError("a copy of the kernel babbles")
            line, self._buffer = self._buffer.split(b"\n", 1)
            answer = json.loads(line)
        except TimeoutError as error:
            raise KernelError(f"a copy of the kernel did not answer in {timeout_s:g} s") from error
        except OSError as error:
            raise KernelError(f"a copy of the kernel is gone ({error.strerror})") from error
        except ValueError as error:
            raise KernelError("a copy of the kernel babbles") from error
        if not isinstance(answer, dict):
            raise KernelError("a copy of the kernel babbles")
        return answer

    def close(self) -> None:
        """Let go: a copy that waits ends. May be called again."""
        self._socket.close()
