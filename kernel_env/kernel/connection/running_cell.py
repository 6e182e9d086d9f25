"""Keep what a cell has sent while it runs, and turn it into the cell's result."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection.messages import Message
from kernel_env.kernel.connection.output_intake import OutputIntake
from kernel_env.kernel.connection.outputs import count_of
from kernel_env.kernel.connection.reply import DROPPED, FILES, VARIABLES, bounded, names_in, parsed

Observer = Callable[[Message], None]
"""Takes a message of a kernel: untrusted, and not parsed yet."""
IDLE_S = 5.0
"""Time limit for the last outputs of a cell after its reply. ZeroMQ drops messages when more than a
thousand wait, so that the one that ends the outputs can be missing."""


@dataclass
class RunningCell:
    """The cell that is running: its outputs until now, and whether it is done."""

    message_id: str
    dropped_before: int
    """Bytes of messages that had been dropped before it, because they were too large."""
    outputs: OutputIntake = field(default_factory=OutputIntake)
    reply: dict[str, Any] | None = None
    idle: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)
    observe: Observer | None = None
    """Called with each message of the cell as it arrives."""
    idle_limit: asyncio.TimerHandle | None = None
    """Ends the wait for the last outputs."""

    def set_reply(self, content: dict[str, Any]) -> None:
        """Take the reply; the cell is done once all outputs have arrived."""
        if self.reply is None:
            self.reply = content
            self.idle_limit = asyncio.get_running_loop().call_later(IDLE_S, self.done.set)
        self._check_done()

    def set_idle(self) -> None:
        """Note that all outputs have arrived; the cell is done once its reply has, too."""
        self.idle = True
        self._check_done()

    def _check_done(self) -> None:
        if self.idle_limit is not None and self.idle:
            self.idle_limit.cancel()
            self.done.set()


def asks_to_exit(reply: dict[str, Any] | None) -> bool:
    """Return whether a cell told its kernel to exit, as `quit()` does."""
    payload = (reply or {}).get("payload")
    return isinstance(payload, list) and any(
        isinstance(part, dict) and part.get("source") == "ask_exit" and not part.get("keepkernel")
        for part in payload
    )


def cause_of_death(code: int) -> str:
    """Describe an exit code."""
    if code >= 0:
        return f"the kernel exited with code {code}"
    name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
    return f"the kernel was ended by {name}"


def cell_of(
    cell: RunningCell,
    late: tuple[dict[str, Any], ...],
    *,
    dropped_bytes: int,
    seconds: float,
    timed_out: bool,
    broke: str | None,
) -> Cell:
    """Return the result of a cell that has ended."""
    reply = cell.reply or {}
    report = reply.get("kernel_env")
    report = report if isinstance(report, dict) else {}
    dropped = report.get("dropped")
    dropped = dropped if isinstance(dropped, dict) else {}
    return Cell(
        outputs=cell.outputs.outputs(),
        execution_count=count_of(reply.get("execution_count")),
        seconds=round(seconds, 6),
        timed_out=timed_out,
        broke=broke,
        dropped_bytes=dropped_bytes
        + cell.outputs.left_out_bytes
        + sum(bounded(count_of(dropped.get(name)) or 0) for name in DROPPED),
        late=late,
        variables=parsed(VARIABLES, report.get("variables")),
        files=parsed(FILES, report.get("files")),
        full_folders=names_in(report.get("full")),
    )
