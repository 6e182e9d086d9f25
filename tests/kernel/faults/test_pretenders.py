"""Code of the agent cannot pass for a process of the fork server, nor change the template."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from kernel_env.kernel.recoverable import RecoverableKernel
from support.faults import SPEC
from support.kernels import cell_text, recoverable_kernel, run_cell, standby_pids

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def only_kernel(docker_images: None) -> AsyncIterator[RecoverableKernel]:
    """The kernel that the tests of this file share."""
    async with recoverable_kernel(replace(SPEC, image="base", memory_gb=1)) as kernel:
        yield kernel


@pytest_asyncio.fixture(loop_scope="module")
async def kernel(only_kernel: RecoverableKernel) -> RecoverableKernel:
    """A pristine kernel."""
    await only_kernel.reset()
    return only_kernel


PRETEND = """
import os, subprocess, sys
program = '''
import os, socket, sys, time
channel = socket.socket(fileno=int(sys.argv[1]))
channel.send(b'{"pid": 1}\\\\n')
while True: time.sleep(0.01)  # a pretender
'''
def fork(descriptor, *_):
    global pretender
    os.set_inheritable(descriptor, True)
    command = [sys.executable, "-c", program, str(descriptor)]
    pretender = subprocess.Popen(command, close_fds=False, start_new_session=True).pid
    os.close(descriptor)
    return False
get_ipython().kernel.parent.standby.fork = fork
"""
"""Has another program pass for the standby of each checkpoint from now on."""


async def pretenders(kernel: RecoverableKernel) -> set[str]:
    """Return the IDs of all processes that pretend to be a standby and run."""
    done = await kernel.sandbox.run(
        [
            *("sh", "-c"),
            "for p in /proc/[0-9]*; do grep -qs 'a pretende[r]' $p/cmdline"
            " && ! grep -q 'State:.T' $p/status && basename $p; done; true",
        ],
        timeout_s=20,
    )
    return set(done.output.decode().split())


async def test_a_program_that_passes_for_a_standby_does_not_run_after_a_reset(
    kernel: RecoverableKernel,
) -> None:
    await run_cell(kernel, PRETEND)
    before = await pretenders(kernel)

    assert before == {str(standby_pids(kernel)[-1])}, "its ID is what the system says"

    await kernel.reset()

    assert not await pretenders(kernel)
    assert cell_text(await run_cell(kernel, "6 * 7")) == "42"


async def test_a_program_that_passes_for_a_standby_does_not_run_after_a_crash(
    kernel: RecoverableKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_env.kernel.connection.client.FORK_READY_S", 1)
    await run_cell(kernel, "x = 41")
    await run_cell(kernel, PRETEND + "\nx = 42")
    first = await pretenders(kernel)

    crashed = await run_cell(kernel, "import os; os._exit(1)")
    after = await run_cell(kernel, "x")
    again = await pretenders(kernel)

    assert crashed.recovery is not None
    assert crashed.recovery.how == "replay"
    assert cell_text(after) == "42"
    assert first
    assert not first & again, "those of before the crash were killed"


CHANGE_TEMPLATE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(8)
class Piece(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("size", ctypes.c_size_t)]
here, there = Piece(ctypes.addressof(buffer), 8), Piece(ctypes.addressof(buffer), 8)
def change(pid):
    done = []
    for mode in ("rb", "r+b"):
        try: open(f"/proc/{pid}/mem", mode); done.append(mode)
        except PermissionError: pass
    if libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) >= 0:
        done.append("process_vm_readv")
    if libc.process_vm_writev(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) >= 0:
        done.append("process_vm_writev")
    if libc.ptrace(16, pid, 0, 0) == 0:
        libc.ptrace(17, pid, 0, 0); done.append("ptrace")
    try: os.readlink(f"/proc/{pid}/fd/0"); done.append("fd")
    except PermissionError: pass
    return done
"""


async def test_programs_cannot_reach_the_memory_of_the_template(kernel: RecoverableKernel) -> None:
    template = kernel.server.template
    assert template is not None
    code = f"{CHANGE_TEMPLATE}\nprint(change({template.pid}))"

    in_a_cell = await run_cell(kernel, code)
    program = await kernel.sandbox.run([kernel.sandbox.python, "-c", code], timeout_s=20)

    assert cell_text(in_a_cell) == "[]\n"
    assert program.output == b"[]\n"
