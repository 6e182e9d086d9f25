"""Provide what runs programs in a sandbox, shared by the tests of a file."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.semantics.oracle import Oracle
from support.semantics.runner import SPEC, Runner


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local_runner() -> AsyncIterator[Runner]:
    """A runner of programs in the sandbox `local`."""
    async with Oracle("local", SPEC) as oracle:
        runner = Runner("local", oracle)
        yield runner
        await runner.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def docker_runner(docker_images: None) -> AsyncIterator[Runner]:
    """A runner of programs in a container."""
    async with Oracle("docker", SPEC) as oracle:
        runner = Runner("docker", oracle)
        yield runner
        await runner.close()


@pytest.fixture
def runner(sandbox: str, request: pytest.FixtureRequest) -> Runner:
    """A runner of programs in the test's sandbox."""
    shared: Runner = request.getfixturevalue(f"{sandbox}_runner")
    return shared


@pytest.fixture(autouse=True)
def short_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace a kernel that ignores the interrupt after 1.5 seconds."""
    monkeypatch.setattr("kernel_env.kernel.connection.client.INTERRUPT_S", 1.5)
