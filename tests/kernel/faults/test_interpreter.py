"""A kernel whose interpreter is unusable, or that crashes while it prints, is restored."""

import pytest

from support.faults import EXITED, HUNG, NO_RESPONSE, Fault, Report, SharedKernel, assert_restored

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

FAULTS = {
    "its modules are cleared": Fault("import sys; sys.modules.clear()", HUNG),
    "its builtins are cleared": Fault("import builtins; vars(builtins).clear()", NO_RESPONSE),
    "its standard output is deleted": Fault(
        "import sys; del sys.stdout", f"{HUNG}|the kernel closed its connections"
    ),
    "it exits while four threads print": Fault(
        "import threading\ndef flood():\n    while True: print('flood ' * 99)\n"
        "for _ in range(4): threading.Thread(target=flood).start()\ntime.sleep(.5); os._exit(1)",
        EXITED,
    ),
    "it exits in the middle of a huge print": Fault(
        "import threading\nthreading.Timer(.3, os._exit, [1]).start()\n"
        "while True: print('x' * 10_000_000)",
        EXITED,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_kernel_with_an_unusable_interpreter_is_restored(
    name: str, shared_kernel: SharedKernel, report: Report
) -> None:
    async with shared_kernel.use() as kernel:
        report(name, await assert_restored(FAULTS[name], kernel))
