"""Provide what runs programs in a sandbox, shared by the tests of a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from support.semantics.oracle import Oracle
from support.semantics.runner import SPEC, Runner


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that are off by default, unless `-m` asks for them."""
    if "semantics" not in config.option.markexpr:
        off = [item for item in items if item.get_closest_marker("semantics")]
        config.hook.pytest_deselected(items=off)
        items[:] = [item for item in items if item.get_closest_marker("semantics") is None]


@asynccontextmanager
async def shared_runner(sandbox: str, config: pytest.Config) -> AsyncIterator[Runner]:
    """Provide a runner; keep what plain Jupyter returned for the next run of the tests."""
    cache, key = config.cache, f"semantics/{sandbox}"
    assert cache is not None
    async with Oracle(sandbox, SPEC, cache.get(key, {})) as oracle:
        runner = Runner(sandbox, oracle)
        try:
            yield runner
        finally:
            cache.set(key, oracle.known)
            await runner.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local_runner(pytestconfig: pytest.Config) -> AsyncIterator[Runner]:
    """A runner of programs in the sandbox `local`."""
    async with shared_runner("local", pytestconfig) as runner:
        yield runner


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def docker_runner(docker_images: None, pytestconfig: pytest.Config) -> AsyncIterator[Runner]:
    """A runner of programs in a container."""
    async with shared_runner("docker", pytestconfig) as runner:
        yield runner


@pytest.fixture
def runner(sandbox: str, request: pytest.FixtureRequest) -> Runner:
    """A runner of programs in the test's sandbox."""
    shared: Runner = request.getfixturevalue(f"{sandbox}_runner")
    return shared


@pytest.fixture(autouse=True)
def short_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace a kernel that ignores the interrupt after 1.5 seconds."""
    monkeypatch.setattr("kernel_env.kernel.connection.client.INTERRUPT_S", 1.5)
