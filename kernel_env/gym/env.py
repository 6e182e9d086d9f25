"""An episode as a synchronous `gymnasium.Env`: where the async core meets a sync caller.

    env = kernel_env.make("adult-income", budget={"steps": 20})
    observation, info = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(
        {"kind": "execute_code", "code": "1 + 1"}
    )

The event loop runs in a thread of its own, so this works in a notebook too.
"""

import threading
import weakref
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from kernel_env.episode.actions import Action
from kernel_env.episode.budget import Budget
from kernel_env.episode.episode import Episode, open_episode
from kernel_env.episode.observation import Feedback, Observation
from kernel_env.episode.result import EpisodeResult
from kernel_env.errors import UsageError
from kernel_env.grading.reward import Reward
from kernel_env.grading.reward import find as find_reward
from kernel_env.gym.event_loop import EventLoopThread
from kernel_env.gym.spaces import ACTIONS, count, score, text
from kernel_env.tasks import catalog

View = dict[str, Any]


class KernelEnv(gymnasium.Env[View, Any]):
    """One task; every `reset` begins a new episode with a notebook of its own.

    An observation is a dict: `text` says everything; `error`, `restored` (why the kernel had to be
    put back), `state_lost`, `public_score`
    (of this step), `best_public_score`, `position` (0 … 1), `steps_left`, `seconds_left` say it
    to programs. An episode is truncated when its budget is used up; it never terminates by
    itself, because a better submission is always possible. `info` holds the number of steps, and
    pictures and HTML that the cell displayed; `notebook` is the path of the trajectory.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - gymnasium's own declaration

    def __init__(self, task: str, *, warm: int = 0, **options: Any) -> None:
        self.warm = warm
        self.observation_space = spaces.Dict(
            {
                "text": text(),
                "error": text(),
                "restored": text(),
                "state_lost": text(),
                "public_score": score(missing=True),
                "best_public_score": score(missing=True),
                "position": score(missing=False),
                "steps_left": count(),
                "seconds_left": score(missing=False),
            }
        )
        self.action_space = ACTIONS
        self.spec = EnvSpec(
            id=f"kernel_env/{Path(task).name}-v0",
            entry_point="kernel_env.gym.env:make",
            nondeterministic=True,  # an observation tells the time that was used
            kwargs={"task": task, "warm": warm, **options},
        )
        self.task, self.options = task, options
        self.episode: Episode | None = None
        self._portal: EventLoopThread | None = None
        self._opened: AbstractAsyncContextManager[Episode] | None = None

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> tuple[View, dict[str, Any]]:
        """End the episode that is going on and begin a new one. `options` has no meaning here.

        Raises `UsageError`, `TaskError`, `SandboxError`, `KernelError`.
        """
        super().reset(seed=seed)
        self._end()
        if self._portal is None:
            self._live_in(EventLoopThread())
        assert self._portal is not None
        pool = self._portal.pool(self.warm)
        opened = open_episode(
            self.task, seed=seed or 0, pool=pool, grader=self._portal.grader, **self.options
        )
        self.episode = self._portal.call(opened.__aenter__())
        self._opened = opened
        return view(self.episode.observation), self._info()

    def step(
        self, action: Action | Mapping[str, Any] | str
    ) -> tuple[View, float, bool, bool, dict[str, Any]]:
        """Do one thing.

        Raises `ActionError` for what is no action (nothing has happened then), `EpisodeOver`
        after the budget's end, `UsageError` before the first `reset`.
        """
        if self.episode is None or self._portal is None:
            raise UsageError("there is no episode; call env.reset() first")
        step = self._portal.call(self.episode.act(action))
        over = self.episode.over is not None
        return view(self.episode.observation), step.reward, False, over, self._info()

    def fork(
        self, n: int = 1, *, at_step: int | None = None, reseed: bool = False
    ) -> "list[KernelEnv]":
        """Environments that go on from this moment, or from after an earlier step.

        Each has its own kernel, workspace, notebook and budget, and is to be closed; this one may
        go on. See `Episode.fork` for the arguments and for what is raised.
        """
        if self.episode is None or self._portal is None:
            raise UsageError("there is no episode to fork; call env.reset() first")
        children = self._portal.call(self.episode.fork(n, at_step=at_step, reseed=reseed))
        forks = []
        for child in children:
            env = KernelEnv(self.task, warm=self.warm, **self.options)
            env._live_in(self._portal)
            env.episode = env._opened = child
            forks.append(env)
        return forks

    def clone(self) -> "KernelEnv":
        """One fork of this moment, as search code knows it."""
        return self.fork()[0]

    def close(self) -> None:
        """End the episode: the private score is computed and the notebook written."""
        try:
            self._end()
        finally:
            portal, self._portal = self._portal, None
            if portal is not None:
                portal.leave()

    def _live_in(self, portal: EventLoopThread) -> None:
        self._portal = portal.join()
        close_at_exit(self)

    def warm_up(self) -> None:
        """Wait until as many containers wait as should; the first `reset` has them started."""
        if self._portal is not None and (pool := self._portal.pool(self.warm)):
            self._portal.call(pool.filled())

    @property
    def notebook(self) -> Path | None:
        """The trajectory of the latest episode; complete once it has ended."""
        return self.episode.notebook if self.episode else None

    @property
    def record(self) -> EpisodeResult | None:
        """How the latest episode went, the private score included; None before it has ended."""
        return self.episode.record if self.episode else None

    def _end(self) -> None:
        if self._opened is not None and self._portal is not None:
            opened, self._opened = self._opened, None
            self._portal.call(opened.__aexit__(None, None, None))

    def _info(self) -> dict[str, Any]:
        assert self.episode is not None
        seen = self.episode.observation
        return {
            "steps_done": len(self.episode.steps),
            "images": list(seen.images),
            "html": list(seen.html),
            "private_score": seen.private_score,
            "over": self.episode.over or "",
        }


def close_at_exit(env: KernelEnv) -> None:
    """Close an environment that was forgotten, while threads can still be started.

    `atexit` would come too late: by then thread pools take no more work.
    """
    reference = weakref.ref(env)

    def close() -> None:
        if (forgotten := reference()) is not None:
            forgotten.close()

    threading._register_atexit(close)  # type: ignore[attr-defined]  # noqa: SLF001


def view(observation: Observation) -> View:
    """An observation as the dict of `KernelEnv.observation_space`."""
    return {
        "text": observation.text,
        "error": observation.error,
        "restored": observation.restored,
        "state_lost": observation.state_lost,
        "public_score": observation.public_score,
        "best_public_score": observation.best_public_score,
        "position": float(observation.position),
        "steps_left": observation.steps_left,
        "seconds_left": float(observation.seconds_left),
    }


def make(
    task: str,
    *,
    sandbox: str = "auto",
    out: Path | str | None = None,
    budget: Mapping[str, float | None] | None = None,
    reward: str | Reward = "position",
    feedback: Feedback = "public",
    agent: str = "",
    branching: bool = True,
    warm: int = 0,
) -> KernelEnv:
    """An environment for a task. Nothing is started before the first `reset`.

    Args:
        task: a task's name or folder.
        sandbox: `docker`, `local`, a plug-in's name; `auto` takes docker where an engine answers.
        out: where the notebooks go; `runs` in the current folder when None.
        budget: `{"steps": …, "seconds": …, "cell_seconds": …}` and the other limits of `Budget`.
        reward: `position` (share of the leaderboard beaten, 0 … 1), `raw`, `improvement`,
            `human_rank` (MLE-Dojo's, on boards of human teams), or a
            function `(grade, best_before, higher_is_better) -> float`.
        feedback: `public`; with `both` the private score is in `info`.
        agent: who plays, for the record.
        branching: let forks and trials have files of their own; see `open_episode`.
        warm: how many containers are started ahead, so that `reset` finds one that waits.

    Raises `UsageError` and `TaskError` for what is wrong with these.
    """
    Budget.of(catalog.find(task)).changed(budget or {})
    find_reward(reward)
    return KernelEnv(
        task,
        sandbox=sandbox,
        out=out or "runs",
        budget=budget or {},
        reward=reward,
        feedback=feedback,
        agent=agent,
        branching=branching,
        warm=warm,
    )
