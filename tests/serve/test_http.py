"""The HTTP protocol: open, act, fork, hold, close; one clear answer to every wrong request."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from kernel_env.serve.access import MAX_BODY_BYTES
from support.cli import error_line, run_cli
from support.episodes import SUBMIT_LINE
from support.pictures import PNG
from support.serving import SLEEP, serving

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Client:
    """A client of a server."""

    def __init__(self, address: str) -> None:
        self.parts = urlsplit(address)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.parts.hostname or "", self.parts.port, timeout=60)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Return status and JSON of the answer to a request."""
        connection = self.connect()
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, BEARER if headers is None else headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        return answer.status, content

    def open(self, **more: Any) -> dict[str, Any]:
        status, opened = self.ask("POST", "/episodes", {"task": "tiny", **more})
        assert status == 201, opened
        return opened

    def call(self, handle: str, name: str, **arguments: Any) -> dict[str, Any]:
        call = {"name": name, "arguments": arguments}
        status, turn = self.ask("POST", f"/episodes/{handle}/call", call)
        assert status == 200, turn
        return turn

    def close(self, handle: str) -> dict[str, Any]:
        status, ended = self.ask("DELETE", f"/episodes/{handle}")
        assert status == 200, ended
        return ended

    def begin(self, method: str, path: str, body: Any = None) -> socket.socket:
        """Send a request without reading the answer; return the connection."""
        connection = self.connect()
        connection.request(method, path, body and json.dumps(body).encode(), BEARER)
        assert isinstance(connection.sock, socket.socket)
        return connection.sock


