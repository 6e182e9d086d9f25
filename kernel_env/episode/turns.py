"""Let the agent and people act one after another, and measure the agent's time.

People can act in an agent's episode. The agent's clock stands still while the agent waits for a
person's action to end, or for its turn at a model's service; while it thinks, the clock runs,
whatever a person does.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from kernel_env.episode.step import Actor
from kernel_env.errors import EpisodeOver


class Turns:
    """The order of actions in an episode, and the agent's clock."""

    def __init__(self) -> None:
        self.ended = False
        """Whether the episode has ended or is ending."""
        self.actor: Actor | None = None
        """Who acts now."""
        self._acting = asyncio.Lock()
        self._began = time.monotonic()
        self._stopped: float | None = None
        """When the clock was stopped; None while it runs."""
        self._waiting = 0
        """The number of the agent's actions that wait."""
        self._queued = 0
        """The number of blocks of `queued` that are open."""
        self._queued_since = 0.0
        self._queued_before = 0.0
        """Seconds of the blocks of `queued` that have ended."""
        self._person: asyncio.Task[object] | None = None
        """The task in which a person's action runs."""

    @property
    def seconds(self) -> float:
        """Return the seconds that the agent has used."""
        now = time.monotonic() if self._stopped is None else self._stopped
        return round(now - self._began, 3)

    @property
    def queued_seconds(self) -> float:
        """Return the seconds in blocks of `queued`."""
        now = time.monotonic() - self._queued_since if self._queued else 0.0
        return round(self._queued_before + now, 3)

    def start_clock(self, seconds: float = 0.0, queued_seconds: float = 0.0) -> None:
        """Let the clock run from a number of seconds on."""
        self._began = time.monotonic() - seconds
        self._queued_before = queued_seconds

    @contextmanager
    def queued(self) -> Iterator[None]:
        """Stop the clock within the block: the agent waits for a service that others use too."""
        if not self._queued:
            self._queued_since = time.monotonic()
        self._queued += 1
        self._set_clock()
        try:
            yield
        finally:
            self._queued -= 1
            if not self._queued:
                self._queued_before += time.monotonic() - self._queued_since
            self._set_clock()

    @asynccontextmanager
    async def take(self, actor: Actor) -> AsyncIterator[None]:
        """Wait until nobody else acts; nobody else does within the block.

        Raises `EpisodeOver` in a person's block when the episode ends.
        """
        agent = actor == "agent"
        self._waiting += agent
        self._set_clock()
        try:
            await self._acting.acquire()
        finally:
            self._waiting -= agent
            self._set_clock()
        self.actor = actor
        try:
            if agent:
                yield
            else:
                async with self._person_acts():
                    yield
        finally:
            self.actor = None
            self._acting.release()

    @asynccontextmanager
    async def _person_acts(self) -> AsyncIterator[None]:
        task = self._person = asyncio.current_task()
        assert task is not None
        self._set_clock()
        try:
            yield
        except asyncio.CancelledError:
            if self.ended and task.uncancel() == 0:
                raise EpisodeOver("the episode ended during this action") from None
            raise
        finally:
            self._person = None
            self._set_clock()

    def _set_clock(self) -> None:
        """Stop the clock if the agent waits for a person or a service, otherwise let it run."""
        if self._queued or (self._person is not None and self._waiting):
            self._stopped = self._stopped or time.monotonic()
        elif self._stopped is not None:
            self._began += time.monotonic() - self._stopped
            self._stopped = None

    async def end(self) -> None:
        """Cancel a person's action that runs, and wait for its end."""
        self.ended = True
        if self._person is not None:
            self._person.cancel()
            async with self._acting:
                pass
