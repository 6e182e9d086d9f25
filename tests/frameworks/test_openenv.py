"""OpenEnv's own client plays episodes; each trap of its sessions ends in a clear error."""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
import websockets
from openenv.core import GenericEnvClient

from support.dropping import check_server
from support.episodes import SUBMIT_LINE
from support.pictures import PNG
from support.serving import serving

pytestmark = pytest.mark.frameworks
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the episodes."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def address(tiny: str, runs: Path) -> Iterator[str]:
    """The address of a server with room for three episodes."""
    options = ("openenv", "--tasks", tiny, "--sandbox", "local", "--sessions", 3)
    with serving(*options, runs=runs) as (process, url):
        yield url.replace("http://", "ws://")
        assert process.poll() is None


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Any]:
    """A client of the framework."""
    client = GenericEnvClient(base_url=address)
    async with client:
        yield client


def execute(code: str) -> dict[str, Any]:
    return {"name": "execute_code", "arguments": {"code": code}}


async def has_ended(runs: Path, episode: str) -> bool:
    """Wait until an episode has ended; return whether it has."""
    for _ in range(300):
        if list(runs.rglob(f"{episode}/record.json")):
            return True
        await asyncio.sleep(0.1)
    return False


async def test_an_episode_is_played(address: str) -> None:
    async with connected(address) as client:
        first = await client.reset(seed=3, budget={"steps": 4})
        graded = await client.step(execute(f"{SUBMIT_LINE}\nx = 41\n{PNG}"))
        shown = await client.step(execute("x + 1"))
        failed = await client.step(execute("1 / 0"))
        wrong = await client.step({"name": "execute_cod", "arguments": {}})
        last = await client.step({"name": "finish", "arguments": {}})
        state = await client.state()

    assert "Predict `y` from `x`" in first.observation["text"]
    assert graded.reward > 0
    assert graded.observation["images"][0].startswith("iVBOR")
    assert "42" in shown.observation["text"]
    assert failed.observation["error"] == "ZeroDivisionError: division by zero"
    assert wrong.observation["error"].startswith("no action of kind 'execute_cod'")
    assert last.done
    ids = {each.observation["episode"] for each in (first, graded, shown, failed, wrong, last)}
    assert len(ids) == 1
    assert (state["episode_id"], state["step_count"]) == (ids.pop(), 3)


async def test_tasks_are_listed_and_chosen_by_number(address: str) -> None:
    with urlopen(f"{address.replace('ws', 'http')}/kernel_env/splits") as answer:
        splits = json.load(answer)
    async with connected(address) as client:
        first = await client.reset(split="all", index=0)
        with pytest.raises(RuntimeError, match="there are tasks 0 to 0; 1 is none of them"):
            await client.reset(index=1)

    assert [each["name"] for each in splits] == ["all"]
    assert "Predict `y` from `x`" in first.observation["text"]


async def test_sessions_run_at_the_same_time(address: str) -> None:
    async with connected(address) as one, connected(address) as other:
        first, second = await asyncio.gather(one.reset(), other.reset())
        await asyncio.gather(one.step(execute("x = 1")), other.step(execute("x = 2")))
        texts = [
            (await each.step(execute("x"))).observation["text"].splitlines()[0]
            for each in (one, other)
        ]

    assert first.observation["episode"] != second.observation["episode"]
    assert texts == ["1", "2"]


async def test_wrong_requests_are_clear_errors(address: str) -> None:
    async with connected(address) as client:
        for attempt, message in (
            (client.step(execute("1")), "there is no episode; call reset first"),
            (client.reset(task="tinny"), "no task named 'tinny'; did you mean 'tiny'?"),
            (client.reset(sandbox="local"), "reset takes a task, which is a text"),
            (client.reset(budget={"steps": 10**6}), "the budget's steps can be at most"),
            (client.step(execute("1")), "there is no episode; call reset first"),
        ):
            with pytest.raises(RuntimeError) as raised:
                await attempt
            assert message in str(raised.value)


async def test_a_step_that_is_given_up_ends_the_episode(address: str, runs: Path) -> None:
    """The client connects anew by itself: the next step must not run in another kernel."""
    async with connected(address) as client:
        first = await client.reset()
        await client.step(execute("x = 1"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.step(execute("import time; time.sleep(60)")), 1)
        with pytest.raises(RuntimeError, match="there is no episode; call reset first"):
            await client.step(execute("x"))
        assert await has_ended(runs, first.observation["episode"]), "its container is free"
        second = await client.reset()

    assert second.observation["episode"] != first.observation["episode"]


CLIENT = """
import asyncio, sys
from openenv.core import GenericEnvClient
async def main():
    async with GenericEnvClient(base_url=sys.argv[1]) as client:
        opened = await client.reset()
        print(opened.observation["episode"], flush=True)
        call = {"code": "import time; time.sleep(60)"}
        await client.step({"name": "execute_code", "arguments": call})
asyncio.run(main())
"""


async def test_the_death_of_a_client_frees_its_episode(address: str, runs: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, address], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    episode = process.stdout.readline().strip()
    time.sleep(1)

    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    assert await has_ended(runs, episode)


async def test_an_idle_episode_ends(tiny: str, tmp_path: Path) -> None:
    options = ("openenv", "--tasks", tiny, "--sandbox", "local", "--idle", 0.5)
    with serving(*options, runs=tmp_path) as (_, url):
        async with connected(url.replace("http://", "ws://")) as client:
            opened = await client.reset()
            assert await has_ended(tmp_path, opened.observation["episode"])
            with pytest.raises(RuntimeError, match="the episode has ended: nobody called it"):
                await client.step(execute("1"))


async def test_only_who_may_connects(tiny: str, tmp_path: Path) -> None:
    options = ("openenv", "--tasks", tiny, "--sandbox", "local")
    with serving(*options, runs=tmp_path, KERNEL_ENV_TOKEN=TOKEN) as (_, url):
        parts = urlsplit(url)
        bearer = {"Authorization": f"Bearer {TOKEN}"}

        def ask(method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
            connection.request(method, path, b"{}" if method == "POST" else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            connection.close()
            return answer.status, text

        assert ask("GET", "/health", bearer)[0] == 200
        assert ask("GET", "/health", {})[0] == 401
        assert ask("GET", "/health", {**bearer, "Host": "evil.example"})[0] == 421
        status, text = ask("POST", "/reset", bearer)
        assert (status, text) == (410, "/reset keeps no episode; connect to the WebSocket /ws\n")
        with pytest.raises(websockets.exceptions.InvalidStatus) as raised:
            await websockets.connect(f"{url.replace('http', 'ws')}/ws")
        assert raised.value.response.status_code == 401


@pytest.mark.docker
@pytest.mark.parametrize("number", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_dropped_sessions_leave_nothing_behind(tiny: str, tmp_path: Path, number: int) -> None:
    check_server("openenv", tiny, tmp_path, "docker", number)
