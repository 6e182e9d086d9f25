"""Run the asynchronous core in a thread, for synchronous callers."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from concurrent.futures.thread import ThreadPoolExecutor  # its exit handler must run after ours
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar

from kernel_env.grading.host import Grader
from kernel_env.kernel.warm_pool import Pool

T = TypeVar("T")


class EventLoopThread:
    """An event loop in a thread, shared by an environment and its forks.

    The thread does not keep the interpreter alive: a script that ends or fails without
    `env.close()` ends too.
    """

    def __init__(self) -> None:
        self._users = 0
        self._pool: Pool | None = None
        self.grader = Grader()
        """Shared by all episodes, because it takes a second to start."""
        self._loop = asyncio.new_event_loop()
        self._executor = ThreadPoolExecutor(thread_name_prefix="kernel_env")
        self._loop.set_default_executor(self._executor)
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="kernel_env", daemon=True
        )
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and wait. An interrupt cancels it before it is raised."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                concurrent.futures.wait([future])
            raise

    def join(self) -> Self:
        """Add a user."""
        self._users += 1
        return self

    def pool(self, size: int) -> Pool | None:
        """Return the warm pool, created on first use; None if `size` is 0."""
        if self._pool is None and size:
            self._pool = Pool(size=size)
        return self._pool

    def leave(self) -> None:
        """Remove a user; the last one ends the loop, its thread, and the warm pool."""
        self._users -= 1
        if self._users:
            return
        self.call(self._end())
        self._executor.shutdown()  # the loop's own method starts a thread, impossible at exit
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_exit(self.grader)
            if self._pool is not None:
                stack.push_async_exit(self._pool)
