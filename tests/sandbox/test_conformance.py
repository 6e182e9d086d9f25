import pytest

from kernel_env import plugins
from kernel_env.sandbox.conformance import ISOLATION, PROMISES, Promise, name


@pytest.mark.parametrize("promise", PROMISES, ids=name)
async def test_every_sandbox_keeps(promise: Promise, sandbox: str) -> None:
    await promise(plugins.find("sandbox", sandbox))


@pytest.mark.docker
@pytest.mark.parametrize("promise", ISOLATION, ids=name)
async def test_a_container_keeps(promise: Promise) -> None:
    await promise(plugins.find("sandbox", "docker"))
