"""One agent plays one episode, and there is a record of it whatever happens."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from kernel_env import plugins
from kernel_env.agents.base import Agent, Options
from kernel_env.episode.episode import Episode, open_episode
from kernel_env.episode.observation import Feedback
from kernel_env.episode.result import EpisodeResult
from kernel_env.errors import (
    AgentError,
    EpisodeOver,
    KernelError,
    SandboxError,
    TaskError,
    UsageError,
)
from kernel_env.grading.host import Grader


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An episode that is to be played."""

    task: str
    agent: str
    options: Options = Options()
    sandbox: str = "auto"
    out: Path = Path("runs")
    budget: Mapping[str, float | None] = field(default_factory=dict)
    reward: str = "position"
    feedback: Feedback = "public"


def make_agent(plan: Plan) -> Agent:
    """The agent of a plan. Raises `UnknownName`, `AgentError`, `UsageError`."""
    agent: Agent = plugins.find("agent", plan.agent)(plan.options)
    return agent


async def run_episode(
    plan: Plan, *, grader: Grader | None = None, watch: Callable[[Episode], None] | None = None
) -> EpisodeResult:
    """Play an episode to its end.

    An agent, a task or a machine that fails midway is a record with a status that says so. What
    was wrong before the episode began is raised: `UsageError`, `TaskError`, `SandboxError`,
    `KernelError`, `AgentError`.

    Args:
        grader: a grading process to share between episodes.
        watch: called once, with the episode, before the agent's first step.
    """
    agent = make_agent(plan)
    episode: Episode | None = None
    try:
        async with open_episode(
            plan.task,
            sandbox=plan.sandbox,
            out=plan.out,
            budget=plan.budget,
            reward=plan.reward,
            feedback=plan.feedback,
            agent=plan.agent,
            model=agent.model,
            seed=plan.options.seed,
            grader=grader,
        ) as episode:
            if watch:
                watch(episode)
            with suppress(EpisodeOver):  # time ran out between its last look and its act
                await agent.play(episode)
    except (AgentError, TaskError, SandboxError, KernelError):
        if episode is None or episode.record is None:  # or not even its record could be kept
            raise
    assert episode is not None
    found = episode.record
    assert found is not None, "an episode that was left has ended"
    return found


def seeds(plan: Plan, count: int) -> list[Plan]:
    """The same plan with seeds 0 … count - 1. Raises `UsageError` for no seeds."""
    if count < 1:
        raise UsageError(f"the number of seeds is {count}; it must be at least 1")
    return [replace(plan, options=replace(plan.options, seed=seed)) for seed in range(count)]
