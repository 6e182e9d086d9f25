"""Begin rollouts for the rows of a data set: new episodes, or branches of one live state.

    states = LiveStates(budget={"steps": 20}, reward="final")
    first = states.begin("adult-income", state="loaded", cells=["import pandas as pd …"])
    second = states.begin("adult-income", state="loaded", cells=["import pandas as pd …"])

The cells of a state are run once, in an episode that nobody else uses. All rollouts that name it
are branches of that live state, so they are one `group`, and the cells cost nothing again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kernel_env.episode.budget import Budget
from kernel_env.episode.observation import recorded_opening
from kernel_env.errors import UsageError
from kernel_env.rollouts.event_loop import EventLoopThread, close_at_exit
from kernel_env.rollouts.rollout import Rollout, config_of
from kernel_env.rollouts.synchronous import SyncRollout, closed
from kernel_env.rollouts.turn import check_limit


@dataclass(frozen=True, kw_only=True)
class State:
    """A live state: what names it, what leads to it, and the episode that is in it."""

    cells: tuple[str, ...]
    parent: asyncio.Task[Rollout]
    branches: list[asyncio.Task[Rollout]] = field(default_factory=list)
    """Those that have begun, or are about to."""


class LiveStates:
    """Begins rollouts. The states that were used last are kept alive.

    Rollouts outlive the state that they are branches of. Methods are called from one thread.
    """

    def __init__(
        self,
        *,
        keep: int = 8,
        warm: int = 0,
        observation_chars: int | None = None,
        **options: Any,
    ) -> None:
        """Start nothing.

        Args:
            keep: how many states are kept alive, each in a sandbox with its branches.
            warm: number of sandboxes that are started in advance.
            observation_chars: the most characters of a turn's text; see `Rollout.open`.
            options: fields of `EpisodeConfig` for all rollouts.

        Raises `UsageError`.
        """
        check_limit(observation_chars)
        if keep < 1:
            raise UsageError(f"keep is {keep}; at least 1 state must be kept alive")
        self._keep, self._warm, self._options = keep, warm, options
        self._observation_chars = observation_chars
        self._states: OrderedDict[tuple[str, str], State] = OrderedDict()
        self._openings: dict[str, str] = {}
        self._thread: EventLoopThread | None = None

    def begin(
        self, task: str, *, state: str = "", cells: Sequence[str] = (), seed: int = 0
    ) -> SyncRollout:
        """Begin a rollout in the background.

        Args:
            task: a task's name or folder.
            state: names the state that it continues; empty for a new episode.
            cells: the code that leads to this state.
            seed: the policy's seed, for the result.

        Raises `UsageError`, `TaskError`. What goes wrong later, the first use of it raises: a
        failure of the machine, and `UsageError` if a cell of the state fails.
        """
        config = config_of(task, seed, self._options)
        thread = self._thread or self._join()
        if not state:
            if cells:
                raise UsageError("cells were given without the name of the state they lead to")
            return SyncRollout.of(
                config, thread, warm=self._warm, observation_chars=self._observation_chars
            )
        found = self._states.get((task, state))
        if found is not None and found.cells != tuple(cells):
            raise UsageError(f"the state {state!r} of {task} was given with other cells before")
        if found is None or has_failed(found.parent):
            parent = Rollout.begin(
                config,
                observation_chars=self._observation_chars,
                pool=thread.pool(self._warm),
                grader=thread.grader,
            )
            found = State(cells=tuple(cells), parent=thread.begin(after(parent, cells, state)))
            self._states[task, state] = found
        self._states.move_to_end((task, state))
        found.branches.append(thread.begin(branch_of(found.parent)))
        while len(self._states) > self._keep:
            _, oldest = self._states.popitem(last=False)
            thread.begin(end(oldest))
        return SyncRollout(thread.join(), found.branches[-1])

    def opening(self, task: str) -> str:
        """Return what a policy reads first, of a rollout that need not have begun."""
        if task not in self._openings:
            config = config_of(task, 0, self._options)
            budget = Budget.of(config.load_task()).changed(config.budget)
            description = config.load_task().description
            self._openings[task] = recorded_opening(description, budget, config.protocol)
        return self._openings[task]

    def close(self) -> None:
        """End the states; rollouts that have begun continue. A second call does nothing."""
        thread, self._thread = self._thread, None
        if thread is not None:
            states = list(self._states.values())
            self._states.clear()
            try:
                thread.call(end_all(states))
            finally:
                thread.leave()

    def _join(self) -> EventLoopThread:
        self._thread = EventLoopThread.shared()
        close_at_exit(self)
        return self._thread


def has_failed(task: asyncio.Task[Rollout]) -> bool:
    """Return whether a state could not be reached."""
    return task.done() and (task.cancelled() or task.exception() is not None)


async def after(beginning: Any, cells: Sequence[str], state: str) -> Rollout:
    """Return a rollout after it has run the cells that lead to a state."""
    rollout: Rollout = await beginning
    try:
        for number, code in enumerate(cells, 1):
            turn = await rollout.call("execute_code", {"code": code})
            if turn.error:
                raise UsageError(f"cell {number} of the state {state!r} fails: {turn.error}")
    except BaseException:
        await rollout.close()
        raise
    return rollout


async def branch_of(parent: asyncio.Task[Rollout]) -> Rollout:
    """Return a branch of a state, with random states of its own, once the state is reached."""
    (branch,) = await (await asyncio.shield(parent)).fork(reseed=True)
    return branch


async def end(state: State) -> None:
    """End the episode of a state, once its branches have begun."""
    await asyncio.gather(*state.branches, return_exceptions=True)
    await closed(state.parent)


async def end_all(states: Sequence[State]) -> None:
    """End the episodes of states at the same time."""
    await asyncio.gather(*map(end, states))
