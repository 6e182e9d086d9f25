"""Forks and their parent survive crashes, time limits and killed standbys."""

import pytest

from kernel_env.episode import Episode
from kernel_env.kernel.connection import client
from support.episodes import (
    OpenTiny,
    end_all,
    execute,
    execute_text,
    output_text,
    validate,
    validate_text,
)
from support.kernels import checkpoint_taken, kernel_of, standby_pids


async def test_a_fork_after_a_crash_continues_from_the_restored_kernel(episode: Episode) -> None:
    await execute(episode, "x = 41; _ = open('f', 'w').write('kept')")
    await execute(episode, "import os; x = 0; _ = open('f', 'w').write('gone'); os._exit(1)")

    (child,) = await episode.fork()
    text = await execute_text(child, "print(x, open('f').read())")
    await child.end()

    assert text == "41 kept"


async def test_forks_trials_and_restored_kernels_block_no_signals(episode: Episode) -> None:
    await execute(episode, "x = 1")
    (child,) = await episode.fork()
    await execute(episode, "import os; os._exit(1)")
    code = "import signal\nprint(signal.pthread_sigmask(signal.SIG_BLOCK, []))"

    masks = [await execute_text(each, code) for each in (episode, child)]
    masks.append(await validate_text(child, code))
    await child.end()

    assert masks == ["set()"] * 3


async def test_a_fork_keeps_its_variables_at_the_time_limit(open_tiny: OpenTiny) -> None:
    budget = {"cell_seconds": 1}
    async with open_tiny(sandbox="local", budget=budget) as episode:
        await execute(episode, "x = 1")
        (child,) = await episode.fork()

        slow = await execute(child, "x = 2\nwhile True: pass")
        text = await execute_text(child, "print(x)")
        await child.end()

    assert slow.cell.timed_out
    assert slow.cell.broke is None
    assert slow.cell.seconds < client.INTERRUPT_S
    assert text == "2"


@pytest.mark.parametrize("victims", ["standby", "template", "both"])
async def test_trials_and_forks_work_after_standbys_were_killed(
    episode: Episode, victims: str
) -> None:
    await execute(episode, "import os; x = 41; _ = open('f', 'w').write('kept')")
    kernel = kernel_of(episode)
    await checkpoint_taken(kernel)
    template = kernel.server.template
    assert template is not None
    pids = standby_pids(kernel) * (victims != "template")
    pids += [template.pid] * (victims != "standby")
    await validate(episode, f"for pid in {pids}: os.kill(pid, 9)")

    trial = await validate_text(episode, "x + 1")
    forks = [*await episode.fork(), *await episode.fork(at_step=0), *await episode.fork(at_step=1)]
    texts = [await execute_text(each, "print(globals().get('x'))") for each in [episode, *forks]]
    await end_all(*forks)

    assert trial == "42"
    assert texts == ["41", "41", "None", "41"]


async def test_a_file_mapped_into_memory_is_restored_and_belongs_to_one_fork(
    episode: Episode,
) -> None:
    look = "print(m[0], open('m', 'rb').read()[0])"
    await execute(
        episode, "import numpy as np, os; m = np.memmap('m', dtype='u1', mode='w+', shape=9)"
    )
    for value in (1, 2, 3):
        await execute(episode, f"m[0] = {value}")

    trial = await validate(episode, f"{look}\nm[0] = 9")
    (child,) = await episode.fork()
    await execute(child, "m[0] = 4")
    await execute(child, "m[0] = 5")
    await execute(episode, "m[0] = 6; os._exit(1)")
    texts = [await execute_text(each, look) for each in (episode, child)]
    await execute(child, "m[0] = 7; os._exit(1)")
    texts.append(await execute_text(child, look))
    await child.end()

    assert output_text(trial) == "3 3"
    assert texts == ["3 3", "5 5", "5 5"]


async def test_a_fork_does_not_receive_the_output_of_its_parents_thread(
    episode: Episode,
) -> None:
    await execute(
        episode,
        "import threading, time\nrunning = True\n"
        "def repeat():\n    while running:\n        print('more', flush=True); time.sleep(0.001)\n"
        "threading.Thread(target=repeat, daemon=True).start()",
    )

    children = [fork for _ in range(5) for fork in await episode.fork()]
    texts = [await execute_text(child, "print(1)") for child in children]
    late = [len(child.steps[-1].cell.late) for child in children if child.steps[-1].cell]
    await execute(episode, "running = False")
    await end_all(*children)

    assert texts == ["1"] * 5
    assert late == [0] * 5
