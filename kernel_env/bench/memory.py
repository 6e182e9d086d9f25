"""What many kernels weigh in one box, what is shared divided among those who share it (PSS)."""

import json
from contextlib import AsyncExitStack

from kernel_env.bench.measure import PATHS, Bench, Goal, Row, row
from kernel_env.errors import SandboxError
from kernel_env.kernel.live import Live
from kernel_env.kernel.seat import open_seat
from kernel_env.kernel.session import open_kernel
from kernel_env.sandbox.base import Sandbox

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
    """Kernels of one template with all their standbys, and as many plain ones that import it all.

    Measured once: memory hardly varies.
    """
    count = bench.times(KERNELS)
    bench.tell(f"{count} kernels of one template", None)
    ours = await of_a_template(bench, count)
    bench.tell(f"{count} plain kernels", None)
    theirs = await plain(bench, count)
    goal = Goal(of_peer=0.15)
    what = f"{count} kernels of one template, their standbys too: PSS"
    peer = f"{count} plain kernels, the same imported"
    return [row(what, [ours / 1e6], peer, [theirs / 1e6], unit="MB", goal=goal)]


async def of_a_template(bench: Bench, count: int) -> int:
    """Bytes of a template, kernels like it and their standbys, once each has run a cell."""
    first = Live(lambda: open_seat(bench.box, PATHS))
    lives = [first]
    try:
        await first.start()
        home = first.seat.home
        if home.plain or home.one_view:
            bench.skip(f"many kernels of a template: {home.plain or home.one_view}")
        if not home.box.libraries:
            await first.run(IMPORTS, timeout_s=CELL_S)
        lives += [(await first.branch()).live for _ in range(count - 1)]
        for live in lives:
            await live.run("pass", timeout_s=CELL_S)
            await live.start()  # its standby is there
        pids = [pid for seat in home.living.values() for pid in seat]
        assert home.template is not None
        return await pss(home.box, [home.template.pid, *pids])
    finally:
        for live in lives:
            await live.close()


async def plain(bench: Bench, count: int) -> int:
    """Bytes of kernels that were started one by one."""
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(bench.box())
        imports = f"import {', '.join(box.libraries)}" if box.libraries else IMPORTS
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
