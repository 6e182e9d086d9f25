"""Resolve a suite file: the tasks that it selects, and the jobs to play, in their order.

A job is an agent, a task and a seed. All agents play a task with one seed before the next task
begins, and all tasks before the next seed: a suite that is stopped early is balanced, and whatever
changes on the machine or at a model's service in the meantime changes it for all agents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kernel_env.agents.base import Options
from kernel_env.episode import EpisodeConfig
from kernel_env.errors import UsageError
from kernel_env.field_docs import show_fields
from kernel_env.runner import Plan
from kernel_env.suite.file import AgentSection, SuiteFile, read_suite_file
from kernel_env.suite.keys import key_of, settings_of
from kernel_env.tasks import Task
from kernel_env.tasks.selection import select_tasks

SUITES = Path("suites")
"""The folder with the folders of suites."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Job:
    """One episode that a suite plays, in one attempt or several."""

    key: str
    """Identifies the settings; see `keys`."""
    agent: str
    """The agent's name in the suite file."""
    task: str
    seed: int
    block: int
    """The place of its task and seed in the order; the jobs of a block differ by their agents."""
    plan: Plan
    settings: Mapping[str, Any]
    """The resolved settings, as JSON."""

    @property
    def name(self) -> str:
        """Return a name for people."""
        return f"{self.agent} on {self.task}, seed {self.seed}"


@show_fields
@dataclass(frozen=True, kw_only=True)
class Suite:
    """A suite file and what it comes to on this machine."""

    file: SuiteFile
    path: Path
    """The suite file."""
    folder: Path
    """Where its records are."""
    jobs: tuple[Job, ...]
    """In the order in which they are played."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class Shard:
    """A share of a suite's jobs, by blocks: all agents play a task and seed in the same share."""

    number: int = 1
    """From 1 to `count`."""
    count: int = 1

    def has(self, job: Job) -> bool:
        """Return whether a job is in this share."""
        return job.block % self.count == self.number - 1


def parse_shard(text: str) -> Shard:
    """Parse `i/n`. Raises `UsageError`."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"the shard is {text!r}; give i/n with 1 ≤ i ≤ n, for example 2/4")
    return Shard(number=int(number), count=int(count))


def plan_suite(path: Path, out: Path = SUITES) -> Suite:
    """Read a suite file and resolve it; starts nothing and prepares nothing.

    Args:
        path: the suite file.
        out: the folder that has, or gets, the suite's folder.

    Raises `UsageError`, `TaskError`.
    """
    file = read_suite_file(path)
    base = path.absolute().parent
    tasks = select_tasks(file.tasks, base)
    jobs = []
    try:
        first = {
            (task.id, agent.name): plan_of(file, agent, task, base)
            for task in tasks
            for agent in file.agents
        }
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    settings = {
        (task, agent.name): settings_of(first[task, agent.name], endpoint=agent.endpoint)
        for agent in file.agents
        for task in (task.id for task in tasks)
    }
    for block, (seed, task) in enumerate((s, t) for s in range(file.seeds) for t in tasks):
        turn = block % len(file.agents)  # each agent is the first one in its turn
        for agent in (*file.agents[turn:], *file.agents[:turn]):
            own = {**settings[task.id, agent.name], "seed": seed, "random_seed": seed}
            plan = first[task.id, agent.name]
            config = replace(plan.config, seed=seed, random_seed=seed)
            jobs.append(
                Job(
                    key=key_of(own),
                    agent=agent.name,
                    task=task.id,
                    seed=seed,
                    block=block,
                    plan=replace(plan, config=config),
                    settings=own,
                )
            )
    check_distinct(jobs, path)
    return Suite(file=file, path=path, folder=(out / file.name).absolute(), jobs=tuple(jobs))


def with_episodes(suite: Suite, episodes: int) -> Suite:
    """Return a suite of which so many episodes are played at once."""
    limits = suite.file.limits.model_copy(update={"episodes": episodes})
    return replace(suite, file=suite.file.model_copy(update={"limits": limits}))


def check_distinct(jobs: Sequence[Job], path: Path) -> None:
    """Raise `UsageError` if two agents of a suite differ by nothing but their names."""
    agents: dict[str, str] = {}
    for job in jobs:
        other = agents.setdefault(job.key, job.agent)
        if other != job.agent:
            raise UsageError(
                f"{path}: the agents {other} and {job.agent} have the same settings; remove one,"
                " or play more seeds"
            )


def plan_of(file: SuiteFile, agent: AgentSection, task: Task, base: Path) -> Plan:
    """Return the plan of an agent on a task, with the seed 0. Raises `UsageError`."""
    name, colon, class_name = agent.agent.rpartition(":")
    endpoint = file.endpoints.get(agent.endpoint)
    config = EpisodeConfig(
        task=task,
        agent=f"{base / name}:{class_name}" if colon else agent.agent,
        sandbox=file.sandbox,
        image=file.image,
        budget=file.budget,
        reward=file.reward,
        feedback=file.feedback,
        counts=file.counts,
        gpus=file.gpus,
        random_seed=0,
    )
    options = Options(
        script=agent.script and base / agent.script,
        model=agent.model,
        base_url=endpoint.base_url if endpoint else None,
        temperature=agent.temperature,
        price_in=agent.price_in,
        price_out=agent.price_out,
        context_tokens=agent.context_tokens,
        answer_tokens=agent.answer_tokens,
        max_calls=agent.max_calls,
        images=agent.images,
        key_variable=endpoint.key_variable if endpoint else Options.key_variable,
        provider=agent.provider,
        settings=agent.settings,
    )
    return Plan(config=config, options=options)
