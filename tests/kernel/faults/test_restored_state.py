"""A restored kernel works as before: open files, threads, signals and libraries."""

import pytest

from support.faults import (
    CHANGES,
    CHECK,
    IMPORTS,
    SMALL_UNCHANGED,
    Report,
    SharedKernel,
    assert_restored_from_standby,
)
from support.kernels import cell_text, run_cell

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

REUSE_A_DESCRIPTOR = """
import os, stat
from ipykernel.kernelapp import IPKernelApp
from _kernel_env.descriptors import socket_name
numbers = IPKernelApp.instance().standby.kernel_descriptors
sockets = [n for n in numbers if stat.S_ISSOCK(os.fstat(n).st_mode)]
number, = [n for n in sockets if socket_name(n).endswith('s-5')]  # for heartbeats: not in use
os.dup2(os.open('log', os.O_RDWR | os.O_CREAT), number)
os.write(number, b'one,')
"""


async def test_a_file_that_reuses_a_descriptor_of_the_kernel_stays_open(
    small_kernel: SharedKernel,
) -> None:
    async with small_kernel.fork() as kernel:
        await run_cell(kernel, REUSE_A_DESCRIPTOR)
        crashed = await run_cell(kernel, IMPORTS + "os._exit(1)")
        after = await run_cell(kernel, "os.write(number, b'two'); open('log').read()")

        assert_restored_from_standby(crashed)
        assert cell_text(after) == "'one,two'"


async def test_open_files_keep_their_positions(small_kernel: SharedKernel) -> None:
    async with small_kernel.fork() as kernel:
        await run_cell(
            kernel,
            "open('lines', 'w').write('0123456789'); reading = open('lines', 'rb', buffering=0)\n"
            "reading.read(4); log = open('log', 'a'); log.write('one,'); log.flush()",
        )
        await run_cell(
            kernel,
            IMPORTS + "reading.read(3); log.write('lost,'); log.flush()\n"
            "open('lines', 'w').write('spoilt'); os.remove('log'); os._exit(1)",
        )
        after = await run_cell(
            kernel, "log.write('two'); log.flush(); reading.read(3), open('log').read()"
        )

        assert cell_text(after) == "(b'456', 'one,two')"


async def test_libraries_of_the_template_behave_as_if_a_cell_had_imported_them(
    small_kernel: SharedKernel,
) -> None:
    async with small_kernel.fork() as kernel:
        table = await run_cell(
            kernel,
            "import pandas as pd\n"
            "pd.DataFrame([range(15)], columns=[f'quite a long name {n}' for n in range(15)])",
        )

        missing = [n for n in range(15) if f"quite a long name {n}" not in cell_text(table)]
        assert missing == []


async def test_threads_that_compete_for_the_interpreter_do_not_prevent_forks(
    small_kernel: SharedKernel,
) -> None:
    async with small_kernel.fork() as kernel:
        await run_cell(
            kernel,
            "import sys, threading, time; going = True; sys.setswitchinterval(1e-6)\n"
            "def spin():\n    while going: time.sleep(1e-5); sum(range(1000))\n"
            "for _ in range(3): threading.Thread(target=spin, daemon=True).start()",
        )
        for number in range(10):
            cell = await run_cell(kernel, f"{number}; x + 1", 5)
            assert cell_text(cell) == "42"
        await run_cell(kernel, IMPORTS + "os._exit(1)")
        after = await run_cell(kernel, "x + 1, threading.active_count() < 10")

        assert cell_text(after) == "(42, True)"


async def test_signals_reach_the_main_thread_of_a_restored_kernel(
    small_kernel: SharedKernel,
) -> None:
    async with small_kernel.fork() as kernel:
        await run_cell(kernel, IMPORTS + "os._exit(1)")
        signalled = await run_cell(
            kernel,
            IMPORTS + "import threading; received = []\n"
            "signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))\n"
            "signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)\n"
            "received == [signal.SIGUSR1]",
        )
        aborted = await run_cell(kernel, IMPORTS + "os.abort()")
        pool = await run_cell(
            kernel,
            "from multiprocessing.pool import ThreadPool\n"
            "import subprocess; p = ThreadPool(2); sums = p.map(sum, [[1, 2], [3]]); p.close()\n"
            "sums, subprocess.run(['echo', 'child'], capture_output=True).stdout",
        )

        assert cell_text(signalled) == "True"
        assert aborted.broke == "the kernel was ended by SIGABRT"
        assert cell_text(pool) == "([3, 3], b'child\\n')"


FIT = """
import lightgbm, numpy as np
X = np.random.default_rng(0).normal(size=(20_000, 10)); y = X[:, 0] > 0
def fit():
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=2, verbose=-1)
    return round(model.fit(X, y).score(X, y), 3)
first = fit()
"""


async def test_a_parallel_fit_works_after_two_restorations(
    small_kernel: SharedKernel, report: Report
) -> None:
    async with small_kernel.fork() as kernel:
        fitted = await run_cell(kernel, FIT, 60)
        cells = []
        for _ in range(2):
            crashed = await run_cell(kernel, IMPORTS + "fit(); os._exit(1)")
            cells.append(await run_cell(kernel, "fit() == first", 20))

        report("it exits after a LightGBM fit with two threads", crashed)
        assert fitted.error is None
        assert crashed.broke == "the kernel exited with code 1"
        assert [cell_text(cell) for cell in cells] == ["True", "True"]


async def test_threads_that_print_do_not_prevent_a_restoration(
    small_kernel: SharedKernel, report: Report
) -> None:
    async with small_kernel.fork() as kernel:
        await run_cell(
            kernel,
            "import threading, time\ndef talk():\n    while True: print('talk'); time.sleep(.001)\n"
            "for _ in range(4): threading.Thread(target=talk, daemon=True).start()",
        )
        crashed = await run_cell(kernel, IMPORTS + CHANGES + "time.sleep(.2); os._exit(1)")
        after = await run_cell(kernel, CHECK)

        report("it exits while four threads of an earlier cell print", crashed)
        assert_restored_from_standby(crashed)
        assert cell_text(after) == SMALL_UNCHANGED
