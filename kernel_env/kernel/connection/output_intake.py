"""Take the messages of one cell into its outputs, within a budget of bytes and of time.

A kernel without its caps can send what costs the host more than the kernel. So three things are
looked at before a message is parsed: its kind, its size, and what the cell has cost until now.
"""

import time

from kernel_env.kernel.cell import Output
from kernel_env.kernel.connection.messages import Message, TooLarge, parsed_content
from kernel_env.kernel.connection.outputs import OutputCollector
from kernel_env.sandbox.pacing import Allowance

TEXT_BYTES, DISPLAY_BYTES = 512 * 1024, 5 * 1024 * 1024
LIMITS = {
    "stream": TEXT_BYTES,
    "error": 4 * TEXT_BYTES,
    "clear_output": TEXT_BYTES,
    "display_data": DISPLAY_BYTES,
    "execute_result": DISPLAY_BYTES,
    "update_display_data": DISPLAY_BYTES,
}
"""The kinds of messages with output, and the most bytes of one that is parsed.

A kernel with its caps (`guest.output_caps`) sends less."""
CELL_BYTES, BYTES_PER_S = 64 * 1024 * 1024, 8 * 1024 * 1024
"""Bytes that are parsed for a cell: an initial number, then a rate, so that the last pictures of a
long animation are shown."""
CELL_S, SHARE = 1.0, 0.1
"""Processor time that a cell's messages may take: seconds, then a share of the time that passes."""


class OutputIntake:
    """The outputs of one cell, as messages bring them."""

    def __init__(self) -> None:
        self.collector = OutputCollector()
        self._bytes = Allowance(CELL_BYTES, BYTES_PER_S)
        self._seconds = Allowance(CELL_S, SHARE)

    def take(self, message: Message) -> bool:
        """Take a message; one beyond the budget is dropped and counted.

        Returns whether it was not dropped. Raises one of `INVALID`.
        """
        limit = LIMITS.get(message.kind)
        if limit is None:
            return True
        if self._bytes.left < message.size or self._seconds.left <= 0:
            self.collector.dropped_bytes += message.size
            return False
        self._bytes.use(message.size)
        began = time.thread_time()
        try:
            self.collector.add(message.kind, parsed_content(message.content, limit))
        except TooLarge as error:
            self.collector.leave_out(message.kind, message.size, str(error))
            return False
        finally:
            self._seconds.use(time.thread_time() - began)
        return True

    def outputs(self) -> tuple[Output, ...]:
        """Return the outputs until now."""
        return self.collector.outputs()

    @property
    def left_out_bytes(self) -> int:
        """Return how many bytes arrived and were not kept."""
        return self.collector.left_out_bytes
