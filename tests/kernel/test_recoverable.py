"""What a live kernel does about memory and room, in boxes that are small on purpose."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kernel_env import plugins
from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.kernel.forking.checkpoints import CheckpointLimits
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.kernel.source import NewSandboxes
from kernel_env.sandbox.protocol import Spec

SMALL = Spec(
    memory_gb=0.5,
    workspace_gb=0.0625,
    cpus=1,
    processes=256,
    files=2000,
    folders={PROGRAM: PROGRAM_FOLDER},
)
"""Its memory limit is 0.5 + 3 × 0.0625 + 1 = 1.69 GiB."""


@asynccontextmanager
async def lived(
    sandbox: str, spec: Spec = SMALL, **limits: float
) -> AsyncIterator[RecoverableKernel]:
    make = plugins.find("sandbox", sandbox)
    live = RecoverableKernel(
        NewSandboxes(make_sandbox=lambda: make(spec), paths={}), CheckpointLimits(**limits)
    )
    try:
        await live.start()
        yield live
    finally:
        await live.close()


def text(cell: Cell) -> str:
    return "".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)


async def run(live: RecoverableKernel, code: str) -> Cell:
    return await live.run(code, timeout_s=60)


@pytest.mark.docker
async def test_a_cell_that_was_killed_for_its_standbys_memory_is_run_once_more_without() -> None:
    async with lived("docker") as live:
        await run(live, "import numpy as np; x = 41; a = np.ones(int(0.7 * 2**30), dtype='u1')")

        cell = await run(live, "a[:] = 2; b = np.ones(int(0.5 * 2**30), dtype='u1'); x += 1; x")
        after = await run(live, "x, int(a.sum()), int(b.sum())")

    assert cell.recovery is not None
    assert cell.recovery.how == "again"
    assert cell.state_lost is None
    assert text(cell) == "42"
    assert text(after) == f"(42, {2 * int(0.7 * 2**30)}, {2**29})"


@pytest.mark.docker
async def test_a_cell_that_needs_too_much_by_itself_is_undone_and_not_run_again() -> None:
    async with lived("docker") as live:
        await run(live, "import numpy as np; x = 41; a = np.ones(2**20); n = open('n', 'w')")

        cell = await run(
            live, "n.write('ran '); n.flush(); b = [np.ones(2**24) for _ in range(99)]"
        )
        after = await run(live, "x + 1, int(a.sum()), open('n').read()")

    assert cell.recovery is not None
    assert cell.recovery.how == "standby"
    assert "SIGKILL, as the memory limit does" in cell.recovery.cause
    assert text(after) == f"(42, {2**20}, '')"


KILLED_WITH_ITS_STANDBYS = """
import os, time
if not (child := os.fork()):
    open("/proc/self/oom_score_adj", "w").write("0")
    c = np.ones(int(0.4 * 2**30), dtype="u1")
    time.sleep(60)
for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
    if pid not in (1, child, os.getpid()):
        os.kill(pid, 9)
a[:] = 2
b = np.ones(2**29, dtype="u1")
time.sleep(60)
"""


@pytest.mark.docker
async def test_a_kernel_that_is_killed_for_its_memory_after_its_standbys_is_put_back() -> None:
    async with lived("docker") as live:
        await run(live, "import numpy as np; x = 41; a = np.ones(int(0.7 * 2**30), dtype='u1')")

        cell = await run(live, KILLED_WITH_ITS_STANDBYS)
        after = await run(live, "x + 1, int(a.sum())")

    assert cell.recovery is not None
    assert "SIGKILL, as the memory limit does" in cell.recovery.cause
    assert (cell.recovery.how, cell.state_lost) == ("replay", None)
    assert text(after) == f"(42, {int(0.7 * 2**30)})"


async def test_as_many_moments_are_kept_as_the_budget_says(sandbox: str) -> None:
    async with lived(sandbox, count=2) as live:
        for step in range(1, 6):
            cell = await live.run(
                f"x = {step}; open('f', 'w').write('{step}')", timeout_s=20, step=step
            )
            assert cell.error is None

        kept = await live.fork(step=4)
        gone = await live.fork(step=2)
        seen = [text(await run(b.kernel, "print(x, open('f').read())")) for b in (kept, gone)]
        for branch in (kept, gone):
            await branch.kernel.close()

    assert (kept.cells, gone.cells) == (0, 2)
    assert seen == ["4 4\n", "2 2\n"]


async def test_a_kernel_learns_which_pages_every_cell_writes(sandbox: str) -> None:
    async with lived(sandbox) as live:
        for _ in range(5):
            await run(live, "pass")
        learned = await run(
            live,
            "from ipykernel.kernelapp import IPKernelApp\n"
            "print(len(IPKernelApp.instance().prefault.pages))",
        )

    assert 200 < int(text(learned)) < 4096


@pytest.mark.docker
async def test_old_moments_make_room_in_memory_for_new_ones() -> None:
    async with lived("docker", count=9, memory_gb=0.4) as live:
        for step in range(1, 5):
            code = f"import numpy as np; a = np.full({150 << 20}, {step}, dtype='u1'); x = {step}"
            await live.run(code, timeout_s=30, step=step)

        oldest = await live.fork(step=1)
        latest = await live.fork(step=4)
        seen = [text(await run(b.kernel, "int(a[0]), x")) for b in (oldest, latest)]
        for branch in (oldest, latest):
            await branch.kernel.close()

    assert (oldest.cells, latest.cells) == (1, 0)
    assert seen == ["(1, 1)", "(4, 4)"]


@pytest.mark.docker
async def test_old_moments_make_room_for_new_files() -> None:
    async with lived("docker", count=9) as live:
        for step in range(1, 6):
            code = f"x = {step}; open('f', 'wb').write(bytes([{step}]) * {40 << 20})"
            await live.run(code, timeout_s=30, step=step)

        cell = await run(live, "open('f', 'wb').write(b'?'); import os; os._exit(1)")
        after = await run(live, "x, open('f', 'rb').read(1)[0], os.path.getsize('f') >> 20")
        after = await run(
            live, "import os; x, open('f', 'rb').read(1)[0], os.path.getsize('f') >> 20"
        )

    assert cell.recovery is not None
    assert cell.recovery.note == ""
    assert text(after) == "(5, 5, 40)"


@pytest.mark.docker
async def test_files_that_cannot_be_kept_are_said_when_the_kernel_is_put_back() -> None:
    async with lived("docker") as live:
        await run(live, "x = 41; open('f', 'w').write('before')")
        await run(
            live,
            "import os\nfor i in range(205): os.mkdir('d'); os.chdir('d')\nos.chdir('/workspace')",
        )

        cell = await run(live, "open('f', 'w').write('after'); os._exit(1)")
        after = await run(live, "x + 1, open('f').read()")

    assert cell.recovery is not None
    assert "nested more than 200 deep" in cell.recovery.note
    assert text(after) == "(42, 'after')"
