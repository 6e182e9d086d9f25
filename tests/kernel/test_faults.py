"""About eighty ways to break a kernel: afterwards it goes on as if the cell had not run.

The faults share one box as long as each is survived, so that every fault also meets what the
ones before it left. Those that take more than the kernel with them get a box of their own.
A table of what was noticed when, and put back how, is printed in the end.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from kernel_env import plugins
from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.kernel.forking.instance import open_seat
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import WORKSPACE, Spec

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

SPEC = Spec(
    image="tabular",
    folders={PROGRAM: PROGRAM_FOLDER},
    memory_gb=1.5,
    workspace_gb=0.125,
    processes=128,
    files=5000,
)
HANG_S = 120
"""Nothing here takes as long; a test that does hangs."""

GIVEN = "import numpy as np; x = 41; a = np.ones(125_000_000); open('kept', 'w').write('old')"
SPOIL = "x = 0; a[7] = 0; open('kept', 'w').write('new'); open('more', 'w').write('new')\n"
CHECK = "import os; x + 1, int(a.sum()), open('kept').read(), os.path.exists('more')"
AS_BEFORE = "(42, 125000000, 'old', False)"


def text(cell: Cell) -> str:
    """What a cell printed, and its results."""
    return "".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)


def opening(**options: Any) -> Callable[[], Any]:
    """What opens a place in a box for a `RecoverableKernel`."""
    make = partial(plugins.find("sandbox", "docker"), replace(SPEC, **options))
    return partial(open_seat, make, {"WORKSPACE": WORKSPACE})


@asynccontextmanager
async def a_live_kernel(**options: Any) -> AsyncIterator[RecoverableKernel]:
    live = RecoverableKernel(opening(**options))
    try:
        await live.start()
        yield live
    finally:
        await live.close()


async def run(live: RecoverableKernel, code: str, timeout_s: float = 20) -> Cell:
    """A cell, with a guard against hangs in whatever goes on around it."""
    return await asyncio.wait_for(live.run(code, timeout_s=timeout_s), HANG_S)


async def interrupted(live: RecoverableKernel) -> Cell:
    """A cell that sleeps until its time is up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kernel_env.kernel.connection.client.INTERRUPT_S", 10)
        return await run(live, "import time; time.sleep(60)", 0.2)


@dataclass
class Shared:
    """One live kernel for many faults; a new one after a test that failed."""

    given: str = GIVEN
    live: RecoverableKernel | None = None
    fine: bool = False

    async def take(self) -> RecoverableKernel:
        if not self.fine:
            await self.close()
            self.live = RecoverableKernel(opening())
            await self.live.start()
            await run(self.live, self.given)
        assert self.live is not None
        self.fine = False
        return self.live

    async def close(self) -> None:
        if self.live is not None:
            await self.live.close()
        self.live = None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(built: None) -> AsyncIterator[Shared]:
    shared = Shared()
    yield shared
    await shared.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernel_env.kernel.connection.client.INTERRUPT_S", 1.5)


Note = Callable[[str, Cell], None]


@pytest.fixture
def note(tell: Callable[[str], None]) -> Note:
    """Put a cell into the table of what was noticed after which time, put back how, and why."""

    def add(name: str, cell: Cell) -> None:
        how = cell.recovery
        cause = cell.broke or (how and how.cause) or "it goes on"
        put_back = f"{how.how} {how.seconds * 1000:6.0f} ms" if how else "-"
        tell(f"{name:58.58} {cell.seconds:6.2f} s  {put_back:18} {cause:.70}")

    return add


# ── faults that a standby makes good ──────────────────────────────────────────────────────


@dataclass(frozen=True)
class Fault:
    """Code that breaks a kernel."""

    code: str
    cause: str = ""
    """What is said of it: a pattern."""
    timeout_s: float = 0.5


EXITED, SIGNAL, HUNG = "exited with code", "ended by", "did not end in 0.5 s and ignored"
GONE = "connections|exited|ended by|ignored the interrupt"

