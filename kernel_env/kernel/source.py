"""Where the kernels of an episode come from: a new sandbox each, or the warm pool.

Whoever opens a kernel from a source returns its fork server to the same source when the last
kernel of that server has ended.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

from kernel_env.kernel.forking.fork_server import ForkServer
from kernel_env.kernel.forking.instance import KernelInstance
from kernel_env.sandbox.protocol import Sandbox


class KernelSource(Protocol):
    """Provides pristine kernels, each in a sandbox of its own."""

    async def open(self) -> KernelInstance:
        """Return a pristine kernel. Raises `SandboxError`, `KernelError`."""

    async def close(self, server: ForkServer) -> None:
        """End the sandbox of a fork server that has no kernel left. Raises `SandboxError`."""


@dataclass(frozen=True, kw_only=True)
class NewSandboxes:
    """Starts a new sandbox for each kernel, and ends it when asked to."""

    make_sandbox: Callable[[], Sandbox]
    """Returns a sandbox that has not been started."""
    paths: Mapping[str, PurePosixPath]
    """Environment variables of the kernels; their values become guest paths."""
    seed: int | None = None
    """What the random states of the kernels start from; None: a new number for each."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Further environment variables of the kernels."""
    payloads: bool = False
    """Whether a pager's text and the next input are sent in the reply, as in Jupyter, and not shown
    in the output."""

    async def open(self) -> KernelInstance:
        """Start a sandbox and a pristine kernel in it."""
        server = await ForkServer.open(
            self.make_sandbox, self.paths, self.env, payloads=self.payloads
        )
        instance = KernelInstance(server)
        try:
            await instance.start(seed=secrets.randbits(32) if self.seed is None else self.seed)
        except BaseException:
            await close_instance(instance, self)
            raise
        return instance

    async def close(self, server: ForkServer) -> None:
        """End the sandbox."""
        await server.close()


async def close_instance(instance: KernelInstance, source: KernelSource) -> None:
    """End a kernel, and its sandbox if it was the last one there. Raises `SandboxError`."""
    try:
        await instance.close()
    finally:
        if instance.server.unused:
            await source.close(instance.server)


@asynccontextmanager
async def pristine_kernel(source: KernelSource) -> AsyncIterator[KernelInstance]:
    """Open a pristine kernel, and end it with its sandbox on leaving."""
    instance = await source.open()
    try:
        yield instance
    finally:
        await close_instance(instance, source)
