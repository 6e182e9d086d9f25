"""A chat model comments on the steps of another agent."""

from pathlib import Path

import pytest

from kernel_env import open_episode
from support.chat_server import USAGE, ChatServer, text_answer
from support.episodes import execute


async def test_a_model_comments_and_its_cost_is_its_own(
    chat: ChatServer, tiny: str, tmp_path: Path
) -> None:
    chat.script = [
        text_answer("You fit the mean; try the slope.", usage=USAGE),
        text_answer("None.", usage=USAGE),
    ]
    settings = {"model": "critic-1", "base_url": chat.url, "price_in": 10, "price_out": 100}
    async with open_episode(
        tiny,
        sandbox="local",
        out=tmp_path,
        feedback_provider="llm",
        feedback_settings=settings,
    ) as episode:
        await execute(episode, "print('the mean is', 0.5)")
        seen = episode.observation.text
        await execute(episode, "2")

    assert "[feedback by llm:]\nYou fit the mean; try the slope." in seen
    first = episode.steps[0].remark
    assert first is not None
    assert first.tokens == sum(USAGE[name] for name in ("prompt_tokens", "completion_tokens"))
    assert first.money == pytest.approx(
        (10 * USAGE["prompt_tokens"] + 100 * USAGE["completion_tokens"]) / 1e6
    )
    assert episode.steps[1].remark is not None
    assert episode.steps[1].remark.text == ""
    result = episode.result
    assert result is not None
    assert (result.usage.tokens, result.feedback_usage.tokens) == (0, 2 * first.tokens)
    asked = str(chat.requests[0])
    assert "print('the mean is', 0.5)" in asked.replace("\\'", "'")
    assert "the mean is 0.5" in asked
