"""Fixtures of the tests with torch: the image, and a kernel for each program."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.docker import images
from kernel_env.sandbox.protocol import Spec
from support.kernels import KERNEL_FOLDERS, kernel_source

SPEC = Spec(
    image="torch",
    libraries=images.find("torch").libraries,
    folders=KERNEL_FOLDERS,
    memory_gb=4,
    workspace_gb=0.5,
)


@pytest.fixture(autouse=True)
def short_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace a kernel that ignores the interrupt after 1.5 seconds."""
    monkeypatch.setattr("kernel_env.kernel.connection.client.INTERRUPT_S", 1.5)


@pytest_asyncio.fixture
async def kernel(torch_image: None) -> AsyncIterator[RecoverableKernel]:
    """A kernel of the image torch in a container of its own."""
    kernel = RecoverableKernel(kernel_source(SPEC))
    try:
        await kernel.start()
        yield kernel
    finally:
        await kernel.close()
