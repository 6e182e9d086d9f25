"""An episode ends when its tokens, money or time are used up."""

import pytest

from support.chat_server import (
    HANG,
    ChatServer,
    tool_answer,
)
from support.openai_episodes import Play, cell

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    ("budget", "usage"),
    [
        ({"tokens": 250}, {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}),
        ({"tokens": 250}, {"prompt_tokens": 100, "total_tokens": 110}),
        ({"money": 3e-4}, {"prompt_tokens": 50, "completion_tokens": 25, "total_tokens": 75}),
    ],
)
async def test_an_episode_ends_when_its_tokens_or_money_are_used_up(
    chat: ChatServer, play: Play, budget: dict[str, float], usage: dict[str, int]
) -> None:
    chat.script = [tool_answer(cell(f"{n}"), usage=usage) for n in range(9)]

    result = await play(budget=budget, price_in=1.0, price_out=2.0)

    assert (result.status, result.steps, len(chat.requests)) == ("budget", 2, 3)


async def test_tokens_are_estimated_when_the_server_does_not_report_them(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [tool_answer(cell("1"), usage=None)] * 99

    result = await play(budget={"tokens": 3_000})

    assert result.status == "budget"
    assert len(chat.requests) < 10
    assert result.usage.tokens >= 3_000


async def test_a_money_budget_requires_a_price(chat: ChatServer, play: Play) -> None:
    result = await play(budget={"money": 1.0})

    assert result.status == "setup_failed"
    assert "give --price-in and --price-out" in result.error
    assert chat.requests == []


async def test_an_endpoint_that_hangs_ends_the_episode_at_its_time_limit(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [tool_answer(cell("1")), HANG]

    result = await play(budget={"seconds": 2})

    assert (result.status, result.steps) == ("budget", 1)
    assert result.seconds < 4
