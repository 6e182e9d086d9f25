import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_env import plugins
from kernel_env.errors import KernelError
from kernel_env.kernel import KernelClient, open_kernel
from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.sandbox import Sandbox
from kernel_env.sandbox.conformance import SMALL

SPEC = replace(SMALL, memory_gb=1, folders={PROGRAM: PROGRAM_FOLDER}, processes=256)


@pytest.fixture
async def box(sandbox: str) -> AsyncIterator[Sandbox]:
    async with plugins.find("sandbox", sandbox)(SPEC) as opened:
        yield opened


@pytest.fixture
async def kernel(box: Sandbox) -> AsyncIterator[KernelClient]:
    async with open_kernel(box) as opened:
        yield opened


def text(cell: object) -> str:
    return "".join(
        o.get("text") or o.get("data", {}).get("text/plain", "")
        for o in cell.outputs  # type: ignore[attr-defined]
    )


async def test_variables_imports_and_files_stay(kernel: KernelClient) -> None:
    await kernel.run("import math; x = 41; open('f', 'w').write('hello')", timeout_s=20)

    cell = await kernel.run("print(open('f').read()); math.floor(x + 1.5)", timeout_s=20)

    assert text(cell) == "hello\n42"
    assert cell.execution_count == 2
    assert cell.error is None


async def test_an_error_is_told_with_its_traceback(kernel: KernelClient) -> None:
    cell = await kernel.run("def f():\n    return 1 / 0\nf()", timeout_s=20)

    assert cell.error is not None
    assert (cell.error.name, cell.error.value) == ("ZeroDivisionError", "division by zero")
    assert any("return 1 / 0" in line or "1" in line for line in cell.error.traceback)
    assert cell.outputs[-1]["output_type"] == "error"


async def test_what_changed_is_told(kernel: KernelClient) -> None:
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


async def test_a_cell_whose_time_is_up_is_interrupted_and_the_state_kept(
    kernel: KernelClient,
) -> None:
    await kernel.run("x = 41", timeout_s=20)

    slow = await kernel.run("import time; time.sleep(60)", timeout_s=0.5)
    endless = await kernel.run("while True: pass", timeout_s=0.5)
    after = await kernel.run("x + 1", timeout_s=20)

    for cell in (slow, endless):
        assert cell.timed_out
        assert cell.error is not None
        assert cell.error.name == "KeyboardInterrupt"
        assert cell.broke is None
    assert text(after) == "42"


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
async def test_a_kernel_that_dies_is_noticed_within_two_seconds_and_said(
    kernel: KernelClient, code: str, cause: str
) -> None:
    began = time.monotonic()

    cell = await kernel.run(code, timeout_s=60)

    assert time.monotonic() - began < 2
    assert cell.broke is not None
    assert any(word in cell.broke for word in cause.split("|")), cell.broke
    with pytest.raises(KernelError, match="the kernel cannot run a cell"):
        await kernel.run("1", timeout_s=5)


async def test_a_cell_that_ignores_the_interrupt_is_given_up(
    kernel: KernelClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_env.kernel.connection.client.INTERRUPT_S", 0.5)

    cell = await kernel.run(
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)",
        timeout_s=0.5,
    )

    assert cell.timed_out
    assert cell.broke == "the cell did not end in 0.5 s and ignored the interrupt"


async def test_a_cell_has_no_standard_input_to_wait_for(kernel: KernelClient) -> None:
    cell = await kernel.run("input('name? ')", timeout_s=20)

    assert cell.error is not None
    assert cell.error.name == "StdinNotImplementedError"


async def test_exit_does_not_end_the_kernel(kernel: KernelClient) -> None:
    await kernel.run("x = 41", timeout_s=20)

    left = await kernel.run("import sys; sys.exit(1)", timeout_s=20)
    after = await kernel.run("x + 1", timeout_s=20)

    assert left.error is not None
    assert left.error.name == "SystemExit"
    assert text(after) == "42"


async def test_a_flood_of_output_is_cut_and_counted(kernel: KernelClient) -> None:
    cell = await kernel.run("for n in range(200_000): print('line', n)", timeout_s=60)

    assert text(cell).startswith("line 0\nline 1\n")
    assert text(cell).endswith("line 199999\n")
    assert cell.dropped_bytes > 1_000_000
    assert len(text(cell)) < 100_000


