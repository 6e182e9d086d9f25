"""A recoverable kernel keeps checkpoints within limits of memory and space."""

import pytest

from kernel_env.kernel.forking.checkpoints import CheckpointLimits
from kernel_env.sandbox.protocol import Spec
from support.kernels import KERNEL_FOLDERS, cell_text, recoverable_kernel, run_cell

SMALL = Spec(
    memory_gb=0.5,
    workspace_gb=0.0625,
    cpus=1,
    processes=256,
    files=2000,
    folders=KERNEL_FOLDERS,
)
"""Its memory limit is 0.5 + 3 × 0.0625 + 1 = 1.69 GiB."""
CELL_S = 60


@pytest.mark.docker
async def test_a_cell_killed_because_of_standbys_runs_again_without_them() -> None:
    async with recoverable_kernel(SMALL) as kernel:
        await run_cell(
            kernel, "import numpy as np; x = 41; a = np.ones(int(0.7 * 2**30), dtype='u1')", CELL_S
        )

        cell = await run_cell(
            kernel, "a[:] = 2; b = np.ones(int(0.5 * 2**30), dtype='u1'); x += 1; x", CELL_S
        )
        after = await run_cell(kernel, "x, int(a.sum()), int(b.sum())", CELL_S)

    assert cell.recovery is not None
    assert cell.recovery.how == "again"
    assert cell.state_lost is None
    assert cell_text(cell) == "42"
    assert cell_text(after) == f"(42, {2 * int(0.7 * 2**30)}, {2**29})"


@pytest.mark.docker
async def test_a_cell_that_exceeds_the_memory_by_itself_is_undone_and_does_not_run_again() -> None:
    async with recoverable_kernel(SMALL) as kernel:
        await run_cell(
            kernel, "import numpy as np; x = 41; a = np.ones(2**20); n = open('n', 'w')", CELL_S
        )

        cell = await run_cell(
            kernel, "n.write('ran '); n.flush(); b = [np.ones(2**24) for _ in range(99)]", CELL_S
        )
        after = await run_cell(kernel, "x + 1, int(a.sum()), open('n').read()", CELL_S)

    assert cell.recovery is not None
    assert cell.recovery.how == "standby"
    assert "SIGKILL, because the memory limit was reached" in cell.recovery.cause
    assert cell_text(after) == f"(42, {2**20}, '')"


KILL_STANDBYS_AND_EXCEED_MEMORY = """
import os, time
if not (child := os.fork()):
    open("/proc/self/oom_score_adj", "w").write("0")
    c = np.ones(int(0.4 * 2**30), dtype="u1")
    time.sleep(60)
for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
    if pid not in (1, child, os.getpid()):
        try: os.kill(pid, 9)
        except PermissionError: pass  # the template is protected
a[:] = 2
b = np.ones(2**29, dtype="u1")
time.sleep(60)
"""


@pytest.mark.docker
async def test_cells_are_replayed_when_the_memory_limit_kills_the_kernel_after_its_standbys() -> (
    None
):
    async with recoverable_kernel(SMALL) as kernel:
        await run_cell(
            kernel, "import numpy as np; x = 41; a = np.ones(int(0.7 * 2**30), dtype='u1')", CELL_S
        )

        cell = await run_cell(kernel, KILL_STANDBYS_AND_EXCEED_MEMORY, CELL_S)
        after = await run_cell(kernel, "x + 1, int(a.sum())", CELL_S)

    assert cell.recovery is not None
    assert "SIGKILL, because the memory limit was reached" in cell.recovery.cause
    assert (cell.recovery.how, cell.state_lost) == ("replay", None)
    assert cell_text(after) == f"(42, {int(0.7 * 2**30)})"


async def test_no_more_checkpoints_are_kept_than_the_limit(sandbox: str) -> None:
    async with recoverable_kernel(SMALL, sandbox, CheckpointLimits(count=2)) as kernel:
        for step in range(1, 6):
            code = f"x = {step}; open('f', 'w').write('{step}')"
            cell = await run_cell(kernel, code, step=step)
            assert cell.error is None

        from_checkpoint = await kernel.fork(step=4)
        replayed = await kernel.fork(step=2)
        forks = (from_checkpoint, replayed)
        code = "print(x, open('f').read())"
        texts = [cell_text(await run_cell(fork.kernel, code)) for fork in forks]
        for fork in forks:
            await fork.kernel.close()

    assert (from_checkpoint.cells, replayed.cells) == (0, 2)
    assert texts == ["4 4\n", "2 2\n"]


async def test_a_kernel_learns_which_pages_every_cell_writes(sandbox: str) -> None:
    async with recoverable_kernel(SMALL, sandbox) as kernel:
        for _ in range(5):
            await run_cell(kernel, "pass", CELL_S)
        learned = await run_cell(
            kernel,
            "from ipykernel.kernelapp import IPKernelApp\n"
            "print(len(IPKernelApp.instance().prefault.pages))",
        )

    assert 200 < int(cell_text(learned)) < 4096


@pytest.mark.docker
async def test_old_checkpoints_are_evicted_when_their_memory_exceeds_the_limit() -> None:
    limits = CheckpointLimits(count=9, memory_gb=0.4)
    async with recoverable_kernel(SMALL, limits=limits) as kernel:
        for step in range(1, 5):
            code = f"import numpy as np; a = np.full({150 << 20}, {step}, dtype='u1'); x = {step}"
            await run_cell(kernel, code, 30, step=step)

        oldest = await kernel.fork(step=1)
        latest = await kernel.fork(step=4)
        forks = (oldest, latest)
        texts = [cell_text(await run_cell(fork.kernel, "int(a[0]), x")) for fork in forks]
        for fork in forks:
            await fork.kernel.close()

    assert (oldest.cells, latest.cells) == (1, 0)
    assert texts == ["(1, 1)", "(4, 4)"]


@pytest.mark.docker
async def test_old_checkpoints_are_evicted_when_there_is_no_space_for_a_snapshot() -> None:
    async with recoverable_kernel(SMALL, limits=CheckpointLimits(count=9)) as kernel:
        for step in range(1, 6):
            code = f"x = {step}; open('f', 'wb').write(bytes([{step}]) * {40 << 20})"
            await run_cell(kernel, code, 30, step=step)

        cell = await run_cell(kernel, "open('f', 'wb').write(b'?'); import os; os._exit(1)")
        after = await run_cell(
            kernel, "import os; x, open('f', 'rb').read(1)[0], os.path.getsize('f') >> 20"
        )

    assert cell.recovery is not None
    assert cell.recovery.note == ""
    assert cell_text(after) == "(5, 5, 40)"


@pytest.mark.docker
async def test_a_recovery_reports_that_files_could_not_be_stored() -> None:
    async with recoverable_kernel(SMALL) as kernel:
        await run_cell(kernel, "x = 41; open('f', 'w').write('before')")
        await run_cell(
            kernel,
            "import os\nfor i in range(205): os.mkdir('d'); os.chdir('d')\nos.chdir('/workspace')",
        )

        cell = await run_cell(kernel, "open('f', 'w').write('after'); os._exit(1)")
        after = await run_cell(kernel, "x + 1, open('f').read()")

    assert cell.recovery is not None
    assert "nested more than 200 deep" in cell.recovery.note
    assert cell_text(after) == "(42, 'after')"
