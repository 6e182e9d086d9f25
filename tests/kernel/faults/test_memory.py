"""A kernel is restored when memory is used up, and restoring it does not use up memory."""

import pytest

from support.faults import (
    CHANGES,
    CHECK,
    IMPORTS,
    SIGNAL,
    SMALL_UNCHANGED,
    Fault,
    Report,
    SharedKernel,
    assert_restored,
    assert_restored_from_standby,
    faulty_kernel,
)
from support.kernels import cell_text, run_cell

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

FAULTS = {
    "memory is used up by bytes": Fault(
        "kept = []\nwhile True: kept.append(b'x' * (50 << 20))", f"{SIGNAL} SIGKILL"
    ),
    "memory is used up by arrays": Fault(
        "kept = []\nwhile True: kept.append(np.ones(10_000_000))", SIGNAL
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_kernel_that_used_up_the_memory_is_restored(
    name: str, shared_kernel: SharedKernel, report: Report
) -> None:
    async with shared_kernel.use() as kernel:
        report(name, await assert_restored(FAULTS[name], kernel))


async def test_cells_are_replayed_when_the_address_space_is_too_small_for_a_fork(
    small_kernel: SharedKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A standby can be forked, but cannot start its threads.
    monkeypatch.setattr("kernel_env.kernel.connection.client.FORK_READY_S", 5)
    async with small_kernel.fork() as kernel:
        limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))"
        await run_cell(kernel, limit)
        crashed = await run_cell(kernel, IMPORTS + CHANGES + "os._exit(9)")
        after = await run_cell(kernel, CHECK)

        assert crashed.recovery is not None
        assert crashed.recovery.how == "replay"
        assert cell_text(after) == SMALL_UNCHANGED


RESTORATIONS = 30
WARM_UP = 10
"""By then there are as many checkpoints as are kept."""
MEASURE = """
import os, threading
def rss():
    return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6
print(len(os.listdir('/proc/self/fd')), threading.active_count(),
      sum(n.isdigit() for n in os.listdir('/proc')), rss())
"""


async def test_a_kernel_grows_by_less_than_a_megabyte_each_time_it_is_restored(
    report: Report,
) -> None:
    async with faulty_kernel() as kernel:
        await run_cell(kernel, "n = 0")

        measured: list[list[float]] = []
        for number in range(1, RESTORATIONS + 1):
            await run_cell(kernel, "n += 1")
            crashed = await run_cell(kernel, IMPORTS + "n = 0; os._exit(1)")
            assert_restored_from_standby(crashed)
            if number in (WARM_UP, RESTORATIONS):
                words = cell_text(await run_cell(kernel, MEASURE)).split()
                measured.append([float(word) for word in words])
        after = await run_cell(kernel, "n")

    (*counts_before, mb_before), (*counts_after, mb_after) = measured
    growth_mb = (mb_after - mb_before) / (RESTORATIONS - WARM_UP)
    report(f"restoration {RESTORATIONS} of one kernel, {growth_mb:.2f} MB each", crashed)
    assert cell_text(after) == str(RESTORATIONS)
    assert counts_after == counts_before, "descriptors, threads and processes"
    assert growth_mb < 1
