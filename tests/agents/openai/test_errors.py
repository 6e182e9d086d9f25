"""Errors of endpoints and options are one line without the key."""

import socket
from pathlib import Path

import pytest

from kernel_env.errors import AgentError, UsageError
from support.chat_server import (
    CLOSE,
    KEY,
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
    ("line", "error"),
    [
        (error_reply(401, "wrong key"), "{url} rejected the key in OPENAI_API_KEY"),
        (error_reply(403, f"no {KEY} here"), "{url} answered 403: no [key] here"),
        (error_reply(404, "no such model"), "{url} answered 404: no such model"),
        (error_reply(429, "no credit"), "{url} answered 429: no credit"),
        (error_reply(400, "a\nb" * 500), "{url} answered 400: a ba ba b"),
        (
            Reply(body=b"<html>Hello</html>", kind="text/html"),
            "{url} answered with '<html>Hello</html>', expected a chat completion; check the URL",
        ),
        (Reply(body=b'{"choices": ['), "{url} answered with "),
        (Reply(body=b"[" * 100_000), "{url} answered with "),
        (Reply(body=b'{"error": "busy"}'), "{url} answered with "),
    ],
)
async def test_permanent_failures_are_one_line_errors(
    chat: ChatServer, play: Play, line: Reply, error: str
) -> None:
    chat.script = [tool_answer(cell("1")), *[line] * 9]

    result = await play()

    assert (result.status, result.steps) == ("agent_failed", 1)
    assert result.error.startswith(error.format(url=chat.url))
    assert "\n" not in result.error
    assert len(result.error) < 450
    folder = Path(result.notebook).parent
    assert KEY not in "".join(path.read_text() for path in folder.glob("*.*"))


async def test_the_error_of_a_refused_connection_names_the_url(play: Play) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"

        result = await play(base_url=url.replace("//", "//user:secret@"))

    assert result.status == "agent_failed"
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
        ({}, {"model": ""}, AgentError, "give one with --model NAME"),
        ({"OPENAI_API_KEY": ""}, {"base_url": None}, AgentError, "no key: set OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": "sk-\u00e4"}, {}, AgentError, "other than printable ASCII"),
        ({"OPENAI_API_KEY": "sk-\nb"}, {}, AgentError, "other than printable ASCII"),
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
