"""A kernel client returns a finished cell, whatever the code does to the kernel."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from kernel_env import plugins
from kernel_env.errors import KernelError
from kernel_env.kernel import KernelClient, open_kernel
from kernel_env.sandbox import Sandbox
from kernel_env.sandbox.conformance import SMALL
from support.floods import FIND_CONNECTION
from support.kernels import KERNEL_FOLDERS, cell_text

SPEC = replace(SMALL, memory_gb=1, folders=KERNEL_FOLDERS, processes=256)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_sandbox(sandbox: str) -> AsyncIterator[Sandbox]:
    """Start a sandbox for the kernels of all tests."""
    async with plugins.find("sandbox", sandbox)(SPEC) as opened:
        yield opened


@pytest.fixture
async def started_sandbox(shared_sandbox: Sandbox) -> Sandbox:
    """Empty the shared sandbox."""
    await shared_sandbox.clean_up(workspace=True)
    return shared_sandbox


@pytest.fixture
async def kernel(started_sandbox: Sandbox) -> AsyncIterator[KernelClient]:
    """Start a plain kernel."""
    async with open_kernel(started_sandbox) as opened:
        yield opened


async def test_variables_imports_and_files_persist(kernel: KernelClient) -> None:
    await kernel.run("import math; x = 41; open('f', 'w').write('hello')", timeout_s=20)

    cell = await kernel.run("print(open('f').read()); math.floor(x + 1.5)", timeout_s=20)

    assert cell_text(cell) == "hello\n42"
    assert cell.execution_count == 2
    assert cell.error is None


async def test_an_error_is_returned_with_its_traceback(kernel: KernelClient) -> None:
    cell = await kernel.run("def f():\n    return 1 / 0\nf()", timeout_s=20)

    assert cell.error is not None
    assert (cell.error.name, cell.error.value) == ("ZeroDivisionError", "division by zero")
    assert any("return 1 / 0" in line or "1" in line for line in cell.error.traceback)
    assert cell.outputs[-1]["output_type"] == "error"


async def test_changed_variables_and_files_are_reported(kernel: KernelClient) -> None:
    await kernel.run(
        "import numpy as np; a = 1; b = np.zeros((3, 4)); open('f', 'w')", timeout_s=30
    )

    cell = await kernel.run("a = 2; c = [1, 2]; del b; open('f', 'w').write('xy')", timeout_s=20)

    assert {(v.name, v.change, v.type, v.shape) for v in cell.variables} == {
        ("a", "changed", "int", ""),
        ("c", "new", "list", "2"),
        ("b", "deleted", "ndarray", "(3, 4)"),
    }
    assert [(f.path, f.change, f.bytes) for f in cell.files] == [("f", "changed", 2)]


async def test_a_cell_that_exceeds_its_time_is_interrupted_and_the_state_is_kept(
    kernel: KernelClient,
) -> None:
    await kernel.run("x = 41", timeout_s=20)

    sleeping = await kernel.run("import time; time.sleep(60)", timeout_s=0.5)
    endless = await kernel.run("while True: pass", timeout_s=0.5)
    after = await kernel.run("x + 1", timeout_s=20)

    for cell in (sleeping, endless):
        assert cell.timed_out
        assert cell.error is not None
        assert cell.error.name == "KeyboardInterrupt"
        assert cell.broke is None
    assert cell_text(after) == "42"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import os; os._exit(3)", "exited with code 3"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os; os.closerange(3, 1000)", "connections|exited|SIGABRT"),
        ("import os\nif os.fork(): os._exit(5)\nimport time; time.sleep(60)", "code 5"),
    ],
)
async def test_the_death_of_a_kernel_is_reported_within_two_seconds(
    kernel: KernelClient, code: str, cause: str
) -> None:
    began = time.monotonic()

    cell = await kernel.run(code, timeout_s=60)

    assert time.monotonic() - began < 2
    assert cell.broke is not None
    assert any(word in cell.broke for word in cause.split("|")), cell.broke
    with pytest.raises(KernelError, match="the kernel cannot run a cell"):
        await kernel.run("1", timeout_s=5)


async def test_a_cell_that_ignores_the_interrupt_breaks_the_kernel(
    kernel: KernelClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_env.kernel.connection.client.INTERRUPT_S", 0.5)

    cell = await kernel.run(
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)",
        timeout_s=0.5,
    )

    assert cell.timed_out
    assert cell.broke == "the cell did not end in 0.5 s and ignored the interrupt"


async def test_a_cell_cannot_read_standard_input(kernel: KernelClient) -> None:
    cell = await kernel.run("input('name? ')", timeout_s=20)

    assert cell.error is not None
    assert cell.error.name == "StdinNotImplementedError"


async def test_sys_exit_does_not_end_the_kernel(kernel: KernelClient) -> None:
    await kernel.run("x = 41", timeout_s=20)

    exited = await kernel.run("import sys; sys.exit(1)", timeout_s=20)
    after = await kernel.run("x + 1", timeout_s=20)

    assert exited.error is not None
    assert exited.error.name == "SystemExit"
    assert cell_text(after) == "42"


async def test_output_beyond_the_caps_is_dropped_and_counted(kernel: KernelClient) -> None:
    cell = await kernel.run("for n in range(200_000): print('line', n)", timeout_s=60)

    assert cell_text(cell).startswith("line 0\nline 1\n")
    assert cell_text(cell).endswith("line 199999\n")
    assert cell.dropped_bytes > 1_000_000
    assert len(cell_text(cell)) < 100_000


async def test_output_of_a_thread_after_its_cell_is_late_output_of_the_next_cell(
    kernel: KernelClient,
) -> None:
    await kernel.run(
        "import threading, time\n"
        "def late(): time.sleep(0.3); print('from a thread')\n"
        "threading.Thread(target=late).start()",
        timeout_s=20,
    )
    await asyncio.sleep(0.8)

    cell = await kernel.run("print('from the cell')", timeout_s=20)

    assert cell_text(cell) == "from the cell\n"
    assert [o.get("text") for o in cell.late] == ["from a thread\n"]


async def test_invalid_and_forged_messages_are_harmless(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "import gc, zmq\n"
        "from ipykernel.kernelapp import IPKernelApp\n"
        "app = IPKernelApp.instance(); k = app.kernel; parent = k.get_parent()\n"
        "k.iopub_socket.send_multipart([b'not', b'a', b'message'])\n"
        "k.session.send(k.iopub_socket, 'stream', {'name': 7, 'text': None}, parent=parent)\n"
        "k.session.send(k.iopub_socket, 'execute_result', 'no dict', parent=parent)\n"
        "k.session.send(k.iopub_socket, 'stream', {'name': 'stdout', 'text': 'forged'}, parent=parent)\n"
        "print('genuine')",
        timeout_s=20,
    )
    after = await kernel.run("6 * 7", timeout_s=20)

    assert "genuine" in cell_text(cell)
    assert cell_text(after) == "42"
    assert kernel.invalid_messages >= 1


CORRUPT_A_CONNECTION = (
    FIND_CONNECTION
    + """
