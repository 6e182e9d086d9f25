"""People undo cells and branch kernels as agents do."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient

from kernel_env.jupyter.live_kernel import BRANCH
from kernel_env.jupyter.sealed_kernel import SealedKernel
from support.jupyter_clients import Ran, client_at, run, sealed_kernel


@pytest.fixture(scope="module")
async def sealed(sandbox: str) -> AsyncIterator[SealedKernel]:
    async with sealed_kernel(sandbox) as kernel:
        yield kernel


@pytest.fixture
async def client(sealed: SealedKernel) -> AsyncIterator[AsyncKernelClient]:
    """Connect to the kernel, which is fresh."""
    await sealed.live.restart()
    async with client_at(sealed.server.connection_file) as connected:
        yield connected


COUNT = "n = n + 1 if 'n' in dir() else 1; open('n', 'w').write(str(n)); n"
READ = "print(n, open('n').read())"


async def test_restoring_undoes_later_cells_with_their_files(client: AsyncKernelClient) -> None:
    for _ in range(3):
        await run(client, COUNT)
        listed = await run(client, "%checkpoint")
    restored = await run(client, "%restore 1")
    after = await run(client, READ)
    unknown = await run(client, "%restore 3")
    pristine = await run(client, "%restore 0")
    empty = await run(client, "'n' in dir()")

    assert listed.text.splitlines()[-1].startswith("[3] at once    n = n + 1")
    assert restored.text == "restored to the state after the cell [1] (undone: [2], [3])\n"
    assert after.text == "1 1\n"
    assert after.reply["execution_count"] == 2
    assert unknown.text.endswith("known are 0, 1, 2 (0 is the fresh kernel)")
    assert pristine.reply["status"] == "ok"
    assert empty.text == "False"


async def test_a_branch_is_a_second_kernel_with_files_of_its_own(
    client: AsyncKernelClient,
) -> None:
    for _ in range(2):
        await run(client, COUNT)
    made = await run(client, "%branch 1")
    async with client_at(connection_file(made)) as branch:
        await run(branch, COUNT)
        await run(branch, "n = 100; open('n', 'w').write('100')")
        in_branch = await run(branch, READ)
        undone = await run(branch, "%restore 2")
        in_branch_undone = await run(branch, READ)
        nested = await run(branch, "%branch")
        async with client_at(connection_file(nested)) as second:
            in_second = await run(second, READ)
        branch.shutdown()
    in_parent = await run(client, READ)

    assert made.text.startswith("Branch 1 (after cell 1): a second kernel")
    assert in_branch.text == "100 100\n"
    assert undone.reply["status"] == "ok"
    assert in_branch_undone.text == "2 2\n"
    assert in_second.text == "2 2\n"
    assert in_parent.text == "2 2\n"


def connection_file(made: Ran) -> Path:
    """Return the connection file of a branch that a cell made."""
    (display,) = (content for kind, content in made.messages if kind == "display_data")
    return Path(display["data"][BRANCH]["connection_file"])


async def test_a_restart_keeps_files_also_through_a_later_replay(
    sealed: SealedKernel, client: AsyncKernelClient
) -> None:
    await run(client, "open('before', 'w').write('kept')")
    await sealed.live.restart()
    await run(client, "import os; x = open('before').read()")
    await run(client, "open('before', 'w').write('changed')")
    restored = await run(client, "%restore 1")
    branch = await run(client, "%branch 0")
    async with client_at(connection_file(branch)) as other:
        in_branch = await run(other, "print(open('before').read(), 'x' in dir())")
    after = await run(client, "print(x, open('before').read())")

    assert restored.reply["status"] == "ok"
    assert after.text == "kept kept\n"
    assert in_branch.text == "kept False\n"


async def test_a_command_must_stand_alone(client: AsyncKernelClient) -> None:
    both = await run(client, "%restore 0\nx = 1")
    without = await run(client, "%restore")
    shown = await run(client, "%branch one")
    magic = await run(client, "%checkpoints")

    assert "must be the only line of its cell" in both.text
    assert "needs the number of a cell" in without.text
    assert "no cell 'one' has run" in shown.text
    assert "UsageError: Line magic function `%checkpoints` not found" in magic.text
