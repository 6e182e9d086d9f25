"""The live kernel behaves as if no copy of it existed, and a copy hangs in nothing it lacks."""

import pytest

from kernel_env.kernel.recoverable import RecoverableKernel
from support.faults import last_text
from support.kernels import cell_text, fork_kernel, run_cell, run_trial

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

CRASH = "import os; os._exit(1)"


# ── descriptors whose last close means something ──────────────────────────────────────────


async def test_a_program_sees_the_end_of_its_input_that_the_kernel_closes(
    kernel: RecoverableKernel,
) -> None:
    start = "from subprocess import Popen, PIPE; p = Popen(['cat'], stdin=PIPE, stdout=PIPE)"

    assert await last_text(kernel, start, "1", "p.communicate(b'hi', timeout=5)") == "(b'hi', None)"


async def test_a_port_is_free_once_its_socket_is_closed(kernel: RecoverableKernel) -> None:
    listen = "import socket; s = socket.create_server(('127.0.0.1', 5055))"

    text = await last_text(
        kernel,
        listen,
        "s.close()",
        "s = socket.create_server(('127.0.0.1', 5055)); s.getsockname()[1]",
    )

    assert text == "5055"


async def test_a_connection_ends_when_the_kernel_closes_it(kernel: RecoverableKernel) -> None:
    text = await last_text(
        kernel,
        "import socket; one, other = socket.socketpair(); other.settimeout(5)",
        "one.close()",
        "other.recv(1)",
    )

    assert text == "b''"


async def test_a_lock_is_free_once_its_file_is_closed(kernel: RecoverableKernel) -> None:
    text = await last_text(
        kernel,
        "import fcntl; f = open('lock', 'w'); fcntl.flock(f, fcntl.LOCK_EX)",
        "f.close(); g = open('lock', 'w')",
        "fcntl.flock(g, fcntl.LOCK_EX | fcntl.LOCK_NB); 'locked'",
    )

    assert text == "'locked'"


@pytest.mark.parametrize("lock", ["fcntl.flock(f, fcntl.LOCK_EX)", "fcntl.lockf(f, fcntl.LOCK_EX)"])
async def test_a_restored_kernel_has_its_locks(kernel: RecoverableKernel, lock: str) -> None:
    program = "import fcntl; f = open('lock', 'a');" + lock.replace(
        "LOCK_EX", "LOCK_EX | fcntl.LOCK_NB"
    )

    text = await last_text(
        kernel,
        f"import fcntl; f = open('lock', 'w'); {lock}",
        CRASH,
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}],"
        " stderr=subprocess.DEVNULL).returncode",
    )

    assert text == "1"


async def test_a_pipe_within_the_kernel_keeps_its_content_in_every_copy(
    kernel: RecoverableKernel,
) -> None:
    await run_cell(kernel, "import os; r, w = os.pipe(); os.write(w, b'abcd')")
    read = "os.write(w, b'ef'); os.read(r, 100)"

    tried = await run_trial(kernel, read)
    forked = await fork_kernel(kernel)
    in_fork = await run_cell(forked.kernel, read)
    await forked.kernel.close()
    await run_cell(kernel, "os.read(r, 2); os._exit(1)")
    after = await run_cell(kernel, read)

    assert [cell_text(cell) for cell in (tried, in_fork, after)] == ["b'abcdef'"] * 3


@pytest.mark.parametrize(
    ("use", "result"),
    [
        ("p.stdout.read(1)", "b''"),
        ("p.poll()", "-9"),
        ("p.wait(timeout=5)", "-9"),
        ("server.settimeout(5); server.accept()", "OSError"),
        ("client.recv(1)", "b''"),
        ("client.sendall(b'x')", "BrokenPipeError"),
    ],
)
async def test_a_copy_lacks_the_other_end_without_hanging(
    kernel: RecoverableKernel, use: str, result: str
) -> None:
    await run_cell(
        kernel,
        "import socket\nfrom subprocess import Popen, PIPE\n"
        "p = Popen(['sleep', '100'], stdin=PIPE, stdout=PIPE)\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname()); other, _ = server.accept()",
    )

    tried = await run_trial(kernel, use)
    await run_cell(kernel, CRASH)
    after = await run_cell(kernel, use)

    for cell in (tried, after):
        assert (cell.error.name if cell.error else cell_text(cell)) == result
        assert not cell.timed_out


# ── memory that processes share ───────────────────────────────────────────────────────────

