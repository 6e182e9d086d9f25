"""Parameters that an endpoint rejects are omitted."""

import pytest

from support.chat_server import (
    ChatServer,
    Reply,
    Request,
    ScriptLine,
    error_reply,
    text_answer,
    tool_answer,
)
from support.openai_episodes import Play, cell

pytestmark = pytest.mark.asyncio(loop_scope="session")


def rejecting(name: str, message: str, status: int) -> ScriptLine:
    """A reply that rejects a parameter, and runs a cell when it is absent."""

    def line(request: Request) -> Reply:
        present = name in request or name in {m["role"] for m in request["messages"]}
        return error_reply(status, message) if present else text_answer("```python\n1\n```")

    return line


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("tools", 400, "this model does not support tools"),
        ("tools", 404, "No endpoints found that support tool use"),
        ("tools", 500, "tools param requires --jinja flag"),
        ("seed", 400, "Unsupported parameter: 'seed'"),
        ("seed", 422, "Extra inputs are not permitted: body.seed"),
        ("max_tokens", 400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'."),
        ("system", 400, "System role not supported"),
    ],
)
async def test_a_rejected_parameter_is_omitted_from_then_on(
    chat: ChatServer, play: Play, name: str, status: int, message: str
) -> None:
    chat.script = [rejecting(name, message, status)] * 20

    result = await play(budget={"steps": 2})

    assert (result.status, result.steps) == ("budget", 2)
    last = chat.requests[-1]
    assert name not in last
    assert ("max_completion_tokens" in last) == (name == "max_tokens")
    assert "You are a machine-learning engineer" in chat.sent_texts[0]


async def test_all_optional_parameters_can_be_omitted(chat: ChatServer, play: Play) -> None:
    def line(request: Request) -> Reply:
        for name in ("tools", "max_tokens", "max_completion_tokens", "seed"):
            if name in request:
                return error_reply(400, f"unknown parameter: {name}", param=name)
        return text_answer("```python\n1\n```")

    chat.script = [line] * 6

    result = await play()

    assert (result.status, result.steps) == ("finished", 2)


async def test_earlier_tool_calls_are_sent_as_text_after_tools_are_rejected(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [
        tool_answer(cell("x = 41"), cell("print(x + 1)")),
        error_reply(400, "tool_choice is not supported"),
    ]

    result = await play()

    assert (result.status, result.steps) == ("finished", 2)
    assistant, reply = chat.sent_texts[-2:]
    assert assistant.splitlines()[1] == (
        '{"name": "execute_code", "arguments": {"code": "print(x + 1)"}}'
    )
    assert "42\n" in reply
