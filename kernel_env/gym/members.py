"""A member of a vector environment: a rollout that fails alone and stays as it ended."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from kernel_env.episode.actions import Action
from kernel_env.episode.config import EpisodeConfig
from kernel_env.episode.episode import Episode
from kernel_env.episode.observation import Observation
from kernel_env.episode.tools import FINISH
from kernel_env.errors import ActionError, KernelEnvError
from kernel_env.gym.conversion import ObservationDict, as_dict, info_of
from kernel_env.rollouts.event_loop import EventLoopThread
from kernel_env.rollouts.rollout import Rollout
from kernel_env.rollouts.turn import Turn

STARTS_AT_ONCE = max(2, os.cpu_count() or 1)
"""How many sandboxes start at the same time; each keeps a core busy for a second or two."""
Opened = Rollout | BaseException


class Member:
    """One of the episodes of a vector environment."""

    def __init__(self) -> None:
        self.rollout: Rollout | None = None
        self.observation: ObservationDict = as_dict(Observation(text=""))
        self.terminated = self.truncated = False
        self.failure = ""
        """Why its machine failed; empty if it did not."""
        self.step_seconds = 0.0
        """How long its latest step took."""

    def begin(self, opened: Opened) -> None:
        """Continue with a new rollout, or with the reason why there is none."""
        self.__init__()  # type: ignore[misc]
        if isinstance(opened, Rollout):
            self.rollout = opened
            self.observation = {**as_dict(opened.episode.observation), "text": opened.prompt}
        else:
            self.fail(opened)

    def fail(self, error: BaseException) -> None:
        """End as failed."""
        self.failure, self.truncated = f"{type(error).__name__}: {error}", True
        self.observation = {**self.observation, "error": self.failure}

    async def step(self, action: "Action | Mapping[str, Any] | str | None") -> float:
        """Carry out an action, if the episode is not over, and return the reward."""
        if action is None or self.terminated or self.truncated or self.rollout is None:
            return 0.0
        steps = self.rollout.episode.steps
        before, began = len(steps), time.perf_counter()
        try:
            turn = await take(self.rollout, action)
        except KernelEnvError as error:
            self.fail(error)
            return 0.0
        self.step_seconds = time.perf_counter() - began
        if len(steps) > before:
            self.observation = as_dict(self.rollout.episode.observation)
        self.observation = {**self.observation, "text": turn.text, "error": turn.error}
        if ending := steps.ending:
            self.terminated = ending.status == "finished"
            self.truncated = not self.terminated
        return turn.reward

    async def close(self) -> None:
        """End the episode."""
        if self.rollout is not None:
            await self.rollout.close()

    def info(self) -> dict[str, Any]:
        """Return what is known of the episode."""
        if self.rollout is None:
            return {"failure": self.failure, "reward": None}
        known = info_of(self.rollout.episode)
        return {
            **known,
            "failure": self.failure,
            "reward": self.rollout.reward,
            "step_seconds": self.step_seconds,
        }


async def take(rollout: Rollout, action: "Action | Mapping[str, Any] | str") -> Turn:
    """Carry out an action or `finish`; one that is invalid is a turn with an error."""
    if isinstance(action, Mapping) and action.get("kind") == FINISH:
        return await rollout.call(FINISH, {k: v for k, v in action.items() if k != "kind"})
    try:
        return await rollout.act(action)
    except ActionError as error:
        return Turn(text=f"error: {error}", error=str(error), over=rollout.over)


# ── where rollouts come from ──────────────────────────────────────────────────────────────


class Source(Protocol):
    """Begins rollouts of members."""

    async def open(self, seeds: Mapping[int, int | None], thread: EventLoopThread) -> list[Opened]:
        """Return a rollout, or why there is none, for each member, given its seed."""


@dataclass(frozen=True, kw_only=True)
class NewEpisodes:
    """Begins episodes of tasks, which the members take in turn."""

    configs: Sequence[EpisodeConfig]
    warm: int
    observation_chars: int | None

    async def open(self, seeds: Mapping[int, int | None], thread: EventLoopThread) -> list[Opened]:
        """Begin an episode for each member."""
        slots = asyncio.Semaphore(STARTS_AT_ONCE)
        pool = thread.pool(self.warm)

        async def begin(member: int, seed: int | None) -> Rollout:
            config = self.configs[member % len(self.configs)]
            config = replace(config, seed=config.seed + member if seed is None else seed)
            async with slots:
                return await Rollout.begin(
                    config,
                    observation_chars=self.observation_chars,
                    pool=pool,
                    grader=thread.grader,
                )

        return await asyncio.gather(
            *(begin(member, seed) for member, seed in seeds.items()), return_exceptions=True
        )


@dataclass(frozen=True, kw_only=True)
class Branches:
    """Forks an episode after one of its steps, each time anew."""

    episode: Episode
    step: int
    observation_chars: int | None = None

    async def open(
        self,
        seeds: Mapping[int, int | None],
        thread: EventLoopThread,  # noqa: ARG002
    ) -> list[Opened]:
        """Fork the episode for each member; each has random states of its own."""
        children = await self.episode.fork(len(seeds), at_step=self.step, reseed=True)
        return [Rollout(child, observation_chars=self.observation_chars) for child in children]