SHARED = {
    "values and locks": (
        "import multiprocessing as mp; v = mp.Value('i', 1); k = mp.Lock()",
        "k.acquire(); v.value = 99",
        "v.value, k.acquire(timeout=1), k.release()",
        "(1, True, None)",
    ),
    "an anonymous mapping": (
        "import mmap; m = mmap.mmap(-1, 8192); m[5000] = 1",
        "m[5000] = 99",
        "m[5000]",
        "1",
    ),
    "memory with a name": (
        "from multiprocessing.shared_memory import SharedMemory\n"
        "m = SharedMemory('numbers', create=True, size=100); m.buf[0] = 1",
        "m.buf[0] = 99; m.unlink()",
        "other = SharedMemory('numbers'); m.buf[0], other.buf[0]",
        "(1, 1)",
    ),
    "a deleted file that is mapped": (
        "import mmap, os; f = open('/dev/shm/f', 'w+b'); f.truncate(8192); os.remove(f.name)\n"
        "m = mmap.mmap(f.fileno(), 8192); m[5000] = 1",
        "m[5000] = 99; f.seek(0); f.write(b'x'); f.flush()",
        "m[0], m[5000], os.pread(f.fileno(), 1, 5000)[0]",
        "(0, 1, 1)",
    ),
    "a file in memory": (
        "import os; f = os.memfd_create('f'); os.write(f, b'old')",
        "os.write(f, b' and new')",
        "os.lseek(f, 0, os.SEEK_CUR), os.pread(f, 99, 0)",
        "(3, b'old')",
    ),
    "a deleted file that is open": (
        "import os; f = open('f', 'w+b', buffering=0); os.remove('f'); f.write(b'old')",
        "f.write(b' and new')",
        "f.tell(), os.pread(f.fileno(), 99, 0)",
        "(3, b'old')",
    ),
    "an event counter": (
        "import os; f = os.eventfd(0, os.EFD_NONBLOCK); os.eventfd_write(f, 5)",
        "os.eventfd_read(f)",
        "os.eventfd_write(f, 1), os.eventfd_read(f), os.eventfd_write(f, 5)",
        "(None, 6, None)",
    ),
    "a file in /dev/shm": (
        "open('/dev/shm/state', 'w').write('old')",
        "open('/dev/shm/state', 'w').write('new'); open('/dev/shm/more', 'w').write('x')",
        "import os; open('/dev/shm/state').read(), os.path.exists('/dev/shm/more')",
        "('old', False)",
    ),
}


@pytest.mark.parametrize("name", SHARED)
async def test_shared_memory_is_changed_by_no_copy(kernel: RecoverableKernel, name: str) -> None:
    setup, change, check, unchanged = SHARED[name]
    await run_cell(kernel, setup)

    tried = await run_trial(kernel, change)
    after_trial = cell_text(await run_trial(kernel, check))
    forked = await fork_kernel(kernel)
    in_fork = await run_cell(forked.kernel, change)
    await forked.kernel.close()
    after_fork = cell_text(await run_trial(kernel, check))
    await run_cell(kernel, f"{change}\n{CRASH}")
    after_crash = cell_text(await run_cell(kernel, check))

    assert tried.error is None
    assert in_fork.error is None
    assert [after_trial, after_fork, after_crash] == [unchanged] * 3


async def test_a_restored_kernel_shares_memory_with_the_processes_that_it_starts(
    kernel: RecoverableKernel,
) -> None:
    text = await last_text(
        kernel,
        "import multiprocessing as mp; fork = mp.get_context('fork'); v = fork.Value('i', 1)",
        CRASH,
        "def add(): v.value += 41\np = fork.Process(target=add); p.start(); p.join(); v.value",
    )

    assert text == "42"


async def test_a_spawned_process_of_a_copy_uses_the_semaphores_of_the_copy(
    kernel: RecoverableKernel,
) -> None:
    await run_cell(
        kernel,
        "import multiprocessing as mp; spawn = mp.get_context('spawn')\n"
        "event = spawn.Event(); q = spawn.Queue()",
    )
    use = "p = spawn.Process(target=event.set); p.start(); p.join(); event.is_set()"

    tried = await run_trial(kernel, use.replace("p.join()", "p.join(4)"))
    live = await run_cell(kernel, "event.is_set()")
    await run_cell(kernel, CRASH)
    after = await run_cell(kernel, use)

    assert [cell_text(cell) for cell in (tried, live, after)] == ["True", "False", "True"]


async def test_a_reset_empties_the_shared_memory(kernel: RecoverableKernel) -> None:
    await run_cell(kernel, "open('/dev/shm/left', 'w').write('x')")

    await kernel.reset()
    listed = await run_cell(kernel, "import os; os.listdir('/dev/shm')")

    assert cell_text(listed) == "[]"
