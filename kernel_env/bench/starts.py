"""Measure the start of a kernel: in a new sandbox, and from the warm pool."""

import asyncio
import time
from contextlib import closing

from kernel_env.bench.baselines import bare_kernel
from kernel_env.bench.measure import TASK, Bench, Goal, Row, row, time_call
from kernel_env.gym.env import KernelEnv, make
from kernel_env.kernel.connection.client import open_kernel
from kernel_env.kernel.source import pristine_kernel

IMPORTS_S = 120.0
"""Time limit of the imports in seconds."""


async def starts(bench: Bench) -> list[Row]:
    """Measure the start of a kernel in a new sandbox, with and without the image's libraries."""
    plain, bare, pristine, imported = [], [], [], []
    for _ in bench.rounds("starting kernels", 7):
        plain.append(await time_plain_kernel(bench, imports=False))
        began = time.perf_counter()
        with bare_kernel():
            bare.append(1e3 * (time.perf_counter() - began))
        await asyncio.sleep(0)
    rows = [
        row(f"{bench.sandbox} sandbox created → plain kernel", plain, "bare local kernel", bare)
    ]
    if not bench.make_sandbox().libraries:
        bench.skip(f"starts with imports: a {bench.sandbox} sandbox lists no libraries")
        return rows
    for _ in bench.rounds("starting kernels with their imports", 5):
        pristine.append(await time_template_kernel(bench))
        imported.append(await time_plain_kernel(bench, imports=True))
    return [
        *rows,
        row(
            f"{bench.sandbox} sandbox created → kernel of a template, libraries imported",
            pristine,
            "sandbox created → plain kernel, the same imported",
            imported,
        ),
    ]


async def time_plain_kernel(bench: Bench, *, imports: bool) -> float:
    """Return the time to start a sandbox and a plain kernel, in milliseconds."""
    began = time.perf_counter()
    async with bench.make_sandbox() as sandbox, open_kernel(sandbox) as kernel:
        if imports:
            await kernel.run(f"import {', '.join(sandbox.libraries)}", timeout_s=IMPORTS_S)
        return 1e3 * (time.perf_counter() - began)


async def time_template_kernel(bench: Bench) -> float:
    """Return the time to start a sandbox, a template and a kernel of it, in milliseconds."""
    began = time.perf_counter()
    async with pristine_kernel(bench.kernels):
        return 1e3 * (time.perf_counter() - began)


async def resets(bench: Bench) -> list[Row]:
    """Measure `env.reset()` with and without a warm pool; both include the end of an episode."""
    warm, cold, first_steps = [], [], []
    with closing(make_env(bench, warm=1)) as pooled, closing(make_env(bench)) as unpooled:
        for env in (pooled, unpooled):
            env.reset()
        for _ in bench.rounds("resets", 12):
            pooled.warm_up()
            warm.append(time_call(pooled.reset))
            first_steps.append(
                time_call(lambda: pooled.step({"kind": "execute_code", "code": "pass"}))
            )
            cold.append(time_call(unpooled.reset))
            await asyncio.sleep(0)
    goal = Goal(at_most=40, of_peer=1 / 15)
    return [
        row("reset() with a warm pool", warm, "reset() without a pool", cold, goal=goal),
        row("first step after a reset with a warm pool", first_steps),
    ]


def make_env(bench: Bench, *, warm: int = 0) -> KernelEnv:
    """Create an environment as users do."""
    return make(TASK, sandbox=bench.sandbox, out=bench.folder, warm=warm)
