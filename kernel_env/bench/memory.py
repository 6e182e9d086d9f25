"""Measure the memory of many kernels in one sandbox, as proportional set size (PSS)."""

import json
from contextlib import AsyncExitStack

from kernel_env.bench.measure import Bench, Goal, Row, row
from kernel_env.errors import SandboxError
from kernel_env.kernel.connection.client import open_kernel
from kernel_env.kernel.forking.fork_server import PRISTINE
from kernel_env.kernel.forking.instance import KernelInstance
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.kernel.source import pristine_kernel
from kernel_env.sandbox.protocol import Sandbox

KERNELS = 20
IMPORTS = "import numpy, pandas, scipy.stats, sklearn.ensemble, sklearn.linear_model, lightgbm"
"""What the kernels and their peers import in a sandbox whose image lists no libraries."""
CELL_S = 120.0
"""Time limit of a cell in seconds."""
PSS = """
import json, sys
kilobytes = 0
for pid in map(int, sys.argv[1:]):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        kilobytes += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
print(json.dumps(kilobytes * 1024))
"""


async def kernels(bench: Bench) -> list[Row]:
    """Measure the memory of kernels of one template, with and without standbys.

    Each is measured once, because memory hardly varies.
    """
    count = bench.repeats(KERNELS)
    bench.progress(f"{count} kernels of one template", None)
    alone = await template_kernels(bench, count)
    bench.progress(f"{count} kernels and their standbys", None)
    with_standbys = await kernels_with_standbys(bench, count)
    bench.progress(f"{count} plain kernels", None)
    theirs = await plain_kernels(bench, count)
    goal = Goal(of_peer=0.15)
    what, peer = f"{count} kernels of one template", f"{count} plain kernels, the same imported"
    return [
        row(f"{what}: PSS", [alone / 1e6], peer, [theirs / 1e6], unit="MB", goal=goal),
        row(
            f"{what}, two standbys of each: PSS",
            [with_standbys / 1e6],
            peer,
            [theirs / 1e6],
            unit="MB",
        ),
    ]


async def template_kernels(bench: Bench, count: int) -> int:
    """Return the bytes of a template and kernels forked from it, after each ran a cell."""
    async with pristine_kernel(bench.kernels) as first:
        server, instances = first.server, [first]
        reason = server.fork_unavailable_reason or server.overlay_unavailable_reason
        if reason is not None:
            bench.skip(f"many kernels of a template: {reason}")
        assert server.template is not None
        try:
            for _ in range(count - 1):
                instances.append(KernelInstance(server))
                forked = await instances[-1].fork_into_overlay(server.template, PRISTINE)
                await instances[-1].serve(forked)
            for instance in instances:
                assert instance.kernel is not None
                await instance.kernel.run(import_cell(server.sandbox), timeout_s=CELL_S)
            return await pss(server.sandbox, server.all_pids())
        finally:
            for instance in instances[1:]:
                await instance.close()


async def kernels_with_standbys(bench: Bench, count: int) -> int:
    """Return the bytes of a template and kernels with two standbys each, after each ran a cell."""
    first = RecoverableKernel(bench.kernels)
    kernels = [first]
    try:
        await first.start()
        server = first.server
        kernels += [(await first.fork()).kernel for _ in range(count - 1)]
        for kernel in kernels:
            await kernel.run(import_cell(server.sandbox), timeout_s=CELL_S)
            await kernel.start()  # waits for its standby
        return await pss(server.sandbox, server.all_pids())
    finally:
        for kernel in kernels:
            await kernel.close()


def import_cell(sandbox: Sandbox) -> str:
    """Return a cell that imports the libraries of the sandbox's image, or `IMPORTS`."""
    return f"import {', '.join(sandbox.libraries)}" if sandbox.libraries else IMPORTS


async def plain_kernels(bench: Bench, count: int) -> int:
    """Return the bytes of kernels that were started individually, after each ran a cell."""
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(bench.make_sandbox())
        imports = import_cell(sandbox)
        pids = []
        for _ in range(count):
            kernel = await stack.enter_async_context(open_kernel(sandbox))
            await kernel.run(imports, timeout_s=CELL_S)
            pids.append(kernel.process.pid)
        return await pss(sandbox, pids)


async def pss(sandbox: Sandbox, pids: list[int]) -> int:
    """Return the sum of the PSS of processes in bytes: shared pages count proportionally."""
    argv = [sandbox.python, "-I", "-S", "-c", PSS, *map(str, pids)]
    done = await sandbox.run(argv, timeout_s=CELL_S)
    if done.exit_code:
        raise SandboxError(f"memory could not be read: {done.output.decode(errors='replace')}")
    found: int = json.loads(done.output)
    return found
