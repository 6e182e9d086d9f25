"""Check the probe that `doctor` uses."""

import pytest

from kernel_env.errors import UnknownName
from kernel_env.runner.probe import kernel_limitations


async def test_kernels_can_be_forked_here(sandbox: str) -> None:
    limitations = await kernel_limitations(sandbox)

    # Whether forks have files of their own depends on the machine.
    assert "forking is unavailable" not in limitations


async def test_an_unknown_sandbox_is_an_error() -> None:
    with pytest.raises(UnknownName, match="no sandbox named 'dcoker'"):
        await kernel_limitations("dcoker")
