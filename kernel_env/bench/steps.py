"""Measure a step: against a bare client, with standbys, and in a notebook of small cells."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec

from nbformat.v4 import new_code_cell, new_notebook

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
from kernel_env.episode import open_episode
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.notebook_parser import read_notebook
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
NOTEBOOK_CELLS = 1000
"""Number of small cells of the notebook."""


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
    peer, goal = "bare jupyter_client, local kernel", Goal(above_peer=6)
    first, last = slice(1, WINDOW), slice(-WINDOW, None)
    return [
        row(
            f"`pass` by env.step, steps 2 … {WINDOW}, no pause",
            mine[first],
            peer,
            theirs[first],
            goal=goal,
        ),
        row(
            f"`pass` by env.step, last {WINDOW} of {steps}",
            mine[last],
            peer,
            theirs[last],
            goal=goal,
        ),
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


async def notebook(bench: Bench) -> list[Row]:
    """Measure a notebook of small cells, without pauses, against nbclient."""
    if find_spec("nbclient") is None:
        bench.skip("a notebook of small cells: its peer nbclient is not installed")
        return []
    count = bench.repeats(NOTEBOOK_CELLS)
    cells = [f"x = {n}; y = x ** 2" for n in range(count)]
    mine, theirs = [], []
    kernel = RecoverableKernel(bench.kernels)
    try:
        await kernel.start()
        for _ in bench.rounds("a notebook of small cells", 3):
            mine.append(await time_await(run_all(kernel, cells)) / count)
            theirs.append(await time_await(execute_with_nbclient(cells)) / count)
    finally:
        await kernel.close()
    what = f"a cell of a notebook of {count} small cells, no pause"
    return [row(what, mine, "nbclient, local kernel", theirs, goal=Goal(of_peer=1.3))]


PICTURE = r"""
import base64, os
data = b"\x89PNG\r\n\x1a\n" + os.urandom(40_000)
display({"image/png": base64.b64encode(data).decode()}, raw=True)
"""
"""A cell that displays a picture of the size of a plot."""


async def pictures(bench: Bench) -> list[Row]:
    """Measure what a step with a picture takes beside its cell, early and late in an episode."""
    count = max(2 * WINDOW, bench.repeats(1000))
    budget = {**UNLIMITED, "steps": count + 1}
    beside_cell, rendering = [], []
    async with open_episode(
        TASK, sandbox=bench.sandbox, out=bench.folder, budget=budget
    ) as episode:
        for n in range(1, count + 1):
            bench.progress(f"steps with a picture · {n} of {count}", n / count)
            took = await time_await(episode.act(ExecuteCode(code=PICTURE)))
            cell = episode.latest.cell if episode.latest else None
            assert cell is not None
            assert cell.error is None
            beside_cell.append(took - 1000 * cell.seconds)
        ended = episode
    rendering.append(time_call(lambda: read_notebook(ended.notebook)))
    return [
        row(
            f"a step with a picture beside its cell, last {WINDOW} of {count}",
            beside_cell[-WINDOW:],
            f"steps 2 … {WINDOW}",
            beside_cell[1:WINDOW],
            goal=Goal(of_peer=1.5),
        ),
        row(f"reading the notebook of {count} steps with a picture", rendering, ""),
    ]


async def run_all(kernel: RecoverableKernel, cells: Sequence[str]) -> None:
    """Run cells one after the other."""
    for code in cells:
        await kernel.run(code, timeout_s=CELL_S)


async def execute_with_nbclient(cells: Sequence[str]) -> None:
    """Run a notebook of these cells with nbclient, in a local kernel that it starts and ends."""
    from nbclient import NotebookClient  # an optional peer

    notebook = new_notebook(cells=[new_code_cell(code) for code in cells])
    await NotebookClient(notebook, kernel_name="python3").async_execute()
