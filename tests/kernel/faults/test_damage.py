"""A kernel or sandbox that a cell has damaged still runs, and is restored when it crashes later."""

import asyncio

import pytest

from support.faults import (
    FILL_SNAPSHOTS,
    FILL_WORKSPACE,
    FIND_SOCKETS,
    IMPORTS,
    SIGNAL_OTHERS,
    SMALL_SETUP,
    Damage,
    Report,
    SharedKernel,
    assert_damage_survives_a_crash,
    faulty_kernel,
    set_up,
)
from support.kernels import cell_text, run_cell

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

KERNEL_DAMAGE = {
    "its control channel is closed": Damage(FIND_SOCKETS + "os.close(channel)", "replay"),
    "invalid JSON is sent on its control channel": Damage(
        FIND_SOCKETS + "os.write(channel, b'{]]\\n[1]\\n')", "replay"
    ),
    "a long text without end is sent on its control channel": Damage(
        FIND_SOCKETS + "os.write(channel, b'x' * 100_000)", "replay"
    ),
    "half a response is sent on its control channel": Damage(
        FIND_SOCKETS + "os.write(channel, b'{\"id\": ')"
    ),
    "responses are forged on its control channel": Damage(
        FIND_SOCKETS + "for n in range(9): os.write(channel, b'{\"id\": %d}\\n' % n)"
    ),
    "children run to the end of the cell": Damage("for _ in range(2): os.fork()"),
    "its process limit is 1": Damage(
        "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))", "replay"
    ),
    "its event loop policy is replaced": Damage(
        "import asyncio\nclass Other(asyncio.AbstractEventLoopPolicy): pass\n"
        "asyncio.set_event_loop_policy(Other())"
    ),
    "its event loop is replaced": Damage(
        "import asyncio; asyncio.set_event_loop(asyncio.new_event_loop())"
    ),
    "its event loop is removed": Damage("import asyncio; asyncio.set_event_loop(None)"),
    "its standard output is closed": Damage("import sys; sys.stdout.close()"),
    "its standard output is a string": Damage("import sys, io; sys.stdout = io.StringIO()"),
    "descriptors 0, 1 and 2 are closed": Damage("os.closerange(0, 3)"),
    "it has 50 threads": Damage(
        "import threading\nfor _ in range(50):\n"
        "    threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
    ),
    "it ignores SIGCHLD": Damage("signal.signal(signal.SIGCHLD, signal.SIG_IGN)"),
    "an at-fork handler ends each child": Damage(
        "os.register_at_fork(after_in_child=lambda: os._exit(3))", "replay"
    ),
    "its shell has no kernel": Damage("get_ipython().kernel = None"),
    "its application has no standby": Damage(
        "get_ipython().kernel.parent.standby = None", "replay"
    ),
    "it collects no garbage and is traced": Damage(
        "import gc, sys; gc.disable(); sys.settrace(lambda *_: None)"
    ),
}


@pytest.mark.parametrize("name", KERNEL_DAMAGE)
async def test_a_damaged_kernel_that_crashes_is_restored_with_its_damage(
    name: str, small_kernel: SharedKernel, report: Report
) -> None:
    async with small_kernel.fork() as kernel:
        crashed = await assert_damage_survives_a_crash(KERNEL_DAMAGE[name], kernel)
        report(f"{name}; then it exits", crashed)


SANDBOX_DAMAGE = {
    "all other processes are stopped": Damage(SIGNAL_OTHERS.format(19)),
    "the snapshots are deleted": Damage("os.system('rm -rf /snapshots/*')", "replay"),
    "the snapshots are not readable": Damage(
        "os.chmod('/snapshots/blobs', 0); os.chmod('/snapshots', 0)", "replay"
    ),
    "there is no space for snapshots": Damage(FILL_SNAPSHOTS),
    "the workspace is full": Damage(FILL_WORKSPACE),
    "the limit of threads is reached": Damage(
        "import threading\ntry:\n    while True:\n"
        "        threading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n"
        "except RuntimeError: pass",
        "replay",
    ),
}


@pytest.mark.parametrize("name", SANDBOX_DAMAGE)
async def test_a_kernel_in_a_damaged_sandbox_is_restored(name: str, report: Report) -> None:
    async with faulty_kernel() as kernel:
        await set_up(kernel, SMALL_SETUP)

        crashed = await assert_damage_survives_a_crash(SANDBOX_DAMAGE[name], kernel)

        report(f"{name}; then it exits", crashed)


DELAYED_CRASHES = {
    "the kernel exits": "threading.Timer(.2, os._exit, [4]).start()",
    "the kernel stops": "threading.Timer(.2, os.kill, [os.getpid(), signal.SIGSTOP]).start()",
    "its event loop is stopped": "loop.call_later(.2, loop.stop)",
    "its event loop is closed": "loop.call_later(.2, loop._selector.close)",
}


@pytest.mark.parametrize("name", DELAYED_CRASHES)
async def test_only_the_cell_that_crashes_the_kernel_in_each_replay_is_undone(
    name: str, small_kernel: SharedKernel, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_env.kernel.forking.replayable.DYING_S", 1)
    monkeypatch.setattr("kernel_env.kernel.forking.replayable.RESPONSE_S", 0.5)
    prevent_forks = FIND_SOCKETS + "os.close(channel)\nimport asyncio, threading; y = 2\n"
    get_loop = "loop = asyncio.get_event_loop()\n"
    async with small_kernel.fork() as kernel:
        await run_cell(kernel, "y = 1")
        crash_later = IMPORTS + prevent_forks + get_loop + DELAYED_CRASHES[name]
        ended = await run_cell(kernel, crash_later, 5)
        await asyncio.sleep(0.5)
        cells = [await run_cell(kernel, "x + 1, y", 0.5) for _ in range(3)]

        losses = [cell for cell in cells if cell.state_lost]
        report(f"after a cell, {name}", losses[0])
        assert ended.broke is None
        assert len(losses) == 1
        assert "the replayed cell of step 0 crashed the kernel" in str(losses[0].state_lost)
        assert cell_text(cells[-1]) == "(42, 1)"
