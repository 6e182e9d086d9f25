import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import nbformat
import pytest

from kernel_env.episode import json_codec
from kernel_env.episode.actions import ExecuteCode, RequestInfo
from kernel_env.episode.journal import read_journal
from kernel_env.episode.result import EpisodeResult
from kernel_env.episode.step import Step
from kernel_env.errors import AgentError, UsageError
from support.chat_server import (
    CLOSE,
    HANG,
    KEY,
    ChatServer,
    RawLine,
    Reply,
    Request,
    asks,
    refuses,
    says,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOLVE = """\
import os
import pandas as pd
test = pd.read_csv(os.environ["DATA_PATH"] + "/test.csv")
test.assign(y=3 * test.x)[["id", "y"]].to_csv(os.environ["OUTPUT_PATH"], index=False)
"""


Play = Callable[..., Awaitable[EpisodeResult]]


def cell(code: str) -> ExecuteCode:
    return ExecuteCode(code=code)


def steps(record: EpisodeResult) -> list[Step]:
    return list(read_journal(Path(record.notebook).with_name("journal.jsonl")).steps)


def codes(record: EpisodeResult) -> list[str]:
    return [getattr(step.action, "code", step.action.kind).strip() for step in steps(record)]


# ── tools ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("where", ["local", pytest.param("docker", marks=pytest.mark.docker)])
async def test_a_model_that_calls_tools_plays_from_first_message_to_record(
    chat: ChatServer, play: Play, where: str
) -> None:
    chat.script = [
        asks(RequestInfo(info_type="overview")),
        asks(cell(SOLVE), content="A line through the origin."),
        says("DONE"),
    ]

    record = await play(sandbox=where, price_in=1.0, price_out=10.0, seed=7, temperature=0.5)

    assert (record.status, record.steps, record.model) == ("finished", 2, "scripted")
    assert record.public_score is not None
    assert record.public_score < 0.2
    assert record.position_private == 1.0
    assert (record.usage.tokens, record.usage.money) == (330, pytest.approx(3 * 200e-6))
    assert steps(record)[1].thought == "A line through the origin."
    nbformat.validate(nbformat.read(record.notebook, as_version=4))
    request = chat.requests[0]
    assert request["tools"] == json_codec.tools()
    assert (request["model"], request["seed"], request["temperature"]) == ("scripted", 7, 0.5)
    assert request["max_tokens"] == 4000
    assert chat.headers[0]["authorization"] == f"Bearer {KEY}"
    assert [m["role"] for m in chat.requests[-1]["messages"]] == [
        *("system", "user", "assistant", "tool", "assistant", "tool")
    ]
    assert "Submission graded: public score" in chat.told[-1]


async def test_several_calls_in_one_answer_are_done_in_order_and_each_is_replied_to(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [asks(cell("x = 40"), cell("x += 2"), cell("print(x)"), content="three")]

    record = await play()

    assert codes(record) == ["x = 40", "x += 2", "print(x)"]
    assert [step.thought for step in steps(record)] == ["three", "", ""]
    assert chat.told[-1].startswith("42\n")


async def test_calls_before_a_malformed_one_are_done_once_and_those_after_it_not_at_all(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [
        asks(cell("n = 1"), ("execute_code", '{"code": "n +='), cell("n += 10")),
        asks(cell("print(n)")),
    ]

    record = await play()

    assert codes(record) == ["n = 1", "print(n)"]
    after, then = chat.requests[1]["messages"][-2:]
    assert after["content"].startswith("the arguments of execute_code are not JSON")
    assert then["content"] == "not done: what came before it was no action"
    assert chat.told[-1].startswith("1\n")


async def test_calls_after_code_that_failed_are_not_done(chat: ChatServer, play: Play) -> None:
    chat.script = [asks(cell("1 / 0"), cell("print('never')"))]

    record = await play()

    assert codes(record) == ["1 / 0"]
    assert chat.told[-1] == "not done: the code before it failed"


async def test_calls_beyond_the_budget_are_replied_to_and_not_done(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [asks(cell("1"), cell("2"), cell("3"))]

    record = await play(budget={"steps": 2})

    assert (record.status, codes(record)) == ("budget", ["1", "2"])
    assert len(chat.requests) == 1


@pytest.mark.parametrize(
    ("call", "reply"),
    [
        (("execute_code", "[1]"), "the arguments of execute_code must be a JSON object"),
        (("execute_code", "{}"), "execute_code does not fit: code: "),
        (("run shell", "{}"), "no action of kind 'run shell'; known: request_info, "),
        (("get_history", '{"last": 1000}'), "get_history does not fit: last: "),
        (("execute_code", r'{"code": "\ud800"}'), "the arguments of execute_code hold half"),
        (("execute_code", "[" * 100_000), "the arguments of execute_code are not JSON"),
    ],
)
async def test_a_malformed_call_is_shown_back_and_may_be_mended(
    chat: ChatServer, play: Play, call: tuple[str, str], reply: str
) -> None:
    chat.script = [asks(call), asks(cell("'mended'"))]

    record = await play()

    assert (record.status, codes(record)) == ("finished", ["'mended'"])
    assert chat.requests[1]["messages"][-1]["content"].startswith(reply)


async def test_a_server_without_ids_or_with_arguments_that_are_objects_is_understood(
    chat: ChatServer, play: Play
) -> None:
    whole = json.loads(asks(cell("1"), cell("2")).body)
    for call in whole["choices"][0]["message"]["tool_calls"]:
        call["id"] = None
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    chat.script = [Reply(body=json.dumps(whole).encode())]

    record = await play()

    assert codes(record) == ["1", "2"]


# ── words ─────────────────────────────────────────────────────────────────────────────────


async def test_a_model_without_tools_plays_in_words(chat: ChatServer, play: Play) -> None:
    chat.script = [
        says("Let me look.\n```python\nx = 41\n```\nThat sets x."),
        says('```json\n{"kind": "execute_code", "code": "x += 1"}\n```'),
        says('<think>hm</think><tool_call>{"name": "get_history", "arguments": {}}</tool_call>'),
        says('{"kind": "execute_code", "code": "print(x)"}'),
        says("I cannot improve it. **DONE**"),
    ]

    record = await play()

    assert (record.status, codes(record)) == (
        "finished",
        ["x = 41", "x += 1", "get_history", "print(x)"],
    )
    thoughts = [step.thought for step in steps(record)]
    assert thoughts[0] == "Let me look.\n\nThat sets x."
    assert thoughts[2] == "hm"
    assert "think" not in "".join(chat.told[2:])
    assert chat.told[-1].startswith("42\n")


async def test_a_model_that_is_done_at_once_has_finished(chat: ChatServer, play: Play) -> None:
    chat.script = [says("DONE")]

    record = await play()

    assert (record.status, record.steps, record.error) == ("finished", 0, "")


async def test_code_before_a_hasty_done_is_not_lost(chat: ChatServer, play: Play) -> None:
    chat.script = [says(f"```python\n{SOLVE}```\nDONE")]

    record = await play()

    assert record.public_score is not None
    assert (record.status, len(chat.requests)) == ("finished", 2)


@pytest.mark.parametrize(
    "cut",
    [
        says("```python\nx = 1\nprint(", finish="length"),
        says('{"kind": "execute_code", "code": "pri', finish="length"),
        says("<think>So much to think about", finish="length"),
        asks(("execute_code", '{"code": "pri'), finish="length"),
        asks(cell("x = 1 # healed by the server"), finish="length"),
    ],
)
async def test_an_action_that_was_cut_off_is_not_done_and_the_model_is_told(
    chat: ChatServer, play: Play, cut: Reply
) -> None:
    chat.script = [cut]

    record = await play()

    assert (record.status, record.steps) == ("finished", 0)
    assert chat.told[-1].startswith("your answer was cut off at the length limit")


async def test_a_model_that_only_babbles_ends_with_a_record(chat: ChatServer, play: Play) -> None:
    chat.script = [says(f"Lovely weather\n{n}. " + "la " * 200) for n in range(9)]

    record = await play(price_in=1.0)

    assert (record.status, record.steps, len(chat.requests)) == ("agent_failed", 0, 4)
    assert record.error.startswith(
        "scripted gave 4 answers in a row that are no action; the last: 'Lovely weather 3. la"
    )
    assert "\n" not in record.error
    assert (record.usage.tokens, record.usage.money) == (440, pytest.approx(4e-4))
    assert json.loads(Path(record.notebook).with_name("record.json").read_text())["error"]


@pytest.mark.parametrize(
    "empty",
    [
        says(None),
        says(""),
        says("  \n"),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"choices": [{"message": null}]}'),
        Reply(body=b'{"choices": [{"message": {"content": null, "tool_calls": []}}]}'),
    ],
)
async def test_an_answer_without_a_word_is_no_action(
    chat: ChatServer, play: Play, empty: Reply
) -> None:
    chat.script = [empty, says("```python\n1\n```")]

    record = await play()

    assert (record.status, record.steps) == ("finished", 1)
    assert chat.requests[1]["messages"][-1]["content"].startswith("that was no action")


async def test_patience_begins_anew_after_an_action(chat: ChatServer, play: Play) -> None:
    chat.script = [*[says("hm")] * 3, says("```python\n1\n```"), *[says("hm")] * 3]

    record = await play()

    assert (record.status, record.steps) == ("finished", 1)


async def test_half_a_character_in_an_answer_or_in_an_output_stops_nothing(
    chat: ChatServer, play: Play
) -> None:
    half = says("half \ud83d\n```python\nprint(chr(0xd83d))\n```")
    chat.script = [half, says("```python\nprint('on')\n```")]

    record = await play()

    assert (record.status, record.steps) == ("finished", 2)


# ── what endpoints refuse ─────────────────────────────────────────────────────────────────


def without(name: str, message: str, status: int) -> RawLine:
    """An endpoint that refuses a parameter, then plays one cell."""

    def line(request: Request) -> Reply:
        asked = name in request or name in {m["role"] for m in request["messages"]}
        return refuses(status, message) if asked else says("```python\n1\n```")

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
async def test_what_an_endpoint_refuses_is_left_out_from_then_on(
    chat: ChatServer, play: Play, name: str, status: int, message: str
) -> None:
    chat.script = [without(name, message, status)] * 20

    record = await play(budget={"steps": 2})

    assert (record.status, record.steps) == ("budget", 2)
    last = chat.requests[-1]
    assert name not in last
    assert ("max_completion_tokens" in last) == (name == "max_tokens")
    assert "You are a machine-learning engineer" in chat.told[0]


async def test_an_endpoint_that_refuses_nearly_everything_is_still_played_with(
    chat: ChatServer, play: Play
) -> None:
    def line(request: Request) -> Reply:
        for name in ("tools", "max_tokens", "max_completion_tokens", "seed"):
            if name in request:
                return refuses(400, f"unknown parameter: {name}", param=name)
        return says("```python\n1\n```")

    chat.script = [line] * 6

    record = await play()

    assert (record.status, record.steps) == ("finished", 2)


async def test_calls_made_before_tools_were_refused_stay_in_the_conversation(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [
        asks(cell("x = 41"), cell("print(x + 1)")),
        refuses(400, "tool_choice is not supported"),
    ]

    record = await play()

    assert (record.status, record.steps) == ("finished", 2)
    assistant, told = chat.told[-2:]
    assert assistant.splitlines()[1] == (
        '{"name": "execute_code", "arguments": {"code": "print(x + 1)"}}'
    )
    assert "42\n" in told


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. Please reduce the length.",
        "the request exceeds the available context size",
        "prompt is too long: 9000 tokens > 4096 maximum",
    ],
)
async def test_a_conversation_that_is_too_long_after_all_is_shortened(
    chat: ChatServer, play: Play, message: str
) -> None:
    def line(request: Request) -> Reply:
        size = len(json.dumps(request["messages"]))
        return refuses(400, message) if size > 12_000 else asks(cell("print('word ' * 700)"))

    chat.script = [line] * 40

    record = await play(budget={"steps": 8})

    assert (record.status, record.steps) == ("budget", 8)
    assert "earlier turns are not shown; see get_history" in chat.told[1]


async def test_a_context_in_which_nothing_fits_is_one_clear_line(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [refuses(400, "too long", code="context_length_exceeded")] * 20

    record = await play()

    assert record.status == "agent_failed"
    assert record.error == f"{chat.url} answered 400: too long"


async def test_the_conversation_stays_within_the_context(chat: ChatServer, play: Play) -> None:
    chat.script = [asks(cell(f"print('{n} ' * 3000)")) for n in range(10)]

    record = await play(context_tokens=8_000, answer_tokens=1_000)

    assert (record.status, record.steps) == ("finished", 10)
    assert all(len(json.dumps(r["messages"])) < 8_000 * 3 for r in chat.requests)
    assert chat.told[-1].startswith("9 9 ")
    assert "characters left out" not in chat.told[-1]


async def test_the_latest_turn_is_shown_in_part_when_the_whole_does_not_fit(
    chat: ChatServer, play: Play
) -> None:
    wordy = cell("print('begin' + 'o' * 30_000 + 'end')  #" + "c" * 9_000)
    chat.script = [asks(wordy, wordy)]

    record = await play(context_tokens=4_000)

    assert record.status == "finished"
    assert len(json.dumps(chat.requests[-1]["messages"])) < 4_000 * 3
    assert chat.told[-1].startswith("begin")
    assert "characters left out" in chat.told[-1]


async def test_pictures_are_shown_to_a_model_that_takes_them(chat: ChatServer, play: Play) -> None:
    draw = cell(
        "from IPython.display import Image, display; display(Image(b'\\x89PNG\\r\\n\\x1a\\n'))"
    )
    chat.script = [asks(draw), says(f"```python\n{draw.code}\n```")]

    await play(images=True)

    in_words, after_tool = chat.requests[-1]["messages"][-1], chat.requests[1]["messages"][-1]
    for message in (in_words, after_tool):
        picture = message["content"][-1]["image_url"]["url"]
        assert picture.startswith("data:image/png;base64,iVBORw0KGgo")


# ── budgets ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("budget", "usage"),
    [
        ({"tokens": 250}, {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}),
        ({"tokens": 250}, {"prompt_tokens": 100, "total_tokens": 110}),
        ({"money": 3e-4}, {"prompt_tokens": 50, "completion_tokens": 25, "total_tokens": 75}),
    ],
)
async def test_an_episode_stops_at_its_tokens_and_its_money(
    chat: ChatServer, play: Play, budget: dict[str, float], usage: dict[str, int]
) -> None:
    chat.script = [asks(cell(f"{n}"), usage=usage) for n in range(9)]

    record = await play(budget=budget, price_in=1.0, price_out=2.0)

    assert (record.status, record.steps, len(chat.requests)) == ("budget", 2, 3)


async def test_tokens_count_even_where_the_server_does_not(chat: ChatServer, play: Play) -> None:
    chat.script = [asks(cell("1"), usage=None)] * 99

    record = await play(budget={"tokens": 3_000})

    assert record.status == "budget"
    assert len(chat.requests) < 10
    assert record.usage.tokens >= 3_000


async def test_a_budget_of_money_needs_a_price(chat: ChatServer, play: Play) -> None:
    record = await play(budget={"money": 1.0})

    assert record.status == "agent_failed"
    assert "give --price-in and --price-out" in record.error
    assert chat.requests == []


async def test_an_endpoint_that_hangs_is_waited_for_until_time_is_up(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [asks(cell("1")), HANG]

    record = await play(budget={"seconds": 2})

    assert (record.status, record.steps) == ("budget", 1)
    assert record.seconds < 4


# ── errors ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trouble", [refuses(429, "slow down"), refuses(500, "oops"), CLOSE])
async def test_passing_troubles_are_tried_again(
    chat: ChatServer, play: Play, trouble: Reply | str
) -> None:
    chat.script = [trouble, asks(cell("1"))]

    record = await play()

    assert (record.status, record.steps) == ("finished", 1)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (refuses(401, "wrong key"), "{url} refused the key in OPENAI_API_KEY"),
        (refuses(403, f"no {KEY} here"), "{url} answered 403: no [key] here"),
        (refuses(404, "no such model"), "{url} answered 404: no such model"),
        (refuses(429, "no credit"), "{url} answered 429: no credit"),
        (refuses(400, "a\nb" * 500), "{url} answered 400: a ba ba b"),
        (
            Reply(body=b"<html>Hello</html>", kind="text/html"),
            "{url} did not answer with a chat completion but with '<html>Hello</html>'; is the URL",
        ),
        (Reply(body=b'{"choices": ['), "{url} did not answer with a chat completion but with"),
        (Reply(body=b"[" * 100_000), "{url} did not answer with a chat completion but with"),
        (Reply(body=b'{"error": "busy"}'), "{url} did not answer with a chat completion but with"),
    ],
)
async def test_lasting_troubles_are_one_clear_line_and_a_record(
    chat: ChatServer, play: Play, line: Reply, error: str
) -> None:
    chat.script = [asks(cell("1")), *[line] * 9]

    record = await play()

    assert (record.status, record.steps) == ("agent_failed", 1)
    assert record.error.startswith(error.format(url=chat.url))
    assert "\n" not in record.error
    assert len(record.error) < 450
    folder = Path(record.notebook).parent
    assert KEY not in "".join(path.read_text() for path in folder.glob("*.*"))


async def test_a_refused_connection_names_the_url(play: Play) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"

        record = await play(base_url=url.replace("//", "//user:secret@"))

    assert record.status == "agent_failed"
    assert record.error.startswith(f"no answer from {url} (")
    assert record.error.endswith(
        "see whether it runs, and whether --base-url or OPENAI_BASE_URL is right"
    )


async def test_an_endpoint_on_this_machine_is_asked_directly(
    chat: ChatServer, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    record = await play()

    assert record.status == "finished"


async def test_a_key_with_a_line_break_is_sent_without_it(
    chat: ChatServer, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")

    await play()

    assert chat.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("env", "options", "kind", "message"),
    [
        ({}, {"model": ""}, AgentError, "give one with --model NAME"),
        ({"OPENAI_API_KEY": ""}, {"base_url": None}, AgentError, "no key: set OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": "sk-\u00e4"}, {}, AgentError, "characters that no key has"),
        ({"OPENAI_API_KEY": "sk-\nb"}, {}, AgentError, "characters that no key has"),
        ({}, {"base_url": "localhost:8000/v1"}, UsageError, "must look like http://host:port/v1"),
        ({}, {"base_url": "http://host:eighty"}, UsageError, "the endpoint's URL is none"),
        ({}, {"base_url": "http://[bad"}, UsageError, "the endpoint's URL is none"),
        ({"ALL_PROXY": "carrier://pigeon"}, {"base_url": None}, UsageError, "cannot prepare"),
    ],
)
async def test_what_is_wrong_beforehand_is_said_before_anything_starts(
    play: Play,
    monkeypatch: pytest.MonkeyPatch,
    env: dict[str, str],
    options: dict[str, str],
    kind: type[Exception],
    message: str,
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(kind, match=message) as caught:
        await play(**options)

    assert "sk-" not in str(caught.value)
