"""The conversation stays within the model's context."""

import json

import pytest

from support.chat_server import (
    ChatServer,
    Reply,
    Request,
    error_reply,
    text_answer,
    tool_answer,
)
from support.openai_episodes import Play, cell

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. Please reduce the length.",
        "the request exceeds the available context size",
        "prompt is too long: 9000 tokens > 4096 maximum",
    ],
)
async def test_a_conversation_that_the_endpoint_rejects_as_too_long_is_shortened(
    chat: ChatServer, play: Play, message: str
) -> None:
    def line(request: Request) -> Reply:
        size = len(json.dumps(request["messages"]))
        return (
            error_reply(400, message)
            if size > 12_000
            else tool_answer(cell("print('word ' * 700)"))
        )

    chat.script = [line] * 40

    result = await play(budget={"steps": 8})

    assert (result.status, result.steps) == ("budget", 8)
    assert "earlier turns are omitted; call get_history" in chat.sent_texts[1]


async def test_a_context_that_is_too_short_is_a_one_line_error(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [error_reply(400, "too long", code="context_length_exceeded")] * 20

    result = await play()

    assert result.status == "agent_failed"
    assert result.error == f"{chat.url} answered 400: too long"


async def test_the_conversation_stays_within_the_context(chat: ChatServer, play: Play) -> None:
    chat.script = [tool_answer(cell(f"print('{n} ' * 3000)")) for n in range(10)]

    result = await play(context_tokens=8_000, answer_tokens=1_000)

    assert (result.status, result.steps) == ("finished", 10)
    assert all(len(json.dumps(r["messages"])) < 8_000 * 3 for r in chat.requests)
    assert chat.sent_texts[-1].startswith("9 9 ")
    assert "characters left out" not in chat.sent_texts[-1]


async def test_the_latest_turn_is_clipped_when_it_does_not_fit(
    chat: ChatServer, play: Play
) -> None:
    long_cell = cell("print('begin' + 'o' * 30_000 + 'end')  #" + "c" * 9_000)
    chat.script = [tool_answer(long_cell, long_cell)]

    result = await play(context_tokens=4_000)

    assert result.status == "finished"
    assert len(json.dumps(chat.requests[-1]["messages"])) < 4_000 * 3
    assert chat.sent_texts[-1].startswith("begin")
    assert "characters left out" in chat.sent_texts[-1]


async def test_pictures_are_sent_to_a_model_that_supports_them(
    chat: ChatServer, play: Play
) -> None:
    draw = cell(
        "from IPython.display import Image, display; display(Image(b'\\x89PNG\\r\\n\\x1a\\n'))"
    )
    chat.script = [tool_answer(draw), text_answer(f"```python\n{draw.code}\n```")]

    await play(images=True)

    after_text, after_tool = chat.requests[-1]["messages"][-1], chat.requests[1]["messages"][-1]
    for message in (after_text, after_tool):
        picture = message["content"][-1]["image_url"]["url"]
        assert picture.startswith("data:image/png;base64,iVBORw0KGgo")
