"""Measure what a suite adds to its episodes, how many it plays in a minute, and its records."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from kernel_env import temporary
from kernel_env.bench.measure import TASK, Bench, Goal, Row, row, time_call
from kernel_env.episode.endings import counts
from kernel_env.grading.host import Grader
from kernel_env.runner import run_episode
from kernel_env.suite.driver import OpenEngine, open_local, open_ray, run_suite
from kernel_env.suite.history import fold
from kernel_env.suite.log import LINE, VERSION, Finished, Line, Started, read_folder
from kernel_env.suite.plan import Job, Suite, plan_suite
from kernel_env.suite.scheduler import Scheduler

FILE = """\
name = "bench"
tasks = ["{task}"]
seeds = {seeds}
sandbox = "{sandbox}"
limits = {{ episodes = {at_once}, starts = {at_once} }}
[[agents]]
name = "sample"
agent = "sample"
"""
AT_ONCE = (1, 2, 4, 8)
"""How many episodes are played at the same time."""
RECORDS = 5_000
ON_RAY = 4
"""Episodes of a suite on Ray, one after the other."""
CLUSTER = """
import os, sys
from ray.cluster_utils import Cluster
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # Ray prints, too
node = {"num_cpus": 64, "resources": {"engine": 1}, "include_dashboard": False,
    "object_store_memory": 10**8}
cluster = Cluster(initialize_head=True, head_node_args=node)
print(cluster.address, file=answer, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
"""The program of a cluster of one node, which ends with its standard input."""


class Clock:
    """Notes when the records of a suite were written."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.ended = 0.0

    def recorded(self, job: Job, line: Line) -> None:  # noqa: ARG002 - as `Monitor` has it
        """Note the time of a line."""
        if isinstance(line, Started) and self.began is None:
            self.began = time.perf_counter()
        self.ended = time.perf_counter()

    def message(self, text: str) -> None:
        """Ignore a message."""

    def progress(self, text: str, done: float | None) -> None:
        """Ignore what is prepared."""

    def show(self, scheduler: Scheduler) -> None:
        """Ignore the table."""

    @property
    def ms(self) -> float:
        """Return the milliseconds from the first start to the last line."""
        assert self.began is not None
        return 1e3 * (self.ended - self.began)


async def suites(bench: Bench) -> list[Row]:
    """Measure episodes of a suite against episodes by themselves, and its records."""
    numbers = count()

    def planned(seeds: int, at_once: int) -> Suite:
        folder = bench.folder / f"suite-{next(numbers)}"
        folder.mkdir()
        path = folder / "suite.toml"
        text = FILE.format(task=TASK, seeds=seeds, sandbox=bench.sandbox, at_once=at_once)
        path.write_text(text)
        return plan_suite(path, folder)

    mine, bare = [], []
    for _ in bench.rounds("episodes of a suite", 10):
        mine.append(await play(planned(seeds=1, at_once=1)))
        bare.append(await play_bare(planned(seeds=1, at_once=1), bench.folder))
    rows = [row("episode of a suite", mine, "the episode by itself", bare, goal=Goal(of_peer=1.05))]
    series: dict[int, list[float]] = {at_once: [] for at_once in AT_ONCE}
    for _ in bench.rounds("episodes at the same time", 3):
        for at_once in AT_ONCE:
            ms = await play(planned(seeds=max(AT_ONCE), at_once=at_once))
            series[at_once].append(60_000 * max(AT_ONCE) / ms)
    rows += [
        row(
            f"episodes in a minute, {at_once} at once",
            series[at_once],
            "" if at_once == 1 else "1 at once",
            () if at_once == 1 else series[1],
            unit="episodes",
        )
        for at_once in AT_ONCE
    ]
    rows += await on_ray(bench, lambda: planned(seeds=ON_RAY, at_once=1))
    return [*rows, await folded(bench, planned(seeds=1, at_once=1))]


async def play(suite: Suite, open_engine: OpenEngine = open_local) -> float:
    """Play a suite; return the milliseconds from its first start to its last record."""
    clock = Clock()
    await asyncio.to_thread(run_suite, suite, clock, open_engine=open_engine)
    return clock.ms


async def on_ray(bench: Bench, planned: Callable[[], Suite]) -> list[Row]:
    """Measure the episodes of a suite on a Ray cluster of this machine, against those without."""
    if not find_spec("ray"):
        bench.skip("episodes on Ray: the extra ray is not installed")
        return []
    mine, peer = [], []
    with ray_cluster():
        for _ in bench.rounds("episodes on Ray", 3):
            mine.append(await play(planned(), open_ray) / ON_RAY)
            peer.append(await play(planned()) / ON_RAY)
    return [row("episode of a suite on Ray", mine, "on this machine's engine", peer)]


@contextmanager
def ray_cluster() -> Iterator[None]:
    """Start a Ray cluster, which RAY_ADDRESS names in the block."""
    folder, before = temporary.folder(), os.environ.get("RAY_ADDRESS")
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "RAY_TMPDIR": str(folder), "RAY_USAGE_STATS_ENABLED": "0"},
        text=True,
    )
    try:
        assert cluster.stdout is not None
        os.environ["RAY_ADDRESS"] = cluster.stdout.readline().strip()
        yield
    finally:
        os.environ.pop("RAY_ADDRESS")
        os.environ.update({} if before is None else {"RAY_ADDRESS": before})
        cluster.communicate()
        temporary.remove(folder)


async def play_bare(suite: Suite, folder: Path) -> float:
    """Play the first job of a suite without the suite; return the milliseconds."""
    plan = replace(suite.jobs[0].plan, config=replace(suite.jobs[0].plan.config, out=folder))
    async with Grader() as grader:
        began = time.perf_counter()
        result = await run_episode(plan, grader=grader)
        took = 1e3 * (time.perf_counter() - began)
    assert counts(result.status), result.error
    return took


async def folded(bench: Bench, suite: Suite) -> Row:
    """Measure computing the state of a suite from its records, against parsing their JSON."""
    await play(suite)
    path = suite.folder / "records.jsonl"
    lines = list(copies(path, max(2, round(RECORDS * bench.scale))))
    path.write_text("".join(f"{line}\n" for line in lines))
    mine, peer = [], []
    for _ in bench.rounds("records of a suite", 10):
        mine.append(time_call(lambda: fold(read_folder(suite.folder))))
        peer.append(time_call(lambda: [json.loads(line) for line in lines]))
    return row(f"{len(lines) // 2:,} records of a suite read", mine, "their JSON parsed", peer)


def copies(path: Path, number: int) -> Iterator[str]:
    """Yield the lines of a number of jobs like the one in the records."""
    started, finished = (
        next(line for line in read_folder(path.parent) if isinstance(line, kind))
        for kind in (Started, Finished)
    )
    for n in range(number):
        for line in (started, finished):
            copy = replace(line, key=f"{n:064x}")
            yield json.dumps({"v": VERSION, **LINE.dump_python(copy, mode="json")})