import threading, time
def corrupt(number):
    connection(number).send(b"\\x02" + (2**60).to_bytes(8, "big"))
"""
)


@pytest.mark.parametrize("number", [1, 2, 4])
async def test_a_corrupted_connection_does_not_block_the_host(
    kernel: KernelClient, number: int
) -> None:
    began = time.monotonic()

    cell = await kernel.run(
        f"{CORRUPT_A_CONNECTION}\ncorrupt({number}); time.sleep(60)", timeout_s=5
    )

    assert time.monotonic() - began < 4
    assert cell.broke == "the kernel closed its connections"


def resident_mb() -> float:
    """Return the resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def test_a_kernel_that_sends_a_huge_message_is_disconnected_before_it_is_received(
    kernel: KernelClient,
) -> None:
    before = resident_mb()

    cell = await kernel.run(
        "k = get_ipython().kernel\n"
        "k.iopub_socket.send_multipart([b'a', b'x' * 300_000_000]); import time; time.sleep(60)",
        timeout_s=30,
    )

    assert cell.broke == "the kernel closed its connections"
    assert resident_mb() - before < 50


async def test_a_message_without_parts_is_ignored(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "get_ipython().kernel.iopub_socket.send_multipart([b'x', b'<IDS|MSG>']); print('hello')",
        timeout_s=10,
    )

    assert cell_text(cell) == "hello\n"
    assert cell.broke is None


async def test_code_with_lone_surrogates_can_be_run(kernel: KernelClient) -> None:
    cell = await kernel.run("print('\ud800')", timeout_s=20)
    after = await kernel.run("print('\\ud800'.encode('utf-8', 'surrogatepass'))", timeout_s=20)

    assert cell_text(cell) == "\\ud800\n"
    assert "xed" in cell_text(after)


async def test_two_kernels_in_one_sandbox_are_separate(started_sandbox: Sandbox) -> None:
    async with open_kernel(started_sandbox) as first, open_kernel(started_sandbox) as second:
        await first.run("x = 1", timeout_s=20)

        cell = await second.run("x", timeout_s=20)

    assert cell.error is not None
    assert cell.error.name == "NameError"


async def test_a_kernel_that_does_not_start_raises_its_reason(started_sandbox: Sandbox) -> None:
    with pytest.raises(
        KernelError, match=r"the kernel did not start: .*(code|PYTHONHOME|encodings)"
    ):
        async with open_kernel(started_sandbox, env={"PYTHONHOME": "/nowhere"}):
            pass


async def test_leaving_ends_the_kernel_and_closes_all_descriptors(started_sandbox: Sandbox) -> None:
    async with open_kernel(started_sandbox) as kernel:
        await kernel.run("1", timeout_s=20)
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(3):
        async with open_kernel(started_sandbox) as kernel:
            process = kernel.process
            await kernel.run("1", timeout_s=20)
        assert await process.wait() == -signal.SIGKILL

    await asyncio.sleep(0.1)
    assert len(os.listdir("/proc/self/fd")) <= before
