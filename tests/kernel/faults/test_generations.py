"""A fork of a fork works as the first kernel does, to any depth."""

import pytest

from kernel_env.kernel.recoverable import RecoverableKernel
from support.faults import (
    CHANGES,
    CHECK,
    IMPORTS,
    SMALL_SETUP,
    SMALL_UNCHANGED,
    Report,
    assert_restored_from_standby,
    faulty_kernel,
)
from support.kernels import cell_text, fork_kernel, run_cell, run_trial

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

GENERATIONS = 36
MAX_NESTING = 33
"""Mount namespaces nest only so deep: a fork beyond starts from the template and replays."""


async def test_a_fork_of_a_fork_36_deep_works_as_the_first(report: Report) -> None:
    replays = 0
    async with faulty_kernel() as first:
        await run_cell(first, SMALL_SETUP + "; n = 0")
        kernel = first
        for generation in range(1, GENERATIONS + 1):
            forked = await fork_kernel(kernel)
            if kernel is not first:
                await kernel.close()
            kernel, replays = forked.kernel, replays + bool(forked.cells)
            try:
                assert forked.lost == ""
                await check_generation(kernel, generation, report)
            except BaseException:
                await kernel.close()
                raise
        await kernel.close()
        after = await run_cell(first, "n")
        assert after.recovery is None

    assert replays == 1, "one fork starts from the template again"


async def check_generation(kernel: RecoverableKernel, generation: int, report: Report) -> None:
    """Require that the fork has the state of its parent, and some that they can be restored."""
    count = "n += 1; open('log', 'a').write('.'); n, len(open('log').read())"
    assert cell_text(await run_cell(kernel, count)) == f"({generation}, {generation})"
    if generation in (30, 33, 36):
        crashed = await run_cell(kernel, IMPORTS + CHANGES + "os._exit(1)")
        report(f"it exits in generation {generation}", crashed)
        assert_restored_from_standby(crashed)
        assert cell_text(await run_cell(kernel, CHECK)) == SMALL_UNCHANGED
    if generation == MAX_NESTING:
        trial = await run_trial(kernel, "x")
        assert cell_text(trial) == "41"
        assert "cells were replayed for this trial" in trial.note
