"""Whatever an endpoint answers is an action, a fault that can be sent back, or one clear error."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_env.agents.openai import answers
from kernel_env.agents.openai.answers import Choice, parse_answer
from kernel_env.agents.openai.conversation import Turn, messages
from kernel_env.episode.tools import Fault
from support.fuzz import examples
from support.hostile_text import HOSTILE
from support.mutations import JSON, damaged_bytes, damaged_json

FUZZ = settings(
    max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

WORDS = st.sampled_from(
    [
        *HOSTILE.values(),
        *("```python\n", "```", "<tool_call>", "</tool_call>", "<think>", "</think>", "DONE", "\n"),
        *(
            '{"kind": "execute_code", "code": "1"}',
            '{"kind": "',
            '"arguments": {',
            "}",
            "]",
            "[" * 999,
        ),
        *('{"name": "reset", "arguments": {}}', "<function_call>", '{"tool_calls": [{}]}'),
    ]
)
TEXT = st.lists(WORDS | st.text(max_size=10), max_size=8).map("".join)


def body(content: Any, calls: Any) -> dict[str, Any]:
    """Build the body of a chat completion."""
    message = {"role": "assistant", "content": content, "tool_calls": calls}
    return {
        "id": "1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.none() | st.text(max_size=5),
            "function": st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["execute_code", "reset", "x y", "\ud800"]) | TEXT,
                    "arguments": st.sampled_from(["{}", '{"code": "1"}', "[", "null"])
                    | TEXT
                    | JSON,
                }
            ),
        }
    ),
    max_size=3,
)
BODIES = st.builds(body, TEXT | JSON, st.none() | CALLS | JSON)


@given(
    st.one_of(
        BODIES.flatmap(damaged_json).map(lambda text: text.encode("utf-8", "surrogatepass")),
        BODIES.map(lambda value: json.dumps(value).encode()),
        BODIES.flatmap(lambda value: damaged_bytes(json.dumps(value).encode())),
        st.binary(max_size=100),
    )
)
@FUZZ
def test_any_answer(data: bytes) -> None:
    try:
        completion = answers.read(data.decode(errors="replace"))
    except (ValueError, RecursionError):
        return  # the agent reports that this is no chat completion
    answer = parse_answer(completion.choices[0] if completion.choices else Choice())

    assert answer.calls or answer.done
    replies = tuple(
        call.action.reason if isinstance(call.action, Fault) else "ok" for call in answer.calls
    )
    for call in answer.calls:
        assert not call.id or isinstance(json.loads(call.arguments), dict)
    turn = Turn(answer=answer, replies=replies)
    for tools in (True, False):
        for room in (100, 100_000):
            sent = messages("task", [turn] if answer.calls else [], room=room, tools=tools)
            json.dumps(sent, ensure_ascii=False).encode()
