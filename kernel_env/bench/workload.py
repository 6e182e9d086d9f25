"""Measure an episode of dependent cells, against scripts that rerun all earlier cells."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

from kernel_env.bench.measure import Bench, Goal, Row, row
from kernel_env.errors import KernelError
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import Sandbox

ROWS = 500_000
"""Rows of the table: about 50 MB of CSV."""
CELL_S = 600.0
"""Time limit of a cell in seconds."""
CPU = (
    ("/sys/fs/cgroup/cpu.stat", 1e-6),
    ("/sys/fs/cgroup/cpuacct/cpuacct.usage", 1e-9),
    ("/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", 1e-9),
)
"""Files of cgroup v2 and v1 with the container's processor time, and their unit in seconds."""
MAKE_TABLE = """
import numpy as np, pandas as pd
draw = np.random.default_rng(0)
table = pd.DataFrame(draw.normal(size=({rows}, 12)).round(6), columns=list("abcdefghijkl"))
table["city"] = draw.integers(0, 50, len(table))
table["y"] = ((table.a * table.b + table.c + draw.normal(size=len(table))) > 0).astype(int)
table.to_csv("table.csv", index=False)
"""
CELLS = (
    """import numpy as np, pandas as pd, lightgbm as lgb
from sklearn.metrics import roc_auc_score""",
    "table = pd.read_csv('table.csv')",
    "print(table.shape, table.isna().sum().sum()); print(table.describe().T)",
    "means = table.groupby('city').y.mean(); table['city_mean'] = table.city.map(means)",
    "table['ab'] = table.a * table.b; table['cd'] = table.c - table.d",
    "table['rank_c'] = table.c.rank(pct=True)",
    """X, y = table.drop(columns='y'), table.y
train = np.random.default_rng(1).random(len(X)) < 0.8""",
    "print(roc_auc_score(y[~train], X.c[~train]))",
    """model = lgb.LGBMClassifier(n_estimators=60, num_leaves=31, verbose=-1, n_jobs=2)
model.fit(X[train], y[train])""",
    "guess = model.predict_proba(X[~train])[:, 1]; print(roc_auc_score(y[~train], guess))",
    "print(pd.Series(model.feature_importances_, X.columns).sort_values().tail())",
    """predictions = pd.DataFrame({'id': np.flatnonzero(~train), 'y': guess})
predictions.to_csv('predictions.csv', index=False)""",
)


async def work(bench: Bench) -> list[Row]:
    """Measure twelve cells in one kernel, against twelve processes that rerun earlier cells."""
    if not bench.make_sandbox().libraries:
        bench.skip(f"an episode of work: a {bench.sandbox} sandbox lists no libraries")
        return []
    mine, theirs = [], []
    for _ in bench.rounds(f"an episode of {len(CELLS)} cells", 2):
        mine.append(await work_in_kernel(bench))
        theirs.append(await work_in_scripts(bench))
    what, peer = (
        f"{len(CELLS)} dependent cells on 50 MB",
        "one process per step, which reruns earlier cells",
    )
    goal = Goal(of_peer=1 / 5)
    walls, cpus = ([s.seconds for s in mine], [s.processor_s for s in mine])
    their_walls, their_cpus = ([s.seconds for s in theirs], [s.processor_s for s in theirs])
    return [
        row(what, walls, peer, their_walls, unit="s", goal=goal),
        row(f"{what}: processor time", cpus, peer, their_cpus, unit="s"),
    ]


@dataclass(frozen=True, kw_only=True)
class WorkCost:
    """The cost of an episode of work."""

    seconds: float
    """Wall-clock time."""
    processor_s: float
    """Processor time; 0 in a sandbox that does not count it."""


async def work_in_kernel(bench: Bench) -> WorkCost:
    """Run the cells in one kernel, with a standby and a snapshot after each."""
    recoverable = RecoverableKernel(bench.kernels)
    try:
        await recoverable.start()
        await make_table(bench, recoverable.sandbox)
        began, before = time.perf_counter(), await processor_s(recoverable.sandbox)
        for code in CELLS:
            cell = await recoverable.run(code, timeout_s=CELL_S)
            if cell.error or cell.state_lost:
                raise KernelError(f"a cell of the benchmark failed: {cell.error or cell.broke}")
        await recoverable.start()  # waits for the last standby, so that its cost is included
        seconds = time.perf_counter() - began
        return WorkCost(
            seconds=seconds, processor_s=await processor_s(recoverable.sandbox) - before
        )
    finally:
        await recoverable.close()


async def work_in_scripts(bench: Bench) -> WorkCost:
    """Run each step as a separate process that reruns all earlier cells."""
    async with bench.make_sandbox() as sandbox:
        await make_table(bench, sandbox)
        began, before = time.perf_counter(), await processor_s(sandbox)
        for number in range(1, len(CELLS) + 1):
            await run_script(sandbox, "\n".join(CELLS[:number]))
        seconds = time.perf_counter() - began
        return WorkCost(seconds=seconds, processor_s=await processor_s(sandbox) - before)


async def make_table(bench: Bench, sandbox: Sandbox) -> None:
    """Create the input file of the work, which is not measured."""
    await run_script(sandbox, MAKE_TABLE.format(rows=int(ROWS * bench.scale)))


async def run_script(sandbox: Sandbox, code: str) -> None:
    """Run code as a separate process."""
    done = await sandbox.run([sandbox.python, "-c", code], timeout_s=CELL_S)
    if done.exit_code:
        raise KernelError(f"a script of the benchmark failed: {done.output[-500:]!r}")


async def processor_s(sandbox: Sandbox) -> float:
    """Return the processor time of a sandbox in seconds; 0 when it is not counted."""
    for path, unit in CPU:
        with suppress(OSError):
            text = (await sandbox.read(PurePosixPath(path), limit_bytes=1 << 16)).decode()
            return int(text.split()[1 if text.startswith("usage_usec") else 0]) * unit
    return 0.0
