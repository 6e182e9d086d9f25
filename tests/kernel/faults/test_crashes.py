"""A kernel whose process exits or is ended by a signal is restored."""

import pytest

from support.faults import EXITED, SIGNAL, Fault, Report, SharedKernel, assert_restored

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

CRASHES = {
    "the kernel exits with 0": Fault("os._exit(0)", f"{EXITED} 0"),
    "the kernel exits with 7": Fault("os._exit(7)", f"{EXITED} 7"),
    "the cell calls quit": Fault("quit()", f"{EXITED} 0"),
    "the kernel kills itself": Fault("os.kill(os.getpid(), 9)", f"{SIGNAL} SIGKILL"),
    "the kernel terminates itself": Fault("os.kill(os.getpid(), 15)", f"{SIGNAL} SIGTERM"),
    "the kernel kills process group 0": Fault("os.kill(0, 9)", f"{SIGNAL} SIGKILL"),
    "the kernel kills its process group by ID": Fault(
        "os.killpg(os.getpgrp(), 9)", f"{SIGNAL} SIGKILL"
    ),
    "the kernel reads address 0": Fault("import ctypes; ctypes.string_at(0)", f"{SIGNAL} SIGSEGV"),
    "the kernel aborts": Fault("os.abort()", f"{SIGNAL} SIGABRT"),
    "a thread aborts": Fault(
        "import threading, time\nthreading.Thread(target=os.abort).start(); time.sleep(9)",
        f"{SIGNAL} SIGABRT",
    ),
    "faulthandler causes a segmentation fault": Fault(
        "import faulthandler; faulthandler._sigsegv()", SIGNAL
    ),
    "faulthandler causes a fatal error in a C thread": Fault(
        "import faulthandler, time; faulthandler._fatal_error_c_thread(); time.sleep(9)", SIGNAL
    ),
    "C code recurses without end": Fault(
        "import sys; sys.setrecursionlimit(10**9)\ndef f(*_): sorted([1, 2], key=f)\nf()",
        f"{SIGNAL} SIGSEGV",
    ),
}


@pytest.mark.parametrize("name", CRASHES)
async def test_a_kernel_whose_process_ends_is_restored(
    name: str, shared_kernel: SharedKernel, report: Report
) -> None:
    async with shared_kernel.use() as kernel:
        report(name, await assert_restored(CRASHES[name], kernel))
