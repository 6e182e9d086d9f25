"""How long it takes until there is a kernel: from nothing, and when one waits."""

import asyncio
import time
from contextlib import closing

from kernel_env.bench.baselines import bare_kernel
from kernel_env.bench.measure import PATHS, TASK, Bench, Goal, Row, row, timed
from kernel_env.gym.env import KernelEnv, make
from kernel_env.kernel.connection.client import open_kernel
from kernel_env.kernel.forking.instance import open_seat

IMPORTS_S = 120.0


async def starts(bench: Bench) -> list[Row]:
    """From nothing to a kernel that is ready, bare and with the image's libraries imported."""
    ours, bare, pristine, imported = [], [], [], []
    for _ in bench.turns("starting kernels", 7):
        ours.append(await plain(bench, imports=False))
        began = time.perf_counter()
        with bare_kernel():
            bare.append(1e3 * (time.perf_counter() - began))
        await asyncio.sleep(0)
    rows = [row(f"{bench.sandbox} box created → plain kernel", ours, "bare local kernel", bare)]
    if not bench.box().libraries:
        bench.skip(f"starts with imports: a {bench.sandbox} box imports nothing ahead")
        return rows
    for _ in bench.turns("starting kernels with their imports", 5):
        pristine.append(await templated(bench))
        imported.append(await plain(bench, imports=True))
    return [
        *rows,
        row(
            f"{bench.sandbox} box created → kernel of a template, libraries imported",
            pristine,
            "box created → plain kernel, which imports the same",
            imported,
        ),
    ]


async def plain(bench: Bench, *, imports: bool) -> float:
    """A box and a plain kernel."""
    began = time.perf_counter()
    async with bench.box() as box, open_kernel(box) as kernel:
        if imports:
            await kernel.run(f"import {', '.join(box.libraries)}", timeout_s=IMPORTS_S)
        return 1e3 * (time.perf_counter() - began)


async def templated(bench: Bench) -> float:
    """A box with a template, and a kernel of it."""
    began = time.perf_counter()
    seat = await open_seat(bench.box, PATHS)
    ready = time.perf_counter()
    await seat.close()
    return 1e3 * (ready - began)


async def resets(bench: Bench) -> list[Row]:
    """`env.reset()` when a container waits, and when none does; both end an episode before."""
    warm, cold, took_up = [], [], []
    with closing(environment(bench, warm=1)) as waited, closing(environment(bench)) as alone:
        for env in (waited, alone):
            env.reset()
        for _ in bench.turns("resets", 12):
            waited.warm_up()
            warm.append(timed(waited.reset))
            took_up.append(timed(lambda: waited.step({"kind": "execute_code", "code": "pass"})))
            cold.append(timed(alone.reset))
            await asyncio.sleep(0)
    goal = Goal(at_most=40, of_peer=1 / 15)
    return [
        row("reset() when a container waits", warm, "reset() without a pool", cold, goal=goal),
        row("the first step after such a reset", took_up),
    ]


def environment(bench: Bench, *, warm: int = 0) -> KernelEnv:
    """As users make it."""
    return make(TASK, sandbox=bench.sandbox, out=bench.folder, warm=warm)
