"""A kernel is restored with the right reason, from a sound checkpoint, taken at the right time."""

import os

import pytest

from kernel_env.sandbox.protocol import Spec
from support.kernels import (
    KERNEL_FOLDERS,
    cell_text,
    fork_kernel,
    recoverable_kernel,
    run_at_once,
    run_cell,
    run_trial,
    standby_pids,
)

SMALL = Spec(
    memory_gb=0.5, workspace_gb=0.0625, cpus=1, processes=256, files=2000, folders=KERNEL_FOLDERS
)
CELL_S = 60
LINUX = tuple(int(part) for part in os.uname().release.split(".")[:2])


# ── why a kernel ended, and what runs twice ───────────────────────────────────────────────

EXCEED_MEMORY_IN_A_PROGRAM = (
    "import os, subprocess, sys\n"
    "code = 'b = []\\nwhile True: b.append(b\"x\" * (50 << 20))'\n"
    "subprocess.run([sys.executable, '-c', code]).returncode"
)


@pytest.mark.docker
@pytest.mark.parametrize("crash", ["os._exit(7)", "os.kill(os.getpid(), 9)"])
async def test_a_crash_after_a_program_was_killed_for_its_memory_is_not_one_of_memory(
    crash: str,
) -> None:
    async with recoverable_kernel(SMALL) as kernel:
        killed = await run_cell(kernel, EXCEED_MEMORY_IN_A_PROGRAM, CELL_S)

        cell = await run_cell(kernel, f"print('ran'); {crash}")

    assert cell_text(killed) == "-9"
    assert cell.recovery is not None
    assert cell.recovery.how == "standby"
    assert "memory" not in cell.recovery.cause


async def test_a_cell_that_damages_the_kernel_is_found_out_after_two_cells_that_hang(
    sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_env.kernel.connection.client.INTERRUPT_S", 0.5)
    async with recoverable_kernel(SMALL, sandbox) as kernel:
        await run_cell(kernel, "x = 41", step=1)
        damage = "type(get_ipython().kernel).do_execute = lambda *a, **k: 1 / 0; x = 0"
        await run_cell(kernel, damage, step=2)

        cells = [await run_cell(kernel, "x + 1", timeout_s=1, step=step) for step in (3, 4, 5)]

    first, second, third = cells
    assert first.recovery is not None
    assert first.recovery.how == "standby"
    assert second.recovery is not None
    assert "the cell of step 2 had damaged the kernel and is undone too" in second.recovery.note
    assert (third.recovery, cell_text(third)) == (None, "42")


@pytest.mark.docker
@pytest.mark.skipif(LINUX < (6, 12), reason="needs Linux 6.12: signal scopes of Landlock")
async def test_a_trial_and_a_fork_cannot_signal_the_kernel_that_they_come_from() -> None:
    signal_others = (
        "import os, signal\nrefused = []\nfor pid in map(int, filter(str.isdigit, os.listdir('/proc'))):\n"
        "    if pid not in (1, os.getpid()):\n"
        "        try: os.kill(pid, signal.SIGSTOP)\n"
        "        except PermissionError: refused.append(pid)\n"
        "len(refused)"
    )
    async with recoverable_kernel(SMALL) as kernel:
        await run_cell(kernel, "x = 41")

        tried = await run_trial(kernel, signal_others)
        forked = await fork_kernel(kernel)
        in_fork = await run_cell(forked.kernel, signal_others)
        after = await run_cell(kernel, "x + 1")
        await forked.kernel.close()

    assert int(cell_text(tried)) >= 3  # the template, the kernel, a standby
    assert int(cell_text(in_fork)) >= 3
    assert (after.recovery, cell_text(after)) == (None, "42")


async def test_a_kernel_that_ends_during_a_trial_is_restored_in_that_step(sandbox: str) -> None:
    async with recoverable_kernel(SMALL, sandbox) as kernel:
        code = "import os, threading; x = 41; threading.Timer(1, os._exit, [3]).start()"
        await run_cell(kernel, code)

        tried = await run_trial(kernel, "import time; time.sleep(2); x + 1")
        after = await run_cell(kernel, "x + 1")

    assert cell_text(tried) == cell_text(after) == "42"
    assert tried.recovery is not None
    assert tried.recovery.cause == "the kernel exited with code 3 during the trial"
    assert after.recovery is None


# ── when checkpoints are taken ────────────────────────────────────────────────────────────


async def test_no_checkpoint_is_taken_between_quick_cells_without_a_pause(sandbox: str) -> None:
    async with recoverable_kernel(SMALL, sandbox) as kernel:
        await run_cell(kernel, "x = 0")
        before = standby_pids(kernel)
        for _ in range(5):
            await run_at_once(kernel, "x += 1")

        while_busy = standby_pids(kernel)
        crashed = await run_at_once(kernel, "import os; os._exit(1)")
        after = await run_cell(kernel, "x")

    assert while_busy == before
    assert crashed.recovery is not None
    assert (crashed.recovery.how, crashed.recovery.cells) == ("replay", 5)
    assert cell_text(after) == "5"


async def test_a_checkpoint_is_taken_before_the_next_cell_if_a_replay_would_take_long(
    sandbox: str,
) -> None:
    async with recoverable_kernel(SMALL, sandbox) as kernel:
        await run_at_once(kernel, "import time; time.sleep(0.3); started = time.time()")

        crashed = await run_at_once(kernel, "import os; os._exit(1)")

    assert crashed.recovery is not None
    assert crashed.recovery.how == "standby"


async def test_cells_that_no_checkpoint_covers_are_replayed_before_a_cell_runs_again(
    sandbox: str,
) -> None:
    async with recoverable_kernel(SMALL, sandbox) as kernel:
        await run_cell(kernel, "x = 1")
        await run_at_once(kernel, "x += 40")

        tried = await run_trial(kernel, "x + 1")
        forked = await fork_kernel(kernel)
        in_fork = await run_cell(forked.kernel, "x + 1")
        await forked.kernel.close()

    assert cell_text(tried) == cell_text(in_fork) == "42"
