"""Measure cells with huge outputs: their time and the memory of container and host."""

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
    UNLIMITED,
    Bench,
    Goal,
    Row,
    available_gb,
    peak_mb,
    resident_mb,
    row,
)
from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import ExecuteCode

MEMORY_GB = 10
"""Least available memory with which the peer runs, because the peer's memory is unlimited."""
PEER_S = 120.0
"""Time limit of the peer in seconds."""
MEMORY_FUNCTIONS = """
import os
def memory(what):
    for path in (f"/sys/fs/cgroup/memory.{what[0]}", f"/sys/fs/cgroup/memory/memory.{what[1]}"):
        if os.path.exists(path):
            return int(open(path).read())
    return 0
def peak(): return memory(("peak", "max_usage_in_bytes"))
def now(): return memory(("current", "usage_in_bytes"))
"""
NO_MEMORY = "peak = now = lambda: 0"
"""The functions of `MEMORY_FUNCTIONS` in a sandbox that does not count its memory."""
BEFORE = "ballast = b'1' * max(0, peak() - now() + 2**24) if peak() else b''; print(now())"
"""Allocate memory up to the previous peak, so that the next growth raises the peak."""
AFTER = "print(peak())"
"""Print the peak."""


@dataclass(frozen=True, kw_only=True)
class Flood:
    """A cell with a huge output."""

    name: str
    """What it prints, for the row's name."""
    setup: str
    """The cell before it, which creates what is printed."""
    code: str
    """The measured cell."""

    @property
    def cells(self) -> list[str]:
        """Return all cells to run, in order."""
        return [MEMORY_FUNCTIONS, self.setup, BEFORE, self.code, AFTER]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of a flood."""

    seconds: float
    """Duration of the cell."""
    container_mb: float | None
    """Growth of the container's memory; None in a sandbox that does not count its memory."""
    host_mb: float
    """Growth of the memory of the process on the host."""


def make_floods(scale: float) -> list[Flood]:
    """Return the floods, at a share of their usual size."""
    lines, megabytes = int(2e6 * scale), int(1000 * scale)
    big = int(2e8 * scale)
    return [
        Flood(
            name=f"print of {megabytes} MB, by the megabyte",
            setup="text = 'x' * 999_999",
            code=f"for _ in range({megabytes}): print(text)",
        ),
        Flood(
            name=f"print of {lines:,} lines", setup="", code=f"for n in range({lines}): print(n)"
        ),
        Flood(
            name=f"display of {big / 1e6:g} MB",
            setup=f"from IPython.display import display; bundle = {{'text/plain': 'x' * {big}}}",
            code="display(bundle, raw=True)",
        ),
    ]


async def floods(bench: Bench) -> list[Row]:
    """Measure huge outputs in an episode, and in a plain ipykernel with a plain client."""
    if not bench.isolated:
        bench.skip(f"memory of a {bench.sandbox} sandbox: it does not count its own memory")
    rows = []
    for flood in make_floods(bench.scale):
        mine, theirs = [], []
        peer_survives = bench.isolated and available_gb() > MEMORY_GB
        for _ in bench.rounds(flood.name, 3):
            mine.append(await flood_episode(bench, flood))
            if peer_survives and (cost := await flood_plain_kernel(bench, flood)):
                theirs.append(cost)
            else:
                peer_survives = False
        peer = "plain ipykernel and client" if theirs else "none: a plain ipykernel dies"
        if not bench.isolated or available_gb() <= MEMORY_GB:
            peer = ""
        rows += comparison_rows(flood.name, mine, peer, theirs)
    return rows


def comparison_rows(
    name: str, mine: Sequence[Cost], peer: str, theirs: Sequence[Cost]
) -> list[Row]:
    """Return up to three rows: the time, the container's growth and the host's growth."""
    containers = [cost.container_mb for cost in mine if cost.container_mb is not None]
    peer_containers = [cost.container_mb for cost in theirs if cost.container_mb is not None]
    rows = [row(name, [c.seconds for c in mine], peer, [c.seconds for c in theirs], unit="s")]
    if containers:
        goal = Goal(at_most=100)
        rows.append(
            row(
                f"{name}: the container's growth",
                containers,
                peer,
                peer_containers,
                unit="MB",
                goal=goal,
            )
        )
    hosts, theirs_host = [c.host_mb for c in mine], [c.host_mb for c in theirs]
    goal = Goal(at_most=10)
    rows.append(row(f"{name}: the host's growth", hosts, peer, theirs_host, unit="MB", goal=goal))
    return rows


async def flood_episode(bench: Bench, flood: Flood) -> Cost:
    """Measure a flood in an episode, including its journal."""
    opening = open_episode(TASK, sandbox=bench.sandbox, out=bench.folder, budget=UNLIMITED)
    async with opening as episode:
        for code in (MEMORY_FUNCTIONS if bench.isolated else NO_MEMORY, flood.setup):
            await episode.act(ExecuteCode(code=code))
        before = await run_and_read(episode, BEFORE)
        await asyncio.sleep(0.2)  # until the standby exists
        resident = resident_mb()
        peak_mb(reset=True)
        began = time.perf_counter()
        await episode.act(ExecuteCode(code=flood.code))
        seconds, host = time.perf_counter() - began, peak_mb() - resident
        return Cost(
            seconds=seconds,
            container_mb=grown_mb(before, await run_and_read(episode, AFTER)),
            host_mb=max(0.0, host),
        )


async def run_and_read(episode: Episode, code: str) -> str:
    """Run a cell and return what it prints."""
    step = await episode.act(ExecuteCode(code=code))
    assert step.cell is not None
    return "".join(str(output.get("text", "")) for output in step.cell.outputs)


def grown_mb(before: str, after: str) -> float | None:
    """Return the peak after minus the usage before in MB; None when memory is not counted."""
    return max(0, int(after) - int(before)) / 1e6 if int(after) else None


async def flood_plain_kernel(bench: Bench, flood: Flood) -> Cost | None:
    """Measure a flood in a plain kernel with a plain client; None when one of them died."""
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(bench.make_sandbox())
        launched = await stack.enter_async_context(plain_kernel(sandbox))
        arguments = {"connection": dict(launched.connection_info), "cells": flood.cells}
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "kernel_env.bench.plain_client", json.dumps(arguments)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output_read = asyncio.ensure_future(client.communicate())
        kernel_ended = asyncio.ensure_future(launched.process.wait())
        try:
            await asyncio.wait(
                {output_read, kernel_ended}, timeout=PEER_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            if client.returncode is None:
                client.kill()
            output, _ = await output_read
            kernel_ended.cancel()
    results = [json.loads(line) for line in output.splitlines()]
    if len(results) < len(flood.cells):
        return None
    *_, before, cost, after = results
    return Cost(
        seconds=cost["seconds"],
        container_mb=grown_mb(before["text"], after["text"]),
        host_mb=cost["grown_mb"],
    )
