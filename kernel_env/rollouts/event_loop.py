"""Run the asynchronous core in a thread, for synchronous callers."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures.thread import ThreadPoolExecutor  # its exit handler must run after ours
from contextlib import AsyncExitStack, ExitStack
from typing import Any, ClassVar, Protocol, Self, TypeVar
from weakref import WeakSet

from kernel_env.grading.host import Grader
from kernel_env.kernel.warm_pool import Pool

T = TypeVar("T")


class EventLoopThread:
    """An event loop in a thread, with the grading process and the warm pool of its users.

    It can be called from several threads, and ends when its last user leaves. The thread does not
    keep the interpreter alive: a script that ends or fails without closing its environments and
    rollouts ends too, and they are closed then.
    """

    _shared: ClassVar["tuple[int, EventLoopThread] | None"] = None
    """The process that started it, and the thread that `shared` returns."""
    _counting = threading.Lock()

    def __init__(self) -> None:
        self.users = 0
        """How many have joined and not left."""
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

    @classmethod
    def shared(cls) -> "EventLoopThread":
        """Return the thread that this process shares, joined once more."""
        with cls._counting:
            process, thread = cls._shared or (0, None)
            if thread is None or process != os.getpid() or not thread.users:
                thread = cls()
                cls._shared = os.getpid(), thread
            thread.users += 1
            return thread

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and wait for its end.

        An interrupt cancels it, and is raised once it has ended.
        """
        ended = threading.Event()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            tasks.append(self._loop.create_task(coroutine))
            tasks[0].add_done_callback(lambda _: ended.set())

        self._loop.call_soon_threadsafe(begin)
        try:
            ended.wait()
        except BaseException:
            self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            ended.wait()
            raise
        return tasks[0].result()

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a coroutine in the loop, and return its task, to be awaited in the loop."""

        async def start() -> asyncio.Task[T]:
            return asyncio.create_task(coroutine)

        return self.call(start())

    def join(self) -> Self:
        """Add a user."""
        with self._counting:
            self.users += 1
        return self

    def pool(self, size: int) -> Pool | None:
        """Return the warm pool, created on first use; None if `size` is 0."""
        with self._counting:
            if self._pool is None and size:
                self._pool = Pool(size=size)
            return self._pool

    def leave(self) -> None:
        """Remove a user; the last one ends the loop, its thread, and the warm pool."""
        with self._counting:
            self.users -= 1
            if self.users:
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


# ── exit of the interpreter ───────────────────────────────────────────────────────────────


class Closable(Protocol):
    """What has to be closed before the interpreter exits."""

    def close(self) -> None:
        """Close it. A second call does nothing."""


OPEN: WeakSet[Closable] = WeakSet()
"""What is still open."""


def close_at_exit(thing: Closable) -> None:
    """Close an environment or a rollout at interpreter exit, while threads can still be started.

    `atexit` is too late: thread pools accept no work by then. It is not kept alive for that.
    """
    OPEN.add(thing)


def close_all() -> None:
    """Close all that is open, also after one of them has failed."""
    with ExitStack() as stack:
        for thing in list(OPEN):
            stack.callback(thing.close)


_register: Callable[[Callable[[], None]], None] = threading._register_atexit  # type: ignore[attr-defined]  # noqa: SLF001
_register(close_all)
os.register_at_fork(after_in_child=OPEN.clear)  # the parent's threads are not in the child
