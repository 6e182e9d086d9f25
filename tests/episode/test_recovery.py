"""A kernel that crashes is restored, and the agent reads once what was undone."""

import asyncio

import pytest

from kernel_env.episode import Episode
from kernel_env.episode.notebook import render
from kernel_env.episode.observation import describe_recovery
from kernel_env.kernel.cell import Recovery
from kernel_env.sandbox.docker import engine
from kernel_env.sandbox.protocol import WORKSPACE
from support.episodes import (
    OpenTiny,
    container_ids,
    execute,
    execute_text,
    output_text,
    validate,
)
from support.kernels import checkpoint_taken, kernel_of, running_kernel


async def test_a_crashed_kernel_is_restored_and_reported_once(episode: Episode) -> None:
    await execute(episode, "x = 41; open('f', 'w').write('kept')")
    await checkpoint_taken(kernel_of(episode))

    crashed = await execute(episode, "import os; x = 0; open('f', 'w').write('gone'); os._exit(7)")
    observation = episode.observation
    after = await execute(episode, "print(open('f').read(), x + 1, 'os' in dir())")

    assert crashed.cell.recovery is not None
    assert crashed.cell.recovery.how == "standby"
    assert observation.restored == crashed.cell.broke == "the kernel exited with code 7"
    assert (
        "KERNEL RESTORED: the kernel exited with code 7; this cell was undone" in observation.text
    )
    assert observation.state_lost == ""
    assert after.cell.recovery is None
    assert output_text(after) == "kept 42 False"
    cells = {c.id: c for c in render(episode.steps.trajectory).cells}
    kinds = [cells[f"step-000{number}"].cell_type for number in (1, 2, 3)]
    assert kinds == ["code", "markdown", "code"]
    assert "os._exit(7)" in cells["step-0002"].source


@pytest.mark.parametrize(
    ("recovery", "text"),
    [
        (
            Recovery(cause="it exited", how="standby"),
            "it exited; this cell was undone: variables and files are as they were before it."
            " Threads,",
        ),
        (
            Recovery(cause="it exited", how="replay", cells=1),
            "it exited; this cell was undone; 1 earlier cell was replayed in 0.0 s, so values that depend"
            " on time or chance may differ. Threads,",
        ),
        (
            Recovery(cause="it exited", how="replay", cells=2, lost="ps was list 3, is list 4"),
            "it exited; this cell was undone; 2 earlier cells were replayed in 0.0 s, so values that depend"
            " on time or chance may differ; not everything could be restored. Threads,",
        ),
        (
            Recovery(cause="it exited", how="standby", before=True, note="no space for files"),
            "it exited; it was restored to the state after the last cell, and then this cell ran."
            " Threads, pools and processes of earlier cells have ended. Note: no space for files.",
        ),
        (
            Recovery(cause="it was killed", how="again"),
            "it was killed; checkpoints were freed and the cell was run again; shown is the"
            " second run. Threads,",
        ),
    ],
)
def test_the_text_of_a_recovery_states_only_known_facts(recovery: Recovery, text: str) -> None:
    assert describe_recovery(recovery).startswith(text)


WAIT_TO_EXIT = """
import os, threading, time
x = 41
def exit_when_asked():
    while not os.path.exists("exit"): time.sleep(0.05)
    os._exit(9)
threading.Thread(target=exit_when_asked).start()
"""


async def crash_between_cells(episode: Episode) -> None:
    """Let a thread end the kernel once its checkpoint is taken: a replay would start it again."""
    await execute(episode, WAIT_TO_EXIT)
    kernel = kernel_of(episode)
    await checkpoint_taken(kernel)
    running = running_kernel(kernel)
    assert running is not None

    await kernel.sandbox.write(WORKSPACE / "exit", b"")
    async with asyncio.timeout(60):
        while running.death_reason is None:
            await asyncio.sleep(0.05)


async def test_a_crash_between_cells_is_reported_by_the_next_cell(episode: Episode) -> None:
    await crash_between_cells(episode)

    outcome = await execute(episode, "print(x + 1)")
    text = episode.observation.text
    after = await execute(episode, "print(x)")

    assert output_text(outcome) == "42"
    assert outcome.cell.recovery is not None
    assert outcome.cell.recovery.before
    assert (
        "exited with code 9 while no cell ran; it was restored to the state after the last" in text
    )
    assert after.cell.recovery is None


async def test_a_crash_between_cells_is_reported_by_the_next_trial(episode: Episode) -> None:
    await crash_between_cells(episode)

    trial = await validate(episode, "x + 1")
    after = await execute(episode, "x + 1")

    assert trial.cell.recovery is not None
    assert output_text(trial) == "42"
    assert after.cell.recovery is None


async def test_a_cancelled_cell_is_undone_and_not_recorded(episode: Episode) -> None:
    await execute(episode, "x = 41")
    code = "x = 99; open('started', 'w').close()\nimport time; time.sleep(60)"
    action = asyncio.create_task(execute(episode, code))
    async with asyncio.timeout(30):
        while await kernel_of(episode).stat(WORKSPACE / "started") is None:
            await asyncio.sleep(0.05)

    action.cancel()
    with pytest.raises(asyncio.CancelledError):
        await action
    after = await execute(episode, "x + 1, 'time' in dir()")

    assert output_text(after) == "(42, False)"
    assert after.cell.recovery is not None
    assert "a cell was cancelled while it ran" in after.cell.recovery.cause
    assert [step.number for step in episode.steps] == [1, 2]


@pytest.mark.docker
async def test_cells_are_replayed_in_a_new_container_when_the_container_is_killed(
    open_tiny: OpenTiny,
) -> None:
    async with open_tiny(sandbox="docker") as episode:
        await execute(episode, "open('f', 'w'); x = 41")
        (container,) = container_ids()
        client = engine.connect()
        client.containers.get(container).kill()
        client.close()
        await asyncio.sleep(0.5)

        outcome = await execute(episode, "import os; print(os.listdir(), x)")

        assert output_text(outcome) == "['f'] 41"
        assert outcome.cell.recovery is not None
        assert outcome.cell.recovery.how == "replay"
        assert outcome.cell.recovery.cells == 1
        assert "the sandbox has ended" in outcome.cell.recovery.cause
        assert outcome.cell.state_lost is None


async def test_a_kernel_is_restored_despite_folders_that_are_hard_to_delete(
    episode: Episode,
) -> None:
    await execute(episode, "import os, tempfile; x = 41")
    await execute(
        episode,
        "os.chdir(tempfile.gettempdir())\n"
        "for i in range(20): os.mkdir('d' * 250); os.chdir('d' * 250)\n"
        "os.mkdir('z'); open('z/f', 'w'); os.chmod('z', 0); os._exit(1)",
    )

    after = await execute_text(episode, "x + 1, os.listdir(tempfile.gettempdir())")

    assert after == "(42, [])"


@pytest.mark.docker
async def test_a_kernel_is_restored_despite_full_temporary_folders(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="docker") as episode:
        fill = "; ".join(
            f"dd if=/dev/zero of={folder}/big bs=1M" for folder in ("/tmp", "~", "/dev/shm", ".")
        )
        await execute(episode, f"!{fill}")
        await execute(episode, "import os; os._exit(1)")

        after = await execute_text(episode, "6 * 7")

    assert after == "42"
