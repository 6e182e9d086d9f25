"""Begin rollouts of the tiny task, and make their machine fail."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from kernel_env.rollouts import Rollout

OpenRollout = Callable[..., Awaitable[Rollout]]
"""The fixture `open_rollout`: begins a rollout, with the options of `Rollout.open`."""


async def cell_runs(rollout: Rollout) -> None:
    """Wait until a cell runs."""
    while (kernel := rollout.episode.kernel.living) is None or not kernel.busy:
        await asyncio.sleep(0.01)


@contextmanager
def full_disk(rollout: Rollout) -> Iterator[None]:
    """Let this process write no file that is longer than the rollout's journal is now."""
    size = rollout.episode.steps.path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
