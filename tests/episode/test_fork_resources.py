"""Forks share memory and a container, and release everything when they end."""

import asyncio

import pytest

from kernel_env.episode import Episode
from kernel_env.sandbox.protocol import SNAPSHOTS
from support.episodes import (
    OpenTiny,
    container_ids,
    end_all,
    execute,
    execute_text,
    validate,
    validate_text,
)
from support.kernels import checkpoint_taken, kernel_of

MIB = 1 << 20


@pytest.mark.docker
async def test_forks_share_the_memory_that_they_do_not_change(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="docker") as episode:
        await execute(episode, "import numpy as np; a = np.ones(500 << 17); a.nbytes")
        kernel = kernel_of(episode)

        async def memory_used() -> int:
            await checkpoint_taken(kernel)
            smaps = ["sh", "-c", "cat /proc/[0-9]*/smaps_rollup"]
            done = await kernel.sandbox.run(smaps, timeout_s=30)
            lines = done.output.decode(errors="replace").splitlines()
            return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

        alone = await memory_used()
        children = await episode.fork(4)
        with_forks = await memory_used()
        sums = [await execute_text(child, "print(int(a.sum()))") for child in children]
        await end_all(*children)
        afterwards = await memory_used()

    assert alone > 500 * MIB
    assert with_forks - alone < 250 * MIB
    assert afterwards - alone < 60 * MIB
    assert sums == [str(500 << 17)] * 4


async def test_ended_forks_leave_no_processes_and_no_snapshots(episode: Episode) -> None:
    await execute(episode, "import os; x = 1; _ = open('f', 'w').write('1')")
    kernel = kernel_of(episode)
    snapshots = str(kernel.sandbox.guest_path(SNAPSHOTS))

    async def contents() -> tuple[set[int], list[str]]:
        await checkpoint_taken(kernel)
        files = await kernel.sandbox.run(["ls", "-A", snapshots], timeout_s=10)
        support = kernel.server.support
        pids = await support.pause(keep=[])
        await support.resume(pids)
        return set(pids), sorted(files.output.decode().split())

    before, files_before = await contents()
    children = await episode.fork(3)
    (grandchild,) = await children[0].fork()
    for child in children:
        await execute(
            child, "import subprocess; subprocess.Popen(['sleep', '71'], start_new_session=True)"
        )
        await validate(child, "x = 2; subprocess.Popen(['sleep', '72'])")
    during, _ = await contents()
    await end_all(*children, grandchild)
    for _ in range(50):  # standbys end asynchronously
        after, files_after = await contents()
        if after == before:
            break
        await asyncio.sleep(0.1)

    assert len(during) >= len(before) + 4
    assert after == before
    assert files_after == files_before


# ── without branching ─────────────────────────────────────────────────────────────────────


@pytest.mark.docker
async def test_without_branching_a_fork_replays_cells_in_a_new_container(
    open_tiny: OpenTiny,
) -> None:
    async with open_tiny(sandbox="docker", branching=False) as episode:
        y = await execute_text(
            episode,
            "import random; x = 41; y = random.random(); open('f', 'w').write('1'); print(y)",
        )
        before = container_ids()
        same, reseeded = [*await episode.fork(), *await episode.fork(reseed=True)]
        episodes = (episode, same, reseeded)
        added = container_ids() - before
        texts = [await execute_text(each, "print(x, y, open('f').read())") for each in episodes]
        numbers = [await execute_text(each, "print(random.random())") for each in episodes]
        await end_all(same, reseeded)
        after = container_ids()

    assert len(added) == 2
    assert same.setup.header.fork is not None
    assert (same.setup.header.fork.how, same.setup.header.fork.cells) == ("replay", 1)
    assert texts == [f"41 {y} 1"] * 3
    assert numbers[0] == numbers[1] != numbers[2]
    assert after == before


@pytest.mark.docker
async def test_without_branching_a_trial_pauses_all_other_processes_and_is_undone(
    open_tiny: OpenTiny,
) -> None:
    async with open_tiny(sandbox="docker", branching=False) as episode:
        await execute(
            episode,
            "import subprocess, time, os\nx = 41; _ = open('f', 'w').write('kept')\n"
            "p = subprocess.Popen(['sh', '-c', 'while :; do echo >> ticks; sleep 0.01; done'])",
        )

        trial = await validate_text(
            episode,
            "a = os.path.getsize('ticks'); time.sleep(0.3); b = os.path.getsize('ticks')\n"
            "x = 0; _ = open('f', 'w').write('gone'); print(a == b, p.poll())",
        )
        after = await execute_text(
            episode,
            "a = os.path.getsize('ticks'); time.sleep(0.5); b = os.path.getsize('ticks')\n"
            "print(x, open('f').read(), a < b); p.kill()",
        )

    assert trial.split()[0] == "True"
    assert after == "41 kept True"
