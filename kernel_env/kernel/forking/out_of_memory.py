"""Find out whether a cell's kernel was killed by the memory limit, and free memory for it."""

import signal
from contextlib import suppress

from kernel_env.errors import KernelError, SandboxError
from kernel_env.kernel.connection.client import KernelClient
from kernel_env.kernel.forking.replayable import ReplayableKernel
from kernel_env.sandbox.fork_support import MemoryLimit

ALONE = 0.9
"""A kernel that used this share of the memory limit was not killed because of its standbys."""


async def memory_limit(state: ReplayableKernel) -> MemoryLimit:
    """Return the memory limit and how many processes it has killed until now."""
    if state.forkable:
        with suppress(SandboxError):
            return await state.server.support.memory_limit()
    return MemoryLimit(killed=0, limit_bytes=0)


async def cause_of(state: ReplayableKernel, kernel: KernelClient, kills: int) -> tuple[str, bool]:
    """Return why a kernel died, and whether the memory limit killed it.

    `kills` is how many processes the limit had killed before the cell.
    """
    cause = kernel.death_reason or ""
    if kernel.process.exit_code != -signal.SIGKILL:
        return cause, False
    memory = await memory_limit(state)
    if memory.killed <= kills:
        return cause, False
    return f"{cause}, because the memory limit was reached", True


async def free_memory(state: ReplayableKernel, kernel: KernelClient) -> KernelClient | None:
    """Let the latest standby take over with all memory, if that lack killed the kernel.

    All other checkpoints are deleted. Returns the new kernel; None if that cannot help.
    """
    limit = (await memory_limit(state)).limit_bytes
    await state.checkpoints.remove_dead()
    if not state.checkpoints.standbys or kernel.process.peak_bytes >= ALONE * limit:
        return None
    latest = await state.checkpoints.pop_latest()
    try:
        await state.instance.restore(latest.standby, latest.files)
    except (KernelError, SandboxError):  # the standby was killed as well
        with suppress(SandboxError):
            await state.server.delete_standby(state.instance, latest.standby)
        return None
    finally:
        with suppress(SandboxError, OSError):
            await state.instance.delete_snapshot(latest.files)
    await state.replay(latest.position, checkpoint=False)
    return state.kernel
