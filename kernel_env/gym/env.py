"""Offer an episode as a synchronous `gymnasium.Env`.

    env = kernel_env.make("adult-income", budget={"steps": 20})
    observation, info = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(
        {"kind": "execute_code", "code": "1 + 1"}
    )

The event loop runs in a thread, so this works in a notebook too.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from kernel_env.episode import Episode, EpisodeConfig, open_configured
from kernel_env.episode.actions import Action
from kernel_env.episode.config import AUTO
from kernel_env.episode.feedback import FeedbackProvider
from kernel_env.episode.result import EpisodeResult
from kernel_env.errors import EpisodeOver, UsageError
from kernel_env.grading.protocol import Counts, Feedback
from kernel_env.grading.reward import Reward
from kernel_env.gym.conversion import ObservationDict, as_dict, info_of
from kernel_env.gym.registration import ENTRY_POINT, VECTOR_ENTRY_POINT, env_id
from kernel_env.gym.spaces import ACTIONS, observations
from kernel_env.gym.vector import KernelVectorEnv, group
from kernel_env.rollouts.event_loop import EventLoopThread, close_at_exit
from kernel_env.rollouts.rollout import Rollout


class KernelEnv(gymnasium.Env[ObservationDict, Any]):
    """A task as an environment; every `reset` starts a new episode with its own notebook.

    An observation is a dict: `text` contains everything; `error`, `restored` (why the kernel had
    to be restored), `state_lost`, `public_score` (of this step), `best_public_score`, `position`
    (0 to 1), `steps_left` and `seconds_left` are for programs. An episode is truncated when its
    budget is used up; it never terminates by itself, because a better submission is always
    possible. `info` has the number of steps, and images and HTML that the cell displayed, the
    episode's name, and its `group`: the state that it began in; after the last step also the
    private score and the result.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - gymnasium's own declaration

    def __init__(self, task: str, *, warm: int = 0, **options: Any) -> None:
        """Check the options; nothing is started before the first `reset`.

        Args:
            task: a task's name or folder.
            warm: number of sandboxes that are started in advance.
            options: fields of `EpisodeConfig`.

        Raises `UsageError`, `TaskError`.
        """
        self.config = EpisodeConfig(task=task, **options)
        self.warm = warm
        self.observation_space = observations()
        self.action_space = ACTIONS
        self.spec = EnvSpec(
            id=env_id(Path(task).name),
            entry_point=ENTRY_POINT,
            vector_entry_point=VECTOR_ENTRY_POINT,
            nondeterministic=True,  # observations contain the time that was used
            kwargs={"task": task, "warm": warm, **options},
        )
        self.task, self.options = task, options
        self.episode: Episode | None = None
        self._loop_thread: EventLoopThread | None = None
        self._opened: AbstractAsyncContextManager[Episode] | None = None

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> tuple[ObservationDict, dict[str, Any]]:
        """End the current episode and start a new one. `options` is ignored.

        Raises `UsageError`, `TaskError`, `SandboxError`, `KernelError`.
        """
        super().reset(seed=seed)
        self._end()
        if self._loop_thread is None:
            self._use(EventLoopThread())
        assert self._loop_thread is not None
        pool = self._loop_thread.pool(self.warm)
        config = self.config if seed is None else replace(self.config, seed=seed)
        opened = open_configured(config, pool=pool, grader=self._loop_thread.grader)
        self.episode = self._loop_thread.call(opened.__aenter__())
        self._opened = opened
        return as_dict(self.episode.observation), self._info()

    def step(
        self, action: Action | Mapping[str, Any] | str
    ) -> tuple[ObservationDict, float, bool, bool, dict[str, Any]]:
        """Carry out an action. With the last one of the budget the episode ends.

        `info` then has the private score and the `result`.

        Raises `ActionError` for an invalid action (nothing has happened then), `EpisodeOver`
        after the budget was used up, `UsageError` before the first `reset`.
        """
        if self.episode is None or self._loop_thread is None:
            raise UsageError("there is no episode; call env.reset() first")
        try:
            step = self._loop_thread.call(self.episode.act(action))
        except EpisodeOver:  # the time ran out since the last step
            self._end()
            raise
        observation, over = as_dict(self.episode.observation), self.episode.over is not None
        if over:
            self._end()
        return observation, step.reward, False, over, self._info()

    def fork(
        self, n: int = 1, *, at_step: int | None = None, reseed: bool = False
    ) -> "list[KernelEnv]":
        """Return environments that continue from here, or from after an earlier step.

        Each has its own kernel, workspace, notebook and budget, and must be closed; this one can
        continue. See `Episode.fork` for arguments and errors.
        """
        if self.episode is None or self._loop_thread is None:
            raise UsageError("there is no episode to fork; call env.reset() first")
        # Creating an environment can fail. After the fork, the children would never be ended.
        forks = [KernelEnv(self.task, warm=self.warm, **self.options) for _ in range(n)]
        children = self._loop_thread.call(self.episode.fork(n, at_step=at_step, reseed=reseed))
        for env, child in zip(forks, children, strict=True):
            env._continue(child, self._loop_thread)  # noqa: SLF001
        return forks

    def group(self, n: int, *, at_step: int | None = None) -> KernelVectorEnv:
        """Return a vector environment of `n` branches that continue from here.

        Each reset of it branches again from the same state, with random states of its own, as long
        as this episode runs. `infos["group"]` is the same for all. It must be closed; this
        environment can continue.

        Args:
            n: number of branches.
            at_step: the step after which they begin; None for the latest one.

        Raises `UsageError`; its `reset` raises as `fork` does.
        """
        if self.episode is None or self._loop_thread is None:
            raise UsageError("there is no episode to branch from; call env.reset() first")
        return group(Rollout(self.episode), n, at_step=at_step, thread=self._loop_thread)

    def clone(self) -> "KernelEnv":
        """Return one fork, as search algorithms expect."""
        return self.fork()[0]

    def close(self) -> None:
        """End the episode: compute the private score and write the notebook."""
        try:
            self._end()
        finally:
            loop_thread, self._loop_thread = self._loop_thread, None
            if loop_thread is not None:
                loop_thread.leave()

    def _continue(self, episode: Episode, loop_thread: EventLoopThread) -> None:
        self._use(loop_thread)
        self.episode = self._opened = episode

    def _use(self, loop_thread: EventLoopThread) -> None:
        self._loop_thread = loop_thread.join()
        close_at_exit(self)

    def warm_up(self) -> None:
        """Wait until all sandboxes that `warm` asks for are started."""
        if self._loop_thread is not None and (pool := self._loop_thread.pool(self.warm)):
            self._loop_thread.call(pool.filled())

    @property
    def notebook(self) -> Path | None:
        """Return the notebook of the latest episode; complete once it has ended."""
        return self.episode.notebook if self.episode else None

    @property
    def result(self) -> EpisodeResult | None:
        """Return the result of the latest episode; None before it has ended."""
        return self.episode.result if self.episode else None

    @property
    def record(self) -> EpisodeResult | None:
        """Return `result`, by its name of version 0.1."""
        return self.result

    def _end(self) -> None:
        if self._opened is not None and self._loop_thread is not None:
            opened, self._opened = self._opened, None
            self._loop_thread.call(opened.__aexit__(None, None, None))

    def _info(self) -> dict[str, Any]:
        assert self.episode is not None
        return info_of(self.episode)


