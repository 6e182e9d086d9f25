"""Errors of endpoints and options are one line without the key."""

import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_env.errors import AgentSetupError, UsageError
from support.chat_server import (
    CLOSE,
    KEY,
    USAGE,
    ChatServer,
    Reply,
    error_reply,
    tool_answer,
)
from support.openai_episodes import Play, cell

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    "failure", [error_reply(429, "slow down"), error_reply(500, "oops"), CLOSE]
)
async def test_transient_failures_are_retried(
    chat: ChatServer, play: Play, failure: Reply | str
) -> None:
    chat.script = [failure, tool_answer(cell("1"))]

    result = await play()

    assert (result.status, result.steps) == ("finished", 1)


@pytest.mark.parametrize(
    ("line", "status", "error"),
    [
        (error_reply(401, "wrong key"), "setup", "{url} rejected the key in OPENAI_API_KEY"),
        (error_reply(403, f"no {KEY} here"), "setup", "{url} answered 403: no [key] here"),
        (error_reply(404, "no such model"), "setup", "{url} answered 404: no such model"),
        (
            error_reply(429, "no credit", code="insufficient_quota"),
            "setup",
            "{url} answered 429: no credit",
        ),
        (error_reply(429, "slow down"), "model", "{url} answered 429: slow down"),
        (error_reply(503, "overloaded"), "model", "{url} answered 503: overloaded"),
        (error_reply(400, "a\nb" * 500), "setup", "{url} answered 400: a ba ba b"),
        (
            Reply(body=b"<html>Hello</html>", kind="text/html"),
            "model",
            "{url} answered with '<html>Hello</html>', expected a chat completion; check the URL",
        ),
        (Reply(body=b'{"choices": ['), "model", "{url} answered with "),
        (Reply(body=b"[" * 100_000), "model", "{url} answered with "),
        (Reply(body=b'{"error": "busy"}'), "model", "{url} answered with "),
    ],
)
async def test_permanent_failures_are_one_line_errors(
    chat: ChatServer, play: Play, line: Reply, status: str, error: str
) -> None:
    chat.script = [tool_answer(cell("1")), *[line] * 9]

    result = await play()

    assert (result.status, result.steps) == (f"{status}_failed", 1)
    assert result.error.startswith(error.format(url=chat.url))
    assert "\n" not in result.error
    assert len(result.error) < 450
    folder = Path(result.notebook).parent
    assert KEY not in "".join(path.read_text() for path in folder.glob("*.*"))


async def test_a_page_instead_of_a_first_answer_means_a_wrong_url(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [Reply(body=b"<html>Hello</html>", kind="text/html")]

    result = await play()

    assert (result.status, result.steps) == ("setup_failed", 0)


async def test_pauses_for_a_rate_limit_are_not_the_agents_time(
    chat: ChatServer, play: Play
) -> None:
    slow_down = error_reply(429, "slow down")
    slow_down = replace(slow_down, headers={"retry-after": "0.4"})
    chat.script = [slow_down, slow_down, tool_answer(cell("1"))]

    began = time.monotonic()
    result = await play()
    took = time.monotonic() - began

    assert (result.status, result.steps) == ("finished", 1)
    assert result.waited_seconds >= 0.8
    assert result.seconds + result.waited_seconds <= took


async def test_a_pause_that_is_too_long_ends_the_episode(chat: ChatServer, play: Play) -> None:
    slow_down = replace(error_reply(429, "tomorrow"), headers={"retry-after": "86400"})
    chat.script = [slow_down]

    result = await play()

    assert (result.status, len(chat.requests)) == ("model_failed", 1)
    assert result.retry_after_s == 86400


async def test_tokens_are_told_apart(chat: ChatServer, play: Play) -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 64}}
    chat.script = [tool_answer(cell("1"), usage=USAGE | details)]

    result = await play()

    assert result.tokens == {"prompt": 200, "cached": 64, "answer": 20}


async def test_the_error_of_a_refused_connection_names_the_url(play: Play) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"

        result = await play(base_url=url.replace("//", "//user:secret@"))

    assert result.status == "model_failed"
    assert result.error.startswith(f"no answer from {url} (")
    assert result.error.endswith(
        "check that the server runs and that --base-url or OPENAI_BASE_URL is correct"
    )


async def test_an_endpoint_on_this_machine_is_used_without_a_proxy(
    chat: ChatServer, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    result = await play()

    assert result.status == "finished"


async def test_a_key_with_a_line_break_is_sent_without_it(
    chat: ChatServer, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")

    await play()

    assert chat.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("env", "options", "kind", "message"),
    [
        ({}, {"model": ""}, AgentSetupError, "give one with --model NAME"),
        ({"OPENAI_API_KEY": ""}, {"base_url": None}, AgentSetupError, "no key: set OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": "sk-\u00e4"}, {}, AgentSetupError, "other than printable ASCII"),
        ({"OPENAI_API_KEY": "sk-\nb"}, {}, AgentSetupError, "other than printable ASCII"),
        ({}, {"base_url": "localhost:8000/v1"}, UsageError, "must look like http://host:port/v1"),
        ({}, {"base_url": "http://host:eighty"}, UsageError, "the endpoint's URL is invalid"),
        ({}, {"base_url": "http://[bad"}, UsageError, "the endpoint's URL is invalid"),
        ({"ALL_PROXY": "carrier://pigeon"}, {"base_url": None}, UsageError, "cannot create"),
    ],
)
async def test_invalid_options_are_rejected_before_the_episode_starts(
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
