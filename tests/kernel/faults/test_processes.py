"""A kernel is restored after faults of processes: daemons, fork bombs, threads, killed standbys."""

import pytest

from support.faults import (
    CHANGES,
    CHECK,
    EXITED,
    HUNG,
    IMPORTS,
    SETUP,
    SIGNAL_OTHERS,
    UNCHANGED,
    Fault,
    Report,
    SharedKernel,
    assert_restored,
    assert_restored_from_standby,
    faulty_kernel,
    set_up,
)
from support.kernels import cell_text, run_cell

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

FAULTS = {
    "a daemon keeps the sockets of a kernel that exits": Fault(
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(99)\n"
        "    os._exit(0)\ntime.sleep(.1)\nos._exit(3)",
        f"{EXITED} 3",
    ),
    "a daemon keeps the sockets of a kernel that hangs": Fault(
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(99)\n"
        "    os._exit(0)\nos.kill(os.getpid(), signal.SIGSTOP)",
        HUNG,
    ),
    "the kernel traces its standbys": Fault(
        "import ctypes; trace = ctypes.CDLL(None).ptrace\n"
        "for n in os.listdir('/proc'):\n    if n.isdigit() and int(n) not in (1, os.getpid()):\n"
        "        print(trace(16, int(n), None, None))\nos._exit(1)",
        EXITED,
    ),
    "a fork bomb in Python": Fault(
        "while True:\n    try: os.fork()\n    except OSError: time.sleep(.1)", HUNG
    ),
    "a fork bomb in a shell, then the kernel exits": Fault(
        "import subprocess; subprocess.Popen(['sh', '-c', 'f() { f | f & }; f'])\n"
        "time.sleep(1); os._exit(1)",
        EXITED,
    ),
    "threads up to the limit, then the kernel exits": Fault(
        "import threading\ntry:\n"
        "    while True: threading.Thread(target=time.sleep, args=(99,)).start()\n"
        "except RuntimeError: os._exit(1)",
        EXITED,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_kernel_is_restored_after_a_fault_of_processes(
    name: str, shared_kernel: SharedKernel, report: Report
) -> None:
    async with shared_kernel.use() as kernel:
        report(name, await assert_restored(FAULTS[name], kernel))


@pytest.mark.parametrize(
    "kill_all",
    [SIGNAL_OTHERS.format(9) + "os._exit(1)", "os.kill(-1, 9); os._exit(1)"],
    ids=["one by one", "at once"],
)
async def test_cells_are_replayed_when_all_standbys_were_killed(
    kill_all: str, report: Report
) -> None:
    async with faulty_kernel() as kernel:
        await set_up(kernel, SETUP)
        await run_cell(kernel, "x")

        crashed = await run_cell(kernel, IMPORTS + CHANGES + kill_all)
        after_crash = await run_cell(kernel, CHECK)
        crashed_again = await run_cell(kernel, IMPORTS + CHANGES + "os._exit(9)")
        at_the_end = await run_cell(kernel, CHECK)

    report("all standbys are killed", crashed)
    assert crashed.recovery is not None
    assert (crashed.recovery.how, crashed.recovery.cells) == ("replay", 2)
    assert_restored_from_standby(crashed_again)
    assert [cell_text(after_crash), cell_text(at_the_end)] == [UNCHANGED, UNCHANGED]
    cells = (crashed, after_crash, crashed_again, at_the_end)
    assert {cell.state_lost for cell in cells} == {None}


async def test_an_at_fork_handler_that_hangs_delays_the_kernel_only_briefly(
    small_kernel: SharedKernel,
) -> None:
    async with small_kernel.fork() as kernel:
        limit = "import sys; sys.modules['_kernel_env.fork'].FORK_S = 1\n"
        handler = "os.register_at_fork(after_in_child=lambda: time.sleep(99))"
        await run_cell(kernel, IMPORTS + limit + handler)
        after = await run_cell(kernel, "x + 1", 5)

        assert cell_text(after) == "42"
