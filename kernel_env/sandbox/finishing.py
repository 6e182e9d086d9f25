"""Do what must be done to its end, whatever is cancelled meanwhile.

A sandbox that is closed because its task was cancelled can be cancelled again: `asyncio.gather`
does not wait for its other tasks, and then `asyncio.run` cancels all that are left.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_thread(function: Callable[..., T], *args: object) -> "asyncio.Future[T]":
    """Begin to call a function in a thread. It is no task, so nothing at the end cancels it."""
    return asyncio.get_running_loop().run_in_executor(None, function, *args)


async def finished(future: "asyncio.Future[T]") -> T:
    """Return the result of a future once it is done; a cancellation meanwhile is raised then."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return future.result()
