"""Offer many rollouts as a synchronous `gymnasium.vector.VectorEnv`, in one process.

    envs = kernel_env.vector("adult-income", 8, budget={"steps": 20})
    observations, infos = envs.reset(seed=0)
    actions = [{"kind": "execute_code", "code": "1 + 1"}] * 8
    observations, rewards, terminations, truncations, infos = envs.step(actions)

The cells of a step run at the same time, each member's in a kernel of its own. Nothing is reset by
itself: a member whose episode is over stays so until `reset` names it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from kernel_env.episode.actions import Action
from kernel_env.errors import KernelEnvError, KernelError, SandboxError, UsageError
from kernel_env.gym.members import Branches, Member, NewEpisodes, Source
from kernel_env.gym.spaces import ACTIONS, observations
from kernel_env.rollouts.event_loop import EventLoopThread, close_at_exit
from kernel_env.rollouts.rollout import Rollout, config_of
from kernel_env.rollouts.turn import check_limit
from kernel_env.tasks import Task

Batch = dict[str, Any]


class KernelVectorEnv(VectorEnv[Batch, Any, Any]):
    """Several episodes as one environment, with the observations and actions of `KernelEnv`.

    An observation is batched: each field is a tuple with a value for each member. Actions are a
    sequence with one for each member; with None a member takes no step. There is one action more
    than in `KernelEnv`: `{"kind": "finish"}` terminates a member's episode; the end of its budget
    truncates it. A member whose episode is over stays as it is, with a reward of 0, until `reset`
    selects it with `options={"reset_mask": …}`.

    A member fails alone. If its action is invalid it takes no step, and `error` says why. If its
    machine fails its episode is truncated, `infos["failure"]` says why, and `infos["reward"]`, the
    reward of the whole episode, is None: leave it out of what is learned. `infos["group"]` names
    the state that an episode began in, `infos["step_seconds"]` is how long a member's latest step
    took; the others are those of `KernelEnv`.
    """

    metadata = {  # noqa: RUF012 - gymnasium's own declaration
        "render_modes": [],
        "autoreset_mode": AutoresetMode.DISABLED,
    }

    def __init__(
        self, source: Source, num_envs: int, *, thread: EventLoopThread | None = None
    ) -> None:
        """Start nothing; see `vector`.

        Args:
            source: begins the rollouts of members.
            num_envs: number of members.
            thread: where they run; None for one of its own.

        Raises `UsageError`.
        """
        if num_envs < 1:
            raise UsageError(f"num_envs is {num_envs}; it must be at least 1")
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = observations(), ACTIONS
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._source = source
        self._members = [Member() for _ in range(num_envs)]
        self._began = False
        self._loop_thread = thread.join() if thread else None
        close_at_exit(self)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Batch, dict[str, Any]]:
        """End the episodes of members, and begin new ones.

        Args:
            seed: the seeds of the members' episodes, or that of the first, or None.
            options: `reset_mask`, a boolean for each member: which are reset; the others stay.

        Raises:
            UsageError, TaskError: an option is wrong, or the task.
            SandboxError, KernelError: no member began. If others do, one that does not has failed.
        """
        if self.closed:
            raise UsageError("the vector environment is closed; make a new one")
        super().reset(seed=seed if isinstance(seed, int) else None)
        mask = self._mask(options)
        seeds = seed if isinstance(seed, Sequence) else self._seeds(seed)
        if len(seeds) != self.num_envs:
            raise UsageError(f"{len(seeds)} seeds were given for {self.num_envs} members")
        if self._loop_thread is None:
            self._loop_thread = EventLoopThread().join()
        self._loop_thread.call(
            self._reset({number: seeds[number] for number in np.flatnonzero(mask).tolist()})
        )
        self._began = True
        return self._observations(), self._infos()

    def step(
        self, actions: Sequence[Action | Mapping[str, Any] | str | None]
    ) -> tuple[Batch, Any, Any, Any, dict[str, Any]]:
        """Let all members take a step at the same time, and wait for all.

        Raises `UsageError` for a wrong number of actions, and before the first `reset`.
        """
        if self._loop_thread is None or not self._began:
            raise UsageError("there is no episode; call reset() first")
        if len(actions) != self.num_envs:
            raise UsageError(f"{len(actions)} actions were given for {self.num_envs} members")
        rewards = self._loop_thread.call(self._step(actions))
        return (
            self._observations(),
            np.array(rewards, dtype=np.float64),
            np.array([each.terminated for each in self._members]),
            np.array([each.truncated for each in self._members]),
            self._infos(),
        )

    def group(self, member: int, n: int, *, at_step: int | None = None) -> "KernelVectorEnv":
        """Return an environment of `n` branches of a member's live state; see `KernelEnv.group`."""
        rollout = self._members[member].rollout
        if rollout is None or self._loop_thread is None:
            raise UsageError(f"member {member} has no episode to branch from")
        return group(rollout, n, at_step=at_step, thread=self._loop_thread)

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002
        """End all episodes: compute private scores and write notebooks."""
        thread, self._loop_thread = self._loop_thread, None
        if thread is not None:
            try:
                thread.call(self._close(range(self.num_envs)))
            finally:
                thread.leave()

    # ── members ───────────────────────────────────────────────────────────────────────────

    def _mask(self, options: Mapping[str, Any] | None) -> Any:
        given = (options or {}).get("reset_mask")
        if given is None:
            return np.ones(self.num_envs, dtype=bool)
        mask = np.asarray(given)
        if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
            raise UsageError(
                f"reset_mask has type {mask.dtype} and shape {mask.shape}; it must be"
                f" {self.num_envs} booleans, at least one of them true"
            )
        return mask

    def _seeds(self, seed: int | None) -> list[int | None]:
        return [None if seed is None else seed + member for member in range(self.num_envs)]

    async def _reset(self, seeds: Mapping[int, int | None]) -> None:
        assert self._loop_thread is not None
        await self._close(seeds)
        opened = await self._source.open(seeds, self._loop_thread)
        for number, each in zip(seeds, opened, strict=True):
            self._members[number].begin(each)
        errors = [each for each in opened if isinstance(each, BaseException)]
        for error in errors:
            if not isinstance(error, SandboxError | KernelError) or len(errors) == len(opened):
                raise error

    async def _step(self, actions: Sequence[Any]) -> list[float]:
        steps = (member.step(action) for member, action in zip(self._members, actions, strict=True))
        taken = await asyncio.gather(*steps, return_exceptions=True)
        for each in taken:
            if isinstance(each, BaseException):
                raise each
        return [each for each in taken if isinstance(each, float)]

    async def _close(self, members: Any) -> None:
        ends = (self._members[number].close() for number in members)
        for end in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(end, BaseException) and not isinstance(end, KernelEnvError):
                raise end

    def _observations(self) -> Batch:
        return {
            name: tuple(member.observation[name] for member in self._members)
            for name in self._members[0].observation
        }

    def _infos(self) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        for number, member in enumerate(self._members):
            for name, value in member.info().items():
                if name not in infos:
                    infos[name] = np.full(self.num_envs, None, dtype=object)
                    infos[f"_{name}"] = np.zeros(self.num_envs, dtype=bool)
                infos[name][number], infos[f"_{name}"][number] = value, True
        return infos


