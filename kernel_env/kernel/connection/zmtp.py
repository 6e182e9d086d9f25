"""Connect to a kernel's ZeroMQ sockets without ZeroMQ: the client's side of ZMTP 3.0.

    kernel's ROUTER  ←  DEALER   requests and replies
    kernel's XPUB    ←  SUB      everything that is published

ZeroMQ's own library collects all parts of a message, in a thread of its own, before anybody can
look at them: a kernel that sends parts without end would take all memory of the host. Here a
message that is too large is dropped while it arrives, reading is paced, and what the host has not
read waits in the sandbox. See <https://rfc.zeromq.org/spec/23/>; security mechanism NULL, transport
`ipc`.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from kernel_env.sandbox.pacing import Allowance, PacedReader

MESSAGE_BYTES = 6 * 1024 * 1024
"""A message that is longer in total is dropped while it arrives."""
PART_BYTES = 64 * 1024 * 1024
"""A kernel that announces a longer part of a message is disconnected."""
MAX_PARTS = 256
"""Most parts of a message; one with more is dropped."""
CHUNK_BYTES = 32 * 1024
"""Read at once. A chunk of parts without content takes ten milliseconds to handle."""
SLICE_S = 0.005
"""Processor time after which other work of the event loop has its turn, between two messages."""

MORE, LONG, COMMAND = 1, 2, 4
"""Flags of a frame."""
GREETING = struct.pack("!B8xB2B20sB31x", 0xFF, 0x7F, 3, 0, b"NULL", 0)
"""Signature, version 3.0, mechanism; not a server."""
SUBSCRIBE_TO_ALL = b"\x01"

Message = list[bytes]
SocketType = Literal["DEALER", "SUB"]


class ProtocolViolation(Exception):
    """The other end does not follow the protocol."""


def frame(data: bytes, flags: int = 0) -> bytes:
    """Return a frame with its header."""
    if len(data) < 256:
        return struct.pack("!BB", flags, len(data)) + data
    return struct.pack("!BQ", flags | LONG, len(data)) + data


def ready(socket_type: SocketType) -> bytes:
    """Return the command that ends the handshake."""
    properties = {b"Socket-Type": socket_type.encode(), b"Identity": b""}
    body = b"".join(
        struct.pack("!B", len(name)) + name + struct.pack("!I", len(value)) + value
        for name, value in properties.items()
    )
    return frame(b"\x05READY" + body, COMMAND)


class MessageReader:
    """Reads messages from bytes as they arrive, and keeps at most one within the limits."""

    def __init__(self) -> None:
        self.dropped_bytes = 0
        """Bytes of messages that were too large."""
        self.ready = False
        """Whether the other end has said that it takes messages."""
        self._buffer = bytearray()
        self._greeted = False
        self._parts: Message = []
        self._size = 0
        """Bytes of the message that is arriving."""
        self._too_large = False
        self._skipped = 0
        """Bytes of its current part that are still to be skipped."""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that are complete with these bytes. Raises `ProtocolViolation`."""
        buffer, start = self._buffer, 0
        buffer += data
        try:
            if not self._greeted:
                if len(buffer) < len(GREETING):
                    return
                if buffer[0] != 0xFF or buffer[10] < 3:
                    raise ProtocolViolation("not ZMTP 3")
                start, self._greeted = len(GREETING), True
            while True:
                if self._skipped:
                    skipped = min(self._skipped, len(buffer) - start)
                    start += skipped
                    self._skipped -= skipped
                    if self._skipped:
                        return
                if len(buffer) - start < 2:
                    return
                flags, size, body = buffer[start], buffer[start + 1], start + 2
                if flags & LONG:
                    if len(buffer) - start < 9:
                        return
                    (size,) = struct.unpack_from("!Q", buffer, start + 1)
                    body = start + 9
                if flags > MORE | LONG | COMMAND or size > PART_BYTES:
                    raise ProtocolViolation(f"a frame of {size:,} bytes with the flags {flags}")
                if self._exceeds(size):
                    self._skipped, start = size, body
                elif len(buffer) - body < size:
                    return
                else:
                    start = body + size
                    if flags & COMMAND:  # READY, or one that needs no response
                        self.ready = True
                        continue
                    self._parts.append(bytes(buffer[body:start]))
                self._size += size + 2
                if not flags & MORE:
                    if self._too_large:
                        self.dropped_bytes += self._size
                    else:
                        yield self._parts
                    self._parts, self._size, self._too_large = [], 0, False
        finally:
            del buffer[:start]

    def _exceeds(self, size: int) -> bool:
        """Return whether the message is too large with a part of this size; forget it if so."""
        if self._size + size > MESSAGE_BYTES or len(self._parts) >= MAX_PARTS:
            self._too_large = True
            self._parts = []
        return self._too_large


class Connection:
    """A connection to one socket of a kernel. It is never opened again."""

    def __init__(
        self,
        path: str,
        socket_type: SocketType,
        take: Callable[[Message], None],
        closed: Callable[[], None],
        share: Allowance,
    ) -> None:
        """Connect; what is sent before the kernel accepts waits.

        Args:
            path: the name of the kernel's socket.
            socket_type: as what to connect.
            take: called with each message.
            closed: called once when the other end has closed or is disconnected.
            share: the time that messages may take of the event loop.

        Raises `OSError`.
        """
        self._take, self._closed = take, closed
        self._messages = MessageReader()
        self._arrived: Iterator[Message] | None = None
        """The messages of the latest chunk that have not been handled yet."""
        self._unsent = bytearray()
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(path)
            self._socket.setblocking(False)
            self._socket.send(GREETING + ready(socket_type))
        except OSError:
            self._socket.close()
            raise
        self._reader = PacedReader(self._socket.fileno(), self._read, share)

    @property
    def dropped_bytes(self) -> int:
        """Return how many bytes of messages were dropped because they were too large."""
        return self._messages.dropped_bytes

    def send(self, parts: Sequence[bytes]) -> None:
        """Send a message without blocking. Raises `OSError` if the other end has closed."""
        if self._socket.fileno() < 0:
            raise BrokenPipeError("the connection is closed")
        *first, last = parts
        data = b"".join([*(frame(part, MORE) for part in first), frame(last)])
        if self._messages.ready and not self._unsent:
            data = data[self._send_some(data) :]
        self._unsent += data
        self._write_later()

    def subscribe(self) -> None:
        """Subscribe to all that is published."""
        self.send([SUBSCRIBE_TO_ALL])

    def close(self) -> None:
        """Close this end. Idempotent."""
        if self._socket.fileno() >= 0:
            self._reader.stop()
            self._loop.remove_writer(self._socket)
            self._socket.close()

    def _write_later(self) -> None:
        if self._unsent and self._messages.ready:
            self._loop.add_writer(self._socket, self._write_unsent)

    def _send_some(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def _write_unsent(self) -> None:
        try:
            del self._unsent[: self._send_some(self._unsent)]
        except OSError:  # the reader notices it too
            self._unsent.clear()
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _read(self) -> bool:
        """Read a chunk and handle its messages for a while. Returns whether some are left."""
        end = time.thread_time() + SLICE_S
        try:
            if self._arrived is None:
                data = self._socket.recv(CHUNK_BYTES)
                if not data:
                    raise ConnectionResetError
                self._arrived = self._messages.feed(data)
            for message in self._arrived:
                self._take(message)
                if time.thread_time() > end:
                    return True
            self._arrived = None
            self._write_later()
        except BlockingIOError:
            pass
        except (OSError, ProtocolViolation):
            if self._socket.fileno() >= 0:
                self.close()
                self._closed()
        return False
