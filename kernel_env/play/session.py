"""Open an episode that a person plays through Jupyter clients."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from kernel_env.episode import Episode, EpisodeConfig, open_configured
from kernel_env.episode.people import KERNEL, serve
from kernel_env.jupyter.server import Server
from kernel_env.play.kernel import PlayedKernel
from kernel_env.play.notebook import write_notebook

AGENT = "human"
"""The name of the agent in the record of an episode that a person has played."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """An episode that a person plays, and the server for their Jupyter client."""

    episode: Episode
    kernel: PlayedKernel
    server: Server

    @property
    def connection_file(self) -> Path:
        """Return the file by which programs on this machine connect."""
        return self.server.connection_file

    def write_notebook(self) -> Path:
        """Write the notebook that the person begins with. Raises `OSError`."""
        return write_notebook(self.episode, KERNEL)

    async def wait(self) -> None:
        """Wait until the person has shut the kernel down.

        Raises `SandboxError`, `KernelError`, `TaskError` if one of these has ended the episode.
        """
        await self.kernel.end()


@asynccontextmanager
async def open_session(config: EpisodeConfig) -> AsyncIterator[Session]:
    """Open an episode and serve its kernel; leaving it ends the episode.

    Raises `UsageError`, `TaskError`, `SandboxError`, `KernelError`, `OSError`.
    """
    async with open_configured(config) as episode:
        kernel = PlayedKernel(episode)
        server = await serve(episode, kernel, kernel.commands)
        yield Session(episode=episode, kernel=kernel, server=server)
