"""Branches spend one budget, and an episode continues as the best of them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel_env.episode import Episode
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.branching import act_in_branch, fast_forward
from kernel_env.episode.chain import first_difference
from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.errors import EpisodeOver, UsageError
from support.episodes import DEFINE_SUBMIT, PUBLIC_RMSE, OpenTiny, execute, execute_text


@pytest.fixture
async def episode(open_tiny: OpenTiny) -> AsyncIterator[Episode]:
    async with open_tiny(sandbox="local", budget={"steps": 4, "tokens": 1000}) as episode:
        yield episode


async def test_branches_spend_one_budget(episode: Episode) -> None:
    first, second = await episode.fork(2)

    await act_in_branch(episode, first, ExecuteCode(code="1"))
    episode.charge(tokens=300)
    step = await act_in_branch(episode, second, ExecuteCode(code="2"))

    assert (step.spent.steps, step.spent.tokens) == (2, 300)
    assert (episode.spent.steps, episode.spent.tokens, len(episode.steps)) == (2, 300, 0)
    assert second.observation.steps_left == 2
    stored = first.spent.output_bytes, second.spent.output_bytes, episode.spent.output_bytes
    assert stored[0] < stored[1] == stored[2]
    for branch in (first, second):
        await act_in_branch(episode, branch, ExecuteCode(code="3"))
    with pytest.raises(EpisodeOver, match="budget of 4 steps"):
        await act_in_branch(episode, first, ExecuteCode(code="4"))
    assert (len(first.steps), len(second.steps)) == (2, 2)
    await first.end()
    await second.end()


async def test_an_episode_continues_as_a_branch(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local", budget={"tokens": 1000}) as episode:
        await execute(episode, DEFINE_SUBMIT + "submit(1)")
        (child,) = await episode.fork()
        (grandchild,) = await child.fork()
        await act_in_branch(episode, child, ExecuteCode(code="submit(2)"))
        await act_in_branch(episode, grandchild, ExecuteCode(code="submit(3); x = 41"))
        grandchild.note("last_words", "that is it")
        episode.charge(tokens=7)

        await fast_forward(episode, grandchild)

        assert (len(episode.steps), episode.spent.steps, episode.spent.tokens) == (2, 3, 7)
        assert await execute_text(episode, "x + 1") == "42"
        assert grandchild.steps.ending is not None
        await child.end()

    result = episode.result
    assert result is not None
    assert result.public_score == pytest.approx(PUBLIC_RMSE, abs=1e-4)
    assert (result.parent, result.steps, result.submissions) == ("", 3, 2)
    recorded = read_journal(episode.folder / "journal.jsonl")
    assert first_difference(recorded) is None
    assert [(note.text, note.after_step) for note in recorded.notes] == [("that is it", 2)]
    assert recorded.ending is not None
    assert recorded.ending.spent.steps == 4
    assert list(parse_notebook(read_notebook(episode.notebook)).steps) == list(recorded.steps)
    names = sorted(path.name for path in (episode.folder / "submissions").iterdir())
    assert names == ["step-0001.csv", "step-0002.csv"]
    assert json.loads((episode.folder / "record.json").read_text())["private_score"] < 0.1


async def test_an_episode_does_not_continue_as_a_stranger(
    open_tiny: OpenTiny, tmp_path: Path
) -> None:
    async with (
        open_tiny(sandbox="local") as episode,
        open_tiny(sandbox="local") as stranger,
    ):
        (child,) = await episode.fork()
        await execute(episode, "1")
        for branch in (stranger, child):
            with pytest.raises(UsageError, match="does not begin with the 1 steps"):
                await fast_forward(episode, branch)
        await child.end()
        with pytest.raises(UsageError, match="has ended"):
            await fast_forward(episode, child)
