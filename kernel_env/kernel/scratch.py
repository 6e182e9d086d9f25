"""Try code where nothing it does lasts: a second box with a copy of the files, thrown away after.

Variables of the live kernel are not there; the caller is told so (`NOTE`).
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace

from kernel_env.errors import SandboxError
from kernel_env.kernel.session import open_kernel
from kernel_env.sandbox.base import WORKSPACE, Sandbox
from kernel_env.step import Cell

NOTE = "It ran in a scratch kernel with the same files; variables of the live kernel are absent."


async def try_out(
    code: str,
    live: Sandbox,
    make_sandbox: Callable[[], Sandbox],
    *,
    env: Callable[[Sandbox], Mapping[str, str]],
    timeout_s: float,
) -> Cell:
    """Run a cell in a scratch kernel. Raises `SandboxError`, `KernelError`."""
    async with make_sandbox() as box:
        await copy_files(live, box)
        async with open_kernel(box, env=env(box)) as kernel:
            return replace(await kernel.run(code, timeout_s=timeout_s), execution_count=None)


async def copy_files(live: Sandbox, scratch: Sandbox) -> None:
    """The workspace from one box to another, through a pipe between two `tar`s."""
    outside, inside = os.pipe()
    try:
        pack = await live.spawn(
            ["tar", "-C", str(live.where(WORKSPACE)), "-cf", "-", "."], stdout=inside
        )
        unpack = await scratch.spawn(
            ["tar", "-C", str(scratch.where(WORKSPACE)), "-xf", "-"], stdin=outside
        )
    finally:
        os.close(inside)
        os.close(outside)
    packed, unpacked = await asyncio.gather(pack.wait(), unpack.wait())
    if unpacked or packed not in (0, 1):  # 1: a file changed while it was read
        raise SandboxError(f"the workspace could not be copied: {unpack.tail().strip()}")
