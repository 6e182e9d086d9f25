"""Measure steps of several agents at the same time."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from kernel_env.bench.measure import (
    TASK,
    UNLIMITED,
    Bench,
    Goal,
    Row,
    available_gb,
    row,
    time_await,
)
from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import ExecuteCode
from kernel_env.grading.host import Grader

PASS = ExecuteCode(code="pass")
PERIOD_S = 0.25
"""Seconds from the start of a step of a concurrent agent to the next one."""
CROWDS = (1, 4, 16)
"""Numbers of concurrent agents."""
THINKERS = 64
"""Number of agents that think for some seconds between two steps."""
THINKING_S = (2.0, 5.0)
"""Shortest and longest pause of such an agent."""
GB_EACH = 0.3
"""Memory that the container of one agent needs, at most."""


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
    bench.progress(f"starting {count} agents", None)
    grader = await stack.enter_async_context(Grader())
    starting = asyncio.Semaphore(2)

    async def open_one() -> Episode:
        async with starting:
            opening = open_episode(
                TASK, sandbox=bench.sandbox, out=bench.folder, budget=UNLIMITED, grader=grader
            )
            return await stack.enter_async_context(opening)

    opening = [asyncio.create_task(open_one()) for _ in range(count)]
    try:
        return await asyncio.gather(*opening)
    finally:  # after a cancellation `gather` does not wait for all
        for task in opening:
            task.cancel()
        await asyncio.wait(opening)


async def run_agent(episode: Episode, cells: int) -> list[float]:
    """Run an agent that starts at a random time of the period; return its steps' milliseconds."""
    begin = time.perf_counter() + random.uniform(0, PERIOD_S)  # noqa: S311 - no secret
    durations = []
    for number in range(cells):
        await asyncio.sleep(begin + number * PERIOD_S - time.perf_counter())
        durations.append(await time_await(episode.act(PASS)))
    return durations


async def thinkers(bench: Bench) -> list[Row]:
    """Measure `pass` of many agents that think for some seconds, against one of them alone."""
    count = min(max(2, round(THINKERS * bench.share)), int(available_gb() / GB_EACH))
    async with AsyncExitStack() as stack:
        bench.progress(f"opening {count} episodes", None)
        episodes = await open_episodes(bench, stack, count)
        alone = await think_and_act(episodes[0], bench.repeats(10))
        bench.progress(f"{count} agents that think", None)
        cells = bench.repeats(6)
        agents = [think_and_act(episode, cells) for episode in episodes]
        together = [duration for series in await asyncio.gather(*agents) for duration in series]
    what = f"`pass` of {count} agents that think {THINKING_S[0]:g} – {THINKING_S[1]:g} s"
    return [row(what, together, "one of them alone", alone, goal=Goal(of_peer=1.3))]


async def think_and_act(episode: Episode, cells: int) -> Sequence[float]:
    """Run an agent that thinks before each step; return its steps' milliseconds."""
    durations = []
    for _ in range(cells):
        await asyncio.sleep(random.uniform(*THINKING_S))  # noqa: S311 - no secret
        durations.append(await time_await(episode.act(PASS)))
    return durations
