import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.agents.openai.answers import Answer, Choice, Fault, Message, understood
from kernel_env.episode.actions import ExecuteCode, Reset

CALL = '{"name": "execute_code", "arguments": {"code": "x = 1"}}'
FLAT = '{"kind": "execute_code", "code": "x = 1"}'
BLOCK = "```python\nx = 1\n```"


def answer(content: str, finish: str = "stop") -> Answer:
    return understood(Choice(message=Message(content=content), finish_reason=finish))


def meant(content: str, finish: str = "stop") -> list[object]:
    return [call.meant for call in answer(content, finish).calls]


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
def test_one_action_is_understood_however_it_is_written(content: str) -> None:
    (found,) = meant(content)

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
    assert meant(content) == [ExecuteCode(code="x = 1"), Reset()]


def test_each_block_of_python_is_a_cell_and_a_cut_one_is_a_fault() -> None:
    whole, cut = meant(f"{BLOCK}\nand\n```python\nprint(", finish="length")

    assert whole == ExecuteCode(code="x = 1\n")
    assert isinstance(cut, Fault)
    assert "cut off" in cut.reason


def test_what_comes_after_a_whole_action_may_be_cut_off() -> None:
    assert meant(f"{BLOCK}\nNow I will", finish="length") == [ExecuteCode(code="x = 1\n")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("I would look at the data.", "that was no action"),
        ("", "that was no action"),
        ("```bash\nls\n```", "that was no action"),
        ('{"kind": "execute_code", "code": "a "b""}', "that looks like JSON and is not"),
        ("<tool_call>ls</tool_call>", "that was no action"),
        ('{"kind": "execute", "code": "1"}', "no action of kind 'execute'; known: request_info"),
        ('{"name": "bash", "arguments": {}}', "no action of kind 'bash'; known: request_info"),
        ('{"kind": "execute_code", "source": "1"}', "execute_code does not fit: code"),
        ("I am NOT DONE yet", "that was no action"),
    ],
)
def test_anything_else_is_told_what_was_wanted(content: str, reason: str) -> None:
    (found,) = meant(content)

    assert isinstance(found, Fault)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize("content", ["DONE", "**DONE**", "It is fine. DONE.", "Bye!\n\n`DONE`\n"])
def test_done_is_done(content: str) -> None:
    assert answer(content).done
    assert answer(content).calls == ()


def test_thoughts_are_kept_for_the_record_and_thinking_is_not_sent_back() -> None:
    found = answer(f"<think>Hm.</think>Before.\n{BLOCK}\nAfter.")

    assert found.words == f"Before.\n{BLOCK}\nAfter."
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
def test_whatever_a_model_says_has_a_meaning(content: str, finish: str) -> None:
    found = answer(content, finish)

    assert found.done == (found.calls == ())


@pytest.mark.parametrize(
    "piece", ['{"a":', "[", "```", "<think>", "\n", "{ ", "```\n", "x", "DONE "]
)
def test_long_nonsense_is_read_quickly(piece: str) -> None:
    assert len(answer(piece * (60_000 // len(piece))).calls) < 2
