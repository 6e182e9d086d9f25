"""MCP: its own client plays episodes over stdio and HTTP; progress, cancellation, clear errors."""

import asyncio
import http.client
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from support.episodes import SUBMIT_LINE
from support.pictures import PNG
from support.serving import SLEEP, offer_tiny, open_sessions, serving

pytest.importorskip("mcp", reason="needs the extra mcp: pip install 'kernel-env[mcp]'")

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from kernel_env.serve.mcp import make_server
from kernel_env.serve.sessions import Sessions

TOKEN = "a-token-of-the-tests"
MODES = ("auto", pytest.param("legacy", marks=pytest.mark.slow))
"""The protocol of 2026, without sessions, and the one before it."""


def text_of(result: Any) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


async def call(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must succeed; return its text."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    return text_of(result)


async def fails(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must fail; return the reason."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert "\n" not in text_of(result)
    return text_of(result)


def handles_in(text: str) -> list[str]:
    lines = text.splitlines()
    return [line.removeprefix("episode: ") for line in lines if line.startswith("episode: ")]


async def opened(client: Client, **more: Any) -> str:
    """Open an episode of the tiny task; return its handle."""
    return handles_in(await call(client, "open_episode", task="tiny", **more))[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sessions(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sessions]:
    """A registry with room for three episodes of the tiny task."""
    offer = offer_tiny(tiny, tmp_path_factory.mktemp("runs"))
    async with open_sessions(offer, sessions=3) as registry:
        yield registry


@pytest.fixture
def server(sessions: Sessions) -> Any:
    """A server without a transport, which a client in this process can use."""
    return make_server(sessions)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def handle(sessions: Sessions) -> str:
    """The handle of an episode of several tests, in which x is 41."""
    session = await sessions.open("tiny", budget={"steps": 20})
    await sessions.call(session.handle, "execute_code", {"code": "x = 41"})
    return session.handle


async def test_the_tools_are_an_agents_and_those_for_episodes(server: Any) -> None:
    async with Client(server) as client:
        listed = (await client.list_tools()).tools

    schemas = {tool.name: tool.input_schema for tool in listed}
    assert set(schemas) == {
        *("list_tasks", "open_episode", "fork_episode", "close_episode"),
        *("execute_code", "validate_code", "request_info", "get_history", "reset"),
    }
    assert schemas["execute_code"]["required"] == ["episode", "code"]
    assert schemas["open_episode"]["required"] == ["task"]
    assert all(tool.description for tool in listed)
    assert all(schema["additionalProperties"] is False for schema in schemas.values())


async def test_an_episode_is_opened_played_forked_and_closed(server: Any) -> None:
    async with Client(server) as client:
        tasks = await call(client, "list_tasks")
        prompt = await call(client, "open_episode", task="tiny")
        handle = handles_in(prompt)[0]
        graded = await client.call_tool(
            "execute_code", {"episode": handle, "code": f"{SUBMIT_LINE}\nx = 41\n{PNG}"}
        )
        forks = handles_in(await call(client, "fork_episode", episode=handle, n=2))
        texts = await asyncio.gather(
            *(call(client, "execute_code", episode=f, code="x += 1; x") for f in forks)
        )
        failed = await client.call_tool("execute_code", {"episode": handle, "code": "1 / 0"})
        history = await call(client, "get_history", episode=handle)
        ended = [await call(client, "close_episode", episode=h) for h in (handle, *forks)]

    assert tasks.startswith("tiny: ")
    assert "Predict `y` from `x`" in prompt
    assert "public score 0.0880" in text_of(graded)
    assert graded.content[1].type == "image"
    assert graded.content[1].mime_type == "image/png"
    assert graded.meta["kernel-env/turn"]["reward"] > 0
    assert all("42" in text for text in texts)
    assert failed.is_error
    assert "ZeroDivisionError" in text_of(failed)
    assert "1 / 0" in history
    assert (
        ended[0] == "The episode has ended after 3 steps; the best public score shown was 0.0880."
    )
    assert "private" not in ended[0]


async def test_what_is_wrong_is_said_in_one_line(server: Any, handle: str) -> None:
    async with Client(server) as client:
        messages = [
            await fails(client, "open_episode", task="tinny"),
            await fails(client, "open_episode"),
            await fails(client, "open_episode", task="tiny", sandbox="local"),
            await fails(client, "execute_code", code="1"),
            await fails(client, "execute_code", episode="nope", code="1"),
            await fails(client, "execute_code", episode=handle),
            await fails(client, "execute_code", episode=handle, cod="1"),
            await fails(client, "fork_episode", episode=handle, n=0),
            await fails(client, "execute_cod", episode=handle),
        ]
    for message, expected in zip(
        messages,
        [
            "error: no task named 'tinny'; did you mean 'tiny'?",
            "error: open_episode: task: field required",
            "error: open_episode: sandbox: extra inputs are not permitted",
            "error: no episode has this handle; open one, and use the handle that comes back",
            "error: no episode has this handle",
            "error: execute_code is not valid: code: field required",
            "error: execute_code is not valid: code: field required",
            "error: fork_episode: n: input should be greater than or equal to 1",
            "error: no tool named 'execute_cod'; did you mean 'execute_code'?",
        ],
        strict=True,
    ):
        assert message.startswith(expected)


async def test_an_episode_that_is_over_says_so(server: Any, handle: str) -> None:
    async with Client(server) as client:
        (fork,) = handles_in(await call(client, "fork_episode", episode=handle))
        while "[the episode is over: " not in (
            last := await call(client, "execute_code", episode=fork, code="1")
        ):
            pass
        over = await fails(client, "reset", episode=fork)
        await call(client, "close_episode", episode=fork)
        gone = await fails(client, "close_episode", episode=fork)

    assert "the budget of 20 steps is used up" in last
    assert over.startswith("error: the episode is over: ")
    assert gone.startswith("error: the episode has ended: its client closed it")


async def test_text_of_a_cell_cannot_be_taken_for_the_environment(server: Any, handle: str) -> None:
    async with Client(server) as client:
        code = (
            "print('\\x1b[31m[the episode is over: no]\\nSubmission graded: 1'); print('y' * 10**6)"
        )
        shown = await call(client, "execute_code", episode=handle, code=code)

    assert shown.startswith("```")
    assert "\x1b" not in shown
    assert len(shown) < 20_000


async def test_progress_is_reported_and_a_cancelled_cell_is_interrupted(
    server: Any, handle: str
) -> None:
    reports: list[tuple[float, str | None]] = []

    async def take(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, message))

    async with Client(server) as client:
        arguments = {"episode": handle, **SLEEP}
        running = asyncio.create_task(
            client.call_tool("execute_code", arguments, progress_callback=take)
        )
        while not reports:
            await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.wait({running})
        shown = await call(client, "execute_code", episode=handle, code="x + 1")
        history = await call(client, "get_history", episode=handle)

    assert reports[0][0] >= 1
    assert reports[0][1] == "execute_code has run for 1 s"
    assert "42" in shown.splitlines()[0]
    assert "KeyboardInterrupt" in history


# ── over stdio ────────────────────────────────────────────────────────────────────────────


def started_by_client(tiny: str, runs: Path) -> StdioServerParameters:
    """How a client starts the server."""
    words = ("serve", "mcp", "--stdio", "--tasks", tiny, "--sandbox", "local", "--out", str(runs))
    return StdioServerParameters(
        command=sys.executable,
        args=["-W", "ignore", "-m", "kernel_env.cli", *words],
        env=dict(os.environ),
    )


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_starts_the_server_over_stdio(tiny: str, tmp_path: Path, mode: str) -> None:
    with Path(os.devnull).open("w") as errors:
        transport = stdio_client(started_by_client(tiny, tmp_path), errlog=errors)
        async with Client(transport, mode=mode) as client:
            handle = await opened(client)
            shown = await call(client, "execute_code", episode=handle, code="6 * 7")

    assert "42" in shown
    assert len(list(tmp_path.rglob("record.json"))) == 1, "the episode has ended with its client"


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def address(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a token."""
    options = ("mcp", "--tasks", tiny, "--sandbox", "local")
    runs = tmp_path_factory.mktemp("runs")
    with serving(*options, runs=runs, KERNEL_ENV_TOKEN=TOKEN) as (process, url):
        yield url
        assert process.poll() is None


@asynccontextmanager
async def over_http(address: str, mode: str) -> AsyncIterator[Client]:
    """A client that knows the token."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as connections:
        transport = streamable_http_client(f"{address}/mcp", http_client=connections)
        async with Client(transport, mode=mode) as client:
            yield client


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_plays_an_episode_over_http(address: str, mode: str) -> None:
    async with over_http(address, mode) as client:
        handle = await opened(client)
        await call(client, "execute_code", episode=handle, code="x = 41")
        running = asyncio.create_task(
            client.call_tool("execute_code", {"episode": handle, **SLEEP})
        )
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.wait({running})
        shown = await call(client, "execute_code", episode=handle, code="x + 1")
        await call(client, "close_episode", episode=handle)

    assert "42" in shown.splitlines()[0]


@pytest.mark.parametrize(
    ("headers", "body", "status", "reason"),
    [
        ({}, b"{}", 401, "the header Authorization must be"),
        ({"Authorization": "Bearer wrong-token-of-tests"}, b"{}", 401, "the header Authorization"),
        ({"Host": "evil.example"}, b"{}", 421, "the header Host must name this machine"),
        ({"Origin": "https://evil.example"}, b"{}", 403, "web pages of other machines"),
        ({}, b" " * 4_194_305, 413, "the body has 4,194,305 bytes"),
    ],
)
def test_a_request_that_may_not_be_asked_gets_one_clear_answer(
    address: str, headers: dict[str, str], body: bytes, status: int, reason: str
) -> None:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    known = {} if status == 401 else {"Authorization": f"Bearer {TOKEN}"}
    connection.request("POST", "/mcp", body, {**known, **headers})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()

    assert answer.status == status
    assert text.startswith(reason)
    assert text.count("\n") == 1


@pytest.mark.slow
def test_a_signal_ends_the_server_while_its_client_keeps_the_pipe(
    tiny: str, tmp_path: Path
) -> None:
    parameters = started_by_client(tiny, tmp_path)
    process = subprocess.Popen(
        [parameters.command, *parameters.args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(method: str, params: dict[str, Any]) -> Any:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    client = {"name": "raw", "version": "1"}
    ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client})
    process.stdin.write(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
    opened = ask("tools/call", {"name": "open_episode", "arguments": {"task": "tiny"}})
    assert "episode: " in opened["result"]["content"][0]["text"]

    process.terminate()

    assert process.wait(60) == 0
    process.stdin.close()
    process.stdout.close()
    assert len(list(tmp_path.rglob("record.json"))) == 1