SOCKETS = """
import os, socket, stat
def sockets():
    for n in sorted(map(int, os.listdir('/proc/self/fd'))):
        try:
            if stat.S_ISSOCK(os.fstat(n).st_mode): yield n
        except OSError: pass
line = get_ipython().kernel.parent.standby.line.socket.fileno()
"""

BREAKS = {
    "it exits with 0": Fault("os._exit(0)", f"{EXITED} 0"),
    "it exits with 7": Fault("os._exit(7)", f"{EXITED} 7"),
    "it quits": Fault("quit()", f"{EXITED} 0"),
    "it kills itself": Fault("os.kill(os.getpid(), 9)", f"{SIGNAL} SIGKILL"),
    "it terminates itself": Fault("os.kill(os.getpid(), 15)", f"{SIGNAL} SIGTERM"),
    "it kills its group": Fault("os.kill(0, 9)", f"{SIGNAL} SIGKILL"),
    "it kills its group by number": Fault("os.killpg(os.getpgrp(), 9)", f"{SIGNAL} SIGKILL"),
    "it reads at address 0": Fault("import ctypes; ctypes.string_at(0)", f"{SIGNAL} SIGSEGV"),
    "it aborts": Fault("os.abort()", f"{SIGNAL} SIGABRT"),
    "a thread aborts": Fault(
        "import threading, time\nthreading.Thread(target=os.abort).start(); time.sleep(9)",
        f"{SIGNAL} SIGABRT",
    ),
    "faulthandler crashes it": Fault("import faulthandler; faulthandler._sigsegv()", SIGNAL),
    "faulthandler crashes a C thread": Fault(
        "import faulthandler, time; faulthandler._fatal_error_c_thread(); time.sleep(9)", SIGNAL
    ),
    "C code recurses without end": Fault(
        "import sys; sys.setrecursionlimit(10**9)\ndef f(*_): sorted([1, 2], key=f)\nf()",
        f"{SIGNAL} SIGSEGV",
        timeout_s=10,
    ),
    "it stops itself": Fault("os.kill(os.getpid(), signal.SIGSTOP)", HUNG),
    "its descriptors are closed": Fault("os.closerange(3, 4096); time.sleep(9)", GONE),
    "all its descriptors are closed": Fault("os.closerange(0, 4096); time.sleep(9)", GONE),
    "its streams are closed": Fault(
        "k = get_ipython().kernel\nfor s in (k.shell_stream, k.control_stream): s.close()\n"
        "k.iopub_socket.close()\ntime.sleep(9)",
        GONE,
    ),
    "its ZMQ context is terminated": Fault("get_ipython().kernel.parent.context.term()", GONE),
    "its ZMQ context is destroyed": Fault("get_ipython().kernel.parent.context.destroy()", GONE),
    "garbage is written to all its connections": Fault(
        SOCKETS + "for n in sockets():\n"
        "    if n != line:\n"
        "        try: os.set_blocking(n, False); os.write(n, os.urandom(1000))\n"
        "        except OSError: pass\n"
        "time.sleep(9)",
        GONE,
    ),
    "another program takes its place": Fault("os.execv('/bin/sleep', ['sleep', '99'])", GONE),
    "another program takes its place and keeps its connections": Fault(
        SOCKETS + "for n in sockets(): os.set_inheritable(n, True)\n"
        "os.execv('/bin/sleep', ['sleep', '99'])",
        HUNG,
    ),
    "a daemon keeps its connections": Fault(
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(99)\n"
        "    os._exit(0)\ntime.sleep(.1)\nos._exit(3)",
        f"{EXITED} 3",
    ),
    "a daemon keeps its connections while it hangs": Fault(
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(99)\n"
        "    os._exit(0)\nos.kill(os.getpid(), signal.SIGSTOP)",
        HUNG,
    ),
    "it ignores the interrupt": Fault(
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(.1)", HUNG
    ),
    "it catches the interrupt": Fault(
        "while True:\n    try:\n        while True: time.sleep(.1)\n    except BaseException: pass",
        HUNG,
    ),
    "it computes a huge power": Fault("9 ** 9 ** 9", HUNG),
    "it matches a regular expression": Fault("import re; re.match('(a+)+b', 'a' * 99)", HUNG),
    "it waits for a mutex it holds": Fault(
        "import ctypes; c = ctypes.PyDLL(None); m = ctypes.create_string_buffer(64)\n"
        "c.pthread_mutex_lock(m); c.pthread_mutex_lock(m)",
        HUNG,
    ),
    "everything is stopped": Fault(
        "os.kill(-1, signal.SIGSTOP); os.kill(os.getpid(), signal.SIGSTOP)", HUNG
    ),
    "its standbys are traced": Fault(
        "import ctypes; trace = ctypes.CDLL(None).ptrace\n"
        "for n in os.listdir('/proc'):\n    if n.isdigit() and int(n) not in (1, os.getpid()):\n"
        "        print(trace(16, int(n), None, None))\nos._exit(1)",
        EXITED,
    ),
    "memory is used up by bytes": Fault(
        "kept = []\nwhile True: kept.append(b'x' * (50 << 20))", f"{SIGNAL} SIGKILL", timeout_s=30
    ),
    "memory is used up by arrays": Fault(
        "kept = []\nwhile True: kept.append(np.ones(10_000_000))", SIGNAL, timeout_s=30
    ),
    "a fork bomb in Python": Fault(
        "while True:\n    try: os.fork()\n    except OSError: time.sleep(.1)", HUNG
    ),
    "a fork bomb of a shell that then dies": Fault(
        "import subprocess; subprocess.Popen(['sh', '-c', 'f() { f | f & }; f'])\n"
        "time.sleep(1); os._exit(1)",
        EXITED,
        timeout_s=10,
    ),
    "threads without end, then it dies": Fault(
        "import threading\ntry:\n"
        "    while True: threading.Thread(target=time.sleep, args=(99,)).start()\n"
        "except RuntimeError: os._exit(1)",
        EXITED,
        timeout_s=10,
    ),
    "the workspace is filled": Fault(
        "f = open('big', 'wb')\ntry:\n    while True: f.write(bytes(1 << 20))\n"
        "except OSError: os._exit(1)",
        EXITED,
        timeout_s=10,
    ),
    "its temporary folders are filled": Fault(
        "for d in ('/tmp', os.path.expanduser('~'), '/dev/shm'):\n"
        "    f = open(d + '/big', 'wb', buffering=0)\n    try:\n"
        "        while True: f.write(bytes(1 << 20))\n    except OSError: f.close()\n"
        "os._exit(1)",
        EXITED,
        timeout_s=20,
    ),
    "all its files are deleted": Fault(
        "import shutil\nfor d in ('/workspace', os.path.expanduser('~'), '/tmp'):\n"
        "    for n in os.listdir(d):\n        p = os.path.join(d, n)\n"
        "        shutil.rmtree(p) if os.path.isdir(p) else os.remove(p)\nos._exit(1)",
        EXITED,
    ),
    "nobody may enter its folders": Fault(
        "for d in ('/workspace', os.path.expanduser('~'), '/tmp'): os.chmod(d, 0)\nos._exit(1)",
        EXITED,
    ),
    "its session key is replaced": Fault("get_ipython().kernel.session.key = b'other'", HUNG),
    "its session cannot send": Fault("get_ipython().kernel.session.send = None", HUNG),
    "its modules are forgotten": Fault("import sys; sys.modules.clear()", HUNG),
    "its builtins are forgotten": Fault("import builtins; vars(builtins).clear()", GONE),
    "its standard output is deleted": Fault("import sys; del sys.stdout", HUNG),
    "it dies while four threads print": Fault(
        "import threading\ndef flood():\n    while True: print('flood ' * 99)\n"
        "for _ in range(4): threading.Thread(target=flood).start()\ntime.sleep(.5); os._exit(1)",
        EXITED,
        timeout_s=10,
    ),
    "it dies in the middle of a huge print": Fault(
        "import threading\nthreading.Timer(.3, os._exit, [1]).start()\n"
        "while True: print('x' * 10_000_000)",
        EXITED,
        timeout_s=10,
    ),
}

