"""A model without tool calls acts through text; invalid answers are explained."""

import json
from pathlib import Path

import pytest

from support.chat_server import (
    ChatServer,
    Reply,
    text_answer,
    tool_answer,
)
from support.openai_episodes import SOLVE, Play, cell, codes, steps

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_model_without_tool_calls_plays_an_episode(chat: ChatServer, play: Play) -> None:
    chat.script = [
        text_answer("Let me look.\n```python\nx = 41\n```\nThat sets x."),
        text_answer('```json\n{"kind": "execute_code", "code": "x += 1"}\n```'),
        text_answer(
            '<think>hm</think><tool_call>{"name": "get_history", "arguments": {}}</tool_call>'
        ),
        text_answer('{"kind": "execute_code", "code": "print(x)"}'),
        text_answer("I cannot improve it. **DONE**"),
    ]

    result = await play()

    assert (result.status, codes(result)) == (
        "finished",
        ["x = 41", "x += 1", "get_history", "print(x)"],
    )
    thoughts = [step.thought for step in steps(result)]
    assert thoughts[0] == "Let me look.\n\nThat sets x."
    assert thoughts[2] == "hm"
    assert "think" not in "".join(chat.sent_texts[2:])
    assert chat.sent_texts[-1].startswith("42\n")


async def test_a_model_may_finish_without_an_action(chat: ChatServer, play: Play) -> None:
    chat.script = [text_answer("DONE")]

    result = await play()

    assert (result.status, result.steps, result.error) == ("finished", 0, "")


async def test_code_in_the_answer_with_done_is_executed(chat: ChatServer, play: Play) -> None:
    chat.script = [text_answer(f"```python\n{SOLVE}```\nDONE")]

    result = await play()

    assert result.public_score is not None
    assert (result.status, len(chat.requests)) == ("finished", 2)


@pytest.mark.parametrize(
    "cut",
    [
        text_answer("```python\nx = 1\nprint(", finish="length"),
        text_answer('{"kind": "execute_code", "code": "pri', finish="length"),
        text_answer("<think>So much to think about", finish="length"),
        tool_answer(("execute_code", '{"code": "pri'), finish="length"),
        tool_answer(cell("x = 1 # completed by the server"), finish="length"),
    ],
)
async def test_an_action_that_was_cut_off_is_not_executed(
    chat: ChatServer, play: Play, cut: Reply
) -> None:
    chat.script = [cut]

    result = await play()

    assert (result.status, result.steps) == ("finished", 0)
    assert chat.sent_texts[-1].startswith("your answer was cut off at the length limit")


@pytest.mark.parametrize("words", ["I am done.", "The score is good enough, thank you."])
async def test_a_model_that_has_submitted_may_end_with_a_sentence(
    chat: ChatServer, play: Play, words: str
) -> None:
    chat.script = [tool_answer(cell(SOLVE)), *[text_answer(words)] * 9]

    result = await play()

    assert (result.status, result.steps, result.error) == ("finished", 1, "")
    assert result.private_score is not None
    assert len(chat.requests) == 3, "it was reminded once of how to act"


async def test_a_model_may_say_that_it_is_done_without_a_submission(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [tool_answer(cell("1")), *[text_answer("I'm done here.")] * 9]

    result = await play()

    assert (result.status, result.steps, len(chat.requests)) == ("finished", 1, 3)


async def test_a_plan_in_words_before_the_next_action_does_not_end_the_episode(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [
        tool_answer(cell(SOLVE)),
        text_answer("Next I will look at the residuals."),
        tool_answer(cell("'residuals'")),
    ]

    result = await play()

    assert (result.status, result.steps) == ("finished", 2)


async def test_the_agent_fails_after_four_invalid_answers(chat: ChatServer, play: Play) -> None:
    chat.script = [text_answer(f"Lovely weather\n{n}. " + "la " * 200) for n in range(9)]

    result = await play(price_in=1.0)

    assert (result.status, result.steps, len(chat.requests)) == ("agent_failed", 0, 4)
    assert result.error.startswith(
        "scripted gave 4 consecutive answers without a valid action;"
        " the last: 'Lovely weather 3. la"
    )
    assert "\n" not in result.error
    assert (result.usage.tokens, result.usage.money) == (440, pytest.approx(4e-4))
    assert json.loads(Path(result.notebook).with_name("record.json").read_text())["error"]


@pytest.mark.parametrize(
    "empty",
    [
        text_answer(None),
        text_answer(""),
        text_answer("  \n"),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"choices": [{"message": null}]}'),
        Reply(body=b'{"choices": [{"message": {"content": null, "tool_calls": []}}]}'),
    ],
)
async def test_an_empty_answer_contains_no_action(
    chat: ChatServer, play: Play, empty: Reply
) -> None:
    chat.script = [empty, text_answer("```python\n1\n```")]

    result = await play()

    assert (result.status, result.steps) == ("finished", 1)
    assert chat.requests[1]["messages"][-1]["content"].startswith("your answer contains no action")


async def test_a_valid_action_resets_the_count_of_invalid_answers(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [
        *[text_answer("hm")] * 3,
        text_answer("```python\n1\n```"),
        *[text_answer("hm")] * 3,
    ]

    result = await play()

    assert (result.status, result.steps) == ("finished", 1)


async def test_a_lone_surrogate_in_an_answer_or_output_is_tolerated(
    chat: ChatServer, play: Play
) -> None:
    half = text_answer("half \ud83d\n```python\nprint(chr(0xd83d))\n```")
    chat.script = [half, text_answer("```python\nprint('on')\n```")]

    result = await play()

    assert (result.status, result.steps) == ("finished", 2)