async def test_a_thread_that_prints_later_is_shown_with_the_next_cell_as_such(
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

    assert text(cell) == "from the cell\n"
    assert [o.get("text") for o in cell.late] == ["from a thread\n"]


async def test_messages_that_are_none_and_forged_ones_do_no_harm(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "import gc, zmq\n"
        "from ipykernel.kernelapp import IPKernelApp\n"
        "app = IPKernelApp.instance(); k = app.kernel; parent = k.get_parent()\n"
        "k.iopub_socket.send_multipart([b'not', b'a', b'message'])\n"
        "k.session.send(k.iopub_socket, 'stream', {'name': 7, 'text': None}, parent=parent)\n"
        "k.session.send(k.iopub_socket, 'execute_result', 'no dict', parent=parent)\n"
        "k.session.send(k.iopub_socket, 'stream', {'name': 'stdout', 'text': 'forged'}, parent=parent)\n"
        "print('honest')",
        timeout_s=20,
    )
    after = await kernel.run("6 * 7", timeout_s=20)

    assert "honest" in text(cell)
    assert text(after) == "42"
    assert kernel.invalid_messages >= 1


BREAKING = """
import os, socket, threading, time
def channel(number):
    for name in os.listdir("/proc/self/fd"):
        try:
            s = socket.socket(fileno=os.dup(int(name)))
            end = s.family == socket.AF_UNIX and s.getsockname().endswith(f"/s-{number}")
            if end and not s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return s
        except OSError:
            pass
def break_(number):
    channel(number).send(b"\\x02" + (2**60).to_bytes(8, "big"))
"""


@pytest.mark.parametrize("number", [1, 2, 4])
async def test_a_connection_that_is_broken_on_purpose_does_not_hold_the_host(
    kernel: KernelClient, number: int
) -> None:
    began = time.monotonic()

    cell = await kernel.run(f"{BREAKING}\nbreak_({number}); time.sleep(60)", timeout_s=5)

    assert time.monotonic() - began < 4
    assert cell.broke == "the kernel closed its connections"


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def test_a_kernel_that_says_too_much_at_once_is_cut_off_before_the_host_holds_it(
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


async def test_a_message_without_parts_does_not_deafen_the_host(kernel: KernelClient) -> None:
    cell = await kernel.run(
        "get_ipython().kernel.iopub_socket.send_multipart([b'x', b'<IDS|MSG>']); print('hello')",
        timeout_s=10,
    )

    assert text(cell) == "hello\n"
    assert cell.broke is None


async def test_code_that_utf8_cannot_write_is_an_error_of_the_cell(kernel: KernelClient) -> None:
    cell = await kernel.run("print('\ud800')", timeout_s=20)
    after = await kernel.run("print('\\ud800'.encode('utf-8', 'surrogatepass'))", timeout_s=20)

    assert text(cell) == "?\n"
    assert "xed" in text(after)


async def test_two_kernels_in_one_box_do_not_meet(box: Sandbox) -> None:
    async with open_kernel(box) as one, open_kernel(box) as other:
        await one.run("x = 1", timeout_s=20)

        cell = await other.run("x", timeout_s=20)

    assert cell.error is not None
    assert cell.error.name == "NameError"


async def test_a_kernel_that_cannot_start_says_why(box: Sandbox) -> None:
    with pytest.raises(
        KernelError, match=r"the kernel did not start: .*(code|PYTHONHOME|encodings)"
    ):
        async with open_kernel(box, env={"PYTHONHOME": "/nowhere"}):
            pass


async def test_leaving_ends_the_kernel_and_keeps_no_descriptor(box: Sandbox) -> None:
    async with open_kernel(box) as kernel:
        await kernel.run("1", timeout_s=20)
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(3):
        async with open_kernel(box) as kernel:
            process = kernel.process
            await kernel.run("1", timeout_s=20)
        assert await process.wait() == -signal.SIGKILL

    await asyncio.sleep(0.1)
    assert len(os.listdir("/proc/self/fd")) <= before
