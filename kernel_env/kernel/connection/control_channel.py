"""The host end of the control channel of a forked kernel; the guest end has the same name.

The host creates both ends and passes one in beside a request, so nothing inside the container
can find, replace or fill it, and its end tells the host that the process has ended. Once the
agent's code has run in that process, what arrives is untrusted: short lines, parsed, no more.
"""

import asyncio
import json
import socket
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from kernel_env.errors import KernelError
from kernel_env.kernel.connection.messages import INVALID, has_many_values, parsed_object
from kernel_env.sandbox.fork_support import ForkSupport

RESPONSE_BYTES, RESPONSE_VALUES = 1 << 16, 1000
"""Most bytes and JSON values of a response."""
"""Most bytes of a response."""
MAX_UNEXPECTED = 100
"""Most other lines before the response to a request: late responses to earlier ones."""


class ControlChannel:
    """Sends requests to one forked process and receives its responses."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if hasattr(socket, "SO_PASSCRED"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket = connection
        self._buffer = b""
        self._requesting = asyncio.Lock()
        self._numbers = count(1)

    @property
    def closed(self) -> bool:
        """Return whether the process has ended or has closed its end."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def request(
        self, do: str, *, descriptors: Sequence[int] = (), timeout_s: float, **details: Any
    ) -> dict[str, Any]:
        """Send a request with file descriptors and return the response.

        Raises `KernelError` if the process has ended, does not respond, or reports an error.
        """
        async with self._requesting:
            number = await self.send(do, descriptors=descriptors, **details)
            deadline = time.monotonic() + timeout_s
            for _ in range(MAX_UNEXPECTED):
                response = await self.receive(timeout_s=deadline - time.monotonic())
                if response.get("id") == number:
                    break
            else:
                raise KernelError("invalid response from a forked kernel: not to this request")
            if "error" in response:
                raise KernelError(f"{response['error']!s:.200}")
            return response

    async def send(self, do: str, *, descriptors: Sequence[int] = (), **details: Any) -> int:
        """Send a request without waiting for the response. Returns the request's number.

        Raises `KernelError` if the process has ended.
        """
        number = next(self._numbers)
        request = json.dumps({"id": number, "do": do, **details}).encode() + b"\n"
        try:
            sent = socket.send_fds(self._socket, [request], list(descriptors))
            if sent < len(request):
                await asyncio.get_running_loop().sock_sendall(self._socket, request[sent:])
        except OSError as error:
            raise KernelError(f"a forked kernel has ended ({error.strerror})") from error
        return number

    async def receive(self, *, timeout_s: float) -> dict[str, Any]:
        """Return the next response. Other work has a turn before each. Raises `KernelError`."""
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(0)  # raises `TimeoutError` also if there is a response already
                while b"\n" not in self._buffer:
                    data = await asyncio.get_running_loop().sock_recv(self._socket, RESPONSE_BYTES)
                    if not data:
                        raise KernelError("a forked kernel has ended")
                    self._buffer += data
                    if len(self._buffer) > RESPONSE_BYTES:
                        raise KernelError("invalid response from a forked kernel: too long")
            line, self._buffer = self._buffer.split(b"\n", 1)
            if has_many_values(line, RESPONSE_VALUES):
                raise KernelError("invalid response from a forked kernel: too many values")
            response = parsed_object(line)
        except TimeoutError as error:
            raise KernelError("a forked kernel did not respond in time") from error
        except OSError as error:
            raise KernelError(f"a forked kernel has ended ({error.strerror})") from error
        except INVALID as error:
            raise KernelError("invalid response from a forked kernel: not a JSON object") from error
        return response

    async def sender(self, support: ForkSupport, *, timeout_s: float) -> int:
        """Return the ID of the process that sends the next response, as the system says.

        What it writes about itself is not believed. Raises `KernelError`.
        """
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._socket, readable.set)
        try:
            async with asyncio.timeout(timeout_s):
                await readable.wait()
            return await support.sender(self._socket.fileno())
        except TimeoutError as error:
            raise KernelError("a forked kernel did not respond in time") from error
        except OSError as error:
            raise KernelError(f"a forked kernel has ended ({error.strerror})") from error
        finally:
            loop.remove_reader(self._socket)

    def close(self) -> None:
        """Close the channel: a standby at the other end exits. Idempotent."""
        self._socket.close()
