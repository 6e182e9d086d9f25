"""Measure tree search on forks, against a whole script for each node, and the linear agent.

All three are played by the same scripted model (`scripted_model`), which writes the same cells
wherever it is asked the same. The task's preparation keeps a core busy for `PREPARATION_S`, as
reading gigabytes or computing embeddings does.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kernel_env.agents.base import Agent, Options
from kernel_env.agents.openai import OpenAIAgent
from kernel_env.agents.tree import TreeAgent
from kernel_env.bench.measure import UNLIMITED, Bench, Goal, Row, row
from kernel_env.bench.scripted_model import Script, serve
from kernel_env.bench.workload import processor_s
from kernel_env.episode import EpisodeConfig, open_configured
from kernel_env.episode.actions import ExecuteCode, Reset
from kernel_env.episode.journal import JOURNAL, read_journal
from kernel_env.errors import EpisodeOver, KernelError
from kernel_env.grading.host import Grader

TASK = "image-segment"
PREPARATION_S = 20.0
"""Processor seconds of the preparation."""
NODES = 24
"""Number of cells of a search, the preparation included."""
SCRIPTS = 4
"""Number of nodes that are also run as whole scripts."""
SETTINGS = {"policy": "aide", "drafts": 4, "width": 2}
PREPARE = """
import os, time
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier

data = os.environ["DATA_PATH"]
train, test = pd.read_csv(f"{data}/train.csv"), pd.read_csv(f"{data}/test.csv")
X, y = train.drop(columns=["id", "category"]), train["category"]
settings = {"max_depth": 2, "n_estimators": 3, "max_features": 1}

def submit(**changes):
    settings.update(changes)
    model = ExtraTreesClassifier(random_state=0, **settings).fit(X, y)
    answer = test[["id"]].assign(category=model.predict(test[X.columns]))
    answer.to_csv(os.environ["OUTPUT_PATH"], index=False)

began = time.process_time()
while time.process_time() - began < SECONDS:
    sum(range(10_000))
