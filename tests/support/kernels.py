"""Start kernels in sandboxes, run cells in them, and read what the cells returned."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from kernel_env import plugins
from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection.client import KernelClient
from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.kernel.forking.checkpoints import QUIET_S, CheckpointLimits
from kernel_env.kernel.recoverable import ForkedKernel, RecoverableKernel
from kernel_env.kernel.source import NewSandboxes
from kernel_env.sandbox.protocol import WORKSPACE, Spec

KERNEL_FOLDERS = {PROGRAM: PROGRAM_FOLDER}
"""The folder that a sandbox must contain to run kernels."""
FEW_LIBRARIES = ("numpy.random",)
HANG_S = 120
"""No call in these tests takes as long; one that does hangs."""


def cell_text(cell: Cell) -> str:
    """Join what a cell printed and its results as text."""
    return "".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)


def kernel_source(spec: Spec, sandbox: str = "docker") -> NewSandboxes:
    """Build a source of kernels, each in a new sandbox.

    Unless the spec names libraries, few are imported in advance, which starts sooner.
    """
    make = plugins.find("sandbox", sandbox)
    spec = replace(spec, libraries=FEW_LIBRARIES) if spec.libraries is None else spec
    return NewSandboxes(make_sandbox=lambda: make(spec), paths={"WORKSPACE": WORKSPACE})


@asynccontextmanager
async def recoverable_kernel(
    spec: Spec, sandbox: str = "docker", limits: CheckpointLimits | None = None
) -> AsyncIterator[RecoverableKernel]:
    """Start a recoverable kernel in a new sandbox and close it on leaving."""
    kernel = RecoverableKernel(kernel_source(spec, sandbox), limits)
    try:
        await kernel.start()
        yield kernel
    finally:
        await kernel.close()


async def run_cell(
    kernel: RecoverableKernel, code: str, timeout_s: float = 20, *, step: int = 0
) -> Cell:
    """Run a cell and think until its checkpoint is taken; fail if the kernel hangs."""
    cell = await asyncio.wait_for(kernel.run(code, timeout_s=timeout_s, step=step), HANG_S)
    await checkpoint_taken(kernel)
    return cell


async def run_at_once(kernel: RecoverableKernel, code: str, timeout_s: float = 20) -> Cell:
    """Run a cell without thinking after it; fail if the kernel or its recovery hangs."""
    return await asyncio.wait_for(kernel.run(code, timeout_s=timeout_s), HANG_S)


async def run_trial(kernel: RecoverableKernel, code: str) -> Cell:
    """Run a trial; fail if the kernel hangs."""
    return await asyncio.wait_for(kernel.run_trial(code, timeout_s=20), HANG_S)


async def fork_kernel(kernel: RecoverableKernel, step: int | None = None) -> ForkedKernel:
    """Fork a kernel after a step; fail if it hangs."""
    return await asyncio.wait_for(kernel.fork(step=step), HANG_S)


# ── without public access ─────────────────────────────────────────────────────────────────


def kernel_of(episode: Any) -> RecoverableKernel:
    """Return the kernel of an episode, which has no public attribute for it."""
    return next(value for value in vars(episode).values() if isinstance(value, RecoverableKernel))


def running_kernel(kernel: RecoverableKernel) -> KernelClient | None:
    """Return the connection to the running kernel; None if there is none."""
    return kernel._state.kernel


def first_seed(kernel: RecoverableKernel) -> int | None:
    """Return what the random states of the pristine kernel started from."""
    return kernel._state.seed


async def checkpoint_taken(kernel: RecoverableKernel) -> None:
    """Wait for the checkpoint that is due or being taken."""
    if kernel._state._checkpoints is not None:
        while kernel._state.checkpoints._due is not None:
            await asyncio.sleep(QUIET_S)
        await kernel._state.checkpoints.taken()


def standby_pids(kernel: RecoverableKernel) -> list[int]:
    """Return the process IDs of the standbys of all checkpoints, oldest first."""
    return [standby.pid for standby in kernel._state.checkpoints.standbys]


def container_of(kernel: RecoverableKernel) -> Any:
    """Return the Docker container that a kernel runs in."""
    return kernel.sandbox._creating.result()  # type: ignore[attr-defined]
