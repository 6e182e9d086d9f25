"""A kernel that has opened a GPU is never forked: what a fork would restore, a replay restores.

A copy of a process cannot use the GPU that the original has opened, and keeps its memory allocated.
The GPU is another device under its name, which programs can open and read.
"""

import json
import re
from collections.abc import AsyncIterator

import pytest

from kernel_env.episode.observation import describe_recovery
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox import Spec
from support.gpus import GPU, GPU_DEVICES
from support.kernels import (
    KERNEL_FOLDERS,
    cell_text,
    checkpoint_taken,
    fork_kernel,
    recoverable_kernel,
    run_cell,
    run_trial,
    running_kernel,
)

pytestmark = pytest.mark.docker

OPEN = f"import os; gpu = open('{GPU}', 'r+b', buffering=0); opened_by = os.getpid(); x = 41"
"""Opens the GPU as CUDA does when it is initialised, and notes in which process."""
STATE = "print(x, gpu.read(2), opened_by == os.getpid())"
"""Prints `x`, bytes from the GPU, and whether this process opened it itself."""
HOLDERS = f"""
import glob, json, os
found = set()
for path in glob.glob("/proc/[0-9]*/fd/*"):
    try:
        if os.readlink(path) == "{GPU}":
            found.add(int(path.split("/")[2]))
    except FileNotFoundError:
        pass
print(json.dumps(sorted(found)))
"""
"""Prints which processes of the container have the GPU open."""


@pytest.fixture
async def kernel() -> AsyncIterator[RecoverableKernel]:
    """A kernel that can open a GPU, and has not."""
    async with recoverable_kernel(Spec(folders=KERNEL_FOLDERS, devices=GPU_DEVICES)) as opened:
        yield opened


async def holders(kernel: RecoverableKernel) -> list[int]:
    """Return the processes that have the GPU open, once the checkpoint is taken."""
    await checkpoint_taken(kernel)
    done = await kernel.sandbox.run([kernel.sandbox.python, "-c", HOLDERS], timeout_s=60)
    found: list[int] = json.loads(done.output)
    return found


def pid_of(kernel: RecoverableKernel) -> int:
    """Return the process ID of the running kernel."""
    running = running_kernel(kernel)
    assert running is not None
    return running.process.pid


async def test_after_a_crash_variables_are_back_by_a_replay(kernel: RecoverableKernel) -> None:
    await run_cell(kernel, OPEN, step=1)
    await run_cell(kernel, "x += 1", step=2)

    crashed = await run_cell(kernel, "os._exit(1)", step=3)
    after = cell_text(await run_cell(kernel, STATE, step=4))

    assert after == "42 b'\\x00\\x00' True\n"
    assert crashed.recovery is not None
    assert (crashed.recovery.how, crashed.recovery.cells) == ("replay", 2)
    assert crashed.state_lost is None
    assert crashed.recovery.seconds > 0


async def test_the_recovery_names_the_gpu_and_how_long_it_took(kernel: RecoverableKernel) -> None:
    await run_cell(kernel, OPEN, step=1)

    crashed = await run_cell(kernel, "os._exit(1)", step=2)

    assert crashed.recovery is not None
    text = describe_recovery(crashed.recovery)
    assert "GPU" in text
    assert re.search(r"\b\d+(\.\d+)? s\b", text), text


async def test_no_other_process_holds_the_gpu(kernel: RecoverableKernel) -> None:
    await run_cell(kernel, OPEN, step=1)
    await run_cell(kernel, "x += 1", step=2)
    assert await holders(kernel) == [pid_of(kernel)]

    await run_cell(kernel, "os._exit(1)", step=3)

    assert await holders(kernel) == [pid_of(kernel)]


async def test_checkpoints_from_before_the_gpu_was_opened_are_used(
    kernel: RecoverableKernel,
) -> None:
    await run_cell(kernel, "import os; y = [1]", step=1)
    await run_cell(kernel, OPEN, step=2)

    crashed = await run_cell(kernel, "os._exit(1)", step=3)

    assert crashed.recovery is not None
    assert (crashed.recovery.how, crashed.recovery.cells) == ("replay", 1)
    assert cell_text(await run_cell(kernel, "print(x, y)", step=4)) == "41 [1]\n"


async def test_a_trial_replays_and_changes_nothing(kernel: RecoverableKernel) -> None:
    await run_cell(kernel, OPEN, step=1)

    trial = await run_trial(kernel, f"x += 1\n{STATE}")
    after = cell_text(await run_cell(kernel, STATE, step=2))

    assert cell_text(trial) == "42 b'\\x00\\x00' True\n"
    assert after == "41 b'\\x00\\x00' True\n"
    assert await holders(kernel) == [pid_of(kernel)]


async def test_a_fork_replays_and_has_the_gpu_open_too(kernel: RecoverableKernel) -> None:
    await run_cell(kernel, OPEN, step=1)
    await run_cell(kernel, "x += 1", step=2)

    forked = await fork_kernel(kernel)
    try:
        in_fork = cell_text(await run_cell(forked.kernel, f"x += 1\n{STATE}", step=3))
        await checkpoint_taken(forked.kernel)
        both = sorted([pid_of(kernel), pid_of(forked.kernel)])
        assert await holders(kernel) == both
    finally:
        await forked.kernel.close()
    in_parent = cell_text(await run_cell(kernel, STATE, step=3))

    assert forked.cells == 2
    assert in_fork == "43 b'\\x00\\x00' True\n"
    assert in_parent == "42 b'\\x00\\x00' True\n"
    assert await holders(kernel) == [pid_of(kernel)]


async def test_a_reset_gives_the_gpu_back(kernel: RecoverableKernel) -> None:
    await run_cell(kernel, OPEN, step=1)
    await run_cell(kernel, "x += 1", step=2)

    await kernel.reset(step=3)

    assert await holders(kernel) == []


async def test_a_gpu_in_a_subprocess_leaves_the_kernel_forkable(kernel: RecoverableKernel) -> None:
    await run_cell(
        kernel,
        "import os, subprocess, sys; x = 41\n"
        f"train = [sys.executable, '-c', \"print(open('{GPU}', 'rb').read(2))\"]\n"
        "subprocess.check_output(train)",
        step=1,
    )

    crashed = await run_cell(kernel, "os._exit(1)", step=2)
    again = cell_text(await run_cell(kernel, "print(x, subprocess.check_output(train))", step=3))

    assert crashed.recovery is not None
    assert crashed.recovery.how == "standby"
    assert again == "41 b\"b'\\\\x00\\\\x00'\\n\"\n"
