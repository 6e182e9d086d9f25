"""Tool calls of a model are executed, answered and corrected."""

import json
from pathlib import Path

import nbformat
import pytest

from kernel_env.agents.openai.agent import TOOLS
from kernel_env.episode.actions import RequestInfo
from kernel_env.episode.journal import read_journal
from support.chat_server import (
    KEY,
    ChatServer,
    Reply,
    text_answer,
    tool_answer,
)
from support.openai_episodes import SOLVE, Play, cell, codes, steps

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    "sandbox_name", ["local", pytest.param("docker", marks=pytest.mark.docker)]
)
async def test_a_model_with_tool_calls_plays_an_episode(
    chat: ChatServer, play: Play, sandbox_name: str
) -> None:
    chat.script = [
        tool_answer(RequestInfo(info_type="overview")),
        tool_answer(cell(SOLVE), content="A line through the origin."),
        text_answer("DONE"),
    ]

    result = await play(sandbox=sandbox_name, price_in=1.0, price_out=10.0, seed=7, temperature=0.5)

    assert (result.status, result.steps, result.model) == ("finished", 2, "scripted")
    assert result.public_score is not None
    assert result.public_score < 0.2
    assert result.position_private == 1.0
    assert (result.usage.tokens, result.usage.money) == (330, pytest.approx(3 * 200e-6))
    assert steps(result)[1].thought == "A line through the origin."
    nbformat.validate(nbformat.read(result.notebook, as_version=4))
    request = chat.requests[0]
    assert request["tools"] == TOOLS
    assert (request["model"], request["seed"], request["temperature"]) == ("scripted", 7, 0.5)
    assert request["max_tokens"] == 4000
    assert chat.headers[0]["authorization"] == f"Bearer {KEY}"
    assert [m["role"] for m in chat.requests[-1]["messages"]] == [
        *("system", "user", "assistant", "tool", "assistant", "tool")
    ]
    assert "Submission graded: public score" in chat.sent_texts[-1]


async def test_the_calls_of_an_answer_are_executed_in_order(chat: ChatServer, play: Play) -> None:
    chat.script = [tool_answer(cell("x = 40"), cell("x += 2"), cell("print(x)"), content="three")]

    result = await play()

    assert codes(result) == ["x = 40", "x += 2", "print(x)"]
    assert [step.thought for step in steps(result)] == ["three", "", ""]
    assert chat.sent_texts[-1].startswith("42\n")


async def test_calls_after_an_invalid_one_are_not_executed(chat: ChatServer, play: Play) -> None:
    chat.script = [
        tool_answer(cell("n = 1"), ("execute_code", '{"code": "n +='), cell("n += 10")),
        tool_answer(cell("print(n)")),
    ]

    result = await play()

    assert codes(result) == ["n = 1", "print(n)"]
    invalid, skipped = chat.requests[1]["messages"][-2:]
    assert invalid["content"].startswith("the arguments of execute_code are not valid JSON")
    assert skipped["content"] == "not executed: an earlier call of this answer was invalid"
    assert chat.sent_texts[-1].startswith("1\n")


async def test_calls_after_failed_code_are_not_executed(chat: ChatServer, play: Play) -> None:
    chat.script = [tool_answer(cell("1 / 0"), cell("print('never')"))]

    result = await play()

    assert codes(result) == ["1 / 0"]
    assert chat.sent_texts[-1] == "not executed: the code of an earlier call of this answer failed"


async def test_calls_beyond_the_budget_are_not_executed(chat: ChatServer, play: Play) -> None:
    chat.script = [tool_answer(cell("1"), cell("2"), cell("3"))]

    result = await play(budget={"steps": 2})

    assert (result.status, codes(result)) == ("budget", ["1", "2"])
    assert len(chat.requests) == 1


@pytest.mark.parametrize(
    ("call", "reply"),
    [
        (("execute_code", "[1]"), "the arguments of execute_code must be a JSON object"),
        (("execute_code", "{}"), "execute_code is not valid: code: "),
        (("run shell", "{}"), "no action of kind 'run shell'; known: request_info, "),
        (("get_history", '{"last": 1000}'), "get_history is not valid: last: "),
        (
            ("execute_code", r'{"code": "\ud800"}'),
            "the arguments of execute_code contain a lone surrogate",
        ),
        (("execute_code", "[" * 100_000), "the arguments of execute_code are not valid JSON"),
    ],
)
async def test_the_reply_to_an_invalid_call_explains_the_fault(
    chat: ChatServer, play: Play, call: tuple[str, str], reply: str
) -> None:
    chat.script = [tool_answer(call), tool_answer(cell("'corrected'"))]

    result = await play()

    assert (result.status, codes(result)) == ("finished", ["'corrected'"])
    assert chat.requests[1]["messages"][-1]["content"].startswith(reply)


async def test_calls_without_ids_and_with_object_arguments_are_executed(
    chat: ChatServer, play: Play
) -> None:
    body = json.loads(tool_answer(cell("1"), cell("2")).body)
    for call in body["choices"][0]["message"]["tool_calls"]:
        call["id"] = None
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    chat.script = [Reply(body=json.dumps(body).encode())]

    result = await play()

    assert codes(result) == ["1", "2"]


@pytest.mark.parametrize("in_text", [False, True])
async def test_a_model_ends_the_episode_with_a_tool(
    chat: ChatServer, play: Play, in_text: bool
) -> None:
    words = {"message": "A line is enough."}
    last = (
        text_answer(json.dumps({"kind": "finish", **words}))
        if in_text
        else tool_answer(("finish", json.dumps(words)), content="Done here.")
    )
    chat.script = [tool_answer(cell(SOLVE)), last]

    result = await play()

    assert (result.status, result.steps, len(chat.requests)) == ("finished", 1, 2)
    notes = read_journal(Path(result.notebook).with_name("journal.jsonl")).notes
    assert notes[-1].kind == "last_words"
    assert notes[-1].text.endswith("A line is enough.")
    assert "finish" in [tool["function"]["name"] for tool in chat.requests[0]["tools"]]


async def test_an_episode_does_not_end_before_a_cell_that_fails(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [
        tool_answer(cell("1 / 0"), ("finish", "{}")),
        tool_answer(cell("1"), ("finish", "{}")),
    ]

    result = await play()

    assert (result.status, codes(result)) == ("finished", ["1 / 0", "1"])
    assert "not executed: the code of an earlier call of this answer failed" in chat.sent_texts
    assert len(chat.requests) == 2
