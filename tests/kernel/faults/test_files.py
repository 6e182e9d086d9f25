"""A kernel is restored after faults of files: full disks, deleted files, missing permissions."""

import pytest

from support.faults import (
    CHANGES,
    CHECK,
    EXITED,
    FILL_SNAPSHOTS,
    IMPORTS,
    SMALL_SETUP,
    SMALL_UNCHANGED,
    Fault,
    Report,
    SharedKernel,
    assert_restored,
    faulty_kernel,
    set_up,
)
from support.kernels import cell_text, run_cell, run_trial

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

FAULTS = {
    "the workspace is filled": Fault(
        "f = open('big', 'wb')\ntry:\n    while True: f.write(bytes(1 << 20))\n"
        "except OSError: os._exit(1)",
        EXITED,
    ),
    "the temporary folders are filled": Fault(
        "for d in ('/tmp', os.path.expanduser('~'), '/dev/shm'):\n"
        "    f = open(d + '/big', 'wb', buffering=0)\n    try:\n"
        "        while True: f.write(bytes(1 << 20))\n    except OSError: f.close()\n"
        "os._exit(1)",
        EXITED,
    ),
    "all files of the agent are deleted": Fault(
        "import shutil\nfor d in ('/workspace', os.path.expanduser('~'), '/tmp'):\n"
        "    for n in os.listdir(d):\n        p = os.path.join(d, n)\n"
        "        shutil.rmtree(p) if os.path.isdir(p) else os.remove(p)\nos._exit(1)",
        EXITED,
    ),
    "the agent's folders lose all permissions": Fault(
        "for d in ('/workspace', os.path.expanduser('~'), '/tmp'): os.chmod(d, 0)\nos._exit(1)",
        EXITED,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_kernel_is_restored_after_a_fault_of_files(
    name: str, shared_kernel: SharedKernel, report: Report
) -> None:
    async with shared_kernel.use() as kernel:
        report(name, await assert_restored(FAULTS[name], kernel))


async def test_missing_space_for_snapshots_is_reported() -> None:
    async with faulty_kernel() as kernel:
        await set_up(kernel, SMALL_SETUP)
        await run_cell(kernel, FILL_SNAPSHOTS)
        await run_cell(kernel, "open('kept', 'w').write('old' * 10_000)")

        trial = await run_trial(kernel, "x")
        after = await run_cell(kernel, "x")
        crashed = await run_cell(kernel, IMPORTS + CHANGES + "os._exit(1)")

    assert cell_text(trial) == "41"
    assert "replayed for this trial" in trial.note
    assert "No space left" in trial.note
    assert after.recovery is None
    assert cell_text(after) == "41"
    assert crashed.recovery is not None
    assert "files could not be restored, because" in crashed.recovery.note
    assert "No space left" in crashed.recovery.note


async def test_a_kernel_without_free_descriptors_runs_cells_and_can_be_forked_once_some_are_free(
    small_kernel: SharedKernel,
) -> None:
    async with small_kernel.fork() as kernel:
        full = await run_cell(
            kernel,
            "held = []\ntry:\n    while True: held.append(open('/dev/null'))\nexcept OSError: pass",
        )
        while_full = await run_cell(kernel, "print('hello'); open('kept')", 5)
        trial = await run_trial(kernel, "x")
        await run_cell(kernel, "[file.close() for file in held]; del held, file", 5)
        crashed = await run_cell(kernel, IMPORTS + CHANGES + "os._exit(9)")
        after = await run_cell(kernel, CHECK)

        assert full.broke is None
        assert while_full.broke is None
        assert cell_text(while_full).startswith("hello")
        assert "Too many open files" in cell_text(while_full)
        assert cell_text(trial) == "41"
        assert "no free file descriptor" in trial.note
        assert crashed.recovery is not None
        assert cell_text(after) == SMALL_UNCHANGED
