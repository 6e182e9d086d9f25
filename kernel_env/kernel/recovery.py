"""Say how a kernel was recovered."""

from collections.abc import Sequence
from dataclasses import replace

from kernel_env.kernel.cell import Cell, Recovery
from kernel_env.kernel.connection.client import KernelClient
from kernel_env.kernel.connection.messages import Message
from kernel_env.kernel.connection.reply import names_in
from kernel_env.kernel.forking.checkpoints import Checkpoint
from kernel_env.untrusted_text import quote_name

CLEAR_OUTPUT = Message(kind="clear_output", parent=None, content=b'{"wait": false}', size=0)
"""What an observer gets before a cell is run again."""


def is_hung(kernel: KernelClient) -> bool:
    """Return whether a kernel that cannot be used any more still ran when that was noticed."""
    return kernel.process.exit_code is None


def ended(checkpoint: Checkpoint | None, programs: Sequence[str]) -> list[str]:
    """Name what ran beside the kernel and was not restored."""
    threads = checkpoint.standby.lost_threads if checkpoint else ()
    lines = [f"threads that ended: {', '.join(map(quote_name, threads))}"] if threads else []
    names = names_in(list(programs))
    ended_programs = f"programs that were ended: {', '.join(map(quote_name, names))}"
    return [*lines, ended_programs] if names else lines


def with_recovery(cell: Cell, recovery: Recovery | None) -> Cell:
    """Return the cell with its recovery, and with what was lost in it."""
    if recovery is None:
        return cell
    lost = f"{recovery.cause}; {recovery.lost}" if recovery.lost else None
    return replace(cell, recovery=recovery, state_lost=lost)