PRELUDE = "import os, signal, time\n"


@pytest.mark.parametrize("name", BREAKS)
async def test_a_broken_kernel_goes_on_as_if_the_cell_had_not_run(
    name: str, shared: Shared, note: Note
) -> None:
    fault, live = BREAKS[name], await shared.take()

    broken = await run(live, PRELUDE + SPOIL + fault.code, fault.timeout_s)
    after = await run(live, CHECK)
    slow = await interrupted(live)
    again = await run(live, PRELUDE + SPOIL + "os._exit(9)")
    in_the_end = await run(live, CHECK)

    note(name, broken)
    assert broken.broke is not None
    assert re.search(fault.cause, broken.broke)
    assert broken.recovery is not None
    assert broken.recovery.how == "standby"
    assert text(after) == AS_BEFORE
    assert slow.error is not None
    assert slow.error.name == "KeyboardInterrupt"
    assert again.recovery is not None
    assert again.recovery.how == "standby"
    assert text(in_the_end) == AS_BEFORE
    for cell in (broken, after, slow, again, in_the_end):
        assert cell.state_lost is None
    shared.fine = True


# ── faults that take the standbys along ───────────────────────────────────────────────────

OTHERS = (
    "for n in os.listdir('/proc'):\n    if n.isdigit() and int(n) not in (1, os.getpid()):\n"
    "        os.kill(int(n), {})\n"
)


