"""A kernel remembers its cells, and so does every fork of it, without a file or a thread."""

from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import Spec
from support.kernels import (
    KERNEL_FOLDERS,
    cell_text,
    fork_kernel,
    recoverable_kernel,
    run_cell,
    run_trial,
)

SEARCH = "print([line for _, _, line in get_ipython().history_manager.search('x*')])"
"""Reads the history that is stored, as `history_request` does; `%history` alone reads a list."""
THREADS = "print([t.name for t in __import__('threading').enumerate() if 'History' in t.name])"


async def text(kernel: RecoverableKernel, code: str, step: int = 0) -> str:
    """Run a cell and return its text."""
    return cell_text(await run_cell(kernel, code, step=step))


async def test_history_is_kept_over_a_crash_and_in_forks(sandbox: str) -> None:
    async with recoverable_kernel(Spec(folders=KERNEL_FOLDERS), sandbox) as kernel:
        await text(kernel, "x = 41", step=1)
        early = await text(kernel, SEARCH, step=2)
        await text(kernel, "x += 1", step=3)
        trial = cell_text(await run_trial(kernel, f"x += 100\n{SEARCH}"))
        crashed = await run_cell(kernel, "x = 0; import os; os._exit(7)", step=4)
        after = await text(kernel, SEARCH, step=5)
        listed = await text(kernel, "%history -n 1-3", step=6)
        again = await text(kernel, "%rerun 3", step=7)
        child = (await fork_kernel(kernel)).kernel
        try:
            in_child = await text(child, SEARCH)
            threads = await text(child, THREADS)
        finally:
            await child.close()

    assert early == "['x = 41']\n"
    assert trial.startswith("['x = 41', 'x += 1'")
    assert crashed.recovery is not None
    assert after == "['x = 41', 'x += 1']\n"
    assert listed.splitlines()[::2] == ["   1: x = 41", "   3: x += 1"]
    assert "Executing" in again
    assert in_child.startswith("['x = 41', 'x += 1'")
    assert threads == "[]\n"
