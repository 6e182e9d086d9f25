"""Real work: an episode of dependent cells, and what frameworks without a kernel do for it."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

from kernel_env.bench.measure import PATHS, Bench, Goal, Row, row
from kernel_env.errors import KernelError
from kernel_env.kernel.forking.instance import open_seat
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import Sandbox

ROWS = 500_000
"""Of the table: about 50 MB of CSV."""
CELL_S = 600.0
CPU = (
    ("/sys/fs/cgroup/cpu.stat", 1e-6),
    ("/sys/fs/cgroup/cpuacct/cpuacct.usage", 1e-9),
    ("/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", 1e-9),
)
"""Where a container's processor time stands, and its unit in seconds."""
MAKE = """
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
    """Twelve cells in a live kernel; and twelve processes that each run the cells before again."""
    if not bench.box().libraries:
        bench.skip(f"an episode of work: a {bench.sandbox} box need not have the libraries")
        return []
    mine, theirs = [], []
    for _ in bench.turns(f"an episode of {len(CELLS)} cells", 2):
        mine.append(await in_a_kernel(bench))
        theirs.append(await by_scripts(bench))
    what, peer = f"{len(CELLS)} dependent cells on 50 MB", "a process a step, earlier cells again"
    goal = Goal(of_peer=1 / 5)
    walls, cpus = ([s.seconds for s in mine], [s.processor_s for s in mine])
    their_walls, their_cpus = ([s.seconds for s in theirs], [s.processor_s for s in theirs])
    return [
        row(what, walls, peer, their_walls, unit="s", goal=goal),
        row(f"{what}: processor time", cpus, peer, their_cpus, unit="s"),
    ]


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What an episode of work cost."""

    seconds: float
    processor_s: float
    """0 where nobody counts it."""


async def in_a_kernel(bench: Bench) -> Spent:
    """Cell by cell, a standby and a snapshot after each."""
    live = RecoverableKernel(lambda: open_seat(bench.box, PATHS))
    try:
        await live.start()
        await make_table(bench, live.box)
        began, before = time.perf_counter(), await processor_s(live.box)
        for code in CELLS:
            cell = await live.run(code, timeout_s=CELL_S)
            if cell.error or cell.state_lost:
                raise KernelError(f"a cell of the benchmark failed: {cell.error or cell.broke}")
        await live.start()  # the last standby is there, and paid for
        seconds = time.perf_counter() - began
        return Spent(seconds=seconds, processor_s=await processor_s(live.box) - before)
    finally:
        await live.close()


async def by_scripts(bench: Bench) -> Spent:
    """Step by step, each in a process of its own."""
    async with bench.box() as box:
        await make_table(bench, box)
        began, before = time.perf_counter(), await processor_s(box)
        for number in range(1, len(CELLS) + 1):
            await script(box, "\n".join(CELLS[:number]))
        seconds = time.perf_counter() - began
        return Spent(seconds=seconds, processor_s=await processor_s(box) - before)


async def make_table(bench: Bench, box: Sandbox) -> None:
    """The file that the work begins with; not measured."""
    await script(box, MAKE.format(rows=int(ROWS * bench.scale)))


async def script(box: Sandbox, code: str) -> None:
    """A process of its own."""
    done = await box.run([box.python, "-c", code], timeout_s=CELL_S)
    if done.exit_code:
        raise KernelError(f"a script of the benchmark failed: {done.output[-500:]!r}")


async def processor_s(box: Sandbox) -> float:
    """Processor time of all that ran in a box so far; 0 where nobody counts it."""
    for path, unit in CPU:
        with suppress(OSError):
            text = (await box.read(PurePosixPath(path), limit_bytes=1 << 16)).decode()
            return int(text.split()[1 if text.startswith("usage_usec") else 0]) * unit
    return 0.0
