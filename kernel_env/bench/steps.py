"""Measure a step: against a bare client, with standbys, and with concurrent agents."""

import asyncio
import random
import time
from contextlib import AsyncExitStack, closing

from kernel_env.bench.baselines import bare_kernel, run_cell
from kernel_env.bench.measure import (
    TASK,
    UNLIMITED,
    Bench,
    Goal,
    Row,
    resident_mb,
    row,
    time_await,
    time_call,
)
from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import ExecuteCode
from kernel_env.grading.host import Grader
from kernel_env.gym.env import make
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.kernel.source import close_instance

WINDOW = 100
"""Number of steps at the beginning and at the end of the long episode that are reported."""
PASS = ExecuteCode(code="pass")
CELL_S = 60.0
"""Time limit of a cell in seconds."""
THINKING_S = 0.2
"""Pause between steps in seconds, in which the standby is forked."""
PERIOD_S = 0.25
"""Seconds from the start of a step of a concurrent agent to the next one."""
CROWDS = (1, 4, 16)
"""Numbers of concurrent agents."""


async def long_episode(bench: Bench) -> list[Row]:
    """Measure `pass` by `env.step` over a long episode, alternating with a bare client."""
    steps = max(2 * WINDOW, bench.repeats(1000))
    budget = {**UNLIMITED, "steps": steps + 1}
    mine, theirs, memory = [], [], []
    with (
        closing(make(TASK, sandbox=bench.sandbox, out=bench.folder, budget=budget)) as env,
        bare_kernel() as client,
    ):
        env.reset()
        for n in range(1, steps + 1):
            bench.progress(f"steps of one episode · {n} of {steps}", n / steps)
            mine.append(time_call(lambda: env.step(PASS)))
            theirs.append(time_call(lambda: run_cell(client, "pass", timeout_s=CELL_S)))
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
    """Measure `pass` in a kernel with a standby after each cell, and in one without."""
    recoverable = RecoverableKernel(bench.kernels)
    alone = await bench.kernels.open()
    mine, theirs = [], []
    try:
        assert alone.kernel is not None
        await recoverable.start()
        for _ in bench.rounds("steps with and without a standby", 100):
            mine.append(await time_await(recoverable.run("pass", timeout_s=CELL_S)))
            await asyncio.sleep(THINKING_S)
            theirs.append(await time_await(alone.kernel.run("pass", timeout_s=CELL_S)))
            await asyncio.sleep(THINKING_S)
    finally:
        await recoverable.close()
        await close_instance(alone, bench.kernels)
    what, peer = (
        f"`pass` with a standby after each cell, {THINKING_S:g} s pause",
        "the same without standbys",
    )
    return [row(what, mine[1:], peer, theirs[1:], goal=Goal(above_peer=2))]


async def crowd(bench: Bench) -> list[Row]:
    """Measure `pass` of concurrent agents with four cells per second each, against one agent."""
    series: dict[int, list[float]] = {size: [] for size in CROWDS}
    async with AsyncExitStack() as stack:
        episodes = await open_episodes(bench, stack, max(CROWDS))
        for _ in bench.rounds("agents at once", 3):
            for size in CROWDS:
                agents = [run_agent(episode, bench.repeats(30)) for episode in episodes[:size]]
                for durations in await asyncio.gather(*agents):
                    series[size] += durations
    peer, alone = "one agent", series[CROWDS[0]]
    return [
        row("`pass` of one agent at 4 cells/s", alone),
        *(
            row(
                f"`pass` of {n} agents at 4 cells/s each",
                series[n],
                peer,
                alone,
                goal=Goal(of_peer=2),
            )
            for n in CROWDS[1:]
        ),
    ]


async def open_episodes(bench: Bench, stack: AsyncExitStack, count: int) -> list[Episode]:
    """Open episodes, two at a time."""
    grader = await stack.enter_async_context(Grader())
    starting = asyncio.Semaphore(2)

    async def open_one() -> Episode:
        async with starting:
            opening = open_episode(
                TASK, sandbox=bench.sandbox, out=bench.folder, budget=UNLIMITED, grader=grader
            )
            return await stack.enter_async_context(opening)

    return await asyncio.gather(*(open_one() for _ in range(count)))


async def run_agent(episode: Episode, cells: int) -> list[float]:
    """Run an agent that starts at a random time of the period; return its steps' milliseconds."""
    begin = time.perf_counter() + random.uniform(0, PERIOD_S)  # noqa: S311 - no secret
    durations = []
    for number in range(cells):
        await asyncio.sleep(begin + number * PERIOD_S - time.perf_counter())
        durations.append(await time_await(episode.act(PASS)))
    return durations
