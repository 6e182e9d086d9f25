"""Threads and processes that a copy lacks: they start again, or it is said that they ended."""

import pytest

from kernel_env.kernel.recoverable import RecoverableKernel
from support.faults import last_text
from support.kernels import cell_text, fork_kernel, run_cell, run_trial

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

CRASH = "import os; os._exit(1)"

EXECUTOR = (
    "from concurrent.futures import ThreadPoolExecutor as T, ProcessPoolExecutor as P\n"
    "import multiprocessing as mp\n"
)
WORKERS = {
    "a thread pool": (EXECUTOR + "pool = T(2)", "pool.submit(len, 'abc').result(timeout=5)", "3"),
    "%%bash": ("", "%%bash\necho 3", "3"),
    "a queue": (
        EXECUTOR + "q = mp.Queue(); q.put(1); q.get(timeout=5)",
        "q.put(3); q.get(timeout=5)",
        "3",
    ),
    "joblib": (
        "from joblib import Parallel, delayed",
        "Parallel(2)(delayed(len)('abc') for _ in range(2))[0]",
        "3",
    ),
    "the fork server": (
        "import multiprocessing as mp; context = mp.get_context('forkserver')",
        "p = context.Process(target=print); p.start(); p.join(); p.exitcode",
        "0",
    ),
    "a process pool": (
        EXECUTOR + "pool = P(1)",
        "pool.submit(len, 'a').result(9)",
        "BrokenProcessPool",
    ),
    "a pool of multiprocessing": (
        EXECUTOR + "pool = mp.Pool(1)",
        "pool.map(len, ['abc'])",
        "ValueError",
    ),
}
"""By name: cells that create workers and use them, and the result in a copy."""


@pytest.mark.parametrize("name", WORKERS)
async def test_workers_start_again_in_a_copy_or_say_that_they_ended(
    kernel: RecoverableKernel, name: str
) -> None:
    setup, use, result = WORKERS[name]
    await run_cell(kernel, setup)
    before = await run_cell(kernel, use)

    tried = await run_trial(kernel, use)
    live = await run_cell(kernel, use)
    await run_cell(kernel, CRASH)
    after = await run_cell(kernel, use)

    for cell in (before, live):
        assert cell.error is None
    for cell in (tried, after):
        assert (cell.error.name if cell.error else cell_text(cell).strip()) == result


async def test_what_asyncio_keeps_can_be_used_in_a_copy(kernel: RecoverableKernel) -> None:
    await run_cell(
        kernel,
        "import asyncio; lock = asyncio.Lock(); waiting = asyncio.create_task(asyncio.sleep(60))\n"
        "async def hold():\n    async with lock: await asyncio.sleep(.01)\n"
        "await asyncio.gather(hold(), hold())",
    )
    use = "await asyncio.gather(hold(), hold()); 'held'"
    wait = "try: await waiting\nexcept asyncio.CancelledError: print('cancelled')"

    tried = [await run_trial(kernel, code) for code in (use, wait)]
    live = await run_cell(kernel, "waiting.done()")
    await run_cell(kernel, CRASH)
    after = [await run_cell(kernel, code) for code in (use, wait)]

    assert [cell_text(cell).strip() for cell in tried] == ["'held'", "cancelled"]
    assert cell_text(live) == "False"
    assert [cell_text(cell).strip() for cell in after] == ["'held'", "cancelled"]


async def test_context_variables_are_as_they_were(kernel: RecoverableKernel) -> None:
    await run_cell(
        kernel,
        "import decimal, numpy as np; np.set_printoptions(precision=2); decimal.getcontext().prec = 5",
    )
    show = "print(np.array([1.23456]), decimal.getcontext().prec)"

    live = await run_cell(kernel, show)
    tried = await run_trial(kernel, show)
    await run_cell(kernel, CRASH)
    after = await run_cell(kernel, show)

    assert [cell_text(cell).strip() for cell in (live, tried, after)] == ["[1.23] 5"] * 3


async def test_a_child_that_is_reaped_otherwise_is_not_called_killed(
    kernel: RecoverableKernel,
) -> None:
    text = await last_text(
        kernel,
        "import os, subprocess, sys; p = subprocess.Popen(['true']); os.waitpid(p.pid, 0)[1]",
        "p.wait(timeout=5)",
    )

    assert text == "0"


async def test_a_warning_is_shown_once_however_many_checkpoints_are_taken(
    kernel: RecoverableKernel,
) -> None:
    await run_cell(
        kernel, "open('old.py', 'w').write('import warnings\\ndef f(): warnings.warn(\"old\")')"
    )

    shown = [await run_cell(kernel, code) for code in ("import old; old.f()", "old.f()", "old.f()")]

    assert ["UserWarning" in cell_text(cell) for cell in shown] == [True, False, False]


async def test_the_recovery_names_the_threads_and_programs_that_ended(
    kernel: RecoverableKernel,
) -> None:
    await run_cell(
        kernel,
        "import subprocess, threading, time; subprocess.Popen(['sleep', '100'])\n"
        "threading.Thread(target=time.sleep, args=(100,), name='sleepy', daemon=True).start()",
    )

    crashed = await run_cell(kernel, CRASH)

    assert crashed.recovery is not None
    assert crashed.recovery.note == ("threads that ended: sleepy; programs that were ended: sleep")


async def test_a_kernel_whose_threads_no_copy_could_have_is_replayed(
    kernel: RecoverableKernel,
) -> None:
    await run_cell(kernel, "x = 41")
    name_a_thread = (
        "import ctypes, _thread, threading, time\n"
        "def run(): ctypes.CDLL(None).prctl(15, b'polars-0', 0, 0, 0); time.sleep(100)\n"
        "_thread.start_new_thread(run, ()); time.sleep(.1); x += 1"
    )
    await run_cell(kernel, name_a_thread)

    tried = await run_trial(kernel, "x")
    forked = await fork_kernel(kernel)
    in_fork = await run_cell(forked.kernel, "x")
    await forked.kernel.close()
    crashed = await run_cell(kernel, CRASH)
    after = await run_cell(kernel, "x")

    assert [cell_text(cell) for cell in (tried, in_fork, after)] == ["42"] * 3
    assert crashed.recovery is not None
    assert (crashed.recovery.how, crashed.recovery.cells) == ("replay", 1)
    assert "the threads of polars (polars-0) would be missing" in crashed.recovery.note
