"""A budget limits the time of a cell, and ends an episode when it is used up."""

import pytest

from kernel_env.errors import EpisodeOver
from support.episodes import OpenTiny, execute, execute_text


async def test_a_cell_is_interrupted_at_its_time_limit(open_tiny: OpenTiny) -> None:
    budget = {"cell_seconds": 1, "seconds": 30}
    async with open_tiny(sandbox="local", budget=budget) as episode:
        slow = await execute(episode, "x = 1\nimport time; time.sleep(30)")
        after = await execute_text(episode, "x")

    assert slow.cell.timed_out
    assert slow.cell.seconds < 3
    assert after == "1"


@pytest.mark.parametrize(
    ("budget", "code", "limit"),
    [
        ({"steps": 2}, "pass", "2 steps"),
        ({"seconds": 1.5}, "import time; time.sleep(10)", "1.5 seconds"),
        ({"output_bytes": 10}, "print('x' * 100)", "10 output bytes"),
    ],
)
async def test_an_episode_is_over_when_its_budget_is_used_up(
    open_tiny: OpenTiny, budget: dict[str, float], code: str, limit: str
) -> None:
    async with open_tiny(sandbox="local", budget=budget) as episode:
        for _ in range(2):
            if not episode.over:
                await execute(episode, code)
        assert episode.over == f"the budget of {limit} is used up"
        with pytest.raises(EpisodeOver, match="the episode is over"):
            await execute(episode, "1")

    assert episode.steps.ending is not None
    assert episode.steps.ending.status == "budget"
