"""Run a trial where kernels cannot be forked: in a second sandbox with a copy of the workspace.

The variables of the running kernel are not defined there; `NOTE` tells the caller so.
"""

import asyncio
import os
import signal

from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection.outputs import text_of
from kernel_env.kernel.source import KernelSource, close_instance
from kernel_env.sandbox.protocol import WORKSPACE, Sandbox

NOTE = "It ran in a new kernel with the same files; variables of the running kernel are undefined."


async def run_trial(
    code: str, original: Sandbox, source: KernelSource, *, timeout_s: float
) -> Cell:
    """Run a cell in a new kernel that is ended afterwards. Raises `SandboxError`, `KernelError`."""
    instance = await source.open()
    try:
        assert instance.kernel is not None
        if failure := await copy_workspace(original, instance.server.sandbox, timeout_s):
            return trial_not_run(f"the workspace could not be copied: {failure}")
        return await instance.kernel.run(code, timeout_s=timeout_s)
    finally:
        await close_instance(instance, source)


async def copy_workspace(original: Sandbox, target: Sandbox, timeout_s: float) -> str:
    """Copy the workspace to another sandbox, through a pipe between two `tar` processes.

    Returns the reason if that fails, and "" if not: unreadable files are the agent's doing, not
    an error of the machine.
    """
    outside, inside = os.pipe()
    try:
        pack = await original.spawn(
            ["tar", "-C", str(original.guest_path(WORKSPACE)), "-S", "-cf", "-", "."],
            stdout=inside,
        )
        unpack = await target.spawn(
            ["tar", "-C", str(target.guest_path(WORKSPACE)), "-xf", "-"], stdin=outside
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
        output = (pack.tail() + unpack.tail()).strip().partition("\n")[0]
        return output or f"tar exited with {packed} and {unpacked}"
    return ""


def trial_not_run(reason: str) -> Cell:
    """Return a cell that was not run, for a reason in the kernel or the workspace."""
    reason = text_of(reason)
    error = {
        "output_type": "error",
        "ename": "TrialNotRun",
        "evalue": reason,
        "traceback": [f"TrialNotRun: {reason}"],
    }
    return Cell(outputs=(error,))
