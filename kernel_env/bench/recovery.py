"""Measure the recovery of a broken kernel and the fork of an episode."""

import asyncio
from contextlib import AsyncExitStack, closing

from kernel_env.bench.measure import (
    TASK,
    UNLIMITED,
    Bench,
    Goal,
    Row,
    available_gb,
    row,
    time_await,
    time_call,
)
from kernel_env.bench.starts import time_plain_kernel
from kernel_env.episode import Episode, open_episode
from kernel_env.errors import KernelError
from kernel_env.gym.env import make
from kernel_env.kernel.source import pristine_kernel

CRASHES = {
    "os._exit": "import os; os._exit(1)",
    "SIGKILL": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "segfault": "import ctypes; ctypes.string_at(0)",
}
"""Cells that end the kernel."""
SIZES_GB = (0, 1, 4)
"""Memory of the forked kernels in GB."""
MAX_SIZE_RATIO = 1.5
"""Goal of the ratio of the largest kernel's fork time to the smallest one's."""
THINKING_S = 0.3
"""Pause before each crash in seconds, in which the standby is forked."""
CELL_S = 120.0
"""Time limit of a cell in seconds."""


def execute(code: str) -> dict[str, str]:
    """Return the action that executes a cell."""
    return {"kind": "execute_code", "code": code}


async def recovery(bench: Bench) -> list[Row]:
    """Measure a step whose cell ends the kernel, including the recovery of its state."""
    mine: dict[str, list[float]] = {name: [] for name in CRASHES}
    theirs = []
    with closing(make(TASK, sandbox=bench.sandbox, out=bench.folder, budget=UNLIMITED)) as env:
        env.reset()
        env.step(execute("x = 41"))
        for _ in bench.rounds("crashes", 10):
            for name, code in CRASHES.items():
                await asyncio.sleep(THINKING_S)
                mine[name].append(time_call(lambda code=code: env.step(execute(code))))  # type: ignore[misc]
                observation, *_ = env.step(execute("assert x == 41"))
                if lost := observation["error"] or observation["state_lost"]:
                    raise KernelError(f"{name}: {lost}")
            theirs.append(await time_plain_kernel(bench, imports=False))
    goal = Goal(at_most=60, of_peer=1 / 10)
    peer = f"a new {bench.sandbox} sandbox with a plain kernel"
    return [
        row(f"a step that ends in {n}, recovered", mine[n], peer, theirs, goal=goal) for n in mine
    ]


async def branches(bench: Bench) -> list[Row]:
    """Measure `fork()` of episodes with data in memory, compared with rerunning their cells."""
    sizes = [size for size in SIZES_GB if 2 * size * bench.scale < available_gb() - 4]
    if len(sizes) < len(SIZES_GB):
        bench.skip(f"forks with more than {sizes[-1]} GB: this machine has too little memory")
    mine: dict[int, list[float]] = {size: [] for size in sizes}
    theirs: dict[int, list[float]] = {size: [] for size in sizes}
    async with AsyncExitStack() as stack:
        opened = {size: await open_with_data(bench, stack, size) for size in sizes}
        for number in bench.rounds("branches", 20):
            for size, episode in opened.items():
                mine[size].append(await time_fork(episode))
                if number < bench.repeats(3):
                    theirs[size].append(await time_replay(bench, size))
    rows = [
        row(
            f"fork with {size * bench.scale:g} GB",
            mine[size],
            "rerun of its cells",
            theirs[size],
            goal=Goal(at_most=60),
        )
        for size in sizes
    ]
    least, most = sizes[0], sizes[-1]
    return [
        *rows,
        row(
            f"fork with {most * bench.scale:g} GB",
            mine[most],
            f"fork with {least} GB",
            mine[least],
            goal=Goal(of_peer=MAX_SIZE_RATIO),
        ),
    ]


def fill_memory(size_gb: float) -> list[str]:
    """Return the cells that fill a kernel's memory."""
    return [
        "import numpy as np",
        f"data = np.random.default_rng(0).random({int(size_gb * 2**27)})",
        "total = data.sum()",
        "open('notes.txt', 'w').write(str(total))",
    ]


async def open_with_data(bench: Bench, stack: AsyncExitStack, size: int) -> Episode:
    """Open an episode with data in its kernel's memory."""
    opening = open_episode(TASK, sandbox=bench.sandbox, out=bench.folder, budget=UNLIMITED)
    episode = await stack.enter_async_context(opening)
    for code in fill_memory(size * bench.scale):
        await episode.act(execute(code))
    return episode


async def time_fork(episode: Episode) -> float:
    """Return the time to fork an episode, in milliseconds."""
    children: list[Episode] = []

    async def fork() -> None:
        children.extend(await episode.fork())

    try:
        return await time_await(fork())
    finally:
        for child in children:
            await child.end()


async def time_replay(bench: Bench, size: int) -> float:
    """Return the time to rerun the cells in a kernel that is started already, in milliseconds."""
    async with pristine_kernel(bench.kernels) as instance:
        kernel = instance.kernel
        assert kernel is not None

        async def rerun() -> None:
            for code in fill_memory(size * bench.scale):
                await kernel.run(code, timeout_s=CELL_S)

        return await time_await(rerun())
