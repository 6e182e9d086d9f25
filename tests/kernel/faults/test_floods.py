"""Whatever a kernel sends, the event loop of the host goes on and the cell's time limit is kept."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import Spec
from support.floods import IOPUB_FLOODS, PRELUDE, SHELL_FLOODS
from support.heartbeat import BUSY_S, PAUSE_S, Heartbeat
from support.kernels import KERNEL_FOLDERS, cell_text, recoverable_kernel, run_at_once

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPEC = Spec(folders=KERNEL_FOLDERS, memory_gb=1)
CELL_S, END_S = 1.0, 3.0
"""The cells' time limit, and how much longer one that has to be interrupted or killed may take."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def only_kernel() -> AsyncIterator[RecoverableKernel]:
    """The kernel that the tests of this file share."""
    async with recoverable_kernel(SPEC, "local") as kernel:
        yield kernel


@pytest_asyncio.fixture(loop_scope="module")
async def kernel(only_kernel: RecoverableKernel) -> RecoverableKernel:
    """A pristine kernel."""
    await only_kernel.reset()
    return only_kernel


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def honest() -> AsyncIterator[list[RecoverableKernel]]:
    """Three kernels whose cells send nothing unusual."""
    async with AsyncExitStack() as stack:
        opening = [recoverable_kernel(SPEC, "local") for _ in range(3)]
        yield [await stack.enter_async_context(each) for each in opening]


@pytest.mark.parametrize("name", [*IOPUB_FLOODS, *SHELL_FLOODS])
async def test_a_flood_does_not_stop_the_event_loop(
    name: str, kernel: RecoverableKernel, print_later: Callable[[str], None]
) -> None:
    await kernel.run(PRELUDE, timeout_s=20)

    async with Heartbeat() as heart:
        began = time.monotonic()
        code = "parent = k.get_parent()\n" + (IOPUB_FLOODS | SHELL_FLOODS)[name]
        cell = await kernel.run(code, timeout_s=CELL_S)
        seconds = time.monotonic() - began
        await asyncio.sleep(0.2)
        after = await run_at_once(kernel, "ended = True; 6 * 7")
        if not cell_text(after):  # a thread filled the channel while this cell ran
            after = await run_at_once(kernel, "6 * 7")

    print_later(
        f"{name:40} {heart}, cell {seconds:4.2f} s, {cell.dropped_bytes / 1e6:6.1f} MB left out"
    )
    assert heart.longest_s < PAUSE_S
    assert heart.busy_s < BUSY_S
    assert seconds < CELL_S + END_S
    assert cell_text(after).endswith("42")


async def test_other_kernels_continue_beside_a_flood(
    kernel: RecoverableKernel,
    honest: list[RecoverableKernel],
    print_later: Callable[[str], None],
) -> None:
    quiet, beside = await compare(kernel, PARTS_AND_STREAMS, honest)

    print_later(f"p99 of `pass`: {quiet.p99_ms:.1f} ms alone, {beside}")
    assert beside.heart.longest_s < PAUSE_S
    assert beside.heart.busy_s < BUSY_S
    assert beside.steps > quiet.steps / 4


@pytest.mark.slow
@pytest.mark.parametrize("name", [*IOPUB_FLOODS, *SHELL_FLOODS])
async def test_other_kernels_continue_beside_each_flood(
    name: str,
    kernel: RecoverableKernel,
    honest: list[RecoverableKernel],
    print_later: Callable[[str], None],
) -> None:
    code = "ended = False; parent = k.get_parent()\n" + (IOPUB_FLOODS | SHELL_FLOODS)[name]
    quiet, beside = await compare(kernel, code, honest)

    print_later(f"| {name} | {beside} | {quiet.p99_ms:.1f} ms |")
    assert beside.heart.longest_s < PAUSE_S
    assert beside.heart.busy_s < BUSY_S
    assert beside.steps > quiet.steps / 8


PARTS_AND_STREAMS = """
parent = k.get_parent()
while True:
    send("stream", {"name": "stdout", "text": "a\\b" * 9000}, 20)
    send("display_data", {"data": {"application/json": [[]] * 15_000}, "metadata": {}}, 20)
    send("display_data", {"data": {"image/png": "x" * 4 * M}, "metadata": {}}, 3)
"""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The steps that some kernels took."""

    steps: int
    p99_ms: float
    """The time that all but one in a hundred steps stayed below."""
    heart: Heartbeat

    def __str__(self) -> str:
        """Describe them for a table: longest pause, longest work at once, p99."""
        heart = self.heart
        return (
            f"{heart.longest_s * 1000:.1f} ms | {heart.busy_s * 1000:.1f} ms | {self.p99_ms:.1f} ms"
        )


async def compare(
    kernel: RecoverableKernel, code: str, honest: list[RecoverableKernel]
) -> tuple[Steps, Steps]:
    """Let kernels run empty cells, alone and beside one that floods its client for two seconds."""
    await kernel.run(PRELUDE, timeout_s=20)

    async def flood() -> None:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            await kernel.run(code, timeout_s=2)
            await asyncio.sleep(0.01)

    quiet = await steps_until(asyncio.create_task(asyncio.sleep(1)), honest)
    return quiet, await steps_until(asyncio.create_task(flood()), honest)


async def steps_until(end: asyncio.Task[Any], kernels: list[RecoverableKernel]) -> Steps:
    """Let kernels run empty cells until a task is done."""
    times = []

    async def run(kernel: RecoverableKernel) -> None:
        while not end.done():
            began = time.perf_counter()
            await kernel.run("pass", timeout_s=20)
            times.append(time.perf_counter() - began)
            await asyncio.sleep(0.01)

    async with Heartbeat() as heart:
        await asyncio.gather(*map(run, kernels))
    await end
    slow = sorted(times)[int(len(times) * 0.99)]
    return Steps(steps=len(times), p99_ms=slow * 1000, heart=heart)
