import pytest

from kernel_env import plugins
from kernel_env.sandbox.conformance import (
    FORK_SUPPORT_CHECKS,
    ISOLATION_CHECKS,
    SANDBOX_CHECKS,
    Check,
    check_name,
)

BOTH = ["local", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.mark.parametrize("sandbox", BOTH, indirect=True)
@pytest.mark.parametrize("check", [*SANDBOX_CHECKS, *FORK_SUPPORT_CHECKS], ids=check_name)
async def test_both_back_ends_conform(check: Check, sandbox: str) -> None:
    await check(plugins.find("sandbox", sandbox))


@pytest.mark.docker
@pytest.mark.parametrize("check", ISOLATION_CHECKS, ids=check_name)
async def test_a_container_is_isolated(check: Check) -> None:
    await check(plugins.find("sandbox", "docker"))
