"""Limit how many requests an endpoint gets at once, and adapt the limit to its rate limit.

All agents of a process share the limit of an endpoint. It starts at 20, and doubles each time that
as many requests have succeeded, until the endpoint first answers 429. From then on each 429 reduces
it by a fifth, at most once in 15 seconds, and successes raise it by one. Server errors do not
reduce it. The scheme and its numbers are those of Inspect (https://inspect.aisi.org.uk); additive
increase with multiplicative decrease is from Chiu and Jain, 1989.
"""

import asyncio
import time
from collections import deque
from weakref import WeakKeyDictionary

START = 20
"""The limit at first."""
DEFAULT_MAXIMUM = 100
DECREASE = 0.8
COOL_DOWN_S = 15.0
"""Several requests meet the same rate limit: only the first 429 in this time reduces the limit."""


class CallLimit:
    """The limit of one endpoint in one event loop."""

    def __init__(self, maximum: int = DEFAULT_MAXIMUM) -> None:
        self.maximum = maximum
        self.allowed = float(min(START, maximum))
        self.running = 0
        self._doubling = True
        self._succeeded = 0
        """Requests since the limit was last changed."""
        self._reduced_at = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait until the endpoint may get another request; `release` must follow."""
        while self.running >= int(self.allowed):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()  # it may have been this one's turn
                raise
        self.running += 1

    def release(self) -> None:
        """Let the next request be sent."""
        self.running -= 1
        self._wake()

    def _wake(self) -> None:
        free = int(self.allowed) - self.running
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1

    def succeeded(self) -> None:
        """Raise the limit after enough successes."""
        self._succeeded += 1
        if self._succeeded >= int(self.allowed):
            self._succeeded = 0
            more = self.allowed if self._doubling else 1
            self.allowed = min(self.allowed + more, float(self.maximum))

    def rate_limited(self) -> None:
        """Reduce the limit after a 429."""
        self._doubling = False
        now = time.monotonic()
        if now - self._reduced_at >= COOL_DOWN_S:
            self._reduced_at, self._succeeded = now, 0
            self.allowed = max(1.0, self.allowed * DECREASE)


_limits: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], CallLimit]] = (
    WeakKeyDictionary()
)


def limit_of(endpoint: str, maximum: int) -> CallLimit:
    """Return the limit that all agents in this event loop share for an endpoint."""
    limits = _limits.setdefault(asyncio.get_running_loop(), {})
    return limits.setdefault((endpoint, maximum), CallLimit(maximum))