"""
DRAFTS = (
    "submit()",
    "submit(max_depth=3)",
    "submit(max_features=4)",
    "submit(max_depth=-1)",
)
"""The last one fails."""
CHANGES = (
    "submit(max_depth=settings['max_depth'] + 3)",
    "submit(n_estimators=settings['n_estimators'] * 2)",
    "submit(max_features=min(settings['max_features'] + 4, X.shape[1]))",
    "X = X.iloc[:, 4:]; submit()",
)
"""Some of them help only after others, and the last one is a mistake."""
REPAIR = "submit(max_depth=4)"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What some nodes cost."""

    nodes: int
    seconds: float
    processor_s: float
    """Without meaning in a sandbox that does not isolate: it is that of the machine."""

    @property
    def seconds_each(self) -> float:
        """Return the seconds per node."""
        return self.seconds / self.nodes

    @property
    def processor_each(self) -> float:
        """Return the processor seconds per node."""
        return self.processor_s / self.nodes


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search that has ended."""

    cost: Cost
    money: float
    """US dollars."""
    score: float
    """The best public score."""
    scripts: tuple[str, ...]
    """The cells that lead to each node, joined, in the order in which the nodes were made."""


async def tree(bench: Bench) -> list[Row]:
    """Measure tree search on forks, against a script per node and the linear agent."""
    seconds = PREPARATION_S * bench.scale
    script = Script(
        prepare=PREPARE.replace("SECONDS", str(seconds)),
        drafts=DRAFTS,
        changes=CHANGES,
        repair=REPAIR,
    )
    bench.progress(f"a search with {seconds:g} s of preparation", None)
    async with Grader() as grader:
        with serve(script) as model:
            options = Options(
                model="scripted", base_url=model.url, settings=SETTINGS, price_in=1.0, price_out=2.0
            )
            found = await search(bench, grader, TreeAgent(options))
            bench.progress("some of its nodes as scripts", None)
            scripts = await run_scripts(bench, grader, found.scripts)
            bench.progress("the linear agent", None)
            agent = OpenAIAgent(replace(options, settings={}))
            linear = await search(bench, grader, agent, money=found.money)
    return rows(bench, found, scripts, linear, seconds)


def rows(
    bench: Bench, found: Search, scripts: Sequence[Cost], linear: Search, seconds: float
) -> list[Row]:
    """Return the rows of the table."""
    what = f"a node of {found.cost.nodes} on forks, preparation {seconds:g} s"
    peer = "the same node as a script in a fresh kernel"
    goal = Goal(of_peer=1 / 10)

    def compare(unit: str, value: Callable[[Cost], float], goal: Goal | None = None) -> Row:
        mine, theirs = [value(found.cost)], [value(each) for each in scripts]
        return row(what, mine, peer, theirs, unit=unit, goal=goal)

    result = [compare("s", lambda cost: cost.seconds_each, goal)]
    if bench.isolated:
        result.append(compare("CPU s", lambda cost: cost.processor_each, goal))
    else:
        bench.skip(f"processor time of nodes: a {bench.sandbox} sandbox does not count its own")
    result.append(compare("nodes/min", lambda cost: 60 / cost.seconds_each))
    title = f"best public accuracy of {found.cost.nodes} nodes for ${found.money:.2g}"
    other = f"the linear agent for as much, {linear.cost.nodes} steps"
    return [*result, row(title, [100 * found.score], other, [100 * linear.score], unit="%")]


async def search(
    bench: Bench, grader: Grader, agent: Agent, *, money: float | None = None
) -> Search:
    """Let an agent play, for so many steps or for so much money."""
    limit = {"steps": max(6, bench.repeats(NODES))} if money is None else {"money": money}
    async with open_configured(config(bench, limit), grader=grader) as episode:
        before, began = await processor_s(episode.kernel.sandbox), time.perf_counter()
        with suppress(EpisodeOver):
            await agent.play(episode)
        seconds = time.perf_counter() - began
        used = await processor_s(episode.kernel.sandbox) - before
        best, spent = episode.progress.best, episode.spent
    if best is None:
        raise KernelError("a search of the benchmark has no submission")
    cost = Cost(nodes=spent.steps, seconds=seconds, processor_s=used)
    return Search(
        cost=cost,
        money=spent.money,
        score=best.grade.public_score,
        scripts=tuple(scripts_of(episode.family)),
    )


def scripts_of(family: Sequence[Path]) -> Iterator[str]:
    """Yield for each fork the script that does the same: its cells, without those that failed.

    The last cell is always in it: what it is worth is what the node is for.
    """
    for folder in family[1:]:
        steps = read_journal(folder / JOURNAL).steps
        earlier = [step for step in steps[:-1] if step.cell and not step.cell.error]
        actions = [step.action for step in (*earlier, steps[-1])]
        yield "\n".join(action.code for action in actions if isinstance(action, ExecuteCode))


async def run_scripts(bench: Bench, grader: Grader, scripts: Sequence[str]) -> list[Cost]:
    """Run some of the scripts, evenly spread, each in a fresh kernel of one template.

    A fresh kernel of a template starts faster than a new process with the same imports.
    """
    every = max(1, len(scripts) // bench.repeats(SCRIPTS))
    costs = []
    async with open_configured(config(bench, {}), grader=grader) as episode:
        for script in scripts[::every]:
            sandbox = episode.kernel.sandbox
            before, began = await processor_s(sandbox), time.perf_counter()
            await episode.act(Reset())
            await episode.act(ExecuteCode(code=script))
            seconds = time.perf_counter() - began
            used = await processor_s(sandbox) - before
            costs.append(Cost(nodes=1, seconds=seconds, processor_s=used))
    return costs


def config(bench: Bench, budget: Mapping[str, float]) -> EpisodeConfig:
    """Return the options of the measured episodes."""
    return EpisodeConfig(
        task=TASK, sandbox=bench.sandbox, out=bench.folder, budget={**UNLIMITED, **budget}
    )
