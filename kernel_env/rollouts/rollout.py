"""An episode as a trainer or a server plays it: by calls of tools, with open and close apart.

    rollout = await Rollout.open("adult-income", budget={"steps": 20})
    turn = await rollout.call("execute_code", {"code": "1 + 1"})
    print(turn.text, turn.reward, rollout.reward)
    await rollout.close()

A mistake of the policy is a `Turn` with an error. A failure of the machine raises, and the rollout
has no reward then: `None` means that nothing was learned about the policy.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import fields
from typing import Any, Self

from kernel_env.episode import endings
from kernel_env.episode.actions import Action
from kernel_env.episode.config import EpisodeConfig
from kernel_env.episode.episode import Episode
from kernel_env.episode.observation import history, standing
from kernel_env.episode.opening import open_configured
from kernel_env.episode.result import EpisodeResult
from kernel_env.episode.step import Step
from kernel_env.episode.tools import TOOLS, Fault, Finish, parse_call
from kernel_env.episode.trajectory import Status
from kernel_env.errors import ActionError, EpisodeOver, UnknownName, UsageError
from kernel_env.grading.host import Grader
from kernel_env.kernel.warm_pool import Pool
from kernel_env.rollouts.turn import Turn, check_limit, shortened
from kernel_env.tasks import Task
from kernel_env.untrusted_text import clipped, escape_line

FINISHED = "the agent was done"
CLOSED = "the rollout is closed"
OPTIONS = tuple(each.name for each in fields(EpisodeConfig) if each.name not in ("task", "seed"))
"""The options of an episode that `Rollout.open` takes."""


class Rollout:
    """An episode that is played by calls of tools.

    One call runs at a time, others wait; different rollouts run concurrently. Once it is over, its
    kernel has ended, and it needs no `close` any more.
    """

    def __init__(self, episode: Episode, *, observation_chars: int | None = None) -> None:
        """Play an episode that has begun, and end it on closing.

        Args:
            episode: an episode that runs.
            observation_chars: the most characters of a turn's text; None for no limit.

        Raises `UsageError`.
        """
        check_limit(observation_chars)
        self.episode = episode
        self.observation_chars = observation_chars
        self.prompt = prompt_of(episode, observation_chars)
        """What a policy reads first: task, machine, rules, budget; of a fork also what has been
        done, with what came of it."""
        self._opened: AbstractAsyncContextManager[Episode] | None = None
        self._acting: set[asyncio.Task[Step]] = set()
        self._ending = asyncio.Lock()
        self._failure: Exception | None = None
        self._closed = False

    @classmethod
    async def open(
        cls,
        task: str | Task,
        *,
        seed: int = 0,
        observation_chars: int | None = None,
        pool: Pool | None = None,
        grader: Grader | None = None,
        **options: Any,
    ) -> Self:
        """Begin an episode.

        Args:
            task: a task's name, a task folder, or a `Task`.
            seed: the policy's seed, for the result.
            observation_chars: the most characters of a turn's text, at least 500; None for no
                limit. A longer text begins with error and score, and its middle is left out.
            pool: where to take a sandbox that was started in advance, shared with other rollouts.
            grader: a grading process to share with other rollouts.
            options: further fields of `EpisodeConfig`, such as `budget` and `reward`.

        Raises:
            UsageError, TaskError: an option or the task is wrong; nothing was started.
            SandboxError, KernelError: the sandbox or the kernel did not start.
        """
        check_limit(observation_chars)
        config = await asyncio.to_thread(config_of, task, seed, options)
        return await cls.begin(
            config, observation_chars=observation_chars, pool=pool, grader=grader
        )

    @classmethod
    async def begin(
        cls,
        config: EpisodeConfig,
        *,
        observation_chars: int | None = None,
        pool: Pool | None = None,
        grader: Grader | None = None,
    ) -> Self:
        """Begin an episode from its configuration; see `open`."""
        check_limit(observation_chars)
        opened = open_configured(config, pool=pool, grader=grader)
        rollout = cls(await opened.__aenter__(), observation_chars=observation_chars)
        rollout._opened = opened
        return rollout

    # ── state ─────────────────────────────────────────────────────────────────────────────

    @property
    def id(self) -> str:
        """Return the name of the episode, which no other episode has."""
        return self.episode.setup.header.episode

    @property
    def group(self) -> str:
        """Name the state that it began in: rollouts of one group continue the same one."""
        return self.episode.setup.header.group

    @property
    def over(self) -> str:
        """Return why the rollout is over; empty while it continues."""
        ending = self.episode.steps.ending
        return ending.reason if ending else self.episode.over or ""

    @property
    def reward(self) -> float | None:
        """Return the reward of the whole episode until now, inherited steps included.

        None if the episode ended in a way that says nothing about the policy; see
        `episode.endings`. The reward `final` is paid when the rollout is over or closed.
        """
        ending, earned = self.episode.steps.ending, self.episode.progress.total_reward
        if ending is None:
            return earned
        return earned + ending.reward if endings.counts(ending.status) else None

    @property
    def result(self) -> EpisodeResult | None:
        """Return the result of the episode; None before it has ended."""
        return self.episode.result

    @staticmethod
    def tools() -> list[dict[str, Any]]:
        """Return the tools as OpenAI function schemas."""
        return TOOLS

    # ── what a policy does ────────────────────────────────────────────────────────────────

    async def call(
        self, name: str, arguments: Mapping[str, Any] | str | None = None, *, thought: str = ""
    ) -> Turn:
        """Call a tool: `execute_code`, `validate_code`, …, or `finish`, which ends the episode.

        A call that is wrong, or comes too late, is a turn with an error, and takes no step. If the
        caller cancels, the cell is interrupted and undone, and takes no step either.

        Args:
            name: the tool's name.
            arguments: an object, or its JSON text.
            thought: the policy's reasoning before the call; it is recorded.

        Raises:
            UsageError: the rollout is closed.
            SandboxError, KernelError: the machine failed, now or before.
            TaskError: the task's metric failed.
        """
        self._check()
        if over := self.over:
            await self._end("budget", over)
            return self._mistake(f"the episode is over: {over}")
        match parse_call(name, arguments):
            case Fault(reason=reason):
                async with self._failing():
                    self.episode.note("refused", f"{name}({arguments})", reason=reason)
                return self._mistake(escape_line(reason))
            case Finish(message=message):
                async with self._failing():
                    if message:
                        self.episode.note("last_words", message)
                before = self.episode.progress.total_reward
                await self._end("finished", FINISHED)
                paid = (self.reward or before) - before
                return Turn(text="The episode has ended.", reward=paid, over=self.over)
            case action:
                return await self.act(action, thought=thought)

    async def act(self, action: Action | Mapping[str, Any] | str, *, thought: str = "") -> Turn:
        """Carry out an action that is known to be valid, as `call` does.

        Raises `ActionError`, and otherwise as `call`.
        """
        self._check()
        try:
            step = await self._act(action, thought)
        except EpisodeOver as error:
            await self._end("budget", self.episode.over or str(error))
            return self._mistake(str(error))
        episode = self.episode
        seen = episode.observation
        text = shortened(seen, step, episode.progress, episode.setup.budget, self.observation_chars)
        if over := episode.over:
            await self._end("budget", over)
        return Turn(
            text=text, reward=step.reward, over=self.over, error=seen.error, images=seen.images
        )

    async def fork(
        self, n: int = 1, *, at_step: int | None = None, reseed: bool = False
    ) -> list["Rollout"]:
        """Return rollouts that continue from here, or from after an earlier step, as one `group`.

        Each has its own kernel, workspace and budget, earlier steps included, and must be closed.
        This one can continue.

        Args:
            n: how many.
            at_step: the step after which they begin; None for the latest one.
            reseed: give each its own random states; otherwise all draw the same numbers.

        Raises:
            UsageError: there is no such step, or the rollout is closed or over.
            SandboxError, KernelError: the machine failed; this rollout is not affected.
        """
        self._check()
        children = await self.episode.fork(n, at_step=at_step, reseed=reseed)
        return [Rollout(child, observation_chars=self.observation_chars) for child in children]

    async def close(self) -> None:
        """End the episode, and the call that runs. A second call does nothing."""
        self._closed = True
        for task in self._acting:
            task.cancel()
        over = self.over
        await self._end("budget" if over else "finished", over or CLOSED)

    # ── the episode ───────────────────────────────────────────────────────────────────────

    def _check(self) -> None:
        """Raise if no call is possible, whatever it is."""
        if self._closed:
            raise UsageError(f"{CLOSED}; open a new one")
        if self._failure is not None:
            raise self._failure

    def _mistake(self, reason: str) -> Turn:
        return Turn(text=f"error: {reason}", error=reason, over=self.over)

    async def _act(self, action: Action | Mapping[str, Any] | str, thought: str) -> Step:
        task = asyncio.create_task(self.episode.act(action, thought=thought))
        self._acting.add(task)
        try:
            async with self._failing():
                return await task
        except asyncio.CancelledError:
            if self._closed and task.cancelled():
                raise UsageError(f"{CLOSED}; it was closed during this call") from None
            raise
        finally:
            self._acting.discard(task)

    @asynccontextmanager
    async def _failing(self) -> AsyncIterator[None]:
        """End the episode if machine, task or this package fail in the block."""
        try:
            yield
        except (EpisodeOver, ActionError):
            raise
        except Exception as error:
            self._failure = error
            await self._end(endings.status_of(error), str(error) or type(error).__name__)
            raise

    async def _end(self, status: Status, reason: str) -> None:
        async with self._ending:
            await self.episode.end(status, reason)
            opened, self._opened = self._opened, None
            if opened is not None:
                await opened.__aexit__(None, None, None)


def config_of(task: str | Task, seed: int, options: Mapping[str, Any]) -> EpisodeConfig:
    """Return the configuration of a rollout. Raises `UsageError`, `TaskError`."""
    for name in options:
        if name not in OPTIONS:
            raise UnknownName("option of an episode", name, OPTIONS)
    return EpisodeConfig(task=task, seed=seed, **options)


def prompt_of(episode: Episode, limit: int | None) -> str:
    """Return what a policy reads before its first call; of the history at most `limit`."""
    first, steps = episode.opening.text, episode.steps
    if not steps:
        return first
    done = history(steps)
    left = standing(episode.progress, episode.setup.budget)
    return "\n\n".join((first, done if limit is None else clipped(done, limit), left))