@pytest.mark.parametrize("code", [OTHERS.format(9) + "os._exit(1)", "os.kill(-1, 9); os._exit(1)"])
async def test_when_all_standbys_are_killed_the_cells_are_run_again(code: str, note: Note) -> None:
    async with a_live_kernel() as live:
        await run(live, GIVEN)
        await run(live, "x")

        broken = await run(live, PRELUDE + SPOIL + code)
        after = await run(live, CHECK)
        again = await run(live, PRELUDE + SPOIL + "os._exit(9)")
        in_the_end = await run(live, CHECK)

    note("all standbys are killed", broken)
    assert broken.recovery is not None
    assert (broken.recovery.how, broken.recovery.cells) == ("replay", 2)
    assert again.recovery is not None
    assert again.recovery.how == "standby"
    assert [text(after), text(in_the_end)] == [AS_BEFORE, AS_BEFORE]
    assert {cell.state_lost for cell in (broken, after, again, in_the_end)} == {None}


# ── damage that a kernel survives, and then it is broken ──────────────────────────────────


@dataclass(frozen=True)
class Damage:
    """Code that leaves a kernel alive, but not well."""

    code: str
    how: str = "standby"
    """In which way it is put back when it breaks later."""


LIGHT = GIVEN.replace("125_000_000", "1000")
AS_LIGHT = AS_BEFORE.replace("125000000", "1000")

