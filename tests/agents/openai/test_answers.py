import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.agents.openai.answers import Answer, Choice, Message, parse_answer
from kernel_env.episode.actions import ExecuteCode, Reset
from kernel_env.episode.tools import Fault

CALL = '{"name": "execute_code", "arguments": {"code": "x = 1"}}'
FLAT = '{"kind": "execute_code", "code": "x = 1"}'
BLOCK = "```python\nx = 1\n```"


def answer(content: str, finish: str = "stop") -> Answer:
    return parse_answer(Choice(message=Message(content=content), finish_reason=finish))


def actions(content: str, finish: str = "stop") -> list[object]:
    return [call.action for call in answer(content, finish).calls]


@pytest.mark.parametrize(
    "content",
    [
        CALL,
        FLAT,
        f"Let me see.\n{CALL}\nThat will do.",
        f"```json\n{FLAT}\n```",
        f"```\n{CALL}\n```",
        f"<tool_call>\n{CALL}\n</tool_call>",
        f"<tool_call>{CALL}",
        f"[TOOL_CALLS][{CALL}]",
        json.dumps({"type": "function", "function": json.loads(CALL)}),
        json.dumps({"tool_calls": [{"id": "1", "function": json.loads(CALL)}]}),
        '{"name": "execute_code", "arguments": "{\\"code\\": \\"x = 1\\"}"}',
        '{"name": "functions.execute_code", "parameters": {"code": "x = 1"}}',
        '{"thought": "so", "kind": "execute_code", "code": "x = 1"}',
        BLOCK,
        "```py\nx = 1\n```",
        "```\nx = 1\n```",
        "```python\nx = 1```",
        "Action: ```python\nx = 1",
        f"<think>Should I {FLAT.replace('1', '2')}?</think>{BLOCK}",
        f"Should I ```python\nx = 2\n``` ?\n</think>\n{BLOCK}",
        f'The parameters are\n```json\n{{"kind": "linear"}}\n```\n{BLOCK}',
        f'Using {{"name": "lightgbm", "parameters": {{"trees": 9}}}}:\n{BLOCK}',
        f"{BLOCK}\nThis prints\n```\n1\n```",
        f"```bash\nls\n```\n{BLOCK}",
    ],
)
def test_an_action_is_parsed_in_every_format(content: str) -> None:
    (found,) = actions(content)

    assert isinstance(found, ExecuteCode)
    assert found.code.strip() == "x = 1"


@pytest.mark.parametrize(
    "content",
    [
        f"[{CALL}, " + '{"name": "reset", "arguments": {}}]',
        f"<tool_call>{CALL}</tool_call>\n<tool_call>" + '{"name": "reset"}</tool_call>',
        f"{FLAT}\n\n" + '{"kind": "reset"}',
        f"First ```json\n{FLAT}\n``` then " + '{"kind": "reset"}.',
    ],
)
def test_several_actions_keep_their_order(content: str) -> None:
    assert actions(content) == [ExecuteCode(code="x = 1"), Reset()]


def test_each_python_block_is_a_cell_and_a_cut_one_is_a_fault() -> None:
    complete, cut = actions(f"{BLOCK}\nand\n```python\nprint(", finish="length")

    assert complete == ExecuteCode(code="x = 1\n")
    assert isinstance(cut, Fault)
    assert "cut off" in cut.reason


def test_text_after_a_complete_action_may_be_cut_off() -> None:
    assert actions(f"{BLOCK}\nNow I will", finish="length") == [ExecuteCode(code="x = 1\n")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("I would look at the data.", "your answer contains no action"),
        ("", "your answer contains no action"),
        ("```bash\nls\n```", "your answer contains no action"),
        ('{"kind": "execute_code", "code": "a "b""}', "your answer is not valid JSON"),
        ("<tool_call>ls</tool_call>", "your answer contains no action"),
        ('{"kind": "execute", "code": "1"}', "no action of kind 'execute'; known: request_info"),
        ('{"name": "bash", "arguments": {}}', "no action of kind 'bash'; known: request_info"),
        ('{"kind": "execute_code", "source": "1"}', "execute_code is not valid: code"),
        ("I am NOT DONE yet", "your answer contains no action"),
    ],
)
def test_any_other_answer_is_a_fault_with_a_reason(content: str, reason: str) -> None:
    (found,) = actions(content)

    assert isinstance(found, Fault)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize("content", ["DONE", "**DONE**", "It is fine. DONE.", "Bye!\n\n`DONE`\n"])
def test_done_ends_the_episode(content: str) -> None:
    assert answer(content).done
    assert answer(content).calls == ()


def test_thinking_is_in_the_thought_and_not_in_the_text() -> None:
    found = answer(f"<think>Hm.</think>Before.\n{BLOCK}\nAfter.")

    assert found.text == f"Before.\n{BLOCK}\nAfter."
    assert found.thought == "Hm.\n\nBefore.\n\nAfter."


pieces = st.sampled_from(
    [
        *("<think>", "</think>", "<tool_call>", "</tool_call>", "```", "```python\n", "\n", " "),
        *("{", "}", "[", "]", '"', '{"', '"name": ', '"kind": ', '"arguments": ', ":", "DONE"),
        *("execute_code", "reset", CALL, FLAT, BLOCK, "\\ud800", "é", "\0"),
    ]
)


@given(
    st.one_of(st.lists(pieces, max_size=30).map("".join), st.text()),
    st.sampled_from(["stop", "length"]),
)
def test_every_answer_is_parsed(content: str, finish: str) -> None:
    found = answer(content, finish)

    assert found.done == (found.calls == ())


@pytest.mark.parametrize(
    "piece", ['{"a":', "[", "```", "<think>", "\n", "{ ", "```\n", "x", "DONE "]
)
def test_a_long_invalid_answer_is_parsed_quickly(piece: str) -> None:
    assert len(answer(piece * (60_000 // len(piece))).calls) < 2
