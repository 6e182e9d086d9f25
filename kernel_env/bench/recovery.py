"""Going back and aside: a kernel that broke, and a branch of one that lives."""

import asyncio
from contextlib import AsyncExitStack, closing

from kernel_env.bench.measure import (
    PATHS,
    TASK,
    WHOLE,
    Bench,
    Goal,
    Row,
    available_gb,
    row,
    timed,
    took,
)
from kernel_env.bench.starts import plain
from kernel_env.episode.episode import Episode, open_episode
from kernel_env.errors import KernelError
from kernel_env.gym.env import make
from kernel_env.kernel.forking.instance import open_seat

CRASHES = {
    "os._exit": "import os; os._exit(1)",
    "SIGKILL": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "segfault": "import ctypes; ctypes.string_at(0)",
}
SIZES_GB = (0, 1, 4)
FLAT = 1.5
"""What a branch of the largest may take of a branch of the smallest: they differ by noise."""
THINKING_S = 0.3
CELL_S = 120.0


def cell(code: str) -> dict[str, str]:
    """The action that runs it."""
    return {"kind": "execute_code", "code": code}


async def recovery(bench: Bench) -> list[Row]:
    """A step whose cell ends the kernel, until the next could run, with nothing lost."""
    mine: dict[str, list[float]] = {name: [] for name in CRASHES}
    theirs = []
    with closing(make(TASK, sandbox=bench.sandbox, out=bench.folder, budget=WHOLE)) as env:
        env.reset()
        env.step(cell("x = 41"))
        for _ in bench.turns("crashes", 10):
            for name, code in CRASHES.items():
                await asyncio.sleep(THINKING_S)
                mine[name].append(timed(lambda code=code: env.step(cell(code))))  # type: ignore[misc]
                seen, *_ = env.step(cell("assert x == 41"))
                if seen["error"] or seen["state_lost"]:
                    raise KernelError(f"{name}: {seen['error'] or seen['state_lost']}")
            theirs.append(await plain(bench, imports=False))
    goal = Goal(at_most=60, of_peer=1 / 10)
    peer = f"a new {bench.sandbox} box with a plain kernel"
    return [
        row(f"a step that ends in {n}, recovered", mine[n], peer, theirs, goal=goal) for n in mine
    ]


async def branches(bench: Bench) -> list[Row]:
    """`fork()` of episodes with data in memory, and running their cells again."""
    sizes = [size for size in SIZES_GB if 2 * size * bench.scale < available_gb() - 4]
    if len(sizes) < len(SIZES_GB):
        bench.skip(f"branches with more than {sizes[-1]} GB: this machine has too little memory")
    mine: dict[int, list[float]] = {size: [] for size in sizes}
    theirs: dict[int, list[float]] = {size: [] for size in sizes}
    async with AsyncExitStack() as stack:
        opened = {size: await loaded(bench, stack, size) for size in sizes}
        for turn in bench.turns("branches", 20):
            for size, episode in opened.items():
                mine[size].append(await branch(episode))
                if turn < bench.times(3):
                    theirs[size].append(await replayed(bench, size))
    rows = [
        row(
            f"fork with {size * bench.scale:g} GB",
            mine[size],
            "its cells again",
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
            goal=Goal(of_peer=FLAT),
        ),
    ]


def cells(size_gb: float) -> list[str]:
    """What fills a kernel's memory."""
    return [
        "import numpy as np",
        f"data = np.random.default_rng(0).random({int(size_gb * 2**27)})",
        "total = data.sum()",
        "open('notes.txt', 'w').write(str(total))",
    ]


async def loaded(bench: Bench, stack: AsyncExitStack, size: int) -> Episode:
    """An episode with data in its kernel's memory."""
    opening = open_episode(TASK, sandbox=bench.sandbox, out=bench.folder, budget=WHOLE)
    episode = await stack.enter_async_context(opening)
    for code in cells(size * bench.scale):
        await episode.act(cell(code))
    return episode


async def branch(episode: Episode) -> float:
    """Milliseconds until a fork could run its next cell."""
    children: list[Episode] = []

    async def fork() -> None:
        children.extend(await episode.fork())

    try:
        return await took(fork())
    finally:
        for child in children:
            await child.end()


async def replayed(bench: Bench, size: int) -> float:
    """Milliseconds of the same cells in a fresh kernel, which is there already."""
    seat = await open_seat(bench.box, PATHS)
    try:
        assert seat.kernel is not None
        kernel = seat.kernel

        async def again() -> None:
            for code in cells(size * bench.scale):
                await kernel.run(code, timeout_s=CELL_S)

        return await took(again())
    finally:
        await seat.close()
