"""The box's end of a connection that the host holds: a JSON object per line, descriptors beside.

The host made both ends and handed this one in, so it needs no name, survives deleted
files, a full disk and closed descriptors of other processes, and its end says that the
host has let go.
"""

import fcntl
import json
import os
import socket
from typing import Any

MOST = 8
"""Descriptors received with one request."""
STANDARD = 2
"""Up to this number descriptors are standard input, output and error."""


class ControlChannel:
    """What a kernel and each copy of it are told by, and answer on."""

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=clear(descriptor))
        self._buffer, self._descriptors = b"", []  # type: tuple[bytes, list[int]]

    def say(self, message: dict[str, Any]) -> None:
        """One line to the host. Raises `OSError` when it has let go."""
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def answer(self, request: dict[str, Any], **message: Any) -> None:
        """What came of a request. Raises `OSError` when the host has let go."""
        self.say({"id": request["id"], **message})

    def hear(self) -> dict[str, Any] | None:
        """The next request, its descriptors in `fds`; None when the host has let go."""
        while b"\n" not in self._buffer:
            data, descriptors, _, _ = socket.recv_fds(self.socket, 1 << 16, MOST)
            self._descriptors += map(clear, descriptors)
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        request: dict[str, Any] = json.loads(line)
        request["fds"], self._descriptors = self._descriptors, []
        return request

    def close(self) -> None:
        """In a copy: let go of what belongs to the original."""
        self.socket.close()


def clear(descriptor: int) -> int:
    """The descriptor, at another number if the agent's code had closed 0, 1 or 2."""
    if descriptor > STANDARD:
        os.set_inheritable(descriptor, False)
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, STANDARD + 1)
    os.close(descriptor)
    return moved
