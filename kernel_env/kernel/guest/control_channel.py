"""Receive requests of the host and reply to them: the guest end of the control channel.

One JSON object per line; file descriptors travel beside the bytes (SCM_RIGHTS).

The host creates both ends and passes this one in. So the channel has no name in the file
system, works when files are deleted or the disk is full, and reports end of file once the host
closes its end.
"""

import fcntl
import json
import os
import socket
from typing import Any

MAX_DESCRIPTORS = 8
"""Most file descriptors received with one request."""
LAST_STANDARD = 2
"""Descriptors up to this number are standard input, output and error."""


class ControlChannel:
    """The guest end of the control channel of a kernel, or of one of its forks."""

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=move_above_standard(descriptor))
        self._buffer, self._descriptors = b"", []  # type: tuple[bytes, list[int]]

    def send(self, message: dict[str, Any]) -> None:
        """Send one line to the host. Raises `OSError` when the host has closed its end."""
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def reply(self, request: dict[str, Any], **message: Any) -> None:
        """Reply to a request. Raises `OSError` when the host has closed its end."""
        self.send({"id": request["id"], **message})

    def receive(self) -> dict[str, Any] | None:
        """Receive the next request, with its descriptors in `fds`; None at the end of file."""
        while b"\n" not in self._buffer:
            data, descriptors, _, _ = socket.recv_fds(self.socket, 1 << 16, MAX_DESCRIPTORS)
            self._descriptors += map(move_above_standard, descriptors)
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        request: dict[str, Any] = json.loads(line)
        request["fds"], self._descriptors = self._descriptors, []
        return request

    def close(self) -> None:
        """Close this end. A fork closes the channel of the process that it was forked from."""
        self.socket.close()


def move_above_standard(descriptor: int) -> int:
    """Move a received descriptor above 2 if needed; agent code can have closed 0, 1 or 2."""
    if descriptor > LAST_STANDARD:
        os.set_inheritable(descriptor, False)
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, LAST_STANDARD + 1)
    os.close(descriptor)
    return moved
