"""Run one agent on one task; return a result, also for an episode that failed."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from kernel_env import plugins
from kernel_env.agents.base import Agent, Options
from kernel_env.episode import Episode, EpisodeConfig, open_configured
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
    """An episode to be run: its configuration and the options of its agent."""

    config: EpisodeConfig
    """The episode's options; its `agent` names the agent that acts."""
    options: Options = Options()
    """The agent's options; their `seed` is replaced by that of the configuration."""


def make_agent(plan: Plan) -> Agent:
    """Create the agent of a plan. Raises `UnknownName`, `AgentError`, `UsageError`."""
    options = replace(plan.options, seed=plan.config.seed)
    agent: Agent = plugins.find("agent", plan.config.agent)(options)
    return agent


async def run_episode(
    plan: Plan, *, grader: Grader | None = None, watch: Callable[[Episode], None] | None = None
) -> EpisodeResult:
    """Run an episode to its end.

    A failure of the agent, the task or the machine during the episode is the result's status.

    Args:
        plan: the episode's options and its agent.
        grader: a grading process to share between episodes.
        watch: called once, with the episode, before the agent's first step.

    Raises:
        UsageError, TaskError, SandboxError, KernelError, AgentError: the episode did not begin.
    """
    agent = make_agent(plan)
    config = replace(plan.config, model=agent.model)
    episode: Episode | None = None
    try:
        async with open_configured(config, grader=grader) as episode:
            if watch:
                watch(episode)
            # The time can run out between an agent's check and its action.
            with suppress(EpisodeOver):
                await agent.play(episode)
    except (AgentError, TaskError, SandboxError, KernelError):
        if episode is None or episode.result is None:
            raise  # the episode did not begin, or its result could not be stored
    assert episode is not None
    result = episode.result
    assert result is not None, "a closed episode has a result"
    return result


def with_seeds(plan: Plan, count: int) -> list[Plan]:
    """Return a plan for each seed from 0 to count - 1. Raises `UsageError` if `count` < 1."""
    if count < 1:
        raise UsageError(f"the number of seeds is {count}; it must be at least 1")
    return [replace(plan, config=replace(plan.config, seed=seed)) for seed in range(count)]
