"""Crash and damage kernels, and require that they are restored as if the cell had not run."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from kernel_env.kernel.cell import Cell
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import Spec
from support.kernels import (
    KERNEL_FOLDERS,
    cell_text,
    fork_kernel,
    kernel_source,
    recoverable_kernel,
    run_cell,
)

SPEC = Spec(
    image="tabular",
    folders=KERNEL_FOLDERS,
    memory_gb=0.75,
    workspace_gb=0.125,
    processes=128,
    files=5000,
)

# ── the state of the kernel, a cell that changes it, and a check ──────────────────────────

SETUP = "import numpy as np; x = 41; a = np.ones(31_250_000); open('kept', 'w').write('old')"
CHANGES = "x = 0; a[7] = 0; open('kept', 'w').write('new'); open('more', 'w').write('new')\n"
CHECK = "import os; x + 1, int(a.sum()), open('kept').read(), os.path.exists('more')"
UNCHANGED = "(42, 31250000, 'old', False)"
"""What `CHECK` returns before `CHANGES`, and after they were undone."""

SMALL_SETUP = SETUP.replace("31_250_000", "1000")
SMALL_UNCHANGED = UNCHANGED.replace("31250000", "1000")

IMPORTS = "import os, signal, time\n"
SETUP_S = 100

# ── code of faults ────────────────────────────────────────────────────────────────────────

FIND_SOCKETS = """
import os, socket, stat
def sockets():
    for n in sorted(map(int, os.listdir('/proc/self/fd'))):
        try:
            if stat.S_ISSOCK(os.fstat(n).st_mode): yield n
        except OSError: pass
channel = get_ipython().kernel.parent.standby.channel.socket.fileno()
"""
"""Defines `sockets`, and `channel`: the descriptor of the kernel's control channel."""

SIGNAL_OTHERS = (
    "for n in os.listdir('/proc'):\n    if n.isdigit() and int(n) not in (1, os.getpid()):\n"
    "        try: os.kill(int(n), {})\n        except PermissionError: pass\n"
)
"""Sends a signal to every process except the init process and the kernel itself, if it may."""

FILL_WORKSPACE = (
    "f = open('big', 'wb', buffering=0)\n"
    "try:\n    while True: f.write(bytes(1 << 20))\nexcept OSError: f.close()"
)
FILL_SNAPSHOTS = FILL_WORKSPACE.replace("'big'", "'/snapshots/big'")


@dataclass(frozen=True)
class Fault:
    """Code that crashes a kernel."""

    code: str
    cause: str = ""
    """A pattern that the reported cause of death matches."""

    @property
    def timeout_s(self) -> float:
        """Return the time limit of the cell: short only if it has to be reached."""
        return 0.5 if IGNORED in self.cause else 90


@dataclass(frozen=True)
class Damage:
    """Code after which a kernel still runs, but not as it should."""

    code: str
    recovery: str = "standby"
    """How the kernel is restored when it crashes later."""


EXITED, SIGNAL, IGNORED = "exited with code", "ended by", "ignored the interrupt"
HUNG = f"did not end in 0.5 s and {IGNORED}"
NO_RESPONSE = f"connections|{EXITED}|{SIGNAL}|{IGNORED}"

# ── run ───────────────────────────────────────────────────────────────────────────────────


@dataclass
class SharedKernel:
    """One kernel for all faults of a file; a new one after a test that failed.

    So each fault also meets what the faults before it left behind.
    """

    setup: str
    kernel: RecoverableKernel | None = None
    healthy: bool = False

    @asynccontextmanager
    async def use(self) -> AsyncIterator[RecoverableKernel]:
        """Provide the kernel for one test."""
        if not self.healthy:
            await self.close()
            self.kernel = RecoverableKernel(kernel_source(SPEC))
            await self.kernel.start()
            await set_up(self.kernel, self.setup)
        assert self.kernel is not None
        self.healthy = False
        yield self.kernel
        self.healthy = True

    @asynccontextmanager
    async def fork(self) -> AsyncIterator[RecoverableKernel]:
        """Provide a fork of the kernel, which the test can damage."""
        async with self.use() as kernel:
            child = (await fork_kernel(kernel)).kernel
            try:
                yield child
            finally:
                await child.close()

    async def close(self) -> None:
        """End the kernel and its sandbox."""
        if self.kernel is not None:
            await self.kernel.close()
        self.kernel = None


