"""Forks continue independently of their parent, from a record that contains its steps."""

import asyncio
import json
from pathlib import Path

import pytest

from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import RequestInfo
from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.episode.step import Graded
from kernel_env.errors import UsageError
from support.episodes import (
    DEFINE_SUBMIT,
    SUBMIT_LINE,
    OpenTiny,
    end_all,
    execute,
    execute_text,
    validate,
)


async def test_forks_and_their_parent_continue_independently(episode: Episode) -> None:
    await execute(episode, "x = [1]; _ = open('f', 'w').write('start')")

    children = await episode.fork(3)
    for number, each in enumerate([episode, *children]):
        await execute(each, f"x.append({number}); _ = open('f', 'w').write('of {number}')")
    texts = [
        await execute_text(each, "print(x, open('f').read())") for each in [episode, *children]
    ]
    await end_all(*children)

    assert texts == [f"[1, {number}] of {number}" for number in range(4)]


async def test_a_fork_of_a_fork_outlives_its_ancestors(
    tiny: str, sandbox: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox=sandbox, out=tmp_path) as episode:
        await execute(episode, "x = 1; _ = open('f', 'w').write('1')")
        (child,) = await episode.fork()
        await execute(child, "x += 1; _ = open('f', 'a').write('2')")
        (grandchild,) = await child.fork()

        await episode.end()
        await child.end()
        text = await execute_text(
            grandchild, "x += 1; _ = open('f', 'a').write('3'); print(x, open('f').read())"
        )
        graded = await execute(grandchild, SUBMIT_LINE)
        ending = await grandchild.end()

    assert text == "3 123"
    assert isinstance(graded.submission, Graded)
    assert ending.status == "finished"
    assert len(grandchild.steps) == 4


async def test_simultaneous_forks_and_their_trials_do_not_interfere(episode: Episode) -> None:
    await execute(episode, "x = 0")
    children = await episode.fork(3)

    async def work(child: Episode, number: int) -> str:
        for _ in range(3):
            await execute(child, f"x += {number}; _ = open('f', 'w').write(str(x))")
            await validate(child, "x = 99; _ = open('f', 'w').write('tried')")
            await execute(child, "import os; x = 98; os._exit(1)")
        return await execute_text(child, "print(x, open('f').read())")

    texts = await asyncio.gather(*(work(child, n) for n, child in enumerate(children, 1)))
    await end_all(*children)

    assert texts == ["3 3", "6 6", "9 9"]


async def test_the_record_of_a_fork_contains_its_parents_steps_and_its_origin(
    episode: Episode,
) -> None:
    await execute(episode, DEFINE_SUBMIT + "submit(3)")
    await episode.act(RequestInfo(info_type="name"))
    await execute(episode, "later = 1")

    (child,) = await episode.fork(at_step=2)
    await execute(child, "submit(2)")
    await child.end()

    name = episode.setup.header.episode
    journal = read_journal(child.folder / "journal.jsonl")
    notebook = read_notebook(child.notebook)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert list(journal.steps) == list(parse_notebook(notebook).steps) == list(child.steps)
    assert list(child.steps)[:2] == list(episode.steps)[:2]
    assert journal.header.fork is not None
    assert (journal.header.fork.episode, journal.header.fork.step) == (name, 2)
    assert (
        f"Forked from episode `{name}` after step 2: earlier steps belong to both, and its kernel"
        " was forked from that one." in text
    )
    assert "later = 1" not in text
    assert child.result is not None
    assert json.loads((child.folder / "record.json").read_text()) == child.result.json()


async def test_a_fork_has_used_the_steps_and_seconds_until_its_step(open_tiny: OpenTiny) -> None:
    budget = {"steps": 4}
    async with open_tiny(sandbox="local", budget=budget) as episode:
        await execute(episode, "import time; time.sleep(1)")
        await execute(episode, "2")
        (latest,) = await episode.fork()
        (earlier,) = await episode.fork(at_step=1)
        steps_left = [fork.setup.budget.steps_left(fork.spent) for fork in (latest, earlier)]
        seconds = earlier.spent.seconds
        await execute(latest, "3")
        await execute(latest, "4")
        over = latest.over
        await end_all(latest, earlier)

    assert steps_left == [2, 3]
    assert seconds >= 1
    assert over == "the budget of 4 steps is used up"
    assert episode.over is None


async def test_a_fork_at_an_unknown_step_is_rejected(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local") as episode:
        await execute(episode, "1")

        for options in ({"n": 0}, {"n": -1}, {"at_step": 2}, {"at_step": -1}):
            with pytest.raises(UsageError, match="forks at step"):
                await episode.fork(**options)

        assert len(list(episode.folder.parent.iterdir())) == 1
        assert await execute_text(episode, "print(1)") == "1"


async def test_a_fork_that_is_cancelled_has_an_ending_and_leaves_its_parent(
    tiny: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path) as episode:
        await execute(episode, f"{SUBMIT_LINE}\nx = 1")
        users = episode.shared.users

        forking = asyncio.create_task(episode.fork(2))
        while len(list(tmp_path.rglob("journal.jsonl"))) < 2:
            await asyncio.sleep(0)
        forking.cancel()
        await asyncio.wait({forking})
        text = await execute_text(episode, "print(x)")

        assert forking.cancelled()
        assert episode.shared.users == users
        assert text == "1"

    endings = [read_journal(path).ending for path in tmp_path.rglob("journal.jsonl")]
    assert sorted(ending.status for ending in endings if ending) == ["finished", "interrupted"]
