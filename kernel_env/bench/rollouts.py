"""Measure what trainers do: many episodes that step together, and groups of one live state."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

from kernel_env.bench.measure import TASK, UNLIMITED, Bench, Goal, Row, available_gb, row
from kernel_env.errors import KernelError
from kernel_env.grading.host import Grader
from kernel_env.gym.vector import KernelVectorEnv, vector
from kernel_env.rollouts.rollout import Rollout

MEMBERS = 64
STEPS = 20
THINKING_S = (2.0, 5.0)
"""Shortest and longest pause of a policy between two steps."""
GB_EACH = 0.3
"""Memory that the container of one member needs, at most."""
CELL = "counts = [n * n for n in range(1000)]; print(sum(counts))"
GROUP = 8
RESIDENT_GB = 1.0
PREFIX = """
import numpy as np, os, pandas as pd
train = pd.read_csv(os.environ["DATA_PATH"] + "/train.csv")
features = np.random.default_rng(0).random(int({gb} * 1e9 / 8))
"""
"""What a group begins with: a table, and an array of so many gigabytes."""
AT_ONCE = 2
"""How many of the containers that replay start at the same time."""


async def rollouts(bench: Bench) -> list[Row]:
    """Measure steps of many members of a vector environment, against one episode alone."""
    count = min(max(2, round(MEMBERS * bench.share)), int(available_gb() / GB_EACH))
    if count < round(MEMBERS * bench.share):
        bench.skip(f"{MEMBERS} rollouts: there is memory for {count}")
    options = {"sandbox": bench.sandbox, "out": bench.folder, "budget": UNLIMITED}
    return await asyncio.to_thread(play_both, bench, count, options)


def play_both(bench: Bench, count: int, options: Mapping[str, Any]) -> list[Row]:
    """Play one episode alone, and then many at the same time; return the rows."""
    steps = bench.repeats(STEPS)
    with closing(vector(TASK, count, **options)) as envs, closing(vector(TASK, **options)) as one:
        bench.progress("one rollout", None)
        alone = play(one, steps)
        bench.progress(f"{count} rollouts", None)
        together = play(envs, steps)
    thinking = f"thinking {THINKING_S[0]:g} – {THINKING_S[1]:g} s"
    what, peer = f"one step of each of {count} rollouts at once, {thinking}", "a single episode"
    return [
        row(what, together.step_ms, peer, alone.step_ms),
        row(
            f"{count} rollouts, {thinking}: processor time of this process, for each step",
            together.processor_ms,
            peer,
            alone.processor_ms,
        ),
        row(
            f"{count} rollouts, {thinking}: share of a core that this process uses",
            [together.share],
            peer,
            [alone.share],
            unit="%",
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class Played:
    """What the steps of some members cost."""

    step_ms: list[float]
    """Milliseconds of each member's steps."""
    processor_ms: list[float]
    """Milliseconds of processor time of this process for each member's step, checkpoints between
    two steps included, by step."""
    share: float
    """Processor time of this process, in percent of the time that passed."""


def play(envs: KernelVectorEnv, steps: int) -> Played:
    """Play a number of steps with a policy that thinks before each."""
    envs.reset()
    step_ms: list[float] = []
    processor_ms: list[float] = []
    began, used = time.perf_counter(), time.process_time()
    for _ in range(steps):
        before = time.process_time()
        time.sleep(random.uniform(*THINKING_S))  # noqa: S311 - no secret
        *_, infos = envs.step([{"kind": "execute_code", "code": CELL}] * envs.num_envs)
        processor_ms.append(1e3 * (time.process_time() - before) / envs.num_envs)
        step_ms += [1e3 * seconds for seconds in infos["step_seconds"]]
    seconds = time.perf_counter() - began
    share = 100 * (time.process_time() - used) / seconds
    return Played(step_ms=step_ms, processor_ms=processor_ms, share=share)


# ── groups ────────────────────────────────────────────────────────────────────────────────


async def group(bench: Bench) -> list[Row]:
    """Measure a group of branches of one live state, against containers that replay."""
    size_gb = RESIDENT_GB * bench.scale
    prefix = {"code": PREFIX.format(gb=size_gb)}
    needed = GROUP * (size_gb + GB_EACH)
    mine, theirs = [], []
    async with Grader() as grader:
        parent = await begin(bench, grader, prefix)
        for _ in bench.rounds(f"groups of {GROUP}", 5):
            began = time.perf_counter()
            branches = await parent.fork(GROUP, reseed=True)
            mine.append(1e3 * (time.perf_counter() - began))
            await end(branches)
        if (free := available_gb()) < needed:
            bench.skip(f"{GROUP} containers need {needed:.0f} GB; {free:.0f} GB are free")
        for _ in bench.rounds(f"{GROUP} containers", 2) if free >= needed else ():
            slots = asyncio.Semaphore(AT_ONCE)
            began = time.perf_counter()
            copies = await asyncio.gather(
                *(begin(bench, grader, prefix, slots) for _ in range(GROUP))
            )
            theirs.append(1e3 * (time.perf_counter() - began))
            await end(copies)
        await parent.close()
    what = f"group of {GROUP} from one live state, {size_gb:.2g} GB"
    peer = f"{GROUP} containers that replay"
    return [row(what, mine, peer, theirs, goal=Goal(at_most=1000, of_peer=1 / 20))]


async def begin(
    bench: Bench,
    grader: Grader,
    prefix: Mapping[str, str],
    slots: asyncio.Semaphore | None = None,
) -> Rollout:
    """Begin an episode and run the prefix."""
    async with slots or nullcontext():
        rollout = await Rollout.open(
            TASK, sandbox=bench.sandbox, out=bench.folder, budget=UNLIMITED, grader=grader
        )
        turn = await rollout.call("execute_code", prefix)
        if turn.error:
            raise KernelError(f"the prefix of a group failed: {turn.error}")
        return rollout


async def end(rollouts: Sequence[Rollout]) -> None:
    """Close rollouts."""
    await asyncio.gather(*(rollout.close() for rollout in rollouts))
