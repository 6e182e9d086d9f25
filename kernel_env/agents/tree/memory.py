"""Find out how many branches fit into the memory of their sandbox."""

from kernel_env.episode.episode import Episode
from kernel_env.errors import SandboxError
from kernel_env.sandbox.protocol import GIB

SHARE = 0.8
"""Share of the sandbox's memory that kernels may use between two rounds of the search."""
MANY = 1_000_000


def branches_that_fit(*, used: int, limit: int, kernels: int) -> int:
    """Return how many more kernels fit: 0 if one must end first, `MANY` without a limit.

    Each is expected to need as much as the kernels need on average.

    Args:
        used: bytes that the kernels use together (proportional set size).
        limit: bytes that they may use; 0: no limit.
        kernels: how many kernels there are.
    """
    return max(0, (limit - used) * kernels // max(1, used)) if limit else MANY


async def memory_used(episode: Episode, *, enough_bytes: int) -> int:
    """Return the bytes that an episode and its forks use; 0 if that cannot be measured.

    The cheaper sum of resident sizes is returned if it is at most `enough_bytes`.
    """
    if not enough_bytes or not episode.kernel.forkable:
        return 0
    server = episode.kernel.server
    try:
        return await server.support.memory_used(server.all_pids(), enough_bytes=enough_bytes)
    except SandboxError:
        return 0


def memory_limit(episode: Episode) -> int:
    """Return how many bytes the kernels of an episode and its forks may use; 0: no limit."""
    return int(SHARE * episode.setup.header.memory_gb * GIB)
