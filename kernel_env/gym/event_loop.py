"""Run the asynchronous core in a thread, for synchronous callers."""

import asyncio
import concurrent.futures.thread
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar

from kernel_env.grading.host import Grader
from kernel_env.kernel.warm_pool import Pool

T = TypeVar("T")


class EventLoopThread:
    """An event loop in a thread of its own, and the way into it.

    The thread does not keep the interpreter alive: a script that ends, or fails, without
    `env.close()` ends too.
    """

    def __init__(self) -> None:
        self._users = 0
        self._pool: Pool | None = None
        self.grader = Grader()
        """For all episodes here: it takes a second to start."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="kernel_env", daemon=True
        )
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it in the loop and wait. An interrupt cancels it there before it is raised here."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                concurrent.futures.wait([future])
            raise

    def join(self) -> Self:
        """One more environment lives in the loop."""
        self._users += 1
        return self

    def pool(self, size: int) -> Pool | None:
        """The containers that wait for the environments in the loop."""
        if self._pool is None and size:
            self._pool = Pool(size=size)
        return self._pool

    def leave(self) -> None:
        """One less; with the last one the loop and its thread end, and what waits."""
        self._users -= 1
        if self._users:
            return
        self.call(self._end())
        self.call(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_exit(self.grader)
            if self._pool is not None:
                stack.push_async_exit(self._pool)
