"""A kernel that neither finishes the cell nor reacts to the interrupt is replaced."""

import pytest

from support.faults import HUNG, Fault, Report, SharedKernel, assert_restored

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

HANGS = {
    "the kernel stops itself": Fault("os.kill(os.getpid(), signal.SIGSTOP)", HUNG),
    "the interrupt is ignored": Fault(
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(.1)", HUNG
    ),
    "the interrupt is caught": Fault(
        "while True:\n    try:\n        while True: time.sleep(.1)\n    except BaseException: pass",
        HUNG,
    ),
    "a huge power is computed": Fault("9 ** 9 ** 9", HUNG),
    "a regular expression backtracks": Fault("import re; re.match('(a+)+b', 'a' * 99)", HUNG),
    "a thread waits for a mutex that it holds": Fault(
        "import ctypes; c = ctypes.PyDLL(None); m = ctypes.create_string_buffer(64)\n"
        "c.pthread_mutex_lock(m); c.pthread_mutex_lock(m)",
        HUNG,
    ),
    "all processes are stopped": Fault(
        "os.kill(-1, signal.SIGSTOP); os.kill(os.getpid(), signal.SIGSTOP)", HUNG
    ),
}


@pytest.mark.parametrize("name", HANGS)
async def test_a_kernel_that_hangs_is_restored(
    name: str, shared_kernel: SharedKernel, report: Report
) -> None:
    async with shared_kernel.use() as kernel:
        report(name, await assert_restored(HANGS[name], kernel))
