import json

from hypothesis import given
from hypothesis import strategies as st

from kernel_env.agents.openai.answers import Choice, Function, Message, ToolCall, parse_answer
from kernel_env.agents.openai.conversation import SYSTEM, Turn, messages
from support.chat_server import conversation_fault

texts = st.builds(str.__mul__, st.sampled_from(["", "a", "word ", "\n"]), st.integers(0, 4_000))
functions = st.builds(
    Function,
    name=st.sampled_from(["execute_code", "reset", "no such", "", None]),
    arguments=st.one_of(texts, texts.map(lambda code: json.dumps({"code": code})), st.none()),
)
calls = st.lists(st.builds(ToolCall, function=functions), max_size=4)


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    tool_calls = draw(calls)
    for number, call in enumerate(tool_calls):
        call.id = f"id{number}"
    message = Message(content=draw(texts), tool_calls=tool_calls)
    answer = parse_answer(Choice(message=message))
    replies = tuple(draw(texts) or "-" for _ in answer.calls)
    return Turn(answer=answer, replies=replies, images=draw(st.sampled_from([(), ("x",)])))


@given(
    texts, st.lists(turns(), max_size=6), st.integers(5_000, 60_000), st.booleans(), st.booleans()
)
def test_a_shortened_conversation_is_valid_for_strict_servers(
    first: str, played: list[Turn], room: int, tools: bool, system: bool
) -> None:
    sent = messages(first or "-", played, room=room, tools=tools, system=system)

    assert conversation_fault(sent) == ""
    assert len(json.dumps(sent)) < 2 * room + len(SYSTEM)
    assert sent[0]["content"].startswith(SYSTEM)


def test_a_short_conversation_is_sent_unchanged() -> None:
    answer = parse_answer(Choice(message=Message(content="```python\n1\n```")))

    sent = messages("Play.", [Turn(answer=answer, replies=("It is 1.",))], room=10_000)

    assert sent == [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "Play."},
        {"role": "assistant", "content": "```python\n1\n```"},
        {"role": "user", "content": "It is 1."},
    ]