DAMAGES = {
    "its line is closed": Damage(SOCKETS + "os.close(line)", "replay"),
    "nonsense is said on its line": Damage(SOCKETS + "os.write(line, b'{]]\\n[1]\\n')", "replay"),
    "text without end is said on its line": Damage(
        SOCKETS + "os.write(line, b'x' * 100_000)", "replay"
    ),
    "half an answer is said on its line": Damage(SOCKETS + "os.write(line, b'{\"id\": ')"),
    "answers are forged on its line": Damage(
        SOCKETS + "for n in range(9): os.write(line, b'{\"id\": %d}\\n' % n)"
    ),
    "children run to the end of the cell": Damage("for _ in range(2): os.fork()"),
    "it may make no process": Damage(
        "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))", "replay"
    ),
    "it has another loop policy": Damage(
        "import asyncio\nclass Other(asyncio.AbstractEventLoopPolicy): pass\n"
        "asyncio.set_event_loop_policy(Other())"
    ),
    "it has another event loop": Damage(
        "import asyncio; asyncio.set_event_loop(asyncio.new_event_loop())"
    ),
    "it has no event loop": Damage("import asyncio; asyncio.set_event_loop(None)"),
    "its standard output is closed": Damage("import sys; sys.stdout.close()"),
    "its standard output is a string": Damage("import sys, io; sys.stdout = io.StringIO()"),
    "descriptors 0, 1 and 2 are closed": Damage("os.closerange(0, 3)"),
    "it has 50 threads": Damage(
        "import threading\nfor _ in range(50):\n"
        "    threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
    ),
    "it forgets its children": Damage("signal.signal(signal.SIGCHLD, signal.SIG_IGN)"),
    "each child of it ends at once": Damage(
        "os.register_at_fork(after_in_child=lambda: os._exit(3))", "replay"
    ),
    "its shell has no kernel": Damage("get_ipython().kernel = None"),
    "its kernel has no standby": Damage("get_ipython().kernel.parent.standby = None", "replay"),
    "it collects no garbage and is traced": Damage(
        "import gc, sys; gc.disable(); sys.settrace(lambda *_: None)"
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trunk(built: None) -> AsyncIterator[Shared]:
    """A live kernel whose branches are damaged."""
    shared = Shared(LIGHT)
    yield shared
    await shared.close()


@asynccontextmanager
async def a_branch(trunk: Shared) -> AsyncIterator[RecoverableKernel]:
    live = await trunk.take()
    branch = (await live.branch()).live
    try:
        yield branch
        trunk.fine = True
    finally:
        await branch.close()


async def damage(live: RecoverableKernel, code: str) -> list[Cell]:
    """Five cells: the damage, a look, a fault, a look, an interrupt."""
    return [
        await run(live, PRELUDE + code, 5),
        await run(live, CHECK),
        await run(live, PRELUDE + SPOIL + "os._exit(9)"),
        await run(live, CHECK),
        await interrupted(live),
    ]


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_damaged_kernel_that_breaks_is_put_back_with_its_damage(
    name: str, trunk: Shared, note: Note
) -> None:
    async with a_branch(trunk) as live:
        damaged, before, broken, after, slow = await damage(live, DAMAGES[name].code)

        note(f"{name}; then it exits", broken)
        assert damaged.broke is None
        assert damaged.error is None
        assert [text(before), text(after)] == [AS_LIGHT, AS_LIGHT]
        assert broken.recovery is not None
        assert (broken.recovery.how, broken.recovery.lost) == (DAMAGES[name].how, "")
        assert slow.broke is None


BOX_DAMAGES = {
    "all other processes are stopped": Damage(OTHERS.format(19)),
    "its snapshots are deleted": Damage("os.system('rm -rf /snapshots/*')", "replay"),
    "its snapshots may not be read": Damage(
        "os.chmod('/snapshots/blobs', 0); os.chmod('/snapshots', 0)", "replay"
    ),
    "there is no room for snapshots": Damage(
        "f = open('/snapshots/big', 'wb', buffering=0)\n"
        "try:\n    while True: f.write(bytes(1 << 20))\nexcept OSError: f.close()"
    ),
    "its workspace is full": Damage(
        "f = open('big', 'wb', buffering=0)\n"
        "try:\n    while True: f.write(bytes(1 << 20))\nexcept OSError: f.close()"
    ),
    "there are as many threads as there may be": Damage(
        "import threading\ntry:\n    while True:\n"
        "        threading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n"
        "except RuntimeError: pass",
        "replay",
    ),
}


@pytest.mark.parametrize("name", BOX_DAMAGES)
async def test_a_kernel_in_a_damaged_box_is_put_back(name: str, note: Note) -> None:
    async with a_live_kernel() as live:
        await run(live, LIGHT)

        damaged, before, broken, after, slow = await damage(live, BOX_DAMAGES[name].code)

        note(f"{name}; then it exits", broken)
        assert damaged.broke is None
        assert damaged.error is None
        assert [text(before), text(after)] == [AS_LIGHT, AS_LIGHT]
        assert broken.recovery is not None
        assert (broken.recovery.how, broken.recovery.lost) == (BOX_DAMAGES[name].how, "")
        assert slow.broke is None


async def test_where_there_is_no_room_for_copies_of_files_that_is_said() -> None:
    async with a_live_kernel() as live:
        await run(live, LIGHT)
        await run(live, PRELUDE + BOX_DAMAGES["there is no room for snapshots"].code)
        await run(live, "open('kept', 'w').write('old' * 10_000)")

        tried = await asyncio.wait_for(live.try_out("x", timeout_s=5), HANG_S)
        after = await run(live, "x")
        broken = await run(live, PRELUDE + SPOIL + "os._exit(1)")

    assert tried.error is not None
    assert tried.error.name == "NotTried"
    assert "No space left" in tried.error.value
    assert after.recovery is None
    assert text(after) == "41"
    assert broken.recovery is not None
    assert "files are as they were left, because" in broken.recovery.note
    assert "No space left" in broken.recovery.note


async def test_a_kernel_without_descriptors_says_so_and_goes_on_when_it_has_some(
    trunk: Shared,
) -> None:
    async with a_branch(trunk) as live:
        full = await run(
            live,
            "held = []\ntry:\n    while True: held.append(open('/dev/null'))\nexcept OSError: pass",
        )
        meanwhile = await run(live, "print('hello'); open('kept')", 5)
        tried = await asyncio.wait_for(live.try_out("x", timeout_s=5), HANG_S)
        await run(live, "[file.close() for file in held]; del held, file", 5)
        broken = await run(live, PRELUDE + SPOIL + "os._exit(9)")
        after = await run(live, CHECK)

        assert full.broke is None
        assert meanwhile.broke is None
        assert text(meanwhile).startswith("hello")
        assert "Too many open files" in text(meanwhile)
        assert tried.error is not None
        assert "no descriptor free" in tried.error.value
        assert broken.recovery is not None
        assert text(after) == AS_LIGHT


async def test_a_kernel_with_hardly_an_address_is_put_back_by_running_its_cells_again(
    trunk: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_env.kernel.forking.standby.COPY_S", 2)
    async with a_branch(trunk) as live:
        limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))"
        await run(live, limit)
        broken = await run(live, PRELUDE + SPOIL + "os._exit(9)")
        after = await run(live, CHECK)

        assert broken.recovery is not None
        assert broken.recovery.how == "replay"
        assert text(after) == AS_LIGHT


async def test_children_that_hang_in_a_hook_do_not_hold_up_the_kernel_for_long(
    trunk: Shared,
) -> None:
    async with a_branch(trunk) as live:
        hook = "os.register_at_fork(after_in_child=lambda: time.sleep(99))"
        await run(live, PRELUDE + hook)
        after = await run(live, "x + 1", 5)

        assert text(after) == "42"


POISONS = {
    "it dies": "threading.Timer(.2, os._exit, [4]).start()",
    "it stops": "threading.Timer(.2, os.kill, [os.getpid(), signal.SIGSTOP]).start()",
    "its event loop is stopped": "loop.call_later(.2, loop.stop)",
    "its event loop is broken": "loop.call_later(.2, loop._selector.close)",
}


@pytest.mark.parametrize("name", POISONS)
async def test_a_cell_after_which_the_kernel_breaks_each_time_is_undone_and_no_other(
    name: str, trunk: Shared, note: Note, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_env.kernel.recoverable.DYING_S", 1)
    monkeypatch.setattr("kernel_env.kernel.recoverable.ANSWER_S", 0.5)
    no_copies = SOCKETS + "os.close(line)\nimport asyncio, threading; y = 2\n"
    async with a_branch(trunk) as live:
        await run(live, "y = 1")
        poison = await run(
            live, PRELUDE + no_copies + "loop = asyncio.get_event_loop()\n" + POISONS[name], 5
        )
        await asyncio.sleep(0.5)
        cells = [await run(live, "x + 1, y", 0.5) for _ in range(3)]

        told = [cell for cell in cells if cell.state_lost]
        note(f"after a cell, {name}", told[0])
        assert poison.broke is None
        assert len(told) == 1
        assert "run again, the cell of step 0 broke the kernel" in str(told[0].state_lost)
        assert text(cells[-1]) == "(42, 1)"


# ── what a kernel holds when it breaks ────────────────────────────────────────────────────


TAKE_A_NUMBER = """
import os, stat
from ipykernel.kernelapp import IPKernelApp
from guest.descriptors import socket_name
numbers = IPKernelApp.instance().standby.plumbing
sockets = [n for n in numbers if stat.S_ISSOCK(os.fstat(n).st_mode)]
number, = [n for n in sockets if socket_name(n).endswith('s-5')]  # for heartbeats: not in use
os.dup2(os.open('log', os.O_RDWR | os.O_CREAT), number)
os.write(number, b'one,')
"""


async def test_a_file_that_has_a_number_of_the_kernels_own_is_no_plumbing(trunk: Shared) -> None:
    async with a_branch(trunk) as live:
        await run(live, TAKE_A_NUMBER)
        broken = await run(live, PRELUDE + "os._exit(1)")
        after = await run(live, "os.write(number, b'two'); open('log').read()")

        assert broken.recovery is not None
        assert broken.recovery.how == "standby"
        assert text(after) == "'one,two'"


async def test_open_files_are_read_and_written_on_where_they_were(trunk: Shared) -> None:
    async with a_branch(trunk) as live:
        await run(
            live,
            "open('lines', 'w').write('0123456789'); reading = open('lines', 'rb', buffering=0)\n"
            "reading.read(4); log = open('log', 'a'); log.write('one,'); log.flush()",
        )
        await run(
            live,
            PRELUDE + "reading.read(3); log.write('lost,'); log.flush()\n"
            "open('lines', 'w').write('spoilt'); os.remove('log'); os._exit(1)",
        )
        after = await run(
            live,
            "log.write('two'); log.flush(); reading.read(3), open('log').read()",
        )

        assert text(after) == "(b'456', 'one,two')"


async def test_libraries_were_imported_as_a_cell_would_have_imported_them(trunk: Shared) -> None:
    async with a_branch(trunk) as live:
        shown = await run(
            live,
            "import pandas as pd\n"
            "pd.DataFrame([range(15)], columns=[f'quite a long name {n}' for n in range(15)])",
        )

        assert [n for n in range(15) if f"quite a long name {n}" not in text(shown)] == []


async def test_threads_that_want_the_interpreter_do_not_keep_it_from_being_copied(
    trunk: Shared,
) -> None:
    async with a_branch(trunk) as live:
        await run(
            live,
            "import sys, threading, time; going = True; sys.setswitchinterval(1e-6)\n"
            "def spin():\n    while going: time.sleep(1e-5); sum(range(1000))\n"
            "for _ in range(3): threading.Thread(target=spin, daemon=True).start()",
        )
        for number in range(10):
            counted = await run(live, f"{number}; x + 1", 5)
            assert text(counted) == "42"
        await run(live, PRELUDE + "os._exit(1)")
        after = await run(live, "x + 1, threading.active_count() < 10")

        assert text(after) == "(42, True)"


async def test_the_c_library_knows_the_thread_of_a_kernel_that_was_put_back(trunk: Shared) -> None:
    async with a_branch(trunk) as live:
        await run(live, PRELUDE + "os._exit(1)")
        signalled = await run(
            live,
            PRELUDE + "import threading; heard = []\n"
            "signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))\n"
            "signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)\n"
            "heard == [signal.SIGUSR1]",
        )
        aborted = await run(live, PRELUDE + "os.abort()")
        pool = await run(
            live,
            "from multiprocessing.pool import ThreadPool\n"
            "import subprocess; p = ThreadPool(2); sums = p.map(sum, [[1, 2], [3]]); p.close()\n"
            "sums, subprocess.run(['echo', 'child'], capture_output=True).stdout",
        )

        assert text(signalled) == "True"
        assert aborted.broke == "the kernel was ended by SIGABRT"
        assert text(pool) == "([3, 3], b'child\\n')"


FIT = """
import lightgbm, numpy as np
X = np.random.default_rng(0).normal(size=(20_000, 10)); y = X[:, 0] > 0
def fit():
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=2, verbose=-1)
    return round(model.fit(X, y).score(X, y), 3)
first = fit()
"""


async def test_a_parallel_fit_works_after_the_kernel_was_put_back_twice(
    trunk: Shared, note: Note
) -> None:
    async with a_branch(trunk) as live:
        fitted = await run(live, FIT, 60)
        cells = []
        for _ in range(2):
            broken = await run(live, PRELUDE + "fit(); os._exit(1)")
            cells.append(await run(live, "fit() == first", 20))

        note("it exits after a LightGBM fit with two threads", broken)
        assert fitted.error is None
        assert broken.broke == "the kernel exited with code 1"
        assert [text(cell) for cell in cells] == ["True", "True"]


async def test_threads_that_print_do_not_keep_a_kernel_from_being_put_back(
    trunk: Shared, note: Note
) -> None:
    async with a_branch(trunk) as live:
        await run(
            live,
            "import threading, time\ndef talk():\n    while True: print('talk'); time.sleep(.001)\n"
            "for _ in range(4): threading.Thread(target=talk, daemon=True).start()",
        )
        broken = await run(live, PRELUDE + SPOIL + "time.sleep(.2); os._exit(1)")
        after = await run(live, CHECK)

        note("it exits while four threads of an earlier cell print", broken)
        assert broken.recovery is not None
        assert broken.recovery.how == "standby"
        assert text(after) == AS_LIGHT


# ── far down a line of copies ─────────────────────────────────────────────────────────────


async def test_a_branch_of_a_branch_thirty_and_more_deep_is_like_the_first(note: Note) -> None:
    replays = 0
    async with a_live_kernel() as first:
        await run(first, LIGHT + "; n = 0")
        live = first
        for generation in range(1, 37):
            branch = await asyncio.wait_for(live.branch(), HANG_S)
            if live is not first:
                await live.close()
            live, replays = branch.live, replays + bool(branch.cells)
            try:
                cell = await run(
                    live, "n += 1; open('log', 'a').write('.'); n, len(open('log').read())"
                )
                assert branch.lost == ""
                assert text(cell) == f"({generation}, {generation})"
                if generation in (30, 33, 36):
                    broken = await run(live, PRELUDE + SPOIL + "os._exit(1)")
                    note(f"it exits in generation {generation}", broken)
                    assert broken.recovery is not None
                    assert broken.recovery.how == "standby"
                    assert text(await run(live, CHECK)) == AS_LIGHT
                if generation == 33:
                    tried = await asyncio.wait_for(live.try_out("x", timeout_s=5), HANG_S)
                    assert tried.error is not None
                    assert tried.error.name == "NotTried"
            except BaseException:
                await live.close()
                raise
        await live.close()
        after = await run(first, "n")
        assert after.recovery is None

    assert replays == 1, "views nest 33 deep: one branch begins with the template again"


PROMOTIONS = 50
MEASURE = """
import os, threading
def rss():
    return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6
print(len(os.listdir('/proc/self/fd')), threading.active_count(),
      sum(n.isdigit() for n in os.listdir('/proc')), rss())
"""


async def test_each_time_a_kernel_is_put_back_it_grows_by_less_than_a_megabyte_and_nothing_else(
    note: Note,
) -> None:
    async with a_live_kernel() as live:
        await run(live, "n = 0")

        seen: list[list[float]] = []
        for number in range(PROMOTIONS):
            await run(live, "n += 1")
            broken = await run(live, PRELUDE + "n = 0; os._exit(1)")
            assert broken.recovery is not None
            assert broken.recovery.how == "standby"
            if number in (9, PROMOTIONS - 1):  # by then there are as many checkpoints as there may
                seen.append([float(word) for word in text(await run(live, MEASURE)).split()])
        after = await run(live, "n")

    (*then, then_mb), (*now, now_mb) = seen
    each = (now_mb - then_mb) / (PROMOTIONS - 10)
    note(f"time {PROMOTIONS} of one kernel, {each:.2f} MB each", broken)
    assert text(after) == str(PROMOTIONS)
    assert now == then, "descriptors, threads and processes"
    assert each < 1