def make(
    task: str,
    *,
    sandbox: str = AUTO,
    image: str = "",
    out: Path | str | None = None,
    budget: Mapping[str, float | None] | None = None,
    reward: str | Reward = "progress",
    feedback: Feedback | None = None,
    counts: Counts | None = None,
    feedback_provider: str | FeedbackProvider = "",
    feedback_settings: Mapping[str, Any] | None = None,
    agent: str = "",
    branching: bool = True,
    warm: int = 0,
    gpus: int | None = None,
    gpu_device: str | int = "",
    devices: Mapping[str, str] | None = None,
) -> KernelEnv:
    """Create an environment for a task. Nothing is started before the first `reset`.

    Args:
        task: a task's name or folder.
        sandbox: `docker`, `local`, a plug-in's name; `auto` selects docker if an engine answers.
        image: the sandbox's image; empty for the task's.
        out: folder of the runs; None for `runs` in the current folder.
        budget: `{"steps": …, "seconds": …, "cell_seconds": …}` and the other limits of `Budget`.
        reward: `position` (share of the leaderboard beaten, 0 … 1), `progress` (the gain in it),
            `final` (the share of the private one, with the last step of the budget), `raw`,
            `improvement`, `human_rank` (MLE-Dojo's, on leaderboards of human teams), or a function
            `(grade, best_before, higher_is_better) -> float`.
        feedback: which scores the observations show: `public`, `both` (the private score is in
            `info`), `ladder`, `validity`; the task's by default.
        counts: which submission counts, the `best` or the `last`; the task's by default.
        feedback_provider: who comments on the steps: `static`, `human`, `llm`, a plug-in's name, or
            an object; empty for nobody.
        feedback_settings: the settings of the one that is named.
        agent: the agent's name, for the result.
        branching: whether forks and trials can have files of their own; see `EpisodeConfig`.
        warm: number of sandboxes that are started in advance, so that `reset` is fast.
        gpus: number of GPUs; None for the task's. `reset` waits until so many are free.
        gpu_device: which GPUs: index or UUID, several separated by commas; empty for any.
        devices: further devices, path inside → path on this machine.

    Raises `UsageError`, `TaskError` if an option or the task is wrong.
    """
    return KernelEnv(
        task,
        sandbox=sandbox,
        image=image,
        out=out or "runs",
        budget=budget or {},
        reward=reward,
        feedback=feedback,
        counts=counts,
        feedback_provider=feedback_provider,
        feedback_settings=feedback_settings or {},
        agent=agent,
        branching=branching,
        warm=warm,
        gpus=gpus,
        gpu_device=gpu_device,
        devices=devices or {},
    )
