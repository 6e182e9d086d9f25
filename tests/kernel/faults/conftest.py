"""Fixtures of the fault tests: a kernel that the tests of a file share, and a report."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import pytest_asyncio

pytest.register_assert_rewrite("support.faults")

from kernel_env.kernel.cell import Cell  # noqa: E402 - the line above must come first
from kernel_env.kernel.recoverable import RecoverableKernel  # noqa: E402
from support.faults import SETUP, SMALL_SETUP, SPEC, Report, SharedKernel, report_row  # noqa: E402
from support.kernels import recoverable_kernel  # noqa: E402


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_kernel(docker_images: None) -> AsyncIterator[SharedKernel]:
    """A kernel with an array of 250 MB, which is crashed and restored."""
    shared = SharedKernel(SETUP)
    yield shared
    await shared.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small_kernel(docker_images: None) -> AsyncIterator[SharedKernel]:
    """A kernel with little memory, whose forks are damaged."""
    shared = SharedKernel(SMALL_SETUP)
    yield shared
    await shared.close()


@pytest.fixture(autouse=True)
def short_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace a kernel that ignores the interrupt after 1.5 seconds."""
    monkeypatch.setattr("kernel_env.kernel.connection.client.INTERRUPT_S", 1.5)


@pytest.fixture
def report(print_later: Callable[[str], None]) -> Report:
    """Add a crash to the table that is printed after all tests."""

    def add(name: str, cell: Cell) -> None:
        print_later(report_row(name, cell))

    return add


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def only_kernel(docker_images: None) -> AsyncIterator[RecoverableKernel]:
    """The kernel that the tests of this file share."""
    async with recoverable_kernel(replace(SPEC, memory_gb=3.0)) as kernel:
        yield kernel


@pytest_asyncio.fixture(loop_scope="module")
async def kernel(only_kernel: RecoverableKernel) -> RecoverableKernel:
    """A pristine kernel."""
    await only_kernel.reset()
    return only_kernel