def group(
    rollout: Rollout, n: int, *, at_step: int | None, thread: EventLoopThread
) -> KernelVectorEnv:
    """Return an environment of `n` branches of a rollout; each reset branches anew."""
    steps = len(rollout.episode.steps)
    step = steps if at_step is None else at_step
    if not 0 <= step <= steps:
        raise UsageError(f"branches at step {step} were requested; there are {steps} steps")
    branches = Branches(
        episode=rollout.episode, step=step, observation_chars=rollout.observation_chars
    )
    return KernelVectorEnv(branches, n, thread=thread)


def vector(
    task: str | Task | Sequence[str | Task],
    num_envs: int = 1,
    *,
    warm: int = 0,
    observation_chars: int | None = None,
    **options: Any,
) -> KernelVectorEnv:
    """Create an environment of several episodes at once. Nothing is started before `reset`.

    Args:
        task: a task's name or folder, or several, which the members take in turn.
        num_envs: number of members.
        warm: number of sandboxes that are started in advance.
        observation_chars: the most characters of an observation's text; see `Rollout.open`.
        options: fields of `EpisodeConfig`, such as `budget` and `reward`.

    Raises `UsageError`, `TaskError` if an option or the task is wrong.
    """
    check_limit(observation_chars)
    tasks = [task] if isinstance(task, str | Task) else list(task)
    if not tasks:
        raise UsageError("no task was given; a vector environment needs at least one")
    seed = options.pop("seed", 0)
    source = NewEpisodes(
        configs=[config_of(each, seed, options) for each in tasks],
        warm=warm,
        observation_chars=observation_chars,
    )
    return KernelVectorEnv(source, num_envs)
