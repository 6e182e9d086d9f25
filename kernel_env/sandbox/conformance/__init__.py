"""Test a sandbox back end: one list of checks per protocol.

    @pytest.mark.parametrize("check", SANDBOX_CHECKS, ids=check_name)
    async def test_my_sandbox(check: Check) -> None:
        await check(MySandbox)

Each check is a coroutine that takes a function from `Spec` to a sandbox and raises
`AssertionError` if the sandbox does not conform. `SANDBOX_CHECKS` are for every back end,
`ISOLATION_CHECKS` for those whose `isolated` is true, `FORK_SUPPORT_CHECKS` for those that
offer `fork_support`.
"""

from kernel_env.sandbox.conformance.fork_support import FORK_SUPPORT_CHECKS
from kernel_env.sandbox.conformance.isolation import ISOLATION_CHECKS
from kernel_env.sandbox.conformance.sandbox import SANDBOX_CHECKS
from kernel_env.sandbox.conformance.support import SMALL, Check, Make, check_name

__all__ = [
    "FORK_SUPPORT_CHECKS",
    "ISOLATION_CHECKS",
    "SANDBOX_CHECKS",
    "SMALL",
    "Check",
    "Make",
    "check_name",
]
