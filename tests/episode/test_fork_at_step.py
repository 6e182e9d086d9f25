"""A fork at an earlier step has the state of that step, and random states as requested."""

import pytest

from kernel_env.episode import Episode
from kernel_env.episode.actions import Reset
from support.episodes import OpenTiny, end_all, execute, execute_text
from support.kernels import checkpoint_taken, kernel_of


@pytest.mark.parametrize(("checkpoints", "how", "cells"), [(9, "copy", 0), (1, "replay", 2)])
async def test_a_fork_at_an_earlier_step_replays_cells_only_without_a_checkpoint(
    open_tiny: OpenTiny, sandbox: str, checkpoints: int, how: str, cells: int
) -> None:
    budget = {"checkpoints": checkpoints}
    async with open_tiny(sandbox=sandbox, budget=budget) as episode:
        await execute(episode, "x = [1]; _ = open('f', 'w').write('1')")
        await execute(episode, "import random; y = random.random()")
        await checkpoint_taken(kernel_of(episode))
        y = await execute_text(episode, "x.append(3); _ = open('f', 'a').write('3'); print(y)")
        await checkpoint_taken(kernel_of(episode))
        await execute(episode, "x.append(4)")
        await checkpoint_taken(kernel_of(episode))

        (child,) = await episode.fork(at_step=2)
        text = await execute_text(child, "print(x, open('f').read(), y)")
        await child.end()

    fork = child.setup.header.fork
    assert text == f"[1] 1 {y}"
    assert fork is not None
    assert (fork.how, fork.cells, fork.lost) == (how, cells, "")


async def test_forks_work_before_at_and_after_a_reset(open_tiny: OpenTiny) -> None:
    budget = {"checkpoints": 1}
    async with open_tiny(sandbox="local", budget=budget) as episode:
        await execute(episode, "x = 1; _ = open('f', 'w').write('old')")
        await episode.act(Reset())
        await execute(episode, "y = 2; _ = open('g', 'w').write('new')")

        look = "import os; print('x' in dir(), 'y' in dir(), sorted(os.listdir()))"
        texts = []
        for step in (1, 2, 3):
            (child,) = await episode.fork(at_step=step)
            texts.append(await execute_text(child, look))
            await child.act(Reset())
            texts.append(await execute_text(child, look))
            await child.end()
        parent = await execute_text(episode, look)

    fresh = "False False []"
    assert texts == ["True False ['f']", fresh, fresh, fresh, "False True ['g']", fresh]
    assert parent == "False True ['g']"


# ── random states ─────────────────────────────────────────────────────────────────────────


async def test_forks_draw_the_same_numbers_unless_they_are_reseeded(episode: Episode) -> None:
    draw = "print(random.random(), np.random.rand())"
    await execute(episode, "import random, numpy as np")

    same, reseeded = await episode.fork(2), await episode.fork(2, reseed=True)
    numbers = [await execute_text(each, draw) for each in [episode, *same, *reseeded]]
    await end_all(*same, *reseeded)

    assert numbers[0] == numbers[1] == numbers[2]
    assert len(set(numbers)) == 3


@pytest.mark.parametrize("at_step", [0, 2])
async def test_reseeding_takes_effect_only_after_the_step_of_the_fork(
    open_tiny: OpenTiny, at_step: int
) -> None:
    budget = {"checkpoints": 1}
    draw = "import random; print(random.random())"
    async with open_tiny(sandbox="local", budget=budget) as episode:
        first = await execute_text(episode, "import random; x = random.random(); print(x)")
        await execute(episode, "pass")
        await execute(episode, "pass")

        children = await episode.fork(2, at_step=at_step, reseed=True)
        if at_step:
            assert {await execute_text(child, "print(x)") for child in children} == {first}
        numbers = [await execute_text(child, draw) for child in children]
        await end_all(*children)

    assert len({*numbers, first}) == 3


@pytest.mark.docker
async def test_a_replay_in_a_reseeded_fork_draws_the_same_numbers(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="docker") as episode:
        before = await execute_text(episode, "import random; x = random.random(); print(x)")
        (child,) = await episode.fork(reseed=True)
        after = await execute_text(child, "y = random.random(); print(y)")

        await execute(child, "import os; os.kill(-1, 9); os._exit(1)")
        text = await execute_text(child, "print(x, y)")
        count = (await execute(child, "pass")).cell.execution_count
        await child.end()

    assert text == f"{before} {after}"
    assert count == 4
