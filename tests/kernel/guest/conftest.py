"""Kernels with output caps, and sandboxes in which overlays work."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from kernel_env import plugins
from kernel_env.kernel import KernelClient, open_kernel
from kernel_env.sandbox import Sandbox
from support.overlays import SPEC, unavailable_reason

KERNEL_SPEC = replace(SPEC, memory_gb=1, processes=256)


@pytest.fixture
async def kernel() -> AsyncIterator[KernelClient]:
    """A kernel in the local sandbox."""
    async with (
        plugins.find("sandbox", "local")(KERNEL_SPEC) as opened,
        open_kernel(opened) as client,
    ):
        yield client


@pytest.fixture
async def any_kernel(sandbox: str) -> AsyncIterator[KernelClient]:
    """A kernel in each of the sandboxes."""
    async with (
        plugins.find("sandbox", sandbox)(KERNEL_SPEC) as opened,
        open_kernel(opened) as client,
    ):
        yield client


@pytest.fixture
async def open_sandbox(sandbox: str) -> AsyncIterator[Sandbox]:
    """Each of the sandboxes; skips the local one on systems without user namespaces."""
    async with plugins.find("sandbox", sandbox)(SPEC) as opened:
        if sandbox == "local" and (reason := await unavailable_reason(opened)):
            pytest.skip(f"needs user namespaces: {reason}")
        yield opened


@pytest.fixture
async def container() -> AsyncIterator[Sandbox]:
    """A container."""
    async with plugins.find("sandbox", "docker")(SPEC) as opened:
        yield opened
