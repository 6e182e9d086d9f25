"""What things cost, against a peer in the same run, so that the machine's mood cancels out.

Two kinds of figures: how long a kernel takes to be ready, and what a step costs beyond a
bare `jupyter_client` that runs the same cell on a plain local kernel. Both are taken
in turns with their peer.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from kernel_env.gym import make
from kernel_env.kernel.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.kernel.session import open_kernel
from kernel_env.sandbox.base import Spec
from kernel_env.sandbox.choose import choose

TASK = "adult-income"
WINDOW = 100
"""Steps at the beginning and at the end of the long episode that are compared."""
PASS = {"kind": "execute_code", "code": "pass"}

Tell = Callable[[str, float | None], None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measure and its peer."""

    measure: str
    unit: str
    n: int
    median: float
    p99: float | None = None
    peer: str = ""
    peer_median: float | None = None
    peer_p99: float | None = None

    @property
    def ratio(self) -> float | None:
        """Our median over the peer's."""
        return self.median / self.peer_median if self.peer_median else None

    def json(self) -> dict[str, Any]:
        """As JSON values, the ratio included."""
        return {**asdict(self), "ratio": self.ratio}

    def words(self) -> list[str]:
        """As cells of a table."""
        figures = [self.peer_median, self.peer_p99, self.ratio]
        return [
            self.measure,
            self.unit,
            str(self.n),
            f"{self.median:.2f}",
            "" if self.p99 is None else f"{self.p99:.2f}",
            self.peer,
            *("" if figure is None else f"{figure:.2f}" for figure in figures),
        ]


def measure(sandbox: str, *, repeats: int, steps: int, tell: Tell) -> list[Row]:
    """Every measure, in order. Raises `SandboxError`, `KernelError`."""
    rows = [starts(sandbox, repeats, tell)]
    with tempfile.TemporaryDirectory(prefix="kernel-env-") as folder:
        rows += long_episode(sandbox, steps, Path(folder), tell)
    return rows


def starts(sandbox: str, repeats: int, tell: Tell) -> Row:
    """From nothing to a kernel that is ready: a sealed box against a bare local kernel."""
    name, box = choose(sandbox)

    async def ours() -> None:
        spec = Spec(image="tabular", folders={PROGRAM: PROGRAM_FOLDER})
        async with box(spec) as opened, open_kernel(opened):
            ready.append(time.perf_counter())

    mine, theirs = [], []
    for n in range(repeats + 1):
        tell(f"starting kernels · {n} of {repeats}", n / (repeats + 1))
        ready: list[float] = []
        began = time.perf_counter()
        asyncio.run(ours())
        mine.append(1e3 * (ready[0] - began))
        began = time.perf_counter()
        with bare_kernel():
            theirs.append(1e3 * (time.perf_counter() - began))
    return row(f"{name} box created → kernel ready", mine[1:], "bare local kernel", theirs[1:])


def long_episode(sandbox: str, steps: int, folder: Path, tell: Tell) -> list[Row]:
    """`pass` through `env.step` and through a bare client, in turns, first step to last."""
    env = make(TASK, sandbox=sandbox, out=folder, budget={"steps": steps + 1, "seconds": 1e6})
    env.reset()
    mine, theirs, memory = [], [], []
    try:
        with bare_kernel() as client:
            for n in range(steps):
                tell(f"steps of one episode · {n} of {steps}", n / steps)
                mine.append(timed(lambda: env.step(PASS)))
                theirs.append(timed(lambda: bare_pass(client)))
                if n + 1 in (WINDOW, steps):
                    memory.append(resident_mb())
    finally:
        env.close()
    peer = "bare jupyter_client, local kernel"
    first, last = slice(1, WINDOW), slice(-WINDOW, None)
    return [
        row(f"`pass` by env.step, steps 2 … {WINDOW}", mine[first], peer, theirs[first]),
        row(f"`pass` by env.step, last {WINDOW} of {steps}", mine[last], peer, theirs[last]),
        Row(
            measure=f"host memory after {steps} steps",
            unit="MB",
            n=1,
            median=memory[-1],
            peer=f"after {WINDOW}",
            peer_median=memory[0],
        ),
    ]


def row(measure: str, mine: Sequence[float], peer: str, theirs: Sequence[float]) -> Row:
    """Two series in milliseconds, side by side."""
    return Row(
        measure=measure,
        unit="ms",
        n=len(mine),
        median=statistics.median(mine),
        p99=p99(mine),
        peer=peer,
        peer_median=statistics.median(theirs),
        peer_p99=p99(theirs),
    )


def p99(series: Sequence[float]) -> float:
    """The value that 99 of 100 do not exceed (nearest rank)."""
    ordered = sorted(series)
    return ordered[max(0, -(-99 * len(ordered) // 100) - 1)]


def timed(function: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - began)


def bare_pass(client: BlockingKernelClient) -> None:
    """What any client has to do for one cell: send it, and wait for the reply and for idle."""
    asked = client.execute("pass", store_history=True)
    while True:
        message = client.get_iopub_msg(timeout=60)
        idle = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
        if idle and message["parent_header"].get("msg_id") == asked:
            break
    while client.get_shell_msg(timeout=60)["parent_header"].get("msg_id") != asked:
        pass


@contextmanager
def bare_kernel() -> Iterator[BlockingKernelClient]:
    """A plain local kernel over ipc, as any Jupyter program would start it."""
    with tempfile.TemporaryDirectory(prefix="kernel-env-") as folder:
        manager = KernelManager(transport="ipc", ip=f"{folder}/s")
        manager.start_kernel()
        client = manager.client()
        try:
            client.start_channels()
            client.wait_for_ready(timeout=60)
            yield client
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def resident_mb() -> float:
    """Memory of this process now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
