"""Run one agent on one task; return a result, also for an episode that failed.

An exception of an agent's code ends only its own episode, as `agent_failed`. One out of this
package ends the episode as `crashed`. The traceback of either is in the episode's folder.
"""

import asyncio
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kernel_env import cheats, plugins
from kernel_env.agents.base import Agent, Options
from kernel_env.episode import Episode, EpisodeConfig, open_configured
from kernel_env.episode.result import EpisodeResult
from kernel_env.episode.tree_page import TREE, write_tree
from kernel_env.episode.write_ending import write_record
from kernel_env.errors import (
    AgentError,
    EpisodeOver,
    KernelEnvError,
    KernelError,
    SandboxError,
    TaskError,
    UnknownName,
    UsageError,
)
from kernel_env.field_docs import show_fields
from kernel_env.grading.host import Grader
from kernel_env.untrusted_text import quote_name

TRACEBACK = "traceback.txt"
"""The file in an episode's folder with the traceback of an exception that ended it."""
ORACLE = "oracle"
"""The name that no agent can have: results of the hidden answers would not be an agent's."""
PACKAGE = f"{__name__.partition('.')[0]}."


@show_fields
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
    make = find_agent(plan.config.agent)
    known = getattr(make, "settings", None)
    for name in options.settings:
        if known is not None and name not in known:
            raise UnknownName(f"setting of the agent {quote_name(plan.config.agent)}", name, known)
    try:
        agent: Agent = make(options)
    except KernelEnvError:
        raise
    except Exception as error:
        raise AgentError(
            f"the agent {plan.config.agent} cannot be created: {plugins.described(error)}"
        ) from error
    return agent


def find_agent(name: str) -> Callable[[Options], Agent]:
    """Return the class of an agent, by its plug-in's name or as `FILE.py:CLASS`.

    Raises `UnknownName`, `UsageError`.
    """
    if name == ORACLE:
        raise UsageError(
            "no episode is played by 'oracle', which submits the hidden answers;"
            " `kernel-env tasks check TASK` grades them, as the check of the same name"
        )
    path, colon, class_name = name.rpartition(":")
    found: Callable[[Options], Agent] = (
        plugins.load_class(path, class_name) if colon else plugins.find("agent", name)
    )
    return found


def with_trust(plan: Plan, agent: Agent) -> Plan:
    """Return a plan whose code is trusted only if its agent says so; see `Agent`."""
    trusted = plan.config.trusted and getattr(agent, "trusted", False) is True
    return replace(plan, config=replace(plan.config, trusted=trusted))


async def run_episode(
    plan: Plan,
    *,
    grader: Grader | None = None,
    watch: Callable[[Episode], None] | None = None,
    attach: bool = False,
) -> EpisodeResult:
    """Run an episode to its end.

    A failure of the agent, the task or the machine during the episode is the result's status.

    Args:
        plan: the episode's options and its agent.
        grader: a grading process to share between episodes.
        watch: called once, with the episode, before the agent's first step.
        attach: whether people can use its kernel; see `kernel-env attach`.

    Raises:
        UsageError, TaskError, SandboxError, KernelError, AgentError: the episode did not begin.
    """
    agent = make_agent(plan)
    config = replace(with_trust(plan, agent).config, model=agent.model)
    episode: Episode | None = None
    try:
        async with open_configured(config, grader=grader) as episode:
            if attach:
                from kernel_env.episode.people import serve

                await serve(episode)
            if watch:
                watch(episode)
            # The time can run out between an agent's check and its action.
            with suppress(EpisodeOver):
                await play(agent, episode)
    except (AgentError, TaskError, SandboxError, KernelError, Crash):
        if episode is None or episode.result is None:
            raise  # the episode did not begin, or its result could not be stored
    assert episode is not None
    if len(episode.family) > 1:
        write_tree(episode.family, episode.folder / TREE)
    result = episode.result
    assert result is not None, "a closed episode has a result"
    return await asyncio.to_thread(audited, result, episode.folder)


def audited(result: EpisodeResult, folder: Path) -> EpisodeResult:
    """Return a result with the flags that an audit for cheats finds, and write its record."""
    try:
        result = replace(result, flags=cheats.audit(folder).counts)
    except UsageError:  # the journal could not be written: `IncompleteRecordWarning`
        return result
    write_record(result, folder)
    return result


class Crash(Exception):
    """A bug of this package that ended an episode."""


async def play(agent: Agent, episode: Episode) -> None:
    """Let an agent play. Any exception that is not ours becomes an `AgentError` or a `Crash`."""
    try:
        await agent.play(episode)
    except KernelEnvError:
        raise
    except (Exception, SystemExit) as error:
        if known := known_error(error):
            raise known from error
        (episode.folder / TRACEBACK).write_text(
            "".join(traceback.format_exception(error)), errors="backslashreplace"
        )
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][1:]
        ours = [frame.f_globals.get("__name__", "").startswith(PACKAGE) for frame in frames]
        where = frames[-1] if frames else error.__traceback__.tb_frame  # type: ignore[union-attr]
        place = f"{Path(where.f_code.co_filename).name}, line {where.f_lineno}; see {TRACEBACK}"
        if any(ours):
            raise Crash(f"kernel_env failed: {plugins.described(error)} ({place})") from error
        name = episode.setup.header.agent
        raise AgentError(f"the agent {name} raised {plugins.described(error)} ({place})") from error


def known_error(error: BaseException) -> KernelEnvError | None:
    """Return the first error of this package in an exception group; None if there is none."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(known_error, error.exceptions)), None)
    return error if isinstance(error, KernelEnvError) else None


def with_seeds(plan: Plan, count: int) -> list[Plan]:
    """Return a plan for each seed from 0 to count - 1. Raises `UsageError` if `count` < 1."""
    if count < 1:
        raise UsageError(f"the number of seeds is {count}; it must be at least 1")
    return [replace(plan, config=replace(plan.config, seed=seed)) for seed in range(count)]
