"""What a step costs: beyond a bare client, with a standby behind it, and in a crowd."""

import asyncio
import random
import time
from contextlib import AsyncExitStack, closing

from kernel_env.bench.baselines import bare_kernel, bare_run
from kernel_env.bench.measure import (
    PATHS,
    TASK,
    WHOLE,
    Bench,
    Goal,
    Row,
    resident_mb,
    row,
    timed,
    took,
)
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.episode import Episode, open_episode
from kernel_env.grading.host import Grader
from kernel_env.gym.env import make
from kernel_env.kernel.forking.instance import open_seat
from kernel_env.kernel.recoverable import RecoverableKernel

WINDOW = 100
"""Steps at the beginning and at the end of the long episode that are compared."""
PASS = ExecuteCode(code="pass")
CELL_S = 60.0
THINKING_S = 0.2
PERIOD_S = 0.25
"""Of each agent in a crowd: four cells a second."""
CROWDS = (1, 4, 16)


async def long_episode(bench: Bench) -> list[Row]:
    """`pass` through `env.step` and through a bare client, in turns, first step to last."""
    steps = max(2 * WINDOW, bench.times(1000))
    budget = {**WHOLE, "steps": steps + 1}
    mine, theirs, memory = [], [], []
    with (
        closing(make(TASK, sandbox=bench.sandbox, out=bench.folder, budget=budget)) as env,
        bare_kernel() as client,
    ):
        env.reset()
        for n in range(1, steps + 1):
            bench.tell(f"steps of one episode · {n} of {steps}", n / steps)
            mine.append(timed(lambda: env.step(PASS)))
            theirs.append(timed(lambda: bare_run(client, "pass", timeout_s=CELL_S)))
            if n in (WINDOW, steps):
                memory.append(resident_mb())
            await asyncio.sleep(0)
    peer = "bare jupyter_client, local kernel"
    first, last = slice(1, WINDOW), slice(-WINDOW, None)
    return [
        row(f"`pass` by env.step, steps 2 … {WINDOW}, no pause", mine[first], peer, theirs[first]),
        row(f"`pass` by env.step, last {WINDOW} of {steps}", mine[last], peer, theirs[last]),
        row(
            f"host memory after {steps} steps",
            memory[1:],
            f"after {WINDOW}",
            memory[:1],
            unit="MB",
        ),
    ]


async def standby(bench: Bench) -> list[Row]:
    """`pass` while a standby is made after each cell, and in a kernel without one."""
    live = RecoverableKernel(lambda: open_seat(bench.box, PATHS))
    alone = await open_seat(bench.box, PATHS)
    mine, theirs = [], []
    try:
        assert alone.kernel is not None
        await live.start()
        for _ in bench.turns("steps with and without a standby", 100):
            mine.append(await took(live.run("pass", timeout_s=CELL_S)))
            await asyncio.sleep(THINKING_S)
            theirs.append(await took(alone.kernel.run("pass", timeout_s=CELL_S)))
            await asyncio.sleep(THINKING_S)
    finally:
        await live.close()
        await alone.close()
    what, peer = (
        "`pass` of a thinking agent, a standby after each cell",
        "the same without standbys",
    )
    return [row(what, mine[1:], peer, theirs[1:], goal=Goal(above_peer=2))]


async def crowd(bench: Bench) -> list[Row]:
    """`pass` of some agents who each run four cells a second, in turns with one alone."""
    series: dict[int, list[float]] = {size: [] for size in CROWDS}
    async with AsyncExitStack() as stack:
        episodes = await many(bench, stack, max(CROWDS))
        for _ in bench.turns("agents at once", 3):
            for size in CROWDS:
                agents = [agent(each, bench.times(30)) for each in episodes[:size]]
                for figures in await asyncio.gather(*agents):
                    series[size] += figures
    peer, alone = "one agent", series[CROWDS[0]]
    return [
        row("`pass` of one agent at 4 cells/s", alone),
        *(
            row(f"`pass` of {n} agents, each so", series[n], peer, alone, goal=Goal(of_peer=2))
            for n in CROWDS[1:]
        ),
    ]


async def many(bench: Bench, stack: AsyncExitStack, count: int) -> list[Episode]:
    """Episodes that are ready, started two at a time."""
    grader = await stack.enter_async_context(Grader())
    starting = asyncio.Semaphore(2)

    async def one() -> Episode:
        async with starting:
            opening = open_episode(
                TASK, sandbox=bench.sandbox, out=bench.folder, budget=WHOLE, grader=grader
            )
            return await stack.enter_async_context(opening)

    return await asyncio.gather(*(one() for _ in range(count)))


async def agent(episode: Episode, cells: int) -> list[float]:
    """Milliseconds of an agent's steps, begun at a random moment of the period."""
    begin = time.perf_counter() + random.uniform(0, PERIOD_S)  # noqa: S311 - no secret
    figures = []
    for number in range(cells):
        await asyncio.sleep(begin + number * PERIOD_S - time.perf_counter())
        figures.append(await took(episode.act(PASS)))
    return figures
