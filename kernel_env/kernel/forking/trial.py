"""Try code where nothing it does lasts: a second box with a copy of the files, thrown away after.

Variables of the live kernel are not there; the caller is told so (`NOTE`).
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection.outputs import text_of
from kernel_env.kernel.forking.instance import KernelInstance
from kernel_env.sandbox.protocol import WORKSPACE, Sandbox

NOTE = "It ran in a scratch kernel with the same files; variables of the live kernel are absent."


async def try_out(
    code: str,
    live: Sandbox,
    open_seat: Callable[[], Awaitable[KernelInstance]],
    *,
    timeout_s: float,
) -> Cell:
    """Run a cell in a scratch kernel. Raises `SandboxError`, `KernelError`."""
    seat = await open_seat()
    try:
        assert seat.kernel is not None
        if complaint := await copy_files(live, seat.box, timeout_s):
            return not_tried(f"the workspace could not be copied: {complaint}")
        return await seat.kernel.run(code, timeout_s=timeout_s)
    finally:
        await seat.close()


async def copy_files(live: Sandbox, scratch: Sandbox, timeout_s: float) -> str:
    """The workspace from one box to another, through a pipe between two `tar`s.

    What stands in the way is returned in words: files that may not be read are the agent's doing.
    """
    outside, inside = os.pipe()
    try:
        pack = await live.spawn(
            ["tar", "-C", str(live.where(WORKSPACE)), "-S", "-cf", "-", "."], stdout=inside
        )
        unpack = await scratch.spawn(
            ["tar", "-C", str(scratch.where(WORKSPACE)), "-xf", "-"], stdin=outside
        )
    finally:
        os.close(inside)
        os.close(outside)
    try:
        async with asyncio.timeout(timeout_s):
            packed, unpacked = await asyncio.gather(pack.wait(), unpack.wait())
    except TimeoutError:
        await pack.signal(signal.SIGKILL)
        return f"it took longer than {timeout_s:g} s"
    if unpacked or packed not in (0, 1):  # 1: a file changed while it was read
        said = (pack.tail() + unpack.tail()).strip().partition("\n")[0]
        return said or f"tar ended with {packed} and {unpacked}"
    return ""


def not_tried(complaint: str) -> Cell:
    """A cell that could not be tried, for a reason in the kernel or the workspace."""
    complaint = text_of(complaint)
    error = {
        "output_type": "error",
        "ename": "NotTried",
        "evalue": complaint,
        "traceback": [f"NotTried: {complaint}"],
    }
    return Cell(outputs=(error,))
