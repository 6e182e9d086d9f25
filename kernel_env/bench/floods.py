"""Output without end: how long it takes, and whose memory it fills."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from kernel_env.bench.baselines import plain_kernel
from kernel_env.bench.measure import (
    TASK,
    WHOLE,
    Bench,
    Goal,
    Row,
    available_gb,
    peak_mb,
    resident_mb,
    row,
)
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.episode import Episode, open_episode

MEMORY_GB = 10
"""Below this much free memory the peer is left alone: it may take all of it."""
PEER_S = 120.0
PEAK = """
import os
def memory(what):
    for path in (f"/sys/fs/cgroup/memory.{what[0]}", f"/sys/fs/cgroup/memory/memory.{what[1]}"):
        if os.path.exists(path):
            return int(open(path).read())
    return 0
def peak(): return memory(("peak", "max_usage_in_bytes"))
def now(): return memory(("current", "usage_in_bytes"))
"""
NO_PEAK = "peak = now = lambda: 0"
"""Where boxes have no memory of their own."""
BEFORE = "ballast = b'1' * max(0, peak() - now() + 2**24) if peak() else b''; print(now())"
"""What was the most so far is now there again, so that any more shows in the next peak."""
AFTER = "print(peak())"


@dataclass(frozen=True, kw_only=True)
class Flood:
    """A cell that says too much."""

    name: str
    ready: str
    """A cell before it, which makes what is shown."""
    code: str

    @property
    def cells(self) -> list[str]:
        """All that is run, in order; see `grown_mb`."""
        return [PEAK, self.ready, BEFORE, self.code, AFTER]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a flood cost."""

    seconds: float
    box_mb: float | None
    """None where boxes have no memory of their own."""
    host_mb: float


def known(scale: float) -> list[Flood]:
    """The floods, at a share of their size."""
    lines, megabytes = int(2e6 * scale), int(1000 * scale)
    big = int(2e8 * scale)
    return [
        Flood(
            name=f"print of {megabytes} MB, by the megabyte",
            ready="text = 'x' * 999_999",
            code=f"for _ in range({megabytes}): print(text)",
        ),
        Flood(
            name=f"print of {lines:,} lines", ready="", code=f"for n in range({lines}): print(n)"
        ),
        Flood(
            name=f"display of {big / 1e6:g} MB",
            ready=f"from IPython.display import display; bundle = {{'text/plain': 'x' * {big}}}",
            code="display(bundle, raw=True)",
        ),
    ]


async def floods(bench: Bench) -> list[Row]:
    """Each flood through an episode, and in a plain ipykernel with a plain client."""
    if not bench.isolated:
        bench.skip(f"the memory of a {bench.sandbox} box: it has none of its own")
    rows = []
    for flood in known(bench.scale):
        mine, theirs = [], []
        survives = bench.isolated and available_gb() > MEMORY_GB
        for _ in bench.turns(flood.name, 3):
            mine.append(await ours(bench, flood))
            if survives and (cost := await plain(bench, flood)):
                theirs.append(cost)
            else:
                survives = False
        peer = "plain ipykernel and client" if theirs else "none: a plain ipykernel dies of it"
        if not bench.isolated or available_gb() <= MEMORY_GB:
            peer = ""
        rows += compared(flood.name, mine, peer, theirs)
    return rows


def compared(name: str, mine: Sequence[Cost], peer: str, theirs: Sequence[Cost]) -> list[Row]:
    """Three rows: time, the box's growth, the host's."""
    box = [cost.box_mb for cost in mine if cost.box_mb is not None]
    theirs_box = [cost.box_mb for cost in theirs if cost.box_mb is not None]
    rows = [row(name, [c.seconds for c in mine], peer, [c.seconds for c in theirs], unit="s")]
    if box:
        goal = Goal(at_most=100)
        rows.append(
            row(f"{name}: the container's growth", box, peer, theirs_box, unit="MB", goal=goal)
        )
    hosts, theirs_host = [c.host_mb for c in mine], [c.host_mb for c in theirs]
    goal = Goal(at_most=10)
    rows.append(row(f"{name}: the host's growth", hosts, peer, theirs_host, unit="MB", goal=goal))
    return rows


async def ours(bench: Bench, flood: Flood) -> Cost:
    """Through an episode, its journal included."""
    opening = open_episode(TASK, sandbox=bench.sandbox, out=bench.folder, budget=WHOLE)
    async with opening as episode:
        for code in (PEAK if bench.isolated else NO_PEAK, flood.ready):
            await episode.act(ExecuteCode(code=code))
        before = await printed(episode, BEFORE)
        await asyncio.sleep(0.2)  # the standby is there
        resident = resident_mb()
        peak_mb(since_now=True)
        began = time.perf_counter()
        await episode.act(ExecuteCode(code=flood.code))
        seconds, host = time.perf_counter() - began, peak_mb() - resident
        return Cost(
            seconds=seconds,
            box_mb=grown_mb(before, await printed(episode, AFTER)),
            host_mb=max(0.0, host),
        )


async def printed(episode: Episode, code: str) -> str:
    """What a cell prints."""
    step = await episode.act(ExecuteCode(code=code))
    assert step.cell is not None
    return "".join(str(output.get("text", "")) for output in step.cell.outputs)


def grown_mb(before: str, after: str) -> float | None:
    """From the usage before to the peak after; None where nobody counts."""
    return max(0, int(after) - int(before)) / 1e6 if int(after) else None


async def plain(bench: Bench, flood: Flood) -> Cost | None:
    """In a plain kernel, its client in a process of its own; None when one of them died."""
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(bench.box())
        launched = await stack.enter_async_context(plain_kernel(box))
        given = {"connection": dict(launched.connection_info), "cells": flood.cells}
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "kernel_env.bench.plain_client", json.dumps(given)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        reading = asyncio.ensure_future(client.communicate())
        dying = asyncio.ensure_future(launched.process.wait())
        try:
            await asyncio.wait(
                {reading, dying}, timeout=PEER_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            if client.returncode is None:
                client.kill()
            output, _ = await reading
            dying.cancel()
    told = [json.loads(line) for line in output.splitlines()]
    if len(told) < len(flood.cells):
        return None
    *_, before, cost, after = told
    return Cost(
        seconds=cost["seconds"],
        box_mb=grown_mb(before["text"], after["text"]),
        host_mb=cost["grown_mb"],
    )