async def set_up(kernel: RecoverableKernel, code: str) -> None:
    """Run `SETUP` or `SMALL_SETUP`; a busy machine takes many seconds."""
    cell = await run_cell(kernel, code, SETUP_S)
    assert cell.error is None, cell.error


@asynccontextmanager
async def faulty_kernel() -> AsyncIterator[RecoverableKernel]:
    """Start a kernel in a sandbox of its own, for faults that damage the sandbox."""
    async with recoverable_kernel(SPEC) as kernel:
        yield kernel


async def run_interrupted(kernel: RecoverableKernel) -> Cell:
    """Run a cell that sleeps until its time is up.

    A kernel that is still being forked ignores an interrupt, hence the time of half a second.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kernel_env.kernel.connection.client.INTERRUPT_S", 10)
        return await run_cell(kernel, "import time; time.sleep(60)", 0.5)


async def assert_restored(fault: Fault, kernel: RecoverableKernel) -> Cell:
    """Crash a kernel that `SETUP` has prepared, twice; require that each crash is undone.

    Returns the cell that crashed it first.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kernel_env.kernel.connection.client.INTERRUPT_S", 0.5)
        crashed = await run_cell(kernel, IMPORTS + CHANGES + fault.code, fault.timeout_s)
    after_crash = await run_cell(kernel, CHECK)
    interrupted = await run_interrupted(kernel)
    crashed_again = await run_cell(kernel, IMPORTS + CHANGES + "os._exit(9)")
    at_the_end = await run_cell(kernel, CHECK)

    assert_restored_from_standby(crashed, fault.cause)
    assert cell_text(after_crash) == UNCHANGED
    assert interrupted.error is not None
    assert interrupted.error.name == "KeyboardInterrupt"
    assert_restored_from_standby(crashed_again, f"{EXITED} 9")
    assert cell_text(at_the_end) == UNCHANGED
    for cell in (crashed, after_crash, interrupted, crashed_again, at_the_end):
        assert cell.state_lost is None
    return crashed


def assert_restored_from_standby(cell: Cell, cause: str = "") -> None:
    """Require that a cell crashed the kernel and that a standby took over."""
    assert cell.broke is not None
    assert re.search(cause, cell.broke)
    assert cell.recovery is not None
    assert cell.recovery.how == "standby"


async def assert_damage_survives_a_crash(damage: Damage, kernel: RecoverableKernel) -> Cell:
    """Damage a kernel that `SMALL_SETUP` has prepared, then crash it.

    Requires that the kernel works before and after the crash, and that only the crash is undone.
    Returns the cell that crashed it.
    """
    damaged = await run_cell(kernel, IMPORTS + damage.code, 5)
    before_crash = await run_cell(kernel, CHECK)
    crashed = await run_cell(kernel, IMPORTS + CHANGES + "os._exit(9)")
    after_crash = await run_cell(kernel, CHECK)
    interrupted = await run_interrupted(kernel)

    assert damaged.broke is None
    assert damaged.error is None
    assert cell_text(before_crash) == SMALL_UNCHANGED
    assert crashed.recovery is not None
    assert (crashed.recovery.how, crashed.recovery.lost) == (damage.recovery, "")
    assert cell_text(after_crash) == SMALL_UNCHANGED
    assert interrupted.broke is None
    return crashed


Report = Callable[[str, Cell], None]


def report_row(name: str, cell: Cell) -> str:
    """Describe a fault: how long it took to be noticed, how it was recovered, and its cause."""
    recovery: Any = cell.recovery
    cause = cell.broke or (recovery and recovery.cause) or "no crash"
    how = f"{recovery.how} {recovery.seconds * 1000:6.0f} ms" if recovery else "-"
    return f"{name:58.58} {cell.seconds:6.2f} s  {how:18} {cause:.70}"


async def last_text(kernel: RecoverableKernel, *cells: str) -> str:
    """Run cells, of which only a crash may fail, and return the text of the last one."""
    text = ""
    for code in cells:
        cell = await run_cell(kernel, code)
        assert cell.error is None, cell.error
        text = cell_text(cell)
    return text
