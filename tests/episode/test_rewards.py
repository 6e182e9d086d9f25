"""What an episode pays: once for each distinct content, and no more for more submissions."""

import pytest

from kernel_env.episode import Episode
from kernel_env.episode.actions import ExecuteCode
from support.episodes import DEFINE_SUBMIT, OpenTiny

SHUFFLE = """
import pandas as pd
table = pd.read_csv(os.environ["OUTPUT_PATH"])
table.sample(frac=1, random_state={seed}).to_csv(os.environ["OUTPUT_PATH"], index=False)
"""


async def rewards(episode: Episode, *codes: str) -> list[float]:
    """Execute cells and return their rewards."""
    first, *others = codes
    return [
        (await episode.act(ExecuteCode(code=code))).reward
        for code in (DEFINE_SUBMIT + first, *others)
    ]


async def test_progress_adds_up_to_the_final_position(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local", reward="progress") as episode:
        paid = await rewards(
            episode, "submit(-1)", "submit(1.2)", "submit(0.9)", "submit(3)", "submit(2.99)"
        )

    result = episode.result
    assert result is not None
    # The sample submission beats none of 4 entries, and a worse one than it earns nothing.
    assert paid == [0.0, 0.5, 0.0, 0.5, 0.0]
    assert result.total_reward == result.position_public == 1.0


@pytest.mark.parametrize("reward", ["position", "raw", "progress", "improvement"])
async def test_the_same_rows_in_another_order_earn_nothing(
    open_tiny: OpenTiny, reward: str
) -> None:
    async with open_tiny(sandbox="local", reward=reward) as episode:
        paid = await rewards(
            episode,
            "submit(3)",
            SHUFFLE.format(seed=1),
            SHUFFLE.format(seed=2),
            "test[['id']].assign(y=(3 * test.x).map('{:.17e}'.format))"
            ".to_csv(os.environ['OUTPUT_PATH'], index=False)",
            "submit(2)",
            "submit(3)",
        )

    assert paid[0] > 0
    assert paid[1:4] == [0.0, 0.0, 0.0]
    assert paid[5] == 0.0
    assert episode.progress.submissions == 6


async def test_final_pays_the_private_place_with_the_last_step_of_the_budget(
    open_tiny: OpenTiny,
) -> None:
    async with open_tiny(sandbox="local", reward="final", budget={"steps": 3}) as episode:
        paid = await rewards(episode, "submit(3)", "submit(2)", "pass")

    result = episode.result
    assert result is not None
    assert result.position_private == 1.0
    assert paid == [0.0, 0.0, 1.0]
    assert result.total_reward == 1.0


async def test_final_is_paid_by_the_ending_if_the_agent_stops_early(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="local", reward="final", counts="last") as episode:
        paid = await rewards(episode, "submit(3)", "submit(1.2)")

    ending, result = episode.steps.ending, episode.result
    assert ending is not None
    assert result is not None
    assert paid == [0.0, 0.0]
    assert ending.reward == result.total_reward == result.position_private == 0.5
