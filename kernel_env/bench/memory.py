"""What many kernels weigh in one box, what is shared divided among those who share it (PSS)."""

import json
from contextlib import AsyncExitStack

from kernel_env.bench.measure import PATHS, Bench, Goal, Row, row
from kernel_env.errors import SandboxError
from kernel_env.kernel.connection.client import open_kernel
from kernel_env.kernel.forking.fork_server import PRISTINE, ForkServer
from kernel_env.kernel.forking.instance import KernelInstance, open_seat
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import Sandbox

KERNELS = 20
IMPORTS = "import numpy, pandas, scipy.stats, sklearn.ensemble, sklearn.linear_model, lightgbm"
"""In a box that imports nothing ahead, what both sides import."""
CELL_S = 120.0
PSS = """
import json, sys
kilobytes = 0
for pid in map(int, sys.argv[1:]):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        kilobytes += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
print(json.dumps(kilobytes * 1024))
"""


async def kernels(bench: Bench) -> list[Row]:
    """Kernels of one template, without and with all their standbys, and as many plain ones.

    Measured once: memory hardly varies.
    """
    count = bench.times(KERNELS)
    bench.tell(f"{count} kernels of one template", None)
    alone = await of_a_template(bench, count)
    bench.tell(f"{count} kernels and their standbys", None)
    backed = await with_standbys(bench, count)
    bench.tell(f"{count} plain kernels", None)
    theirs = await plain(bench, count)
    goal = Goal(of_peer=0.15)
    what, peer = f"{count} kernels of one template", f"{count} plain kernels, the same imported"
    return [
        row(f"{what}: PSS", [alone / 1e6], peer, [theirs / 1e6], unit="MB", goal=goal),
        row(f"{what}, two standbys of each: PSS", [backed / 1e6], peer, [theirs / 1e6], unit="MB"),
    ]


async def of_a_template(bench: Bench, count: int) -> int:
    """Bytes of a template and kernels like it, once each has run a cell."""
    first = await open_seat(bench.box, PATHS)
    home, seats = first.home, [first]
    try:
        if home.plain or home.one_view:
            bench.skip(f"many kernels of a template: {home.plain or home.one_view}")
        assert home.template is not None
        for _ in range(count - 1):
            seats.append(KernelInstance(home))
            await seats[-1].serve(await seats[-1].move_in(home.template, PRISTINE))
        for seat in seats:
            assert seat.kernel is not None
            await seat.kernel.run(imports_of(home.box), timeout_s=CELL_S)
        return await pss(home.box, [home.template.pid, *lives_in(home)])
    finally:
        for seat in seats:
            await seat.close()


async def with_standbys(bench: Bench, count: int) -> int:
    """The same, with a standby of each kernel from before its cell and one from after it."""
    first = RecoverableKernel(lambda: open_seat(bench.box, PATHS))
    lives = [first]
    try:
        await first.start()
        home = first.seat.home
        lives += [(await first.branch()).live for _ in range(count - 1)]
        for live in lives:
            await live.run(imports_of(home.box), timeout_s=CELL_S)
            await live.start()  # its standby is there
        assert home.template is not None
        return await pss(home.box, [home.template.pid, *lives_in(home)])
    finally:
        for live in lives:
            await live.close()


def lives_in(home: ForkServer) -> list[int]:
    """The numbers of all kernels and standbys of a home."""
    return [pid for pids in home.living.values() for pid in pids]


def imports_of(box: Sandbox) -> str:
    """A cell that imports what the box's image lists, or what both sides are to import."""
    return f"import {', '.join(box.libraries)}" if box.libraries else IMPORTS


async def plain(bench: Bench, count: int) -> int:
    """Bytes of kernels that were started one by one."""
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(bench.box())
        imports = imports_of(box)
        pids = []
        for _ in range(count):
            kernel = await stack.enter_async_context(open_kernel(box))
            await kernel.run(imports, timeout_s=CELL_S)
            pids.append(kernel.process.pid)
        return await pss(box, pids)


async def pss(box: Sandbox, pids: list[int]) -> int:
    """Bytes of memory of these processes, the share of each in what it shares."""
    argv = [box.python, "-I", "-S", "-c", PSS, *map(str, pids)]
    done = await box.run(argv, timeout_s=CELL_S)
    if done.exit_code:
        raise SandboxError(f"memory could not be read: {done.output.decode(errors='replace')}")
    found: int = json.loads(done.output)
    return found
