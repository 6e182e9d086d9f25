"""Read pipes without blocking the event loop."""

import asyncio
import os
from typing import Any

from kernel_env.sandbox.pacing import PacedReader
from kernel_env.sandbox.tail_buffer import TailBuffer


def pipe() -> tuple[int, int]:
    """Create a pipe: its write end for the program, its non-blocking read end for the host."""
    outside, inside = os.pipe()
    os.set_blocking(outside, False)
    return inside, outside


class reading:  # noqa: N801 - used as a context manager, like `contextlib.closing`
    """Pass what arrives on a descriptor to `take`; the value is done when the other end closes."""

    def __init__(self, descriptor: int, take: Any) -> None:
        self.descriptor, self.take = descriptor, take
        self.drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __enter__(self) -> asyncio.Future[None]:
        self._reader = PacedReader(self.descriptor, self.read)
        return self.drained

    def __exit__(self, *_: object) -> None:
        self.stop()

    def read(self) -> bool:
        """Read what has arrived; stop at the end."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return False
        if data:
            self.take(data)
        else:
            self.stop()
        return False

    def stop(self) -> None:
        """Close the read end. Idempotent."""
        if not self.drained.done():
            self._reader.stop()
            os.close(self.descriptor)
            self.drained.set_result(None)


def keep_tail(descriptor: int, tail: TailBuffer, ended: asyncio.Future[None]) -> None:
    """Keep the last part of what a program writes, until it stops or its sandbox ends."""
    reader = reading(descriptor, tail.add)
    reader.__enter__()
    ended.add_done_callback(lambda _: reader.stop())