@pytest.fixture(scope="module")
def server(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server of the tiny task, with room for two episodes; it ends while a cell runs."""
    options = ("http", "--tasks", tiny, "--sandbox", "local", "--sessions", 2, "--reward", "final")
    runs = tmp_path_factory.mktemp("runs")
    with serving(*options, runs=runs, KERNEL_ENV_TOKEN=TOKEN) as (process, address):
        client = Client(address)
        yield client
        assert process.poll() is None
        last = client.open()
        call = {"name": "execute_code", "arguments": SLEEP}
        waiting = client.begin("POST", f"/episodes/{last['episode']}/call", call)
        time.sleep(1)
    answer = b"".join(iter(lambda: waiting.recv(65536), b""))
    waiting.close()
    record = json.loads((runs / "tiny" / last["id"] / "record.json").read_text())
    assert process.returncode == 0
    assert (record["status"], record["steps"]) == ("finished", 1)
    assert b"KeyboardInterrupt" in answer


@pytest.fixture(scope="module")
def handle(server: Client) -> Iterator[str]:
    """The handle of an episode of several tests."""
    opened = str(server.open()["episode"])
    yield opened
    server.close(opened)


def test_an_episode_is_opened_played_forked_and_closed(server: Client) -> None:
    about = server.ask("GET", "/")[1]
    opened = server.open(seed=4, budget={"steps": 5})
    handle = opened["episode"]
    turn = server.call(handle, "execute_code", code=SUBMIT_LINE + "x = 41")
    forked = server.ask("POST", f"/episodes/{handle}/fork", {"n": 1})[1]["episodes"][0]
    in_fork = server.call(forked["episode"], "execute_code", code=f"x + 1\n{PNG}\nx + 1")
    failed = server.call(forked["episode"], "execute_code", code="1 / 0")
    wrong = server.call(forked["episode"], "execute_cod", code="1")
    state = server.ask("GET", f"/episodes/{forked['episode']}")[1]
    ended = server.close(forked["episode"])
    again = server.ask("DELETE", f"/episodes/{forked['episode']}")
    finished = server.call(handle, "finish", message="done")
    server.close(handle)

    assert [each["task"] for each in about["tasks"]] == ["tiny"]
    assert {tool["function"]["name"] for tool in about["tools"]} >= {"execute_code", "finish"}
    assert about["limits"]["sessions"] == 2
    assert "Predict `y` from `x`" in opened["prompt"]
    assert "public score 0.0880" in turn["text"]
    assert turn["id"] == opened["id"] != forked["id"]
    assert "42" in in_fork["text"]
    assert in_fork["images"][0].startswith("iVBOR")
    assert failed["error"] == "ZeroDivisionError: division by zero"
    assert wrong["error"].startswith("no action of kind 'execute_cod'")
    assert state["steps"] == 3
    assert state["over"] == ""
    assert ended["result"]["private_score"] == pytest.approx(0.0936, abs=1e-3)
    assert ended["reward"] > 0.5
    assert again == (
        404,
        {"error": "the episode has ended: its client closed it; open another one"},
    )
    assert finished["over"] == "the agent was done"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/nope", None, 404, "nothing answers GET /nope; GET / says what there is"),
        ("POST", "/", {}, 404, "nothing answers POST /"),
        ("GET", "/episodes/nope", None, 404, "no episode has this handle; open one"),
        ("POST", "/episodes/x/call", {"name": "reset"}, 404, "no episode has this handle"),
        ("POST", "/episodes/x/fork", {"n": 0}, 400, "n: input should be greater than or equal"),
        ("GET", "/episodes/x/hold", None, 404, "no episode has this handle"),
        ("POST", "/episodes", {"task": "tinny"}, 404, "no task named 'tinny'; did you mean 'tiny'"),
        ("POST", "/episodes", {"task": "../tiny"}, 404, "no task named '../tiny'"),
        ("POST", "/episodes", {}, 400, "task: field required"),
        ("POST", "/episodes", {"task": "tiny", "sandbox": "local"}, 400, "sandbox: extra inputs"),
        ("POST", "/episodes", b"{", 400, "the request: invalid json"),
        ("POST", "/episodes", b"[" * 100_000, 400, "the request: invalid json"),
        ("POST", "/episodes", b"\xff", 400, "the request: invalid json"),
        ("POST", "/episodes", {"task": "tiny", "budget": {"steps": 10**6}}, 400, "at most"),
        ("POST", "/episodes", b" " * (MAX_BODY_BYTES + 1), 413, "the body has 4,194,305 bytes"),
    ],
)
def test_a_wrong_request_gets_one_clear_answer(
    server: Client, method: str, path: str, body: Any, status: int, message: str
) -> None:
    found, answer = server.ask(method, path, body)

    assert found == status
    assert list(answer) == ["error"]
    assert answer["error"].startswith(message) or message in answer["error"]
    assert "\n" not in answer["error"]


def test_only_who_knows_the_token_and_names_this_machine_is_answered(server: Client) -> None:
    def status(**headers: str) -> int:
        return server.ask("GET", "/", headers=headers)[0]

    assert status(**BEARER) == 200
    assert status() == 401
    assert status(Authorization="Bearer wrong") == 401
    assert status(**BEARER, Host="evil.example") == 421
    assert status(**BEARER, Origin="https://evil.example") == 403


def forked(server: Client, handle: str) -> str:
    """Fork an episode; return the handle of the fork."""
    answer = server.ask("POST", f"/episodes/{handle}/fork", {"n": 1})[1]
    return str(answer["episodes"][0]["episode"])


def test_there_is_room_for_two_episodes(server: Client, handle: str) -> None:
    fork = forked(server, handle)

    refused = server.ask("POST", "/episodes", {"task": "tiny"})
    server.close(fork)

    assert refused[0] == 503
    assert refused[1]["error"].startswith("2 of 2 episodes are open; close one, or wait")


def wait_for_step(server: Client, handle: str, number: int) -> None:
    """Wait until an episode has so many steps."""
    for _ in range(300):
        if server.ask("GET", f"/episodes/{handle}")[1]["steps"] >= number:
            return
        time.sleep(0.1)
    raise AssertionError(f"step {number} was not recorded")


def test_a_client_that_goes_away_interrupts_its_cell(server: Client, handle: str) -> None:
    server.call(handle, "execute_code", code="x = 41")
    steps = server.ask("GET", f"/episodes/{handle}")[1]["steps"]

    call = {"name": "execute_code", "arguments": SLEEP}
    waiting = server.begin("POST", f"/episodes/{handle}/call", call)
    time.sleep(0.5)
    waiting.close()
    wait_for_step(server, handle, steps + 1)
    turn = server.call(handle, "execute_code", code="x + 1")

    assert "42" in turn["text"]


def test_an_episode_ends_with_the_connection_that_holds_it(server: Client, handle: str) -> None:
    fork = forked(server, handle)
    holding = server.begin("GET", f"/episodes/{fork}/hold")
    assert holding.recv(1000).startswith(b"HTTP/1.0 200 OK")

    holding.close()
    for _ in range(300):
        status, answer = server.ask("GET", f"/episodes/{fork}")
        if status == 404:
            break
        time.sleep(0.1)

    assert answer["error"] == "the episode has ended: its client has gone; open another one"


def test_a_server_that_cannot_start_says_why_in_one_line(server: Client, tiny: str) -> None:
    port = str(server.parts.port)
    local = ("--tasks", tiny, "--sandbox", "local")

    no_engine = run_cli("serve", "http", "--tasks", tiny, DOCKER_HOST="unix:///nowhere/docker.sock")
    no_port = run_cli("serve", "http", *local, "--port", port)

    assert "Without an engine nothing isolates this code" in error_line(no_engine)
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in error_line(no_port)
