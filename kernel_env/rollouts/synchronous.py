"""A rollout for synchronous callers, of any thread: frameworks that call from a thread pool.

rollout = SyncRollout.open("adult-income", budget={"steps": 20})   # begins in the background
turn = rollout.call("execute_code", {"code": "1 + 1"})             # waits until it has begun
rollout.close()
"""

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from kernel_env.episode.config import EpisodeConfig
from kernel_env.episode.result import EpisodeResult
from kernel_env.errors import KernelEnvError, KernelError, SandboxError, UsageError
from kernel_env.rollouts.event_loop import EventLoopThread, close_at_exit
from kernel_env.rollouts.rollout import CLOSED, Rollout, config_of
from kernel_env.rollouts.turn import Turn, check_limit
from kernel_env.tasks import Task


class SyncRollout:
    """A `Rollout` whose methods wait.

    It begins in the background: several that are opened one after the other start at the same
    time. The first use waits for it, and raises what went wrong.
    """

    def __init__(self, thread: EventLoopThread, opening: asyncio.Task[Rollout]) -> None:
        """Use a rollout that begins in a thread; the thread is left on closing."""
        self._thread: EventLoopThread | None = thread
        self._opening = opening
        self._closing = threading.Lock()
        close_at_exit(self)

    @classmethod
    def open(
        cls,
        task: str | Task,
        *,
        seed: int = 0,
        observation_chars: int | None = None,
        warm: int = 0,
        thread: EventLoopThread | None = None,
        **options: Any,
    ) -> Self:
        """Begin an episode in the background; see `Rollout.open`.

        Args:
            task: a task's name, a task folder, or a `Task`.
            seed: the policy's seed, for the result.
            observation_chars: the most characters of a turn's text; None for no limit.
            warm: number of sandboxes that are started in advance, for all rollouts of the thread.
            thread: where it runs; None for the thread that this process shares.
            options: further fields of `EpisodeConfig`.

        Raises `UsageError`, `TaskError` if an option or the task is wrong.
        """
        config = config_of(task, seed, options)
        joined = thread.join() if thread else EventLoopThread.shared()
        try:
            return cls.of(config, joined, warm=warm, observation_chars=observation_chars)
        finally:
            joined.leave()

    @classmethod
    def of(
        cls,
        config: EpisodeConfig,
        thread: EventLoopThread,
        *,
        warm: int = 0,
        observation_chars: int | None = None,
    ) -> Self:
        """Begin an episode from its configuration; see `open`. Raises `UsageError`."""
        check_limit(observation_chars)
        beginning = Rollout.begin(
            config,
            observation_chars=observation_chars,
            pool=thread.pool(warm),
            grader=thread.grader,
        )
        return cls(thread.join(), thread.begin(beginning))

    # ── state ─────────────────────────────────────────────────────────────────────────────

    @property
    def rollout(self) -> Rollout:
        """Return the asynchronous rollout, once it has begun.

        Raises:
            UsageError: it was closed before it had begun.
            SandboxError, KernelError: the machine failed.
        """
        if self._thread is not None:
            return self._thread.call(self.begun())
        if self._opening.cancelled():
            raise UsageError(f"{CLOSED}; it was closed before it had begun")
        return self._opening.result()

    async def begun(self) -> Rollout:
        """Return it once it has begun, in the loop of its thread; see `rollout`."""
        return await asyncio.shield(self._opening)  # who cancels does not cancel the rollout

    @property
    def id(self) -> str:
        """Return the name of the episode; see `Rollout`, as for what follows."""
        return self.rollout.id

    @property
    def group(self) -> str:
        """Name the state that it began in."""
        return self.rollout.group

    @property
    def prompt(self) -> str:
        """Return what a policy reads first."""
        return self.rollout.prompt

    @property
    def over(self) -> str:
        """Return why the rollout is over; empty while it continues."""
        return self.rollout.over

    @property
    def reward(self) -> float | None:
        """Return the reward until now; None if the machine failed, at the start too."""
        try:
            return self.rollout.reward
        except (SandboxError, KernelError):
            return None

    @property
    def result(self) -> EpisodeResult | None:
        """Return the result of the episode; None before it has ended."""
        return self.rollout.result

    @staticmethod
    def tools() -> list[dict[str, Any]]:
        """Return the tools as OpenAI function schemas."""
        return Rollout.tools()

    # ── what a policy does ────────────────────────────────────────────────────────────────

    def call(
        self, name: str, arguments: Mapping[str, Any] | str | None = None, *, thought: str = ""
    ) -> Turn:
        """Call a tool and wait; see `Rollout.call` for arguments and errors."""
        rollout = self.rollout
        return self._joined().call(rollout.call(name, arguments, thought=thought))

    def fork(
        self, n: int = 1, *, at_step: int | None = None, reseed: bool = False
    ) -> list["SyncRollout"]:
        """Return rollouts that continue from here; see `Rollout.fork`."""
        rollout, thread = self.rollout, self._joined()
        children = thread.call(rollout.fork(n, at_step=at_step, reseed=reseed))
        return [SyncRollout(thread.join(), thread.begin(itself(child))) for child in children]

    def close(self) -> None:
        """End the episode, also while it begins. A second call does nothing."""
        with self._closing:
            thread, self._thread = self._thread, None
        if thread is not None:
            try:
                thread.call(closed(self._opening))
            finally:
                thread.leave()

    def _joined(self) -> EventLoopThread:
        if (thread := self._thread) is None:
            raise UsageError(f"{CLOSED}; open a new one")
        return thread

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


async def itself(rollout: Rollout) -> Rollout:
    """Return a rollout that has begun."""
    return rollout


async def closed(opening: asyncio.Task[Rollout]) -> None:
    """Close a rollout, whether it has begun or not."""
    opening.cancel()
    with suppress(asyncio.CancelledError, KernelEnvError):
        rollout = await opening
        await rollout.close()
